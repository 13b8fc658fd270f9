//! Whatever bytes a log holds, are its lines read?

use std::fs;
use std::io::Write;
use std::time::Duration;

use logherald::tail::{Encoding, Format, From};

use super::rig::{Reader, Rig, secs, stories};

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

    /// Beside the file's own bytes nothing may grow with the line: no more than one longest line is ever given out.
    fn t50_a_line_of_two_hundred_megabytes(rig) {
        rig.start();
        rig.append("a.log", 10);
        rig.settle();
        let piece = vec![b'z'; 1 << 20];
        let mut file = rig.open("a.log");
        for n in 0..200 {
            file.write_all(&piece).unwrap();
            if n % 50 == 0 {
                rig.hear();
            }
        }
        file.write_all(b"\n").unwrap();
        rig.expect(&"z".repeat(256 * 1024));
        rig.append("a.log", 10);
        rig.settle();
        assert_eq!(rig.cut, 1);
        rig.assert_quiet();
    }

    fn t51_lines_of_exactly_the_longest_one_less_and_one_more(rig) {
        rig.specs[0].max_line = 1000;
        rig.start();
        for n in [999, 1000, 1001] {
            let line = "e".repeat(n);
            rig.put("a.log", format!("{line}\n").as_bytes());
            rig.expect(&if n > 1000 { "e".repeat(1000) } else { line + "\n" });
            rig.append("a.log", 1);
            rig.hear();
        }
        // A character of two, three and four bytes that would be torn is left out whole.
        for (character, whole) in [("é", 999), ("€", 998), ("🦀", 997)] {
            for before in whole..1001 {
                let line = format!("{}{character}tail\n", "m".repeat(before));
                rig.put("a.log", line.as_bytes());
                rig.expect(&"m".repeat(before.min(1000)));
                rig.append("a.log", 1);
            }
            rig.hear();
        }
        rig.settle();
        assert_eq!(rig.cut, 1 + 2 + 3 + 4);
        rig.assert_quiet();
    }

    fn t52_bytes_of_every_sort(rig) {
        rig.start();
        let odd = b"bad \xff\xfe utf\n\n nul \0 inside\nlone \r return\nsep \xe2\x80\xa8 arator\n\x1b[31mred\x1b[0m\ndos\r\n";
        rig.put("a.log", odd);
        for line in [
            "bad \u{fffd}\u{fffd} utf\n",
            "\n",
            " nul \0 inside\n",
            "lone \r return\n",
            "sep \u{2028} arator\n",
            "\u{1b}[31mred\u{1b}[0m\n",
            "dos\r\n",
        ] {
            rig.expect(line);
        }
        rig.hear();
        // The two bytes of a line end, and those of a character, come in two reads.
        rig.put("a.log", b"split\r");
        rig.hear();
        rig.put("a.log", b"\nhalf a \xc3");
        rig.hear();
        rig.put("a.log", b"\xa9\n");
        rig.expect("split\r\n");
        rig.expect("half a é\n");
        rig.settle();
        assert_eq!(rig.cut, 0);
        rig.assert_quiet();
    }

    fn t53_utf_16_with_a_byte_order_mark_resumed_in_the_middle(rig) {
        rig.start();
        for little in [true, false] {
            let name = if little { "le.log" } else { "be.log" };
            let wide = |text: &str| -> Vec<u8> {
                let bytes = |u: u16| if little { u.to_le_bytes() } else { u.to_be_bytes() };
                text.encode_utf16().flat_map(bytes).collect()
            };
            rig.put(name, &wide("\u{feff}"));
            // U+0A0D and U+0A00 hold the bytes of a newline and are none; a surrogate pair is one character.
            let text = format!("{}\u{a0d}\u{a00} 🦀 caf\u{e9}\n", rig.unexpected(50));
            rig.expected.extend(text.split_inclusive('\n').map(str::to_owned));
            rig.put(name, &wide(&text));
            rig.settle();
            rig.stop();
            let text = rig.lines(50);
            rig.put(name, &wide(&text));
            rig.start();
            rig.settle();
            // Half a unit at the end of the file is no character yet.
            let text = wide(&rig.lines(1));
            let (head, tail) = text.split_at((text.len() / 2) | 1);
            rig.put(name, head);
            rig.hear();
            rig.stop();
            rig.put(name, tail);
            rig.start();
            rig.settle();
        }
        rig.assert_quiet();
    }

    fn an_encoding_that_has_no_mark_is_named(rig) {
        for (label, bytes, text) in [
            ("latin1", &b"caf\xe9 \x80\n"[..], "café €\n"),
            ("shift_jis", b"\x83e\x83X\x83g \x83\x5c\n", "テスト ソ\n"),
            ("utf-16le", b"h\0i\0\n\0", "hi\n"),
        ] {
            rig.specs[0].encoding = Encoding::named(label).unwrap();
            let name = format!("{label}.log");
            rig.start();
            for _ in 0..3 {
                rig.put(&name, bytes);
                rig.expect(text);
                rig.hear();
            }
            rig.settle();
            rig.stop();
            rig.remove(&name);
        }
    }

    fn t55_a_last_line_that_is_never_ended(rig) {
        rig.start();
        rig.append("a.log", 2);
        rig.settle();
        rig.put("a.log", b"the end");
        rig.hear();
        rig.pass(secs(3));
        assert_eq!(rig.idle, ["the end"]);
        rig.pass(secs(60));
        assert_eq!(rig.idle.len(), 1, "once");
        rig.put("a.log", b" of it\n");
        rig.expect("the end of it\n");
        rig.settle();
        assert_eq!(rig.early, [("the end of it\n".to_owned(), vec!["rule".to_owned()])], "and not twice");
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

    fn t56_two_files_with_the_same_first_four_kilobytes(rig) {
        let head = format!("{}\n", "#Fields: date time s-ip".repeat(200));
        rig.start();
        for name in ["syslog.log", "messages.log"] {
            rig.expect(&head);
            rig.put(name, head.as_bytes());
            rig.append(name, 100);
            rig.hear();
        }
        rig.settle_unordered();
        rig.stop();
        rig.append("messages.log", 100);
        rig.append("syslog.log", 100);
        rig.start();
        rig.settle_unordered();
        rig.assert_quiet();
    }

    fn t57_a_hundred_files_with_the_same_first_line(rig) {
        rig.start();
        for n in 0..100 {
            rig.expect("#Version: 1.0\n");
            let text = format!("#Version: 1.0\n{}", rig.lines(5));
            fs::write(rig.path(&format!("{n}.log")), text).unwrap();
        }
        rig.settle_unordered();
        rig.stop();
        for n in 0..100 {
            rig.append(&format!("{n}.log"), 1);
        }
        rig.start();
        rig.settle_unordered();
        rig.assert_quiet();
    }

    fn t58_empty_and_one_byte_files(rig) {
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

    fn t60_docker_splits_lines_at_sixteen_kilobytes(rig) {
        for format in [Format::Docker, Format::Auto] {
            rig.specs[0].format = format;
            let name = format!("{format:?}.log").to_lowercase();
            rig.start();
            rig.put(&name, b"");
            rig.append_docker(&name, "stdout", "a short line\n");
            let long = "0123456789abcdef".repeat(2560);
            let err = "e".repeat(20_000);
            // Pieces of two streams lie between each other.
            rig.put_docker(&name, "stdout", &long[..16_384]);
            rig.put_docker(&name, "stderr", &err[..16_384]);
            rig.put_docker(&name, "stdout", &long[16_384..32_768]);
            rig.hear();
            rig.put_docker(&name, "stderr", &format!("{}\n", &err[16_384..]));
            rig.put_docker(&name, "stdout", &format!("{}\n", &long[32_768..]));
            // They leave in the order in which they began.
            rig.expect(&format!("{long}\n"));
            rig.expect(&format!("{err}\n"));
            rig.append_docker(&name, "stdout", "quoted \\\" and \\t tab\n");
            rig.expected.pop();
            rig.expect("quoted \" and \t tab\n");
            rig.settle();
            rig.stop();
        }
        rig.assert_quiet();
    }

    fn t60_cri_pieces_across_a_rotation(rig) {
        for format in [Format::Cri, Format::Auto] {
            rig.specs[0].format = format;
            rig.start();
            rig.put_cri("0.log", "stdout", 'F', "whole");
            rig.expect("whole\n");
            rig.settle();
            rig.put_cri("0.log", "stdout", 'P', "one ");
            rig.put_cri("0.log", "stderr", 'F', "between");
            rig.put_cri("0.log", "stdout", 'P', "two ");
            rig.hear();
            rig.rename("0.log", &format!("0.log.{format:?}"));
            rig.put_cri("0.log", "stdout", 'F', "three");
            rig.expect("one two three\n");
            rig.expect("between\n"); // it began later
            rig.put_cri("0.log", "stdout", 'F', "after");
            rig.expect("after\n");
            rig.settle();
            rig.stop();
        }
        rig.assert_quiet();
    }

    fn t60_cri_pieces_across_a_restart(rig) {
        rig.specs[0].format = Format::Cri;
        rig.start();
        rig.put_cri("0.log", "stdout", 'F', "whole");
        rig.expect("whole\n");
        rig.settle();
        rig.put_cri("0.log", "stdout", 'P', "one ");
        rig.hear();
        rig.put_cri("0.log", "stdout", 'P', "two ");
        rig.hear();
        rig.stop();
        rig.put_cri("0.log", "stdout", 'F', "three");
        rig.expect("one two three\n");
        rig.start();
        rig.settle();
        rig.assert_quiet();
    }

    fn t60_a_last_piece_that_never_arrives(rig) {
        rig.specs[0].format = Format::Cri;
        rig.start();
        rig.put_cri("0.log", "stdout", 'F', "whole");
        rig.expect("whole\n");
        rig.settle();
        rig.put_cri("0.log", "stdout", 'P', "an error, and then nothing");
        rig.hear();
        rig.pass(secs(5));
        let told = |rig: &Rig| {
            let all = rig.idle.iter().chain(&rig.got);
            all.filter(|l| l.trim_end() == "an error, and then nothing").count()
        };
        assert_eq!(told(rig), 1, "what there is of it is matched when it is idle");
        rig.pass(secs(60));
        assert_eq!(told(rig), 1, "once");
        // The stream goes on with a line of its own, whatever became of the piece.
        rig.put_cri("0.log", "stderr", 'F', "the other stream goes on");
        rig.hear();
        rig.pass(secs(5));
        assert_eq!(rig.got.iter().filter(|l| *l == "the other stream goes on\n").count(), 1);
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
}

impl Rig {
    /// A record of docker's json-file; `text` is put into its quotes as it stands.
    fn put_docker(&self, name: &str, stream: &str, text: &str) {
        let text = text.replace('\n', "\\n");
        let time = "2026-11-22T10:00:00.123456789Z";
        let record = format!("{{\"log\":\"{text}\",\"stream\":\"{stream}\",\"time\":\"{time}\"}}\n");
        self.put(name, record.as_bytes());
    }

    /// The same of a line that is expected.
    fn append_docker(&mut self, name: &str, stream: &str, text: &str) {
        self.put_docker(name, stream, text);
        self.expect(text);
    }

    /// A line as CRI runtimes write it.
    fn put_cri(&self, name: &str, stream: &str, tag: char, text: &str) {
        self.put(name, format!("2026-11-22T10:00:00.123456789+01:00 {stream} {tag} {text}\n").as_bytes());
    }
}
