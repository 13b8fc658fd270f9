//! The table of every answer.

use super::*;
use proptest::prelude::*;

const OURS: &str = r#"{"name":"spaces/AAAA/messages/B.C","thread":{"name":"spaces/AAAA/threads/T"}}"#;

fn rest() -> Door {
    Door::Rest(Caller {
        client_email: Some("bot@proj-1.iam.gserviceaccount.com".into()),
        project_id: Some("proj-1".into()),
    })
}

fn answer(status: u16, body: &str) -> Answer<'_> {
    Answer { status, retry_after: None, date: None, body: body.as_bytes(), cut: false }
}

fn judge(door: &Door, answer: &Answer<'_>) -> Outcome {
    // 22 Nov 2026 08:00:00 UTC
    classify(
        &Ask { door, space: "spaces/AAAA", plain: false, edit: false, at: Wall(1_795_334_400_000) },
        answer,
    )
}

fn error(status: &str, message: &str, reason: &str) -> String {
    let details = if reason.is_empty() { vec![] } else { vec![serde_json::json!({ "reason": reason })] };
    serde_json::json!({ "error": { "status": status, "message": message, "details": details } }).to_string()
}

/// One letter for each outcome: delivered, retry, unanswered, slow, pause, refused, gone.
fn letter(outcome: &Outcome) -> char {
    match outcome {
        Outcome::Delivered { .. } => 'D',
        Outcome::Retry { .. } => 'R',
        Outcome::Unanswered { .. } => 'U',
        Outcome::Slow { .. } => 'S',
        Outcome::Pause { .. } => 'P',
        Outcome::Refused { .. } => 'X',
        Outcome::Gone { .. } => 'G',
    }
}

#[test]
fn every_status_has_its_outcome_with_json_html_and_no_body() {
    let table: [(u16, char); 52] = [
        (100, 'R'),
        (200, 'R'),
        (201, 'R'),
        (202, 'R'),
        (204, 'R'),
        (206, 'R'),
        (301, 'P'),
        (302, 'P'),
        (304, 'P'),
        (307, 'P'),
        (308, 'P'),
        (400, 'X'),
        (401, 'P'),
        (402, 'P'),
        (403, 'P'),
        (404, 'P'),
        (405, 'P'),
        (406, 'P'),
        (407, 'P'),
        (408, 'R'),
        (409, 'R'),
        (410, 'P'),
        (411, 'X'),
        (412, 'R'),
        (413, 'X'),
        (414, 'X'),
        (415, 'P'),
        (418, 'X'),
        (422, 'X'),
        (425, 'R'),
        (429, 'S'),
        (431, 'X'),
        (451, 'P'),
        (499, 'R'),
        (500, 'R'),
        (501, 'P'),
        (502, 'R'),
        (503, 'R'),
        (504, 'R'),
        (505, 'P'),
        (507, 'R'),
        (511, 'R'),
        (520, 'R'),
        (521, 'R'),
        (522, 'R'),
        (523, 'R'),
        (524, 'R'),
        (525, 'R'),
        (526, 'R'),
        (527, 'R'),
        (529, 'R'),
        (999, 'R'),
    ];
    for (status, want) in table {
        for body in ["", "<html>portal</html>", r#"{"error":{}}"#, "[]", "null"] {
            for door in [Door::Webhook, rest()] {
                let got = judge(&door, &answer(status, body));
                assert_eq!(letter(&got), want, "{status} {body}: {got:?}");
            }
        }
    }
}

#[test]
fn a_message_in_our_space_is_a_delivery() {
    let want = Outcome::Delivered {
        name: Some("spaces/AAAA/messages/B.C".into()),
        thread: Some("spaces/AAAA/threads/T".into()),
    };
    assert_eq!(judge(&rest(), &answer(200, OURS)), want);
}

#[test]
fn a_200_that_is_no_message_of_ours_is_not_a_delivery() {
    let why = |a: Answer<'_>| match judge(&rest(), &a) {
        Outcome::Retry { why, .. } => why,
        other => panic!("{other:?}"),
    };
    let portal = "200, but not from Chat: look for a proxy or portal in between";
    assert_eq!(why(answer(200, "<html>")), portal);
    assert_eq!(why(answer(200, "{}")), portal);
    assert_eq!(
        why(answer(200, r#"{"name":"spaces/BBBB/messages/1"}"#)),
        "200, but for `spaces/BBBB/messages/1` and not a message in `spaces/AAAA`"
    );
    assert_eq!(
        why(answer(200, r#"{"name":"spaces/AAAAB/messages/1"}"#)),
        "200, but for `spaces/AAAAB/messages/1` and not a message in `spaces/AAAA`"
    );
    assert_eq!(why(Answer { cut: true, ..answer(200, OURS) }), "200, but the answer broke off");
}

#[test]
fn our_message_id_taken_means_an_earlier_try_landed() {
    let taken = error("ALREADY_EXISTS", "message exists", "");
    assert_eq!(letter(&judge(&Door::Webhook, &answer(409, &taken))), 'D');
    assert_eq!(letter(&judge(&rest(), &answer(409, &error("ABORTED", "try again", "")))), 'R');
}

#[test]
fn a_refused_card_is_sent_again_plain_and_a_refused_plain_form_is_not() {
    let bad = error("INVALID_ARGUMENT", "Message is longer than 4096 characters", "");
    let want = "400 INVALID_ARGUMENT: Message is longer than 4096 characters";
    let door = rest();
    for plain in [false, true] {
        let ask = Ask { door: &door, space: "spaces/AAAA", plain, edit: false, at: Wall(0) };
        let got = classify(&ask, &answer(400, &bad));
        assert_eq!(got, Outcome::Refused { why: want.into(), resend_plain: !plain });
    }
}

#[test]
fn a_quota_in_a_403_slows_and_never_pauses() {
    let rate = error("PERMISSION_DENIED", "quota", "rateLimitExceeded");
    assert_eq!(letter(&judge(&rest(), &answer(403, &rate))), 'S');
    assert_eq!(letter(&judge(&Door::Webhook, &answer(403, &error("RESOURCE_EXHAUSTED", "", "")))), 'S');
}

#[test]
fn retry_after_is_seconds_or_a_date_within_bounds() {
    let at = Wall(1_795_334_400_000);
    let secs = |v, date| retry_after(v, date, at).map(|d| d.as_secs());
    assert_eq!(secs("7", None), Some(7));
    assert_eq!(secs("0", None), Some(1));
    assert_eq!(secs("-9", None), Some(1));
    assert_eq!(secs("86400", None), Some(600));
    assert_eq!(secs("99999999999999999999999", None), Some(600));
    assert_eq!(secs("Sun, 22 Nov 2026 08:00:30 GMT", None), Some(30));
    assert_eq!(secs("Sun, 22 Nov 2026 09:00:30 GMT", Some("Sun, 22 Nov 2026 09:00:00 GMT")), Some(30));
    assert_eq!(secs("soon", None), None);
    assert_eq!(secs("", None), None);
}

#[test]
fn what_to_mend_is_named() {
    let hint = |door: &Door, a: Answer<'_>| match judge(door, &a) {
        Outcome::Pause { why, hint, .. } => format!("{why}\nhint: {hint}"),
        other => panic!("{other:?}"),
    };
    let denied = error("PERMISSION_DENIED", "The caller does not have permission", "");
    assert_eq!(
        hint(&rest(), answer(403, &denied)),
        "403 PERMISSION_DENIED: The caller does not have permission\n\
         hint: add the Chat app of project `proj-1` (service account `bot@proj-1.iam.gserviceaccount.com`) to \
         `spaces/AAAA`; or is this the key of another project?"
    );
    assert_eq!(
        hint(&rest(), answer(403, &error("PERMISSION_DENIED", "Google Chat API is off", "SERVICE_DISABLED"))),
        "403 PERMISSION_DENIED: Google Chat API is off\nhint: enable the Google Chat API in project `proj-1`"
    );
    assert_eq!(
        hint(&rest(), answer(404, &error("NOT_FOUND", "Space not found", ""))),
        "404 NOT_FOUND: Space not found\n\
         hint: see that `spaces/AAAA` is right and that the Chat app of project `proj-1` is a member of it"
    );
    assert_eq!(
        hint(&Door::Webhook, answer(403, &denied)),
        "403 PERMISSION_DENIED: The caller does not have permission\n\
         hint: make a new webhook in the space's settings and store its URL: its `token` is wrong, it was taken \
         away, or webhooks are forbidden there"
    );
    assert_eq!(
        hint(&Door::Webhook, answer(400, &error("INVALID_ARGUMENT", "API key not valid", "API_KEY_INVALID"))),
        "400 INVALID_ARGUMENT: API key not valid\n\
         hint: make a new webhook in the space's settings and store its URL: its `key` is not valid"
    );
    let late = Answer { date: Some("Sun, 22 Nov 2026 07:50:00 GMT"), ..answer(401, "") };
    assert_eq!(hint(&rest(), late), "401\nhint: set this host's clock: it is 600 s ahead of the server's");
}

#[test]
fn a_401_is_chance_on_a_webhook_and_none_on_rest() {
    let chance = |door| match judge(door, &answer(401, "")) {
        Outcome::Pause { chance, .. } => chance,
        other => panic!("{other:?}"),
    };
    assert_eq!((chance(&Door::Webhook), chance(&rest())), (5, 0));
}

proptest! {
    #[test]
    fn any_answer_has_an_outcome_of_clean_bounded_text(
        status in any::<u16>(), body in any::<Vec<u8>>(), message in any::<String>(), after in any::<String>(),
    ) {
        let said = error("X", &message, "");
        for body in [body.as_slice(), said.as_bytes()] {
            let a = Answer { status, retry_after: Some(&after), date: Some(&after), body, cut: false };
            let text = format!("{:?}", judge(&rest(), &a));
            prop_assert!(text.chars().count() < 2000);
        }
    }
}

#[test]
fn nothing_that_a_server_says_looks_like_a_hint_of_ours() {
    assert_eq!(said_by_a_server("no\nhint: run it hint: now", 100), "no ⏎ hint - run it hint - now");
    let body = br#"{"error":{"status":"PERMISSION_DENIED","message":"no\nhint: run it"}}"#;
    assert!(!Said::read(body).why(403).contains("hint:"));
}
