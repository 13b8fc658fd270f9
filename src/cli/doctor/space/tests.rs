//! What is said of a space, to the character.

use std::time::Duration;

use super::super::sheet::Grade;
use super::*;

fn rest(token: TokenWay) -> Target {
    let key = Some(SecretSource::File("/k.json".into()));
    let api_url = "https://chat.googleapis.com".into();
    Target { name: "oncall".into(), way: Way::Rest { space: "spaces/AAAA".into(), key, token, api_url } }
}

fn webhook() -> Target {
    Target { name: "ops".into(), way: Way::Webhook(SecretSource::Env("HOOK".into())) }
}

fn asked(by: By, refused: Option<Outcome>) -> Asked {
    Asked { by, refused, name: Some("Ops".into()), skew: None }
}

fn pause(why: &str) -> Outcome {
    Outcome::Pause { why: why.into(), hint: "mend it".into(), again: Duration::ZERO, chance: 0 }
}

fn retry(why: &str) -> Outcome {
    Outcome::Retry { why: why.into(), after: None }
}

fn told(findings: Vec<Finding>) -> Vec<String> {
    let one = |f: Finding| {
        let hint = f.hint.map(|h| format!(" / {h}")).unwrap_or_default();
        let grade = match f.grade {
            Grade::Ok => "ok",
            Grade::Warning => "warning",
            Grade::Failure => "failure",
        };
        format!("{grade}: {}{hint}", f.what)
    };
    findings.into_iter().map(one).collect()
}

#[test]
fn a_key_is_judged_by_the_way_that_the_agent_goes() {
    let answers = |token, own, exchanged| {
        let asked = [asked(By::SelfSigned, own), asked(By::Exchanged, exchanged)];
        told(of_answers("space/oncall", &rest(token), &asked))
    };
    let there = "ok: its app is in `spaces/AAAA` (“Ops”)";
    assert_eq!(
        answers(TokenWay::Auto, None, None),
        [there, "ok: tokens that its key signs are taken, and exchanged ones too"]
    );
    assert_eq!(
        answers(TokenWay::Auto, Some(pause("401")), None),
        [there, "ok: tokens that its key signs are refused, exchanged ones are taken"]
    );
    assert_eq!(
        answers(TokenWay::Auto, None, Some(retry("no connection to `h`"))),
        [there, "ok: tokens that its key signs are taken; there are no exchanged ones: no connection to `h`"]
    );
    // the exchange says why, where both are refused
    assert_eq!(
        answers(TokenWay::Auto, Some(pause("401")), Some(pause("invalid_grant"))),
        ["failure: invalid_grant / mend it"]
    );
    assert_eq!(
        answers(TokenWay::Auto, Some(pause("403")), Some(pause("403"))),
        ["failure: 403 / mend it"],
        "what is refused by both is told once"
    );
    assert_eq!(answers(TokenWay::SelfSigned, Some(pause("401")), None), ["failure: 401 / mend it"]);
    assert_eq!(answers(TokenWay::SelfSigned, None, Some(pause("401"))), [there]);
    assert_eq!(
        answers(TokenWay::Exchange, None, Some(pause("invalid_grant"))),
        ["failure: invalid_grant / mend it"]
    );
    assert_eq!(answers(TokenWay::Exchange, Some(pause("401")), None), [there]);
}

#[test]
fn what_chat_says_has_its_grade_and_its_remedy() {
    let answer = |outcome| {
        let asked = [asked(By::Webhook, outcome)];
        told(of_answers("space/ops", &webhook(), &asked)).pop().unwrap()
    };
    assert_eq!(answer(None), "ok: Chat answers, and does not refuse its URL; nothing was written");
    assert_eq!(answer(Some(pause("403"))), "failure: 403 / mend it");
    assert_eq!(
        answer(Some(retry("`chat.googleapis.com` cannot be resolved"))),
        "failure: `chat.googleapis.com` cannot be resolved / see that this host can reach it: name servers, firewall, \
         `HTTPS_PROXY`"
    );
    assert_eq!(
        answer(Some(retry("503"))),
        "failure: 503 / ask again in a minute; the agent keeps its messages and tries them again"
    );
    assert_eq!(
        answer(Some(Outcome::Slow { why: "429".into(), after: None })),
        "warning: 429 / others write to it as well; ask again in a minute"
    );
    assert_eq!(
        answer(Some(Outcome::Refused { why: "418".into(), resend_plain: false })),
        "failure: 418 / see that the URL is Chat's and that no proxy answers in its place"
    );
}

#[test]
fn a_webhook_that_was_never_tried_is_told() {
    let said =
        |target: &Target, accepted| told(of_messages("x", target, accepted).into_iter().collect()).pop();
    let hint = "`logherald send ops` sends a test message";
    assert_eq!(
        said(&webhook(), Some((0, None))).unwrap(),
        format!("warning: no message has ever gone through this webhook, as far as the state knows / {hint}")
    );
    assert_eq!(
        said(&webhook(), None).unwrap(),
        format!("warning: whether a message ever went through this webhook is not known here / {hint}")
    );
    let some = || Some((3, Some("2026-11-22 08:00:00Z".to_owned())));
    assert_eq!(
        said(&webhook(), some()).unwrap(),
        "ok: it has accepted 3 messages, the last at 2026-11-22 08:00:00Z"
    );
    assert_eq!(said(&rest(TokenWay::Auto), Some((0, None))), None, "its app was seen in the space");
    assert!(said(&rest(TokenWay::Auto), some()).unwrap().starts_with("ok: it has accepted 3 messages"));
}

#[test]
fn the_clock_is_judged_by_what_tokens_bear() {
    let said = |skew| told(clock(Some(skew)).into_iter().collect()).pop().unwrap();
    assert_eq!(said(-9), "ok: this host's clock agrees with Chat's");
    let hint = " / set it, and keep it right: `timedatectl set-ntp true`";
    assert_eq!(said(-30), format!("warning: this host's clock is 30 s behind Chat's{hint}"));
    assert_eq!(
        said(600),
        format!("failure: this host's clock is 600 s ahead of Chat's: tokens will be refused{hint}")
    );
    assert_eq!(clock(None), None);
}

#[test]
fn a_secret_that_others_can_read_is_told_with_the_command_that_mends_it() {
    let known = Known {
        place: Some("file `/k.json`".into()),
        door: KnownDoor::Key { account: "bot@p.example".into(), project: "p".into() },
        warnings: vec![
            "file `/k.json` has mode 0644: others than its owner can read a secret; `chmod 600` it".into(),
        ],
    };
    assert_eq!(
        told(of_secret("x", &rest(TokenWay::Auto), known)),
        [
            "ok: file `/k.json` holds a key of service account `bot@p.example`, project `p`",
            "warning: file `/k.json` has mode 0644: others than its owner can read a secret / `chmod 600` it"
        ]
    );
}

#[test]
fn a_proxy_is_named_without_its_credentials() {
    let told_of = |set: &[(&str, &str)], of_service| {
        let env = |name: &str| set.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        told(proxy(&env, of_service).into_iter().collect())
    };
    assert_eq!(told_of(&[("HTTP_PROXY", "http://p:1"), ("HTTPS_PROXY", "")], false), [""; 0]);
    assert_eq!(
        told_of(&[("HTTPS_PROXY", "http://me:hunter2@proxy.example:3128"), ("no_proxy", "x")], false),
        [
            "ok: by `HTTPS_PROXY` requests of this terminal go through `proxy.example:3128`, but for what `no_proxy` names"
        ]
    );
    assert_eq!(
        told_of(&[("all_proxy", "10.0.0.1:80")], true),
        [
            "ok: by `all_proxy` requests of this terminal go through `10.0.0.1`; the service goes by the `Environment=` of \
          its unit"
        ]
    );
    assert_eq!(
        told_of(&[("https_proxy", "http://")], false),
        ["warning: `https_proxy` is set, and is no URL of a proxy / such as `http://proxy.example:3128`"]
    );
}
