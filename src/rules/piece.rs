//! The named pieces: what `{ip}` and its friends stand for.
//!
//! A piece is written so that it takes a whole token where that can be said without look-around: `{ip}` never
//! takes `1.2.3.40` out of `1.2.3.400`. The surprise: the alternatives of an address stand longest first, because
//! the regex engine takes the first alternative that fits and `1::2` is a fine beginning of `1::2:3`.

/// Names of the pieces, in the order in which help texts list them.
pub const PIECES: [&str; 7] = ["ip", "host", "num", "uuid", "word", "path", "user"];

/// One octet of a dotted address.
const OCTET: &str = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])";

/// One group of an address with colons.
const GROUP: &str = "[0-9A-Fa-f]{1,4}";

/// The regex of a piece, without its capture; `None` for a name that is no piece.
///
/// Every flag that could change its meaning is reset by whoever writes it into a pattern, so case, greed and
/// spacing flags around a piece have no say in it.
pub fn piece(name: &str) -> Option<String> {
    Some(match name {
        "ip" => ip(),
        "host" => r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?".into(),
        "num" => r"[+-]?[0-9]+(?:\.[0-9]+)?".into(),
        "uuid" => r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}".into(),
        "word" => r"\w+".into(),
        // a path does not end in the punctuation of the sentence that it stands in
        "path" => r"/(?:[^\s\x22'`<>|]*[^\s\x22'`<>|,;:.()\[\]{}])?".into(),
        "user" => r"\w(?:[\w.@\\+-]*\w)?\$?".into(),
        _ => return None,
    })
}

fn ip() -> String {
    let (o, g) = (OCTET, GROUP);
    let v4 = format!(r"(?:{o}\.){{3}}{o}");
    let mut v6 = vec![
        format!("(?:{g}:){{6}}{v4}"),
        format!("(?:{g}:){{1,5}}(?::{g}){{0,4}}:{v4}"),
        format!("::(?:{g}:){{0,5}}{v4}"),
        format!("(?:{g}:){{7}}{g}"),
    ];
    v6.extend((1..=6).map(|n| format!("(?:{g}:){{1,{n}}}(?::{g}){{1,{}}}", 7 - n)));
    v6.extend([format!("(?:{g}:){{1,7}}:"), format!(":(?::{g}){{1,7}}"), "::".into()]);
    let zone = "(?:%[0-9A-Za-z._-]*[0-9A-Za-z])?";
    format!(r"(?-u:\b{{start-half}})(?:{v4}|(?:{}){zone})(?-u:\b{{end-half}})", v6.join("|"))
}

#[cfg(test)]
mod tests {
    use crate::rules::Pattern;

    fn takes(pattern: &str, name: &str, line: &str) -> Option<String> {
        let p = Pattern::new(pattern).unwrap();
        let caps = p.regex().captures(line.as_bytes())?;
        Some(String::from_utf8_lossy(caps.name(name)?.as_bytes()).into_owned())
    }

    fn ip(line: &str) -> Option<String> {
        takes("{ip}", "ip", line)
    }

    #[test]
    fn an_address_of_each_spelling_is_taken_whole() {
        for a in [
            "0.0.0.0",
            "255.255.255.255",
            "192.0.2.1",
            "::",
            "::1",
            "1::",
            "fe80::1%eth0",
            "fe80::1%eth0.100",
            "2001:db8::8a2e:370:7334",
            "2001:0db8:0000:0000:0000:8a2e:0370:7334",
            "1:2:3:4:5:6:7::",
            "1::3:4:5:6:7:8",
            "1:2:3::5:6:7:8",
            "::2:3:4:5:6:7:8",
            "::ffff:192.0.2.1",
            "64:ff9b::192.0.2.33",
            "1:2:3:4:5:6:192.0.2.1",
            "2001:DB8::AB",
        ] {
            for line in
                [a.to_owned(), format!("from {a} port 22"), format!("[{a}]:22"), format!("rhost={a}, x")]
            {
                assert_eq!(ip(&line).as_deref(), Some(a), "{line}");
            }
        }
    }

    #[test]
    fn half_of_a_longer_token_is_no_address() {
        for line in [
            "1.2.3.400",
            "1234.1.2.3",
            "256.1.1.1",
            "1.2.3",
            "12:34:56",
            "aa:bb:cc:dd:ee:ff",
            "std::vector",
            "foo::bar",
            "x10.0.0.1",
            "10.0.0.1x",
            "a ::zz",
        ] {
            assert_eq!(ip(line), None, "{line}");
        }
    }

    #[test]
    fn an_address_before_a_port_or_a_dot_is_taken_alone() {
        assert_eq!(ip("to 10.251.73.220:50010.").as_deref(), Some("10.251.73.220"));
        assert_eq!(ip("bad address 10.0.0.1.").as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn the_other_pieces_take_what_they_say() {
        assert_eq!(takes("took {num}ms", "num", "it took 12.5ms").as_deref(), Some("12.5"));
        assert_eq!(
            takes("on {host}:", "host", "on db-1.example.org: up").as_deref(),
            Some("db-1.example.org")
        );
        assert_eq!(takes("open {path}", "path", "open /etc/x.conf: denied").as_deref(), Some("/etc/x.conf"));
        assert_eq!(takes("open {path}", "path", "open / now").as_deref(), Some("/"));
        assert_eq!(takes("for {user} from", "user", "for EX\\bob$ from").as_deref(), Some("EX\\bob$"));
        assert_eq!(takes("user {user}", "user", "user bob.").as_deref(), Some("bob"));
        assert_eq!(takes("<{word}>", "word", "<größe>").as_deref(), Some("größe"));
        let uuid = "550e8400-e29b-41d4-a716-446655440000";
        assert_eq!(takes("{uuid}", "uuid", &format!("req-{uuid} x")).as_deref(), Some(uuid));
    }

    #[test]
    fn flags_around_a_piece_have_no_say_in_it() {
        assert_eq!(takes("(?ixU) from \\  {ip} $", "ip", "FROM 10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(takes("(?i)on {host}", "host", "ON \u{212a}").as_deref(), None);
    }
}
