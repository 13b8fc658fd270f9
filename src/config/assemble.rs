//! From the walked files to one set: names resolved, numbers given, every stage's part built.
//!
//! Order matters in one place only: of several rules with one name, the last that says `override = true` is the
//! one that counts, the file that was asked for first and its includes after it, so that a drop-in wins.

use std::collections::HashMap;
use std::hash::Hasher;
use std::path::PathBuf;
use std::sync::Arc;

use siphasher::sip::SipHasher13;

use super::alive::alive;
use super::inhibit;
use super::judge::{judge, warn_of_memory};
use super::judging::Judged;
use super::mute::{mutes, warn_of_no_end};
use super::redact::redactor;
use super::rule::{Around, Body, Draft, Keys, defaults, draft};
use super::settings::{RuleTest, Settings};
use super::source::{AnyFiles, MOST_SOURCES, Named, Needed, named};
use super::space::Spaces;
use super::walk::{Scope, Table, Value};
use super::{Env, Files};
use crate::hit::RuleNo;
use crate::judge::{Policy, RulePolicy};
use crate::rules::RuleSpec;

/// At most this many rules in all files.
const MOST_RULES: usize = 2000;

const TOP: [&str; 12] = [
    "admin", "include", "space", "chat", "defaults", "route", "rule", "source", "mute", "redact", "judge",
    "alive",
];
/// What an included file may hold.
const INCLUDED: [&str; 3] = ["rule", "source", "mute"];

/// Builds the settings without faulty rules; `None` where an error is outside rules. `tops[0]` is the main file.
pub(super) fn assemble<'t>(
    tops: &'t [Table<'t>],
    paths: &[PathBuf],
    env: &'t Env,
    files: &'t impl Files,
) -> Option<Settings> {
    let main = &tops[0];
    main.check_keys(&TOP);
    for top in &tops[1..] {
        included_keys(top);
    }
    let spaces = Spaces::read(main);
    let defaults =
        main.get("defaults").and_then(|v| v.table()).map_or_else(Keys::default, |t| defaults(&t, env));
    let space = defaults.space.as_ref().and_then(|t| spaces.find(t)).unwrap_or_else(|| spaces.admin.clone());
    let sources = read_sources(tops, env);
    let around = Around { defaults: &defaults, spaces: &spaces, space, sources: &sources, env };
    let drafts = read_rules(tops, &around);
    warn_of_unread(&sources, &drafts, &defaults);
    let names: Vec<&str> = drafts.iter().map(|d| d.name.value).collect();
    let mutes = mutes(tops.iter().flat_map(|top| tables(top, "mute")), &names, env);
    let redactor = redactor(main);
    let (alive, ping) = alive(main, env);
    let broken = tops.iter().any(|t| t.scope.broken());
    let chosen = choose(drafts);
    let inhibited = inhibit::resolve(&chosen);
    let judge = judge(main);
    warn_of_memory(&chosen, judge.memory);
    warn_of_no_end(&mutes, &chosen, env.now.wall);

    let mut needed = Needed::new(&sources, env, files as &dyn AnyFiles);
    let (mut rules, mut policies, mut tests, mut matches) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (draft, inhibited_by) in chosen.into_iter().zip(inhibited) {
        let Some(body) = draft.body.filter(|_| draft.enabled && !draft.scope.broken()) else { continue };
        let Some((numbers, only_files)) = needed.by(&body.reads) else {
            draft.scope.error(draft.name.span.clone(), format!("more than {MOST_SOURCES} sources"));
            continue;
        };
        let no = RuleNo(u32::try_from(rules.len()).unwrap_or(u32::MAX));
        let name: Arc<str> = draft.name.value.into();
        tests.extend(body.tests.iter().enumerate().map(|(at, test)| RuleTest {
            rule: no,
            no: at + 1,
            line: test.line.clone(),
            fields: test.fields.clone(),
            gives: test.gives.clone(),
            place: draft.scope.place(test.span.clone()),
        }));
        matches.push(draft.scope.place(body.pattern_at.clone()));
        policies.push(policy(name.clone(), &body, inhibited_by));
        let fold = folds(&body);
        rules.push(RuleSpec {
            no,
            name,
            sources: numbers,
            only_files,
            pattern: body.pattern,
            exclude: body.exclude,
            resolve: body.judged.resolve,
            mask: body.judged.mask,
            fields: body.conditions,
            by: body.by,
            captures: body.captures,
            fold,
            context: body.context,
        });
    }
    let (sources, clocks) = needed.finish();
    let policy = Policy {
        rules: policies,
        spaces: spaces.policies.clone(),
        admin: spaces.admin.clone(),
        host: env.host.clone(),
        redactor,
        late_after: judge.late_after,
        memory: judge.memory,
        mutes: mutes.into_iter().map(|m| m.policy).collect(),
        alive,
    };
    let targets = spaces.targets.clone();
    (!broken).then(|| Settings {
        sources,
        clocks,
        rules,
        policy,
        targets,
        fallbacks: spaces.fallbacks.clone(),
        ping,
        tests,
        matches,
        files: paths.to_vec(),
    })
}

/// The judge asks for the first line of a key and for its newest one, and for no other. But a threshold shows those that
/// reach it, a `hold` the one that is over it, behind a `resolve` any hit may be the first again, `distinct` and `top` count
/// the values of all, and an `expect` is met by one after the other.
fn folds(body: &Body<'_>) -> bool {
    let Judged { resolve, hold, distinct, top, expect, .. } = &body.judged;
    let first_and_newest = resolve.is_none() && hold.is_zero() && distinct.is_none() && top.is_empty();
    body.threshold <= 1 && first_and_newest && expect.is_none()
}

/// An included file holds rules and sources; what is for the whole agent stands in the main file.
fn included_keys(top: &Table<'_>) {
    let elsewhere: Vec<&str> = TOP.into_iter().filter(|k| !INCLUDED.contains(k)).collect();
    for (name, span, value) in top.entries() {
        if elsewhere.contains(&name) && !top.scope.has_syntax_error(&value.span) {
            let message =
                format!("`{name}` in an included file, which holds only `rule`, `source` and `mute`");
            top.scope.error_hint(span, message, "move it to the file that includes this one");
        }
    }
    top.check_keys(&TOP);
}

/// The tables of every `[[key]]` of a file.
fn tables<'t>(top: &Table<'t>, key: &str) -> Vec<Table<'t>> {
    let members = |v: &Value<'t>| {
        if v.is_table() {
            let message = format!("[{key}] is one table, expected an array of tables");
            v.scope.error_hint(v.span.clone(), message, format!("write two brackets: [[{key}]]"));
            return None;
        }
        v.array()
    };
    let all = top.get(key).as_ref().and_then(members).unwrap_or_default();
    all.iter().filter_map(Value::table).collect()
}

fn read_sources<'t>(tops: &'t [Table<'t>], env: &Env) -> Vec<Named<'t>> {
    let mut all: Vec<Named<'t>> = Vec::new();
    for table in tops.iter().flat_map(|top| tables(top, "source")) {
        let Some(source) = named(&table, env) else { continue };
        if let Some(first) = all.iter().find(|s| s.name.value == source.name.value) {
            let message = format!("source `{}` is named twice", source.name.value);
            let also = (first.name.scope.place(first.name.span.clone()), "first here");
            source.name.scope.clash(source.name.span.clone(), message, "give one of them another name", also);
            continue;
        }
        if let Some(first) = all.iter().find(|s| s.is_stdin() && source.is_stdin()) {
            let message =
                format!("source `{}` reads `stdin`, which another reads already", source.name.value);
            let also = (first.name.scope.place(first.name.span.clone()), "this one");
            let hint = "let its rules read that one: each line is read once";
            source.name.scope.clash(source.name.span.clone(), message, hint, also);
        }
        all.push(source);
    }
    all
}

fn read_rules<'t>(tops: &'t [Table<'t>], around: &Around<'t>) -> Vec<Draft<'t>> {
    let mut all = Vec::new();
    let mut count = 0;
    for top in tops {
        let rules = tables(top, "rule");
        for (at, table) in rules.iter().enumerate() {
            count += 1;
            if count > MOST_RULES {
                let message = format!("more than {MOST_RULES} rules");
                top.scope.error_hint(table.span.clone(), message, "join patterns that say the same with `|`");
                return all;
            }
            let end = rules.get(at + 1).map_or(usize::MAX, |next| next.span.start);
            all.extend(draft(table, end, around));
        }
    }
    if tops.iter().all(|top| top.get("rule").is_none()) {
        let hint = "add one: [[rule]], a `name`, a `match`, and what it reads";
        tops[0].scope.warn(0..0, "there is no rule, so nothing will ever be told", hint);
    }
    all
}

fn warn_of_unread(sources: &[Named<'_>], drafts: &[Draft<'_>], defaults: &Keys<'_>) {
    for source in sources {
        let name = source.name.value;
        let read = drafts.iter().any(|d| d.names_source == Some(name)) || defaults.source() == Some(name);
        if !read {
            let message = format!("source `{name}` is read by no rule");
            let hint = format!("say source = \"{name}\" in a rule, or remove it");
            source.name.scope.warn(source.name.span.clone(), message, hint);
        }
    }
}

/// One rule a name: the last override, or the one that is none. Reports every other.
fn choose(drafts: Vec<Draft<'_>>) -> Vec<Draft<'_>> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let mut chosen: Vec<Draft<'_>> = Vec::new();
    let mut plain: Vec<Option<(Scope<'_>, std::ops::Range<usize>)>> = Vec::new();
    for draft in drafts {
        let at = (draft.scope.clone(), draft.name.span.clone());
        let Some(&slot) = first.get(draft.name.value) else {
            first.insert(draft.name.value, chosen.len());
            plain.push((!draft.overrides).then_some(at));
            chosen.push(draft);
            continue;
        };
        if draft.overrides {
            if !draft.scope.broken() {
                chosen[slot] = draft;
            }
            continue;
        }
        let standing = plain[slot].clone().or_else(|| {
            // an override in an included file may replace a rule of any file, but within one file order is read
            let there = &chosen[slot];
            (there.scope.file == draft.scope.file).then(|| (there.scope.clone(), there.name.span.clone()))
        });
        match standing {
            Some((scope, span)) => {
                let message = format!("there are two rules named `{}`", draft.name.value);
                let hint = "give it another name, or say override = true to replace the earlier";
                draft.scope.clash(at.1, message, hint, (scope.place(span), "first here"));
            }
            None if chosen[slot].scope.broken() => {
                plain[slot] = Some(at);
                chosen[slot] = draft;
            }
            None => plain[slot] = Some(at),
        }
    }
    for (draft, plain) in chosen.iter().zip(&plain) {
        if draft.overrides && plain.is_none() {
            let message = format!("`override` of a rule `{}` that is not there", draft.name.value);
            draft.scope.warn(
                draft.name.span.clone(),
                message,
                "is the name right? otherwise remove `override`",
            );
        }
    }
    chosen
}

fn policy(name: Arc<str>, body: &Body<'_>, inhibited_by: Vec<Arc<str>>) -> RulePolicy {
    RulePolicy {
        name,
        fingerprint: fingerprint(body),
        by: body.by_names.clone(),
        captures: body.captures.clone(),
        threshold: body.threshold,
        within: body.within,
        severity: body.severity,
        spaces: body.spaces.clone(),
        message: body.message.clone(),
        runbook: body.runbook.clone(),
        remind: body.remind,
        quiet: body.quiet,
        max_per_hour: body.max_per_hour,
        hold: body.judged.hold,
        say_end: body.judged.say_end,
        distinct: body.judged.distinct,
        top: body.judged.top.clone(),
        expect: body.judged.expect.clone(),
        new: body.judged.new,
        inhibited_by,
    }
}

/// Of what a window counts: a change begins it anew. The same in every version and on every machine.
fn fingerprint(body: &Body<'_>) -> u64 {
    let mut hasher = SipHasher13::new();
    let mut part = |text: &str| {
        hasher.write(&(text.len() as u64).to_le_bytes());
        hasher.write(text.as_bytes());
    };
    part(&body.pattern.text);
    part(&body.exclude.len().to_string());
    body.exclude.iter().for_each(|p| part(&p.text));
    body.by_names.iter().for_each(|name| part(name));
    part(&body.threshold.to_string());
    part(&body.within.as_millis().to_string());
    // a rule without conditions has the value that it had before there were any
    for condition in &body.conditions {
        part("where");
        part(&condition.field);
        condition.values.iter().for_each(|value| part(value));
    }
    // the same for `distinct` and `top`
    for (key, name) in
        body.judged.distinct.iter().map(|n| ("distinct", n)).chain(body.judged.top.iter().map(|n| ("top", n)))
    {
        part(key);
        part(body.captures.get(*name).map_or("", String::as_str));
    }
    if let Some(expect) = &body.judged.expect {
        part("expect");
        part(&expect.text());
    }
    hasher.finish()
}
