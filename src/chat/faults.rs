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
    /// The token endpoint answers so.
    Token(u16, &'static str),
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
        Met::ProxyWantsCredentials => proxied().await,
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

fn tls(certificate: &'static [u8]) -> impl AsyncFnOnce(TcpStream) {
    async move |stream| {
        let chain = vec![CertificateDer::from_pem_slice(certificate).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
        let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
        // the other end gives up, which is what is wanted
        _ = TlsAcceptor::from(Arc::new(config)).accept(stream).await;
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

async fn proxied() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let http = reqwest::Client::builder().proxy(reqwest::Proxy::https(proxy).unwrap()).build().unwrap();
    let serve = async {
        let mut stream = listener.accept().await.unwrap().0;
        whole_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await.unwrap();
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
