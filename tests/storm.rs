//! A million lines: are a handful of messages enough, and do they state the exact million?

use std::io::Write as _;

use crate::end_to_end::hits_told;
use crate::harness::fake_chat::FakeChat;
use crate::harness::program::{Place, open_to_append, term};

/// Matching lines; `.ci/long` writes the full million.
fn lines() -> u64 {
    std::env::var("LOGHERALD_STORM_LINES").ok().and_then(|n| n.parse().ok()).unwrap_or(100_000)
}

#[test]
fn a_storm_costs_a_handful_of_messages_that_state_the_exact_number() {
    const KEYS: u64 = 200;
    let chat = FakeChat::start();
    let place = Place::new().env("HOOK", &chat.webhook_url("OPS"));
    place.rules(
        "[space.ops]\nwebhook = { env = 'HOOK' }\n[[rule]]\nname = 'storm'\nfiles = ['DIR/app.log']\n\
         match = 'storm from {ip}'\nby = ['ip']\nquiet = '3s'\nremind = '2s'\nmax_per_hour = 360\n",
    );
    place.append("app.log", "a quiet start\n");
    let agent = place.start();
    let mut file = open_to_append(&place.path("app.log"));
    let total = lines();
    let mut text = Vec::with_capacity(1 << 20);
    for seq in 0..total {
        let key = seq % KEYS;
        writeln!(text, "Nov 22 05:26:00 h app[1]: storm from 192.0.2.{key} seq={seq}").unwrap();
        if text.len() > 1 << 19 || seq + 1 == total {
            file.write_all(&text).unwrap();
            text.clear();
        }
    }
    let status = agent.wait_for_status("the storm to be told", |s| {
        term(s, "storm", "hits") == total && term(s, "storm", "pending") == 0
    });
    let messages = chat.messages("OPS");
    let rss_mib = agent.peak_rss_kib() / 1024;
    println!("measured: storm: {total} lines, {} messages, peak RSS {rss_mib} MiB", messages.len());
    assert_eq!(hits_told(&messages), total, "{status:#}");
    assert!(messages.len() <= 20, "{} messages", messages.len());
    assert!(rss_mib < 64, "peak RSS {rss_mib} MiB");
    assert_eq!(agent.stop(), 0);
}
