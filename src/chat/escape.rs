//! Makes hostile text harmless, one function for each surface it is drawn on.
//!
//! Everything that came from a log passes through two of these: first [`clean`] or [`clean_lines`], which take
//! away what could forge a layout on any surface, then the escape of the one surface. Surprising: Chat documents no
//! escape at all for its `text` field, so there a zero-width space breaks what would be live, and the
//! card, whose entities are a total function, is the surface of choice.

/// Zero-width space: what breaks a construct on the text surface, and what [`clean`] takes out of a line.
const BREAK: char = '\u{200b}';

/// `text` on one line: controls shown or dropped, line breaks as `⏎`.
pub(super) fn clean(text: &str) -> String {
    scrub(text, |out| out.push_str(" ⏎ "))
}

/// `text` with its line breaks kept; every other control shown or dropped.
pub(super) fn clean_lines(text: &str) -> String {
    scrub(text, |out| out.push('\n'))
}

fn scrub(text: &str, mut line_break: impl FnMut(&mut String)) -> String {
    let text = text.trim_end_matches(['\r', '\n']);
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\t' => out.push_str("  "),
            '\r' if rest.as_str().starts_with('\n') => {}
            '\n' | '\u{85}' | '\u{2028}' | '\u{2029}' => line_break(&mut out),
            '\u{1b}' => match colour_code(rest.as_str(), true) {
                Some(len) => rest = rest.as_str()[len..].chars(),
                None => out.push('␛'),
            },
            '\u{9b}' => match colour_code(rest.as_str(), false) {
                Some(len) => rest = rest.as_str()[len..].chars(),
                None => out.push('\u{fffd}'),
            },
            '\0'..='\u{1f}' => out.push(picture(c)),
            '\u{7f}' => out.push('␡'),
            '\u{80}'..='\u{9f}' => out.push('\u{fffd}'),
            _ if invisible(c) => {}
            _ => out.push(c),
        }
    }
    out
}

/// The sign that stands for a C0 control: U+2400 and its number.
fn picture(c: char) -> char {
    char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')
}

/// Length of a well-formed CSI sequence (colours, cursor moves) after its `ESC` or U+009B. It draws nothing, so it
/// is dropped whole; any other escape loses only its `ESC`, so that nothing can be hidden inside one.
fn colour_code(rest: &str, with_bracket: bool) -> Option<usize> {
    let body = if with_bracket { rest.strip_prefix('[')? } else { rest };
    let params = body.bytes().take_while(|b| (0x20..=0x3f).contains(b)).count();
    let end = body.as_bytes().get(params)?;
    (0x40..=0x7e).contains(end).then_some(rest.len() - body.len() + params + 1)
}

/// Bidirectional controls, zero-width and other characters that draw nothing and can reorder or hide text.
fn invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// For the text of a card's widgets, which Chat reads as HTML.
pub(super) fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

/// For titles and headers, of which Google does not say whether they are HTML: look-alikes, inert under
/// either reading.
pub(super) fn label(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '<' => out.push('‹'),
            '>' => out.push('›'),
            '&' if rest.peek().is_some_and(|n| *n == '#' || n.is_ascii_alphanumeric()) => out.push('＆'),
            _ => out.push(c),
        }
    }
    out
}

/// For the `text` and `fallbackText` of a message: no mention, link, code fence or emphasis survives.
pub(super) fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut before = ' ';
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let next = rest.peek().copied().unwrap_or(' ');
        let at_edge = !(before.is_alphanumeric() && next.is_alphanumeric());
        match c {
            '<' => out.extend(['<', BREAK]),
            '`' => out.push('ˋ'),
            '*' if at_edge => out.push('∗'),
            '_' if at_edge => out.push('ˍ'),
            '~' if at_edge => out.push('∼'),
            ']' if matches!(next, '(' | '[') => out.extend([']', BREAK]),
            ':' if next == '/' => out.extend([':', BREAK]),
            _ => out.push(c),
        }
        before = c;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn controls_are_shown_and_colours_are_dropped() {
        assert_eq!(clean("a\0b\x07c\x7fd"), "a␀b␇c␡d");
        assert_eq!(clean("\x1b[31mred\x1b[0m \u{9b}1mbold"), "red bold");
        assert_eq!(clean("\x1b]0;title\x07 \x1b[31"), "␛]0;title␇ ␛[31");
        assert_eq!(clean("one\r\ntwo\n"), "one ⏎ two");
        assert_eq!(clean_lines("one\r\ntwo\n"), "one\ntwo");
    }

    #[test]
    fn nothing_can_reorder_or_hide_text() {
        assert_eq!(clean("a\u{202e}b\u{200b}c\u{feff}d\u{2066}e\u{e0041}f"), "abcdef");
    }

    #[test]
    fn a_card_shows_markup_as_text() {
        assert_eq!(
            html("<users/all> & </b><a href='x'>"),
            "&lt;users/all&gt; &amp; &lt;/b&gt;&lt;a href=&#39;x&#39;&gt;"
        );
        assert_eq!(html("&lt;"), "&amp;lt;");
    }

    #[test]
    fn a_title_is_inert_whether_it_is_html_or_not() {
        assert_eq!(label("a <b> & c &lt; &#60;"), "a ‹b› & c ＆lt; ＆#60;");
    }

    #[test]
    fn text_keeps_no_live_construct() {
        assert_eq!(text("<users/all>"), "<\u{200b}users/all>");
        assert_eq!(text("<https://evil.example|bank>"), "<\u{200b}https:\u{200b}//evil.example|bank>");
        assert_eq!(text("[a](https://b)"), "[a]\u{200b}(https:\u{200b}//b)");
        assert_eq!(text("```\n*bold* _it_ ~no~ snake_case 2*3"), "ˋˋˋ\n∗bold∗ ˍitˍ ∼no∼ snake_case 2*3");
    }

    proptest! {
        #[test]
        fn cleaning_leaves_no_control_and_is_idempotent(raw in any::<String>()) {
            let once = clean_lines(&raw);
            prop_assert!(!once.chars().any(|c| c != '\n' && c.is_control() || invisible(c)));
            prop_assert_eq!(clean_lines(&once), once.trim_end_matches('\n'));
        }

        #[test]
        fn entities_give_the_text_back(raw in any::<String>()) {
            let escaped = html(&raw);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            let back = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'")
                .replace("&amp;", "&");
            prop_assert_eq!(back, raw);
        }

        #[test]
        fn text_leaves_nothing_live(raw in "[<>`*_~:/()\\[\\]a-z |]{0,40}") {
            let escaped = text(&raw);
            prop_assert!(!escaped.contains('`') && !escaped.contains("://") && !escaped.contains("]("));
            prop_assert!(escaped.match_indices('<').all(|(i, _)| escaped[i + 1..].starts_with(BREAK)));
        }
    }
}
