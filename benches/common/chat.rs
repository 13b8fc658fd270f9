//! A Chat that accepts every message and says when it came.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::now;

#[expect(clippy::disallowed_methods, reason = "a bench's own server")]
fn spawn(work: impl FnOnce() + Send + 'static) {
    std::thread::spawn(work);
}

/// A server on loopback, with the instant at which each message had arrived.
pub(crate) struct Chat {
    url: String,
    pub(crate) arrivals: mpsc::Receiver<Instant>,
}

impl Chat {
    pub(crate) fn start() -> Chat {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tx, arrivals) = mpsc::channel();
        spawn(move || {
            for stream in listener.incoming().flatten() {
                let tx = tx.clone();
                spawn(move || serve(stream, &tx));
            }
        });
        Chat { url, arrivals }
    }

    /// The webhook of a space.
    pub(crate) fn webhook(&self, space: &str) -> String {
        format!("{}/v1/spaces/{space}/messages?key=k&token=t", self.url)
    }

    /// A connection for bare round trips, which are not told.
    pub(crate) fn connect(&self) -> Bare {
        let stream = TcpStream::connect(self.url.trim_start_matches("http://")).unwrap();
        stream.set_nodelay(true).unwrap();
        Bare(stream)
    }
}

/// A server that takes no message: every third connection is reset, answered by 503, or never.
pub(crate) struct Broken {
    url: String,
}

impl Broken {
    pub(crate) fn start() -> Broken {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        spawn(move || {
            let mut held = Vec::new();
            for (n, mut stream) in listener.incoming().flatten().enumerate() {
                match n % 3 {
                    0 => {}
                    1 => spawn(move || {
                        // who has gone is told nothing
                        _ = stream.read(&mut [0; 4096]);
                        _ = stream.write_all(b"HTTP/1.1 503 Down\r\ncontent-length: 0\r\n\r\n");
                    }),
                    _ => held.push(stream),
                }
            }
        });
        Broken { url }
    }

    /// The webhook of a space; that of every fourth leads to nobody at all.
    pub(crate) fn webhook(&self, n: usize) -> String {
        let url = if n.is_multiple_of(4) { "http://127.0.0.1:1" } else { &self.url };
        format!("{url}/v1/spaces/B{n}/messages?key=k&token=t")
    }
}

pub(crate) struct Bare(TcpStream);

impl Bare {
    /// The smallest POST, and its answer.
    pub(crate) fn trip(&mut self) -> Duration {
        let begun = now();
        self.0.write_all(b"POST /v1/spaces/floor/messages HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}").unwrap();
        assert_ne!(self.0.read(&mut [0; 4096]).unwrap(), 0);
        begun.elapsed()
    }
}

fn serve(stream: TcpStream, arrivals: &mpsc::Sender<Instant>) {
    stream.set_nodelay(true).unwrap();
    let mut out = stream.try_clone().unwrap();
    let mut input = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if input.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        loop {
            let mut header = String::new();
            if input.read_line(&mut header).unwrap_or(0) == 0 {
                return;
            }
            if let Some(n) = header.to_ascii_lowercase().strip_prefix("content-length:") {
                length = n.trim().parse().unwrap();
            }
            if header == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        input.read_exact(&mut body).unwrap();
        let arrived = now();
        let space = first.split('/').nth(3).unwrap_or("?").to_owned();
        let answer = format!(
            "{{\"name\":\"spaces/{space}/messages/M\",\"thread\":{{\"name\":\"spaces/{space}/threads/T\"}}}}"
        );
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json; charset=UTF-8\r\ncontent-length";
        let whole = format!("{head}: {}\r\n\r\n{answer}", answer.len());
        if out.write_all(whole.as_bytes()).is_err() {
            return;
        }
        if !first.contains("/floor") && arrivals.send(arrived).is_err() {
            return;
        }
    }
}
