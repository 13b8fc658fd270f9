//! Draws a message in the terminal: the same [`Sheet`] as the card, in rules and indents, at most 80 columns but for
//! the command that silences an alert: it is to be pasted.
//!
//! There is no right border: how many columns an emoji takes differs between terminals, and a border would show it.
//! Colour is laid on afterwards and changes no character, so that what is printed is what was committed.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::sheet::{self, Block, Sheet};
use crate::alert::Severity;
use crate::message::Message;

/// No line is wider, in columns.
pub const COLUMNS: usize = 80;
/// A title is at most this wide: the line it stands in goes on at both ends.
const TITLE: usize = COLUMNS - 6;
/// A message with more lines than this scrolls away what it says.
const LINES: usize = 400;

/// `message` as lines for a terminal, each ended by `\n` and, but for commands, at most [`COLUMNS`] wide. Without `colour` it holds no
/// escape sequence; with it only the agent's own.
pub fn draw(message: &Message, colour: bool) -> String {
    let paint = Paint { colour };
    sheet::fit(message, |sheet| {
        let drawn = paint.sheet(sheet);
        let fits = drawn.lines().count() <= LINES;
        (drawn, fits)
    })
}

struct Paint {
    colour: bool,
}

impl Paint {
    fn sheet(&self, sheet: &Sheet) -> String {
        let mut out = String::new();
        let titled = |subject: &str| format!("{} · {subject}", sheet.title);
        // one alert needs no heading of its own where the first line has room to name it
        let only = match sheet.blocks.as_slice() {
            [one] if sheet.rest.is_none() => Some(titled(&one.name)).filter(|t| t.width() <= TITLE),
            _ => None,
        };
        let alone = only.is_some();
        let title = only.unwrap_or_else(|| titled(&sheet.subtitle));
        self.rule(&mut out, &title, tint(sheet.severity).bold());
        for (i, block) in sheet.blocks.iter().enumerate() {
            if i > 0 {
                out.push('\n');
            }
            if !alone {
                let heading = format!("{} {}", sheet::emoji(block.severity), block.name);
                self.lines(&mut out, "", &heading, Style::new().bold());
            }
            self.block(&mut out, block);
        }
        if let Some(rest) = &sheet.rest {
            self.lines(&mut out, "", rest, Style::new());
        }
        self.rule(&mut out, "", tint(sheet.severity));
        out
    }

    fn block(&self, out: &mut String, block: &Block) {
        if let Some(key) = &block.key {
            self.lines(out, "   ", key, Style::new());
        }
        if let Some(counts) = &block.counts {
            let when = if block.when.is_empty() { String::new() } else { format!(" · {}", block.when) };
            self.lines(out, "   ", &format!("{counts}{when}"), Style::new());
        }
        if let Some(text) = &block.text {
            self.lines(out, "   ", text, Style::new().bold());
        }
        for (place, line) in &block.samples {
            self.lines(out, "   │ ", place, Style::new().dimmed());
            self.lines(out, "   │ ", line, Style::new());
        }
        let left_out = block.samples_left_out;
        let more = (left_out > 0).then(|| format!("and {left_out} more lines"));
        let held = block.held.as_ref().map(|h| format!("held back: {h}"));
        let runbook = block.runbook.as_ref().map(|r| format!("runbook: {r}"));
        for note in [more, held, block.secrets.clone(), runbook].into_iter().flatten() {
            self.lines(out, "   ", &note, Style::new().dimmed());
        }
        if let Some(command) = &block.silence {
            // not folded: it is to be pasted
            self.put(out, "   ", command, Style::new().dimmed());
        }
        if let Some(hint) = &block.hint {
            self.lines(out, "   ", &format!("hint: {hint}"), tint(Severity::Info));
        }
    }

    /// A horizontal rule with `title` in it.
    fn rule(&self, out: &mut String, title: &str, style: Style) {
        let mut line = String::from("──");
        if !title.is_empty() {
            _ = write!(line, " {} ", fold(title, TITLE).swap_remove(0));
        }
        let room = COLUMNS.saturating_sub(line.width());
        line.extend(std::iter::repeat_n('─', room));
        self.put(out, "", &line, style);
    }

    /// `text`, folded at the terminal's width, each line after `lead`.
    fn lines(&self, out: &mut String, lead: &str, text: &str, style: Style) {
        for line in text.lines() {
            for part in fold(line, COLUMNS - lead.width()) {
                self.put(out, lead, &part, style);
            }
        }
    }

    fn put(&self, out: &mut String, lead: &str, line: &str, style: Style) {
        // writing to a `String` cannot fail
        _ = if self.colour {
            writeln!(out, "{lead}{style}{line}{style:#}")
        } else {
            writeln!(out, "{lead}{line}")
        };
    }
}

fn tint(severity: Severity) -> Style {
    let colour = match severity {
        Severity::Info => AnsiColor::Cyan,
        Severity::Warning => AnsiColor::Yellow,
        Severity::Error => AnsiColor::BrightRed,
        Severity::Critical => AnsiColor::Red,
    };
    Style::new().fg_color(Some(colour.into()))
}

/// `line` in pieces at most `max` columns wide, cut at spaces where there are any; at least one piece.
fn fold(line: &str, max: usize) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut wide = 0;
    for word in line.split_inclusive(' ') {
        if wide > 0 && wide + word.trim_end().width() > max {
            out.push(String::new());
            wide = 0;
        }
        for c in word.chars() {
            // two columns for what terminals do not agree on; a piece is never wider than counted
            let columns = c.width().unwrap_or(2);
            if wide + columns > max && c != ' ' {
                out.push(String::new());
                wide = 0;
            }
            if wide + columns <= max {
                wide += columns;
                if let Some(last) = out.last_mut() {
                    last.push(c);
                }
            }
        }
    }
    for piece in &mut out {
        piece.truncate(piece.trim_end().len());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Alert, Held, Sample};
    use crate::chat::samples::{alert, any_message, message};
    use proptest::prelude::*;

    #[test]
    fn a_card_in_the_terminal_reads_like_this() {
        let one = Alert {
            held: vec![Held { count: 12, reason: "repeats".into() }],
            runbook: Some("https://runbooks.example/ssh".into()),
            ..alert("sshd-brute-force")
        };
        let sample = Sample { secrets: 2, ..one.samples[0].clone() };
        let one = Alert { samples: vec![sample], ..one };
        let want = "\
── 🟠 error on web1 · sshd-brute-force ─────────────────────────────────────────
   ip=192.0.2.1
   37 hits within 30s · 22 Nov 08:03:59 – 08:04:29 UTC
   failed logins from 192.0.2.1
   │ 08:03:59 /var/log/auth.log
   │ sshd[1]: <users/all> & more
   held back: 12 repeats
   2 secrets taken out
   runbook: https://runbooks.example/ssh
   silence: logherald silence sshd-brute-force ip=192.0.2.1 --for 2h --why 'seen in ops'
────────────────────────────────────────────────────────────────────────────────
";
        assert_eq!(draw(&message(vec![one]), false), want);
    }

    #[test]
    fn long_lines_fold_at_words() {
        assert_eq!(fold("one two three", 8), ["one two", "three"]);
        assert_eq!(fold("abcdefghij", 4), ["abcd", "efgh", "ij"]);
        assert_eq!(fold("日本語日本語", 5), ["日本", "語日", "本語"]);
        assert_eq!(fold("", 5), [""]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn no_line_is_wider_than_the_terminal_and_no_control_gets_through(m in any_message()) {
            let drawn = draw(&m, false);
            for line in drawn.lines().filter(|l| !l.starts_with("   silence")) {
                prop_assert!(line.width() <= COLUMNS, "{} columns: {line}", line.width());
            }
            prop_assert!(!drawn.chars().any(|c| c.is_control() && c != '\n'));
        }

        #[test]
        fn colour_changes_no_character(m in any_message()) {
            let coloured = anstream::adapter::strip_str(&draw(&m, true)).to_string();
            prop_assert_eq!(coloured, draw(&m, false));
        }
    }
}
