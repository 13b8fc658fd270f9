//! Records that span several lines: whole, once, in order, whatever happens to the file between their lines.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use logherald::line::SourceNo;
use logherald::tail::{Encoding, Format, Join, Preset, SourceSpec};
use proptest::prelude::*;

use super::rig::{Reader, Rig, secs, spec, stories};

const LOG: &str = "12:00:01 ERROR request failed\n";
const TRACE: [&str; 4] = [
    "com.acme.OrderException: cannot book\n",
    "\tat com.acme.Orders.book(Orders.java:42)\n",
    "Caused by: java.sql.SQLException: gone\n",
    "\tat com.acme.Pool.get(Pool.java:11)\n",
];

impl Rig {
    fn java(&mut self) {
        self.specs[0].join = Join::Preset(Preset::Java);
    }

    /// What was written comes, the last record because nothing more does.
    fn come(&mut self) {
        self.wait_for(self.expected.len());
        assert_eq!(self.got, self.expected, "{}", self.missing());
    }

    /// Looks until so many records have come, and a while longer.
    fn wait_for(&mut self, records: usize) {
        for _ in 0..60 {
            // Events come on a thread of their own.
            self.bell.wait(Duration::from_millis(50));
            self.pass(secs(1));
            if self.got.len() >= records {
                break;
            }
        }
        self.pass(secs(3));
    }

    /// A log line with its trace, expected as one record.
    fn expect_trace(&mut self) {
        self.expect(&format!("{LOG}{}", TRACE.concat()));
    }
}

stories! {
    fn a_trace_is_one_record_with_the_line_before_it(rig) {
        rig.java();
        rig.start();
        rig.put("a.log", b"12:00:00 INFO started\n");
        rig.expect("12:00:00 INFO started\n");
        for part in [LOG].iter().chain(&TRACE) {
            rig.put("a.log", part.as_bytes());
            rig.hear();
        }
        rig.expect_trace();
        rig.put("a.log", b"12:00:02 INFO next\n");
        rig.expect("12:00:02 INFO next\n");
        rig.come();
        rig.assert_quiet();
    }

    fn a_trace_split_by_a_rename_stays_whole(rig) {
        rig.java();
        rig.start();
        rig.put("a.log", b"12:00:00 INFO started\n");
        rig.expect("12:00:00 INFO started\n");
        rig.come();
        for split in 0..=TRACE.len() {
            let (before, after) = TRACE.split_at(split);
            rig.put("a.log", format!("{LOG}{}", before.concat()).as_bytes());
            rig.hear();
            rig.rename("a.log", &format!("a.log.{split}"));
            rig.put("a.log", format!("{}12:00:02 INFO next\n", after.concat()).as_bytes());
            rig.expect_trace();
            rig.expect("12:00:02 INFO next\n");
            rig.come();
        }
        rig.assert_quiet();
    }

    fn a_trace_split_by_a_rename_within_the_glob_stays_whole(rig) {
        rig.specs = vec![spec(0, "app", rig.dir.path(), &["a.log*"])];
        rig.java();
        rig.start();
        rig.put("a.log", format!("{LOG}{}", TRACE[..2].concat()).as_bytes());
        rig.hear();
        rig.rename("a.log", "a.log.1");
        rig.put("a.log", format!("{}12:00:02 INFO next\n", TRACE[2..].concat()).as_bytes());
        rig.wait_for(2);
        if rig.blocked() {
            // Two new files to one who never met them: which of them came first, only their births tell.
            rig.got.sort();
            assert!(rig.got.concat().contains("12:00:02 INFO next\n"));
        } else {
            rig.expect_trace();
            rig.expect("12:00:02 INFO next\n");
            assert_eq!(rig.got, rig.expected, "{}", rig.missing());
        }
    }

    fn a_trace_split_by_copy_and_cut_stays_whole(rig) {
        rig.java();
        rig.start();
        rig.put("a.log", b"12:00:00 INFO started\n");
        rig.expect("12:00:00 INFO started\n");
        rig.come();
        rig.put("a.log", format!("{LOG}{}", TRACE[..2].concat()).as_bytes());
        rig.hear();
        fs::copy(rig.path("a.log"), rig.path("a.log.1")).unwrap();
        rig.truncate("a.log", 0);
        rig.put("a.log", format!("{}12:00:02 INFO next\n", TRACE[2..].concat()).as_bytes());
        rig.expect_trace();
        rig.expect("12:00:02 INFO next\n");
        rig.come();
        rig.assert_quiet();
    }

    fn a_trace_split_by_a_restart_stays_whole(rig) {
        rig.java();
        rig.start();
        rig.put("a.log", b"12:00:00 INFO started\n");
        rig.expect("12:00:00 INFO started\n");
        rig.come();
        rig.put("a.log", format!("{LOG}{}", TRACE[..3].concat()).as_bytes());
        rig.hear();
        rig.stop();
        rig.put("a.log", TRACE[3].as_bytes());
        rig.expect_trace();
        rig.start();
        rig.pass(secs(3));
        assert_eq!(rig.got, rig.expected);
        rig.assert_quiet();
    }

    fn a_trace_split_by_a_rotation_while_nobody_ran_stays_whole(rig) {
        rig.java();
        rig.start();
        rig.put("a.log", b"12:00:00 INFO started\n");
        rig.expect("12:00:00 INFO started\n");
        rig.come();
        rig.stop();
        rig.put("a.log", format!("{LOG}{}", TRACE[..1].concat()).as_bytes());
        rig.rename("a.log", "a.log.1");
        rig.put("a.log", format!("{}12:00:02 INFO next\n", TRACE[1..].concat()).as_bytes());
        rig.expect_trace();
        rig.expect("12:00:02 INFO next\n");
        rig.start();
        rig.pass(secs(3));
        assert_eq!(rig.got, rig.expected, "{}", rig.missing());
        rig.assert_quiet();
    }

    fn what_was_read_of_a_record_survives_a_cut(rig) {
        rig.java();
        rig.start();
        rig.put("a.log", b"12:00:00 INFO started\n");
        rig.expect("12:00:00 INFO started\n");
        rig.come();
        rig.put("a.log", LOG.as_bytes());
        if rig.blocked() {
            rig.truncate("a.log", 0); // never read: gone
        } else {
            rig.hear();
            rig.truncate("a.log", 0);
            rig.expect(LOG);
        }
        rig.hear();
        rig.put("a.log", b"12:00:09 INFO again\n");
        rig.expect("12:00:09 INFO again\n");
        rig.come();
    }

    fn a_record_ends_after_five_hundred_lines_and_the_rest_is_matched_too(rig) {
        rig.java();
        rig.start();
        let frames: Vec<String> = (0..1199).map(|n| format!("\tat a.B.c(B.java:{n})\n")).collect();
        rig.put("a.log", format!("{LOG}{}", frames.concat()).as_bytes());
        rig.expect(&format!("{LOG}{}", frames[..499].concat()));
        rig.expect(&frames[499..999].concat());
        rig.expect(&frames[999..].concat());
        rig.come();
    }

    fn a_record_ends_at_its_longest_and_the_rest_is_matched_too(rig) {
        rig.java();
        rig.start();
        let frame = format!("\tat {}\n", "x".repeat(99_000));
        rig.put("a.log", format!("{LOG}{}{LOG}", frame.repeat(7)).as_bytes());
        rig.wait_for(5);
        let all = rig.got.concat();
        assert!(all == format!("{LOG}{}{LOG}", frame.repeat(7)), "no line is lost");
        assert!(rig.got.iter().all(|r| r.len() <= 256 * 1024 + 1), "{:?}", rig.got.iter().map(String::len).collect::<Vec<_>>());
    }

    fn a_pattern_begins_a_record_in_any_encoding(rig) {
        rig.specs[0].join = Join::Start(Arc::from(r"^\d\d:"));
        rig.specs[0].encoding = Encoding::named("utf-16le").unwrap();
        rig.start();
        let utf16 = |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_le_bytes).collect() };
        rig.put("a.log", &utf16("12:00 één\nregel twee\n\nvier\n13:0"));
        rig.hear();
        rig.put("a.log", &utf16("1 laatste\n"));
        rig.expect("12:00 één\nregel twee\n\nvier\n");
        rig.expect("13:01 laatste\n");
        rig.come();
    }

    fn the_streams_of_a_container_are_joined_each_for_itself(rig) {
        rig.java();
        rig.specs[0].format = Format::Cri;
        rig.start();
        let time = "2026-11-22T10:00:00Z";
        let frames = [("stdout", LOG), ("stderr", "12:00:01 ERROR other\n"), ("stdout", TRACE[0])];
        let rest = [("stderr", "\tat other.Thing\n"), ("stdout", TRACE[1]), ("stdout", "12:00:02 INFO next\n")];
        for (stream, text) in frames.iter().chain(&rest) {
            rig.put("a.log", format!("{time} {stream} F {text}").as_bytes());
            rig.hear();
        }
        rig.expect(&format!("{LOG}{}{}", TRACE[0], TRACE[1]));
        rig.expect("12:00:01 ERROR other\n\tat other.Thing\n");
        rig.expect("12:00:02 INFO next\n");
        rig.come();
    }
}

fn joined(dir: &Path) -> SourceSpec {
    let mut spec = spec(0, "app", dir, &["*.log"]);
    spec.no = SourceNo(0);
    spec.join = Join::Start(Arc::from("^[a-c]"));
    spec
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the bytes arrive, and whenever the agent is started anew between them, the records are the same.
    #[test]
    fn any_way_of_writing_a_file_gives_the_same_records(
        lines in proptest::collection::vec("[a-f ]{0,12}", 1..40),
        cuts in proptest::collection::vec(1usize..40, 1..20),
        restarts in proptest::collection::vec(any::<bool>(), 1..8),
    ) {
        let mut rig = Rig::new(Reader::Looks);
        rig.specs = vec![joined(rig.dir.path())];
        rig.put("a.log", b"");
        rig.start();
        let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
        let (mut rest, mut n) = (text.as_bytes(), 0);
        while !rest.is_empty() {
            let (some, more) = rest.split_at(cuts[n % cuts.len()].min(rest.len()));
            rig.put("a.log", some);
            rig.hear(); // less than a second: nothing is idle yet
            if restarts[n % restarts.len()] {
                rig.stop();
                rig.start();
            }
            (rest, n) = (more, n + 1);
        }
        rig.pass(secs(3));
        let mut expected: Vec<String> = vec![];
        for line in &lines {
            match expected.last_mut() {
                Some(record) if !line.starts_with(['a', 'b', 'c']) => {
                    record.push_str(line);
                    record.push('\n');
                }
                _ => expected.push(format!("{line}\n")),
            }
        }
        prop_assert_eq!(&rig.got, &expected);
    }
}
