//! Killed at a step of a message's way that has a name, from the judge to the outcome's commit: is it told once, under one id?
//!
//! The server tells when a request is there, stored, half answered, answered; a library that is loaded into the agent counts
//! what it writes to its state, and syncs. So each step is met for sure and not by chance, and the program knows nothing
//! of it: how often the message came tells how far it was.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::crash::{each_once, kills_under_load};
use crate::end_to_end::hits_told;
use crate::harness::fake_chat::{FakeChat, Moment, Received};
use crate::harness::power::Power;
use crate::harness::program::{Place, term};

/// So many spaces in turn: the pace of each is over before it is its turn again.
const SPACES: u32 = 12;

/// Who kills, and when.
#[derive(Clone, Copy, Debug)]
enum Killed {
    /// The library at this step, counted from the line on.
    AtState(&'static str),
    /// The server at this one.
    AtServer(Moment),
    /// The library at this step, counted from the answer on.
    AfterAnswer(&'static str),
    /// The test, when the agent says that the outcome is committed.
    AtRest,
}

use Killed::{AfterAnswer, AtRest, AtServer, AtState};

/// Each step, and how often the message comes in all.
const STEPS: [(&str, Killed, &[usize]); 12] = [
    ("after the judge, before the commit", AtState("w 1"), &[1]),
    ("in the commit, before its second write", AtState("w 2"), &[1]),
    ("in the commit, before its fifth write", AtState("w 5"), &[1]),
    ("after the commit, before its sync", AtState("s 1"), &[1]),
    ("after the sync, before the request", AtState("S 1"), &[1]),
    ("in the request", AtServer(Moment::Asked), &[1]),
    ("after it is stored, before the answer", AtServer(Moment::Stored), &[2]),
    ("in the answer", AtServer(Moment::HalfAnswered), &[2]),
    ("after the answer", AtServer(Moment::Answered), &[1, 2]),
    ("after the answer, before the outcome's commit", AfterAnswer("w 1"), &[2]),
    ("in the outcome's commit", AfterAnswer("w 2"), &[2]),
    ("after the outcome's commit", AtRest, &[1]),
];

fn rules(chat: &FakeChat, place: &Place, rule: &str, space: &dyn Fn(u32) -> String) {
    let mut rules = format!("[chat]\napi_url = '{}'\n", chat.base_url());
    for n in 0..SPACES {
        let reached = space(n);
        write!(
            rules,
            "[space.s{n}]\n{reached}\nwait = '0s'\nmax_per_hour = 3600\n[[rule]]\nname = 's{n}'\nspace = 's{n}'\n\
             files = ['DIR/app.log']\nmatch = 'trouble in s{n}: (?<no>\\d+)'\nmax_per_hour = 3600\n{rule}\n"
        )
        .unwrap();
    }
    place.rules(&rules);
}

fn sum(status: &Value, what: &str) -> u64 {
    (0..SPACES).map(|n| term(status, &format!("s{n}"), what)).sum()
}

/// Every space is reached by REST.
fn by_rest(chat: &FakeChat, place: &Place, rule: &str, more: &str) {
    let key = chat.key_file(&place.path(""));
    rules(chat, place, rule, &|n| {
        let name = chat.add_space(&format!("S{n}"));
        format!("name = '{name}'\nservice_account = {{ file = '{}' }}\n{more}", key.display())
    });
}

/// How often something came, all in all.
fn came(messages: &[Received]) -> usize {
    messages.iter().map(|m| m.times as usize + m.edits.len()).sum()
}

/// Kills so often, at each step in turn. What is on its way is a message of its own, or an edit of the only one of its
/// space.
fn killed_at_each_step(chat: &FakeChat, place: Place, what: &str, kills: u32, edits: bool) {
    let Some((place, power)) = Power::over(place) else { return };
    place.append("app.log", "this line was there before\n");
    let mut met: BTreeMap<&str, u32> = BTreeMap::new();
    let mut again = 0;
    let mut agent = place.start();
    let opened = if edits { SPACES } else { 0 };
    for n in 0..opened {
        place.append("app.log", &format!("trouble in s{n}: 0\n"));
    }
    agent.wait_for_status("the openings", |s| sum(s, "shown") == u64::from(opened));
    for round in 0..kills {
        // steps and spaces meet in all pairs: there are as many of these as of those, and each time around begins further on
        let (name, killed, times) = STEPS[round as usize % STEPS.len()];
        let n = (round + round / SPACES) % SPACES;
        let space = format!("S{n}");
        let before = chat.messages(&space);
        let pid = Pid::from_raw(agent.pid() as i32).unwrap();
        match killed {
            AtState(step) => fs::write(power.kills(), step).unwrap(),
            AtServer(moment) => {
                chat.when(moment, &space, move || kill_process(pid, Signal::KILL).unwrap());
            }
            AfterAnswer(step) => {
                let kills = power.kills();
                chat.when(Moment::Stored, &space, move || fs::write(kills, step).unwrap());
            }
            AtRest => {}
        }
        place.append("app.log", &format!("trouble in s{n}: {round}\n"));
        let settled = |status: &Value| {
            sum(status, "hits") == u64::from(opened + round) + 1
                && sum(status, "pending") == 0
                && status["spaces"][format!("s{n}")]["outbox"] == 0
        };
        if let AtRest = killed {
            agent.wait_for_status("the outcome", settled);
            agent.kill();
        } else {
            agent.meets_its_end();
        }
        if let AtState(_) = killed {
            assert_eq!(came(&chat.messages(&space)), came(&before), "{name}: it was on its way already");
        }
        // gone where nobody was to be killed by it
        _ = fs::remove_file(power.kills());
        agent = place.start();
        let status = agent.wait_for_status("the hit to be told", settled);
        assert_eq!(sum(&status, "lost"), 0, "{name}: {status:#}");
        let told = chat.messages(&space);
        let more = told.len() - before.len();
        assert_eq!(more, usize::from(!edits), "{name}");
        assert_eq!(hits_told(&told), hits_told(&before) + 1, "{name}");
        let times_come = came(&told) - came(&before);
        assert!(times.contains(&times_come), "{name}: it came {times_come} times");
        again += times_come - 1;
        *met.entry(name).or_default() += 1;
    }
    let messages = chat.all_messages();
    assert_eq!(hits_told(&messages), u64::from(opened + kills));
    each_once(chat);
    assert!(met.len() == STEPS.len() || kills < STEPS.len() as u32);
    println!(
        "measured: steps, {what}: {kills} kills at {} steps, {} messages, {again} came again, 0 lost, 0 twice",
        met.len(),
        messages.len()
    );
    assert_eq!(agent.stop(), 0);
}

/// Each line is an incident of its own.
const APART: &str = "by = ['no']";

#[test]
fn the_rest_api_is_told_once_at_whichever_step_the_agent_is_killed() {
    let (chat, place) = (FakeChat::start(), Place::new());
    by_rest(&chat, &place, APART, "");
    killed_at_each_step(&chat, place, "REST", kills_under_load(), false);
}

/// As if Chat had forgotten the `requestId` while the agent was away: the `messageId` is in the way of a second message.
#[test]
fn the_rest_api_is_told_once_at_whichever_step_also_where_request_ids_are_forgotten() {
    let (chat, place) = (FakeChat::start(), Place::new());
    chat.forget_request_ids();
    by_rest(&chat, &place, APART, "");
    killed_at_each_step(&chat, place, "REST without request ids", kills_under_load() / 4, false);
}

#[test]
fn an_edit_is_made_at_whichever_step_the_agent_is_killed() {
    let (chat, place) = (FakeChat::start(), Place::new());
    by_rest(&chat, &place, "quiet = '12h'\nremind = '12h'", "update = 'edit'");
    killed_at_each_step(&chat, place, "edits", kills_under_load() / 4, true);
}

#[test]
fn a_webhook_that_heeds_ids_is_told_once_at_whichever_step_the_agent_is_killed() {
    let chat = FakeChat::start();
    let mut place = Place::new();
    for n in 0..SPACES {
        place = place.env(&format!("HOOK_{n}"), &chat.webhook_url(&format!("S{n}")));
    }
    rules(&chat, &place, APART, &|n| format!("webhook = {{ env = 'HOOK_{n}' }}"));
    killed_at_each_step(&chat, place, "webhook", kills_under_load() / 4, false);
}
