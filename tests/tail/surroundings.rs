//! Odd names, odd files, odd clocks, and very many files: what stands around a log is no reason to lose a line.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use logherald::tail::Rung;

use super::rig::{Reader, Rig, secs, spec, stories};
use crate::harness::program::have;

stories! {
    fn what_cannot_be_read_is_told_once_and_read_when_it_can(rig) {
        symlink("loop.log", rig.path("loop.log")).unwrap();
        rig.start();
        rig.pass(Duration::from_secs(30));
        assert_eq!(rig.troubles.len(), 1, "{:?}", rig.troubles);
        assert_eq!(rig.troubles[0].path, rig.path("loop.log"));
        assert!(rig.troubles[0].what.starts_with("cannot be read: "));
        assert_eq!(rig.tailer().summary().sources[0].unreadable, [rig.path("loop.log")]);
        fs::remove_file(rig.path("loop.log")).unwrap();
        rig.append("loop.log", 5);
        rig.settle();
        assert_eq!(rig.troubles.len(), 2);
        assert!(rig.troubles[1].over);
    }

    /// As logrotate leaves a directory behind; each log has a rest that nobody has read.
    fn a_thousand_logs_of_one_directory_are_rotated_together(rig) {
        let name = |n: u32| format!("{n:04}.log");
        (0..1000).for_each(|n| rig.put(&name(n), b""));
        rig.start();
        for n in 0..1000 {
            rig.append(&name(n), 1);
            rig.rename(&name(n), &format!("{}.1", name(n)));
            if n % 3 > 0 {
                rig.append(&name(n), 1);
            }
            // twice, before anybody looked
            if n % 3 > 1 {
                rig.rename(&name(n), &format!("{}.2", name(n)));
            }
        }
        rig.settle_unordered();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    /// Beyond what the bell remembers, hints become one: look at everything.
    fn t72_more_files_change_at_once_than_are_remembered(rig) {
        for n in 0..4200 {
            rig.put(&format!("{n}.log"), b"");
        }
        rig.start();
        for n in 0..4200 {
            rig.append(&format!("{n}.log"), 1);
        }
        rig.arrive();
        rig.got.sort();
        rig.expected.sort();
        assert!(rig.got == rig.expected, "{}", rig.missing());
        rig.assert_quiet();
    }

    fn t73_a_directory_is_made_and_written_into_at_once(rig) {
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["*/*.log"])];
        rig.start();
        for n in 0..200 {
            fs::create_dir(rig.path(&format!("d{n}"))).unwrap();
            rig.append(&format!("d{n}/a.log"), 1);
            if n % 20 == 0 {
                rig.hear();
            }
        }
        rig.settle_unordered();
        for n in 0..200 {
            rig.append(&format!("d{n}/a.log"), 1);
        }
        rig.settle_unordered();
        rig.assert_quiet();
    }

    /// Not one event tells of these bytes, and while they have not reached the disk neither size nor time does.
    fn t75_a_writer_that_maps_its_log_into_memory(rig) {
        if !have("python3") {
            return;
        }
        rig.start();
        File::create(rig.path("a.log")).unwrap().set_len(1 << 16).unwrap();
        rig.meanwhile(secs(2));
        let mut mapper = Mapper::start(&rig.path("a.log"));
        for _ in 0..10 {
            let text = rig.lines(10);
            mapper.write(&text);
            rig.meanwhile(secs(2));
        }
        // A minute later it is a quiet file like any other.
        rig.meanwhile(secs(100));
        let text = rig.lines(10);
        mapper.write(&text);
        rig.pass(secs(30));
        assert_eq!(rig.got.len(), rig.expected.len(), "{}", rig.missing());
        rig.settle();
        rig.assert_quiet();
    }

    fn t78_names_need_not_be_text(rig) {
        rig.start();
        let odd = [&b"caf\xe9.log"[..], b"new\nline.log", b"*[star]?.log", b" .log", b"-rf.log", b"\\.log"];
        let odd: Vec<PathBuf> = odd.into_iter().map(|n| rig.dir.path().join(OsStr::from_bytes(n))).collect();
        for round in 0..3 {
            for path in &odd {
                let text = rig.lines(5);
                OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
                rig.hear();
            }
            rig.settle_unordered();
            if round == 1 {
                rig.stop();
                rig.start();
            }
        }
        assert_eq!(rig.tailer().status().len(), odd.len());
        rig.assert_quiet();
    }

    fn t78_what_is_no_file_of_lines_is_told_once_and_skipped(rig) {
        fs::create_dir(rig.path("dir.log")).unwrap();
        let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        rustix::fs::mknodat(rustix::fs::CWD, rig.path("fifo.log"), fifo, mode, 0).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(rig.path("socket.log")).unwrap();
        symlink("/dev/zero", rig.path("device.log")).unwrap();
        symlink("/proc/self/status", rig.path("proc.log")).unwrap();
        // A name that leads nowhere is no file at all, and nothing to tell.
        symlink("nowhere", rig.path("dangling.log")).unwrap();
        rig.start();
        rig.append("a.log", 5);
        rig.settle();
        rig.pass(secs(100));
        rig.stop();
        rig.start();
        rig.append("a.log", 5);
        rig.settle();
        let mut told: Vec<_> = rig.troubles.iter().map(|t| t.path.file_name().unwrap().to_str().unwrap()).collect();
        told.sort_unstable();
        let once = ["device.log", "dir.log", "fifo.log", "proc.log", "socket.log"];
        let twice: Vec<&str> = once.iter().flat_map(|n| [*n, *n]).collect();
        assert_eq!(told, twice, "once by each agent: {:?}", rig.troubles);
        // One that becomes a file is read.
        rig.remove("fifo.log");
        rig.append("fifo.log", 5);
        rig.settle();
        assert!(rig.troubles.last().unwrap().over);
    }

    fn t79_the_clock_is_set_forward_and_back(rig) {
        rig.start();
        rig.append("a.log", 100);
        rig.settle();
        for (n, hours) in [1, 0, -1, 0].into_iter().enumerate() {
            rig.append("a.log", 100);
            rig.hear();
            rig.wrong_by = hours * 3_600_000;
            rig.rename("a.log", &format!("a.log.{}", 9 - n));
            rig.append("a.log", 100);
            rig.settle();
            rig.append(&format!("b{n}.log"), 100);
            rig.settle();
        }
        rig.assert_quiet();
    }

    fn t79_the_clock_was_an_hour_ahead_until_the_agent_was_stopped(rig) {
        rig.wrong_by = 3_600_000;
        wrong_until_the_stop(rig);
    }

    fn t79_the_clock_was_an_hour_behind_until_the_agent_was_stopped(rig) {
        rig.wrong_by = -3_600_000;
        wrong_until_the_stop(rig);
    }

    /// A frozen cgroup, or a machine that slept: the writers' clocks and the agent's stood still together, or not.
    fn t79_frozen_for_a_minute(rig) {
        rig.start();
        rig.append("a.log", 100);
        rig.settle();
        rig.append("a.log", 20_000);
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 100);
        rig.append("b.log", 100);
        rig.now = rig.now.plus(secs(60));
        rig.settle_unordered();
        assert!(rig.backlog.iter().skip(100).all(|&b| b), "what came meanwhile is backlog");
        rig.assert_quiet();
    }

    fn two_sources_each_read_the_file(rig) {
        let second = spec(1, "other", rig.dir.path(), &["a.*"]);
        rig.specs.push(second);
        rig.start();
        rig.append("a.log", 5);
        let twice: Vec<String> = rig.expected.iter().chain(&rig.expected).cloned().collect();
        rig.expected = twice;
        rig.settle();
        assert_eq!(rig.saved.len(), 2);
    }

    fn many_files_need_few_handles(rig) {
        for n in 0..700 {
            rig.append(&format!("{n}.log"), 1);
        }
        rig.expected.clear();
        rig.start();
        for round in 0..3 {
            for n in (round..700).step_by(3) {
                rig.append(&format!("{n}.log"), 1);
            }
            rig.settle_unordered();
        }
        let dir = rig.dir.path().to_path_buf();
        let open = fs::read_dir("/proc/self/fd").unwrap().filter(|fd| {
            fs::read_link(fd.as_ref().unwrap().path()).is_ok_and(|to| to.starts_with(&dir))
        });
        assert!(open.count() <= 512);
        // The handle of a file that was closed is found again after a rotation.
        rig.pass(Duration::from_secs(1300));
        rig.append("7.log", 1);
        rig.rename("7.log", "7.log.1");
        rig.append("7.log", 1);
        rig.settle_unordered();
    }

    /// Beyond as many handles as are kept, only names lead to rotated files; their writers go on all the same.
    fn rotated_files_without_a_handle_are_written_to_late(rig) {
        rig.options.handles = 16;
        let name = |n: u32| format!("{n:03}.log");
        (0..100).for_each(|n| rig.put(&name(n), b""));
        rig.start();
        for n in 0..100 {
            rig.append(&name(n), 1);
            rig.rename(&name(n), &format!("{}.1", name(n)));
            rig.append(&name(n), 1);
        }
        rig.settle_unordered();
        for round in 0..3 {
            rig.meanwhile(secs(45));
            if round == 1 {
                (0..100).for_each(|n| rig.rename(&format!("{}.1", name(n)), &format!("{}.2", name(n))));
            }
            (0..100).for_each(|n| rig.append(&format!("{}.{}", name(n), 1 + round.min(1)), 1));
            rig.settle_unordered();
        }
        rig.assert_quiet();
    }

    /// Each of the quiet ones is read within one round of turns, however much lies in the hot one.
    fn t81_a_hot_file_beside_ninety_nine_quiet_ones(rig) {
        for n in 0..99 {
            rig.put(&format!("quiet{n}.log"), b"");
        }
        rig.start();
        rig.append("hot.log", 200_000);
        let hot = rig.expected.len();
        rig.hear_of_all();
        for n in 0..99 {
            rig.append(&format!("quiet{n}.log"), 1);
        }
        rig.hear_of_all();
        let before = rig.reads;
        let quiet = |rig: &Rig| rig.got.iter().filter(|l| rig.expected[hot..].contains(l)).count();
        let mut seen = 0;
        while seen < 99 {
            let from = rig.got.len();
            rig.step();
            seen += rig.got[from..].iter().filter(|l| rig.expected[hot..].contains(l)).count();
            assert!(rig.reads - before < 250, "{seen} of 99 quiet ones came in 250 turns");
        }
        assert_eq!(quiet(rig), 99);
        rig.settle_unordered();
        rig.assert_quiet();
    }

    fn t82_beyond_four_gibibytes(rig) {
        rig.start();
        let file = File::create(rig.path("a.log")).unwrap();
        let mut at = 5 << 30;
        for round in 0..4 {
            let text = rig.lines(100);
            file.write_all_at(text.as_bytes(), at).unwrap();
            at += text.len() as u64;
            if round == 2 {
                rig.stop();
                rig.start();
            }
            rig.settle();
        }
        // A hole inside a file that goes on.
        at += 3 << 30;
        let text = rig.lines(100);
        file.write_all_at(text.as_bytes(), at).unwrap();
        rig.settle();
        assert!(rig.tailer().status()[0].offset > 8 << 30);
        rig.rename("a.log", "a.log.1");
        rig.append("a.log", 10);
        rig.settle();
        rig.assert_quiet();
    }
}

impl Rig {
    /// Hints of everything that was written are there, and nothing was read for them.
    fn hear_of_all(&mut self) {
        match self.reader {
            Reader::Told => assert_eq!(self.bell.wait(secs(10)), Rung::Rang),
            Reader::Looks | Reader::Blocked => self.bell.ring_everything(),
        }
    }
}

fn wrong_until_the_stop(rig: &mut Rig) {
    rig.start();
    rig.append("a.log", 100);
    rig.settle();
    rig.stop();
    rig.wrong_by = 0;
    rig.append("a.log", 100);
    rig.rename("a.log", "a.log.2");
    rig.append("a.log", 100);
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", 100);
    rig.append("b.log", 100);
    rig.start();
    rig.settle();
    rig.assert_quiet();
}

/// A program that writes by storing into memory.
struct Mapper {
    child: Child,
}

impl Mapper {
    fn start(path: &Path) -> Mapper {
        let program = "import mmap, sys\nf = open(sys.argv[1], 'r+b')\nm = mmap.mmap(f.fileno(), 0)\nat = 0\n\
                       for line in sys.stdin.buffer:\n n = int(line)\n m[at:at+n] = sys.stdin.buffer.read(n)\n \
                       at += n\n print('done', flush=True)\n";
        let child = Command::new("python3")
            .args(["-c", program])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Mapper { child }
    }

    fn write(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        write!(stdin, "{}\n{text}", text.len()).unwrap();
        stdin.flush().unwrap();
        let mut answer = String::new();
        BufReader::new(self.child.stdout.as_mut().unwrap()).read_line(&mut answer).unwrap();
        assert_eq!(answer, "done\n");
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        // it may have ended already
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

#[test]
fn an_overflow_means_look_at_everything() {
    let mut rig = Rig::new(Reader::Looks);
    rig.put("a.log", b"");
    rig.start();
    rig.append("a.log", 5);
    rig.append("new.log", 5);
    rig.drain();
    assert!(rig.got.is_empty(), "no time passed and nobody rang");
    rig.bell.ring_everything();
    rig.drain();
    assert_eq!(rig.got.len(), 10);
}

#[test]
fn after_a_standstill_what_came_meanwhile_is_backlog() {
    let mut rig = Rig::new(Reader::Looks);
    rig.put("a.log", b"");
    rig.start();
    rig.append("a.log", 5);
    rig.now = rig.now.plus(Duration::from_secs(3600));
    rig.settle();
    assert_eq!(rig.backlog, [true; 5]);
    rig.append("a.log", 5);
    rig.settle();
    assert_eq!(rig.backlog[5..], [false; 5]);
}

#[test]
fn the_summary_says_what_is_watched() {
    let mut rig = Rig::new(Reader::Told);
    rig.specs = vec![spec(3, "app", rig.dir.path(), &["*.log", "none/*.log"])];
    rig.put("a.log", b"");
    rig.put("b.log", b"");
    rig.start();
    let summary = rig.tailer().summary();
    assert_eq!(summary.directories, 1);
    assert_eq!((&*summary.sources[0].name, summary.sources[0].files), ("app", 2));
    assert_eq!(summary.sources[0].empty_globs, [format!("{}/none/*.log", rig.dir.path().display())]);
}
