//! What must not leave the machine is taken out here: passwords, tokens, keys, credentials in URLs.
//!
//! The regexes of rules see the raw line; everything that is kept or sent went through [`Redactor::redact`] first.
//! One pass with one regex, whose alternatives keep the name and drop the value. Nearly every line is spared that
//! pass: it holds none of the words that each secret comes with.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, LazyLock};

use aho_corasick::AhoCorasick;
use regex::{Captures, Regex};

/// What stands in the place of a secret.
pub const REDACTED: &str = "[redacted]";

/// Every secret of the list comes with one of these, in any case; a text without one is clean.
const TELLTALES: [&str; 18] = [
    "pass",
    "pwd",
    "secret",
    "token",
    "key=",
    "key\"",
    "key'",
    "key:",
    "key =",
    "key ",
    "credential",
    "authorization",
    "bearer ",
    "://",
    "AKIA",
    "ASIA",
    "-----BEGIN",
    "eyJ",
];

/// The list. In each alternative the groups whose name begins with `k` are kept, the rest goes.
///
/// A value ends at white space or at its quote, so what has been redacted is found again and stays as it is.
const SECRETS: &str = r#"(?x)
    # a private key, as far as it goes
    (?P<k1>-----BEGIN\x20[A-Z0-9\x20]{0,40}PRIVATE\x20KEY-----)
        (?s:.*?)(?:(?P<k1e>-----END\x20[A-Z0-9\x20]{0,40}PRIVATE\x20KEY-----)|\z)
    # Authorization: Bearer xyz; also as a quoted header
  | (?P<k2>(?i:\bauthorization["']?\s{0,4}[:=]\s{0,4}["']?(?:(?:bearer|basic|digest|token|negotiate|apikey|aws4-hmac-sha256)\s{1,4})?))
        [^\s"']+
  | (?P<k3>(?i:\bbearer\s{1,4}))(?:\[redacted\]|[A-Za-z0-9._~+/=-]{8,})
    # scheme://user:password@host
  | (?P<k4>\b[A-Za-z][A-Za-z0-9+.-]{0,30}://[^\s/?\#:@"']{0,255}:)[^\s/@"']{1,512}(?P<k4e>@)
    # --password xyz, -password=xyz
  | (?P<k5>(?i:(?:^|\s)--?(?:[a-z0-9]{1,30}[_-]){0,4}(?:password|passwd|passphrase|pass|pwd|secret|token|api-?key|access-?key|secret-?key)(?:\s{1,4}|=)["']?))
        [^\s"']+
    # name=value, name: value, "name": "value"
  | (?P<k6>(?i:(?:password|passwd|passphrase|pwd|passcode|secret|token|api[_.-]?key|access[_.-]?key|secret[_.-]?key|private[_.-]?key|auth[_.-]?key|credentials?)
        \\?["']?\s{0,4}(?:=>|:=|=|:)\s{0,4}))
        (?:(?P<k6q>")(?:[^"\\]|\\(?s:.))*(?P<k6e>"|\\?\z)|(?P<k6b>\\")(?:[^"\\]|\\[^"])*(?P<k6c>\\?"|\\?\z)|(?P<k6s>\\?')[^']*(?P<k6t>'|\z)|[^\s"',;&)}]+)
    # key=… of a URL: webhooks of Google Chat, Maps and others
  | (?P<k7>[?&](?i:key|sig|signature|auth|code)=)[^\s&"'\#]+
    # an AWS access key id; a JSON web token
  | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b
  | \beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*){0,3}
"#;

static BUILT_IN: LazyLock<Arc<Compiled>> = LazyLock::new(|| {
    let telltales = AhoCorasick::builder().ascii_case_insensitive(true).build(TELLTALES);
    Arc::new(Compiled {
        telltales: telltales.expect("a dozen short words fit any automaton"),
        secrets: Regex::new(SECRETS).expect("the list is tested"),
    })
});

struct Compiled {
    telltales: AhoCorasick,
    secrets: Regex,
}

/// The built-in patterns, compiled once.
#[derive(Clone)]
pub struct Redactor {
    compiled: Arc<Compiled>,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    /// The built-in list.
    pub fn new() -> Redactor {
        Redactor { compiled: Arc::clone(&BUILT_IN) }
    }

    /// `text` with every secret replaced; borrowed where there is none.
    ///
    /// Linear in the text. Redacting twice is redacting once.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.compiled.telltales.is_match(text) {
            return Cow::Borrowed(text);
        }
        self.compiled.secrets.replace_all(text, |caps: &Captures<'_>| {
            let mut out = String::new();
            let kept = |before: &[&str], out: &mut String| {
                for name in before {
                    out.push_str(caps.name(name).map_or("", |m| m.as_str()));
                }
            };
            kept(&["k1", "k2", "k3", "k4", "k5", "k6", "k6q", "k6b", "k6s", "k7"], &mut out);
            out.push_str(REDACTED);
            kept(&["k1e", "k4e", "k6e", "k6c", "k6t"], &mut out);
            out
        })
    }
}

impl Default for Redactor {
    fn default() -> Self {
        Redactor::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redact(text: &str) -> String {
        Redactor::new().redact(text).into_owned()
    }

    #[test]
    fn a_secret_goes_and_its_name_stays() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";
        for (text, redacted) in [
            ("login password=hunter2 ok", "login password=[redacted] ok"),
            ("DB_PASSWD: hunter2, next", "DB_PASSWD: [redacted], next"),
            ("pwd = 'two words' x", "pwd = '[redacted]' x"),
            ("{\"password\": \"a b\", \"n\": 1}", "{\"password\": \"[redacted]\", \"n\": 1}"),
            ("{\\\"token\\\":\\\"abc\\\"}", "{\\\"token\\\":\\\"[redacted]\\\"}"),
            ("\"secret\": \"a\\\"b c\" x", "\"secret\": \"[redacted]\" x"),
            ("client_secret=abc&x=1", "client_secret=[redacted]&x=1"),
            ("api_key: 12345", "api_key: [redacted]"),
            ("x-api-key=12345", "x-api-key=[redacted]"),
            ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
            ("authorization: Basic dXNlcjpwdw==", "authorization: Basic [redacted]"),
            ("\"Authorization\":\"Token abc\"", "\"Authorization\":\"Token [redacted]\""),
            ("sent bearer abcdefgh12", "sent bearer [redacted]"),
            ("postgres://bob:s3cr:et@db/x", "postgres://bob:[redacted]@db/x"),
            ("redis://:pw@h:6379", "redis://:[redacted]@h:6379"),
            ("id AKIAIOSFODNN7EXAMPLE used", "id [redacted] used"),
            (
                "POST https://chat.googleapis.com/v1/spaces/A/messages?key=AIza-x&token=y%3D",
                "POST https://chat.googleapis.com/v1/spaces/A/messages?key=[redacted]&token=[redacted]",
            ),
            ("mysqldump --password hunter2 db", "mysqldump --password [redacted] db"),
            ("run --db-password=hunter2 db", "run --db-password=[redacted] db"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- x",
                "-----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY----- x",
            ),
            ("-----BEGIN PRIVATE KEY----- MIIE", "-----BEGIN PRIVATE KEY-----[redacted]"),
            (&format!("jwt {jwt}."), "jwt [redacted]"),
        ] {
            assert_eq!(redact(text), redacted, "{text}");
            assert_eq!(redact(redacted), redacted, "once more: {text}");
        }
    }

    #[test]
    fn a_clean_line_is_borrowed() {
        for line in [
            "Failed password for root from 192.0.2.1 port 22 ssh2",
            "GET http://h.example:80/x?y=1",
            "keyboard key pressed",
            "monkey: 1 token bucket",
            "user a@b.example logged in",
            "passenger list",
        ] {
            assert!(matches!(Redactor::new().redact(line), Cow::Borrowed(_)), "{line}");
        }
    }

    #[test]
    fn a_hostile_line_costs_no_more_than_its_length() {
        for part in ["password=", "eyJ", "a://b:", "-----BEGIN PRIVATE KEY-----", "token: \"", "--pass "] {
            let line = part.repeat(20_000);
            assert!(redact(&line).len() <= line.len() * 2);
        }
    }

    proptest::proptest! {
        #[test]
        fn twice_is_once(parts in proptest::collection::vec(proptest::sample::select(vec![
            "password", "token", "=", ":", " ", "\"", "'", "\\", "x", "secret", "://", "@", "Bearer ", "Authorization", "&key=", "?",
            "AKIAIOSFODNN7EXAMPLE", "eyJabcdefg.abcdefg.", "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "--pass",
            "a", "b1", ",", "{", "}", "é", "\n", "[redacted]", "[", "]", "/",
        ]), 0..14)) {
            let once = redact(&parts.concat());
            assert_eq!(redact(&once), once);
        }

        #[test]
        fn no_text_panics(text: String) {
            let once = redact(&text);
            assert_eq!(redact(&once), once);
        }
    }
}
