//! Is every line read once of a log that is cut, copied and cut, trimmed, or rewritten by an editor?

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::rig::{Reader, Rig, spec, stories};

stories! {
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

    fn cut_and_grown_beyond_the_old_place(rig) {
        rig.start();
        rig.append("a.log", 300);
        rig.settle();
        rig.truncate("a.log", 0);
        rig.append("a.log", 900);
        rig.settle();
        assert!(rig.gaps.is_empty(), "{:?}", rig.gaps);
    }

    fn cut_and_grown_with_the_same_header(rig) {
        rig.start();
        let header = format!("{}\n", "#Fields: date time".repeat(120));
        for n in [400, 900, 200, 950] {
            drop(fs::remove_file(rig.path("other.log")));
            if rig.path("a.log").exists() {
                rig.truncate("a.log", 0);
            }
            rig.expect(&header);
            let text = rig.lines(n);
            rig.put("a.log", format!("{header}{text}").as_bytes());
            rig.settle();
        }
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
