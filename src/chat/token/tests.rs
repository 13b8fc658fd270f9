//! What the token endpoint's answers come to.

use super::*;
use crate::time::Wall;

fn now() -> Now {
    // 22 Nov 2026 08:00:00 UTC
    Now { wall: Wall(1_795_334_400_000), tick: Tick(1000) }
}

fn answer(status: u16, body: &str) -> Answer<'_> {
    Answer { status, retry_after: None, date: None, body: body.as_bytes(), cut: false }
}

fn granted(status: u16, body: &str) -> Result<(u64, u64), Outcome> {
    let tokens = Tokens::new(None, TokenWay::Auto, Arc::new(now));
    let b = tokens.granted(&answer(status, body), now(), "h")?;
    Ok((b.renew.0 - 1000, b.ends.0 - 1000))
}

#[test]
fn a_token_is_renewed_early_whatever_its_life() {
    let life = |text: &str| granted(200, &format!(r#"{{"access_token":"t","expires_in":{text}}}"#)).unwrap();
    assert_eq!(life("3599"), (3_374_000, 3_599_000));
    assert_eq!(life("\"3599\""), (3_374_000, 3_599_000));
    assert_eq!(life("100"), (50_000, 100_000));
    assert_eq!(life("1"), (500, 1000));
    assert_eq!(life("0"), (0, 0));
    assert_eq!(life("null"), (150_000, 300_000));
}

#[test]
fn what_the_token_endpoint_refuses_is_mended_or_tried_again() {
    let outcome = |status, body| granted(status, body).unwrap_err();
    let grant = r#"{"error":"invalid_grant","error_description":"Invalid JWT Signature."}"#;
    match outcome(400, grant) {
        Outcome::Pause { why, .. } => {
            assert_eq!(why, "the token endpoint `h` answered 400 invalid_grant: Invalid JWT Signature.");
        }
        other => panic!("{other:?}"),
    }
    for (status, body) in
        [(500, ""), (429, ""), (403, ""), (400, r#"{"error":"server_error"}"#), (200, "<html>"), (200, "{}")]
    {
        assert!(matches!(outcome(status, body), Outcome::Retry { .. }), "{status} {body}");
    }
}

#[test]
fn each_refusal_of_the_token_endpoint_has_its_remedy() {
    let hint = |error: &str, description: &str, skew| {
        remedy("bot@p1.example", "p1", &format!("{error} {description}"), skew)
    };
    let early = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.";
    for (error, description, skew, want) in [
        ("invalid_grant", early, Some(600), "set this host's clock: it is 600 s ahead of the server's"),
        (
            "invalid_grant",
            early,
            None,
            "set this host's clock, and keep it right: `timedatectl set-ntp true`",
        ),
        (
            "invalid_grant",
            "Invalid JWT Signature.",
            Some(-5),
            "the key was deleted, or is no key of service account `bot@p1.example`: make a new JSON key for it in project \
             `p1`, and store the file as it is",
        ),
        (
            "invalid_grant",
            "Account has been disabled",
            Some(-5),
            "enable service account `bot@p1.example` in project `p1` again",
        ),
        (
            "invalid_grant",
            "Invalid grant: account not found",
            Some(-5),
            "there is no service account `bot@p1.example` any more: make one in project `p1` and store a key for it",
        ),
        (
            "invalid_scope",
            "",
            Some(-5),
            "enable the Google Chat API in project `p1`: `bot@p1.example` needs the scope \
             `https://www.googleapis.com/auth/chat.bot`",
        ),
        ("invalid_grant", "something new", Some(-5), "-"),
    ] {
        assert_eq!(hint(error, description, skew).as_deref().unwrap_or("-"), want, "{error} {description}");
    }
}
