//! Is every line read once of a log that is cut, copied and cut, trimmed, or rewritten by an editor?

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use super::rig::{Reader, Rig, secs, spec, stories};
use crate::harness::program::have;

stories! {
    fn t20_cut_to_nothing(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        rig.truncate("a.log", 0);
        rig.hear();
        rig.append("a.log", 10);
        rig.settle();
        rig.assert_quiet();
    }

    fn t21_cut_and_grown_beyond_the_old_place(rig) {
        rig.start();
        rig.append("a.log", 3000);
        rig.settle();
        rig.truncate("a.log", 0);
        rig.append("a.log", 6000);
        rig.settle();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn t22_cut_and_grown_with_the_same_header(rig) {
        rig.start();
        let header = format!("{}\n", "#Fields: date time".repeat(120));
        for n in [400, 900, 200, 950] {
            if rig.path("a.log").exists() {
                rig.truncate("a.log", 0);
            }
            rig.expect(&header);
            let text = rig.lines(n);
            rig.put("a.log", format!("{header}{text}").as_bytes());
            rig.settle();
        }
    }

    /// What is destroyed between the copy's last byte and the cut is lost to everybody. Everything else is on the disk
    /// and has to come, whenever the reader has its turn.
    fn t24_copied_and_cut_under_a_concurrent_writer(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        let writer = Writer::start(rig.path("a.log"));
        for round in 0..5 {
            writer.write(2000);
            writer.wait();
            rig.hear();
            writer.write(500);
            fs::copy(rig.path("a.log"), rig.path(&format!("a.log-{round}"))).unwrap();
            rig.truncate("a.log", 0);
            writer.write(1000);
            rig.meanwhile(Duration::from_millis(300));
        }
        writer.stop();
        all_that_survived(rig);
    }

    fn t24_logrotate_copies_and_cuts_under_a_concurrent_writer(rig) {
        if !have("logrotate") {
            return;
        }
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        let dir = rig.dir.path().display().to_string();
        let config = format!("{dir}/a.log {{\n copytruncate\n rotate 9\n}}\n");
        fs::write(rig.path("logrotate.conf"), config).unwrap();
        let writer = Writer::start(rig.path("a.log"));
        for _ in 0..4 {
            writer.write(2000);
            writer.wait();
            rig.hear();
            writer.write(5000);
            let done = Command::new("logrotate")
                .args(["-f", "-s", &format!("{dir}/logrotate.state"), &format!("{dir}/logrotate.conf")])
                .output()
                .unwrap();
            assert!(done.status.success(), "{done:?}");
            rig.meanwhile(Duration::from_millis(300));
        }
        writer.stop();
        all_that_survived(rig);
    }

    fn t26_a_hole_of_fifty_megabytes_costs_nothing(rig) {
        rig.start();
        let file = File::create(rig.path("a.log")).unwrap();
        let text = rig.lines(10);
        file.write_all_at(text.as_bytes(), 0).unwrap();
        rig.settle();
        // A writer that was not told of the cut goes on where it was.
        file.set_len(0).unwrap();
        let text = rig.lines(10);
        file.write_all_at(text.as_bytes(), 50_000_000).unwrap();
        let before = rig.reads;
        while rig.got.len() < 20 {
            rig.hear();
            if !rig.step().more && rig.reader != Reader::Told {
                rig.pass(secs(1));
            }
            assert!(rig.reads - before < 50, "read in steps of at most 256 KiB, the hole alone would take 190");
        }
        rig.settle();
        rig.stop();
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        rig.assert_quiet();
    }

    fn t27_trimmed_at_its_end(rig) {
        rig.start();
        rig.append("a.log", 3000);
        rig.settle();
        let text = fs::read(rig.path("a.log")).unwrap();
        let upto = memchr::memrchr(b'\n', &text[..text.len() / 2]).unwrap() + 1;
        rig.truncate("a.log", upto as u64);
        // The policy: what is left of it was read, so reading goes on at its end. One who first looks when more has
        // been written cannot tell, so far before the lines that it remembers, where the old bytes end: it says so.
        rig.meanwhile(secs(3));
        if rig.blocked() {
            let text = rig.unexpected(10);
            rig.put("a.log", text.as_bytes());
        } else {
            rig.append("a.log", 10);
        }
        rig.settle();
        let why = "cut short; what was written behind the cut before it was found is not known";
        assert_eq!(rig.gaps.iter().map(|g| g.why.as_str()).collect::<Vec<_>>(), [why]);
        rig.append("a.log", 10);
        rig.settle();
    }

    fn t28_an_editor_saves_without_the_last_line(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        for _ in 0..3 {
            let text = fs::read(rig.path("a.log")).unwrap();
            let upto = memchr::memrchr(b'\n', &text[..text.len() - 1]).unwrap() + 1;
            fs::write(rig.path(".a.log.swp"), &text[..upto]).unwrap();
            rig.rename(".a.log.swp", "a.log");
            rig.meanwhile(secs(3));
            rig.append("a.log", 10);
            rig.settle();
        }
        rig.assert_quiet();
    }

    fn t28_an_editor_saves_into_the_same_file(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        for _ in 0..3 {
            let text = fs::read(rig.path("a.log")).unwrap();
            let upto = memchr::memrchr(b'\n', &text[..text.len() - 1]).unwrap() + 1;
            fs::write(rig.path("a.log"), &text[..upto]).unwrap();
            rig.meanwhile(secs(3));
            rig.append("a.log", 10);
            rig.settle();
        }
        rig.assert_quiet();
    }

    fn t28_sed_edits_in_place(rig) {
        rig.start();
        rig.append("a.log", 1000);
        rig.settle();
        for script in ["s/^line 000500/changed/", "1d", "300,310d", "$d"] {
            let done = Command::new("sed").args(["-i", script]).arg(rig.path("a.log")).status().unwrap();
            assert!(done.success());
            rig.meanwhile(secs(3));
            rig.append("a.log", 10);
            rig.settle();
        }
        rig.assert_quiet();
    }

    fn copied_and_cut(rig) {
        rig.start();
        for _ in 0..5 {
            rig.append("a.log", 300);
            rig.settle();
            fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
            rig.truncate("a.log", 0);
            rig.settle();
        }
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn copied_and_cut_before_the_end_was_read(rig) {
        rig.start();
        rig.append("a.log", 300);
        rig.settle();
        rig.append("a.log", 200);
        fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        rig.truncate("a.log", 0);
        rig.append("a.log", 700);
        rig.settle();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn a_copy_that_matches_the_glob_is_not_read_twice(rig) {
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["a.log*"])];
        rig.start();
        rig.append("a.log", 300);
        rig.settle();
        fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        rig.pass(Duration::from_secs(3));
        rig.append("a.log", 100);
        rig.settle();
        let all = fs::read(rig.path("a.log")).unwrap();
        rig.put("a.log.2", &all);
        rig.truncate("a.log", 0);
        rig.append("a.log", 100);
        rig.settle();
        rig.pass(Duration::from_secs(30));
        // What carries a rotated name and is something else is read.
        rig.append("a.log.3", 100);
        rig.settle();
    }

    fn a_copy_that_is_met_after_the_log_was_cut_is_not_read_twice(rig) {
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["a.log*"])];
        rig.start();
        rig.append("a.log", 300);
        rig.settle();
        // Nobody looks from here on.
        fs::copy(rig.path("a.log"), rig.path("a.log.old")).unwrap();
        rig.append("a.log", 100);
        fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        rig.truncate("a.log", 0);
        rig.append("a.log", 100);
        rig.settle();
        rig.pass(Duration::from_secs(30));
        rig.append("a.log.old", 100);
        rig.settle();
    }

    fn what_is_cut_unread_is_a_gap(rig) {
        let old = rig.unexpected(10);
        rig.put("a.log", old.as_bytes());
        rig.start();
        let unread = "half a line";
        rig.put("a.log", unread.as_bytes());
        rig.hear();
        rig.truncate("a.log", 0);
        rig.append("a.log", 5);
        rig.settle();
        if rig.blocked() {
            // Nobody ever saw that it was there.
            return rig.assert_quiet();
        }
        assert_eq!(rig.gaps.len(), 1);
        assert_eq!(rig.gaps[0].bytes, Some(unread.len() as u64));
        assert_eq!(rig.gaps[0].why, "cut or rewritten before it was read");
    }

    fn trimmed_at_its_end_goes_on_there(rig) {
        rig.start();
        for _ in 0..30 {
            rig.append("a.log", 100);
            rig.settle();
        }
        let text = fs::read(rig.path("a.log")).unwrap();
        let upto = memchr::memrchr(b'\n', &text[..text.len() - 5_000]).unwrap() + 1;
        rig.truncate("a.log", upto as u64);
        rig.pass(Duration::from_secs(3));
        rig.append("a.log", 10);
        rig.settle();
    }

    fn a_hole_of_nuls_is_skipped(rig) {
        rig.start();
        let file = File::create(rig.path("a.log")).unwrap();
        let text = rig.lines(10);
        file.write_all_at(text.as_bytes(), 0).unwrap();
        rig.settle();
        // A writer that was not told of the cut goes on where it was.
        file.set_len(0).unwrap();
        let text = rig.lines(10);
        file.write_all_at(text.as_bytes(), 3_000_000_000).unwrap();
        rig.settle();
        let text = rig.lines(10);
        file.write_all_at(text.as_bytes(), 3_000_200_000).unwrap();
        rig.settle();
        rig.stop();
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
    }

    fn a_preallocated_file_is_read_as_it_fills(rig) {
        rig.start();
        let file = File::create(rig.path("a.log")).unwrap();
        file.set_len(2_000_000).unwrap();
        let mut at = 0;
        for _ in 0..5 {
            let text = rig.lines(10);
            file.write_all_at(text.as_bytes(), at).unwrap();
            at += text.len() as u64;
            rig.settle();
        }
    }
}

/// A program that writes lines `busy 000001` on and on, beside whatever else happens to its log.
struct Writer {
    orders: Sender<usize>,
    done: Receiver<usize>,
    thread: JoinHandle<()>,
}

impl Writer {
    #[expect(clippy::disallowed_methods, reason = "a writer that is concurrent has a thread")]
    fn start(path: PathBuf) -> Writer {
        let (orders, work) = mpsc::channel::<usize>();
        let (tell, done) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
            let mut no = 0;
            for n in work {
                for _ in 0..n {
                    no += 1;
                    file.write_all(format!("busy {no:06} {}\n", "y".repeat(no % 50)).as_bytes()).unwrap();
                }
                tell.send(no).unwrap();
            }
        });
        Writer { orders, done, thread }
    }

    /// So many more lines, while the caller goes on.
    fn write(&self, n: usize) {
        self.orders.send(n).unwrap();
    }

    /// Until something that was ordered is written.
    fn wait(&self) {
        self.done.recv().unwrap();
    }

    fn stop(self) {
        drop(self.orders);
        self.thread.join().unwrap();
    }
}

/// Every line that is on the disk came, in order, whole and once; beside them only lines that were read before they
/// were cut off.
fn all_that_survived(rig: &mut Rig) {
    rig.pass(secs(30));
    let mut survivors = HashSet::new();
    for entry in fs::read_dir(rig.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("a.log") {
            let text = fs::read_to_string(path).unwrap();
            survivors.extend(text.split_inclusive('\n').filter(|l| l.ends_with('\n')).map(str::to_owned));
        }
    }
    let busy: Vec<String> = rig.got.iter().filter(|l| l.starts_with("busy ")).cloned().collect();
    let got: HashSet<&String> = rig.got.iter().collect();
    let lost: Vec<&String> = survivors.iter().filter(|l| !got.contains(l)).collect();
    assert!(lost.is_empty(), "{} lines on the disk never came, one is {:?}", lost.len(), lost[0]);
    assert_eq!(got.len(), rig.got.len(), "a line came twice");
    assert!(busy.windows(2).all(|w| w[0] < w[1]), "out of order");
    let whole = |l: &String| {
        let no = l.get(5..11).and_then(|no| no.parse().ok()).unwrap_or(usize::MAX);
        *l == format!("busy {no:06} {}\n", "y".repeat(no % 50))
    };
    if let Some(odd) = busy.iter().find(|l| !whole(l)) {
        panic!("glued or split: {odd:?}");
    }
    rig.assert_quiet();
}
