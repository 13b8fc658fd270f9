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
const LONGEST: usize = 24;

/// In a longer run of plain bytes a window begins at every so many; two of them overlap by the rest of [`LONGEST`].
const EVERY: usize = 8;

/// Greatest stride of the filter; a literal of `stride + 3` bytes is seen at every phase.
pub(super) const STRIDES: usize = 9;

/// Most literals of one rule.
const MOST: usize = 64;

/// Most characters of a class that are written out.
const CLASS_CHARS: u32 = 16;

/// Most parts of a concatenation that are tried as the first of a window.
const STARTS: usize = 1024;

/// Most sets that are kept of one rule, to choose from when its logs are known.
const CHOICES: usize = 24;

/// One literal: folded text, and where it stands in the rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Literal {
    /// What must match before it and from it on; `None` where it lies too deep in the rule to say.
    pub(super) cut: Option<Cut>,
    /// Folded.
    pub(super) bytes: Box<[u8]>,
}

/// A place at which a rule comes apart: it matches through there where one part matches up to it, the other from it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cut {
    /// Which branch, where the rule as a whole is an alternation.
    branch: Option<u16>,
    /// The first part of the second half, in the order of [`spread`].
    part: u16,
}

/// Literals of which every match of a rule has one.
pub(super) type Set = Vec<Literal>;

/// All that may be looked for to find a rule; empty where it has no literal.
pub(super) fn choices(hir: &Hir) -> Vec<Set> {
    let mut found = Found { sets: Vec::new(), branch: None };
    found.top(hir);
    let mut sets = found.sets;
    sets.sort_unstable();
    sets.dedup();
    if sets.len() <= CHOICES {
        return sets;
    }
    // by turns the best that is left at each stride
    let mut left: Vec<(Costs, Set)> = sets.into_iter().map(|set| (costs(&set, &Table), set)).collect();
    let mut kept = Vec::with_capacity(CHOICES);
    for at in (0..STRIDES).cycle().take(CHOICES) {
        let best = left.iter().enumerate().min_by(|a, b| a.1.0[at].total_cmp(&b.1.0[at]));
        if let Some((n, _)) = best {
            kept.push(left.swap_remove(n).1);
        }
    }
    kept
}

/// How often folded bytes begin at a given place of a log, between 0 and 1.
pub(super) trait Rarity {
    /// Exactly four bytes.
    fn gram(&self, folded: &[u8]) -> f64;

    /// Exactly four bytes, as far as they were seen and not guessed.
    fn seen(&self, folded: &[u8]) -> f64;
}

/// The built-in table alone.
#[derive(Debug)]
pub(super) struct Table;

impl Rarity for Table {
    fn gram(&self, folded: &[u8]) -> f64 {
        probability(folded)
    }

    fn seen(&self, _folded: &[u8]) -> f64 {
        0.0
    }
}

/// For each stride (index + 1), the nanoseconds a byte of log that a set costs beside the walk; infinite where it has a
/// literal too short for it.
pub(super) type Costs = [f64; STRIDES];

/// Nanoseconds that a set bit of the filter costs.
const TOUCH_NS: f64 = 4.0;

/// Nanoseconds that a found literal costs: where the rule comes apart at it, and where its regex reads the line.
const CUT_NS: f64 = 60.0;
const LINE_NS: f64 = 300.0;

/// The chance of a long literal is the product of its pairs', which real logs are unkind to: what is written once is
/// written again. Its root, times this, is nearer to what is met.
const GUESS: f64 = 0.01;

/// What looking for `set` costs.
pub(super) fn costs(set: &Set, rarity: &impl Rarity) -> Costs {
    let mut total = [0.0; STRIDES];
    for literal in set {
        let grams: Vec<f64> = literal.bytes.windows(SHORTEST).map(|g| rarity.gram(g)).collect();
        let seen = literal.bytes.windows(SHORTEST).map(|g| rarity.seen(g)).fold(1.0, f64::min);
        let met = seen + GUESS * probability(&literal.bytes).sqrt();
        let confirmed = met * if literal.cut.is_some() { CUT_NS } else { LINE_NS };
        for (at, total) in total.iter_mut().enumerate() {
            let touched = run(&grams, at + 1).map_or(f64::INFINITY, |(_, touched)| touched);
            *total += touched * TOUCH_NS / (at + 1) as f64 + confirmed;
        }
    }
    total
}

/// Where the rarest run of `stride` grams begins, and how often one of them is met.
fn run(grams: &[f64], stride: usize) -> Option<(usize, f64)> {
    let sums = grams.windows(stride).map(|w| w.iter().sum::<f64>()).enumerate();
    sums.min_by(|a, b| a.1.total_cmp(&b.1))
}

/// Where in `literal` the rarest run of `stride` overlapping 4-grams begins.
pub(super) fn rarest(literal: &[u8], stride: usize, rarity: &impl Rarity) -> usize {
    let grams: Vec<f64> = literal.windows(SHORTEST).map(|g| rarity.gram(g)).collect();
    run(&grams, stride).map_or(0, |(at, _)| at)
}

/// The two halves of a rule around a cut.
pub(super) fn halves(hir: &Hir, cut: Cut) -> Option<(Hir, Hir)> {
    let hir = match (cut.branch, bare(hir).kind()) {
        (None, _) => hir,
        (Some(branch), HirKind::Alternation(branches)) => branches.get(usize::from(branch))?,
        _ => return None,
    };
    let parts = spread(std::slice::from_ref(hir));
    let half = |parts: &[Part<'_>]| Hir::concat(parts.iter().map(Part::hir).collect());
    Some((half(parts.get(..usize::from(cut.part))?), half(parts.get(usize::from(cut.part)..)?)))
}

/// `hir` out of the groups around it.
fn bare(hir: &Hir) -> &Hir {
    match hir.kind() {
        HirKind::Capture(c) => bare(&c.sub),
        _ => hir,
    }
}

/// The beginning of what a part of a regex can match.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    /// Folded.
    bytes: Vec<u8>,
    /// It is the whole of it, not only its beginning.
    whole: bool,
}

impl Head {
    /// Goes on with `next`, as far as a literal goes.
    fn push(&mut self, next: &Head) {
        self.bytes.extend_from_slice(&next.bytes);
        self.whole = next.whole && self.bytes.len() <= LONGEST;
        self.bytes.truncate(LONGEST);
    }
}

/// What is found in a rule, level by level.
struct Found {
    sets: Vec<Set>,
    /// The branch of the whole rule that is looked at.
    branch: Option<u16>,
}

impl Found {
    /// The whole of a rule, or a branch of it.
    fn top(&mut self, hir: &Hir) {
        match bare(hir).kind() {
            HirKind::Alternation(branches) if self.branch.is_none() => {
                self.offer(heads(hir), None);
                self.branches(branches, true);
            }
            _ => {
                let parts = spread(std::slice::from_ref(hir));
                self.concat(&parts, true);
            }
        }
    }

    /// Below the top: what lies there has no cut.
    fn visit(&mut self, hir: &Hir) {
        match hir.kind() {
            HirKind::Capture(c) => self.visit(&c.sub),
            HirKind::Repetition(r) if r.min > 0 => {
                self.offer(heads(hir), None);
                self.visit(&r.sub);
            }
            HirKind::Concat(_) | HirKind::Literal(_) => {
                self.concat(&spread(std::slice::from_ref(hir)), false);
            }
            HirKind::Alternation(branches) => {
                self.offer(heads(hir), None);
                self.branches(branches, false);
            }
            _ => self.offer(heads(hir), None),
        }
    }

    fn concat(&mut self, parts: &[Part<'_>], top: bool) {
        let heads: Vec<Vec<Head>> = parts.iter().map(Part::heads).collect();
        let mut in_run = 0;
        for start in 0..parts.len().min(STARTS) {
            // further on in a run of plain bytes a window is only shorter
            let plain = matches!(parts[start], Part::Byte(_));
            in_run = if plain { in_run + 1 } else { 0 };
            if !plain || in_run % EVERY == 1 {
                let cut = top.then_some(Cut { branch: self.branch, part: start as u16 });
                self.window(&heads[start..], cut);
            }
        }
        for part in parts {
            if let Part::Hir(h) = part {
                self.visit(h);
            }
        }
    }

    /// One of the branches matches, so one of all their literals is there.
    fn branches(&mut self, branches: &[Hir], top: bool) {
        if branches.len() > MOST {
            return;
        }
        let mut each: Vec<(Vec<Set>, Vec<Costs>)> = Vec::with_capacity(branches.len());
        for (n, branch) in branches.iter().enumerate() {
            let mut found = Found { sets: Vec::new(), branch: top.then_some(n as u16) };
            if top {
                found.top(branch);
            } else {
                found.visit(branch);
            }
            if found.sets.is_empty() {
                return;
            }
            let costs = found.sets.iter().map(|s| costs(s, &Table)).collect();
            each.push((found.sets, costs));
        }
        // for each stride, the best of each branch
        for at in 0..STRIDES {
            let best = each.iter().map(|(sets, costs)| {
                let all = sets.iter().zip(costs).filter(|(_, c)| c[at].is_finite());
                all.min_by(|a, b| a.1[at].total_cmp(&b.1[at])).map(|(s, _)| s)
            });
            if let Some(best) = best.collect::<Option<Vec<&Set>>>() {
                self.consider(best.into_iter().flatten().cloned().collect());
            }
        }
    }

    /// Grows a set of literals from the first part on, and offers each that it comes by before it gets larger.
    fn window(&mut self, parts: &[Vec<Head>], cut: Option<Cut>) {
        let mut set = vec![Head { bytes: Vec::new(), whole: true }];
        for next in parts {
            if let [only] = next.as_slice() {
                // nothing to sort: what differs goes on to differ
                set.iter_mut().filter(|h| h.whole).for_each(|h| h.push(only));
            } else {
                let Some(longer) = cross(&set, next) else { break };
                if longer.len() > set.len() {
                    self.offer(set, cut);
                }
                set = longer;
            }
            if set.iter().all(|h| !h.whole) {
                break;
            }
        }
        self.offer(set, cut);
    }

    fn offer(&mut self, heads: Vec<Head>, cut: Option<Cut>) {
        if heads.iter().all(|h| h.bytes.len() >= SHORTEST) {
            self.consider(heads.into_iter().map(|h| Literal { bytes: h.bytes.into(), cut }).collect());
        }
    }

    fn consider(&mut self, mut set: Set) {
        set.sort_unstable();
        set.dedup();
        if !set.is_empty() && set.len() <= MOST {
            // it lies where its heads were, which are larger
            set.shrink_to_fit();
            self.sets.push(set);
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

    fn hir(&self) -> Hir {
        match self {
            Part::Byte(b) => Hir::literal([*b]),
            Part::Hir(h) => (*h).clone(),
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
            let mut longer = head.clone();
            longer.push(n);
            out.push(longer);
        }
    }
    tidy(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pattern: &str, stride: usize) -> Vec<String> {
        let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern).unwrap();
        let sets = choices(&hir).into_iter().map(|s| (costs(&s, &Table)[stride - 1], s));
        let best = sets.filter(|(c, _)| c.is_finite()).min_by(|a, b| a.0.total_cmp(&b.0));
        let text = |l: &Literal| String::from_utf8_lossy(&l.bytes).into_owned();
        best.map_or(Vec::new(), |(_, set)| set.iter().map(text).collect())
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
