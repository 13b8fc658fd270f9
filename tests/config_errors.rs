//! What operators read when a rules file is wrong, to the character; and what a right one comes to.
//!
//! `config_errors/NAME.toml` is a rules file, `NAME.txt` beside it what is said of it. After a change of words run
//! the test with `BLESS=1`, and read the difference.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use logherald::alert::Severity;
use logherald::chat::{SecretSource, TokenWay, Way};
use logherald::config::{self, Env, Files, Gives, Loaded, Look};
use logherald::rules::{By, Pattern, RuleSpec};
use logherald::tail::{Format, From, Input, Join, Preset};
use logherald::time::{Now, Tick, Wall};
use proptest::prelude::*;

/// Files that are nowhere but here.
#[derive(Default)]
struct Fake {
    texts: BTreeMap<&'static str, &'static str>,
    logs: BTreeMap<&'static str, Wall>,
}

impl Files for Fake {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = path.to_str().and_then(|p| self.texts.get(p));
        text.map(|t| t.as_bytes().to_vec()).ok_or_else(|| io::Error::from(io::ErrorKind::PermissionDenied))
    }

    fn glob(&self, pattern: &str) -> Vec<PathBuf> {
        let glob = globset::Glob::new(pattern).expect("only good globs are asked for").compile_matcher();
        // in the wrong order on purpose
        let all = self.texts.keys().chain(self.logs.keys()).rev();
        all.filter(|p| glob.is_match(p)).map(PathBuf::from).collect()
    }

    fn written(&self, path: &Path) -> Option<Wall> {
        self.logs.get(path.to_str()?).copied()
    }
}

const SHIPPED: &str = include_str!("../rules.toml");
const RULE: &str = "[[rule]]\nname = 'x'\njournal = true\nmatch = 'a'\n";
const NOW: Wall = Wall(1_790_000_000_000);

fn env() -> Env {
    Env { host: "h1".into(), tz: jiff::tz::TimeZone::UTC, now: Now { wall: NOW, tick: Tick(0) } }
}

fn load(text: &str) -> Loaded {
    load_with(text, &Fake::default())
}

fn load_with(text: &str, files: &Fake) -> Loaded {
    config::load_text(Path::new("/etc/rules.toml"), text, &env(), files)
}

/// The one door: a rules file, and what is said of it.
fn faults(text: &str) -> String {
    load(text).render(Look::Plain)
}

#[test]
fn every_fault_is_told_to_the_character() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/config_errors");
    let mut cases = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "toml") {
            continue;
        }
        cases += 1;
        let mut found = faults(&std::fs::read_to_string(&path).unwrap());
        if !found.is_empty() {
            found.push('\n');
        }
        let wanted = path.with_extension("txt");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&wanted, &found).unwrap();
        }
        assert_eq!(found, std::fs::read_to_string(&wanted).unwrap(), "{}", path.display());
    }
    assert!(cases > 30, "{cases}");
}

#[test]
fn a_verdict_counts() {
    let eight = include_str!("config_errors/eight_different_faults_are_told_in_one_run.toml");
    assert_eq!(load(eight).verdict(), "9 errors");
    assert_eq!(load("").verdict(), "1 warning");
    assert_eq!(load(RULE).verdict(), "no fault");
}

#[test]
fn the_shipped_rules_are_without_fault() {
    let loaded = load(SHIPPED);
    assert_eq!(loaded.render(Look::Plain), "");
    let settings = loaded.settings.unwrap();
    let mut failed = Vec::new();
    for test in &settings.tests {
        let rule = &settings.rules[test.rule.0 as usize];
        let given = tried(rule, &test.line);
        let ok = match (&test.gives, &given) {
            (Gives::Captures(wanted), Gives::Captures(found)) => wanted.iter().all(|w| found.contains(w)),
            (wanted, found) => wanted == found,
        };
        if !ok {
            failed.push(format!("{} test {}: {:?}, but {given:?}", rule.name, test.no, test.gives));
        }
    }
    assert_eq!(failed, Vec::<String>::new());
    assert!(settings.rules.iter().all(|r| settings.tests.iter().any(|t| t.rule == r.no)));
}

/// What a rule makes of a line, by its regexes alone.
fn tried(rule: &RuleSpec, line: &str) -> Gives {
    let Some(found) = rule.pattern.regex().captures(line.as_bytes()) else { return Gives::Nothing };
    if rule.exclude.iter().any(|p| p.regex().is_match(line.as_bytes())) {
        return Gives::Excluded;
    }
    let value = |name: &String| {
        Some((name.clone(), String::from_utf8_lossy(found.name(name)?.as_bytes()).into_owned()))
    };
    Gives::Captures(rule.captures.iter().filter_map(value).collect())
}

/// Names and patterns of the rules that would run, and what was said.
fn ran(main: &str, included: &[(&'static str, &'static str)]) -> (String, String) {
    let files = Fake { texts: included.iter().copied().collect(), ..Fake::default() };
    let loaded = load_with(main, &files);
    let set = loaded.without_faulty_rules();
    let rules = set.iter().flat_map(|s| &s.rules).map(|r| format!("{}={}", r.name, r.pattern.text));
    (rules.collect::<Vec<_>>().join(" "), loaded.render(Look::Plain))
}

#[test]
fn included_files_come_in_the_order_of_their_names() {
    let main = format!("include = ['rules.d/*.toml']\n{RULE}");
    let packs = [
        ("/etc/rules.d/b.toml", "[[rule]]\nname = 'b'\njournal = true\nmatch = 'b'\n"),
        ("/etc/rules.d/a.toml", "[[rule]]\nname = 'c'\njournal = true\nmatch = 'c'\n"),
        ("/etc/rules.d/a.txt", "not toml"),
    ];
    assert_eq!(ran(&main, &packs), ("x=a c=c b=b".into(), String::new()));
}

#[test]
fn a_drop_in_replaces_a_rule_or_switches_it_off() {
    let main =
        format!("include = ['rules.d/*.toml']\n{RULE}[[rule]]\nname = 'y'\njournal = true\nmatch = 'y'\n");
    let packs = [
        ("/etc/rules.d/1.toml", "[[rule]]\nname = 'x'\noverride = true\njournal = true\nmatch = 'b'\n"),
        ("/etc/rules.d/2.toml", "[[rule]]\nname = 'y'\nenabled = false\n"),
    ];
    assert_eq!(ran(&main, &packs), ("x=b".into(), String::new()));
}

#[test]
fn a_rule_of_a_pack_is_replaced_by_the_main_file_too() {
    let main = format!("include = ['pack.toml']\n{RULE}override = true\n");
    let pack = ("/etc/pack.toml", "[[rule]]\nname = 'x'\njournal = true\nmatch = 'vendor'\n");
    assert_eq!(ran(&main, &[pack]), ("x=a".into(), String::new()));
}

#[test]
fn a_faulty_override_leaves_the_rule_it_would_replace() {
    let main = format!("{RULE}[[rule]]\nname = 'x'\noverride = true\njournal = true\nmatch = '(?=b)'\n");
    assert_eq!(ran(&main, &[]).0, "x=a");
}

#[test]
fn one_name_in_two_files_points_at_both() {
    let main = format!("include = ['pack.toml']\n{RULE}");
    let pack = ("/etc/pack.toml", "[[rule]]\nname = 'x'\njournal = true\nmatch = 'vendor'\n");
    let (rules, said) = ran(&main, &[pack]);
    assert_eq!(rules, "x=a");
    let wanted = "\
error: rule `x`: there are two rules named `x`
 --> /etc/pack.toml:2:8
  |
2 | name = 'x'
  |        ^^^
  |
 ::: /etc/rules.toml:3:8
  |
3 | name = 'x'
  |        --- first here
  |
  = hint: give it another name, or say override = true to replace the earlier";
    assert_eq!(said, wanted);
}

#[test]
fn an_included_file_holds_rules_and_sources_only() {
    let main = format!("include = ['pack.toml', 'gone.toml', '*.secret']\n{RULE}");
    let pack = ("/etc/pack.toml", "include = ['more.toml']\n\n[space.ops]\nconsole = true\n");
    let (rules, said) = ran(&main, &[pack]);
    assert_eq!(rules, "", "a fault outside rules leaves no set to boot with");
    let wanted = "\
error: `/etc/gone.toml` is not there
 --> /etc/rules.toml:1:25
  |
1 | include = ['pack.toml', 'gone.toml', '*.secret']
  |                         ^^^^^^^^^^^
  |
  = hint: make it, or write a glob: that may match nothing

error: `include` in an included file, which holds only `rule`, `source` and `mute`
 --> /etc/pack.toml:1:1
  |
1 | include = ['more.toml']
  | ^^^^^^^
  |
  = hint: move it to the file that includes this one

error: `space` in an included file, which holds only `rule`, `source` and `mute`
 --> /etc/pack.toml:3:2
  |
3 | [space.ops]
  |  ^^^^^
  |
  = hint: move it to the file that includes this one";
    assert_eq!(said, wanted);
}

#[test]
fn a_file_that_cannot_be_read_is_a_fault_with_a_remedy() {
    let loaded = config::load_from(Path::new("/etc/rules.toml"), &env(), &Fake::default());
    let wanted = "\
error: cannot read `/etc/rules.toml`: permission denied
--> /etc/rules.toml
 = hint: rules hold no secret: chmod 0644, and 0755 for the folders above";
    assert_eq!(loaded.render(Look::Plain), wanted);
    assert!(loaded.settings.is_none() && loaded.without_faulty_rules().is_none());
}

#[test]
fn a_fault_in_a_rule_leaves_out_that_rule_and_no_other() {
    let main = format!("{RULE}\n[[rule]]\nname = 'y'\njournal = true\nmatch = '(?=a)'\n");
    assert!(load(&main).settings.is_none(), "a reload is all or nothing");
    assert_eq!(ran(&main, &[]).0, "x=a");
    assert_eq!(ran(&format!("nonsense = 1\n{main}"), &[]).0, "");
    assert_eq!(ran(&format!("{main}[broken\n"), &[]).0, "");
}

#[test]
fn a_rule_with_an_unknown_space_still_watches_and_tells_admin() {
    let loaded = load(&format!("[space.ops]\nconsole = true\n{RULE}space = 'nowhere'\n"));
    assert!(loaded.settings.is_none());
    let set = loaded.without_faulty_rules().unwrap();
    assert_eq!(set.policy.rules[0].spaces, ["ops".into()]);
}

#[test]
fn left_out_keys_have_the_documented_defaults() {
    let set = load(RULE).settings.unwrap();
    let (rule, space) = (&set.policy.rules[0], &set.policy.spaces[0]);
    assert_eq!((rule.threshold, rule.within, rule.max_per_hour), (1, Duration::ZERO, 30));
    assert_eq!((rule.remind, rule.quiet), (Duration::from_secs(3600), Duration::from_secs(600)));
    assert_eq!(
        (rule.severity, &*rule.spaces[0], &*set.policy.admin),
        (Severity::Warning, "console", "console")
    );
    assert_eq!((space.wait, space.wait_at_most), (Duration::ZERO, Duration::from_secs(30)));
    assert_eq!((space.max_per_hour, space.digest_every), (60, Duration::from_secs(600)));
    assert_eq!(set.policy.late_after, Duration::from_secs(3600));
    assert_eq!(set.targets[0].way, Way::Console);
    let spec = &set.sources[0];
    assert_eq!((&*spec.name, spec.max_line, spec.from), ("journal", 256 << 10, From::End));
}

#[test]
fn what_is_said_is_what_is_built() {
    let text = r#"
admin = "ops"
[chat]
api_url = "http://127.0.0.1:8900/"
[space.oncall]
name = "spaces/AAAA1234"
service_account = { file = "/etc/key.json" }
token = "exchange"
max_per_hour = 120
[space.ops]
webhook = { env = "OPS" }
wait = "1m"
[route]
critical = ["oncall", "ops"]
[defaults]
severity = "critical"
space = "ops"
[[rule]]
name = "x"
files = ["/var/log/a*.log"]
match = '(?<user>\w+) (?<host>\w+)'
by = ["user", "kind", "host"]
threshold = 3
within = "20m"
[[rule]]
name = "y"
files = ["/var/log/b.log", "/var/log/a*.log"]
match = 'b'
severity = "info"
"#;
    let loaded = load(text);
    assert_eq!(loaded.render(Look::Plain), "");
    let set = loaded.settings.unwrap();
    let Input::Files { globs, .. } = &set.sources[0].input else { panic!("{:?}", set.sources) };
    assert_eq!((set.sources.len(), &*set.sources[0].name), (1, "files"));
    assert_eq!(*globs, ["/var/log/a*.log", "/var/log/b.log"]);
    assert_eq!(set.rules[0].only_files, ["/var/log/a*.log"]);
    assert_eq!(set.rules[0].by, [By::Capture("user".into()), By::Kind, By::Capture("host".into())]);
    let [x, y] = set.policy.rules.as_slice() else { panic!("two rules") };
    assert_eq!(
        (x.quiet, x.spaces.as_slice()),
        (Duration::from_secs(1200), &["ops".into(), "oncall".into()][..])
    );
    assert_eq!((y.severity, y.spaces.as_slice()), (Severity::Info, &["ops".into()][..]));
    let way = Way::Rest {
        space: "spaces/AAAA1234".into(),
        key: Some(SecretSource::File("/etc/key.json".into())),
        token: TokenWay::Exchange,
        api_url: "http://127.0.0.1:8900".into(),
    };
    assert_eq!(set.targets[0].way, way);
    assert_eq!(set.targets[1].way, Way::Webhook(SecretSource::Env("OPS".into())));
    let waits: Vec<_> =
        set.policy.spaces.iter().map(|s| (s.wait.as_secs(), s.wait_at_most.as_secs())).collect();
    assert_eq!(waits, [(5, 30), (60, 60)]);
}

#[test]
fn what_lines_are_wrapped_in_is_said_to_those_who_read_them() {
    let text = r#"
[[source]]
name = "a"
files = ["/a"]
start = '^{ip} '
format = "docker"
encoding = "latin1"
[[source]]
name = "b"
stdin = true
join = "python"
[[rule]]
name = "x"
source = "a"
match = '(?<user>\w+)'
where = { http = { status = [0x1F4, 1_000, 1.50] }, "field.level" = "error", ok = true }
by = ["stream", "field.host", "host", "user"]
message = "{user} {stream} {level} {level}"
tests = [{ line = 'a', fields = { stream = "stderr", n = 7 }, gives = { level = "x" } }]
[[rule]]
name = "y"
source = "b"
match = 'y'
"#;
    let loaded = load(text);
    assert_eq!(loaded.render(Look::Plain), "");
    let set = loaded.settings.unwrap();
    let [a, b] = set.sources.as_slice() else { panic!("{:?}", set.sources) };
    let start = Pattern::new("^{ip} ").unwrap().expanded;
    assert_eq!((&a.join, a.format, a.encoding.name()), (&Join::Start(start), Format::Docker, "windows-1252"));
    assert_eq!((&b.input, &b.join, b.format), (&Input::Stdin, &Join::Preset(Preset::Python), Format::Plain));
    let rule = &set.rules[0];
    let wanted = [("http.status", &["500", "1000", "1.50"][..]), ("level", &["error"]), ("ok", &["true"])];
    let conditions: Vec<(&str, Vec<&str>)> = rule
        .fields
        .iter()
        .map(|w| (w.field.as_str(), w.values.iter().map(String::as_str).collect()))
        .collect();
    assert_eq!(conditions, wanted.map(|(f, v)| (f, v.to_vec())));
    let capture = |name: &str| By::Capture(name.into());
    assert_eq!(rule.by, [capture("stream"), capture("field.host"), By::Host, capture("user")]);
    assert_eq!(rule.captures, ["user", "stream", "field.host", "level"]);
    assert_eq!(set.policy.rules[0].captures, rule.captures);
    let fields: Vec<(&str, &str)> = set.tests[0].fields.iter().map(|f| (&*f.name, &*f.value)).collect();
    assert_eq!(fields, [("stream", "stderr"), ("n", "7")]);
}

#[test]
fn a_rule_has_the_conditions_of_defaults_unless_it_has_its_own() {
    let text = "[defaults]\njournal = true\nwhere = { PRIORITY = 3 }\n[[rule]]\nname = 'x'\nmatch = 'x'\n\
                [[rule]]\nname = 'y'\nmatch = 'y'\nwhere = {}\n";
    let set = load(text).settings.expect("no fault");
    assert_eq!(set.rules.iter().map(|r| r.fields.len()).collect::<Vec<_>>(), [1, 0]);
}

#[test]
fn what_a_rule_asks_is_bounded() {
    let list = |n: usize, one: &dyn Fn(usize) -> String| (0..n).map(one).collect::<Vec<_>>().concat();
    let many = |n| list(n, &|i| format!("{{f{i}}}"));
    let rule = |more: &str| faults(&format!("{RULE}{more}\n"));
    assert_eq!(rule(&format!("message = '{}'", many(32))), "");
    assert!(rule(&format!("message = '{}'", many(33))).contains("asks for more than 32 fields"));
    let table = |n| list(n, &|i| format!("f{i} = 1,"));
    assert!(rule(&format!("where = {{ {} }}", table(33))).contains("`where` has 33 conditions"));
    let values = "1,".repeat(101);
    assert!(rule(&format!("where = {{ f = [{values}] }}")).contains("`f` has 101 values, expected 1 to 100"));
    let long = "f".repeat(257);
    assert!(rule(&format!("by = ['{long}']")).contains("cannot be the name of a field"));
}

/// The sources of one rule with both `files` and `journal`, on a machine with these logs.
fn read_with(logs: &[(&'static str, Wall)]) -> String {
    let text =
        "[[rule]]\nname = 'x'\nmatch = 'a'\nfiles = ['/var/log/syslog', '/var/log/m*']\njournal = true\n";
    let files = Fake { logs: logs.iter().copied().collect(), ..Fake::default() };
    let set = load_with(text, &files).settings.expect("no fault");
    set.sources.iter().map(|s| s.name.to_string()).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_journal_stands_in_where_nobody_writes_the_files() {
    let day = Duration::from_secs(86_400);
    assert_eq!(read_with(&[]), "files journal");
    assert_eq!(read_with(&[("/var/log/messages", NOW - day)]), "files");
    assert_eq!(read_with(&[("/var/log/syslog", NOW - day * 30)]), "files journal");
    assert_eq!(read_with(&[("/var/log/other", NOW)]), "files journal");
}

#[test]
fn a_window_is_begun_anew_when_what_it_counts_changes_and_only_then() {
    let print = |more: &str| load(&format!("{RULE}{more}")).settings.unwrap().policy.rules[0].fingerprint;
    assert_eq!(print(""), print("message = 'm'\nremind = '2h'\nseverity = 'info'\n"));
    assert_ne!(print(""), print("exclude = ['b']\n"));
    assert_ne!(print("threshold = 2\nwithin = '1m'\n"), print("threshold = 2\nwithin = '2m'\n"));
    assert_ne!(print("by = ['file']\n"), print("by = ['kind']\n"));
    assert_eq!(print(""), print("where = {}\n"));
    assert_ne!(print(""), print("where = { a = 1 }\n"));
    assert_ne!(print("where = { a = [1, 2] }\n"), print("where = { a = 1 }\n"));
    // it is kept in the state on disk: another value after an update would forget every window
    assert_eq!(print(""), 10_631_437_815_079_070_730);
}

#[test]
fn the_folders_to_watch_are_those_of_every_file() {
    let main = "include = ['rules.d/*.toml', '/usr/share/packs/web.toml']\n";
    let files = Fake { texts: BTreeMap::from([("/usr/share/packs/web.toml", RULE)]), ..Fake::default() };
    let loaded = load_with(main, &files);
    let shown =
        |paths: &[PathBuf]| paths.iter().map(|d| d.display().to_string()).collect::<Vec<_>>().join(" ");
    assert_eq!(shown(&loaded.watch_dirs), "/etc /etc/rules.d /usr/share/packs");
    assert_eq!(shown(&loaded.files), "/etc/rules.toml /usr/share/packs/web.toml");
}

#[test]
fn bounds_hold() {
    let long = format!("{RULE}message = '{}'\n", "m".repeat(2001));
    assert!(faults(&long).contains("`message` has 2001 characters, expected at most 2000"));
    let many = |n: usize| (0..n).fold(String::new(), |all, i| all + &RULE.replace("'x'", &format!("'x{i}'")));
    assert_eq!(load(&many(2000)).settings.unwrap().rules.len(), 2000);
    assert!(faults(&many(2001)).starts_with("error: more than 2000 rules"));
    assert!(faults(&"#".repeat((1 << 20) + 1)).starts_with("error: the file is longer than 1 MiB"));
}

#[test]
fn a_byte_that_is_not_utf8_has_a_place() {
    struct Latin;
    impl Files for Latin {
        fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
            Ok(b"[[rule]]\nname = 'caf\xe9'\n".to_vec())
        }
        fn glob(&self, _: &str) -> Vec<PathBuf> {
            Vec::new()
        }
        fn written(&self, _: &Path) -> Option<Wall> {
            None
        }
    }
    let loaded = config::load_from(Path::new("/etc/rules.toml"), &env(), &Latin);
    let said = loaded.render(Look::Plain);
    let wanted = "error: a byte here is not UTF-8, which TOML is written in\n --> /etc/rules.toml:2:12";
    assert!(said.contains(wanted), "{said}");
    assert!(loaded.without_faulty_rules().is_none());
}

/// Every fault can be drawn and has a place inside its file; there are no settings with an error.
fn sound(text: &str) {
    let loaded = load(text);
    let (drawn, coloured) = (loaded.render(Look::Plain), loaded.render(Look::Coloured));
    assert!(coloured.len() >= drawn.len());
    assert!(!drawn.contains("key=K"), "{drawn}");
    let lines: Vec<&str> = text.split('\n').collect();
    for fault in &loaded.faults {
        let (line, column) = loaded.sources.line_column(&fault.place);
        assert!((1..=lines.len()).contains(&line), "{fault:?}");
        assert!((1..=lines[line - 1].chars().count() + 1).contains(&column), "{fault:?}");
        assert!(fault.place.span.start <= text.len() && fault.place.span.end <= text.len(), "{fault:?}");
    }
    assert_eq!(loaded.settings.is_some(), loaded.errors() == 0, "{drawn}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in "(?s).{0,200}") {
        sound(&text);
    }

    #[test]
    fn no_mixture_of_keys_panics(lines in proptest::collection::vec(line(), 0..25)) {
        sound(&lines.join("\n"));
    }

    #[test]
    fn no_mutation_of_the_shipped_rules_panics(
        at in any::<prop::sample::Index>(),
        cut in 0..40_usize,
        put in r#"[\[\]{}'"\\=.,()?<>*a-zé0-9 \n]{0,6}"#,
    ) {
        let start = SHIPPED.find("[[rule]]\nname = \"disk-full\"").unwrap();
        let part = &SHIPPED[start..start + 3000];
        let from = part.floor_char_boundary(at.index(part.len()));
        let to = part.ceil_char_boundary((from + cut).min(part.len()));
        sound(&format!("[defaults]\njournal = true\n{}{put}{}", &part[..from], &part[to..]));
    }
}

const HEADERS: [&str; 6] = ["[[rule]]", "[[source]]", "[space.a]", "[defaults]", "[route]", "[chat]"];
const KEYS: [&str; 40] = [
    "new",
    "mask",
    "distinct",
    "top",
    "resolve",
    "hold",
    "say_end",
    "where",
    "stdin",
    "start",
    "join",
    "format",
    "encoding",
    "name",
    "match",
    "exclude",
    "by",
    "threshold",
    "within",
    "files",
    "journal",
    "source",
    "space",
    "message",
    "tests",
    "webhook",
    "console",
    "critical",
    "api_url",
    "admin",
    "include",
    "runbook",
    "override",
    "expect",
    "tz",
    "max_line",
    "service_account",
    "wait",
    "enabled",
    "naem",
];
const VALUES: [&str; 34] = [
    "{ learn = '48h' }",
    "{ every = '10m', keys = ['a'] }",
    "{ daily_by = '03:30', from = '01:00', tz = 'UTC' }",
    "[{ line = 'a', gives = 'resolved', key = { u = 'b' } }]",
    "'json'",
    "'java'",
    "'latin1'",
    "{ level = 'a', http.status = [1, true] }",
    "{ a = { b = {} } }",
    "[{ line = 'a', fields = { a = 1 }, gives = {} }]",
    "true",
    "false",
    "1",
    "-7",
    "1e3",
    "'a'",
    "'a.*(?<u>b)'",
    "''",
    "'(?!x)'",
    "\"\\b\"",
    "['a', 'u']",
    "[]",
    "[1, 'x']",
    "{}",
    "{ env = 'X' }",
    "{ line = 'a', gives = 'nothing' }",
    "[{ line = 'a', gives = { u = 'b' } }]",
    "'5m'",
    "'/var/log/x'",
    "['/var/log/*']",
    "1979-05-27",
    "'{hits} {nope}'",
    "'https://h/?key=K'",
    "'''\nm\n'''",
];

/// A line of a rules file, more or less.
fn line() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        prop::sample::select(&VALUES[..]).prop_map(str::to_owned),
        r"'[a-z(){}*?.|\\\[\]^$<>=!]{0,12}'",
    ];
    let pair = (prop::sample::select(&KEYS[..]), value).prop_map(|(k, v)| format!("{k} = {v}"));
    prop_oneof![1 => prop::sample::select(&HEADERS[..]).prop_map(str::to_owned), 4 => pair]
}
