//! The fields of a line: what its wrapping says of it, and what its own text says as JSON or `key=value`.
//!
//! A rule asks by name, after it matched; a line that nobody asks is never read. The first question reads the text
//! once, whatever the number of rules that ask, and an object inside an object is read when somebody reaches into it.
//! The surprise: a value is handed out as it is *written*. `1.50` stays `1.50` and an id of thirty digits keeps them
//! all, because no number is ever made of one.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::line::Field;

/// Says that a field is meant, where a capture or a built-in name is called the same.
const PREFIX: &str = "field.";

/// The name of the field that `by`, a message or a test means by `asked`: `field.host` is the field `host`.
pub fn meant(asked: &str) -> &str {
    asked.strip_prefix(PREFIX).filter(|name| !name.is_empty()).unwrap_or(asked)
}

/// The fields of one line.
#[derive(Debug)]
pub struct Fields<'a> {
    wrapper: &'a [Field],
    text: &'a [u8],
    read: Read<'a>,
}

/// What the text turned out to be. The maps are bounded by the line, and gone with it.
#[derive(Debug)]
enum Read<'a> {
    NotYet,
    Json(Object<'a>),
    Logfmt(HashMap<Cow<'a, str>, Cow<'a, str>>),
}

impl<'a> Fields<'a> {
    /// Of a line with this text, and with these fields from its wrapping. Reads nothing yet.
    pub fn new(wrapper: &'a [Field], text: &'a [u8]) -> Fields<'a> {
        Fields { wrapper, text, read: Read::NotYet }
    }

    /// The value of a field, of any length; `None` where there is none, and for the `null` of JSON.
    ///
    /// The wrapping is asked first: no text can say another stream or unit than its own. In a JSON object a name is
    /// looked up whole, then as a path: `http.status` is the key `http.status`, or else `status` in `http`. Of a key
    /// that stands twice JSON's last counts, as for every reader of JSON, and the first of `key=value`.
    pub fn get(&mut self, name: &str) -> Option<Cow<'a, str>> {
        if let Some(field) = self.wrapper.iter().find(|f| f.name == name) {
            return Some(Cow::Borrowed(&field.value));
        }
        if matches!(self.read, Read::NotYet) {
            self.read = Read::of(self.text);
        }
        match &mut self.read {
            Read::Json(object) => object.get(name),
            Read::Logfmt(pairs) => pairs.get(name).cloned(),
            Read::NotYet => None,
        }
    }
}

impl<'a> Read<'a> {
    fn of(text: &'a [u8]) -> Read<'a> {
        if !text.trim_ascii_start().starts_with(b"{") {
            let mut all = HashMap::new();
            for (key, value) in (Pairs { rest: text }) {
                all.entry(key).or_insert(value);
            }
            return Read::Logfmt(all);
        }
        let object = std::str::from_utf8(text).ok().and_then(Object::read);
        // what begins like an object and is none has no fields
        Read::Json(object.unwrap_or_default())
    }
}

/// An object of JSON, its values as they are written.
#[derive(Debug, Default)]
struct Object<'a>(HashMap<String, Member<'a>>);

/// A value of it, and the object that it is, once somebody reached into it.
#[derive(Debug)]
struct Member<'a> {
    raw: &'a str,
    inner: Option<Box<Object<'a>>>,
}

impl<'a> Object<'a> {
    /// The whole of `json` as one object. Its values are only passed by: how deep they are nested does not matter.
    fn read(json: &'a str) -> Option<Object<'a>> {
        let mut from = serde_json::Deserializer::from_str(json);
        let object = from.deserialize_map(Members).ok()?;
        from.end().is_ok().then_some(object)
    }

    /// As deep as `name` has dots.
    fn get(&mut self, name: &str) -> Option<Cow<'a, str>> {
        if let Some(value) = self.0.get(name).and_then(Member::value) {
            return Some(value);
        }
        let (first, rest) = name.split_once('.')?;
        let member = self.0.get_mut(first)?;
        if member.inner.is_none() {
            let object = if member.raw.starts_with('{') { Object::read(member.raw) } else { None };
            member.inner = Some(Box::new(object.unwrap_or_default()));
        }
        member.inner.as_mut()?.get(rest)
    }
}

impl<'a> Member<'a> {
    fn value(&self) -> Option<Cow<'a, str>> {
        match self.raw.as_bytes().first()? {
            b'n' => None,
            b'"' if self.raw.contains('\\') => serde_json::from_str(self.raw).ok().map(Cow::Owned),
            b'"' => self.raw.get(1..self.raw.len() - 1).map(Cow::Borrowed),
            b'{' | b'[' => Some(compact(self.raw)),
            _ => Some(Cow::Borrowed(self.raw)),
        }
    }
}

/// Takes the members of an object.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object<'de>, M::Error> {
        let mut all = HashMap::new();
        while let Some((key, value)) = map.next_entry::<String, &'de RawValue>()? {
            all.insert(key, Member { raw: value.get(), inner: None });
        }
        Ok(Object(all))
    }
}

/// JSON without the white space between its parts.
fn compact(json: &str) -> Cow<'_, str> {
    let kept = || {
        let (mut quoted, mut escaped) = (false, false);
        move |c: &char| {
            let inside = quoted;
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = quoted,
                '"' => quoted = !quoted,
                _ => {}
            }
            inside || !matches!(c, ' ' | '\t' | '\r' | '\n')
        }
    };
    let mut keep = kept();
    if json.chars().all(|c| keep(&c)) {
        return Cow::Borrowed(json);
    }
    Cow::Owned(json.chars().filter(kept()).collect())
}

/// The pairs of `key=value key="quoted \"value\"" bare`, in their order; what is no pair is passed by.
struct Pairs<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Pairs<'a> {
    type Item = (Cow<'a, str>, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            self.rest = self.rest.trim_ascii_start();
            if self.rest.is_empty() {
                return None;
            }
            if let Some(quoted) = self.rest.strip_prefix(b"\"") {
                // text in quotes that nothing names
                self.quoted(quoted);
                continue;
            }
            let key = self.word(|b| b == b'=' || b == b'"');
            let Some(value) = self.rest.strip_prefix(b"=") else {
                return Some((String::from_utf8_lossy(key), Cow::Borrowed("true")));
            };
            let value = if let Some(quoted) = value.strip_prefix(b"\"") {
                self.quoted(quoted)
            } else {
                self.rest = value;
                String::from_utf8_lossy(self.word(|_| false))
            };
            if !key.is_empty() {
                return Some((String::from_utf8_lossy(key), value));
            }
        }
    }
}

impl<'a> Pairs<'a> {
    /// What stands up to white space or to such a byte; the rest begins there.
    fn word(&mut self, ends: impl Fn(u8) -> bool) -> &'a [u8] {
        let end = self.rest.iter().position(|b| b.is_ascii_whitespace() || ends(*b));
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word
    }

    /// What stands up to the closing quote, or to the end where there is none; the rest begins behind it.
    fn quoted(&mut self, text: &'a [u8]) -> Cow<'a, str> {
        let mut at = 0;
        let mut escaped = false;
        while let Some(n) = memchr::memchr2(b'"', b'\\', &text[at..]) {
            at += n;
            if text[at] == b'"' {
                self.rest = &text[at + 1..];
                break;
            }
            escaped = true;
            at = text.len().min(at + 2);
        }
        let closed = text.get(at) == Some(&b'"');
        if !closed {
            (at, self.rest) = (text.len(), &[]);
        }
        let value = String::from_utf8_lossy(&text[..at]);
        if escaped { Cow::Owned(unescaped(&value)) } else { value }
    }
}

/// `\"` `\\` `\n` `\r` `\t` and `\u0041` written out; another backslash stays.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let hex = |h: &str| u32::from_str_radix(h, 16).ok().and_then(char::from_u32);
        let (c, len) = match after.bytes().next() {
            Some(b @ (b'"' | b'\\')) => (char::from(b), 1),
            Some(b'n') => ('\n', 1),
            Some(b'r') => ('\r', 1),
            Some(b't') => ('\t', 1),
            Some(b'u') => after.get(1..5).and_then(hex).map_or(('\\', 0), |c| (c, 5)),
            _ => ('\\', 0),
        };
        out.push(c);
        rest = &after[len..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get(text: &str, name: &str) -> String {
        Fields::new(&[], text.as_bytes()).get(name).map_or("(absent)".into(), Cow::into_owned)
    }

    #[test]
    fn values_of_json_are_text_as_it_is_written() {
        let line = r#" {"a":"x \"y\" \u00e9","n":1.50,"big":123456789012345678901234567890,"t":true,"f":false,
            "z":null,"o":{ "k" : [1, "a b"] },"l":[ 1, 2 ],"plain":"p q","e":""} "#;
        for (name, value) in [
            ("a", "x \"y\" é"),
            ("n", "1.50"),
            ("big", "123456789012345678901234567890"),
            ("t", "true"),
            ("f", "false"),
            ("z", "(absent)"),
            ("o", r#"{"k":[1,"a b"]}"#),
            ("o.k", r#"[1,"a b"]"#),
            ("l", "[1,2]"),
            ("plain", "p q"),
            ("e", ""),
            ("none", "(absent)"),
            ("a.b", "(absent)"),
            ("l.0", "(absent)"),
            ("", "(absent)"),
        ] {
            assert_eq!(get(line, name), value, "{name}");
        }
    }

    #[test]
    fn a_name_is_looked_up_whole_and_then_as_a_path() {
        let line = r#"{"http.status":1,"http":{"status":2,"method":"GET","x.y":3},"k":{"l":{"a.b/c":4}}}"#;
        assert_eq!(get(line, "http.status"), "1");
        assert_eq!(get(line, "http.method"), "GET");
        assert_eq!(get(line, "http.x.y"), "3");
        assert_eq!(get(line, "k.l.a.b/c"), "4");
        assert_eq!(get(r#"{"a":null,"a.b":null,"a":{"b":5}}"#, "a.b"), "5");
    }

    #[test]
    fn what_only_begins_like_an_object_has_no_fields() {
        for text in ["{", r#"{"a":1"#, r#"{"a":1} a=2"#, "{a=1}", r#"{"a":01}"#, "{ level=error"] {
            assert_eq!(get(text, "a"), "(absent)", "{text}");
        }
        assert_eq!(Fields::new(&[], b"{\"a\":\"\xff\"}").get("a"), None);
        let deep = format!("{{\"a\":{}1{},\"b\":2}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(get(&deep, "b"), "2");
    }

    #[test]
    fn pairs_are_read_with_and_without_quotes() {
        let line = r#"ts=1 level=warn msg="a \"b\" c=d \\ \n \u00e9 \q" bare url=/x?a=b empty= e2="" =no "loose d=1" level=info last="open"#;
        for (name, value) in [
            ("level", "warn"),
            ("msg", "a \"b\" c=d \\ \n é \\q"),
            ("bare", "true"),
            ("url", "/x?a=b"),
            ("empty", ""),
            ("e2", ""),
            ("", "(absent)"),
            ("d", "(absent)"),
            ("c", "(absent)"),
            ("last", "open"),
        ] {
            assert_eq!(get(line, name), value, "{name}");
        }
        assert_eq!(Fields::new(&[], b"a=\xff b=\"c\\").get("a").as_deref(), Some("\u{fffd}"));
        assert_eq!(get("b=\"c\\", "b"), "c\\");
    }

    #[test]
    fn the_wrapping_is_asked_first() {
        let wrapper = [Field { name: "stream".into(), value: "stderr".into() }];
        let mut fields = Fields::new(&wrapper, br#"{"stream":"stdout","level":"error"}"#);
        assert_eq!(fields.get("stream").as_deref(), Some("stderr"));
        assert_eq!(fields.get("level").as_deref(), Some("error"));
    }

    #[test]
    fn a_field_can_be_told_from_what_is_called_the_same() {
        assert_eq!([meant("level"), meant("field.host"), meant("field.")], ["level", "host", "field."]);
    }

    /// As a careful program writes it: in quotes only where it must be.
    fn written(pairs: &[(String, String)]) -> String {
        let one = |(key, value): &(String, String)| {
            let bare = !value.is_empty() && !value.contains(|c: char| c.is_ascii_whitespace() || c == '"');
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            if bare { format!("{key}={value}") } else { format!("{key}=\"{quoted}\"") }
        };
        pairs.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    proptest! {
        #[test]
        fn pairs_read_back(
            pairs in proptest::collection::vec(("[a-z][a-z0-9_.-]{0,6}", r#"[a-zé =\\"\n{}]{0,12}"#), 0..8),
        ) {
            let text = written(&pairs);
            let mut fields = Fields::new(&[], text.as_bytes());
            for (key, _) in &pairs {
                // the first of one name wins
                let first = pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
                let found = fields.get(key);
                prop_assert_eq!(found.as_deref(), first, "{}", text);
            }
        }

        #[test]
        fn no_text_panics(text: Vec<u8>, name in ".{0,8}") {
            Fields::new(&[], &text).get(&name);
        }

        #[test]
        fn nothing_like_fields_panics(text in r#"[{}\[\]":,=\\ abu0-9\n]{0,60}"#, name in "[ab.]{0,5}") {
            let mut fields = Fields::new(&[], text.as_bytes());
            let value = fields.get(&name);
            // a value that is there is a part of the text, but for what is escaped
            prop_assert!(value.is_none_or(|v| v.len() <= text.len().max(4)));
        }

        #[test]
        fn json_reads_back(pairs in proptest::collection::btree_map("[a-z]{1,4}", any::<String>(), 0..6)) {
            let text = serde_json::to_string_pretty(&pairs).unwrap();
            let mut fields = Fields::new(&[], text.as_bytes());
            for (key, value) in &pairs {
                let found = fields.get(key);
                prop_assert_eq!(found.as_deref(), Some(value.as_str()));
            }
        }

        #[test]
        fn what_is_inside_is_compact_json(pairs in proptest::collection::btree_map("[a-z]{1,4}", any::<String>(), 0..6)) {
            let whole = serde_json::json!({ "o": pairs });
            let text = serde_json::to_string_pretty(&whole).unwrap();
            let value = Fields::new(&[], text.as_bytes()).get("o").map(Cow::into_owned);
            prop_assert_eq!(value, Some(whole["o"].to_string()));
        }
    }
}
