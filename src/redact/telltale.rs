//! Secrets that come with a word: `password=`, `Authorization:`, `ghp_`, `-----BEGIN`.
//!
//! One automaton looks for all the words at once, in any case; where one stands, the little grammar that belongs to
//! it reads on from there and says which bytes are the secret. So a line without such a word costs one pass, and a
//! line with one costs what stands behind it. A word alone proves nothing: `token: expired` is prose and stays,
//! `using password: YES` is what every MySQL server says.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, Input, MatchKind};
use regex::{Captures, Regex};

use super::REDACTED;
use super::issued::{ISSUED, Issued, Of};
use super::lines::keys_before;

/// What a word says of what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// The name of a password: whatever is set beside it is one.
    Password,
    /// `pwd`, which also names the working directory.
    PasswordOrPath,
    /// The name of what a machine made: beside `: ` it must look like it, since people write of tokens too.
    Token,
    /// The same, but where a path stands beside it, the secret is in that file.
    TokenOrPath,
    /// `pass=`, which stands in `compass=` too.
    Pass,
    /// The header.
    Authorization,
    /// `Bearer …` by itself.
    Bearer,
    /// `IDENTIFIED BY '…'`.
    Sql,
    /// `scheme://user:password@`.
    Url,
    /// A parameter of a URL, whose value has at least so many bytes.
    Param(u8),
    /// A prefix that a vendor gives to what it issues.
    Issued(&'static Issued),
    /// A JSON web token.
    Jwt,
    /// A private key begins.
    Begin,
    /// A private key ends; its beginning may not be in sight.
    End,
}

/// Names that are one word.
const PASSWORDS: [&str; 4] = ["password", "passwd", "passphrase", "passcode"];
const TOKENS: [&str; 2] = ["secret", "token"];
/// Names of two words, written together or apart.
const KEYS: [(&str, Word); 8] = [
    ("api", Word::Token),
    ("access", Word::Token),
    ("account", Word::Token),
    ("auth", Word::Token),
    ("secret", Word::Token),
    ("signing", Word::TokenOrPath),
    ("encryption", Word::TokenOrPath),
    ("private", Word::TokenOrPath),
];
const APART: [&str; 5] = ["", "_", "-", ".", " "];

const OTHERS: [(&str, Word); 25] = [
    ("pwd", Word::PasswordOrPath),
    ("credential", Word::TokenOrPath),
    ("credentials", Word::TokenOrPath),
    ("pass=", Word::Pass),
    ("authorization", Word::Authorization),
    ("bearer ", Word::Bearer),
    ("identified by ", Word::Sql),
    ("://", Word::Url),
    ("?key=", Word::Param(8)),
    ("&key=", Word::Param(8)),
    ("?code=", Word::Param(8)),
    ("&code=", Word::Param(8)),
    ("?auth=", Word::Param(8)),
    ("&auth=", Word::Param(8)),
    ("?sig=", Word::Param(1)),
    ("&sig=", Word::Param(1)),
    ("?signature=", Word::Param(1)),
    ("&signature=", Word::Param(1)),
    ("x-amz-signature=", Word::Param(1)),
    ("x-goog-signature=", Word::Param(1)),
    ("hooks.slack.com/services/", Word::Param(16)),
    ("/api/webhooks/", Word::Param(16)),
    ("eyj", Word::Jwt),
    ("-----begin", Word::Begin),
    ("-----end", Word::End),
];

/// Behind a name: its quote, a separator, white space, perhaps a scheme, and the value in its quotes or without.
static BESIDE: LazyLock<Regex> = LazyLock::new(|| {
    compiled(
        r#"(?x)^ (?<named>\\?["'])?\]? [\x20\t]{0,4} (?<sep>=>|:=|=|:) (?<gap>[\x20\t]{0,4})
            (?: "(?<v1>(?s:[^"\\]|\\.)*) | \\"(?<v2>(?:[^"\\]|\\[^"])*) | \\?'(?<v3>[^']*)
              | (?<scheme>(?i:bearer|basic|token|negotiate|apikey)[\x20\t]{1,4})? (?<bare>[^\s"',;&)}\\]+) )"#,
    )
});
/// `--password hunter2`.
static OPTION: LazyLock<Regex> =
    LazyLock::new(|| compiled(r#"(?x)^ \x20{1,4} (?: ["'](?<v1>[^"']*) | (?<bare>[^\s"'-][^\s"']*) )"#));
/// `PASSWORD 'hunter2'`.
static QUOTED: LazyLock<Regex> = LazyLock::new(|| compiled(r"^\s{0,4}'(?<v1>[^']*)"));
/// `<password>hunter2</password>`.
static ELEMENT: LazyLock<Regex> = LazyLock::new(|| compiled(r"^>(?<v1>[^<>]{1,512})</"));
/// Behind `authorization`. Schemes with parameters hold their secret in one of them.
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    compiled(
        r#"(?x)^ \\?["']? \s{0,4} [:=] \s{0,4} (?:\\?["'])?
            (?: (?i:digest|aws4-hmac-sha256|oauth|hawk|mac|sharedkey(?:lite)?)\x20{1,4}(?<v1>[^\r\n]+)
              | (?<scheme>(?i:bearer|basic|token|negotiate|ntlm|apikey)\x20{1,4})? (?<bare>[^\s"'\\]+) )"#,
    )
});
static BEARER: LazyLock<Regex> = LazyLock::new(|| compiled(r"^\x20{0,3}(?<bare>[A-Za-z0-9._~+/=-]{8,})"));
static USERINFO: LazyLock<Regex> =
    LazyLock::new(|| compiled(r#"^[^\s/?#:@"']{0,255}:(?<v1>[^\s/@"']{1,512})@"#));
static PARAM: LazyLock<Regex> = LazyLock::new(|| compiled(r#"^(?<v1>[^\s&"'#<>;]+)"#));
static PEM: LazyLock<Regex> = LazyLock::new(|| compiled(r"^ [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"));
static PEM_END: LazyLock<Regex> =
    LazyLock::new(|| compiled(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"));

fn compiled(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the list is tested")
}

/// The words, ready to be searched for.
pub(super) struct Telltales {
    automaton: AhoCorasick,
    /// What each pattern of the automaton says.
    words: Vec<Word>,
}

impl Telltales {
    pub(super) fn new() -> Telltales {
        let mut texts: Vec<(String, Word)> = Vec::new();
        texts.extend(PASSWORDS.map(|name| (name.to_owned(), Word::Password)));
        texts.extend(TOKENS.map(|name| (name.to_owned(), Word::Token)));
        for (name, word) in KEYS {
            texts.extend(APART.map(|apart| (format!("{name}{apart}key"), word)));
        }
        texts.extend(OTHERS.map(|(text, word)| (text.to_owned(), word)));
        texts.extend(ISSUED.iter().map(|i| (i.prefix.to_owned(), Word::Issued(i))));
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::DFA))
            .build(texts.iter().map(|t| &t.0))
            .expect("some short words fit any automaton");
        Telltales { automaton, words: texts.into_iter().map(|t| t.1).collect() }
    }

    /// Where secrets stand in `text`, in order and apart from each other.
    pub(super) fn find(&self, text: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let (mut from, mut floor) = (0, 0);
        while let Some(m) = self.automaton.find(Input::new(text).span(from..text.len())) {
            let word = self.words[m.pattern().as_usize()];
            match (Place { text, start: m.start(), end: m.end(), floor }).secret(word) {
                Some(secret) => {
                    let value = &text[secret.clone()];
                    // `pass= password: hunter2`: what was taken for a value is the next name
                    let named = value.len() <= NAME && value.ends_with([':', '=']);
                    from = if named { secret.start.max(m.end()) } else { secret.end.max(m.end()) };
                    floor = secret.end;
                    found.push(secret);
                }
                // a shorter word may begin inside of this one
                None => from = m.start() + 1,
            }
        }
        found
    }
}

/// A value under this name is a secret, whatever it looks like.
pub(super) fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let two = |first: &str| {
        name.strip_suffix("key").is_some_and(|n| n.trim_end_matches(['_', '-', '.', ' ']).ends_with(first))
    };
    PASSWORDS.iter().chain(&TOKENS).any(|n| name.ends_with(n))
        || KEYS.iter().any(|(first, _)| two(first))
        || matches!(
            &*name,
            "pass" | "pw" | "pwd" | "authorization" | "credential" | "credentials" | "jwt" | "bearer"
        )
}

/// A word in its text.
#[derive(Clone, Copy)]
struct Place<'a> {
    text: &'a str,
    start: usize,
    end: usize,
    /// What stands before here is decided.
    floor: usize,
}

impl Place<'_> {
    fn secret(self, word: Word) -> Option<Range<usize>> {
        match word {
            Word::Password => self.beside(word).or_else(|| self.option()).or_else(|| self.first(&QUOTED)),
            Word::Token | Word::TokenOrPath | Word::PasswordOrPath => {
                self.beside(word).or_else(|| self.option())
            }
            Word::Pass => {
                let apart = !self.before().is_ascii_alphabetic();
                let at = Place { end: self.end - 1, ..self };
                apart.then(|| at.beside(word)).flatten()
            }
            Word::Authorization => self.header(),
            Word::Bearer => {
                let caps = BEARER.captures(self.rest())?;
                let value = self.range(&caps, "bare")?;
                random(&self.text[value.clone()]).then_some(value)
            }
            Word::Sql => self.first(&QUOTED),
            Word::Url => {
                let scheme = self.text.as_bytes()[..self.start].last().is_some_and(u8::is_ascii_alphanumeric);
                if scheme { self.first(&USERINFO) } else { None }
            }
            Word::Param(least) => self.first(&PARAM).filter(|r| r.len() >= usize::from(least)),
            Word::Issued(issued) => self.issued(issued),
            Word::Jwt => self.jwt(),
            Word::Begin => {
                let head = PEM.find(self.rest())?;
                let from = self.end + head.end();
                let to = PEM_END.find_at(self.text, from).map_or(self.text.len(), |m| m.start());
                (!self.text[from..to].trim().is_empty()).then_some(from..to)
            }
            Word::End => {
                let whole = PEM_END.find_at(self.text, self.start).filter(|m| m.start() == self.start)?;
                let from = keys_before(self.text.get(self.floor..whole.start())?)?;
                Some(self.floor + from..whole.start())
            }
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.end..]
    }

    fn before(&self) -> u8 {
        self.start.checked_sub(1).map_or(b' ', |i| self.text.as_bytes()[i])
    }

    /// Where the group of a regex that was searched behind the word stands in the text.
    fn range(&self, caps: &Captures<'_>, name: &str) -> Option<Range<usize>> {
        caps.name(name).map(|m| self.end + m.start()..self.end + m.end())
    }

    /// The first group of a pattern behind the word, if there is something in it.
    fn first(&self, regex: &Regex) -> Option<Range<usize>> {
        self.range(&regex.captures(self.rest())?, "v1").filter(|r| !r.is_empty())
    }

    /// The value that stands beside a name.
    fn beside(self, word: Word) -> Option<Range<usize>> {
        let Some(caps) = BESIDE.captures(self.rest()) else {
            return if word == Word::Password { self.first(&ELEMENT) } else { None };
        };
        if let Some(quoted) = ["v1", "v2", "v3"].iter().find_map(|name| self.range(&caps, name)) {
            let value = &self.text[quoted.clone()];
            return (!says_nothing(value) && !is_path(word, value)).then_some(quoted);
        }
        let bare = self.range(&caps, "bare")?;
        let mut value = &self.text[bare.clone()];
        let own = if value.starts_with(REDACTED) { REDACTED.len() } else { 0 };
        if !value[own..].contains('[') {
            // the bracket round it all
            value = &value[..own + value[own..].trim_end_matches(']').len()];
        }
        let structure = caps.name("named").is_some() && value.starts_with(['{', '[']) && value != REDACTED;
        let scheme = caps.name("scheme").is_some();
        // `token: expired`: a colon and a space are how people write
        let prose = &caps["sep"] == ":" && !caps["gap"].is_empty() && caps.name("named").is_none() && !scheme;
        let made = prose && matches!(word, Word::Token | Word::TokenOrPath) && !random(value);
        let nothing = value.is_empty() || says_nothing(value) || is_path(word, value);
        (!structure && !made && !nothing).then_some(bare.start..bare.start + value.len())
    }

    /// The value behind an option that ends in this name.
    fn option(self) -> Option<Range<usize>> {
        let head = &self.text.as_bytes()[self.floor.min(self.start)..self.start];
        let word = head
            .iter()
            .rev()
            .take(NAME)
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        let name = &head[head.len() - word.count()..];
        let alone = head.len() == name.len()
            || matches!(head[head.len() - name.len() - 1], b' ' | b'"' | b'\'' | b'=' | b'(');
        if !alone || name.first() != Some(&b'-') {
            return None;
        }
        let caps = OPTION.captures(self.rest())?;
        let value = self.range(&caps, "v1").or_else(|| self.range(&caps, "bare"))?;
        (!value.is_empty()).then_some(value)
    }

    fn header(self) -> Option<Range<usize>> {
        let caps = HEADER.captures(self.rest())?;
        if let Some(all) = self.range(&caps, "v1") {
            return Some(all);
        }
        let value = self.range(&caps, "bare")?;
        let text = &self.text[value.clone()];
        (caps.name("scheme").is_some() || text == REDACTED || random(text)).then_some(value)
    }

    fn issued(self, issued: &Issued) -> Option<Range<usize>> {
        let before = self.before();
        if before.is_ascii_alphanumeric()
            || before == b'_'
            || !self.text[self.start..].starts_with(issued.prefix)
        {
            return None;
        }
        let rest = self.rest().as_bytes();
        let run = rest.iter().take(issued.max + 1).take_while(|b| issued.of.accepts(**b)).count();
        let next = rest.get(run).copied().unwrap_or(b' ');
        let ends = run <= issued.max && !next.is_ascii_alphanumeric() && next != b'_';
        let text = &self.text[self.end..self.end + run.min(issued.max)];
        (run >= issued.min && ends && issued.of.holds(text)).then_some(self.start..self.end + run)
    }

    fn jwt(self) -> Option<Range<usize>> {
        let before = self.before();
        if before.is_ascii_alphanumeric() || before == b'_' || !self.text[self.start..].starts_with("eyJ") {
            return None;
        }
        let bytes = self.text.as_bytes();
        let run = |at: usize| bytes[at..].iter().take_while(|b| Of::Url.accepts(**b)).count();
        let first = run(self.end);
        let mut end = self.end + first;
        let mut signed = false;
        for _ in 0..JWT_PARTS {
            if bytes.get(end) != Some(&b'.') {
                break;
            }
            let part = run(end + 1);
            if part == 0 && !signed {
                break;
            }
            signed |= part >= 4;
            end += 1 + part;
        }
        ((first >= 6 && signed) || first >= CUT_JWT).then_some(self.start..end)
    }
}

/// Longest name that is recognised as an option or as the next name, in bytes.
const NAME: usize = 64;

/// Parts behind the first: three of a signed one, four of an encrypted one.
const JWT_PARTS: usize = 4;

/// The first part of a token alone, of this many characters, is the head of one that was cut.
const CUT_JWT: usize = 24;

/// Made by a machine: a number among letters, or longer than words are.
fn random(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    value == REDACTED
        || value.len() >= 20
        || digits >= 6
        || (value.len() >= 4 && digits > 0 && digits < value.len())
}

/// `xxx` is a mask, `x` may be a password.
const MASK: usize = 3;

/// What a program writes where it has no secret to tell, or has taken it out itself.
fn says_nothing(value: &str) -> bool {
    const WORDS: [&str; 15] = [
        "null",
        "none",
        "nil",
        "undefined",
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "n/a",
        "<redacted>",
        "[filtered]",
        "<nil>",
        "empty",
    ];
    value.is_empty()
        || value.bytes().all(|b| b == b'*')
        || value.len() >= MASK && value.bytes().all(|b| matches!(b, b'*' | b'x' | b'X' | b'.' | b'-'))
        || WORDS.iter().any(|w| w.eq_ignore_ascii_case(value))
}

/// The secret is in a file, or it is a directory: `PWD=/home/kim`.
fn is_path(word: Word, value: &str) -> bool {
    let may = matches!(word, Word::TokenOrPath | Word::PasswordOrPath);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'.' | b'_' | b'-' | b'~');
    may && (value.starts_with('/') || value.starts_with("~/")) && value.bytes().all(plain)
}
