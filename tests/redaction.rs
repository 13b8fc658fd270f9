//! Does a secret that stands in a line ever leave the machine, or reach its disk?
//!
//! Every secret in here has the same word in its middle. The agent tells of the lines that hold them, is refused by
//! Chat, and stops; then every byte that it sent, wrote, printed or answered is searched for that word.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::harness::fake_chat::{FakeChat, Fault, Received};
use crate::harness::program::{Place, term};

/// Longer than anything here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// In the middle of every secret.
const WORD: &str = "Q7hushQ7";

fn lines() -> Vec<String> {
    let w = WORD;
    vec![
        format!("trouble a: login password={w} from 192.0.2.1"),
        format!("trouble b: {{\"user\":\"bob\",\"password\":\"x {w} \\\"y\\\"\",\"n\":1}}"),
        format!("trouble c: GET https://bob:{w}@h.example/x?sig={w}%3D&key=AIza{w}"),
        format!("trouble d: Authorization: Bearer aaaa{w}.bbbb"),
        format!("trouble e: pushed with ghp_{w}0123456789012345678901234567 to origin"),
        format!("trouble f: token eyJhbGciOi{w}.eyJzdWIiOi{w}.c2lnbmF0 seen"),
        format!("trouble g: -----BEGIN PRIVATE KEY----- MIIE{w} -----END PRIVATE KEY-----"),
        format!("trouble h: cookie session={w}; path=/"),
        format!("trouble i: mail from {w}@mail.example refused"),
        // behind what travels with a hit only the capture is seen
        format!("trouble j: {} password={w}", "x ".repeat(2000)),
    ]
}

/// Every file below `dir` that holds the word.
fn holding(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path));
        } else if path.is_file() && memchr::memmem::find(&fs::read(&path).unwrap(), WORD.as_bytes()).is_some()
        {
            found.push(path.display().to_string());
        }
    }
    found
}

#[test]
fn no_secret_of_a_line_leaves_the_machine_or_reaches_its_disk() {
    let chat = FakeChat::start();
    let place = Place::new().env("HOOK", &chat.webhook_url("OPS"));
    place.rules(
        "[space.ops]\nwebhook = { env = 'HOOK' }\nwait = '1ms'\n[space.screen]\nconsole = true\n\
         [route]\nerror = ['screen']\n\
         [redact]\nemails = true\nextra = ['(?<keep>session=)[^;]+']\n\
         [[rule]]\nname = 'trouble'\nfiles = ['DIR/logs/app.log']\nseverity = 'error'\nspace = 'ops'\n\
         match = 'trouble (?<which>\\w):.*?(?:password=(?<what>\\S+)|session=(?<session>[^;]+)|$)'\n\
         by = ['which', 'what', 'session']\nmessage = 'trouble {which} {what} {session}: {line}'\nmax_per_hour = 3600\n\
         [[rule]]\nname = 'kinds'\nfiles = ['DIR/logs/app.log']\nmatch = 'trouble'\nby = ['kind']\nspace = 'ops'\n",
    );
    fs::create_dir(place.path("logs")).unwrap();
    place.append("logs/app.log", "begun\n");
    let mut agent = place.start();
    // refused, and refused as plain text: a dead letter
    chat.next(Fault::status(400));
    chat.next(Fault::status(400));
    let lines = lines();
    place.append("logs/app.log", &format!("{}\n", lines[0]));
    agent.wait_for_status("a dead letter", |s| s["spaces"]["ops"]["dead_letters"] == 1);
    place.append("logs/app.log", &format!("{}\n", lines[1..].join("\n")));
    agent.wait_for_output("trouble j");
    let hits = |m: &[Received]| {
        m.iter().filter(|m| m.shown().contains("taken out")).map(Received::hits).sum::<u64>()
    };
    let said = chat.wait_until(DEADLINE, "card of every line", |m| hits(m) >= lines.len() as u64 - 1);
    let status = agent.wait_for_status("every hit", |s| term(s, "trouble", "hits") == lines.len() as u64);
    assert!(!status.to_string().contains(WORD), "{status:#}");
    agent.signal(rustix::process::Signal::TERM);
    let (code, printed) = agent.ends();
    assert_eq!(code, 0);
    assert!(!printed.join("\n").contains(WORD), "{printed:#?}");
    let said: Vec<String> = said.iter().map(|m| m.raw.clone()).collect();
    assert!(said.iter().any(|b| b.contains("[redacted]") && b.contains("1 secret taken out")), "{said:#?}");
    assert!(!said.join("\n").contains(WORD), "{said:#?}");
    assert_eq!(holding(&place.path("state")), [""; 0]);
}
