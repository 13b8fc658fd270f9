//! Makes hostile text harmless, one function for each surface it is drawn on.
//!
//! Everything that came from a log passes through two of these: first [`clean`] or [`clean_lines`], which take
//! away what could forge a layout on any surface, then the escape of the one surface. Surprising: Chat documents no
//! escape at all for its `text` field, so there a zero-width space breaks what would be live, and the
//! card, whose entities are a total function, is the surface of choice.

/// Zero-width space: what breaks a construct on the text surface, and what [`clean`] takes out of a line.
pub(super) const BREAK: char = '\u{200b}';

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

/// Characters that draw nothing and can reorder or hide text: Unicode's format characters (Cf), but for the signs of
/// Arabic, Syriac and Kaithi that stand before numbers and are drawn, and what else it calls ignorable by default.
/// Variation selectors are among them: an emoji keeps its shape without.
pub(super) fn invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{13430}'..='\u{1343f}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
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
            // an entity, should Chat read any; an address that becomes a link by itself
            '&' if next == '#' || next.is_ascii_alphanumeric() => out.extend(['&', BREAK]),
            '@' => out.extend(['@', BREAK]),
            '.' if www(&out) => out.extend(['.', BREAK]),
            _ => out.push(c),
        }
        before = c;
    }
    out
}

/// What is written so far ends in `www`: with a dot it is a link without a scheme.
fn www(out: &str) -> bool {
    out.as_bytes().last_chunk().is_some_and(|tail: &[u8; 3]| tail.eq_ignore_ascii_case(b"www"))
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

    /// Signs that Unicode counts among format characters and that are drawn.
    const DRAWN: [char; 13] = [
        '\u{600}',
        '\u{601}',
        '\u{602}',
        '\u{603}',
        '\u{604}',
        '\u{605}',
        '\u{6dd}',
        '\u{70f}',
        '\u{890}',
        '\u{891}',
        '\u{8e2}',
        '\u{110bd}',
        '\u{110cd}',
    ];

    /// Every character there is, by its category.
    #[test]
    fn no_control_no_format_character_and_no_foreign_line_end_passes() {
        let unseen =
            regex::Regex::new(r"^[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]$").unwrap();
        let mut buffer = [0; 4];
        for c in ('\0'..=char::MAX).filter(|c| !DRAWN.contains(c)) {
            let text = c.encode_utf8(&mut buffer);
            if unseen.is_match(text) {
                for cleaned in [clean(&format!("a{text}b")), clean_lines(&format!("a{text}b"))] {
                    let left =
                        cleaned.chars().any(|k| k != '\n' && unseen.is_match(k.encode_utf8(&mut [0; 4])));
                    assert!(!left, "U+{:04X} gives {cleaned:?}", c as u32);
                }
            } else if c != '\u{2800}' && !c.is_whitespace() {
                assert_eq!(
                    clean(&format!("a{c}b")),
                    format!("a{c}b"),
                    "U+{:04X} is there to be read",
                    c as u32
                );
            }
        }
    }

    /// Hostile text: markup among letters, digits and signs.
    fn hostile() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "<users/all>",
            "<users/1>",
            "<",
            ">",
            "|",
            "https://evil.example",
            "www.evil.example",
            "WWW.x",
            "a@b.example",
            "@all",
            "[a](",
            "](",
            "][",
            "[",
            ")",
            "```",
            "`",
            "*",
            "_",
            "~",
            "&lt;",
            "&#60;",
            "&amp;lt;",
            "&",
            ";",
            "</b>",
            "<a href=\"x\">",
            "'",
            "\"",
            "\n",
            "\r\n",
            "\t",
            "\0",
            "\x1b[31m",
            "\x1b",
            "\u{9b}1m",
            "\u{202e}",
            "\u{200b}",
            "\u{200d}",
            "\u{feff}",
            "\u{2066}",
            "\u{1d173}",
            "é",
            "日本",
            "🔴",
            "word",
            "7",
            " ",
            ":",
            "/",
            ".",
            "-",
        ]);
        prop::collection::vec(prop_oneof![3 => piece.prop_map(str::to_owned), 1 => any::<String>()], 0..16)
            .prop_map(|parts| parts.concat())
    }

    /// What a person makes of it: letters, digits and signs, without what only breaks, and look-alikes as what they stand
    /// for.
    fn read(text: &str) -> String {
        let plain = |c: char| match c {
            'ˋ' => '`',
            '∗' => '*',
            'ˍ' => '_',
            '∼' => '~',
            '‹' => '<',
            '›' => '>',
            '＆' => '&',
            c => c,
        };
        text.chars().filter(|c| *c != BREAK).map(plain).collect()
    }

    /// What Chat makes of the text of a card.
    fn unescaped(text: &str) -> String {
        let names = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
        names.iter().fold(text.to_owned(), |text, (entity, sign)| text.replace(entity, sign))
    }

    proptest! {
        #[test]
        fn nothing_hostile_is_live_on_any_surface_and_all_of_it_can_be_read(raw in hostile()) {
            let cleaned = clean_lines(&raw);
            let (card, title, plain) = (html(&cleaned), label(&cleaned), text(&cleaned));
            for live in ["<", ">", "\"", "'"] {
                prop_assert!(!card.contains(live), "{card}");
            }
            let entity = regex::Regex::new("&(?:lt|gt|quot|#39|amp);").unwrap();
            prop_assert!(!entity.replace_all(&card, "").contains('&'), "{card}");
            let known = regex::Regex::new(r"<|>|&(?:#|[0-9A-Za-z])").unwrap();
            prop_assert!(!known.replace_all(&title, "\0").contains('\0'), "{title}");
            let live = regex::Regex::new(
                r"(?i)<[^\u{200b}]|<$|`|://|\]\(|\]\[|&[#a-z0-9]|\bwww\.[^\u{200b}]|@[^\u{200b}]|(?m:^|\s)[*_~]|[*_~](?m:$|\s)",
            )
            .unwrap();
            prop_assert!(!live.is_match(&plain), "{plain:?}");
            prop_assert_eq!(unescaped(&card), &*cleaned);
            prop_assert_eq!(read(&title), read(&cleaned));
            prop_assert_eq!(read(&plain), read(&cleaned));
        }

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
