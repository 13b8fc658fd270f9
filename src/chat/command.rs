//! The command that silences an alert, ready to be pasted into a shell.
//!
//! The values in it came from a log, so whoever writes a log writes a part of what an operator pastes. Hence a value is
//! quoted as a shell wants it, and one that is not shown as it is (redacted, cut, with controls or characters that
//! draw nothing) is not offered at all: then the command means the whole rule, and the line before it says so.

use super::escape::clean;
use crate::alert::{Alert, What};
use crate::redact::REDACTED;

/// A value longer than this was cut by the judge, or soon would be, in bytes.
const VALUE_BYTES: usize = 199;

/// `silence: logherald silence sshd ip=192.0.2.1 --for 2h --why 'seen in ops'`; none for what no silence holds.
pub(super) fn silence(alert: &Alert, space: &str) -> Option<String> {
    let merged = matches!(&*alert.rule, "digest" | "while away" | "more alerts");
    if alert.what == What::Notice || (merged && alert.key.is_empty() && alert.what != What::Opening) {
        return None;
    }
    let whole = alert.key.iter().all(|(name, value)| is_whole(name) && is_whole(value));
    let lead = if whole { "silence" } else { "silence the whole rule" };
    let mut words = vec!["logherald silence".to_owned(), quoted(&alert.rule)];
    if whole {
        words.extend(alert.key.iter().map(|(name, value)| quoted(&format!("{name}={value}"))));
    }
    words.push("--for 2h --why".to_owned());
    words.push(quoted(&format!("seen in {space}")));
    Some(format!("{lead}: {}", words.join(" ")))
}

/// It is shown as it is, and can be said again.
fn is_whole(value: &str) -> bool {
    value.len() <= VALUE_BYTES && !value.contains(REDACTED) && clean(value) == value
}

/// As one word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '@' | '%' | '+' | ',' | '=')
    };
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::samples::alert;
    use proptest::prelude::*;

    fn command(key: &[(&str, &str)]) -> String {
        let key = key.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        silence(&Alert { key, ..alert("sshd") }, "ops").unwrap()
    }

    #[test]
    fn the_command_names_the_rule_and_the_key() {
        assert_eq!(
            command(&[("ip", "192.0.2.1"), ("user", "O'Brien $(id)")]),
            r"silence: logherald silence sshd ip=192.0.2.1 'user=O'\''Brien $(id)' --for 2h --why 'seen in ops'"
        );
        assert_eq!(command(&[]), "silence: logherald silence sshd --for 2h --why 'seen in ops'");
    }

    #[test]
    fn a_value_that_is_not_shown_as_it_is_is_not_offered() {
        for value in ["[redacted]", "a\nb", "a\u{202e}b", &"x".repeat(200)] {
            assert_eq!(
                command(&[("user", value)]),
                "silence the whole rule: logherald silence sshd --for 2h --why 'seen in ops'",
                "{value}"
            );
        }
    }

    #[test]
    fn what_no_rule_says_has_no_command() {
        let of = |what, rule: &str| silence(&Alert { what, key: vec![], ..alert(rule) }, "ops");
        assert_eq!(of(What::Notice, "gap//var/log/x"), None);
        assert_eq!(of(What::Digest, "digest"), None);
        assert_eq!(of(What::WhileAway, "while away"), None);
        assert!(of(What::Digest, "sshd").is_some() && of(What::Opening, "digest").is_some());
    }

    proptest! {
        /// Whatever a log put into a key, a shell reads it back as one word and runs nothing else.
        #[test]
        fn a_shell_reads_one_word(value in "[ -~é]{0,60}") {
            let word = quoted(&value);
            let mut read = String::new();
            let mut inside = false;
            let mut rest = word.chars();
            while let Some(c) = rest.next() {
                match c {
                    '\'' => inside = !inside,
                    '\\' if !inside => read.extend(rest.next()),
                    c if inside || c.is_ascii_alphanumeric() || "_-./:@%+,=".contains(c) => read.push(c),
                    c => prop_assert!(false, "live: {c} in {word}"),
                }
            }
            prop_assert!(!inside);
            prop_assert_eq!(read, value);
        }
    }
}
