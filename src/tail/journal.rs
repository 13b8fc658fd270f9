//! The systemd journal, read through a `journalctl` child, one syslog-like line an entry.
//!
//! The child goes first to the end without `-f`, then follows: from systemd 250 on `-f` alone restricts itself to
//! this boot and would skip the rest of an earlier one (`--boot=all` lifts that from 258 on only). Between the two
//! nothing can be missed: what is written after the first has ended is of this boot. Its pipe never blocks: a step
//! takes what is there. Each entry brings its own cursor, so a child that dies (it does, under load, with "Bad
//! message") is started again behind the last entry that was given out, and every entry is given out once.
//!
//! The surprising part: never `--after-cursor`. Many versions (252 is one) skip whatever entry they find first, taking
//! it for the cursor's own. With `-f` after a reboot, or where a vacuum took that entry, it is another one, and lost. So
//! the child is told `--cursor`, and the entry that it gives again is left out here, by its identity.

use std::io::{self, Read};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::entry::{Entries, OUTPUT_FIELDS};
use super::reading::QUANTUM;
use super::streams::{Heard, Take};
use super::{From, SourceSpec, Trouble};
use crate::line::{Block, Gap, Place, Position, PositionKey, SourceNo};
use crate::time::{Now, Tick, Wall};

/// Bytes in the pipe wake the reader. So often it is looked into without: for what the child complains about.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs a program that the kernel kills together with the thread that started it. Where it is absent, or is another
/// one of that name, a child still ends when it finds its output closed.
const LEASH: &str = "setpriv";

/// A child that ended is started again after this, doubled with each failure in a row.
const AGAIN: Duration = Duration::from_secs(1);

/// At most so long between two tries.
const AGAIN_AT_MOST: Duration = Duration::from_secs(60);

/// So much of what the child complains about is kept.
const COMPLAINT: usize = 2048;

/// Output of a child that stays silent for this long while following means that it works.
const SETTLED: Duration = Duration::from_secs(5);

/// One followed journal.
#[derive(Debug)]
pub(super) struct Journal {
    no: SourceNo,
    source: Arc<str>,
    file: Arc<str>,
    program: PathBuf,
    unit: Option<String>,
    from: From,
    max_line: usize,
    cursor: Option<String>,
    /// That entry is one of those that are asked for: it comes again when the child goes on there.
    own: bool,
    /// It has not come again yet.
    doubt: bool,
    /// Go on behind this instant (microseconds since the epoch): the cursor was refused.
    since: Option<i64>,
    moved: Wall,
    changed: bool,
    run: Option<Run>,
    /// What the next child is to do, where that is settled.
    run_next: Option<Phase>,
    next: Tick,
    failures: u32,
    troubled: Option<Trouble>,
    entries: Entries,
    leash: bool,
}

#[derive(Debug)]
struct Run {
    child: Child,
    out: ChildStdout,
    err: ChildStderr,
    complaint: Vec<u8>,
    phase: Phase,
    started: Tick,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Asks for the newest entry: everything up to it was there before.
    Probe,
    /// Reads what came since the saved cursor.
    CatchUp,
    /// Waits for more.
    Follow,
}

impl Drop for Run {
    fn drop(&mut self) {
        // Both fail only if the child is gone, which is what they are for.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Journal {
    pub(super) fn new(
        spec: &SourceSpec,
        program: PathBuf,
        unit: Option<String>,
        saved: Option<Position>,
    ) -> Journal {
        let (cursor, moved) = match saved {
            Some(Position { place: Place::Journal { cursor }, at, .. }) => (Some(cursor), at),
            _ => (None, Wall::default()),
        };
        Journal {
            no: spec.no,
            source: Arc::clone(&spec.name),
            file: Arc::from("journal"),
            program,
            unit,
            from: spec.from,
            max_line: spec.max_line,
            own: cursor.is_some(),
            doubt: false,
            cursor,
            since: None,
            moved,
            changed: false,
            run: None,
            run_next: None,
            next: Tick(0),
            failures: 0,
            troubled: None,
            entries: Entries::default(),
            leash: true,
        }
    }

    /// Goes on where `other` is, with what this one asks for.
    pub(super) fn take_over(&mut self, other: &Journal) {
        self.cursor.clone_from(&other.cursor);
        self.own = false;
        self.moved = other.moved;
    }

    /// The source has another number, or other limits, in a new set.
    pub(super) fn adjust(&mut self, spec: &SourceSpec) {
        self.no = spec.no;
        self.max_line = spec.max_line;
    }

    /// What the child writes.
    pub(super) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.run.as_ref().map(|run| run.out.as_fd())
    }

    /// Its position moved since this was last asked.
    pub(super) fn moved(&mut self) -> Option<Position> {
        std::mem::take(&mut self.changed).then(|| self.position()).flatten()
    }

    /// When to look again.
    pub(super) fn due(&self) -> Tick {
        self.next
    }

    /// It is known where reading began, or that this cannot be known. Until then an entry may be taken for an old one.
    pub(super) fn begun(&self) -> bool {
        let follows = self.run.as_ref().is_some_and(|run| run.phase == Phase::Follow);
        self.cursor.is_some()
            || self.since.is_some()
            || self.from == From::Start
            || self.failures > 0
            || follows
    }

    pub(super) fn position(&self) -> Option<Position> {
        Some(Position {
            key: PositionKey { source: Arc::clone(&self.source), file: None },
            place: Place::Journal { cursor: self.cursor.clone()? },
            at: self.moved,
        })
    }

    /// Takes what the child has written, or starts one.
    pub(super) fn look(&mut self, file_no: u64, now: Now, take: Take<'_>) -> Heard {
        let mut heard = Heard::default();
        if self.run.is_none()
            && let Err(e) = self.start(now)
        {
            let hint = if e.kind() == io::ErrorKind::NotFound {
                "install systemd's `journalctl`, or watch files with `files` instead of `journal`"
            } else {
                "see that the agent's user may run it"
            };
            self.fail(format!("cannot be run: {}", super::troubles::plain(&e)), hint, now, &mut heard);
            return heard;
        }
        let Some(run) = &mut self.run else { return heard };
        let ended = loop {
            let room = self.entries.room();
            match run.out.read(room) {
                Ok(0) => break true,
                Ok(n) => {
                    if self.entries.filled(n) >= QUANTUM {
                        heard.more = true;
                        break false;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break true,
            }
        };
        run.listen();
        self.give(file_no, now, take, &mut heard);
        if ended {
            self.ended(now, &mut heard);
        } else {
            self.settled(now, &mut heard);
            self.next = if heard.more { now.tick } else { now.tick + LOOK_EVERY };
        }
        heard
    }

    fn give(&mut self, file_no: u64, now: Now, take: Take<'_>, heard: &mut Heard) {
        let Some(phase) = self.run.as_ref().map(|r| r.phase) else { return };
        let (no, file) = (self.no, &self.file);
        let parsed =
            self.entries.parse(self.max_line, phase != Phase::Probe, |bytes, records, fields, end| {
                heard.lines += records.len() as u64;
                heard.bytes += bytes.len() as u64;
                take(&Block {
                    source: no,
                    file,
                    file_no,
                    offset: 0,
                    bytes,
                    end,
                    hit_early: &[],
                    read: now,
                    backlog: phase == Phase::CatchUp,
                    records,
                    fields,
                    earlier: None,
                });
            });
        if parsed.resumed.is_some_and(|found| std::mem::take(&mut self.doubt) && !found) {
            let why =
                "the journal no longer holds the entry it was read to; what followed may be gone as well";
            heard.gaps.push(self.gap(None, why));
        }
        if parsed.lost > 0 {
            let why = "an entry of the journal is too long to read, or none";
            heard.gaps.push(self.gap(Some(parsed.lost), why));
        }
        if let Some(cursor) = parsed.cursor {
            self.changed |= self.cursor.as_ref() != Some(&cursor);
            self.cursor = Some(cursor);
            self.own = true;
            self.since = None;
            self.failures = 0;
            self.moved = now.wall;
        }
    }

    fn start(&mut self, now: Now) -> io::Result<()> {
        let known = self.cursor.is_some() || self.since.is_some();
        let phase = match self.run_next {
            Some(phase) => phase,
            None if known || self.from == From::Start => Phase::CatchUp,
            None => Phase::Probe,
        };
        let spawned = self.spawn(phase);
        let mut child = match spawned {
            Err(_) if self.leash => {
                self.leash = false;
                self.spawn(phase)?
            }
            spawned => spawned?,
        };
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let run = Run { child, out, err, complaint: vec![], phase, started: now.tick };
        fcntl_setfl(&run.out, fcntl_getfl(&run.out)? | OFlags::NONBLOCK)?;
        fcntl_setfl(&run.err, fcntl_getfl(&run.err)? | OFlags::NONBLOCK)?;
        self.entries.begin(if phase == Phase::Probe { None } else { self.cursor.clone() });
        if phase == Phase::CatchUp {
            self.doubt = self.cursor.is_some() && self.own;
        }
        self.run_next = None;
        self.run = Some(run);
        Ok(())
    }

    fn spawn(&self, phase: Phase) -> io::Result<Child> {
        let mut command = Command::new(if self.leash { LEASH.as_ref() } else { self.program.as_os_str() });
        if self.leash {
            command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program);
        }
        // `--all`: without it a field of more than 4 KiB comes as null.
        command.args(["--output=json", "--all", "--no-pager", "--quiet"]);
        command.arg(format!("--output-fields={OUTPUT_FIELDS}"));
        if let Some(unit) = &self.unit {
            command.arg(format!("--unit={unit}"));
        }
        match phase {
            Phase::Probe => command.arg("--lines=1"),
            Phase::CatchUp => &mut command,
            Phase::Follow => command.args(["--follow", "--no-tail"]),
        };
        if let Some(cursor) = &self.cursor {
            command.arg(format!("--cursor={cursor}"));
        } else if let Some(us) = self.since {
            command.arg(format!("--since=@{}.{:06}", us / 1_000_000, us % 1_000_000));
        }
        command.env("LC_ALL", "C").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn()
    }

    /// The child closed its pipe: what now?
    fn ended(&mut self, now: Now, heard: &mut Heard) {
        let Some(mut run) = self.run.take() else { return };
        // With its output closed it is about to exit; a status that is late counts as a failure, nothing worse.
        let status = run.child.wait();
        run.listen();
        let complaint = String::from_utf8_lossy(&run.complaint).into_owned();
        if self.leash && complaint.starts_with(LEASH) {
            self.leash = false;
            self.run_next = Some(run.phase);
            self.next = now.tick;
            heard.more = true;
            return;
        }
        if status.is_ok_and(|s| s.success()) && run.phase != Phase::Follow {
            self.run_next = Some(Phase::Follow);
            self.next = now.tick;
            heard.more = true;
            return;
        }
        if self.cursor.is_some() && complaint.contains("cursor") {
            let at = self.cursor.take().and_then(|c| instant(&c));
            self.since = at.map(|us| us + 1).or(Some(self.moved.0 * 1000));
            heard.gaps.push(self.gap(None, "the journal does not know the place it was read to"));
            self.next = now.tick;
            heard.more = true;
            return;
        }
        let what = match complaint.lines().find(|l| !l.trim().is_empty() && !l.starts_with("Hint:")) {
            Some(line) => format!("ended: {}", line.trim().trim_end_matches('.')),
            None => "ended".into(),
        };
        self.fail(what, "see what `journalctl -n 1` says as the agent's user", now, heard);
    }

    fn fail(&mut self, what: String, hint: &str, now: Now, heard: &mut Heard) {
        let wait = AGAIN * 2u32.saturating_pow(self.failures.min(6));
        self.next = now.tick + wait.min(AGAIN_AT_MOST);
        self.failures += 1;
        // One end and a new start is nothing to report: it happens at each rotation of a damaged journal.
        let again = self.failures > 1 || what.starts_with("cannot be run");
        if again && self.troubled.as_ref().is_none_or(|t| t.what != what) {
            self.tell(what, hint, heard);
        }
    }

    /// A child that runs and follows: whatever was wrong is over, except for what it may not see.
    fn settled(&mut self, now: Now, heard: &mut Heard) {
        let Some(run) = &self.run else { return };
        let blind = String::from_utf8_lossy(&run.complaint).contains("not seeing messages");
        let steady = run.phase == Phase::Follow && now.tick.since(run.started) >= SETTLED;
        if blind && self.troubled.is_none() {
            let what = "only a part of the journal can be read: permission denied".to_owned();
            let hint = "add the agent's user to the group `systemd-journal`";
            self.tell(what, hint, heard);
        }
        if steady {
            self.failures = 0;
            if !blind && let Some(trouble) = self.troubled.take() {
                heard.troubles.push(Trouble { over: true, hint: None, ..trouble });
            }
        }
    }

    fn tell(&mut self, what: String, hint: &str, heard: &mut Heard) {
        let source = Some(Arc::clone(&self.source));
        let trouble = Trouble::new(source, Path::new("journalctl"), what, Some(hint.into()));
        self.troubled = Some(trouble.clone());
        heard.troubles.push(trouble);
    }

    /// Why it cannot be read, or only in part.
    pub(super) fn troubled(&self) -> Option<&Trouble> {
        self.troubled.as_ref()
    }

    fn gap(&self, bytes: Option<u64>, why: &str) -> Gap {
        Gap { source: Arc::clone(&self.source), file: Arc::clone(&self.file), bytes, why: why.into() }
    }
}

impl Run {
    /// Takes what the child complains about, bounded, so that it never waits for a reader.
    fn listen(&mut self) {
        let mut some = [0; 1024];
        while let Ok(n @ 1..) = self.err.read(&mut some) {
            let room = COMPLAINT.saturating_sub(self.complaint.len());
            self.complaint.extend_from_slice(&some[..n.min(room)]);
        }
    }
}

/// The instant in a cursor, in microseconds since the epoch.
fn instant(cursor: &str) -> Option<i64> {
    let hex = cursor.split(';').find_map(|part| part.strip_prefix("t="))?;
    i64::from_str_radix(hex, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_says_when_its_entry_was_written() {
        assert_eq!(instant("s=ab;i=1;b=cd;m=2;t=5f;x=9"), Some(0x5f));
        assert_eq!(instant("nonsense"), None);
    }
}
