//! The control socket: HTTP/1.1 on a Unix socket in the runtime directory, mode 0660.
//!
//! HTTP, so that `curl --unix-socket` works and metrics can join later; a socket, so that no port is open. The agent
//! side answers from the desk and the reader; the client side is what `status` and `reload` use.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Response;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::desk::Ask;
use super::letters::{LetterFault, Which};
use super::status::Status;
use crate::judge::SilenceOrder;

/// The socket's file name in the runtime or state directory.
pub const SOCKET: &str = "control.sock";

/// An answer of the agent is refused by the client above this, in bytes.
const ANSWER_BYTES: usize = 64 << 20;

/// Longest wait for an answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// What comes in over the socket.
#[derive(Debug)]
pub(super) enum Request {
    /// The whole status.
    Status(oneshot::Sender<Box<Status>>),
    /// Judge the files on disk and load them; the verdict is every fault, as `check` prints it.
    Reload(oneshot::Sender<Result<String, String>>),
    /// Something for the desk.
    Ask(Ask),
}

/// Makes the socket; a stale one of a dead agent is replaced (the state directory's lock has proved it dead).
pub(super) fn bind(path: &Path) -> std::io::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}

/// Answers until stopped.
pub(super) async fn serve(listener: UnixListener, requests: mpsc::Sender<Request>, stop: CancellationToken) {
    let app = Router::new()
        .route("/status", get(status))
        .route("/reload", post(reload))
        .route("/why", post(why))
        .route("/tap", post(tap))
        .route("/outlook", post(outlook))
        .route("/silences", get(silences).post(silence))
        .route("/unsilence", post(unsilence))
        .route("/outbox", get(letters))
        .route("/outbox/show", post(letter))
        .route("/outbox/retry", post(retry))
        .route("/outbox/drop", post(drop_letters))
        .with_state(Arc::new(requests));
    let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(e) = served.await {
        tracing::warn!("the control socket ended: {e}");
    }
}

type Answer = axum::response::Response;
type Requests = State<Arc<mpsc::Sender<Request>>>;

async fn status(State(requests): Requests) -> Answer {
    answer(ask(&requests, Request::Status).await)
}

async fn reload(State(requests): Requests) -> impl IntoResponse {
    match ask(&requests, Request::Reload).await {
        Some(Ok(said)) => (StatusCode::OK, said),
        Some(Err(faults)) => (StatusCode::UNPROCESSABLE_ENTITY, faults),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n".to_owned()),
    }
}

async fn silences(State(requests): Requests) -> Answer {
    answer(ask(&requests, |tx| Request::Ask(Ask::Silences(tx))).await)
}

async fn silence(State(requests): Requests, Json(order): Json<SilenceOrder>) -> Answer {
    match ask(&requests, |tx| Request::Ask(Ask::Silence(Box::new(order), tx))).await {
        Some(Err(fault)) => refusal(&fault.what, &fault.hint),
        given => answer(given.and_then(Result::ok)),
    }
}

/// Which silence is to end, which message is to be shown, or which rule is asked after.
#[derive(Deserialize)]
struct Named {
    id: String,
}

async fn why(State(requests): Requests, Json(Named { id }): Json<Named>) -> Answer {
    match ask(&requests, |tx| Request::Ask(Ask::Why(id, tx))).await {
        Some(Err(fault)) => refusal(&fault.what, &fault.hint),
        decisions => answer(decisions.and_then(Result::ok)),
    }
}

/// Which hit would come.
#[derive(Deserialize)]
struct Coming {
    rule: String,
    key: Vec<Box<str>>,
}

async fn outlook(State(requests): Requests, Json(Coming { rule, key }): Json<Coming>) -> Answer {
    match ask(&requests, |tx| Request::Ask(Ask::Outlook(rule, key, tx))).await {
        Some(Err(fault)) => refusal(&fault.what, &fault.hint),
        outlook => answer(outlook.and_then(Result::ok)),
    }
}

/// Whose hits are looked on at.
#[derive(Deserialize)]
struct Looked {
    rule: Option<String>,
}

async fn tap(State(requests): Requests, Json(Looked { rule }): Json<Looked>) -> Answer {
    match ask(&requests, |tx| Request::Ask(Ask::Tap(rule, tx))).await {
        Some(Ok(sight)) => Answer::new(Body::new(sight)),
        Some(Err(fault)) => refusal(&fault.what, &fault.hint),
        None => answer::<()>(None),
    }
}

async fn unsilence(State(requests): Requests, Json(Named { id }): Json<Named>) -> Answer {
    match ask(&requests, |tx| Request::Ask(Ask::Unsilence(id, tx))).await {
        Some(None) => refusal("no silence of this name is in force", "`logherald silences` lists them"),
        ended => answer(ended.flatten()),
    }
}

async fn letters(State(requests): Requests) -> Answer {
    answer(ask(&requests, |tx| Request::Ask(Ask::Letters(tx))).await)
}

async fn letter(State(requests): Requests, Json(Named { id }): Json<Named>) -> Answer {
    done(ask(&requests, |tx| Request::Ask(Ask::Letter(id, tx))).await)
}

async fn retry(State(requests): Requests, Json(which): Json<Which>) -> Answer {
    done(ask(&requests, |tx| Request::Ask(Ask::Retry(which, tx))).await)
}

async fn drop_letters(State(requests): Requests, Json(which): Json<Which>) -> Answer {
    done(ask(&requests, |tx| Request::Ask(Ask::Drop(which, tx))).await)
}

/// What came of an order about messages.
fn done<T: Serialize>(said: Option<Result<T, LetterFault>>) -> Answer {
    match said {
        Some(Err(fault)) => refusal(&fault.what, &fault.hint),
        said => answer(said.and_then(Result::ok)),
    }
}

/// What was asked for, or that nobody is there to answer.
fn answer<T: Serialize>(said: Option<T>) -> Answer {
    match said {
        Some(said) => Json(said).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n").into_response(),
    }
}

/// The order cannot be followed.
fn refusal(error: &str, hint: &str) -> Answer {
    (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({ "error": error, "hint": hint }))).into_response()
}

async fn ask<T>(
    requests: &mpsc::Sender<Request>,
    make: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Option<T> {
    let (tx, rx) = oneshot::channel();
    requests.send(make(tx)).await.ok()?;
    rx.await.ok()
}

/// Why the running agent could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nothing listens there.
    #[error("no agent answers on `{}`: {why}", path.display())]
    NoAgent {
        /// The socket.
        path: PathBuf,
        /// The system's reason.
        why: String,
    },
    /// The socket is there, and this user may not use it.
    #[error("the socket `{}` may not be used by this user", path.display())]
    Denied {
        /// The socket.
        path: PathBuf,
    },
    /// It answered, but not as it should.
    #[error("the agent on `{}` gave no proper answer: {why}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What went wrong.
        why: String,
    },
}

/// The agent's answer: HTTP status and body.
pub async fn call(path: &Path, method: &str, route: &str) -> Result<(u16, Vec<u8>), ControlError> {
    send(path, method, route, Vec::new()).await
}

/// The same for a request with JSON in it.
pub async fn send(
    path: &Path,
    method: &str,
    route: &str,
    json: Vec<u8>,
) -> Result<(u16, Vec<u8>), ControlError> {
    converse(path, method, route, json, async |response| whole(path, response).await).await
}

/// How an answer that has no end of its own was over.
#[derive(Debug)]
pub enum Followed {
    /// It never began: HTTP status and body.
    Refused(u16, Vec<u8>),
    /// Whoever took it wants no more of it.
    Stopped(std::io::Error),
    /// The agent has ended.
    Ended,
}

/// Follows such an answer: `began` when it begins, `each` with each of its lines, without its end.
pub async fn follow(
    path: &Path,
    route: &str,
    json: Vec<u8>,
    began: impl FnOnce() -> std::io::Result<()>,
    mut each: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<Followed, ControlError> {
    let take = async |mut response: Response<Incoming>| {
        if response.status() != StatusCode::OK {
            let (code, body) = whole(path, response).await?;
            return Ok(Followed::Refused(code, body));
        }
        if let Err(e) = began() {
            return Ok(Followed::Stopped(e));
        }
        let mut rest = Vec::new();
        // an agent that was killed ends it as one that was stopped
        while let Some(Ok(frame)) = response.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            rest.extend_from_slice(&data);
            while let Some(end) = rest.iter().position(|b| *b == b'\n') {
                if let Err(e) = each(&rest[..end]) {
                    return Ok(Followed::Stopped(e));
                }
                rest.drain(..=end);
            }
            if rest.len() > ANSWER_BYTES {
                return Err(broken(path, &"a line without an end"));
            }
        }
        Ok(Followed::Ended)
    };
    converse(path, "POST", route, json, take).await
}

fn broken(path: &Path, why: &impl ToString) -> ControlError {
    ControlError::Broken { path: path.to_owned(), why: why.to_string() }
}

/// Status and body of an answer.
async fn whole(path: &Path, response: Response<Incoming>) -> Result<(u16, Vec<u8>), ControlError> {
    let code = response.status().as_u16();
    let body = Limited::new(response.into_body(), ANSWER_BYTES).collect();
    Ok((code, in_time(path, body).await?.to_bytes().to_vec()))
}

async fn in_time<T, E: ToString>(
    path: &Path,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, ControlError> {
    match tokio::time::timeout(ANSWER_WITHIN, work).await {
        Ok(done) => done.map_err(|e| broken(path, &e)),
        Err(_) => Err(broken(path, &format!("nothing came within {} s", ANSWER_WITHIN.as_secs()))),
    }
}

/// Asks, and gives the answer to `take` when it begins.
async fn converse<T>(
    path: &Path,
    method: &str,
    route: &str,
    json: Vec<u8>,
    take: impl AsyncFnOnce(Response<Incoming>) -> Result<T, ControlError>,
) -> Result<T, ControlError> {
    let stream = UnixStream::connect(path).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::PermissionDenied => ControlError::Denied { path: path.to_owned() },
        _ => ControlError::NoAgent { path: path.to_owned(), why: e.to_string() },
    })?;
    let (mut sender, connection) =
        in_time(path, hyper::client::conn::http1::handshake(TokioIo::new(stream))).await?;
    let request = hyper::Request::builder()
        .method(method)
        .uri(route)
        .header("host", "localhost")
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(json)))
        .map_err(|e| broken(path, &e))?;
    let answer = async { take(in_time(path, sender.send_request(request)).await?).await };
    tokio::pin!(answer);
    tokio::pin!(connection);
    // the connection is driven beside the answer; when it ends first, the answer says how
    tokio::select! {
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    }
}
