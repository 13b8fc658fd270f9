//! The real logrotate, in its common configurations, beside a real program that writes all the while and an agent that
//! is stopped, killed and away: is every line hit once?
//!
//! What logrotate itself may lose is kept out of two of them, so that whatever is missing is ours. `copytruncate` loses
//! what is written between its copy and its cut: there the writer pauses while logrotate works (the window is measured
//! by `tail::truncation`, t24). `compress` without `delaycompress` loses what is written to the old file after it was
//! compressed: there the script waits until the writer has reopened its log.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::counted::{self, Writer};
use crate::harness::dice::Dice;
use crate::harness::program::{Agent, Place};

/// Rotations of each configuration; `.ci/long` asks for more.
fn rotations() -> u64 {
    std::env::var("LOGHERALD_ROTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(10)
}

/// Debian installs it where the path of a user does not lead.
fn program() -> Option<&'static str> {
    let found = ["/usr/sbin/logrotate", "/usr/bin/logrotate"].into_iter().find(|p| Path::new(p).exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "`logrotate` is needed in CI");
        println!("SKIPPED: `logrotate` is not installed");
    }
    found
}

/// How a configuration is driven.
#[derive(Clone, Copy, Debug)]
struct Setting {
    name: &'static str,
    /// Between the braces; `DIR` becomes the folder, `ROUND` two digits that change from rotation to rotation.
    lines: &'static [&'static str],
    /// The writers' logs, which the configuration rotates together.
    logs: &'static [&'static str],
    /// Rotated by size, as cron would: nobody forces it.
    by_size: bool,
    /// The writer stands still while logrotate works.
    pauses: bool,
}

const PLAIN: Setting = Setting { name: "", lines: &[], logs: &["app.log"], by_size: false, pauses: false };

/// Tells the writers to reopen their logs, and does not wait until they have.
const HUP: &str = "postrotate\n  kill -HUP $(cat DIR/pids)\n endscript";

/// The same, and waits.
const REOPENED: &str = "postrotate\n  kill -USR1 $(cat DIR/pids) && cat DIR/app.log.ack\n endscript";

fn logrotate(place: &Place, program: &str, by_size: bool) -> Child {
    let mut command = Command::new(program);
    if !by_size {
        command.arg("--force");
    }
    command.arg("--state").arg(place.path("logrotate.state")).arg(place.path("logrotate.conf"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// An agent that is there, or not.
struct Life<'a> {
    place: &'a Place,
    agent: Option<Agent<'a>>,
    kills: u32,
    stops: u32,
    /// Rotations that it did not see happen.
    away: u32,
}

impl Life<'_> {
    /// Kills or stops it, starts it, or lets it be.
    fn turn(&mut self, dice: &mut Dice) {
        match self.agent.take() {
            // away for a rotation or two, and now and then for more
            None if dice.once_in(3) => self.launch(),
            None => {}
            Some(agent) => match dice.below(4) {
                0 => {
                    println!("  killed");
                    agent.kill();
                    self.kills += 1;
                    if dice.once_in(2) {
                        self.launch();
                    }
                }
                1 => {
                    self.stops += 1;
                    // one that is stopped before it is up ends by the signal
                    println!("  stopped, {}", agent.stop());
                    if dice.once_in(2) {
                        self.launch();
                    }
                }
                _ => self.agent = Some(agent),
            },
        }
    }

    fn launch(&mut self) {
        println!("  started");
        self.agent = Some(self.place.launch(&[]));
    }

    /// Time passes.
    fn pass(&mut self, writers: &mut [Writer], time: Duration) {
        match &mut self.agent {
            Some(agent) => agent.live(time),
            None => writers.iter_mut().for_each(Writer::wait),
        }
    }
}

fn each_line_is_hit_once(setting: Setting) {
    let Some(program) = program() else { return };
    let place = Place::new();
    let mut dice = Dice::new();
    place.rules(&counted::rules(&["*.log"]));
    fs::create_dir(place.path("old")).unwrap();
    let mut writers: Vec<Writer> = setting.logs.iter().map(|log| Writer::start(&place.path(log))).collect();
    for log in setting.logs {
        let made = Command::new("mkfifo").arg(place.path(&format!("{log}.ack"))).status().unwrap();
        assert!(made.success());
    }
    let pids: Vec<String> = writers.iter().map(|w| w.pid().to_string()).collect();
    fs::write(place.path("pids"), pids.join(" ")).unwrap();
    let logs: Vec<String> = setting.logs.iter().map(|log| format!("DIR/{log}")).collect();
    let conf =
        format!("{} {{\n rotate 1000\n missingok\n {}\n}}\n", logs.join(" "), setting.lines.join("\n "));
    let conf = conf.replace("DIR", &place.path("").display().to_string());

    let mut life = Life { place: &place, agent: Some(place.start()), kills: 0, stops: 0, away: 0 };
    for round in 0..rotations() {
        fs::write(place.path("logrotate.conf"), conf.replace("ROUND", &format!("{round:02}"))).unwrap();
        for _ in 0..=dice.below(2) {
            for writer in &mut writers {
                writer.write(20 + dice.below(300));
            }
            life.pass(&mut writers, Duration::from_millis(dice.below(150)));
            life.turn(&mut dice);
        }
        if setting.by_size {
            // enough for a rotation
            writers.iter_mut().for_each(Writer::wait);
        }
        if setting.pauses {
            writers.iter_mut().for_each(Writer::wait);
        } else {
            for writer in &mut writers {
                writer.write(200);
            }
        }
        life.away += u32::from(life.agent.is_none());
        println!("  after {} lines: logrotate", writers[0].written());
        let rotating = logrotate(&place, program, setting.by_size);
        if dice.once_in(3) {
            life.pass(&mut writers, Duration::from_millis(dice.below(20)));
            life.turn(&mut dice);
        }
        let out = rotating.wait_with_output().unwrap();
        assert!(out.status.success() && out.stderr.is_empty(), "{out:?}");
        // whoever was told to reopen has done so when what it was asked for is written
        writers.iter_mut().for_each(Writer::wait);
    }
    let rotated = fs::read_dir(place.path("")).unwrap().chain(fs::read_dir(place.path("old")).unwrap());
    let names: Vec<String> = rotated.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    let rotated =
        names.iter().filter(|n| n.starts_with("app.log") && !["app.log", "app.log.ack"].contains(&&***n));
    assert_eq!(rotated.count() as u64, rotations(), "{names:?}");

    let Life { agent, kills, stops, away, .. } = life;
    if let Some(agent) = agent {
        agent.stop();
    }
    let agent = place.start();
    let writers: Vec<&Writer> = writers.iter().collect();
    counted::each_line_was_hit_once(&place, agent, &writers);
    let lines: u64 = writers.iter().map(|w| w.written()).sum();
    println!(
        "measured: logrotate, {}: {} rotations ({away} while away), {kills} kills, {stops} stops: {lines} lines, \
         0 lost, 0 hit twice",
        setting.name,
        rotations()
    );
}

#[test]
fn create() {
    each_line_is_hit_once(Setting { name: "create", lines: &["create 0644", HUP], ..PLAIN });
}

#[test]
fn copytruncate() {
    let name = "copytruncate (the writer pauses)";
    each_line_is_hit_once(Setting { name, lines: &["copytruncate"], pauses: true, ..PLAIN });
}

#[test]
fn copytruncate_compressed() {
    let name = "copytruncate, compress (the writer pauses)";
    each_line_is_hit_once(Setting { name, lines: &["copytruncate", "compress"], pauses: true, ..PLAIN });
}

#[test]
fn compress() {
    each_line_is_hit_once(Setting { name: "compress", lines: &["create", "compress", REOPENED], ..PLAIN });
}

#[test]
fn delaycompress() {
    let lines = &["create", "compress", "delaycompress", HUP];
    each_line_is_hit_once(Setting { name: "compress, delaycompress", lines, ..PLAIN });
}

#[test]
fn dateext() {
    let lines = &["create", "dateext", "dateformat -%Y%m%dROUND", HUP];
    each_line_is_hit_once(Setting { name: "dateext", lines, ..PLAIN });
}

#[test]
fn dateext_delaycompress() {
    let lines = &["create", "dateext", "dateformat -%Y%m%dROUND", "compress", "delaycompress", HUP];
    each_line_is_hit_once(Setting { name: "dateext, compress, delaycompress", lines, ..PLAIN });
}

#[test]
fn olddir() {
    each_line_is_hit_once(Setting { name: "olddir", lines: &["create", "olddir DIR/old", HUP], ..PLAIN });
}

#[test]
fn olddir_delaycompress() {
    let lines = &["create", "olddir DIR/old", "compress", "delaycompress", HUP];
    each_line_is_hit_once(Setting { name: "olddir, compress, delaycompress", lines, ..PLAIN });
}

#[test]
fn sharedscripts() {
    let (lines, logs) = (&["create", "sharedscripts", HUP], &["app.log", "access.log"]);
    each_line_is_hit_once(Setting { name: "sharedscripts, two writers", lines, logs, ..PLAIN });
}

#[test]
fn hourly_by_size() {
    let lines = &["create", "hourly", "size 1k", "compress", "delaycompress", HUP];
    each_line_is_hit_once(Setting { name: "hourly, size 1k, not forced", lines, by_size: true, ..PLAIN });
}
