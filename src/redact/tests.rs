//! What goes, and above all what stays.

use proptest::prelude::*;

use super::issued::{ISSUED, Issued, Of};
use super::*;

fn redact(text: &str) -> String {
    Redactor::new().redact(text).into_owned()
}

/// The one door: each text becomes the other, and stays so.
fn check(cases: &[(&str, &str)]) {
    for (text, redacted) in cases {
        let clean = Redactor::new().clean(text);
        assert_eq!(clean.text, *redacted, "{text}");
        assert_eq!(clean.secrets as usize, redacted.matches(REDACTED).count(), "secrets of {text}");
        assert_eq!(redact(redacted), *redacted, "once more: {text}");
    }
}

#[test]
fn a_value_beside_its_name_goes_and_the_name_stays() {
    check(&[
        ("login password=hunter2 ok", "login password=[redacted] ok"),
        ("DB_PASSWD: hunter2, next", "DB_PASSWD: [redacted], next"),
        ("pwd = 'two words' x", "pwd = '[redacted]' x"),
        ("user=bob pass=hunter2", "user=bob pass=[redacted]"),
        ("{\"password\": \"a b\", \"n\": 1}", "{\"password\": \"[redacted]\", \"n\": 1}"),
        ("{\"password\":12345,\"n\":1}", "{\"password\":[redacted],\"n\":1}"),
        ("{\\\"token\\\":\\\"abc\\\"}", "{\\\"token\\\":\\\"[redacted]\\\"}"),
        ("\"secret\": \"a\\\"b c\" x", "\"secret\": \"[redacted]\" x"),
        ("'password' => 'hunter2',", "'password' => '[redacted]',"),
        (":token=>\"abc\"", ":token=>\"[redacted]\""),
        ("user[password]=hunter2&x=1", "user[password]=[redacted]&x=1"),
        ("[token=abc]", "[token=[redacted]]"),
        ("client_secret=abc&x=1", "client_secret=[redacted]&x=1"),
        ("api_key: 12345z", "api_key: [redacted]"),
        ("API key: a1b2c3", "API key: [redacted]"),
        ("x-api-key=12345", "x-api-key=[redacted]"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "aws_secret_access_key = [redacted]"),
        ("AccountName=x;AccountKey=bXlrZXk=;E=1", "AccountName=x;AccountKey=[redacted];E=1"),
        ("access_token: Bearer abc.def", "access_token: Bearer [redacted]"),
        ("<password>hunter2</password>", "<password>[redacted]</password>"),
        ("CREATE USER a IDENTIFIED BY 'hunter2'", "CREATE USER a IDENTIFIED BY '[redacted]'"),
        ("ALTER ROLE a PASSWORD 'hunter2';", "ALTER ROLE a PASSWORD '[redacted]';"),
        ("mysqldump --password hunter2 db", "mysqldump --password [redacted] db"),
        ("run --db-password=hunter2 db", "run --db-password=[redacted] db"),
        ("COMMAND=/bin/x -token 'a b'", "COMMAND=/bin/x -token '[redacted]'"),
    ]);
}

#[test]
fn headers_and_urls_lose_what_opens_the_door() {
    check(&[
        ("Authorization: Bearer abc.def", "Authorization: Bearer [redacted]"),
        ("authorization: Basic dXNlcjpwdw==", "authorization: Basic [redacted]"),
        ("Proxy-Authorization: hunter2", "Proxy-Authorization: [redacted]"),
        ("\"Authorization\":\"Token abc\"", "\"Authorization\":\"Token [redacted]\""),
        ("Authorization: Digest username=\"bob\", response=\"6629\"", "Authorization: Digest [redacted]"),
        ("sent bearer abcdefgh12", "sent bearer [redacted]"),
        ("postgres://bob:s3cr:et@db/x", "postgres://bob:[redacted]@db/x"),
        ("redis://:pw@h:6379", "redis://:[redacted]@h:6379"),
        (
            "POST https://chat.googleapis.com/v1/spaces/A/messages?key=AIza-x-key&token=y%3D",
            "POST https://chat.googleapis.com/v1/spaces/A/messages?key=[redacted]&token=[redacted]",
        ),
        (
            "GET https://a.blob.core.windows.net/c/b?sv=2024-11-04&se=2026-01-01&sig=Ab%2Bc%3D HTTP/1.1",
            "GET https://a.blob.core.windows.net/c/b?sv=2024-11-04&se=2026-01-01&sig=[redacted] HTTP/1.1",
        ),
        (
            "https://hooks.slack.com/services/T0/B0/abcdefghijkl",
            "https://hooks.slack.com/services/[redacted]",
        ),
    ]);
}

#[test]
fn what_vendors_issue_is_known_by_its_prefix() {
    let letters = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6a7B8c9D0e1F2g3H4";
    let hex = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let (l, h) = (|n: usize| &letters[..n], |n: usize| &hex[..n]);
    for secret in [
        "AKIAIOSFODNN7EXAMPLE".to_owned(),
        "ASIAIOSFODNN7EXAMPLE".to_owned(),
        format!("ghp_{}", l(36)),
        format!("github_pat_{}_{}", l(22), l(59)),
        format!("glpat-{}", l(20)),
        format!("xoxb-123456789012-123456789012-{}", l(24)),
        format!("xapp-1-A0-{}", l(20)),
        format!("AIza{}", l(35)),
        format!("ya29.{}", l(40)),
        format!("sk_live_{}", l(24)),
        format!("rk_test_{}", l(24)),
        format!("npm_{}", l(36)),
        format!("pypi-AgEIcHlwaS5vcmc{}", l(60)),
        format!("SK{}", h(32)),
        format!("SG.{}.{}", l(22), l(43)),
        format!("sk-{}", l(48)),
        format!("sk-proj-{}-{}", l(20), l(20)),
        format!("sk-{}", h(32)),
        format!("hvs.{}", l(24)),
        format!("dop_v1_{}", h(64)),
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl".to_owned(),
        format!("eyJ{}", l(40)),
    ] {
        for (before, after) in [("", ""), ("id ", " used"), ("(", ")"), ("k:\"", "\""), ("user ", ", x")] {
            let clean = Redactor::new().clean(&format!("{before}{secret}{after}")).text.into_owned();
            assert_eq!(clean, format!("{before}{REDACTED}{after}"), "{secret}");
        }
        let longer = format!("x{secret}");
        if !secret.starts_with("github") && !secret.starts_with("eyJ") {
            assert_eq!(redact(&longer), longer, "in the middle of a word it is none");
        }
    }
}

/// Each prefix, with the shortest and the longest that is taken for a token of it.
#[test]
fn whatever_a_vendor_issues_is_taken_out_whole() {
    let made_up = |of: Of, length: usize| {
        let some = match of {
            Of::Hex => "0f1e",
            Of::Capitals => "A1B2",
            Of::Letters => "a1B2",
            Of::Word => "a1_B",
            Of::Url | Of::Mixed => "a1-B_",
            Of::Dotted => "a1.B",
        };
        // the last character is one of a word, so that none of a sentence's is taken for it
        let text: String = some.chars().cycle().take(length - 1).collect();
        text + &some[..1]
    };
    for Issued { prefix, min, max, of } in &ISSUED {
        for length in [*min, *max] {
            let secret = format!("{prefix}{}", made_up(*of, length));
            let clean = Redactor::new().clean(&format!("id {secret} used")).text.into_owned();
            assert_eq!(clean, format!("id {REDACTED} used"), "{prefix}, {length}");
        }
        let short = format!("id {prefix}{} used", made_up(*of, min - 1));
        assert_eq!(redact(&short), short, "{prefix} with a character too few");
    }
}

#[test]
fn private_keys_go_whole_or_cut() {
    check(&[
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nAbc=\n-----END RSA PRIVATE KEY----- x",
            "-----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY----- x",
        ),
        ("-----BEGIN PRIVATE KEY----- MIIE", "-----BEGIN PRIVATE KEY-----[redacted]"),
        ("-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----"),
        (
            "-----BEGIN PGP PRIVATE KEY BLOCK-----\\nlQ\\n-----END PGP PRIVATE KEY BLOCK-----",
            "-----BEGIN PGP PRIVATE KEY BLOCK-----[redacted]-----END PGP PRIVATE KEY BLOCK-----",
        ),
        (
            "read it\nMIIEvQIBADANBgkqhkiG9w0\nAbc=\n-----END PRIVATE KEY-----",
            "read it\n[redacted]-----END PRIVATE KEY-----",
        ),
        ("-----BEGIN CERTIFICATE-----\nMIIE", "-----BEGIN CERTIFICATE-----\nMIIE"),
    ]);
    let lines = |lines: &[&str]| Redactor::new().lines(lines.iter().copied());
    let body = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC";
    let whole = ["a", "-----BEGIN PRIVATE KEY-----", body, "Ab=", "-----END PRIVATE KEY-----", "b"];
    assert_eq!(
        lines(&whole),
        (["a", whole[1], REDACTED, REDACTED, whole[4], "b"].map(str::to_owned).to_vec(), 1)
    );
    assert_eq!(lines(&whole[..3]), (["a", whole[1], REDACTED].map(str::to_owned).to_vec(), 1));
    assert_eq!(
        lines(&["a b", body, "Ab=", "-----END PRIVATE KEY-----"]).0,
        ["a b", REDACTED, REDACTED, "-----END PRIVATE KEY-----"]
    );
    assert_eq!(
        lines(&["a", "password=x", "b"]),
        (vec!["a".into(), "password=[redacted]".into(), "b".into()], 1)
    );
}

#[test]
fn what_is_no_secret_is_not_touched() {
    for line in [
        "Failed password for root from 192.0.2.1 port 22 ssh2",
        "Access denied for user 'root'@'localhost' (using password: YES)",
        "3 incorrect password attempts ; TTY=pts/0 ; PWD=/home/kim ; USER=root ; COMMAND=/bin/ls",
        "pam_unix(sudo:auth): password failed",
        "GET http://h.example:80/x?y=1",
        "GET /login?code=200&key=name&page=2",
        "keyboard key pressed",
        "Unexpected token '}' in JSON at position 12",
        "invalid token: expired",
        "token: 12",
        "max_tokens=512 total_tokens: 42 tokens_per_second=9",
        "token_type=x secret_name=y",
        "monkey: 1 token bucket",
        "bearer authentication failed",
        "authorization: denied",
        "compass=north bypass=true",
        "password=null token=\"\" secret=**** password: none",
        "secret \"default-token-abc12\" not found",
        "private_key=/etc/ssl/private/key.pem",
        "sk-learn-user-guide and task-runner-with-a-long-name",
        "user a@b.example logged in",
        "passenger list, passed: 3",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 by x",
        "id 550e8400-e29b-41d4-a716-446655440000 done",
        "container 4f66ad9a0b2e9f3c1d5e7a8b6c4d2e1f0a9b8c7d6e5f4a3b2c1d0e9f8a7b6c5d started",
        "2026-11-22T05:26:00.123456789+01:00 host app[4242]: 1700000000123456 took 12 ms",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU key accepted",
        "key-value store; AKIA is a prefix; ghp_ too",
        "order 4111111111111112 shipped",
        "-----BEGIN CERTIFICATE-----",
    ] {
        assert!(matches!(Redactor::new().redact(line), Cow::Borrowed(_)), "{line}: {}", redact(line));
    }
}

#[test]
fn cards_go_wherever_they_stand() {
    check(&[
        ("paid with 4111 1111 1111 1111 today", "paid with [redacted] today"),
        ("card=378282246310005;", "card=[redacted];"),
    ]);
}

#[test]
fn addresses_go_when_the_operator_asks() {
    let line = "mail from <a.b+c@mail.example.org> to root@localhost";
    assert_eq!(redact(line), line);
    let emails = Redactor::with(true, Vec::new());
    assert_eq!(emails.redact(line), "mail from <[redacted]> to root@localhost");
    assert_eq!(emails.clean(line).secrets, 1);
}

#[test]
fn the_operators_patterns_keep_what_they_say() {
    let extra = |pattern: &str| Redactor::with(false, vec![Extra::new(pattern).unwrap()]);
    let session = extra(r"(?<keep>session=)\S+");
    let clean = session.clean("session=abc x session=def");
    assert_eq!((&*clean.text, clean.secrets), ("session=[redacted] x session=[redacted]", 2));
    assert_eq!(session.clean(&clean.text), Clean { text: Cow::Borrowed(&clean.text), secrets: 0 });
    let middle = extra(r"A(?<keep>-)B").clean("xA-By");
    assert_eq!((&*middle.text, middle.secrets), ("x[redacted]-[redacted]y", 1));
    // what was taken out is not searched again
    let greedy = extra("[a-z]{8}");
    let once = greedy.redact("token=x1 abcdefgh").into_owned();
    assert_eq!(once, "token=[redacted] [redacted]");
    assert_eq!(greedy.redact(&once), once);
    assert_eq!(Extra::new("x*").unwrap_err(), ExtraFault::Empty);
    assert_eq!(Extra::new(r"(?-u:\xff)").unwrap_err(), ExtraFault::Unusable);
}

#[test]
fn a_value_is_judged_by_the_name_it_stood_under() {
    let redactor = Redactor::new();
    for name in ["password", "user_password", "Token", "api_key", "apiKey", "authorization", "db.passwd"] {
        assert_eq!(redactor.value(name, "hunter2"), REDACTED, "{name}");
    }
    for name in ["user", "key", "ip", "monkey", "tokens"] {
        assert_eq!(redactor.value(name, "hunter2"), "hunter2", "{name}");
    }
}

#[test]
fn a_hostile_line_costs_no_more_than_its_length() {
    for part in [
        "password=",
        "eyJ",
        "a://b:",
        "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN ",
        "-----END PRIVATE KEY-----",
        "token: \"",
        "--pass ",
        "--password ",
        "1 ",
        "4111 ",
        "authorization: ",
        "sk-",
        "&key=",
        "a://",
        "\\\"password\\\":\\\"",
        "<password>",
    ] {
        let line = part.repeat(20_000);
        assert!(redact(&line).len() <= line.len() * 4, "{part}");
    }
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "password",
        "token",
        "=",
        ":",
        " ",
        "\"",
        "'",
        "\\",
        "x",
        "secret",
        "://",
        "@",
        "Bearer ",
        "Authorization",
        "&key=",
        "?",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJabcdefg.abcdefg.",
        "-----BEGIN PRIVATE KEY-----",
        "-----END PRIVATE KEY-----",
        "--pass",
        "a",
        "b1",
        ",",
        "{",
        "}",
        "é",
        "\n",
        "[redacted]",
        "[",
        "]",
        "/",
        "4111 1111 1111 1111",
        "4111111111111111",
        "-",
        ">",
        "<",
        "</",
        "abcdefgh1",
        "Digest ",
        "api key",
        "pass=",
        "a@b.example",
        "session=",
        "🔴",
        "IDENTIFIED BY ",
        "MIIEvQIBADANBgkqhkiG9w0",
        ".",
        ";",
        "sk-a1B2c3D4e5F6g7H8i9J0",
    ]);
    prop::collection::vec(piece, 0..14).prop_map(|p| p.concat())
}

proptest! {
    #[test]
    fn twice_is_once_and_nothing_grows_beyond_its_bound(text in prop_oneof![pieces(), any::<String>()]) {
        let extra = vec![Extra::new(r"(?<keep>session=)\S+").unwrap(), Extra::new("b1").unwrap()];
        for redactor in [Redactor::new(), Redactor::with(true, Vec::new()), Redactor::with(true, extra)] {
            let once = redactor.redact(&text).into_owned();
            prop_assert_eq!(&redactor.redact(&once), &once, "{}", text);
            prop_assert!(once.len() <= text.len() * 11, "{} of {}", once.len(), text.len());
        }
    }

    /// What comes out is what went in, whole characters and in order, but for what was replaced.
    #[test]
    fn what_stays_is_untouched(text in pieces()) {
        let once = redact(&text);
        let mut rest = &*text;
        for (n, kept) in once.split(REDACTED).enumerate() {
            let at = if n == 0 { rest.starts_with(kept).then_some(0) } else { rest.find(kept) };
            prop_assert!(at.is_some(), "{kept:?} of {once:?} is not in {text:?}");
            rest = &rest[at.unwrap() + kept.len()..];
        }
    }

    /// A secret in the open is gone, whatever stands around it.
    #[test]
    fn whatever_stands_around_it_a_secret_goes(before in pieces(), after in pieces()) {
        let secret = "hunter2hunter2";
        for with in ["password=", "\npassword: ", " api_key=", " Authorization: Bearer "] {
            let once = redact(&format!("{before} {with}{secret} {after}"));
            prop_assert!(!once.contains(secret), "{once}");
        }
    }
}
