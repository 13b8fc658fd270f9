//! Draws a message as plain `text`: for a phone's notification, and for the form that is sent when Chat refused
//! the card.
//!
//! Samples stand in a fenced block, where Chat reads no markup; the fence cannot be closed from inside, because no
//! backtick of theirs survives [`super::escape::text`].

use std::fmt::Write as _;

use super::escape::text as escape;
use super::sheet::{self, Block, Sheet};
use super::split::cut;

/// Servers before 2024 took 4,096 characters, and whether that still binds is not documented.
pub(super) const TEXT_CHARS: usize = 4_000;
/// A notification shows two lines; more than this is never seen.
const FALLBACK_CHARS: usize = 500;

/// What a notification says.
pub(super) fn fallback(sheet: &Sheet) -> String {
    let mut lines = vec![sheet.title.clone()];
    lines.extend(sheet.blocks.iter().map(headline));
    lines.extend(sheet.rest.clone());
    escape(&cut(&lines.join("\n"), FALLBACK_CHARS))
}

/// The whole message. Writing to a `String` cannot fail.
pub(super) fn plain(sheet: &Sheet) -> String {
    let mut out = escape(&sheet.title);
    for block in &sheet.blocks {
        out.push('\n');
        out.push_str(&escape(&headline(block)));
        let texts =
            [("", &block.text), ("hint: ", &block.hint), ("held back: ", &block.held), ("", &block.secrets)];
        for (lead, text) in texts {
            if let Some(text) = text {
                _ = write!(out, "\n{lead}{}", escape(text));
            }
        }
        // what would have to be changed to be harmless would no longer be the command
        if let Some(command) = block.silence.as_ref().filter(|c| escape(c) == **c) {
            _ = write!(out, "\n{command}");
        }
        if let Some(url) = &block.runbook {
            // the one link: it comes from the rules file
            _ = write!(out, "\nrunbook: {url}");
        }
        if !block.samples.is_empty() {
            let lines: Vec<String> = block.samples.iter().map(|(_, line)| escape(line)).collect();
            _ = write!(out, "\n```\n{}\n```", lines.join("\n"));
        }
    }
    if let Some(rest) = &sheet.rest {
        _ = write!(out, "\n{}", escape(rest));
    }
    out
}

fn headline(block: &Block) -> String {
    let mut out = format!("{} {}", sheet::emoji(block.severity), block.name);
    for fact in [&block.counts, &block.key].into_iter().flatten() {
        _ = write!(out, " · {fact}");
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::chat::card::{Surface, render};
    use crate::chat::samples::{alert, message};

    fn field(surface: Surface, name: &str) -> String {
        let body: serde_json::Value =
            serde_json::from_str(&render(&message(vec![alert("disk-full")]), surface)).unwrap();
        body[name].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_notification_says_what_how_often_and_where() {
        assert_eq!(
            field(Surface::Card, "fallbackText"),
            "🟠 error on web1\n🟠 disk-full · 37 hits within 30s · ip=192.0.2.1"
        );
    }

    #[test]
    fn the_plain_form_fences_its_samples() {
        assert_eq!(
            field(Surface::Plain, "text"),
            "🟠 error on web1\n🟠 disk-full · 37 hits within 30s · ip=192.0.2.1\nfailed logins from 192.0.2.1\n\
             silence: logherald silence disk-full ip=192.0.2.1 --for 2h --why 'seen in ops'\n```\nsshd[1]: <\u{200b}users/all> & more\n```"
        );
    }
}
