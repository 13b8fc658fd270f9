//! The fields of any bytes: asked by any name without a panic, and what is written as `key=value` reads back.
//!
//! The input is taken twice: as a line that somebody else wrote, with its own words as names, and as pairs for a writer
//! that quotes what it must.

#![no_main]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use logherald::line::Field;
use logherald::rules::Fields;

/// Names that are asked of one line.
const NAMES: usize = 32;

#[derive(Arbitrary, Debug)]
enum Input<'a> {
    Line(&'a [u8]),
    Pairs(Vec<(String, String)>),
}

/// As a careful program writes it.
fn written(pairs: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    for (key, value) in pairs {
        let mut quoted = String::new();
        for c in value.chars() {
            match c {
                '"' => quoted.push_str("\\\""),
                '\\' => quoted.push_str("\\\\"),
                '\n' => quoted.push_str("\\n"),
                '\r' => quoted.push_str("\\r"),
                '\t' => quoted.push_str("\\t"),
                '\0'..='\x1f' => _ = write!(quoted, "\\u{:04x}", u32::from(c)),
                c => quoted.push(c),
            }
        }
        _ = write!(out, "{key}=\"{quoted}\" ");
    }
    out
}

fn any_line(line: &[u8]) {
    let wrapping = [Field { name: "stream".into(), value: "stderr".into() }];
    let mut fields = Fields::new(&wrapping, line);
    assert_eq!(fields.get("stream").as_deref(), Some("stderr"));
    let text = String::from_utf8_lossy(line);
    let names = text.split(|c: char| "\" =:,{}".contains(c)).filter(|n| !n.is_empty()).take(NAMES);
    for name in names.chain(["", ".", "a.b.c"]) {
        let first = fields.get(name);
        assert_eq!(first, fields.get(name), "the same answer whenever it is asked");
        assert_eq!(first, Fields::new(&wrapping, line).get(name), "whatever was asked before");
    }
    let object = line.trim_ascii_start().starts_with(b"{");
    if let Ok(serde_json::Value::Object(members)) = serde_json::from_slice(line) {
        assert!(object);
        for (name, value) in members.iter().filter(|(n, _)| *n != "stream").take(NAMES) {
            let found = fields.get(name);
            match value {
                serde_json::Value::String(text) => assert_eq!(found.as_deref(), Some(text.as_str())),
                serde_json::Value::Bool(flag) => {
                    assert_eq!(found.as_deref(), Some(flag.to_string().as_str()))
                }
                serde_json::Value::Number(_) => assert!(found.is_some()),
                serde_json::Value::Null if !name.contains('.') => assert_eq!(found, None),
                serde_json::Value::Null => {}
                inner => {
                    let found = found.expect("it is there");
                    assert_eq!(serde_json::from_str::<serde_json::Value>(&found).ok().as_ref(), Some(inner));
                }
            }
        }
    }
}

fuzz_target!(|input: Input<'_>| match input {
    Input::Line(line) => any_line(line),
    Input::Pairs(pairs) => {
        let name = |key: String| key.replace(|c: char| c.is_ascii_whitespace() || "=\"".contains(c), "_");
        let mut pairs: BTreeMap<String, String> = pairs.into_iter().map(|(k, v)| (name(k), v)).collect();
        // a first key that begins with a brace would be an object
        pairs.retain(|k, _| !k.is_empty() && !k.starts_with('{'));
        let line = written(&pairs);
        let mut fields = Fields::new(&[], line.as_bytes());
        for (key, value) in &pairs {
            assert_eq!(fields.get(key).as_deref(), Some(value.as_str()), "{line}");
        }
    }
});
