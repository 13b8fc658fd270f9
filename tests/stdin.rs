//! Standard input: every line of it once, whatever it is, and an end that is an end.
//!
//! The first half drives the tail stage through a pipe of its own, with time standing still: only the descriptor
//! wakes it. The second half runs the program in a pipeline.

use std::fs::{self, File};
use std::io::{PipeWriter, Write as _};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rustix::fs::{OFlags, fcntl_getfl};

use logherald::line::{BlockEnd, SourceNo};
use logherald::tail::{
    Bell, Encoding, Format, From, Input, Join, Rung, SourceSpec, Step, TailOptions, Tailer, Trouble,
};
use logherald::time::{Clock, Now};

use crate::harness::program::{DEADLINE, Place, append, term};

/// What one step may take.
const QUANTUM: u64 = 256 * 1024;

struct Rig {
    tailer: Tailer,
    now: Now,
    got: Vec<(Vec<u8>, BlockEnd)>,
    troubles: Vec<Trouble>,
    ended: Vec<Arc<str>>,
}

fn source(no: u16, name: &str, input: Input, max_line: usize) -> SourceSpec {
    SourceSpec {
        no: SourceNo(no),
        name: name.into(),
        input,
        from: From::End,
        max_line,
        join: Join::None,
        format: Format::Plain,
        encoding: Encoding::default(),
    }
}

impl Rig {
    fn on(stdin: impl Into<OwnedFd>, max_line: usize, more: &[SourceSpec]) -> Rig {
        let stdin = Some(Arc::new(stdin.into()));
        let options = TailOptions { stdin, inotify: false, ..TailOptions::default() };
        let mut specs = vec![source(0, "in", Input::Stdin, max_line)];
        specs.extend_from_slice(more);
        let now = Clock::continuing(None).now();
        let tailer = Tailer::new(specs, vec![], Bell::new(), options, now);
        Rig { tailer, now, got: vec![], troubles: vec![], ended: vec![] }
    }

    /// On a pipe of which the test holds the other end.
    fn piped(max_line: usize) -> (Rig, PipeWriter) {
        let (reading, writing) = std::io::pipe().unwrap();
        (Rig::on(reading, max_line, &[]), writing)
    }

    fn step(&mut self) -> Step {
        let got = &mut self.got;
        let mut step = self.tailer.step(self.now, &mut |block| {
            if &**block.file == "stdin" {
                assert!((block.backlog, block.offset) == (false, 0));
                for record in block.records {
                    let text = &block.bytes[record.start as usize..record.end as usize];
                    got.push((text.to_vec(), block.end));
                }
                if !block.records.is_empty() {
                    return vec![];
                }
                for line in block.bytes.split_inclusive(|&b| b == b'\n') {
                    got.push((line.to_vec(), block.end));
                }
            }
            vec![]
        });
        self.troubles.append(&mut step.troubles);
        self.ended.append(&mut step.ended);
        step
    }

    /// Steps until nothing more is there.
    fn drain(&mut self) {
        while self.step().more {}
    }

    /// Waits for the descriptor alone, then takes what is there.
    fn woken(&mut self) {
        assert_eq!(self.tailer.wait_for(DEADLINE), Rung::Readable);
        self.drain();
    }

    fn lines(&self) -> Vec<&str> {
        self.got.iter().map(|(line, _)| str::from_utf8(line).unwrap()).collect()
    }
}

/// A rig whose lines are joined, decoded, or both.
fn made(change: impl FnOnce(&mut SourceSpec)) -> (Rig, PipeWriter) {
    let (reading, writing) = std::io::pipe().unwrap();
    let options =
        TailOptions { stdin: Some(Arc::new(reading.into())), inotify: false, ..TailOptions::default() };
    let mut spec = source(0, "in", Input::Stdin, 1000);
    change(&mut spec);
    let now = Clock::continuing(None).now();
    let tailer = Tailer::new(vec![spec], vec![], Bell::new(), options, now);
    (Rig { tailer, now, got: vec![], troubles: vec![], ended: vec![] }, writing)
}

#[test]
fn its_lines_are_joined_as_those_of_files_are() {
    let (mut rig, mut pipe) = made(|spec| spec.join = Join::Start("^[0-9]".into()));
    pipe.write_all(b"1 one\n and\n2 two\n").unwrap();
    rig.woken();
    assert_eq!(rig.lines(), ["1 one\n and"]);
    // a second without another line, which nothing but time tells
    let step = rig.step();
    assert!(step.wait <= Duration::from_secs(1), "{:?}", step.wait);
    rig.now = rig.now.plus(Duration::from_secs(1));
    rig.drain();
    assert_eq!(rig.lines(), ["1 one\n and", "2 two"]);
    pipe.write_all(b" late\n3 three\n the last").unwrap();
    rig.woken();
    drop(pipe);
    rig.woken();
    assert_eq!(rig.lines()[2..], [" late", "3 three\n the last"]);
    assert_eq!(rig.ended, ["in".into()]);
}

#[test]
fn it_is_decoded_and_unwrapped_too() {
    let (mut rig, mut pipe) = made(|_| {});
    let utf16: Vec<u8> = "\u{feff}één\ntwee".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for byte in &utf16 {
        pipe.write_all(&[*byte]).unwrap();
        rig.woken();
    }
    assert_eq!(rig.lines(), ["één"]);
    drop(pipe);
    rig.woken();
    assert_eq!(rig.lines(), ["één", "twee"]);

    let (mut rig, mut pipe) = made(|spec| spec.format = Format::Cri);
    pipe.write_all(b"2026-11-22T10:00:00Z stdout P one \n2026-11-22T10:00:00Z stdout F two\n").unwrap();
    rig.woken();
    assert_eq!(rig.lines(), ["one two"]);
    // endless nothing is no line, and is not kept
    pipe.write_all(&vec![0; 60_000]).unwrap();
    rig.woken();
    pipe.write_all(b"2026-11-22T10:00:00Z stderr F three\n").unwrap();
    rig.woken();
    assert_eq!(rig.lines(), ["one two", "three"]);
}

#[test]
fn a_line_is_given_out_when_it_is_whole_and_the_last_one_at_the_end() {
    let (mut rig, mut pipe) = Rig::piped(1000);
    rig.drain();
    assert_eq!(rig.tailer.wait_for(Duration::ZERO), Rung::Timeout, "an empty pipe is no end");
    pipe.write_all(b"one\ntw").unwrap();
    rig.woken();
    assert_eq!(rig.lines(), ["one\n"]);
    // a writer that pauses in the middle of a line, for hours
    rig.now = rig.now.plus(Duration::from_secs(7200));
    rig.drain();
    assert_eq!(rig.lines(), ["one\n"]);
    pipe.write_all(b"o\n\r\n\nlast").unwrap();
    rig.woken();
    assert_eq!(rig.lines(), ["one\n", "two\n", "\r\n", "\n"]);
    assert!(rig.ended.is_empty() && !rig.tailer.ended());
    drop(pipe);
    rig.woken();
    assert_eq!(rig.lines(), ["one\n", "two\n", "\r\n", "\n", "last\n"]);
    assert_eq!(rig.ended, ["in".into()]);
    assert!(rig.tailer.ended());
    assert_eq!(rig.tailer.wait_for(Duration::ZERO), Rung::Timeout, "a closed pipe rings no more");
    rig.drain();
    assert_eq!(rig.ended.len(), 1, "told once");
    assert!(rig.tailer.summary().sources[0].ended && rig.troubles.is_empty());
}

#[test]
fn nuls_are_kept_and_an_over_long_line_is_cut_once() {
    let (mut rig, mut pipe) = Rig::piped(8);
    pipe.write_all(b"\0\0a\nb\0c\n0123456789abcdefghij").unwrap();
    rig.woken();
    pipe.write_all(b"klm\n\0\0").unwrap();
    rig.woken();
    drop(pipe);
    rig.woken();
    let got: Vec<(&[u8], BlockEnd)> = rig.got.iter().map(|(line, end)| (&**line, *end)).collect();
    let whole = BlockEnd::Whole;
    assert_eq!(
        got,
        [(&b"\0\0a\n"[..], whole), (b"b\0c\n", whole), (b"01234567", BlockEnd::Cut), (b"\0\0\n", whole)]
    );
}

#[test]
fn the_rest_of_an_over_long_line_at_the_end_is_no_line() {
    let (mut rig, mut pipe) = Rig::piped(4);
    pipe.write_all(b"0123456").unwrap();
    rig.woken();
    drop(pipe);
    rig.woken();
    assert_eq!(rig.lines(), ["0123"]);
}

#[test]
fn a_file_and_nothing_at_all_are_read_to_their_end_a_quantum_a_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("old.log");
    let text = (0..100_000).fold(String::new(), |text, n| text + &format!("line {n}\n"));
    fs::write(&path, &text).unwrap();
    let mut rig = Rig::on(File::open(&path).unwrap(), 1000, &[]);
    assert_eq!(rig.tailer.wait_for(DEADLINE), Rung::Readable);
    loop {
        let step = rig.step();
        assert!(step.bytes <= QUANTUM + 20, "{} bytes in one step", step.bytes); // and the line before them
        if !step.more {
            break;
        }
    }
    assert_eq!(rig.lines().concat(), text);
    assert!(rig.tailer.ended());

    let mut rig = Rig::on(File::open("/dev/null").unwrap(), 1000, &[]);
    rig.woken();
    assert!(rig.got.is_empty() && rig.tailer.ended() && rig.troubles.is_empty());
}

#[test]
fn what_is_not_taken_stays_with_the_writer() {
    let (reading, mut pipe) = std::io::pipe().unwrap();
    rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK).unwrap();
    let mut rig = Rig::on(reading, 1000, &[]);
    let mut written = 0;
    for size in [4096, 1] {
        while let Ok(n) = pipe.write(&vec![b'x'; size]) {
            written += n;
        }
    }
    assert!(written >= 4096, "the pipe took {written} bytes");
    assert!(pipe.write(b"\n").is_err(), "and then the writer waits");
    rig.woken();
    assert!(pipe.write(b"\n").is_ok(), "until it is read");
}

#[test]
fn the_descriptor_itself_is_left_as_it_was() {
    let (reading, mut pipe) = std::io::pipe().unwrap();
    let shared = reading.try_clone().unwrap();
    let before = fcntl_getfl(&shared).unwrap();
    let mut rig = Rig::on(reading, 1000, &[]);
    pipe.write_all(b"x\n").unwrap();
    rig.woken();
    assert_eq!(fcntl_getfl(&shared).unwrap(), before);
    assert!(!before.contains(OFlags::NONBLOCK));
}

#[test]
fn what_cannot_be_read_is_told_and_is_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::on(File::open(dir.path()).unwrap(), 1000, &[]);
    rig.woken();
    assert_eq!(rig.troubles.len(), 1);
    assert_eq!(rig.troubles[0].what, "cannot be read: Is a directory (os error 21)");
    assert_eq!(rig.troubles[0].path.to_str(), Some("stdin"));
    assert!(rig.tailer.ended());
}

#[test]
fn a_new_set_goes_on_in_the_middle_of_a_line() {
    let (mut rig, mut pipe) = Rig::piped(1000);
    pipe.write_all(b"be").unwrap();
    rig.woken();
    let dir = tempfile::tempdir().unwrap();
    let files = Input::Files { globs: vec![format!("{}/*.log", dir.path().display())], exclude: vec![] };
    let specs = vec![source(0, "app", files, 1000), source(1, "in", Input::Stdin, 1000)];
    rig.tailer.reload(specs, rig.now);
    rig.drain();
    pipe.write_all(b"gin\n").unwrap();
    rig.woken();
    drop(pipe);
    rig.woken();
    assert_eq!(rig.lines(), ["begin\n"]);
    assert!(!rig.tailer.ended(), "there are files to be read beside it");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn however_the_bytes_arrive_the_lines_are_the_same(
        text in proptest::collection::vec(prop_oneof![6 => b'a'..=b'c', 2 => Just(b'\n'), 1 => Just(0u8)], 0..300),
        cuts in proptest::collection::vec(1usize..40, 1..20),
        max in 1usize..20,
    ) {
        let (mut rig, mut pipe) = Rig::piped(max);
        let (mut at, mut turn) = (0, 0);
        while at < text.len() {
            let end = (at + cuts[turn % cuts.len()]).min(text.len());
            pipe.write_all(&text[at..end]).unwrap();
            rig.woken();
            (at, turn) = (end, turn + 1);
        }
        drop(pipe);
        rig.woken();
        let mut expected = vec![];
        for line in text.split_inclusive(|&b| b == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if line.len() > max {
                expected.push((line[..max].to_vec(), BlockEnd::Cut));
            } else {
                expected.push(([line, b"\n"].concat(), BlockEnd::Whole));
            }
        }
        prop_assert_eq!(&rig.got, &expected);
        prop_assert!(rig.tailer.ended());
    }
}

// ---- the program -----------------------------------------------------------------------------------------------

const RULES: &str = r#"
    [space.screen]
    console = true

    [[source]]
    name = "in"
    stdin = true

    [[rule]]
    name = "boom"
    source = "in"
    match = 'boom (?<what>\w+)'
    by = ["what"]
    message = "it went {what}"
"#;

/// How many of the lines that it printed say this.
fn said(lines: &[String], what: &str) -> usize {
    lines.iter().filter(|l| l.contains(what)).count()
}

#[test]
fn a_pipeline_prints_its_alerts_and_ends() {
    let place = Place::new();
    place.rules(RULES);
    append(&place.path("old.log"), "all is well\nboom one\nboom two");
    let (code, out) = place.launch_on(File::open(place.path("old.log")).unwrap()).ends();
    assert_eq!((code, said(&out, "it went one"), said(&out, "it went two")), (0, 1, 1), "{out:#?}");

    // the same again: a pipe has no place to go on from, all of it is new
    let (reading, mut pipe) = std::io::pipe().unwrap();
    let agent = place.launch_on(reading);
    pipe.write_all(b"boom three").unwrap();
    drop(pipe);
    let (code, out) = agent.ends();
    assert_eq!((code, said(&out, "it went three")), (0, 1), "{out:#?}");

    let (code, out) = place.launch_on(std::process::Stdio::null()).ends();
    assert_eq!((code, said(&out, "it went")), (0, 0), "{out:#?}");
}

#[test]
fn a_writer_that_pauses_is_waited_for() {
    let place = Place::new();
    place.rules(RULES);
    let (reading, mut pipe) = std::io::pipe().unwrap();
    let mut agent = place.launch_on(reading);
    let watching = agent.wait_for_log("watching ");
    assert!(watching.contains("watching standard input with 1 rule"), "{watching}");
    pipe.write_all(b"boom one\nboom t").unwrap();
    agent.wait_for_output("it went one");
    pipe.write_all(b"wo\n").unwrap();
    agent.wait_for_output("it went two");
    drop(pipe);
    agent.wait_for_log("standard input has ended (source `in`)");
    agent.wait_for_log("all that there was to read has been read");
    assert_eq!(agent.ends().0, 0);
}

#[test]
fn a_million_lines_through_a_pipe_are_counted_to_the_last() {
    let place = Place::new();
    place.rules(&format!("{RULES}\n[[rule]]\nname = \"all\"\nsource = \"in\"\nmatch = '^line'\n"));
    let (reading, mut pipe) = std::io::pipe().unwrap();
    let agent = place.launch_on(reading);
    let mut text = Vec::new();
    for n in 0..1_000_000 {
        writeln!(text, "line {n} of a program that has much to say about nothing at all").unwrap();
        if n % 200_000 == 199_999 {
            writeln!(text, "boom n{n}").unwrap();
        }
        if text.len() > 100_000 {
            pipe.write_all(&text).unwrap();
            text.clear();
        }
    }
    pipe.write_all(&text).unwrap();
    drop(pipe);
    let (code, out) = agent.ends();
    assert_eq!((code, said(&out, "it went n")), (0, 5), "{out:#?}");

    // the books of the run that is over are those that the next one goes on with
    let (reading, pipe) = std::io::pipe().unwrap();
    let mut agent = place.launch_on(reading);
    agent.wait_for_log("watching ");
    let status = agent.status();
    assert_eq!((term(&status, "all", "hits"), term(&status, "boom", "hits")), (1_000_000, 5));
    drop(pipe);
    assert_eq!(agent.ends().0, 0);
}

#[test]
fn beside_files_the_end_of_standard_input_is_not_the_end() {
    let place = Place::new();
    place.rules(&format!(
        "{RULES}\n[[rule]]\nname = \"file\"\nfiles = [\"DIR/app.log\"]\nmatch = 'bang'\nmessage = \"in a file\"\n"
    ));
    append(&place.path("app.log"), "old\n");
    let mut agent = place.launch_on(std::process::Stdio::null());
    agent.wait_for_log("standard input has ended");
    append(&place.path("app.log"), "bang\n");
    agent.wait_for_output("in a file");
    let status = agent.status();
    let watching = status["watching"].as_str().unwrap();
    assert!(watching.contains("watching 1 file and standard input (which has ended)"), "{watching}");
    assert_eq!(agent.stop(), 0);
}
