//! Whatever bytes a log holds, are its lines read?

use std::time::Duration;

use logherald::tail::From;

use super::rig::{Reader, Rig, stories};

stories! {
    fn appended_lines_come_once_and_in_order(rig) {
        let old = rig.unexpected(100);
        rig.put("a.log", old.as_bytes());
        rig.start();
        for n in 1..20 {
            rig.append("a.log", n);
            rig.settle();
        }
        assert!(rig.gaps.is_empty() && rig.troubles.is_empty(), "{:?} {:?}", rig.gaps, rig.troubles);
        assert!(rig.backlog.iter().all(|b| !b));
    }

    fn from_start_reads_what_was_there_and_calls_it_backlog(rig) {
        rig.specs[0].from = From::Start;
        rig.append("a.log", 20_000);
        rig.start();
        rig.settle();
        assert!(rig.backlog.iter().all(|&b| b));
        rig.append("a.log", 10);
        rig.settle();
        assert_eq!(rig.backlog.iter().filter(|b| !*b).count(), 10);
    }

    fn an_unfinished_line_is_matched_when_idle_and_again_when_whole(rig) {
        rig.start();
        rig.append("a.log", 2);
        rig.settle();
        rig.put("a.log", b"the end");
        rig.hear();
        rig.pass(Duration::from_secs(3));
        assert_eq!(rig.idle, ["the end"]);
        rig.pass(Duration::from_secs(60));
        assert_eq!(rig.idle.len(), 1, "once");
        rig.put("a.log", b" of it\n");
        rig.expect("the end of it\n");
        rig.settle();
        assert_eq!(rig.early, [("the end of it\n".to_owned(), vec!["rule".to_owned()])]);
    }

    fn an_unfinished_line_from_before_the_start_waits_for_its_end(rig) {
        let old = rig.unexpected(3);
        rig.put("a.log", format!("{old}half").as_bytes());
        rig.start();
        rig.pass(Duration::from_secs(5));
        assert!(rig.idle.is_empty());
        rig.put("a.log", b" and half\n");
        rig.expect("half and half\n");
        rig.settle();
    }

    fn line_ends_and_bytes_of_every_sort(rig) {
        rig.start();
        rig.put("a.log", b"dos\r\nbad \xff\xfe utf\n\n nul \0 inside\nlone \r return\n");
        for line in ["dos\r\n", "bad \u{fffd}\u{fffd} utf\n", "\n", " nul \0 inside\n", "lone \r return\n"] {
            rig.expect(line);
        }
        rig.settle();
        assert_eq!(rig.cut, 0);
    }

    fn over_long_lines_are_cut_once_and_never_end_the_file(rig) {
        rig.specs[0].max_line = 1000;
        rig.start();
        let exact = format!("{}\n", "e".repeat(1000));
        rig.expect(&exact);
        rig.expect(&"l".repeat(1000));
        rig.put("a.log", format!("{exact}{}\n", "l".repeat(5000)).as_bytes());
        rig.append("a.log", 3);
        rig.settle();
        // One that is written slowly, far longer than any buffer.
        rig.expect(&"s".repeat(1000));
        for _ in 0..40 {
            rig.put("a.log", "s".repeat(60_000).as_bytes());
            rig.pass(Duration::from_millis(300));
        }
        rig.put("a.log", b"\n");
        rig.append("a.log", 3);
        rig.settle();
        assert_eq!(rig.cut, 2);
        // And one across a restart.
        rig.expect(&"r".repeat(1000));
        rig.put("a.log", "r".repeat(400_000).as_bytes());
        rig.settle();
        rig.stop();
        rig.put("a.log", "r".repeat(400_000).as_bytes());
        rig.put("a.log", b"\n");
        rig.append("a.log", 3);
        rig.start();
        rig.settle();
    }

    fn empty_and_tiny_files(rig) {
        rig.put("empty.log", b"");
        rig.put("tiny.log", b"x");
        rig.start();
        rig.pass(Duration::from_secs(2));
        rig.append("empty.log", 1);
        rig.settle();
        rig.put("tiny.log", b"y\n");
        rig.expect("xy\n");
        rig.settle();
    }
}
