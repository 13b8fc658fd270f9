//! What a line must contain so that a rule can match it: a small set of literals, of which every match has one.
//!
//! They come from the parsed regex, from its middle as well as its ends, and are *folded*: every byte is `b | 0x20`,
//! which ignores the case of ASCII for nothing (and takes `[` for `{`, which only costs a look). So a rule with
//! `(?i)` needs no variants. What Unicode adds to `(?i)k` and `(?i)s` (U+212A, U+017F) stands in the parsed class and
//! becomes a literal of its own; folding alone would miss it.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::rarity::probability;

/// A literal shorter than this is not looked for: the filter tests four bytes at a time.
pub(super) const SHORTEST: usize = 4;

/// Longest literal, in bytes: more does not make a line rarer.
const LONGEST: usize = 16;

/// Greatest stride of the filter; a literal of `stride + 3` bytes is seen at every phase.
pub(super) const STRIDES: usize = 9;

/// Most literals of one rule.
const MOST: usize = 64;

/// Most characters of a class that are written out.
const CLASS_CHARS: u32 = 16;

/// Most parts of a concatenation that are tried as the first of a window.
const STARTS: usize = 1024;

/// The literals of one rule for one stride, and what they are expected to cost.
#[derive(Clone, Debug)]
pub(super) struct Literals {
    /// Folded, each of at least `stride + 3` bytes.
    pub(super) set: Vec<Vec<u8>>,
    /// Expected nanoseconds a byte of log, beside the walk.
    pub(super) cost: f64,
}

/// For each stride (index + 1), the cheapest set of literals of a rule; `None` where it has none so long.
pub(super) type ByStride = [Option<Literals>; STRIDES];

/// What a line must contain for `hir` to match.
pub(super) fn literals(hir: &Hir) -> ByStride {
    let mut best = Best { by_stride: [const { None }; STRIDES] };
    best.visit(hir);
    best.by_stride
}

/// Nanoseconds that a set bit of the filter costs, and that a line costs whose literal was found.
const TOUCH_NS: f64 = 6.0;
const CONFIRM_NS: f64 = 120.0;

/// What looking for `literal` costs a byte of log at this stride.
fn cost(literal: &[u8], stride: usize) -> f64 {
    let (_, touched) = rarest(literal, stride);
    touched * TOUCH_NS / stride as f64 + probability(literal) * CONFIRM_NS
}

/// Where in `literal` the rarest run of `stride` overlapping 4-grams begins, and how often one of them is met.
pub(super) fn rarest(literal: &[u8], stride: usize) -> (usize, f64) {
    let grams: Vec<f64> = literal.windows(4).map(probability).collect();
    grams
        .windows(stride)
        .map(|w| w.iter().sum::<f64>())
        .enumerate()
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((0, 1.0))
}

/// The beginning of what a part of a regex can match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    /// Folded.
    bytes: Vec<u8>,
    /// It is the whole of it, not only its beginning.
    whole: bool,
}

struct Best {
    by_stride: ByStride,
}

impl Best {
    /// Tries every set of literals that a match of `hir` cannot do without.
    fn visit(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Capture(c) => self.visit(&c.sub),
            HirKind::Repetition(r) if r.min > 0 => {
                self.offer(heads(hir));
                self.visit(&r.sub);
            }
            HirKind::Concat(parts) => {
                let parts = spread(parts);
                for start in 0..parts.len().min(STARTS) {
                    self.window(&parts[start..]);
                }
                for part in parts.iter().filter(|p| !matches!(p, Part::Byte(_))) {
                    if let Part::Hir(h) = part {
                        self.visit(h);
                    }
                }
            }
            HirKind::Literal(l) => {
                let parts: Vec<Part<'_>> = l.0.iter().map(|b| Part::Byte(*b)).collect();
                for start in 0..parts.len().min(STARTS) {
                    self.window(&parts[start..]);
                }
            }
            HirKind::Alternation(branches) => {
                self.offer(heads(hir));
                self.branches(branches);
            }
            _ => self.offer(heads(hir)),
        }
    }

    /// One of the branches matches, so one of all their literals is there.
    fn branches(&mut self, branches: &[Hir]) {
        let each: Vec<ByStride> = branches.iter().take(MOST + 1).map(literals).collect();
        if branches.len() > MOST {
            return;
        }
        for at in 0..STRIDES {
            let sets: Option<Vec<&Literals>> = each.iter().map(|b| b[at].as_ref()).collect();
            if let Some(sets) = sets {
                self.consider(at, sets.iter().flat_map(|s| s.set.iter().cloned()).collect());
            }
        }
    }

    /// Grows a set of literals from the first part on, and tries each that it comes by.
    fn window(&mut self, parts: &[Part<'_>]) {
        let mut set = vec![Head { bytes: Vec::new(), whole: true }];
        for part in parts {
            let Some(longer) = cross(&set, &part.heads()) else { break };
            set = longer;
            if set.iter().all(|h| h.bytes.len() >= SHORTEST) {
                self.offer(set.clone());
            }
            if set.iter().all(|h| !h.whole) {
                break;
            }
        }
    }

    fn offer(&mut self, heads: Vec<Head>) {
        let shortest = heads.iter().map(|h| h.bytes.len()).min().unwrap_or(0);
        if shortest < SHORTEST {
            return;
        }
        let set: Vec<Vec<u8>> = heads.into_iter().map(|h| h.bytes).collect();
        for at in 0..STRIDES.min(shortest - 3) {
            self.consider(at, set.clone());
        }
    }

    fn consider(&mut self, at: usize, mut set: Vec<Vec<u8>>) {
        set.sort_unstable();
        set.dedup();
        if set.is_empty() || set.len() > MOST {
            return;
        }
        let cost = set.iter().map(|l| cost(l, at + 1)).sum();
        if self.by_stride[at].as_ref().is_none_or(|b| cost < b.cost) {
            self.by_stride[at] = Some(Literals { set, cost });
        }
    }
}

/// A part of a concatenation; literals are taken apart, so that a window can begin inside one.
enum Part<'a> {
    Byte(u8),
    Hir(&'a Hir),
}

impl Part<'_> {
    fn heads(&self) -> Vec<Head> {
        match self {
            Part::Byte(b) => vec![Head { bytes: vec![b | 0x20], whole: true }],
            Part::Hir(h) => heads(h),
        }
    }
}

fn spread(parts: &[Hir]) -> Vec<Part<'_>> {
    let mut out = Vec::new();
    for part in parts {
        match part.kind() {
            HirKind::Literal(l) => out.extend(l.0.iter().map(|b| Part::Byte(*b))),
            HirKind::Capture(c) => out.extend(spread(std::slice::from_ref(&*c.sub))),
            HirKind::Concat(inner) => out.extend(spread(inner)),
            _ => out.push(Part::Hir(part)),
        }
    }
    out
}

/// Every match begins with nothing known.
fn anything() -> Vec<Head> {
    vec![Head { bytes: Vec::new(), whole: false }]
}

fn nothing_wide() -> Vec<Head> {
    vec![Head { bytes: Vec::new(), whole: true }]
}

/// Strings of which every match of `hir` begins with one; never empty but for a regex that cannot match.
fn heads(hir: &Hir) -> Vec<Head> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => nothing_wide(),
        HirKind::Literal(l) => {
            let bytes = l.0.iter().take(LONGEST).map(|b| b | 0x20).collect();
            vec![Head { bytes, whole: l.0.len() <= LONGEST }]
        }
        HirKind::Class(class) => class_heads(class).unwrap_or_else(anything),
        HirKind::Capture(c) => heads(&c.sub),
        HirKind::Repetition(r) => {
            let once = heads(&r.sub);
            let mut set = nothing_wide();
            for _ in 0..r.min.min(LONGEST as u32) {
                match cross(&set, &once) {
                    Some(longer) => set = longer,
                    None => return open(set),
                }
            }
            if r.max == Some(r.min) && r.min <= LONGEST as u32 {
                return set;
            }
            let more = if r.min == 0 && r.max == Some(1) { once } else { open(once) };
            // none more, or one and perhaps others behind it
            let more = tidy(more.into_iter().chain(nothing_wide()).collect());
            more.and_then(|more| cross(&set, &more)).unwrap_or_else(|| open(set))
        }
        HirKind::Concat(parts) => {
            let mut set = nothing_wide();
            for part in parts {
                match cross(&set, &heads(part)) {
                    Some(longer) => set = longer,
                    None => return open(set),
                }
                if set.iter().all(|h| !h.whole) {
                    break;
                }
            }
            set
        }
        HirKind::Alternation(branches) => {
            if branches.len() > MOST {
                return anything();
            }
            tidy(branches.iter().flat_map(heads).collect()).unwrap_or_else(anything)
        }
    }
}

fn class_heads(class: &Class) -> Option<Vec<Head>> {
    let mut chars: Vec<Vec<u8>> = Vec::new();
    match class {
        Class::Unicode(c) => {
            let count: u32 = c
                .iter()
                .map(|r| u32::from(r.end()) - u32::from(r.start()) + 1)
                .try_fold(0u32, u32::checked_add)?;
            if count > CLASS_CHARS {
                return None;
            }
            for range in c.iter() {
                for ch in range.start()..=range.end() {
                    chars.push(ch.to_string().into_bytes());
                }
            }
        }
        Class::Bytes(c) => {
            let count: u32 = c.iter().map(|r| u32::from(r.end() - r.start()) + 1).sum();
            if count > CLASS_CHARS {
                return None;
            }
            chars.extend(c.iter().flat_map(|r| r.start()..=r.end()).map(|b| vec![b]));
        }
    }
    let heads = chars.into_iter().map(|c| Head { bytes: c.iter().map(|b| b | 0x20).collect(), whole: true });
    tidy(heads.collect())
}

/// Each with whatever may follow it.
fn open(mut set: Vec<Head>) -> Vec<Head> {
    for head in &mut set {
        head.whole = false;
    }
    tidy(set).unwrap_or_else(anything)
}

/// Sorted, without repeats and without what another makes needless; `None` where they are too many.
fn tidy(mut set: Vec<Head>) -> Option<Vec<Head>> {
    set.sort_unstable();
    set.dedup();
    // `ab…` says all that `abc…` says; sorted, it stands before it
    let mut kept: Vec<Head> = Vec::new();
    for head in set {
        let covered = kept.iter().rev().any(|k| !k.whole && head.bytes.starts_with(&k.bytes));
        if !covered {
            kept.push(head);
        }
        if kept.len() > MOST {
            return None;
        }
    }
    Some(kept)
}

/// Each whole head of `set` followed by each of `next`; `None` where they would be too many.
fn cross(set: &[Head], next: &[Head]) -> Option<Vec<Head>> {
    let open = set.iter().filter(|h| !h.whole).count();
    if open + (set.len() - open) * next.len() > MOST * 4 {
        return None;
    }
    let mut out = Vec::with_capacity(set.len());
    for head in set {
        if !head.whole {
            out.push(head.clone());
            continue;
        }
        for n in next {
            let mut bytes = head.bytes.clone();
            bytes.extend_from_slice(&n.bytes);
            let whole = n.whole && bytes.len() <= LONGEST;
            bytes.truncate(LONGEST);
            out.push(Head { bytes, whole });
        }
    }
    tidy(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str, stride: usize) -> Vec<String> {
        let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern).unwrap();
        let found = literals(&hir)[stride - 1].clone();
        found.map_or(Vec::new(), |l| l.set.iter().map(|l| String::from_utf8_lossy(l).into_owned()).collect())
    }

    fn has(pattern: &str, stride: usize) -> bool {
        !of(pattern, stride).is_empty()
    }

    #[test]
    fn a_literal_is_folded_and_may_stand_inside() {
        let l = of(r"\d+ OOM-Killer \d+", 4);
        assert!(l.len() == 1 && "oom-killer ".contains(l[0].trim_start()), "{l:?}");
    }

    #[test]
    fn optional_groups_and_small_alternations_are_crossed() {
        assert_eq!(of(r" su(\[\d+\])?: ", 1), [" su: ", " su{"]);
        assert_eq!(of(r"^(?:GET|PUT) /x", 3).len(), 2);
    }

    #[test]
    fn unicode_case_variants_are_literals_of_their_own() {
        let l = of("^(?i)disk$", 1);
        assert!(l.contains(&"disk".to_owned()), "{l:?}");
        assert_eq!(l.len(), 4, "{l:?}");
    }

    #[test]
    fn a_branch_without_a_literal_leaves_none() {
        assert!(
            !has(r"error|\d+", 1) && !has(".*", 1) && !has("abc", 1) && !has("", 1) && !has("(?:abcd)?", 1)
        );
        assert!(has("error|(?:fatal)+", 1));
    }

    #[test]
    fn a_long_enough_literal_is_there_for_every_stride() {
        assert!((1..=STRIDES).all(|s| has("authentication failure;.*rhost=\\S+", s)));
        assert!(has("abcdef", 3) && !has("abcdef", 4));
    }

    #[test]
    fn a_counted_repetition_is_written_out() {
        assert_eq!(of("a{4}", 1), ["aaaa"]);
        assert!(has("x(?:ab){3,}", 1));
    }
}
