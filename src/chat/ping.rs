//! A sign of life to a watcher outside: one request, whose only content is that it comes.
//!
//! When it is sent, `agent` decides. Its URL is a secret of a kind: whoever knows it can pretend that this agent lives. So
//! it is never printed.

use std::fmt;
use std::time::Duration;

use super::http::client;

/// Whom to ping, and how often.
#[derive(Clone, PartialEq, Eq)]
pub struct Ping {
    url: String,
    loopback: bool,
    every: Duration,
}

impl Ping {
    /// `url` is an http or https URL; `loopback`: it leads to this machine.
    pub fn new(url: &str, loopback: bool, every: Duration) -> Ping {
        Ping { url: url.to_owned(), loopback, every }
    }

    /// How often.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// Sends one. `Err` says in words what went wrong, without the URL.
    pub async fn send(&self) -> Result<(), String> {
        let answer = client(self.loopback)?.get(&self.url).send().await;
        let status = answer.map_err(|e| e.without_url().to_string())?.status();
        if status.is_success() { Ok(()) } else { Err(format!("the answer is {status}")) }
    }
}

/// Without the URL.
impl fmt::Debug for Ping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ping").field("every", &self.every).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_url_is_not_printed() {
        let ping = Ping::new("https://hc.example/ping/s3cret", false, Duration::from_secs(60));
        assert_eq!(format!("{ping:?}"), "Ping { every: 60s, .. }");
    }
}
