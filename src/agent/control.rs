//! The control socket: HTTP/1.1 on a Unix socket in the runtime directory, mode 0660.
//!
//! HTTP, so that `curl --unix-socket` works and metrics can join later; a socket, so that no port is open. The agent
//! side answers from the desk and the reader; the client side is what `status` and `reload` use.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::status::Status;

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
        .with_state(Arc::new(requests));
    let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(e) = served.await {
        tracing::warn!("the control socket ended: {e}");
    }
}

type Requests = State<Arc<mpsc::Sender<Request>>>;

async fn status(State(requests): Requests) -> impl IntoResponse {
    match ask(&requests, Request::Status).await {
        Some(status) => Json(status).into_response(),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n").into_response(),
    }
}

async fn reload(State(requests): Requests) -> impl IntoResponse {
    match ask(&requests, Request::Reload).await {
        Some(Ok(said)) => (StatusCode::OK, said),
        Some(Err(faults)) => (StatusCode::UNPROCESSABLE_ENTITY, faults),
        None => (StatusCode::SERVICE_UNAVAILABLE, "the agent is stopping\n".to_owned()),
    }
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
    let broken = |why: String| ControlError::Broken { path: path.to_owned(), why };
    let stream = UnixStream::connect(path).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::PermissionDenied => ControlError::Denied { path: path.to_owned() },
        _ => ControlError::NoAgent { path: path.to_owned(), why: e.to_string() },
    })?;
    let exchange = async {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| broken(e.to_string()))?;
        let request = hyper::Request::builder()
            .method(method)
            .uri(route)
            .header("host", "localhost")
            .body(Empty::<Bytes>::new())
            .map_err(|e| broken(e.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|e| broken(e.to_string()))?;
            let code = response.status().as_u16();
            let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await;
            Ok((code, body.map_err(|e| broken(e.to_string()))?.to_bytes().to_vec()))
        };
        tokio::pin!(answer);
        tokio::pin!(connection);
        // the connection is driven beside the answer; when it ends first, the answer says how
        tokio::select! {
            answer = &mut answer => answer,
            _ = &mut connection => answer.await,
        }
    };
    match tokio::time::timeout(ANSWER_WITHIN, exchange).await {
        Ok(answer) => answer,
        Err(_) => Err(broken(format!("nothing came within {} s", ANSWER_WITHIN.as_secs()))),
    }
}
