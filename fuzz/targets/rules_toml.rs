//! Any bytes as a rules file and what it includes: no panic, every fault has its place, and no drawing tells a secret.
//!
//! NUL bytes part the input into files; the first is the one that is loaded, the others are what any `include` finds.

#![no_main]

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use logherald::config::{Env, Files, Look, Place, load_from};
use logherald::time::{Now, Tick, Wall};

/// As a webhook has it; a drawing may hold the URL, and never what stands in the place of the key.
const URL: &str = "https://chat.example/v1/spaces/A/messages?key=FUZZSECRET";
const SECRET: &str = "FUZZSECRET";

struct Parts(Vec<Vec<u8>>);

impl Parts {
    fn path(n: usize) -> PathBuf {
        PathBuf::from(format!("/etc/logherald/part{n}.toml"))
    }

    fn text(&self, path: &Path) -> String {
        String::from_utf8_lossy(&self.read(path).unwrap_or_default()).into_owned()
    }
}

impl Files for Parts {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let part = (0..self.0.len()).find(|n| Parts::path(*n) == path).map(|n| self.0[n].clone());
        part.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn glob(&self, _: &str) -> Vec<PathBuf> {
        (1..self.0.len()).map(Parts::path).collect()
    }

    fn written(&self, path: &Path) -> Option<Wall> {
        path.ends_with("syslog").then_some(Wall(1_795_000_000_000))
    }
}

fuzz_target!(|data: &[u8]| {
    let files = Parts(data.split(|b| *b == 0).take(4).map(<[u8]>::to_vec).collect());
    let now = Now { wall: Wall(1_795_325_160_000), tick: Tick(7) };
    let env = Env { host: Arc::from("web1"), tz: TimeZone::UTC, now };
    let loaded = load_from(&Parts::path(0), &env, &files);

    assert_eq!(loaded.settings.is_some(), loaded.errors() == 0 && loaded.without_faulty_rules().is_some());
    assert!(loaded.errors() > 0 || loaded.settings.is_some(), "no settings and no word why");
    let inside = |place: &Place| {
        let path = loaded.files.get(usize::from(place.file.0)).expect("a place is in one of the files");
        let text = files.text(path);
        assert!(text.get(place.span.clone()).is_some(), "{:?} in {} bytes", place.span, text.len());
    };
    let mut told = loaded.verdict();
    for fault in &loaded.faults {
        inside(&fault.place);
        fault.also.iter().for_each(|(place, _)| inside(place));
        assert!(!fault.message.is_empty() && !fault.message.contains('\n'), "{:?}", fault.message);
        assert!(fault.message.len() < 2_000, "{} bytes", fault.message.len());
        told += &loaded.sources.to_json(fault).to_string();
    }
    for look in [Look::Plain, Look::Coloured] {
        told += &loaded.render(look);
    }
    let secret_only_in_urls = files.0.iter().all(|part| {
        let text = String::from_utf8_lossy(part);
        !text.replace(URL, "").contains(SECRET)
    });
    assert!(!secret_only_in_urls || !told.contains(SECRET), "{told}");
});
