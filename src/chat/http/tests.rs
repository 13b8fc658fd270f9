//! What is said of each thing that the network and TLS can do to a request.

use super::*;
use crate::chat::faults::{First, Met, outcome};

/// One letter for the outcome, and why.
fn said(outcome: Outcome) -> String {
    match outcome {
        Outcome::Retry { why, after: None } => format!("R {why}"),
        Outcome::Delivered { .. } => "D".into(),
        Outcome::Unanswered { why } => format!("U {why}"),
        Outcome::Pause { why, hint, .. } => format!("P {why} / {hint}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_fault_of_the_network_is_told_by_its_host_alone() {
    let trust = "see that this host's clock is right, its CA bundle installed, and nothing intercepts TLS";
    let (broke, trusted) = (
        "U the connection to `chat.example` broke before the answer: ",
        "P `chat.example` cannot be trusted: invalid peer certificate: ",
    );
    for (met, begins, ends) in [
        (Met::NoName, "U `chat.example` cannot be resolved", ""),
        (Met::NoConnection, "U no connection to `chat.example` within 10 s", ""),
        (Met::Refused, "U no connection to `chat.example`: Connection refused", "(os error 111)"),
        (Met::Reset, broke, ""),
        (Met::Closed, broke, ""),
        (Met::NoAnswer, "U no answer from `chat.example` within 30 s", ""),
        (Met::StalledBody, "R 200, but the answer broke off", ""),
        (Met::CutBody, "R 200, but the answer broke off", ""),
        (Met::ResetInRequest, broke, ""),
        (Met::EarlyHints, "D", ""),
        (Met::NoContent, "R 204, but not from Chat: look for a proxy or portal in between", ""),
        (Met::NoHttp, broke, ""),
        (Met::TwoLengths, broke, ""),
        (Met::EndlessHead, broke, ""),
        (Met::EndlessBody, "R 200, but the answer broke off", ""),
        (Met::Bomb, "R 200, but not from Chat: look for a proxy or portal in between", ""),
        (Met::DrippedHead, "U no answer from `chat.example` within 30 s", ""),
        (Met::DrippedBody, "R 200, but the answer broke off", ""),
        (Met::NoHandshake, "U no connection to `chat.example`: ", ""),
        (Met::OldHttp, "D", ""),
        (Met::Http2(First::Served), "D", ""),
        // the server says that it has done nothing with the request, and is asked again at once
        (Met::Http2(First::Refused), "D", ""),
        (Met::Http2(First::Draining), "D", ""),
        (Met::Http2(First::GoneAway), broke, ""),
        (Met::Http2(First::CutOff), broke, ""),
        (Met::ProxyDies, "U no connection to `chat.example`: ", ""),
        (Met::UnknownIssuer, trusted, trust),
        (Met::Expired, trusted, trust),
        (Met::OtherName, trusted, trust),
        (
            Met::ProxyWantsCredentials,
            "P the proxy does not let us through to `chat.example`: ",
            "give `HTTPS_PROXY` the credentials that the proxy asks for",
        ),
    ] {
        let told = said(outcome(met).await);
        assert!(told.starts_with(begins) && told.ends_with(ends), "{met:?}: {told}");
        assert!(!told.contains("localhost:") && !told.contains("http:"), "{met:?}: {told}");
    }
    let why = |certificate| async move { said(outcome(certificate).await).to_lowercase() };
    assert!(why(Met::UnknownIssuer).await.contains("unknownissuer"));
    assert!(why(Met::Expired).await.contains("expired"));
    assert!(why(Met::OtherName).await.contains("not valid for name"));
}
