//! Lines to records: decoded, unwrapped, joined, for the sources that ask for it.
//!
//! Nothing is remembered between two reads. A read begins where the oldest record begins that is not complete, and
//! puts it together anew, so the position alone says everything, and a crash at any instant loses nothing and repeats
//! nothing. A record that began in a log's last generation and goes on in the next is read from both.
//!
//! Records of a container's two streams lie between each other in the file. They leave in the order in which they
//! began, and only up to a place that no record spans, because a position is one number.

use super::decode::Script;
use super::join::{Joiner, Trace};
use super::wrap::{self, Stream};
use super::{Encoding, Format, Join};
use crate::line::{BlockEnd, Field, Record};
use crate::time::Wall;

/// A record has at most so many lines; the next one begins another.
const RECORD_LINES: usize = 500;

/// A record has at most so many bytes of text.
const RECORD_BYTES: usize = 256 << 10;

/// A wrapped line may be so much longer than what it wraps, in bytes: escapes, and what the runtime adds.
const WRAPPING: usize = 64 << 10;

/// How a source's lines become records.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) joiner: Joiner,
    pub(super) format: Format,
    pub(super) max_line: usize,
}

impl Recipe {
    /// Lines are matched as they stand, if they are UTF-8.
    pub(super) fn is_plain(&self) -> bool {
        self.joiner.is_none() && matches!(self.format, Format::Plain | Format::Json | Format::Logfmt)
    }

    /// A record may span several lines.
    pub(super) fn joins(&self) -> bool {
        !self.joiner.is_none() || self.unwraps()
    }

    /// A line is wrapped in something.
    pub(super) fn unwraps(&self) -> bool {
        matches!(self.format, Format::Docker | Format::Cri | Format::Auto)
    }

    /// The longest line that is read whole, in bytes of the file.
    pub(super) fn longest(&self, script: Script) -> usize {
        if self.unwraps() {
            2 * self.max_line + WRAPPING
        } else if script.is_wide() {
            2 * self.max_line
        } else {
            self.max_line
        }
    }
}

/// Some bytes of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    pub(super) data: &'a [u8],
    /// Where they begin in the file.
    pub(super) base: u64,
    pub(super) script: Script,
    /// They begin inside an over-long line.
    pub(super) skipping: bool,
}

/// What became of a part's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    /// Where its complete lines end.
    pub(super) end: usize,
    /// So many bytes behind them are a line without its newline.
    pub(super) partial: usize,
    /// What is behind them is the rest of an over-long line.
    pub(super) skipping: bool,
    /// What is behind them is NULs.
    pub(super) nuls: bool,
}

/// Where a draft begins or ends: in which part, and where in its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At {
    pub(super) part: usize,
    pub(super) byte: usize,
}

/// A record in the making.
#[derive(Debug)]
struct Draft {
    start: At,
    end: At,
    first: usize,
    last: usize,
    lines: usize,
    bytes: usize,
    stamp: Option<Wall>,
    stream: Stream,
    trace: Trace,
    /// Its last line has not come to its end.
    unfinished: bool,
    /// Nothing can be added to it any more.
    done: bool,
    cut: bool,
    offset: u64,
}

/// A part of a record's text, in the arena.
#[derive(Debug)]
struct Piece {
    from: usize,
    upto: usize,
    on_new_line: bool,
    next: usize,
}

const NONE: usize = usize::MAX;

/// Puts records together; its memory is used again.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    arena: Vec<u8>,
    pieces: Vec<Piece>,
    drafts: Vec<Draft>,
    open: [Option<usize>; Stream::ALL],
    parts: usize,
    text: Vec<u8>,
    records: Vec<Record>,
    fields: Vec<Field>,
}

impl Assembly {
    /// Begins anew.
    pub(super) fn clear(&mut self) {
        self.arena.clear();
        self.pieces.clear();
        self.drafts.clear();
        self.open = [None; Stream::ALL];
        self.parts = 0;
    }

    /// Adds the lines of the next part.
    pub(super) fn feed(&mut self, part: Part<'_>, recipe: &Recipe) -> Lines {
        let Part { data, base, script, .. } = part;
        let no = self.parts;
        self.parts += 1;
        let mut at = 0;
        if part.skipping {
            match script.newline(data, 0) {
                Some((_, next)) => at = next,
                None => return Lines { end: script.whole(data.len()), skipping: true, ..Lines::default() },
            }
        }
        let longest = recipe.longest(script);
        loop {
            let nuls = script.nuls(&data[at..]);
            if nuls > 0 && at + nuls == data.len() {
                return Lines { end: at, nuls: true, ..Lines::default() };
            }
            at += nuls;
            let newline = script.newline(data, at);
            let (end, next) = newline.unwrap_or((script.whole(data.len()), data.len()));
            if end - at > longest {
                // What stands behind the head says whether a character goes on there.
                let head = script.text(&data[at..at + longest + script.unit()]);
                let head = &head[..char_end(&head, recipe.max_line)];
                self.cut(At { part: no, byte: at }, At { part: no, byte: next }, base + at as u64, head);
                if newline.is_none() {
                    return Lines { end: script.whole(data.len()), skipping: true, ..Lines::default() };
                }
            } else if newline.is_none() {
                return Lines { end: at, partial: data.len() - at, ..Lines::default() };
            } else {
                let text = script.text(&data[at..end]);
                let text = text.strip_suffix(b"\r").unwrap_or(&text);
                self.line(
                    At { part: no, byte: at },
                    At { part: no, byte: next },
                    base + at as u64,
                    text,
                    recipe,
                );
            }
            at = next;
        }
    }

    /// A line that is too long: its head is a record.
    fn cut(&mut self, start: At, end: At, offset: u64, head: &[u8]) {
        self.finish(Stream::None);
        let draft = self.draft(start, end, offset, head, Stream::None);
        self.drafts[draft].cut = true;
        self.drafts[draft].done = true;
    }

    fn line(&mut self, start: At, end: At, offset: u64, line: &[u8], recipe: &Recipe) {
        let wrap::Unwrapped { text, stream, stamp, unfinished } = wrap::unwrap(recipe.format, line);
        let text = &*text;
        let open = self.open[stream as usize];
        if let Some(open) = open {
            let draft = &self.drafts[open];
            let fits = draft.bytes + text.len() < RECORD_BYTES;
            if draft.unfinished {
                if fits {
                    self.add(open, end, text, false);
                    self.end_line(open, stream, unfinished, recipe);
                    return;
                }
            } else if fits
                && draft.lines < RECORD_LINES
                && let Some(trace) = recipe.joiner.goes_on(draft.trace, text)
            {
                self.add(open, end, text, true);
                self.drafts[open].trace = trace;
                self.end_line(open, stream, unfinished, recipe);
                return;
            }
            self.finish(stream);
        }
        let draft = self.draft(start, end, offset, text, stream);
        self.drafts[draft].stamp = stamp;
        self.drafts[draft].trace = recipe.joiner.first(text);
        self.open[stream as usize] = Some(draft);
        self.end_line(draft, stream, unfinished, recipe);
    }

    fn end_line(&mut self, draft: usize, stream: Stream, unfinished: bool, recipe: &Recipe) {
        self.drafts[draft].unfinished = unfinished;
        if !unfinished && recipe.joiner.is_none() {
            self.finish(stream);
        }
    }

    fn finish(&mut self, stream: Stream) {
        if let Some(draft) = self.open[stream as usize].take() {
            self.drafts[draft].done = true;
        }
    }

    fn draft(&mut self, start: At, end: At, offset: u64, text: &[u8], stream: Stream) -> usize {
        let piece = self.piece(text, false);
        self.drafts.push(Draft {
            start,
            end,
            first: piece,
            last: piece,
            lines: 1,
            bytes: text.len(),
            stamp: None,
            stream,
            trace: Trace::None,
            unfinished: false,
            done: false,
            cut: false,
            offset,
        });
        self.drafts.len() - 1
    }

    fn add(&mut self, draft: usize, end: At, text: &[u8], on_new_line: bool) {
        let piece = self.piece(text, on_new_line);
        let draft = &mut self.drafts[draft];
        self.pieces[draft.last].next = piece;
        draft.last = piece;
        draft.end = end;
        draft.lines += usize::from(on_new_line);
        draft.bytes += text.len() + usize::from(on_new_line);
    }

    fn piece(&mut self, text: &[u8], on_new_line: bool) -> usize {
        let from = self.arena.len();
        self.arena.extend_from_slice(text);
        self.pieces.push(Piece { from, upto: self.arena.len(), on_new_line, next: NONE });
        self.pieces.len() - 1
    }

    /// Those to which more may come: their stream, and where they end so far.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (Stream, At)> {
        self.drafts.iter().filter(|d| !d.done).map(|d| (d.stream, d.end))
    }

    /// Nothing more comes to those that `is_late` says of.
    pub(super) fn finish_if(&mut self, mut is_late: impl FnMut(Stream, At) -> bool) {
        for draft in self.drafts.iter_mut().filter(|d| !d.done) {
            draft.done = is_late(draft.stream, draft.end);
        }
    }

    /// How many of the first drafts can leave together, and where the next one begins, if there is one.
    pub(super) fn ready(&self) -> (usize, Option<At>) {
        let mut ready = (0, self.drafts.first().map(|d| d.start));
        let mut reached = At { part: 0, byte: 0 };
        for (n, draft) in self.drafts.iter().enumerate() {
            if !draft.done {
                break;
            }
            reached = reached.max(draft.end);
            let next = self.drafts.get(n + 1).map(|d| d.start);
            if next.is_none_or(|start| start >= reached) {
                ready = (n + 1, next);
            }
        }
        ready
    }

    /// Gives out the first `n` drafts as blocks: bytes, records, fields, why it ends, and the offset it begins at.
    pub(super) fn give(&mut self, n: usize, mut emit: impl FnMut(&[u8], &[Record], &[Field], BlockEnd, u64)) {
        let mut from = 0;
        while from < n {
            let cut = self.drafts[from].cut;
            let upto = if cut {
                from + 1
            } else {
                from + self.drafts[from..n].iter().position(|d| d.cut).unwrap_or(n - from)
            };
            self.write(from, upto);
            let end = if cut { BlockEnd::Cut } else { BlockEnd::Whole };
            if cut {
                self.text.pop();
            }
            if !self.text.is_empty() {
                emit(&self.text, &self.records, &self.fields, end, self.drafts[from].offset);
            }
            from = upto;
        }
    }

    /// Lays the texts of some drafts behind each other.
    fn write(&mut self, from: usize, upto: usize) {
        self.text.clear();
        self.records.clear();
        self.fields.clear();
        for draft in &self.drafts[from..upto] {
            let start = self.text.len() as u32;
            let mut next = draft.first;
            while let Some(piece) = self.pieces.get(next) {
                if piece.on_new_line {
                    self.text.push(b'\n');
                }
                self.text.extend_from_slice(&self.arena[piece.from..piece.upto]);
                next = piece.next;
            }
            let first_field = self.fields.len() as u32;
            if let Some(stream) = draft.stream.name() {
                self.fields.push(Field { name: "stream".into(), value: stream.into() });
            }
            self.records.push(Record {
                start,
                end: self.text.len() as u32,
                offset: draft.offset,
                stamp: draft.stamp,
                fields: (first_field, self.fields.len() as u32),
            });
            self.text.push(b'\n');
        }
    }
}

/// Where to end text of more than `max` bytes: not inside a character.
fn char_end(text: &[u8], max: usize) -> usize {
    if text.len() <= max {
        return text.len();
    }
    let back = (0..4usize.min(max)).find(|back| text[max - back] & 0xC0 != 0x80);
    max - back.unwrap_or(0)
}

/// The records of a file that is found to have grown to each of `cuts` (bytes, in any order) and then to all of it, and
/// the offset at which each begins: the door of the fuzz target. Nothing is idle before the end, and at the end all is.
pub fn records_of(
    bytes: &[u8],
    format: Format,
    join: &Join,
    encoding: Encoding,
    max_line: usize,
    cuts: &[usize],
) -> Vec<(Vec<u8>, u64)> {
    let recipe = Recipe { joiner: Joiner::new(join), format, max_line: max_line.max(1) };
    let mut looks: Vec<usize> = cuts.iter().map(|cut| *cut.min(&bytes.len())).collect();
    looks.sort_unstable();
    looks.push(bytes.len());
    let mut assembly = Assembly::default();
    let mut all = Vec::new();
    let (mut begun, mut position, mut skipping) = (None, 0, false);
    for (look, upto) in looks.iter().copied().enumerate().filter(|(_, upto)| *upto > 0) {
        if begun.is_none() {
            begun = Script::of(&bytes[..upto.min(3)], encoding.0);
            position = begun.map_or(0, |script| script.mark.into());
        }
        let Some(script) = begun else { continue };
        let data = &bytes[position..upto];
        assembly.clear();
        let lines = assembly.feed(Part { data, base: position as u64, script, skipping }, &recipe);
        if look + 1 == looks.len() {
            assembly.finish_if(|_, _| true);
        }
        let (n, next) = assembly.ready();
        assembly.give(n, |text, records, _, _, _| {
            let text = |r: &Record| text[r.start as usize..r.end as usize].to_vec();
            all.extend(records.iter().map(|r| (text(r), r.offset)));
        });
        position += next.map_or(lines.end, |at| at.byte);
        skipping = lines.skipping && next.is_none();
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(records: &[(Vec<u8>, u64)]) -> Vec<String> {
        records.iter().map(|(text, _)| String::from_utf8_lossy(text).into_owned()).collect()
    }

    #[test]
    fn a_trace_is_one_record_wherever_the_reads_end() {
        let log = b"ERROR no\n\tat A.b(A.java:1)\n\tat A.c(A.java:2)\nINFO on\nhalf";
        for cut in 0..=log.len() {
            let got = records_of(
                log,
                Format::Plain,
                &Join::Preset(super::super::Preset::Java),
                Encoding::default(),
                1000,
                &[cut],
            );
            assert_eq!(texts(&got), ["ERROR no\n\tat A.b(A.java:1)\n\tat A.c(A.java:2)", "INFO on"]);
            assert_eq!((got[0].1, got[1].1), (0, 45));
        }
    }

    #[test]
    fn pieces_of_two_streams_are_put_together_each_with_its_own() {
        let log = b"2026-11-22T05:26:00Z stdout P one \n2026-11-22T05:26:00Z stderr F err\n\
                    2026-11-22T05:26:00Z stdout F two\n";
        for cut in 0..=log.len() {
            let got = records_of(log, Format::Cri, &Join::None, Encoding::default(), 1000, &[cut]);
            assert_eq!(texts(&got), ["one two", "err"], "{cut}");
        }
    }

    #[test]
    fn a_read_that_ends_inside_a_wide_character_loses_nothing() {
        let log: Vec<u8> = b"a line that is too long\n1234\nnext\n".iter().flat_map(|b| [*b, 0]).collect();
        for cut in 0..=log.len() {
            let wide = Encoding::named("utf-16le").unwrap();
            let got = records_of(&log, Format::Plain, &Join::None, wide, 4, &[cut]);
            assert_eq!(texts(&got), ["a li", "1234", "next"], "{cut}");
        }
    }

    #[test]
    fn a_cut_does_not_split_a_character() {
        let got = records_of(
            "aé€x\n".as_bytes(),
            Format::Plain,
            &Join::Start("^a".into()),
            Encoding::default(),
            5,
            &[],
        );
        assert_eq!(texts(&got), ["aé"]);
    }

    /// The lines of `text` as they are to be read: without their ends, without holes before them, each cut.
    fn lines(text: &[u8], max: usize) -> Vec<Vec<u8>> {
        let whole = text.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
        let mut all: Vec<Vec<u8>> = text[..whole]
            .split_inclusive(|b| *b == b'\n')
            .map(|line| {
                let begins = line.iter().position(|b| *b != 0).unwrap_or(line.len());
                let line = &line[begins..line.len() - 1];
                if line.len() > max {
                    return line[..char_end(line, max)].to_vec();
                }
                line.strip_suffix(b"\r").unwrap_or(line).to_vec()
            })
            .collect();
        let rest = &text[whole..];
        let rest = &rest[rest.iter().position(|b| *b != 0).unwrap_or(rest.len())..];
        all.extend((rest.len() > max).then(|| rest[..char_end(rest, max)].to_vec()));
        all
    }

    fn line() -> impl Strategy<Value = Vec<u8>> {
        let trace = prop_oneof![
            Just("panic: boom"),
            Just("goroutine 1 [running]:"),
            Just("Traceback (most recent call last):"),
            Just("ValueError: x"),
            Just("java.lang.Error: x"),
            Just("\tat x"),
            Just("2026-11-22 x"),
            Just(""),
        ];
        let wrapped = (any::<bool>(), any::<bool>(), "[a ]{0,9}").prop_map(|(err, part, text)| {
            let (stream, tag) = (if err { "stderr" } else { "stdout" }, if part { "P" } else { "F" });
            format!("2026-11-22T05:26:00Z {stream} {tag} {text}")
        });
        let docker = (any::<bool>(), "[a ]{0,9}", any::<bool>()).prop_map(|(err, text, ends)| {
            let (stream, end) = (if err { "stderr" } else { "stdout" }, if ends { "\\n" } else { "" });
            format!(r#"{{"log":"{text}{end}","stream":"{stream}","time":"2026-11-22T05:26:00Z"}}"#)
        });
        let raw = proptest::collection::vec(
            prop_oneof![4 => b'a'..=b'c', 1 => Just(0), 1 => Just(b'\r'), 1 => any::<u8>()],
            0..40,
        );
        prop_oneof![
            trace.prop_map(|t| t.as_bytes().to_vec()),
            wrapped.prop_map(String::into_bytes),
            docker.prop_map(String::into_bytes),
            raw
        ]
    }

    fn joins() -> impl Strategy<Value = Join> {
        let preset =
            proptest::sample::select(super::super::Preset::ALL.map(|(_, p)| Join::Preset(p)).to_vec());
        prop_oneof![1 => Just(Join::None), 1 => Just(Join::Start(r"^\d{4}-".into())), 4 => preset]
    }

    proptest! {
        #[test]
        fn joining_leaves_no_line_out_and_says_none_twice(
            log in proptest::collection::vec(line(), 0..30),
            join in joins(),
            max in prop_oneof![4usize..40, Just(1000usize)],
            cuts in proptest::collection::vec(0usize..600, 0..6),
        ) {
            let log = log.join(&b'\n');
            let log = log.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&log);
            let got = records_of(log, Format::Plain, &join, Encoding::default(), max, &cuts);
            let got: Vec<Vec<u8>> =
                got.iter().flat_map(|(text, _)| text.split(|b| *b == b'\n').map(<[u8]>::to_vec)).collect();
            let begun = Script::of(&log[..log.len().min(3)], encoding_rs::UTF_8);
            if begun.is_some_and(Script::is_utf8) {
                prop_assert_eq!(got, lines(log, max));
            }
        }

        #[test]
        fn any_way_of_cutting_the_bytes_into_reads_gives_the_same_records(
            log in proptest::collection::vec(line(), 0..30),
            join in joins(),
            format in proptest::sample::select(Format::ALL.map(|(_, f)| f).to_vec()),
            encoding in proptest::sample::select(vec!["utf-8", "utf-16le", "utf-16be", "latin1", "shift_jis"]),
            max in prop_oneof![4usize..40, Just(1000usize)],
            cuts in proptest::collection::vec(0usize..600, 0..6),
        ) {
            let log = log.join(&b'\n');
            let log: Vec<u8> = match encoding {
                "utf-16le" => log.iter().flat_map(|b| [*b, 0]).collect(),
                "utf-16be" => log.iter().flat_map(|b| [0, *b]).collect(),
                _ => log,
            };
            let encoding = Encoding::named(encoding).unwrap();
            let at_once = records_of(&log, format, &join, encoding, max, &[]);
            prop_assert!(at_once.is_sorted_by_key(|(_, offset)| *offset));
            prop_assert_eq!(records_of(&log, format, &join, encoding, max, &cuts), at_once);
        }
    }
}
