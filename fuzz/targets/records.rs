//! Any bytes as a log that is decoded, unwrapped and joined: every line once, and the same records however it is read.
//!
//! The log is made of raw bytes and of lines that a trace, a container's runtime or a writer of UTF-16 may have written.
//! The oracle for joined plain lines is the log cut at newlines; for the rest it is one read of all of it.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use logherald::tail::{Encoding, Format, Join, Preset, records_of};

const ENCODINGS: [&str; 8] =
    ["utf-8", "utf-16le", "utf-16be", "latin1", "shift_jis", "gb18030", "iso-2022-jp", "x-user-defined"];

const STARTS: [&str; 3] = [r"^\d", "^[^ \t]", ""];

/// What the presets look for.
const TRACES: [&str; 16] = [
    "Traceback (most recent call last):",
    "During handling of the above exception, another exception occurred:",
    "ValueError: x",
    "panic: boom",
    "goroutine 1 [running]:",
    "main.main()",
    "thread 'main' panicked at src/main.rs:2:5:",
    "stack backtrace:",
    "app.rb:3:in `work': bad (RuntimeError)",
    "/srv/app/index.js:3",
    "TypeError: x is not a function",
    "java.lang.Error: x",
    "Caused by: x",
    "---> x",
    "Stack trace:",
    "\tat x",
];

#[derive(Arbitrary, Debug)]
enum Line<'a> {
    Raw(&'a [u8]),
    Trace(u8),
    Often(u8, u16),
    Cri { err: bool, part: bool, text: &'a str },
    Docker { err: bool, part: bool, text: &'a str },
}

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    format: u8,
    join: u8,
    encoding: u8,
    max_line: u8,
    /// The log is written in that encoding, as far as it is a wide one.
    written_so: bool,
    ends: bool,
    cuts: [u16; 4],
    lines: Vec<Line<'a>>,
}

impl Line<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let stream = |err: bool| if err { "stderr" } else { "stdout" };
        match *self {
            Line::Raw(bytes) => out.extend_from_slice(bytes),
            Line::Trace(which) => {
                out.extend_from_slice(TRACES[usize::from(which) % TRACES.len()].as_bytes());
            }
            Line::Often(byte, times) => out.resize(out.len() + usize::from(times % 1024), byte),
            Line::Cri { err, part, text } => {
                let tag = if part { 'P' } else { 'F' };
                let line = format!("2026-11-22T05:26:00Z {} {tag} {text}", stream(err));
                out.extend_from_slice(line.as_bytes());
            }
            Line::Docker { err, part, text } => {
                let log = format!("{text}{}", if part { "" } else { "\n" });
                let line = serde_json::json!({
                    "log": log, "stream": stream(err), "time": "2026-11-22T05:26:00Z"
                });
                out.extend_from_slice(line.to_string().as_bytes());
            }
        }
    }
}

fn log(input: &Input<'_>, encoding: &str) -> Vec<u8> {
    let mut log = Vec::new();
    for (no, line) in input.lines.iter().take(64).enumerate() {
        if no > 0 {
            log.push(b'\n');
        }
        line.write(&mut log);
    }
    if input.ends {
        log.push(b'\n');
    }
    match encoding {
        "utf-16le" if input.written_so => log.iter().flat_map(|b| [*b, 0]).collect(),
        "utf-16be" if input.written_so => log.iter().flat_map(|b| [0, *b]).collect(),
        _ => log,
    }
}

/// The head of a line that is too long.
fn head(line: &[u8], max: usize) -> &[u8] {
    let back = (0..4.min(max)).find(|back| line[max - back] & 0xC0 != 0x80).unwrap_or(0);
    &line[..max - back]
}

/// The lines of a plain log, as they are to be read.
fn lines(log: &[u8], max: usize) -> Vec<Vec<u8>> {
    log.split_inclusive(|b| *b == b'\n')
        .filter_map(|line| {
            let begins = line.iter().position(|b| *b != 0).unwrap_or(line.len());
            let line = &line[begins..];
            let whole = line.strip_suffix(b"\n");
            let text = whole.unwrap_or(line);
            if text.len() > max {
                return Some(head(text, max).to_vec());
            }
            whole.map(|text| text.strip_suffix(b"\r").unwrap_or(text).to_vec())
        })
        .collect()
}

fuzz_target!(|input: Input<'_>| {
    let of = |list: usize, which: u8| usize::from(which) % list;
    let label = ENCODINGS[of(ENCODINGS.len(), input.encoding)];
    let encoding = Encoding::named(label).expect("a name of the standard");
    let format = Format::ALL[of(Format::ALL.len(), input.format)].1;
    let join = match of(1 + STARTS.len() + Preset::ALL.len(), input.join) {
        0 => Join::None,
        n if n <= STARTS.len() => Join::Start(STARTS[n - 1].into()),
        n => Join::Preset(Preset::ALL[n - 1 - STARTS.len()].1),
    };
    let max_line = 1 + usize::from(input.max_line) * 4;
    let log = log(&input, label);

    let at_once = records_of(&log, format, &join, encoding, max_line, &[]);
    assert!(at_once.iter().all(|(_, offset)| *offset < log.len() as u64), "each begins in the log");
    if format != Format::Docker && format != Format::Cri && format != Format::Auto {
        assert!(at_once.is_sorted_by(|a, b| a.1 < b.1), "one behind the other");
    }
    let cuts: Vec<usize> = input.cuts.iter().map(|cut| usize::from(*cut) % (log.len() + 1)).collect();
    let in_pieces = records_of(&log, format, &join, encoding, max_line, &cuts);
    assert_eq!(in_pieces, at_once, "read to {cuts:?}");

    let marked = [&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xfe\xff"].iter().any(|mark| log.starts_with(mark));
    if label == "utf-8" && format == Format::Plain && !marked {
        let read: Vec<Vec<u8>> =
            at_once.iter().flat_map(|(text, _)| text.split(|b| *b == b'\n').map(<[u8]>::to_vec)).collect();
        assert_eq!(read, lines(&log, max_line));
    }
});
