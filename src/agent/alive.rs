//! The ping to a watcher outside, who raises the alarm when it stays away.
//!
//! It is earned, as the watchdog's is: it goes out only while the reader and the desk, which commits, have both had a turn.
//! What it says is that lines are read, judged and kept. Whether Chat takes messages it does not say; that is told in the
//! admin space, and where there is none, by the watcher that hears nothing of a machine without a network.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::service::have_turns;
use crate::chat::Ping;
use crate::time::Clock;

/// Pings whom the rules name now, until stopped.
pub(super) async fn ping(
    mut whom: watch::Receiver<Option<Ping>>,
    pulses: Vec<Arc<AtomicU64>>,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut reached = true;
    loop {
        let ping = whom.borrow_and_update().clone();
        let Some(ping) = ping else {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = whom.changed() => if changed.is_err() { return },
            }
            continue;
        };
        if have_turns(&pulses, clock.now().tick) {
            let answer = tokio::select! {
                () = stop.cancelled() => return,
                answer = ping.send() => answer,
            };
            match (&answer, reached) {
                (Err(why), true) => warn!("the watcher outside that [alive] names was not reached: {why}"),
                (Ok(()), false) => info!("the watcher outside that [alive] names is reached again"),
                _ => {}
            }
            reached = answer.is_ok();
        }
        tokio::select! {
            () = stop.cancelled() => return,
            changed = whom.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(ping.every()) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::time::{advance, pause, resume, timeout};

    use super::*;
    use crate::time::{Now, Tick, Wall};

    const MINUTE: Duration = Duration::from_secs(60);

    /// Answers one request.
    async fn answer(listener: &TcpListener) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "half a request");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
        String::from_utf8(request).unwrap().lines().next().unwrap_or_default().to_owned()
    }

    /// The watcher outside is to hear nothing of an agent that hangs, however often the turn of a ping comes.
    #[tokio::test]
    async fn no_ping_is_sent_while_a_stage_is_stuck_and_one_when_it_goes_on() {
        let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        door.set_nonblocking(true).unwrap();
        let listener = TcpListener::from_std(door.try_clone().unwrap()).unwrap();
        let url = format!("http://{}/alive", listener.local_addr().unwrap());
        let (_rules, whom) = watch::channel(Some(Ping::new(&url, true, MINUTE)));
        let clock = Clock::by_hand(Now { wall: Wall(0), tick: Tick(60_000) });
        let [reader, desk] = [60_000, 0].map(|turn| Arc::new(AtomicU64::new(turn)));
        let stop = CancellationToken::new();
        let pinging = ping(whom, vec![reader, Arc::clone(&desk)], clock.clone(), stop.clone());
        tokio::pin!(pinging);
        let nobody_asks = || door.accept().is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock);

        pause();
        timeout(MINUTE * 10, &mut pinging).await.expect_err("it goes on until it is stopped");
        assert!(nobody_asks(), "the desk has had no turn");

        desk.store(60_000, Ordering::Relaxed);
        advance(MINUTE).await;
        resume();
        let asked = tokio::select! {
            () = &mut pinging => panic!("it goes on until it is stopped"),
            asked = timeout(MINUTE, answer(&listener)) => asked.expect("a ping for the turn that it had"),
        };
        assert_eq!(asked, "GET /alive HTTP/1.1");

        clock.pass(MINUTE);
        pause();
        timeout(MINUTE * 10, &mut pinging).await.expect_err("it goes on until it is stopped");
        assert!(nobody_asks(), "no stage has had another turn");
        stop.cancel();
        pinging.await;
    }
}
