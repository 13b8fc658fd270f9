//! What the network, TLS and the token endpoint can do to a request, really done to one: for tables of outcomes.
//!
//! The other end is a socket on loopback. Where something must *not* happen for long, the clock of the runtime is paused as
//! soon as the request can come no further, and then runs to the next deadline by itself. The key in `faults/` signs three
//! certificates that nobody trusts, and opens nothing.

use std::io;
use std::sync::Arc;

use reqwest::dns::{Name, Resolve, Resolving};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::http::{self, Got};
use super::outcome::{Answer, Ask, Door, Outcome, classify};
use super::target::TokenWay;
use super::token::Tokens;
use crate::time::{Now, Tick, Wall};

const KEY: &[u8] = include_bytes!("faults/key.pem");
const CA: &[u8] = include_bytes!("faults/ca.pem");
const OF_ANOTHER_NAME: &[u8] = include_bytes!("faults/other.pem");
const EXPIRED: &[u8] = include_bytes!("faults/expired.pem");

/// What a request meets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Met {
    /// No name server knows the host.
    NoName,
    /// Nobody answers to the attempt to connect.
    NoConnection,
    /// Nothing listens.
    Refused,
    /// The connection is reset when all has been sent.
    Reset,
    /// It is closed then, in good order and without an answer.
    Closed,
    /// Nothing comes back.
    NoAnswer,
    /// The answer stands still in the middle of its body.
    StalledBody,
    /// It ends there.
    CutBody,
    /// Nobody trusts who signed the server's certificate.
    UnknownIssuer,
    /// The certificate is good, and has expired.
    Expired,
    /// The certificate is good, and another host's.
    OtherName,
    /// The proxy wants credentials.
    ProxyWantsCredentials,
    /// The connection is reset in the middle of the request.
    ResetInRequest,
    /// Words that are no answer yet come before it: 100 and 103.
    EarlyHints,
    /// 204.
    NoContent,
    /// Something answers that speaks no HTTP.
    NoHttp,
    /// Two lengths are told of one body.
    TwoLengths,
    /// The head of the answer never ends.
    EndlessHead,
    /// Its body never ends.
    EndlessBody,
    /// A hundred kilobytes say that they are a hundred megabytes.
    Bomb,
    /// The head comes a byte a second.
    DrippedHead,
    /// The body does.
    DrippedBody,
    /// The connection is reset as soon as TLS says hello.
    NoHandshake,
    /// A server of TLS that knows nothing newer than HTTP/1.1.
    OldHttp,
    /// HTTP/2, and this becomes of the first request.
    Http2(First),
    /// The proxy takes the connection and lets it go.
    ProxyDies,
    /// The token endpoint answers so.
    Token(u16, &'static str),
}

/// What becomes of the first request over HTTP/2; the next is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    Served,
    /// REFUSED_STREAM: nothing was done with it.
    Refused,
    /// GOAWAY that says that it is still answered, and no other.
    Draining,
    /// GOAWAY and the end of the connection: nobody knows whether anything was done with it.
    GoneAway,
    /// The stream is reset with an error.
    CutOff,
}

/// What becomes of a request that meets this. On a runtime of one thread, whose clock is not paused.
pub(crate) async fn outcome(met: Met) -> Outcome {
    let plain = || http::builder(true);
    match met {
        Met::NoName => {
            asked(&plain().dns_resolver(Arc::new(NoName)).build().unwrap(), "http://chat.example/").await
        }
        Met::NoConnection => {
            tokio::time::pause();
            let http = plain().dns_resolver(Arc::new(Silence)).build().unwrap();
            let outcome = asked(&http, "http://chat.example/").await;
            tokio::time::resume();
            outcome
        }
        Met::Refused => {
            let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
            asked(&plain().build().unwrap(), &format!("http://{nobody}/")).await
        }
        Met::Reset => served("http", plain(), async |s| s.set_zero_linger().unwrap()).await,
        Met::Closed => served("http", plain(), async |_| ()).await,
        Met::NoAnswer => {
            let outcome = served("http", plain(), async |_held| {
                tokio::time::pause();
                std::future::pending::<()>().await;
            });
            let outcome = outcome.await;
            tokio::time::resume();
            outcome
        }
        Met::CutBody => served("http", plain(), async |mut s| s.write_all(HALF).await.unwrap()).await,
        Met::StalledBody => stalled_body().await,
        Met::UnknownIssuer => served("https", plain(), tls(OF_ANOTHER_NAME)).await,
        Met::Expired => served("https", trusting(), tls(EXPIRED)).await,
        Met::OtherName => served("https", trusting(), tls(OF_ANOTHER_NAME)).await,
        Met::ResetInRequest => reset_in_request().await,
        Met::EarlyHints => {
            let early = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
            answered(format!("{early}{}", served_message())).await
        }
        Met::NoContent => answered("HTTP/1.1 204 No Content\r\n\r\n".into()).await,
        Met::NoHttp => answered("220 mail.example ESMTP\r\n\r\n".into()).await,
        Met::TwoLengths => {
            answered("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc".into()).await
        }
        Met::EndlessHead => flooded("HTTP/1.1 200 OK\r\n", "X-More: and more\r\n").await,
        Met::EndlessBody => flooded("HTTP/1.1 200 OK\r\n\r\n", MESSAGE).await,
        Met::Bomb => bombed().await,
        Met::DrippedHead => dripped("", "HTTP/1.1 200 OK and whatever more there is to say of it").await,
        Met::DrippedBody => dripped("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", &" ".repeat(99)).await,
        Met::NoHandshake => served("https", plain(), async |s| s.set_zero_linger().unwrap()).await,
        Met::OldHttp => {
            let tls = acceptor(OF_ANOTHER_NAME, b"http/1.1");
            let answer = async |stream| {
                let mut stream = tls.accept(stream).await.unwrap();
                stream.read_u8().await.unwrap();
                stream.write_all(served_message().as_bytes()).await.unwrap();
                stream.flush().await.unwrap();
                std::future::pending::<()>().await;
            };
            served("https", plain().tls_danger_accept_invalid_certs(true), answer).await
        }
        Met::Http2(first) => http2(first).await,
        Met::ProxyWantsCredentials => {
            let wants = b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n";
            proxied(async |mut stream| {
                stream.write_all(wants).await.unwrap();
                std::future::pending::<()>().await;
            })
            .await
        }
        Met::ProxyDies => proxied(async |_| ()).await,
        Met::Token(status, body) => {
            let now = Now { wall: Wall(0), tick: Tick(0) };
            let answer = Answer { status, retry_after: None, date: None, body: body.as_bytes(), cut: false };
            let tokens = Tokens::new(None, TokenWay::Exchange, Arc::new(move || now));
            tokens.granted(&answer, now, "oauth2.example").map(|_| ()).unwrap_err()
        }
    }
}

/// An answer of which half is missing.
const HALF: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{\"name\":";

async fn asked(http: &reqwest::Client, url: &str) -> Outcome {
    match http::send(http.post(url).body("{}"), "chat.example").await {
        Ok(got) => judged(&got),
        Err(outcome) => outcome,
    }
}

fn judged(got: &Got) -> Outcome {
    let ask = Ask { door: &Door::Webhook, space: "spaces/AAAA", plain: false, edit: false, at: Wall(0) };
    classify(&ask, &got.answer())
}

/// Asks a server that takes one connection and does `then` with it: where that is plain http, once the request is there.
async fn served(scheme: &str, builder: reqwest::ClientBuilder, then: impl AsyncFnOnce(TcpStream)) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let http = builder.resolve("localhost", address).build().unwrap();
    let url = format!("{scheme}://localhost:{}/", address.port());
    let serve = async {
        let mut stream = listener.accept().await.unwrap().0;
        if scheme == "http" {
            whole_request(&mut stream).await;
        }
        then(stream).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = asked(&http, &url) => outcome,
        () = serve => unreachable!("it waits for ever"),
    }
}

async fn whole_request(stream: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n{}") && !read.starts_with(b"CONNECT") {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0, "the request breaks off");
    }
}

/// A client that trusts the signer in `faults/`, and nobody else.
fn trusting() -> reqwest::ClientBuilder {
    http::builder(true).tls_certs_only([reqwest::Certificate::from_pem(CA).unwrap()])
}

fn acceptor(certificate: &'static [u8], speaks: &[u8]) -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_slice(certificate).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![speaks.to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

fn tls(certificate: &'static [u8]) -> impl AsyncFnOnce(TcpStream) {
    async move |stream| {
        // the other end gives up, which is what is wanted
        _ = acceptor(certificate, b"http/1.1").accept(stream).await;
    }
}

/// A message in the space that is asked for.
const MESSAGE: &str = r#"{"name":"spaces/AAAA/messages/B.C"}"#;

fn served_message() -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{MESSAGE}", MESSAGE.len())
}

async fn answered(answer: String) -> Outcome {
    served("http", http::builder(true), async |mut stream| stream.write_all(answer.as_bytes()).await.unwrap())
        .await
}

/// This, and then that without end.
async fn flooded(head: &str, more: &str) -> Outcome {
    let flood = async |mut stream: TcpStream| {
        let mut done = stream.write_all(head.as_bytes()).await;
        while done.is_ok() {
            // it fails when the other end has had enough
            done = stream.write_all(more.as_bytes()).await;
        }
    };
    served("http", http::builder(true), flood).await
}

/// This, and then that a byte a second.
async fn dripped(head: &str, drops: &str) -> Outcome {
    let drip = async |mut stream: TcpStream| {
        stream.write_all(head.as_bytes()).await.unwrap();
        for _ in 0..100 {
            // whoever reads it has it before the clock moves on by itself
            tokio::task::yield_now().await;
        }
        tokio::time::pause();
        for drop in drops.as_bytes() {
            // nobody may be there any more
            _ = stream.write_all(&[*drop]).await;
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        }
    };
    let outcome = served("http", http::builder(true), drip).await;
    tokio::time::resume();
    outcome
}

async fn bombed() -> Outcome {
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    io::copy(&mut io::Read::take(io::repeat(b' '), 100 << 20), &mut bomb).unwrap();
    let bomb = bomb.finish().unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
    let answer = async |mut stream: TcpStream| {
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&bomb).await.unwrap();
    };
    served("http", http::builder(true), answer).await
}

async fn reset_in_request() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let http = http::builder(true).build().unwrap();
    // more than a socket takes without somebody at its other end
    let request = http.post(url).body(vec![b' '; 32 << 20]);
    let serve = async {
        let mut stream = listener.accept().await.unwrap().0;
        stream.read_u8().await.unwrap();
        stream.set_zero_linger().unwrap();
        drop(stream);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = http::send(request, "chat.example") => outcome.map_or_else(|o| o, |got| judged(&got)),
        () = serve => unreachable!("it waits for ever"),
    }
}

#[expect(clippy::default_trait_access, reason = "the crate of the type is none of ours")]
async fn http2(first: First) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let builder = http::builder(true).tls_danger_accept_invalid_certs(true).resolve("localhost", address);
    let (http, tls) = (builder.build().unwrap(), acceptor(OF_ANOTHER_NAME, b"h2"));
    let serve = async {
        let mut requests = 0;
        loop {
            let stream = tls.accept(listener.accept().await.unwrap().0).await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((_, mut respond))) = connection.accept().await {
                requests += 1;
                match if requests == 1 { first } else { First::Served } {
                    First::Refused => respond.send_reset(h2::Reason::REFUSED_STREAM),
                    First::GoneAway => connection.abrupt_shutdown(h2::Reason::NO_ERROR),
                    First::CutOff => respond.send_reset(h2::Reason::INTERNAL_ERROR),
                    First::Served | First::Draining => {
                        if first == First::Draining {
                            connection.graceful_shutdown();
                        }
                        let mut body = respond.send_response(Default::default(), false).unwrap();
                        body.send_data(MESSAGE.into(), true).unwrap();
                    }
                }
            }
        }
    };
    let url = format!("https://localhost:{}/", address.port());
    tokio::select! {
        outcome = asked(&http, &url) => outcome,
        () = serve => unreachable!("it serves for ever"),
    }
}

async fn stalled_body() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http = http::builder(true).build().unwrap();
    let head = http.post(format!("http://{}/", listener.local_addr().unwrap())).body("{}").send();
    let serve = async {
        let mut stream = listener.accept().await.unwrap().0;
        whole_request(&mut stream).await;
        stream.write_all(HALF).await.unwrap();
        stream
    };
    // the head of the answer is there before the clock is paused: else it would be the head that does not come
    let (head, _held) = tokio::join!(head, serve);
    tokio::time::pause();
    let got = http::read(head.unwrap()).await;
    tokio::time::resume();
    judged(&got)
}

async fn proxied(then: impl AsyncFnOnce(TcpStream)) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let http = reqwest::Client::builder().proxy(reqwest::Proxy::https(proxy).unwrap()).build().unwrap();
    let serve = async {
        let mut stream = listener.accept().await.unwrap().0;
        whole_request(&mut stream).await;
        then(stream).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = asked(&http, "https://chat.example/") => outcome,
        () = serve => unreachable!("it waits for ever"),
    }
}

/// Knows no name.
struct NoName;

impl Resolve for NoName {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(async { Err(io::Error::other("no such name").into()) })
    }
}

/// Never answers.
struct Silence;

impl Resolve for Silence {
    fn resolve(&self, _: Name) -> Resolving {
        Box::pin(std::future::pending())
    }
}
