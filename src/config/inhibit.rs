//! `inhibited_by`: which rules are silent while which others have an open incident.
//!
//! Read with the rule, judged once all rules are known. What is wrong here takes the name out and not the rule: at boot
//! it watches, and says more than it would. A list of `defaults` is for the rules that it does not name: those that it
//! names would hold each other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::names::in_own_file;
use super::rule::Draft;
use super::walk::{LISTED, Scope, Text, Value, did_you_mean, list, shown};

/// One that waits for more rules than this says nothing on any bad day.
const MOST: usize = 20;

/// The names, where they are strings and not too many.
pub(super) fn names<'t>(value: &Value<'t>) -> Option<Vec<Text<'t>>> {
    let texts = value.texts()?;
    if texts.len() > MOST {
        let message = format!("`inhibited_by` has {} names, expected at most {MOST}", texts.len());
        value.scope.error(value.span.clone(), message);
        return None;
    }
    Some(texts)
}

/// What a rule names, or `defaults` for it.
#[derive(Clone, Debug, Default)]
pub(super) struct Named<'t> {
    pub(super) texts: Vec<Text<'t>>,
    /// By `defaults`.
    pub(super) by_default: bool,
}

impl<'t> Named<'t> {
    pub(super) fn of(own: Option<&Vec<Text<'t>>>, default: Option<&Vec<Text<'t>>>) -> Named<'t> {
        let texts = own.or(default).cloned().unwrap_or_default();
        Named { texts, by_default: own.is_none() }
    }
}

/// The names of the rules that inhibit each of these, which have one name each.
pub(super) fn resolve(rules: &[Draft<'_>]) -> Vec<Vec<Arc<str>>> {
    let place: BTreeMap<&str, usize> = rules.iter().enumerate().map(|(n, d)| (d.name.value, n)).collect();
    let mut edges: Vec<Vec<usize>> = vec![Vec::new(); rules.len()];
    for (n, rule) in rules.iter().enumerate() {
        let Some(named) = rule.body.as_ref().map(|b| &b.inhibited_by) else { continue };
        if named.by_default && named.texts.iter().any(|t| t.value == rule.name.value) {
            continue;
        }
        for text in &named.texts {
            let scope = in_own_file(&rule.scope, &text.scope);
            let fault = |message: String, hint: Option<String>| {
                scope.error_but_usable(text.span.clone(), &message, hint);
            };
            let name = shown(text.value);
            let Some(&by) = place.get(text.value) else {
                let known: Vec<&str> = place.keys().copied().filter(|k| *k != rule.name.value).collect();
                fault(
                    format!("`inhibited_by` names `{name}`, and no rule is called so"),
                    near(&name, &known),
                );
                continue;
            };
            if by == n {
                let hint = "name the rule whose incident makes this one needless";
                fault("`inhibited_by` names the rule itself".to_owned(), Some(hint.to_owned()));
                continue;
            }
            if let Some(way) = way(&edges, by, n) {
                let names: Vec<&str> = [n].into_iter().chain(way).map(|n| rules[n].name.value).collect();
                let hint = "take one of these names out: of rules that wait for each other none speaks";
                fault(format!("`inhibited_by` makes a ring: {}", names.join(" → ")), Some(hint.to_owned()));
                continue;
            }
            warn_of_disabled(&rules[by], text, &scope);
            if !edges[n].contains(&by) {
                edges[n].push(by);
            }
        }
    }
    edges.into_iter().map(|by| by.into_iter().map(|n| rules[n].name.value.into()).collect()).collect()
}

fn warn_of_disabled(by: &Draft<'_>, text: &Text<'_>, scope: &Scope<'_>) {
    if !by.enabled {
        let message = format!("`inhibited_by` names `{}`, which is switched off", shown(text.value));
        scope.warn(text.span.clone(), message, "remove the name, or switch that rule on");
    }
}

fn near(name: &str, known: &[&str]) -> Option<String> {
    did_you_mean(name, known).or_else(|| match known {
        [] => Some("there is no other rule".to_owned()),
        known if known.len() <= LISTED => Some(format!("the other rules are: {}", list(known))),
        _ => None,
    })
}

/// The rules on the way from one to another, both of them too.
fn way(edges: &[Vec<usize>], from: usize, to: usize) -> Option<Vec<usize>> {
    let mut seen = BTreeSet::new();
    let mut ways = vec![vec![from]];
    while let Some(way) = ways.pop() {
        let Some(&at) = way.last() else { continue };
        if at == to {
            return Some(way);
        }
        if seen.insert(at) {
            ways.extend(edges[at].iter().map(|next| way.iter().copied().chain([*next]).collect()));
        }
    }
    None
}
