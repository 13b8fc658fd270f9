//! Killed, stopped and lied to: does every hit still come out once, under one id and with one body?

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;

use crate::end_to_end::{hits_told, kills};
use crate::harness::counted::{self, Writer};
use crate::harness::dice::Dice;
use crate::harness::fake_chat::{FakeChat, Fault, Received};
use crate::harness::power::Power;
use crate::harness::program::{Agent, DEADLINE, Place, stopwatch, term};

/// The agent must have ended so long after SIGTERM, on a machine that has much else to do.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// A row that failed again and again waits up to a minute for its next try, and others after it.
const BACKOFF: Duration = Duration::from_secs(400);

const WEBHOOK: &str =
    "[space.ops]\nwebhook = { env = 'HOOK' }\nwait = '100ms'\nwait_at_most = '500ms'\nmax_per_hour = 3600\n";
const REST: &str = "[space.ops]\nname = 'spaces/OPS'\nservice_account = { file = 'DIR/key.json' }\nwait = '100ms'\n\
                    wait_at_most = '500ms'\nmax_per_hour = 3600\n";
const BOSS: &str = "[space.boss]\nwebhook = { env = 'BOSS' }\nwait = '100ms'\n";
const RULE: &str = "[[rule]]\nname = 'trouble'\nfiles = ['DIR/app.log']\nspace = 'ops'\n\
                    match = 'trouble (?<part>\\w+) seq=\\d+'\nby = ['part']\nquiet = '2s'\nremind = '1s'\nmax_per_hour = 3600\n";

/// A folder whose rules know the server; both kinds of space are called OPS there.
fn place(chat: &FakeChat, rules: &str) -> Place {
    let place = Place::new().env("HOOK", &chat.webhook_url("OPS")).env("BOSS", &chat.webhook_url("BOSS"));
    chat.key_file(&place.path(""));
    place.rules(&format!("{rules}\n[chat]\napi_url = '{}'\n", chat.base_url()));
    place.append("app.log", "this line was there before\n");
    place
}

/// Nothing came twice under two ids, and no id had two bodies.
pub(crate) fn each_once(chat: &FakeChat) {
    assert_eq!(chat.violations(), Vec::<String>::new());
    let messages = chat.all_messages();
    let bodies: HashSet<&str> = messages.iter().map(|m| m.raw.as_str()).collect();
    assert_eq!(bodies.len(), messages.len(), "one body came under two ids");
    let ids: HashSet<&str> = messages.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(ids.len(), messages.len(), "one id was stored twice");
}

/// What a server that has a bad day does next.
fn fault(dice: &mut Dice) -> Fault {
    match dice.below(8) {
        0 => Fault::ResetBefore,
        1 | 2 => Fault::ResetAfter,
        3 => Fault::status(503),
        4 => Fault::Truncate,
        5 => Fault::WrongSpace,
        6 => Fault::html(),
        _ => Fault::Stall,
    }
}

fn killed_at_any_instant(space: &str) {
    let chat = FakeChat::start();
    chat.add_space("OPS");
    let place = place(&chat, &format!("{space}{RULE}"));
    ended_at_any_instant(&chat, &place, "kills", kills(), |agent, _| agent.kill());
}

/// The agent ends that often, in that way, while hits come and the server has bad days.
fn ended_at_any_instant(
    chat: &FakeChat,
    place: &Place,
    what: &str,
    times: u32,
    mut end: impl FnMut(Agent<'_>, &mut Dice),
) {
    let mut dice = Dice::new();
    let (mut matching, mut seq) = (0, 0);
    let mut text = String::new();
    let mut agent = place.start();
    for _ in 0..times {
        chat.mend();
        if dice.below(2) == 0 {
            chat.next(fault(&mut dice));
        }
        for _ in 0..=dice.below(4) {
            for _ in 0..dice.below(60) {
                seq += 1;
                if dice.below(3) == 0 {
                    matching += 1;
                    writeln!(text, "2026-11-22T05:26:00Z h app: trouble p{} seq={seq}", seq % 5).unwrap();
                } else {
                    writeln!(text, "2026-11-22T05:26:00Z h app: all is well seq={seq}").unwrap();
                }
            }
            // any part of it, so that the end of a write is seldom the end of a line
            let cut = dice.below(text.len() as u64 + 1) as usize;
            place.append("app.log", &text[..cut]);
            text.drain(..cut);
            agent.live(Duration::from_millis(dice.below(400)));
        }
        if dice.below(2) == 0 {
            // between a request and its answer, or right after
            chat.wait_for_more_than(chat.attempts().len(), Duration::from_secs(3));
        }
        end(agent, &mut dice);
        agent = place.launch(&[]);
    }
    place.append("app.log", &text);
    chat.mend();
    agent.wait_for_log("watching ");
    let status = agent.wait_for_status_within(BACKOFF, "every hit to be told", |s| {
        term(s, "trouble", "hits") >= matching && term(s, "trouble", "pending") == 0
    });
    assert_eq!(term(&status, "trouble", "hits"), matching, "{status:#}");
    assert_eq!(term(&status, "trouble", "lost"), 0, "{status:#}");
    assert_eq!(status["spaces"]["ops"]["dead_letters"], 0, "{status:#}");
    let messages = chat.messages("OPS");
    assert_eq!(hits_told(&messages), matching, "{status:#}");
    each_once(chat);
    let again = messages.iter().filter(|m| m.times > 1).count();
    println!(
        "measured: crash: {times} {what}, {matching} hits, {} messages, {again} sent again",
        messages.len()
    );
    assert_eq!(agent.stop(), 0);
}

/// How often the agent is killed while lines stream in. Each of these costs a start and no waiting for a server.
pub(crate) fn kills_under_load() -> u32 {
    std::env::var("LOGHERALD_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(50)
}

/// A folder whose rules count the lines that are written there.
fn counting() -> Place {
    let place = Place::new();
    place.rules(&counted::rules(&["*.log"]));
    place
}

/// The same, where what they say goes to a server that resets every connection.
fn counting_for(chat: &FakeChat) -> Place {
    let place = Place::new().env("HOOK", &chat.webhook_url("OPS"));
    let rules = counted::rules(&["*.log"]).replacen("[defaults]\n", "[defaults]\nspace = 'ops'\n", 1);
    place.rules(&format!("{WEBHOOK}[chat]\napi_url = '{}'\n{rules}", chat.base_url()));
    chat.outage(true);
    place
}

/// Three programs write all the while, and one of their logs is renamed now and then. The agent may end while it starts,
/// reads, commits or catches up.
fn each_line_is_hit_once_however_often(
    place: &Place,
    what: &str,
    times: u32,
    more: &[&str],
    mut end: impl FnMut(Agent<'_>, &mut Dice),
) {
    let logs = ["app.log", "access.log", "audit.log"];
    let mut writers = logs.map(|log| Writer::start(&place.path(log)));
    let mut dice = Dice::new();
    let mut renamed = 0;
    let mut agent = place.start_with(more);
    for _ in 0..times {
        for writer in &mut writers {
            writer.write(dice.below(400));
        }
        let at = dice.below(3) as usize;
        // a writer that was told to begin its log anew may not have done so yet
        if dice.once_in(3) && place.path(logs[at]).exists() {
            renamed += 1;
            fs::rename(place.path(logs[at]), place.path(&format!("{}.{renamed}", logs[at]))).unwrap();
            writers[at].hang_up();
        }
        agent.live(Duration::from_millis(dice.below(500)));
        end(agent, &mut dice);
        agent = place.launch(more);
        // lines stream in, but not without end: the writers are at most one round ahead
        writers.iter_mut().for_each(Writer::wait);
    }
    agent.kill();
    let agent = place.start_with(more);
    let writers: Vec<&Writer> = writers.iter().collect();
    counted::each_line_was_hit_once(place, agent, &writers);
    let lines: u64 = writers.iter().map(|w| w.written()).sum();
    println!("measured: crash: {times} {what}, {renamed} renames: {lines} lines, 0 lost, 0 hit twice");
}

/// Scenario T34.
#[test]
fn no_line_is_lost_or_hit_twice_however_often_the_agent_is_killed_under_load() {
    let what = "kills under load";
    let kill = |agent: Agent<'_>, _: &mut Dice| agent.kill();
    each_line_is_hit_once_however_often(&counting(), what, kills_under_load(), &[], kill);
}

/// Scenario T34, where no event tells of anything.
#[test]
fn no_line_is_lost_or_hit_twice_by_kills_where_changes_are_found_by_looking() {
    let what = "kills under load without inotify";
    let kill = |agent: Agent<'_>, _: &mut Dice| agent.kill();
    each_line_is_hit_once_however_often(&counting(), what, kills_under_load() / 5, &["--no-inotify"], kill);
}

/// Scenario T34, where nothing that is said arrives.
#[test]
fn no_line_is_lost_or_hit_twice_by_kills_while_delivery_is_blocked() {
    let chat = FakeChat::start();
    let kill = |agent: Agent<'_>, _: &mut Dice| agent.kill();
    let what = "kills, delivery blocked";
    each_line_is_hit_once_however_often(&counting_for(&chat), what, kills_under_load() / 5, &[], kill);
    assert_eq!(chat.all_messages().len(), 0);
}

/// How often the power fails, and no line is lost by it.
fn no_line_is_lost_by_power_cuts(place: Place, what: &str, times: u32, more: &[&str]) {
    let Some((place, power)) = Power::over(place) else { return };
    let mut lost = 0;
    each_line_is_hit_once_however_often(&place, what, times, more, |agent, dice| {
        lost += power.fails(agent, dice);
    });
    assert!(power.is_known(), "the library was not there");
    println!("measured: {what}: {lost} pages of 4 KiB written and lost");
}

/// Scenario T35.
#[test]
fn no_line_is_lost_or_hit_twice_however_often_the_power_fails() {
    no_line_is_lost_by_power_cuts(counting(), "power cuts", kills_under_load() / 2, &[]);
}

/// Scenario T35, where no event tells of anything.
#[test]
fn no_line_is_lost_or_hit_twice_by_power_cuts_where_changes_are_found_by_looking() {
    let what = "power cuts without inotify";
    no_line_is_lost_by_power_cuts(counting(), what, kills_under_load() / 5, &["--no-inotify"]);
}

/// Scenario T35, where nothing that is said arrives.
#[test]
fn no_line_is_lost_or_hit_twice_by_power_cuts_while_delivery_is_blocked() {
    let chat = FakeChat::start();
    let what = "power cuts, delivery blocked";
    no_line_is_lost_by_power_cuts(counting_for(&chat), what, kills_under_load() / 5, &[]);
    assert_eq!(chat.all_messages().len(), 0);
}

#[test]
fn the_rest_api_is_told_every_hit_once_however_often_the_power_fails() {
    let chat = FakeChat::start();
    chat.add_space("OPS");
    let place = place(&chat, &format!("{REST}{RULE}"));
    let Some((place, power)) = Power::over(place) else { return };
    ended_at_any_instant(&chat, &place, "power cuts", kills(), |agent, dice| {
        power.fails(agent, dice);
    });
}

#[test]
fn a_webhook_is_told_every_hit_once_whenever_the_agent_is_killed() {
    killed_at_any_instant(WEBHOOK);
}

#[test]
fn the_rest_api_is_told_every_hit_once_whenever_the_agent_is_killed() {
    killed_at_any_instant(REST);
}

#[test]
fn a_line_written_after_the_first_start_is_matched_though_the_agent_is_killed_at_once() {
    let place = Place::new();
    place.rules(
        "[[rule]]\nname = 'trouble'\nfiles = ['DIR/*.log']\nmatch = 'trouble'\nthreshold = 3\nwithin = '1m'\n",
    );
    place.append("app.log", "trouble that was there before\n");
    let agent = place.start();
    place.append("app.log", "trouble 1\n");
    agent.kill();
    let mut agent = place.start();
    place.append("app.log", "trouble 2\ntrouble 3\n");
    agent.wait_for_output("trouble 3");
    let status = agent.wait_for_status("three hits", |s| term(s, "trouble", "shown") > 0);
    assert_eq!(term(&status, "trouble", "hits"), 3, "{status:#}");
    assert_eq!(agent.stop(), 0);
}

#[test]
fn a_line_written_after_the_first_start_is_matched_though_the_power_fails_at_once() {
    let Some((place, power)) = Power::over(Place::new()) else { return };
    place.rules("[[rule]]\nname = 'trouble'\nfiles = ['DIR/*.log']\nmatch = 'trouble'\n");
    place.append("app.log", "trouble that was there before\n");
    let agent = place.start();
    power.fails_at_its_worst(agent);
    place.append("app.log", "trouble 1\n");
    let agent = place.start();
    let status = agent.wait_for_status("the hit", |s| term(s, "trouble", "hits") > 0);
    assert_eq!(term(&status, "trouble", "hits"), 1, "{status:#}");
    assert_eq!(agent.stop(), 0);
}

/// Entries are lines `N TEXT` of the file beside it; the cursor of one is `N`.
const JOURNALCTL: &str = r#"#!/bin/bash
store="$(dirname "$0")/entries"
after=0; follow=; lines=
for arg in "$@"; do
  case "$arg" in
    --cursor=*) after="$((${arg#*=} - 1))" ;;
    --follow) follow=1 ;;
    --lines=1) lines=1 ;;
  esac
done
show() { while read -r n text; do
  [ "$n" -gt "$after" ] || continue
  after="$n"
  printf '{"__CURSOR":"%s","__REALTIME_TIMESTAMP":"%s000000","_HOSTNAME":"h","SYSLOG_IDENTIFIER":"app","MESSAGE":"%s"}\n' "$n" "$n" "$text"
done; }
if [ -n "$lines" ]; then tail -n 1 "$store" | show; exit 0; fi
show < "$store"
[ -z "$follow" ] && exit 0
while [ -e "$store" ]; do show < "$store"; read -r -t 0.02 <> <(:) || :; done
"#;

#[test]
fn an_entry_of_the_journal_that_came_after_the_first_start_is_matched_though_the_agent_is_killed_at_once() {
    let place = Place::new();
    let path = format!("{}:{}", place.path("").display(), std::env::var("PATH").unwrap());
    let place = place.env("PATH", &path);
    crate::harness::script(&place.path("journalctl"), JOURNALCTL);
    place.rules("[[rule]]\nname = 'trouble'\njournal = 'app.service'\nmatch = 'trouble'\n");
    place.append("entries", "1 trouble that was there before\n");
    place.start().kill();
    place.append("entries", "2 trouble after the start\n");
    let mut agent = place.start();
    agent.wait_for_output("trouble after the start");
    assert_eq!(term(&agent.status(), "trouble", "hits"), 1);
    assert_eq!(stops(agent), 0);
}

/// Stops the agent; the exit code, which must come in time.
fn stops(agent: Agent<'_>) -> i32 {
    let begun = stopwatch();
    let code = agent.stop();
    assert!(begun.elapsed() < STOPS_WITHIN, "stopping took {:?}", begun.elapsed());
    code
}

#[test]
fn a_message_to_a_server_that_stalls_does_not_hold_up_the_end_and_goes_out_again_after_it() {
    let chat = FakeChat::start();
    let place = place(&chat, &format!("{WEBHOOK}{RULE}"));
    let agent = place.start();
    chat.next(Fault::Stall);
    place.append("app.log", "trouble a seq=1\n");
    chat.wait_for_attempts(1, DEADLINE);
    place.append("app.log", "trouble b seq=2\ntrouble a seq=3\n");
    agent.wait_for_status("three hits", |s| term(s, "trouble", "hits") == 3);
    // a reload waits for the request too, and is no reason not to stop
    agent.signal(Signal::HUP);
    assert_eq!(stops(agent), 0);
    let before = chat.messages("OPS");
    assert_eq!(before.len(), 1, "the server has it, the agent does not know");

    let agent = place.start();
    agent.wait_for_status("every hit to be told", |s| term(s, "trouble", "pending") == 0);
    let messages = chat.messages("OPS");
    assert_eq!((messages[0].times, messages[0].raw.as_str()), (2, before[0].raw.as_str()));
    assert_eq!(hits_told(&messages), 3);
    each_once(&chat);
    assert_eq!(stops(agent), 0);
}

#[test]
fn a_terminal_that_nobody_reads_does_not_hold_up_the_end() {
    let place = Place::new();
    place.rules(
        "[space.screen]\nconsole = true\nmax_per_hour = 3600\n[[rule]]\nname = 'trouble'\nfiles = ['DIR/app.log']\n\
         match = 'trouble (?<n>\\d+)'\nby = ['n']\nmax_per_hour = 3600\n",
    );
    place.append("app.log", "this line was there before\n");
    let agent = place.start_unheard();
    // a pipe takes 64 KiB, then who writes into it stands still
    let mut written = 0;
    let waiting = |agent: &Agent<'_>| agent.status()["spaces"]["screen"]["outbox"].as_u64().unwrap();
    while waiting(&agent) < 3 {
        assert!(written < 500, "the terminal takes everything");
        written += 1;
        place.append("app.log", &format!("trouble {written} {}\n", "and more ".repeat(100)));
    }
    agent.wait_for_status("every line to be read", |s| term(s, "trouble", "hits") == written);
    assert_eq!(stops(agent), 0);
    let agent = place.start();
    agent.wait_for_status("every hit to be shown", |s| term(s, "trouble", "shown") == written);
    assert_eq!(stops(agent), 0);
}

#[test]
fn a_429_is_waited_out_as_long_as_it_says() {
    let chat = FakeChat::start();
    let place = place(&chat, &format!("{WEBHOOK}{RULE}"));
    let agent = place.start();
    chat.answer_next(429, &[("Retry-After", "4")], "");
    place.append("app.log", "trouble a seq=1\n");
    chat.wait_for(1, DEADLINE);
    let attempts = chat.attempts();
    assert_eq!(attempts.iter().map(|a| a.status).collect::<Vec<_>>(), [429, 200]);
    assert!(attempts[1].at - attempts[0].at >= Duration::from_secs(4));
    assert_eq!(attempts[0].line, attempts[1].line, "the same ids");
    agent.wait_for_status("the hit to be told", |s| term(s, "trouble", "shown") == 1);
    each_once(&chat);
    assert_eq!(stops(agent), 0);
}

#[test]
fn a_retry_after_is_kept_over_a_kill() {
    let chat = FakeChat::start();
    let place = place(&chat, &format!("{WEBHOOK}{RULE}"));
    let mut agent = place.start();
    chat.answer_next(429, &[("Retry-After", "5")], "");
    place.append("app.log", "trouble a seq=1\n");
    agent.wait_for_log("not delivered yet (failed tries: 0): 429");
    // what waits for the next second's commit is on disk when another row is
    place.append("app.log", "trouble b seq=2\n");
    agent.wait_for_status("a second message", |s| s["spaces"]["ops"]["outbox"] == 2);
    agent.kill();
    let agent = place.start();
    chat.wait_for(1, DEADLINE);
    let attempts = chat.attempts();
    assert!(attempts[1].at - attempts[0].at >= Duration::from_secs(5), "{attempts:#?}");
    agent.wait_for_status("every hit to be told", |s| term(s, "trouble", "pending") == 0);
    each_once(&chat);
    assert_eq!(stops(agent), 0);
}

const DENIED: &str =
    r#"{"error":{"code":403,"message":"The caller does not have permission","status":"PERMISSION_DENIED"}}"#;

fn of<'a>(messages: &'a [Received], space: &str) -> Vec<&'a Received> {
    messages.iter().filter(|m| m.space == space).collect()
}

#[test]
fn a_403_pauses_the_space_tells_the_admin_space_and_a_reload_tries_again_at_once() {
    let chat = FakeChat::start();
    let place = place(&chat, &format!("admin = 'boss'\n{WEBHOOK}{BOSS}{RULE}"));
    let agent = place.start();
    chat.answer_next(403, &[], DENIED);
    place.append("app.log", "trouble a seq=1\n");
    let told = chat.wait_until(DEADLINE, "a notice", |m| !of(m, "BOSS").is_empty());
    let notice = of(&told, "BOSS")[0].shown();
    assert!(
        notice.contains("the space `ops` is paused and its messages wait: 403 PERMISSION_DENIED"),
        "{notice}"
    );
    assert!(notice.contains("make a new webhook in the space&#39;s settings"), "{notice}");
    place.append("app.log", "trouble b seq=2\n");
    let status = agent.wait_for_status("a second message to wait", |s| s["spaces"]["ops"]["outbox"] == 2);
    assert_eq!(
        status["spaces"]["ops"]["trouble"],
        "paused: 403 PERMISSION_DENIED: The caller does not have permission"
    );
    assert_eq!((term(&status, "trouble", "pending"), chat.messages("OPS").len()), (2, 0));

    // the server is mended, which nobody can know; the operator says so
    place.says(&["reload", "--state", "state"]);
    let status = agent.wait_for_status("every hit to be told", |s| term(s, "trouble", "pending") == 0);
    assert_eq!(status["spaces"]["ops"]["trouble"], serde_json::Value::Null);
    assert_eq!(hits_told(&chat.messages("OPS")), 2);
    each_once(&chat);
    assert_eq!(stops(agent), 0);
}

#[test]
fn after_a_400_a_plain_form_goes_out_under_a_new_id_and_a_second_400_makes_a_dead_letter() {
    const BAD: &str = r#"{"error":{"code":400,"message":"Invalid value","status":"INVALID_ARGUMENT"}}"#;
    let chat = FakeChat::start();
    let place = place(&chat, &format!("admin = 'boss'\n{WEBHOOK}{BOSS}{RULE}"));
    let agent = place.start();
    chat.answer_next(400, &[], BAD);
    place.append("app.log", "trouble a seq=1\n");
    let messages = chat.wait_for(1, DEADLINE);
    assert!(messages[0].body["cardsV2"].is_null(), "{}", messages[0].raw);
    assert!(messages[0].shown().contains("trouble a seq=1"), "{}", messages[0].raw);
    agent.wait_for_status("the hit to be told", |s| term(s, "trouble", "shown") == 1);

    chat.answer_next(400, &[], BAD);
    chat.answer_next(400, &[], BAD);
    place.append("app.log", "trouble b seq=2\n");
    let told = chat.wait_until(DEADLINE, "a notice", |m| !of(m, "BOSS").is_empty());
    let notice = of(&told, "BOSS")[0].shown();
    assert!(
        notice.contains("the space `ops` refused a message for good: 400 INVALID_ARGUMENT: Invalid value"),
        "{notice}"
    );
    let status = agent.wait_for_status("the dead letter", |s| s["spaces"]["ops"]["dead_letters"] == 1);
    assert_eq!((term(&status, "trouble", "hits"), term(&status, "trouble", "pending")), (2, 1), "{status:#}");
    assert_eq!(status["spaces"]["ops"]["outbox"], 0, "{status:#}");
    let lines: Vec<String> =
        chat.attempts().into_iter().filter(|a| a.space.as_deref() == Some("OPS")).map(|a| a.line).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(lines.iter().collect::<HashSet<_>>().len(), 4, "every form has an id of its own: {lines:#?}");
    each_once(&chat);
    agent.kill();
    let agent = place.start();
    let status = agent.status();
    assert_eq!((term(&status, "trouble", "hits"), term(&status, "trouble", "pending")), (2, 1), "{status:#}");
    assert_eq!(status["spaces"]["ops"]["dead_letters"], 1, "{status:#}");
    assert_eq!(stops(agent), 0);
}

#[test]
fn a_reload_while_a_message_is_in_flight_neither_loses_nor_doubles_it_and_keeps_the_pace() {
    let chat = FakeChat::start();
    let rules = format!("{WEBHOOK}{}", RULE.replace("space = 'ops'", "space = 'ops'\nseverity = 'critical'"));
    let place = place(&chat, &rules);
    let agent = place.start();
    chat.next(Fault::Stall);
    place.append("app.log", "trouble p0 seq=0\n");
    chat.wait_for_attempts(1, DEADLINE);
    place.says(&["reload", "--state", "state"]);
    chat.wait_until(DEADLINE, "second try", |m| m[0].times == 2);
    for n in 1..6 {
        place.append("app.log", &format!("trouble p{n} seq={n}\n"));
        chat.wait_until(DEADLINE, "next message", |m| m.len() > n);
        place.says(&["reload", "--state", "state"]);
    }
    let status = agent.wait_for_status("every hit to be told", |s| {
        term(s, "trouble", "hits") == 6 && term(s, "trouble", "pending") == 0
    });
    let messages = chat.messages("OPS");
    assert_eq!(hits_told(&messages), 6, "{status:#}");
    assert_eq!(messages.iter().map(|m| m.times).collect::<Vec<_>>(), [2, 1, 1, 1, 1, 1]);
    assert_eq!(chat.pace_violations("OPS"), 0, "{:#?}", chat.attempts());
    each_once(&chat);
    assert_eq!(stops(agent), 0);
}

#[test]
fn what_waits_for_a_space_that_is_removed_is_a_dead_letter_and_later_hits_go_elsewhere() {
    let chat = FakeChat::start();
    let rules = format!("admin = 'boss'\n{WEBHOOK}{BOSS}{RULE}");
    let place = place(&chat, &rules);
    let agent = place.start();
    chat.answer_next(503, &[("Retry-After", "600")], "");
    place.append("app.log", "trouble a seq=1\n");
    agent.wait_for_status("the try to fail", |s| s["spaces"]["ops"]["trouble"].is_string());
    place.append("app.log", "trouble b seq=2\n");
    agent.wait_for_status("two messages to wait", |s| s["spaces"]["ops"]["outbox"] == 2);

    place.rules(&format!("{BOSS}{}", RULE.replace("'ops'", "'boss'")));
    place.says(&["reload", "--state", "state"]);
    let told = chat.wait_until(DEADLINE, "a notice", |m| m.iter().any(|m| m.shown().contains("waited for")));
    let notice = told.iter().map(Received::shown).find(|m| m.contains("waited for")).unwrap();
    assert!(
        notice.contains("2 messages waited for the space `ops`, which is in the rules no more"),
        "{notice}"
    );
    place.append("app.log", "trouble a seq=3\ntrouble c seq=4\n");
    let status = agent.wait_for_status("the later hits to be told", |s| {
        term(s, "trouble", "hits") == 4 && term(s, "trouble", "pending") == 2
    });
    assert_eq!(term(&status, "trouble", "lost"), 0, "{status:#}");
    assert_eq!(hits_told(&chat.messages("BOSS")), 2, "{status:#}");
    assert_eq!(status["spaces"]["ops"]["dead_letters"], 2, "what is dead is seen: {status:#}");
    each_once(&chat);
    assert_eq!(stops(agent), 0);
}

#[test]
fn what_waits_for_a_space_that_becomes_a_terminal_is_shown_as_a_card() {
    let chat = FakeChat::start();
    let place = place(&chat, &format!("{WEBHOOK}{RULE}"));
    let mut agent = place.start();
    chat.answer_next(403, &[], DENIED);
    place.append("app.log", "trouble a seq=1\n");
    agent.wait_for_log("is paused");
    place.rules(&format!("[space.ops]\nconsole = true\n{RULE}"));
    place.says(&["reload", "--state", "state"]);
    let shown = agent.wait_for_output("trouble a seq=1");
    assert!(!shown.contains('{'), "{shown}");
    agent.wait_for_status("the hit to be told", |s| term(s, "trouble", "shown") == 1);
    assert_eq!(stops(agent), 0);
}

#[test]
fn a_message_that_is_missing_from_the_state_is_lost_in_the_books_and_its_incident_goes_on() {
    let chat = FakeChat::start();
    let place = place(&chat, &format!("{WEBHOOK}{RULE}"));
    let mut agent = place.start();
    chat.answer_next(403, &[], DENIED);
    place.append("app.log", "trouble a seq=1\n");
    agent.wait_for_log("is paused");
    assert_eq!(stops(agent), 0);
    let state = rusqlite::Connection::open(place.path("state/state.db")).unwrap();
    // beside it may wait what the admin space, which is this one, is to hear of the pause
    let hit = "DELETE FROM outbox WHERE CAST(draft AS TEXT) LIKE '%trouble a seq=1%'";
    assert_eq!(state.execute(hit, []).unwrap(), 1);
    drop(state);

    let mut agent = place.start_with(&[]);
    agent.wait_for_status("the loss", |s| term(s, "trouble", "lost") == 1);
    let missing = "a message is missing from the state: its hits are lost";
    chat.wait_until(DEADLINE, "word of the loss", |messages| {
        messages.iter().any(|m| m.shown().contains(missing))
    });
    place.append("app.log", "trouble a seq=2\n");
    let status = agent.wait_for_status("the next hit of the same key", |s| term(s, "trouble", "told") == 1);
    assert_eq!((term(&status, "trouble", "hits"), term(&status, "trouble", "pending")), (2, 0), "{status:#}");
    agent.live(Duration::ZERO);
    assert_eq!(stops(agent), 0);
}

/// What systemd hears.
pub(crate) struct Systemd(UnixDatagram);

impl Systemd {
    /// A place whose agent tells systemd.
    pub(crate) fn is_told_by(place: Place) -> Place {
        let socket = place.path("notify").display().to_string();
        place.env("NOTIFY_SOCKET", &socket)
    }

    pub(crate) fn listen(place: &Place) -> Systemd {
        let path = place.path("notify");
        _ = fs::remove_file(&path);
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Systemd(socket)
    }

    /// The next message that has this line; what came before it is dropped.
    fn hears(&self, line: &str) -> Vec<String> {
        self.hears_one(line, |l| l == line)
    }

    /// The next message of which a line is as `wanted`; what came before it is dropped.
    pub(crate) fn hears_one(&self, what: &str, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let mut bytes = [0; 4096];
        let mut before = Vec::new();
        loop {
            let Ok(n) = self.0.recv(&mut bytes) else { panic!("no `{what}` came; there were {before:#?}") };
            let said: Vec<String> = String::from_utf8_lossy(&bytes[..n]).lines().map(str::to_owned).collect();
            if said.iter().any(|l| wanted(l)) {
                return said;
            }
            before.push(said);
        }
    }
}

fn under_systemd(env: &[(&str, &str)]) -> Place {
    let mut place = Systemd::is_told_by(Place::new());
    for (name, value) in env {
        place = place.env(name, value);
    }
    place.rules("[[rule]]\nname = 'trouble'\nfiles = ['DIR/app.log']\nmatch = 'trouble'\n");
    place.append("app.log", "this line was there before\n");
    place
}

fn value<'a>(said: &'a [String], name: &str) -> &'a str {
    said.iter()
        .find_map(|l| l.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("no {name} in {said:?}"))
}

#[test]
fn systemd_hears_of_the_start_of_reloads_good_and_bad_and_of_the_end() {
    let place = under_systemd(&[]);
    let systemd = Systemd::listen(&place);
    let agent = place.launch(&[]);
    let said = systemd.hears("READY=1");
    assert_eq!(value(&said, "STATUS"), "watching 1 file with 1 rule; alerts go to the terminal");

    agent.signal(Signal::HUP);
    let said = systemd.hears("RELOADING=1");
    let begun: u64 = value(&said, "MONOTONIC_USEC").parse().unwrap();
    let said = systemd.hears("READY=1");
    assert_eq!(value(&said, "STATUS"), "watching 1 file with 1 rule; alerts go to the terminal");

    place.rules("[[rule]]\nname = 'trouble'\nmach = 'trouble'\n");
    agent.signal(Signal::HUP);
    let said = systemd.hears("RELOADING=1");
    assert!(value(&said, "MONOTONIC_USEC").parse::<u64>().unwrap() > begun);
    let said = systemd.hears("READY=1");
    assert!(value(&said, "STATUS").starts_with("LAST RELOAD REFUSED 2"), "{said:?}");

    agent.signal(Signal::TERM);
    let said = systemd.hears("STOPPING=1");
    assert_eq!(value(&said, "STATUS"), "draining");
    assert_eq!(stops(agent), 0);
}

#[test]
fn the_watchdog_is_fed_where_systemd_asks_for_it() {
    let place = under_systemd(&[("WATCHDOG_USEC", "400000")]);
    let systemd = Systemd::listen(&place);
    let agent = place.launch(&[]);
    for _ in 0..3 {
        assert_eq!(systemd.hears("WATCHDOG=1"), ["WATCHDOG=1"]);
    }
    assert_eq!(stops(agent), 0);
}

#[test]
fn a_signal_that_comes_as_soon_as_the_agent_is_ready_is_heeded() {
    let place = under_systemd(&[]);
    let systemd = Systemd::listen(&place);
    for _ in 0..10 {
        let agent = place.launch(&[]);
        systemd.hears("READY=1");
        agent.signal(Signal::HUP);
        systemd.hears("RELOADING=1");
        systemd.hears("READY=1");
        assert_eq!(stops(agent), 0);
        systemd.hears("STOPPING=1");
    }
}
