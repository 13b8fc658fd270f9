//! `logherald test`: scenarios. A log, rules and what happens meanwhile, with the messages that are expected and when.
//!
//! A scenario is one TOML file that an operator can read from top to bottom: what it shows, the rules, the steps with
//! their times, and at its end a transcript of what is said. It is played on the engine that runs, on a clock of its own,
//! so an hour of quiet takes no time. With `--write` the transcript is recorded instead of compared, for review.
//!
//! This file reads scenarios and writes transcripts into them; `scenario` plays, `transcript` compares.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use toml::Spanned;

use super::brief::count;
use super::scenario::{self, Happens, Scenario};
use super::{Done, Failure, exit, transcript};
use crate::agent::Answer;
use crate::judge::{Input as Told, SilenceOrder};
use crate::message::Fate;
use crate::time::Wall;

/// When a scenario begins that does not say so.
const START: &str = "2026-11-22T05:26:00Z";

/// A scenario is a page to read, not an archive, in bytes.
const FILE_BYTES: u64 = 1 << 20;

/// A line of a scenario comes at most so often.
const REPEATS: u32 = 1_000_000;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  logherald test scenarios/*.toml
  logherald test scenarios/ --write && git diff scenarios/

A scenario:
  rules = '''
  [[rule]]
  name = \"disk-full\"
  files = [\"/var/log/syslog\"]
  match = 'No space left on device'
  '''
  [[step]]
  at = \"+5s\"
  log = 'kernel: No space left on device'
  [expect]
  messages = ''

Steps also take file, fields, repeat and every (in the text the name n in
braces counts, and {time} or {syslog} is the time); agent = \"stops\", \"starts\", \"restarts\" or
\"reloads\", the last three with other rules if they are given; chat =
\"refuses\", \"drops\", \"is away\" or \"accepts\", for one space if it is given.
Exit status: 0 when every scenario holds, 65 when one does not.")]
pub(super) struct Args {
    /// Scenario files, or folders of them
    #[arg(value_name = "SCENARIO", required = true)]
    scenarios: Vec<PathBuf>,
    /// Write what is said into the files
    #[arg(long)]
    write: bool,
    /// As one JSON document
    #[arg(long)]
    json: bool,
}

/// A scenario as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    about: String,
    start: Option<Spanned<String>>,
    tz: Option<Spanned<String>>,
    #[serde(default = "host")]
    host: String,
    rules: Spanned<String>,
    until: Option<Spanned<String>>,
    #[serde(default)]
    step: Vec<Spanned<Step>>,
    expect: Option<Expect>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    at: Spanned<String>,
    log: Option<String>,
    file: Option<String>,
    #[serde(default)]
    fields: BTreeMap<String, String>,
    repeat: Option<Spanned<u32>>,
    every: Option<Spanned<String>>,
    agent: Option<Agent>,
    rules: Option<Spanned<String>>,
    chat: Option<Chat>,
    space: Option<String>,
    silence: Option<Silence>,
    unsilence: Option<String>,
}

/// As `logherald silence` is given it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Silence {
    rule: String,
    #[serde(default)]
    key: BTreeMap<String, String>,
    r#for: Spanned<String>,
    why: String,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Agent {
    Stops,
    Starts,
    Restarts,
    Reloads,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Chat {
    #[serde(rename = "accepts")]
    Accepts,
    #[serde(rename = "refuses")]
    Refuses,
    #[serde(rename = "drops")]
    Drops,
    #[serde(rename = "is away")]
    IsAway,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    #[serde(default)]
    form: transcript::Form,
    messages: Spanned<String>,
}

fn host() -> String {
    "web1".to_owned()
}

/// A fault of a scenario file, with its place in it.
struct Fault {
    at: usize,
    what: String,
    hint: Option<String>,
}

impl Fault {
    fn at(span: &Range<usize>, what: impl Into<String>, hint: impl Into<String>) -> Fault {
        Fault { at: span.start, what: what.into(), hint: Some(hint.into()) }
    }
}

pub(super) fn test(args: &Args) -> Done {
    let paths = paths(&args.scenarios)?;
    let mut out = std::io::BufWriter::new(anstream::stdout().lock());
    let (mut failed, mut written, mut broken, mut docs) = (0u64, 0u64, 0u64, Vec::new());
    for path in &paths {
        let text = read(path)?;
        let Played { said, expected, about } = match play(path, &text) {
            Ok(played) => played,
            // the others are played all the same: one run tells all
            Err(fault) => {
                broken += 1;
                let told = told(path, &text, &fault);
                if args.json {
                    docs.push(json!({ "scenario": path, "fault": told }));
                } else {
                    writeln!(out, "broken    {told}")?;
                }
                continue;
            }
        };
        let holds = expected.as_ref().is_some_and(|e| e.text == said);
        failed += u64::from(!holds);
        if args.write && !holds {
            fs::write(path, recorded(&text, expected.as_ref(), &said)).map_err(|e| {
                Failure::new(exit::DATA, format!("`{}` cannot be written: {e}", path.display()))
            })?;
            written += 1;
        }
        if args.json {
            let expected = expected.map(|e| e.text);
            docs.push(json!({ "scenario": path, "about": about.trim(), "holds": holds, "expected": expected, "said": said }));
        } else if holds {
            writeln!(out, "ok        {}", path.display())?;
        } else if args.write {
            writeln!(out, "recorded  {}", path.display())?;
        } else {
            writeln!(out, "differs   {}", path.display())?;
            let (expected, line) = expected.map_or((String::new(), 0), |e| (e.text, e.line));
            write!(out, "{}", transcript::difference(&expected, &said, line))?;
        }
    }
    if args.json {
        let docs = json!({ "scenarios": docs, "differ": failed, "written": written, "broken": broken });
        writeln!(out, "{docs:#}")?;
    } else {
        let n = paths.len() as u64;
        let verdict = match (failed, args.write) {
            (0, _) => "what they say is what they expect".to_owned(),
            (_, true) => format!("{written} recorded; look at the difference before you keep it"),
            (k, false) => format!("{k} not as expected; `--write` records what is said now"),
        };
        let verdict = match broken {
            0 => verdict,
            k => format!("{k} cannot be played; of the others: {verdict}"),
        };
        writeln!(out, "{}: {verdict}", count(n, "scenario"))?;
    }
    out.flush()?;
    let bad = broken > 0 || failed > 0 && !args.write;
    if bad { Err(Failure::silent(exit::DATA)) } else { Ok(()) }
}

/// The scenario files that are named, and those in the folders that are.
fn paths(named: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut found = Vec::new();
    for path in named {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let entries = fs::read_dir(path)
            .map_err(|e| Failure::new(exit::DATA, format!("`{}` cannot be read: {e}", path.display())))?;
        let files = entries.filter_map(Result::ok).map(|e| e.path());
        let mut files: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == "toml")).collect();
        files.sort();
        if files.is_empty() {
            let text = format!("there is no scenario in `{}`", path.display());
            return Err(Failure::new(exit::DATA, text).hint("scenarios are files whose names end in `.toml`"));
        }
        found.extend(files);
    }
    Ok(found)
}

fn read(path: &Path) -> Result<String, Failure> {
    let fault = |what: String| Failure::new(exit::DATA, format!("`{}` {what}", path.display()));
    let size = fs::metadata(path).map_err(|e| fault(format!("cannot be read: {e}")))?.len();
    if size > FILE_BYTES {
        return Err(fault("is longer than 1 MiB, and no scenario".to_owned()));
    }
    fs::read_to_string(path).map_err(|e| fault(format!("cannot be read: {e}")))
}

/// A fault with its place.
fn told(path: &Path, text: &str, fault: &Fault) -> String {
    let before = text.get(..fault.at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1;
    let hint = fault.hint.as_ref().map(|h| format!("\nhint: {h}")).unwrap_or_default();
    format!("{}:{line}:{column}: {}{hint}", path.display(), fault.what)
}

struct Played {
    about: String,
    said: String,
    expected: Option<Expected>,
}

struct Expected {
    text: String,
    /// Line of the file at which the first line of `text` stands.
    line: usize,
    span: Range<usize>,
}

fn play(path: &Path, text: &str) -> Result<Played, Fault> {
    let written: Written = toml::from_str(text).map_err(|e| {
        let at = e.span().map_or(0, |s| s.start);
        Fault { at, what: e.message().lines().collect::<Vec<_>>().join(" "), hint: None }
    })?;
    let form = written.expect.as_ref().map(|e| e.form).unwrap_or_default();
    let expected = written.expect.as_ref().map(|e| {
        let span = e.messages.span();
        let opened = text.get(span.clone()).unwrap_or_default();
        let before = text[..span.start].matches('\n').count() + 1;
        let line = before + usize::from(opened.starts_with("'''\n") || opened.starts_with("\"\"\"\n"));
        Expected { text: e.messages.get_ref().clone(), line, span }
    });
    let scenario = understood(path, &written)?;
    let said = scenario::play(&scenario, form).map_err(|(at, what)| Fault {
        at,
        what,
        hint: Some("see `logherald check`".to_owned()),
    })?;
    Ok(Played { about: written.about, said, expected })
}

fn understood(path: &Path, written: &Written) -> Result<Scenario, Fault> {
    let start = match &written.start {
        Some(text) => stamp(text.get_ref()).ok_or_else(|| {
            Fault::at(
                &text.span(),
                format!("`{}` is not a time", text.get_ref()),
                format!("write it like \"{START}\""),
            )
        })?,
        None => stamp(START).unwrap_or_default(),
    };
    let tz = match &written.tz {
        Some(name) => jiff::tz::TimeZone::get(name.get_ref()).map_err(|_| {
            Fault::at(
                &name.span(),
                format!("`{}` is not a time zone", name.get_ref()),
                "write it like \"Europe/Paris\"",
            )
        })?,
        None => jiff::tz::TimeZone::UTC,
    };
    let rules = rules(path, &written.rules)?;
    let mut happens = Vec::new();
    for step in &written.step {
        happens_in(path, step, start, &mut happens)?;
    }
    // a step's lines may go on while the next ones come
    happens.sort_by_key(|(at, ..)| *at);
    let until = written.until.as_ref().map(|t| moment(t, start)).transpose()?;
    let (rules_at, host) = (written.rules.span().start, written.host.as_str().into());
    Ok(Scenario { start, until, tz, host, rules, rules_at, happens })
}

fn happens_in(
    path: &Path,
    step: &Spanned<Step>,
    start: Wall,
    out: &mut Vec<(Wall, usize, Happens)>,
) -> Result<(), Fault> {
    let (place, of) = (step.span(), step.get_ref());
    let at = moment(&of.at, start)?;
    let one = "a step has one of `log`, `agent`, `chat`, `silence` and `unsilence`";
    let fault = |what: &str| Err(Fault::at(&place, what, one));
    if let Some(happens) = of.order()? {
        if of.log.is_some() || of.agent.is_some() || of.chat.is_some() {
            return fault("this step has more than one thing to happen");
        }
        out.push((at, place.start, happens));
        return Ok(());
    }
    match (&of.log, of.agent, of.chat) {
        (Some(text), None, None) => {
            if of.rules.is_some() || of.space.is_some() {
                return fault("`log` goes with `file`, `fields`, `repeat` and `every` alone");
            }
            let every = of.every.as_ref().map(span).transpose()?.unwrap_or_default();
            let repeat = of.repeat.as_ref().map_or(1, |n| *n.get_ref());
            if repeat > REPEATS {
                let n = of.repeat.as_ref().map_or(place.clone(), Spanned::span);
                return Err(Fault::at(
                    &n,
                    format!("{repeat} lines are too many"),
                    format!("at most {REPEATS}"),
                ));
            }
            for n in 0..repeat {
                let at = at + every.saturating_mul(n);
                let text = transcript::filled(text, n + 1, at);
                let happens = Happens::Log { text, file: of.file.clone(), fields: of.fields.clone() };
                out.push((at, place.start, happens));
            }
        }
        (None, Some(agent), None) => {
            let given = of.rules.as_ref().map(|r| rules(path, r)).transpose()?;
            let happens = match agent {
                Agent::Stops => Happens::Stops,
                Agent::Starts => Happens::Starts(given),
                Agent::Restarts => {
                    out.push((at, place.start, Happens::Stops));
                    Happens::Starts(given)
                }
                Agent::Reloads => Happens::Reloads(given),
            };
            out.push((at, place.start, happens));
        }
        (None, None, Some(chat)) => {
            let answer = match chat {
                Chat::Accepts => Answer::AtOnce(Fate::Delivered),
                Chat::Refuses => Answer::AtOnce(Fate::DeadLettered),
                Chat::Drops => Answer::AtOnce(Fate::Dropped),
                Chat::IsAway => Answer::Nothing,
            };
            let space = of.space.as_deref().map(Into::into);
            out.push((at, place.start, Happens::Chat { space, answer }));
        }
        (None, None, None) => return fault("nothing happens in this step"),
        _ => return fault("this step has more than one thing to happen"),
    }
    Ok(())
}

impl Step {
    /// An operator's order at the terminal.
    fn order(&self) -> Result<Option<Happens>, Fault> {
        let Some(silence) = &self.silence else {
            return Ok(self.unsilence.clone().map(|id| Happens::Order(Told::Unsilence(id))));
        };
        let order = SilenceOrder {
            rule: silence.rule.clone(),
            key: silence.key.clone().into_iter().collect(),
            length: span(&silence.r#for)?,
            author: "ana".to_owned(),
            why: silence.why.clone(),
        };
        Ok(Some(Happens::Order(Told::Silence(Box::new(order)))))
    }
}

/// Rules as they stand there, or those of the file that is named, beside the scenario.
fn rules(path: &Path, given: &Spanned<String>) -> Result<String, Fault> {
    let text = given.get_ref();
    if text.contains('\n') || Path::new(text).extension().is_none_or(|e| e != "toml") {
        return Ok(text.clone());
    }
    let beside = path.parent().unwrap_or(Path::new("")).join(text);
    fs::read_to_string(&beside).map_err(|e| {
        let what = format!("the rules `{}` cannot be read: {e}", beside.display());
        Fault::at(&given.span(), what, "the path is relative to the scenario")
    })
}

/// `+1h5s` after the start, or a stamp.
fn moment(text: &Spanned<String>, start: Wall) -> Result<Wall, Fault> {
    let is = text.get_ref();
    let at = match is.strip_prefix('+') {
        Some(after) => transcript::duration(after).map(|d| start + d),
        None => stamp(is),
    };
    let at = at.filter(|at| *at >= start);
    at.ok_or_else(|| {
        let hint =
            format!("write it like \"+1m5s\", counted from the start, or \"{START}\", not before the start");
        Fault::at(&text.span(), format!("`{is}` is not a time of this scenario"), hint)
    })
}

fn span(text: &Spanned<String>) -> Result<Duration, Fault> {
    transcript::duration(text.get_ref()).ok_or_else(|| {
        Fault::at(
            &text.span(),
            format!("`{}` is not a duration", text.get_ref()),
            "write it like \"10s\" or \"1m30s\"",
        )
    })
}

fn stamp(text: &str) -> Option<Wall> {
    text.parse::<jiff::Timestamp>().ok().map(|t| Wall(t.as_millisecond()))
}

/// The file with what was said in the place of what was expected.
fn recorded(text: &str, expected: Option<&Expected>, said: &str) -> String {
    let literal = if said.contains("'''") {
        format!("\"\"\"\n{}\"\"\"", said.replace('\\', "\\\\").replace("\"\"\"", "\"\"\\\""))
    } else {
        format!("'''\n{said}'''")
    };
    match expected {
        Some(e) => format!("{}{literal}{}", &text[..e.span.start], &text[e.span.end..]),
        None => format!("{}\n\n[expect]\nmessages = {literal}\n", text.trim_end()),
    }
}
