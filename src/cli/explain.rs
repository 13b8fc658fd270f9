//! `logherald explain`: for a line, each rule and how far it got; on the very rules that run.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write};

use serde_json::{Value, json};

use crate::config;
use crate::hit::RuleNo;
use crate::judge::RulePolicy;
use crate::line::Field;
use crate::rules::{Explained, RuleSet, Step};
use crate::template::span_text;
use crate::time::{Clock, Wall};

use super::limiter::Limiter;
use super::now::{Agent, Said};
use super::{Done, Failure, RulesOption, SocketArgs, exit, paths, printable};

/// Longest line that is read from standard input, in bytes; what is behind it is cut.
const LINE_BYTES: usize = 256 << 10;

/// Of the texts that a rule looks for, this many are shown.
const TEXTS: usize = 3;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  logherald explain --rules rules.toml 'h app: No space left on device'
  tail /var/log/auth.log | logherald explain --file /var/log/auth.log
  logherald explain --json < app.log | jq -r '.hits[].rule' | sort | uniq -c

Without --file every rule is asked, whichever files it reads. A line is given
as `match` sees it: of a container's log the text alone. Of a hit, the running
agent is asked what it would make of one more like it now. Of lines from
standard input, rules whose text is not in the line are counted, not listed.")]
pub(super) struct Args {
    /// Lines; without any they are read from standard input
    #[arg(value_name = "LINE")]
    lines: Vec<String>,
    #[command(flatten)]
    rules: RulesOption,
    #[command(flatten)]
    socket: SocketArgs,
    /// Ask only the rules that read this file
    #[arg(long, value_name = "PATH")]
    file: Option<String>,
    /// What a container's runtime or the journal says beside the line
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field)]
    fields: Vec<Field>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

fn field(text: &str) -> Result<Field, String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("it has no `=`")?;
    Ok(Field { name: name.to_owned().into(), value: value.to_owned().into() })
}

pub(super) fn explain(args: &Args) -> Done {
    let now = Clock::continuing(None).now();
    let path = paths::rules(args.rules.rules.as_deref(), "logherald explain --rules path/to/rules.toml")?;
    let loaded = config::load(&path, &crate::agent::env(now));
    let Some(settings) = loaded.settings.clone().or_else(|| loaded.without_faulty_rules()) else {
        writeln!(anstream::stderr().lock(), "{}\n", loaded.render(super::look()))?;
        return Err(Failure::new(
            exit::CONFIG,
            format!("`{}` cannot be used: {}", path.display(), loaded.verdict()),
        ));
    };
    if loaded.errors() > 0 {
        writeln!(
            anstream::stderr().lock(),
            "warning: rules with faults are left out; see `logherald check`"
        )?;
    }
    let mut limiter = Limiter::new(&settings);
    let mut agent = Agent::at(&args.socket);
    let rules = RuleSet::new(settings.rules, settings.clocks, settings.policy.host.clone());
    let mut out = std::io::BufWriter::new(anstream::stdout().lock());
    let mut one = |line: &[u8]| -> std::io::Result<()> {
        let steps = rules.explain(None, args.file.as_deref(), line, &args.fields, now.wall);
        let mut after = limiter.of(line, &args.fields, now);
        let hits = steps.iter().filter_map(|e| match &e.step {
            Step::Hit { key, .. } => Some((e.rule, agent.of(&e.name, key))),
            _ => None,
        });
        let says: BTreeMap<RuleNo, Said> = hits.collect();
        if args.json {
            let judged =
                |rule| json!({ "limiter": after.get(&rule), "agent": says.get(&rule).map(Said::json) });
            as_json(&mut out, line, &steps, &settings.policy.rules, now.wall, &judged)
        } else {
            for (rule, said) in &says {
                after.entry(*rule).or_default().push(said.line());
            }
            as_text(&mut out, line, &steps, &settings.policy.rules, &after, !args.lines.is_empty())
        }
    };
    if args.lines.is_empty() {
        let mut input = std::io::stdin().lock();
        let mut line = Vec::new();
        while let Some(whole) = next_line(&mut input, &mut line)? {
            one(whole)?;
        }
    } else {
        for line in &args.lines {
            one(line.as_bytes())?;
        }
    }
    Ok(out.flush()?)
}

/// The next line without its end, at most [`LINE_BYTES`] of it.
fn next_line<'a>(
    input: &mut impl std::io::BufRead,
    line: &'a mut Vec<u8>,
) -> std::io::Result<Option<&'a [u8]>> {
    use std::io::Read as _;
    line.clear();
    input.by_ref().take(LINE_BYTES as u64).read_until(b'\n', line)?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.len() == LINE_BYTES && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    let whole = line.strip_suffix(b"\n").unwrap_or(line);
    Ok(Some(whole.strip_suffix(b"\r").unwrap_or(whole)))
}

fn as_json(
    out: &mut impl Write,
    line: &[u8],
    steps: &[Explained],
    policies: &[RulePolicy],
    read: Wall,
    judged: &impl Fn(RuleNo) -> Value,
) -> std::io::Result<()> {
    let hits = steps.iter().filter_map(|e| match &e.step {
        Step::Hit { captures, key, stamp } => {
            let captures: serde_json::Map<_, _> =
                captures.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
            let names = &policies[e.rule.0 as usize].by;
            let key: serde_json::Map<_, _> =
                names.iter().cloned().zip(key.iter().map(|v| json!(v))).collect();
            let event_time = stamp.map_or(read, |s| s.min(read)).to_string();
            let mut judged = judged(e.rule);
            Some(json!({
                "rule": &*e.name, "captures": captures, "key": key, "event_time": event_time, "literal": e.literal,
                "limiter": judged["limiter"].take(), "agent": judged["agent"].take(),
            }))
        }
        _ => None,
    });
    let excluded = steps.iter().filter_map(|e| match &e.step {
        Step::Excluded { index, pattern } => Some(json!({
            "rule": &*e.name, "exclude": index + 1, "pattern": &**pattern, "literal": e.literal,
        })),
        _ => None,
    });
    let refused = steps.iter().filter_map(|e| match &e.step {
        Step::Refused { field, found, wanted } => {
            Some(json!({ "rule": &*e.name, "field": field, "found": found, "wanted": wanted }))
        }
        _ => None,
    });
    let refused: Vec<_> = refused.collect();
    let resolves = steps.iter().filter_map(|e| match &e.step {
        Step::Resolves { key } => {
            let key: serde_json::Map<_, _> = key.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
            Some(json!({ "rule": &*e.name, "key": key }))
        }
        _ => None,
    });
    let resolves: Vec<_> = resolves.collect();
    let mut doc = json!({
        "line": String::from_utf8_lossy(line),
        "hits": hits.collect::<Vec<_>>(),
        "excluded": excluded.collect::<Vec<_>>(),
    });
    if !refused.is_empty() {
        doc["where"] = refused.into();
    }
    if !resolves.is_empty() {
        doc["resolves"] = resolves.into();
    }
    writeln!(out, "{doc}")
}

fn as_text(
    out: &mut impl Write,
    line: &[u8],
    steps: &[Explained],
    policies: &[RulePolicy],
    after: &BTreeMap<RuleNo, Vec<String>>,
    list_all: bool,
) -> std::io::Result<()> {
    writeln!(out, "{}", printable(&String::from_utf8_lossy(line)))?;
    let mut silent: Vec<&Explained> = Vec::new();
    for e in steps {
        let policy = &policies[e.rule.0 as usize];
        match &e.step {
            Step::Hit { captures, key, stamp } => {
                writeln!(out, "  HIT       {}", e.name)?;
                if let Some(text) = &e.literal {
                    writeln!(out, "            found by `{}`", printable(text))?;
                }
                for (name, value) in captures {
                    let value = value.as_deref().map_or("(none)".into(), printable);
                    writeln!(out, "            {name} = {value}")?;
                }
                if !key.is_empty() {
                    let key: Vec<String> =
                        policy.by.iter().zip(key).map(|(n, v)| format!("{n}={}", printable(v))).collect();
                    writeln!(out, "            key: {}", key.join(" "))?;
                }
                match stamp {
                    Some(at) => writeln!(out, "            event time: {at}")?,
                    None => writeln!(out, "            event time: none in the line, so when it is read")?,
                }
                writeln!(out, "            {}", then(policy))?;
                for more in after.get(&e.rule).into_iter().flatten() {
                    writeln!(out, "            {more}")?;
                }
            }
            Step::Resolves { key } => {
                let key: Vec<String> = key.iter().map(|(n, v)| format!("{n}={}", printable(v))).collect();
                let which = match key.as_slice() {
                    [] => "every open incident".to_owned(),
                    key => format!("the incident of {}", key.join(" ")),
                };
                writeln!(out, "  RESOLVES  {}: it ends {which}", e.name)?;
            }
            Step::Excluded { index, pattern } => {
                writeln!(out, "  excluded  {}: by `exclude` number {}: {pattern}", e.name, index + 1)?;
            }
            Step::Refused { field, found, wanted } => {
                let found = match found {
                    Some(value) => format!("`{}` is `{}`", printable(field), printable(value)),
                    None => format!("there is no `{}`", printable(field)),
                };
                let wanted: Vec<String> = wanted.iter().map(|w| format!("`{}`", printable(w))).collect();
                writeln!(out, "  refused   {}: by `where`: {found}, wanted {}", e.name, wanted.join(" or "))?;
            }
            _ => silent.push(e),
        }
    }
    let mut far = 0;
    for e in silent {
        if !list_all && !matches!(e.step, Step::NoMatch | Step::Own) {
            far += 1;
            continue;
        }
        let why = match &e.step {
            Step::OtherSource => "reads another source".to_owned(),
            Step::Own => "the agent wrote the line itself".to_owned(),
            Step::OtherFile => "reads other files".to_owned(),
            Step::NoLiteral(any) => match &**any {
                [] => "the line lacks its text".to_owned(),
                [one] => format!("the line lacks `{}`", printable(one)),
                any => format!("the line has none of {}", some_of(any)),
            },
            _ => "`match` does not accept it".to_owned(),
        };
        writeln!(out, "  -         {}: {why}", e.name)?;
    }
    match far {
        0 => {}
        1 => writeln!(out, "  -         1 rule: the line lacks its text, or it reads other files")?,
        n => writeln!(out, "  -         {n} rules: the line lacks their texts, or they read other files")?,
    }
    writeln!(out)
}

/// A few of many texts.
fn some_of(texts: &[String]) -> String {
    let mut named: Vec<String> = texts.iter().take(TEXTS).map(|t| format!("`{}`", printable(t))).collect();
    let more = texts.len().saturating_sub(TEXTS);
    if more > 0 {
        named.push(format!("{more} more"));
    }
    named.join(", ")
}

/// What the judge makes of a hit.
fn then(policy: &RulePolicy) -> String {
    let spaces: Vec<String> = policy.spaces.iter().map(|s| format!("`{s}`")).collect();
    let to = spaces.join(", ");
    if policy.expect.is_some() {
        return format!("is what the rule expects; without it, {} to {to}", policy.severity);
    }
    if policy.threshold > 1 {
        let within = span_text(policy.within);
        let what = policy.distinct.and_then(|n| policy.captures.get(n));
        let what = what.map(|name| format!(" different `{name}`")).unwrap_or_default();
        format!(
            "counts towards {}{what} within {within}, which then open an incident: {} to {to}",
            policy.threshold, policy.severity
        )
    } else {
        format!("opens an incident, unless one is open: {} to {to}", policy.severity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_lose_their_ends_and_nothing_else() {
        let mut input = &b"one\r\n\ntwo"[..];
        let mut line = Vec::new();
        let mut all = Vec::new();
        while let Some(l) = next_line(&mut input, &mut line).unwrap() {
            all.push(String::from_utf8(l.to_vec()).unwrap());
        }
        assert_eq!(all, ["one", "", "two"]);
    }

    #[test]
    fn an_endless_line_is_cut_and_the_next_is_whole() {
        let mut text = vec![b'x'; LINE_BYTES + 7];
        text.extend_from_slice(b"\nnext\n");
        let mut input = &text[..];
        let mut line = Vec::new();
        assert_eq!(next_line(&mut input, &mut line).unwrap().unwrap().len(), LINE_BYTES);
        assert_eq!(next_line(&mut input, &mut line).unwrap().unwrap(), b"next");
    }

    #[test]
    fn a_line_cannot_paint_the_terminal() {
        assert_eq!(printable("a\u{1b}[31m\tb"), "a\\u{1b}[31m\\tb");
    }
}
