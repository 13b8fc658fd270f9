//! What is said of each thing that the network and TLS can do to a request.

use super::*;
use crate::chat::faults::{First, Met, outcome};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// One letter for the outcome, and why.
fn said(outcome: Outcome) -> String {
    match outcome {
        Outcome::Retry { why, after: None } => format!("R {why}"),
        Outcome::Delivered { .. } => "D".into(),
        Outcome::Unanswered { why } => format!("U {why}"),
        Outcome::Pause { why, hint, .. } => format!("P {why} / {hint}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_fault_of_the_network_is_told_by_its_host_alone() {
    let trust = "see that this host's clock is right, its CA bundle installed, and nothing intercepts TLS";
    let (broke, trusted) = (
        "U the connection to `chat.example` broke before the answer: ",
        "P `chat.example` cannot be trusted: invalid peer certificate: ",
    );
    for (met, begins, ends) in [
        (Met::NoName, "U `chat.example` cannot be resolved", ""),
        (Met::NoConnection, "U no connection to `chat.example` within 10 s", ""),
        (Met::Refused, "U no connection to `chat.example`: Connection refused", "(os error 111)"),
        (Met::Reset, broke, ""),
        (Met::Closed, broke, ""),
        (Met::NoAnswer, "U no answer from `chat.example` within 30 s", ""),
        (Met::StalledBody, "R 200, but the answer broke off", ""),
        (Met::CutBody, "R 200, but the answer broke off", ""),
        (Met::ResetInRequest, broke, ""),
        (Met::EarlyHints, "D", ""),
        (Met::NoContent, "R 204, but not from Chat: look for a proxy or portal in between", ""),
        (Met::NoHttp, broke, ""),
        (Met::TwoLengths, broke, ""),
        (Met::EndlessHead, broke, ""),
        (Met::EndlessBody, "R 200, but the answer broke off", ""),
        (Met::Bomb, "R 200, but not from Chat: look for a proxy or portal in between", ""),
        (Met::DrippedHead, "U no answer from `chat.example` within 30 s", ""),
        (Met::DrippedBody, "R 200, but the answer broke off", ""),
        (Met::NoHandshake, "U no connection to `chat.example`: ", ""),
        (Met::OldHttp, "D", ""),
        (Met::Http2(First::Served), "D", ""),
        // the server says that it has done nothing with the request, and is asked again at once
        (Met::Http2(First::Refused), "D", ""),
        (Met::Http2(First::Draining), "D", ""),
        (Met::Http2(First::GoneAway), broke, ""),
        (Met::Http2(First::CutOff), broke, ""),
        (Met::ProxyDies, "U no connection to `chat.example`: ", ""),
        (Met::UnknownIssuer, trusted, trust),
        (Met::Expired, trusted, trust),
        (Met::OtherName, trusted, trust),
        (
            Met::ProxyWantsCredentials,
            "P the proxy does not let us through to `chat.example`: ",
            "give `HTTPS_PROXY` the credentials that the proxy asks for",
        ),
    ] {
        let told = said(outcome(met).await);
        assert!(told.starts_with(begins) && told.ends_with(ends), "{met:?}: {told}");
        assert!(!told.contains("localhost:") && !told.contains("http:"), "{met:?}: {told}");
    }
    let why = |certificate| async move { said(outcome(certificate).await).to_lowercase() };
    assert!(why(Met::UnknownIssuer).await.contains("unknownissuer"));
    let expired = why(Met::Expired).await;
    // not how long ago: each try would say something else, and be told as another trouble
    assert!(expired.contains("expired") && !expired.contains("verification time"), "{expired}");
    assert!(why(Met::OtherName).await.contains("not valid for name"));
}

/// As servers and what stands in between do it with connections that are kept.
#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_made_anew() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let http = builder(true).build().unwrap();
    let made = std::cell::Cell::new(0);
    let serve = async {
        loop {
            let mut stream = listener.accept().await.unwrap().0;
            made.set(made.get() + 1);
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n{}") && stream.read_buf(&mut read).await.unwrap() > 0 {}
            // one that is answered and kept, as far as the client knows
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        }
    };
    let ask = async {
        for n in 1..=5 {
            let sent = async || send(http.post(&url).body("{}"), "chat.example").await;
            let got = match sent().await {
                // in the very moment in which it was closed: the worker sends it again
                Err(Outcome::Unanswered { .. }) => sent().await,
                got => got,
            };
            assert_eq!(got.unwrap().answer().status, 200);
            assert!(made.get() >= n, "it was kept");
        }
    };
    tokio::select! {
        () = ask => {}
        () = serve => unreachable!("it serves for ever"),
    }
}

#[test]
fn secrets_are_taken_out_however_they_are_escaped_and_what_is_too_short_to_be_one_stays() {
    let without = |body: &str, secrets: &[&str]| {
        let got = Got { status: 400, headers: HeaderMap::new(), body: body.into(), cut: false };
        let secrets: Vec<SecretString> = secrets.iter().map(|s| SecretString::from(*s)).collect();
        String::from_utf8(got.without(&secrets).body).unwrap()
    };
    let token = "tok-0123_x=";
    assert_eq!(without(r#"{"a":["b tok-0123_x= c"]}"#, &[token]), r#"{"a":["b … c"]}"#);
    assert_eq!(without(r#"{"a":"\u0074ok-0123_x\u003d"}"#, &[token]), r#"{"a":"…"}"#);
    assert_eq!(without(r#"{"name":"spaces/k"}"#, &["k", ""]), r#"{"name":"spaces/k"}"#);
    assert_eq!(without("<html>", &[token]), "<html>");
}
