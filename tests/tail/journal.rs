//! The journal as a source: every entry once, whatever becomes of the child that reads it.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use logherald::line::SourceNo;
use logherald::tail::{Encoding, Format, From, Input, Join, Rung, SourceSpec};

use super::rig::{Reader, Rig};
use crate::harness::script;

/// A `journalctl` that reads entries from a file: arguments as the real one takes them, one entry a line.
fn fake_journalctl(rig: &mut Rig) {
    let text = r#"#!/bin/bash
# Entries are lines "N TEXT" of the file beside this script; the cursor of one is "N".
store="${0%/*}/entries"
after=0; follow=; lines=
for arg in "$@"; do
  case "$arg" in
    --cursor=*) after="$((${arg#*=} - 1))" ;;
    --follow) follow=1 ;;
    --lines=1) lines=1 ;;
  esac
done
[ -e "${0%/*}/broken" ] && { echo "Bad message" >&2; exit 1; }
show() { while read -r n text; do
  [ -n "$n" ] && [ "$n" -gt "$after" ] || continue
  after="$n"
  printf '{"__CURSOR":"%s","__REALTIME_TIMESTAMP":"%s000000","_HOSTNAME":"h","SYSLOG_IDENTIFIER":"app","MESSAGE":"%s"}\n' "$n" "$n" "$text"
done; }
if [ -n "$lines" ]; then tail -n 1 "$store" | show; exit 0; fi
[ -z "$follow" ] || echo $$ > "${0%/*}/pid"
show < "$store"
[ -z "$follow" ] && exit 0
while [ -e "$store" ]; do show < "$store"; read -r -t 0.02 <> <(:) || :; [ -e "${0%/*}/broken" ] && exit 1; done
"#;
    let path = rig.path("journalctl");
    script(&path, text);
    rig.options.journalctl = path;
    rig.options.inotify = false;
    rig.specs = vec![SourceSpec {
        no: SourceNo(0),
        name: Arc::from("journal"),
        input: Input::Journal { unit: None },
        from: From::End,
        max_line: 256 * 1024,
        join: Join::None,
        format: Format::Plain,
        encoding: Encoding::default(),
    }];
    rig.put("entries", b"");
}

impl Rig {
    fn entries(&mut self, n: usize) {
        for _ in 0..n {
            self.written += 1;
            self.put("entries", format!("{0} entry {0}\n", self.written).as_bytes());
            self.expected.push(format!("h app: entry {}\n", self.written));
        }
    }

    /// Until every entry came, its head (the time) left out.
    fn heard(&mut self) {
        self.look_until(|rig| rig.got.len() >= rig.expected.len());
        let mut more = 20;
        self.look_until(|_| {
            more -= 1;
            more < 0
        });
        let got: Vec<&str> = self.got.iter().map(|l| &l[16..]).collect();
        assert_eq!(got, self.expected);
    }

    #[expect(clippy::disallowed_methods, reason = "a stopwatch: how long a child may take at most")]
    fn look_until(&mut self, mut done: impl FnMut(&Rig) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done(self) && Instant::now() < deadline {
            self.now = self.now.plus(Duration::from_millis(100));
            self.step();
            // The child needs real time.
            assert_eq!(self.bell.wait(Duration::from_millis(10)), Rung::Timeout);
        }
    }
}

#[test]
fn the_journal_gives_every_entry_once_whatever_becomes_of_the_child() {
    let mut rig = Rig::new(Reader::Looks);
    fake_journalctl(&mut rig);
    rig.entries(3);
    rig.expected.clear();
    rig.start();
    rig.look_until(|rig| !rig.saved.is_empty());
    rig.heard();
    assert_eq!(rig.saved.len(), 1, "the end is kept from the first moment");
    rig.entries(5);
    rig.heard();
    // The child is killed.
    let pid: i32 = fs::read_to_string(rig.path("pid")).unwrap().trim().parse().unwrap();
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    rig.entries(5);
    rig.heard();
    // The agent is stopped and started.
    rig.stop();
    rig.entries(5);
    rig.start();
    rig.heard();
    rig.entries(5);
    rig.heard();
    assert!(rig.troubles.is_empty() && rig.gaps.is_empty(), "{:?} {:?}", rig.troubles, rig.gaps);
    // journalctl fails for a while: that is told, and told to be over.
    fs::write(rig.path("broken"), "").unwrap();
    rig.entries(5);
    rig.look_until(|rig| !rig.troubles.is_empty());
    fs::remove_file(rig.path("broken")).unwrap();
    rig.now = rig.now.plus(Duration::from_secs(60));
    rig.heard();
    rig.look_until(|rig| rig.troubles.last().is_some_and(|t| t.over));
    let told: Vec<(&str, bool)> = rig.troubles.iter().map(|t| (t.what.as_str(), t.over)).collect();
    assert_eq!(told, [("ended: Bad message", false), ("ended: Bad message", true)]);
}

#[test]
fn a_missing_journalctl_is_a_trouble_with_a_remedy() {
    let mut rig = Rig::new(Reader::Looks);
    fake_journalctl(&mut rig);
    rig.options.journalctl = rig.path("none");
    rig.start();
    // What was to start it may need a moment to say that it cannot.
    for _ in 0..200 {
        rig.pass(Duration::from_secs(1));
        if !rig.troubles.is_empty() {
            break;
        }
        rig.tailer().wait_for(Duration::from_millis(50));
    }
    rig.pass(Duration::from_secs(100));
    assert_eq!(rig.troubles.len(), 1);
    assert_eq!(rig.troubles[0].what, "cannot be run: no such file");
    assert_eq!(
        rig.troubles[0].hint.as_deref(),
        Some("install systemd's `journalctl`, or watch files with `files` instead of `journal`")
    );
}
