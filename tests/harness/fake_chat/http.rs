//! As much HTTP/1.1 as the server needs.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// No request of ours comes near this.
const REQUEST_BYTES: usize = 1 << 20;

pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    /// The value of a query field, as it stands there.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.query.split('&').find_map(|p| p.strip_prefix(name)?.strip_prefix('='))
    }
}

/// Reads one request; `kept` holds what was read beyond it. Nothing at the end of the connection.
///
/// Tells its path when its head is there; its body never comes where the answer to that is false.
pub(super) async fn read(
    stream: &mut TcpStream,
    kept: &mut Vec<u8>,
    goes_on: impl FnOnce(&str) -> bool,
) -> Option<Request> {
    let end = loop {
        if let Some(end) = kept.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        more(stream, kept).await?;
    };
    let head = String::from_utf8(kept[..end].to_vec()).ok()?;
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: Vec<(String, String)> =
        lines.filter_map(|l| l.split_once(':')).map(|(k, v)| (k.to_owned(), v.trim().to_owned())).collect();
    let length = headers.iter().find(|(k, _)| k.eq_ignore_ascii_case("content-length"));
    let length: usize = length.map_or(Some(0), |(_, v)| v.parse().ok())?;
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    if !goes_on(path) {
        return None;
    }
    while kept.len() < end + 4 + length {
        more(stream, kept).await?;
    }
    let body = kept[end + 4..end + 4 + length].to_vec();
    kept.drain(..end + 4 + length);
    Some(Request { method, path: path.into(), query: query.into(), headers, body })
}

async fn more(stream: &mut TcpStream, kept: &mut Vec<u8>) -> Option<()> {
    let n = stream.read_buf(kept).await.ok()?;
    (n > 0 && kept.len() < REQUEST_BYTES).then_some(())
}

/// Writes one answer, all of it or only its first `bytes` of body.
pub(super) async fn write(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(String, String)],
    body: &str,
    bytes: usize,
) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {status} Because\r\nContent-Length: {}\r\n", body.len());
    if !headers.iter().any(|(k, _)| k.eq_ignore_ascii_case("content-type")) {
        head.push_str("Content-Type: application/json; charset=UTF-8\r\n");
    }
    for (k, v) in headers {
        head.extend([k.as_str(), ": ", v.as_str(), "\r\n"]);
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body.as_bytes()[..bytes.min(body.len())]).await?;
    stream.flush().await
}
