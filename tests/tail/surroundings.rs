//! Odd names, odd files, odd clocks, and very many files: what stands around a log is no reason to lose a line.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::rig::{Reader, Rig, spec, stories};

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

    fn names_need_not_be_text_and_only_files_are_read(rig) {
        use std::os::unix::ffi::OsStrExt;
        let odd = rig.dir.path().join(std::ffi::OsStr::from_bytes(b"caf\xe9\n.log"));
        fs::create_dir(rig.path("dir.log")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            rig.path("fifo.log"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(rig.path("socket.log")).unwrap();
        symlink("nowhere", rig.path("dangling.log")).unwrap();
        rig.start();
        let text = rig.lines(5);
        fs::write(&odd, text).unwrap();
        rig.settle();
        rig.stop();
        let text = rig.lines(5);
        OpenOptions::new().append(true).open(&odd).unwrap().write_all(text.as_bytes()).unwrap();
        rig.start();
        rig.settle();
        assert_eq!(rig.tailer().status().len(), 1);
        assert!(rig.troubles.is_empty(), "{:?}", rig.troubles);
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

    fn a_hot_file_starves_nobody(rig) {
        rig.start();
        rig.append("hot.log", 100_000);
        let before = rig.expected.len();
        rig.append("quiet.log", 1);
        let quiet = rig.expected[before].clone();
        let mut steps = 0;
        while !rig.got.contains(&quiet) {
            if !rig.step().more && (rig.reader == Reader::Told) {
                rig.bell.wait(Duration::from_secs(1));
            } else if !(rig.reader == Reader::Told) {
                rig.now = rig.now.plus(Duration::from_millis(100));
            }
            steps += 1;
            assert!(steps < 100);
        }
        assert!(rig.got.len() < rig.expected.len(), "the quiet one came while the hot one was being read");
        rig.settle_unordered();
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
