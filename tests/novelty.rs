//! Novelty over sixteen real logs: what does `kind` take for new, what does it miss, what looks new and is not?
//!
//! The logs lie beside the repository, not in it, and the templates that people have found in them are not among them.
//! So the mask is held between two others. *Exact*: the line without its time; a kind that hides a difference is new there.
//! *Strict*: only digits are masked, so whatever `kind` says is known and *strict* says is new may be a first sighting
//! that is missed, and no other can be. *Loose*: the words in small letters alone; whatever `kind` says is new and
//! *loose* says is known may be a repeat that looks new.

use std::collections::{BTreeMap, BTreeSet};

use logherald::rules::mask;

/// Of the sixteen logs, as their makers count them.
const TEMPLATES: i64 = 1363;

/// Without its time: everything before the first letter that begins a word.
fn exact(line: &str) -> &str {
    let begins = line.find(|c: char| c.is_alphabetic()).unwrap_or(0);
    &line[begins..]
}

/// Every run of digits is the same.
fn strict(line: &str) -> String {
    let mut out = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if out.ends_with('#') => {}
            '0'..='9' => out.push('#'),
            c => out.push(c),
        }
    }
    out
}

/// The words in small letters, in their order; what is glued to something else is none.
fn loose(line: &str) -> String {
    let words = line.split_whitespace().map(|w| w.trim_matches(|c: char| c.is_ascii_punctuation()));
    words.filter(|w| w.len() > 2 && w.chars().all(|c| c.is_ascii_lowercase())).collect::<Vec<_>>().join(" ")
}

#[derive(Default)]
struct Seen {
    lines: usize,
    exact: BTreeSet<String>,
    strict: BTreeSet<String>,
    loose: BTreeSet<String>,
    kinds: BTreeMap<String, BTreeSet<String>>,
    /// New by `strict`, known by `kind`.
    maybe_missed: usize,
    /// New by `kind`, known by `loose`.
    maybe_repeats: usize,
}

impl Seen {
    fn line(&mut self, line: &str) {
        self.lines += 1;
        self.exact.insert(exact(line).to_owned());
        let (kind, strict, loose) = (mask::kind(line.as_bytes()), strict(line), loose(line));
        let new_kind = !self.kinds.contains_key(&kind);
        let new_strict = self.strict.insert(strict);
        let new_loose = self.loose.insert(loose.clone());
        self.kinds.entry(kind).or_default().insert(loose);
        self.maybe_missed += usize::from(new_strict && !new_kind);
        self.maybe_repeats += usize::from(new_kind && !new_loose);
    }

    /// New words in small letters that came in a kind that was known: a first sighting that `kind` hides.
    fn hidden(&self) -> usize {
        self.kinds.values().map(|words| words.len() - 1).sum()
    }
}

#[test]
fn kinds_of_sixteen_real_logs_against_the_exact_line_and_other_masks() {
    let Some(logs) = crate::loghub::logs() else { return };
    let mut all = Seen::default();
    let mut kinds = 0;
    let (mut hidden, mut missed, mut repeats, mut exact) = (0, 0, 0, 0);
    for log in &logs {
        let mut seen = Seen::default();
        for line in String::from_utf8_lossy(&std::fs::read(log).unwrap()).lines() {
            seen.line(line);
        }
        println!(
            "measured: novelty {}: {} lines; new by the exact line {}, with digits masked {}, by kind {}, by words {}; \
             in a known kind: {} new with digits masked, {} of them with other words",
            log.file_stem().unwrap().to_string_lossy(),
            seen.lines,
            seen.exact.len(),
            seen.strict.len(),
            seen.kinds.len(),
            seen.loose.len(),
            seen.maybe_missed,
            seen.hidden(),
        );
        all.lines += seen.lines;
        kinds += seen.kinds.len();
        exact += seen.exact.len();
        hidden += seen.hidden();
        missed += seen.maybe_missed;
        repeats += seen.maybe_repeats;
    }
    let balance = kinds as i64 - TEMPLATES;
    println!(
        "measured: novelty of {} logs: {} lines, {exact} new by the exact line, {kinds} by kind; the {TEMPLATES} templates \
         that their makers count leave {balance} repeats that look new, net of first sightings that are missed; first \
         sightings missed, for a known kind has them with other words: {hidden} (by the exact line 0; with digits masked \
         {missed} lines are new in a known kind, and no other can be missed); {repeats} kinds have the words of an older one",
        logs.len(),
        all.lines,
    );
    assert_eq!(logs.len(), 16);
    assert!(kinds < exact / 4, "kinds are far fewer than lines: {kinds} of {exact}");
    assert!(hidden <= 5, "{hidden} kinds hide other words");
    assert!(balance <= 1500, "{balance} repeats look new");
}
