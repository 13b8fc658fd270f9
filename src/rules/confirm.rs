//! A literal stands here: does its rule match through it?
//!
//! A rule whose literal lies at a known place of it comes apart there: it matches a line through that place exactly
//! where one half matches backwards from it and the other forwards. Both are asked at that very place, so they mostly
//! end within a few bytes, where a search would read the whole line; and a rule that is plain text needs only be
//! compared. What the halves cannot answer (a Unicode word boundary beside other than ASCII, too many states) the
//! rule's own regex does. Automata are made when the first candidate asks: most rules of a large set never have one.
//!
//! They are made twice, and mostly once: a line of ASCII alone is asked by what is left of the halves there (`ascii`),
//! which is a small fraction of their size.

use std::collections::HashMap;

use regex_automata::hybrid::dfa::{Cache, Config, DFA};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::{Anchored, Input};
use regex_syntax::hir::{Hir, HirKind};

use super::ascii::ascii;
use super::literal::{Cut, halves};
use super::pattern::Pattern;

/// States of one half, in bytes; beyond it they are made anew.
const CACHE: usize = 256 << 10;

/// After so many times it gives up, and the rule's own regex answers.
const CLEARS: usize = 4;

/// Compiled size of one half, in bytes; a larger one is not worth its memory.
const SIZE: usize = 1 << 20;

/// What a place says of the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// The rule matches.
    Yes,
    /// It does not match through this place.
    No,
    /// Ask its regex.
    Unsure,
}

/// How a literal's places are confirmed.
#[derive(Clone, Debug)]
pub(super) struct Confirm {
    cut: Option<Cut>,
    /// In a line of ASCII alone.
    ascii: Way,
    /// In any other.
    whole: Way,
}

#[derive(Clone, Debug)]
enum Way {
    /// Nobody has asked yet.
    New,
    /// By the rule's own regex.
    Regex,
    /// By comparing all of the rule's text, so many bytes before the literal.
    Text { text: Box<[u8]>, before: usize },
    /// By two halves, by their numbers; none before where anything may be. The one that last refused is asked first.
    Halves { before: Option<u32>, after: u32, backwards: bool },
}

/// A place in a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot<'a> {
    pub(super) line: &'a [u8],
    /// The line's number among those that this set has looked at.
    pub(super) serial: u64,
    /// Where in the line the literal begins.
    pub(super) at: usize,
}

impl Confirm {
    /// Nobody has asked yet of a literal where its rule comes apart at `cut`.
    pub(super) fn new(cut: Option<Cut>) -> Confirm {
        Confirm { cut, ascii: Way::New, whole: Way::New }
    }

    /// What a place says of its line.
    #[inline]
    pub(super) fn ask(&mut self, pattern: &Pattern, pool: &mut Pool, spot: Spot<'_>) -> Says {
        let ascii = pool.is_ascii(spot);
        let way = if ascii { &mut self.ascii } else { &mut self.whole };
        if let Way::New = way {
            *way = Way::new(pattern, self.cut, pool, ascii);
        }
        match way {
            Way::New | Way::Regex => Says::Unsure,
            Way::Text { text, before } => {
                let there = spot.at.checked_sub(*before).and_then(|from| spot.line.get(from..));
                if there.is_some_and(|there| there.starts_with(text)) { Says::Yes } else { Says::No }
            }
            Way::Halves { before: None, after, .. } => pool.ask(*after, spot),
            Way::Halves { before: Some(before), after, backwards } => {
                let (first, second) = if *backwards { (*before, *after) } else { (*after, *before) };
                let says = pool.ask(first, spot);
                if says != Says::Yes {
                    return says;
                }
                let says = pool.ask(second, spot);
                *backwards ^= says == Says::No;
                says
            }
        }
    }
}

impl Way {
    #[cold]
    fn new(pattern: &Pattern, cut: Option<Cut>, pool: &mut Pool, in_ascii: bool) -> Way {
        let Some(hir) = pattern.hir() else { return Way::Regex };
        let Some((before, after)) = cut.and_then(|cut| halves(&hir, cut)) else { return Way::Regex };
        if let (Some(a), Some(b)) = (plain(&before), plain(&after))
            && plain(&hir).is_some()
        {
            return Way::Text { before: a.len(), text: [a, b].concat().into() };
        }
        let (before, after) = if in_ascii { (ascii(&before), ascii(&after)) } else { (before, after) };
        let before = match needed(&before, true).map(|hir| pool.half(&hir, true)) {
            None => None,
            Some(Some(half)) => Some(half),
            Some(None) => return Way::Regex,
        };
        // what need not be there is not looked for; the literal itself always is
        let after = needed(&after, false).unwrap_or(after);
        let halves = |after| Way::Halves { before, after, backwards: false };
        pool.half(&after, false).map_or(Way::Regex, halves)
    }
}

/// The bytes that are all that it matches.
fn plain(hir: &Hir) -> Option<&[u8]> {
    match hir.kind() {
        HirKind::Empty => Some(&[]),
        HirKind::Literal(l) => Some(&l.0),
        _ => None,
    }
}

/// `hir` without the parts at its outer end (its start, or else its end) that may as well match nothing; `None` where
/// that is all of it.
fn needed(hir: &Hir, start: bool) -> Option<Hir> {
    let idle = |hir: &Hir| {
        let properties = hir.properties();
        properties.minimum_len() == Some(0) && properties.look_set().is_empty()
    };
    let HirKind::Concat(parts) = hir.kind() else { return (!idle(hir)).then(|| hir.clone()) };
    let first = if start { parts.iter().position(|p| !idle(p))? } else { 0 };
    let last = if start { parts.len() } else { parts.iter().rposition(|p| !idle(p))? + 1 };
    Some(Hir::concat(parts[first..last].to_vec()))
}

/// The halves of the rules of a set. Rules of one program begin alike, so equal halves are one: its states stay in the
/// nearest cache, and of one place it is asked once.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    halves: Vec<Half>,
    /// By what they match and the direction, as text.
    known: HashMap<String, u32>,
    /// The line that was last asked about, by its number, and whether it is ASCII alone.
    line: (u64, bool),
}

/// One half of a rule, searched from the place where it comes apart.
#[derive(Clone, Debug)]
struct Half {
    dfa: DFA,
    cache: Cache,
    backwards: bool,
    /// Its last answer: to which line and place.
    last: (u64, usize, Says),
}

impl Pool {
    #[inline]
    fn is_ascii(&mut self, spot: Spot<'_>) -> bool {
        if self.line.0 != spot.serial {
            self.line = (spot.serial, spot.line.is_ascii());
        }
        self.line.1
    }

    /// The number of a half; `None` where it is too large.
    fn half(&mut self, hir: &Hir, backwards: bool) -> Option<u32> {
        let key = format!("{}{hir}", if backwards { '<' } else { '>' });
        if let Some(known) = self.known.get(&key) {
            return Some(*known);
        }
        let number = self.halves.len() as u32;
        self.halves.push(Half::new(hir, backwards).ok()?);
        self.known.insert(key, number);
        Some(number)
    }

    #[inline]
    fn ask(&mut self, half: u32, spot: Spot<'_>) -> Says {
        let half = &mut self.halves[half as usize];
        if half.last.0 != spot.serial || half.last.1 != spot.at {
            half.last = (spot.serial, spot.at, half.search(spot.line, spot.at));
        }
        half.last.2
    }
}

impl Half {
    fn new(hir: &Hir, backwards: bool) -> Result<Half, Box<dyn std::error::Error>> {
        let nfa = thompson::Compiler::new()
            .configure(
                thompson::Config::new()
                    .utf8(false)
                    .reverse(backwards)
                    .which_captures(WhichCaptures::None)
                    .nfa_size_limit(Some(SIZE)),
            )
            .build_from_hir(hir)?;
        let dfa = DFA::builder()
            .configure(
                Config::new()
                    .unicode_word_boundary(true)
                    .cache_capacity(CACHE)
                    .skip_cache_capacity_check(true)
                    .minimum_cache_clear_count(Some(CLEARS)),
            )
            .build_from_nfa(nfa)?;
        let cache = dfa.create_cache();
        Ok(Half { dfa, cache, backwards, last: (0, 0, Says::No) })
    }

    fn search(&mut self, line: &[u8], at: usize) -> Says {
        if at > line.len() {
            return Says::No;
        }
        let input = Input::new(line).anchored(Anchored::Yes).earliest(true);
        let found = if self.backwards {
            self.dfa.try_search_rev(&mut self.cache, &input.range(..at))
        } else {
            self.dfa.try_search_fwd(&mut self.cache, &input.range(at..))
        };
        match found {
            Ok(Some(_)) => Says::Yes,
            Ok(None) => Says::No,
            Err(_) => Says::Unsure,
        }
    }
}
