//! The watcher outside: it is pinged by an agent that works, by the rules of the day, and its URL is told nobody.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};

use crate::harness::program::{DEADLINE, Place};

/// A watcher that answers with this status, and hands on what it was asked for. It ends with its last request.
fn watcher(status: &'static str, pings: usize) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, asked) = channel();
    #[expect(clippy::disallowed_methods, reason = "a server beside the test; it ends with its last request")]
    std::thread::spawn(move || {
        for stream in listener.incoming().take(pings) {
            told.send(answer(stream.unwrap(), status)).unwrap();
        }
    });
    (port, asked)
}

fn answer(mut stream: TcpStream, status: &str) -> String {
    let mut request = Vec::new();
    let mut some = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        let n = stream.read(&mut some).unwrap();
        assert_ne!(n, 0, "half a request");
        request.extend_from_slice(&some[..n]);
    }
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").unwrap();
    String::from_utf8(request).unwrap().lines().next().unwrap_or_default().to_owned()
}

fn rules(port: u16, path: &str) -> String {
    format!(
        "[alive]\nurl = 'http://127.0.0.1:{port}/{path}'\nevery = '1d'\n\
         [[rule]]\nname = 'x'\nfiles = ['DIR/app.log']\nmatch = 'xyz'\n"
    )
}

#[test]
fn an_agent_that_works_pings_and_a_reload_has_it_ping_another() {
    let (port, asked) = watcher("200 OK", 2);
    let place = Place::new();
    place.append("app.log", "");
    place.rules(&rules(port, "first-s3cret"));
    let agent = place.start();
    assert_eq!(asked.recv_timeout(DEADLINE).unwrap(), "GET /first-s3cret HTTP/1.1");
    place.rules(&rules(port, "second-s3cret"));
    place.says(&["reload", "--state", "state"]);
    assert_eq!(asked.recv_timeout(DEADLINE).unwrap(), "GET /second-s3cret HTTP/1.1");
    assert_eq!(agent.stop(), 0);
}

#[test]
fn that_it_is_not_reached_is_told_without_its_url() {
    let (port, asked) = watcher("404 Not Found", 1);
    let place = Place::new();
    place.append("app.log", "");
    place.rules(&rules(port, "s3cret"));
    // it may say so before it says what it watches
    let mut agent = place.launch(&[]);
    asked.recv_timeout(DEADLINE).unwrap();
    let said = agent
        .wait_for_log("the watcher outside that [alive] names was not reached: the answer is 404 Not Found");
    assert!(!said.contains("s3cret"), "{said}");
}
