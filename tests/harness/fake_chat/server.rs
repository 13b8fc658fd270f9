//! Serves connections: routes, credentials, ids, faults.

use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::http::{Request, read, write};
use super::{
    Attempt, Came, Fault, KEY, Moment, PROJECT, Received, Shared, State, email_of, keys, schema, stopwatch,
    token_of,
};

pub(super) type Answer = (u16, Vec<(String, String)>, String);

pub(super) async fn serve(
    listener: std::net::TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    listener.set_nonblocking(true).unwrap();
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(connection(stream, address, shared.clone()));
                }
            }
            Some(done) = connections.join_next() => done.unwrap(),
        }
    }
}

async fn connection(mut stream: TcpStream, address: SocketAddr, shared: Arc<Shared>) {
    let mut kept = Vec::new();
    while let Some(request) = read(&mut stream, &mut kept, |path| !shared.reaches(Moment::Asked, path)).await
    {
        let (answer, fault, sent) = {
            let mut state = shared.state();
            if state.outage {
                note(&mut state, &request, 0);
                drop(state);
                shared.changed.notify_all();
                return reset(&stream);
            }
            let (answer, fault) = state.handle(&request, address);
            let unanswered = matches!(fault, Some(Fault::ResetBefore | Fault::ResetAfter | Fault::Stall));
            note(&mut state, &request, if unanswered { 0 } else { answer.0 });
            (answer, fault, state.echo.then(|| sent(&request)))
        };
        shared.changed.notify_all();
        shared.reaches(Moment::Stored, &request.path);
        let (status, headers, mut body) = answer;
        let mut bytes = body.len();
        if shared.waits_for(Moment::HalfAnswered, &request.path) {
            // whoever is to be there when half of it has gone out ends this connection
            let sent = write(&mut stream, status, &headers, &body, body.len() / 2).await;
            shared.reaches(Moment::HalfAnswered, &request.path);
            sent.unwrap();
            return;
        }
        match fault {
            Some(Fault::ResetBefore | Fault::ResetAfter) => return reset(&stream),
            Some(Fault::Stall) => return std::future::pending().await,
            Some(Fault::Truncate) => bytes /= 2,
            Some(Fault::WrongSpace) => {
                body = match sent {
                    Some(sent) => escaped(&json!({ "name": format!("spaces/Z/messages/{sent}") })),
                    None => body.replace("spaces/", "spaces/Z"),
                };
                bytes = body.len();
            }
            Some(Fault::Endless) => {
                body.push_str(&" ".repeat(2_000_000));
                bytes = body.len();
            }
            Some(Fault::Answer { .. }) | None => {}
        }
        let whole = bytes >= body.len();
        if write(&mut stream, status, &headers, &body, bytes.max(1)).await.is_err() || !whole {
            return;
        }
        shared.reaches(Moment::Answered, &request.path);
    }
}

/// Closes with a reset, not with an orderly end.
fn reset(stream: &TcpStream) {
    stream.set_zero_linger().unwrap();
}

fn note(state: &mut State, request: &Request, status: u16) {
    let line = format!("{} {}?{}", request.method, request.path, request.query);
    let writes = matches!(request.method.as_str(), "POST" | "PATCH");
    let space = space_of(&request.path).filter(|_| writes).map(str::to_owned);
    state.attempts.push(Attempt { line, space, status, at: stopwatch() });
}

/// `AAAA` of `/v1/spaces/AAAA/messages…`.
pub(super) fn space_of(path: &str) -> Option<&str> {
    let (space, rest) = path.strip_prefix("/v1/spaces/")?.split_once('/')?;
    (rest == "messages" || rest.starts_with("messages/")).then_some(space)
}

fn error(code: u16, status: &str, message: &str, details: &Value) -> Answer {
    let body = json!({ "error": { "code": code, "message": message, "status": status, "details": details } });
    (code, vec![], body.to_string())
}

/// By what a request was made.
fn sent(request: &Request) -> String {
    let bearer = request.header("authorization").unwrap_or_default();
    format!("you sent {}?{} by {bearer}", request.path, request.query)
}

/// JSON that means the same and writes out little of what it need not.
fn escaped(body: &Value) -> String {
    let mut out = body.to_string();
    for c in ['=', '&', '_', '.'] {
        out = out.replace(c, &format!("\\u{:04x}", u32::from(c)));
    }
    out
}

fn ok(body: &Value) -> Answer {
    (200, vec![], body.to_string())
}

impl State {
    /// The key whose signatures are good.
    fn key(&self) -> &'static keys::Key {
        if self.exchanged { keys::revoked() } else { keys::own() }
    }

    fn handle(&mut self, request: &Request, address: SocketAddr) -> (Answer, Option<Fault>) {
        let (mut answer, fault) = self.answer(request, address);
        if self.echo && answer.0 >= 400 {
            let why = format!("{}: {}", sent(request), String::from_utf8_lossy(&request.body));
            let mut body: Value = serde_json::from_str(&answer.2).unwrap_or_default();
            if body["error"].is_object() {
                body["error"]["message"] = why.into();
            } else {
                body = json!({ "error": "invalid_grant", "error_description": why });
            }
            answer.2 = escaped(&body);
        }
        if !answer.1.iter().any(|(name, _)| name == "Date") {
            answer.1.push(("Date".into(), self.date()));
        }
        (answer, fault)
    }

    /// What its clock says.
    fn date(&self) -> String {
        let now = logherald::time::Clock::continuing(None).now().wall;
        let told = jiff::Timestamp::from_millisecond(now.0 + self.clock_ahead * 1000).unwrap();
        jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&told).unwrap()
    }

    fn answer(&mut self, request: &Request, address: SocketAddr) -> (Answer, Option<Fault>) {
        if let Some(answer) = self.host_token(request) {
            return (answer, None);
        }
        match (request.method.as_str(), request.path.as_str()) {
            ("POST", "/token") => (self.token(request, address), None),
            ("POST" | "PATCH", path) if space_of(path).is_some() => {
                let fault = self.faults.pop_front();
                if let Some(Fault::Answer { status, headers, body }) = fault {
                    return ((status, headers, body), None);
                }
                if matches!(fault, Some(Fault::ResetBefore)) {
                    return (ok(&Value::Null), fault);
                }
                let edits = request.method == "PATCH";
                (if edits { self.patch(request) } else { self.create(request) }, fault)
            }
            ("GET", path) if path.strip_prefix("/v1/spaces/").is_some_and(|id| !id.contains('/')) => {
                (self.look(request), None)
            }
            ("GET", _) => (self.get(request), None),
            _ => (error(404, "NOT_FOUND", "no such method", &json!([])), None),
        }
    }

    /// A new token of this account.
    pub(super) fn grant(&mut self, account: &str) -> String {
        self.granted += 1;
        let token = format!("ya29.{}.{account}", self.granted);
        self.tokens.insert(token.clone());
        self.ever.insert(token.clone());
        token
    }

    /// What the next request for a token is answered instead of being served.
    pub(super) fn token_fault(&mut self) -> Option<Answer> {
        match self.token_faults.pop_front()? {
            Fault::Answer { status, headers, body } => Some((status, headers, body)),
            other => panic!("a token endpoint has no such fault: {other:?}"),
        }
    }

    fn token(&mut self, request: &Request, address: SocketAddr) -> Answer {
        if let Some(fault) = self.token_fault() {
            return fault;
        }
        let refuse = |error: &str, why: &str| {
            (400, vec![], json!({ "error": error, "error_description": why }).to_string())
        };
        let form: std::collections::HashMap<String, String> =
            url::form_urlencoded::parse(&request.body).into_owned().collect();
        if form.get("grant_type").map(String::as_str) != Some("urn:ietf:params:oauth:grant-type:jwt-bearer") {
            return refuse("unsupported_grant_type", "Invalid grant_type");
        }
        let audience = format!("http://{address}/token");
        match keys::verify(form.get("assertion").map_or("", String::as_str), Some(&audience), self.key()) {
            Err(why) => refuse("invalid_grant", &why),
            Ok(account) => {
                let token = self.grant(&account);
                ok(&json!({ "access_token": token, "expires_in": 3599, "token_type": "Bearer" }))
            }
        }
    }

    /// Through which door a request comes, if its credentials are good.
    fn door(&self, request: &Request, space: &str) -> Result<Came, Answer> {
        let denied = |m: &str| Err(error(403, "PERMISSION_DENIED", m, &json!([])));
        if let Some(key) = request.field("key") {
            if key != KEY {
                let why = json!([{ "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID" }]);
                return Err(error(
                    400,
                    "INVALID_ARGUMENT",
                    "API key not valid. Please pass a valid API key.",
                    &why,
                ));
            }
            if !self.spaces.contains(space) {
                return Err(error(404, "NOT_FOUND", "Space not found.", &json!([])));
            }
            let good = request.field("token") == Some(&token_of(space, self.exchanged));
            return if good { Ok(Came::Webhook) } else { denied("The caller does not have permission") };
        }
        let no =
            || error(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", &json!([]));
        let bearer =
            request.header("authorization").and_then(|v| v.strip_prefix("Bearer ")).ok_or_else(no)?;
        let (account, came) = if let Some(rest) = bearer.strip_prefix("ya29.") {
            if !self.tokens.contains(bearer) {
                return Err(no());
            }
            (rest.split_once('.').map_or(String::new(), |(_, a)| a.to_owned()), Came::Exchanged)
        } else {
            if self.refuse_self_signed {
                return Err(no());
            }
            (keys::verify(bearer, None, self.key()).map_err(|_| no())?, Came::SelfSigned)
        };
        if account != email_of(PROJECT) {
            return denied("The caller does not have permission");
        }
        if !self.spaces.contains(space) {
            return Err(error(404, "NOT_FOUND", "Space not found.", &json!([])));
        }
        Ok(came)
    }

    fn create(&mut self, request: &Request) -> Answer {
        let space = space_of(&request.path).unwrap_or_default().to_owned();
        let came = match self.door(request, &space) {
            Ok(came) => came,
            Err(answer) => return answer,
        };
        let now = stopwatch();
        if let Some(answer) = self.too_soon(&space, now) {
            return answer;
        }
        let field = |name: &str| request.field(name).unwrap_or_default().to_owned();
        let (id, request_id) = (field("messageId"), field("requestId"));
        if let Some(why) = schema::fault(&request.body).or_else(|| query_fault(request, &id)) {
            return self.invalid(&why);
        }
        let raw = String::from_utf8_lossy(&request.body).into_owned();
        let same = |m: &Received| {
            m.space == space
                && (!id.is_empty() && m.id == id || !request_id.is_empty() && m.request_id == request_id)
        };
        if let Some(before) = self.messages.iter_mut().find(|m| same(m)) {
            before.times += 1;
            if before.raw != raw {
                self.violations.push(format!("one id with two bodies: {id}"));
            }
            if before.request_id == request_id && !self.forget_request_ids {
                return ok(&message(before));
            }
            return error(409, "ALREADY_EXISTS", "Requested entity already exists", &json!([]));
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut thread = body["thread"]["threadKey"].as_str().map(str::to_owned);
        if thread.as_ref().is_some_and(|key| self.lost_threads.contains(key)) {
            if request.field("messageReplyOption") != Some("REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD") {
                return error(404, "NOT_FOUND", "Thread not found.", &json!([]));
            }
            thread = None;
        }
        let name = format!("spaces/{space}/messages/M{0}.M{0}", self.messages.len());
        let received = Received {
            space,
            id,
            request_id,
            body,
            raw,
            thread,
            at: now,
            came,
            name,
            times: 1,
            edits: vec![],
            deleted: false,
        };
        let answer = ok(&message(&received));
        self.messages.push(received);
        answer
    }

    /// `messages.patch`: the app that made a message may replace what its mask names.
    fn patch(&mut self, request: &Request) -> Answer {
        let space = space_of(&request.path).unwrap_or_default().to_owned();
        let denied = || error(403, "PERMISSION_DENIED", "The caller does not have permission", &json!([]));
        match self.door(request, &space) {
            Err(answer) => return answer,
            Ok(Came::Webhook) => return denied(),
            Ok(_) => {}
        }
        let now = stopwatch();
        if let Some(answer) = self.too_soon(&space, now) {
            return answer;
        }
        let mask: Vec<&str> = request.field("updateMask").unwrap_or_default().split(',').collect();
        let known = ["text", "cards_v2", "accessory_widgets"];
        let odd = mask.iter().find(|name| !known.contains(name)).map(|name| format!("updateMask: `{name}`"));
        let stray = request.query.split('&').find(|p| !p.starts_with("updateMask="));
        let stray = stray.map(|p| format!("Unknown name \"{p}\""));
        if let Some(why) = odd.or(stray).or_else(|| schema::fault(&request.body)) {
            return self.invalid(&why);
        }
        let wanted = request.path.trim_start_matches("/v1/");
        let Some(found) = self.messages.iter_mut().find(|m| !m.deleted && m.is_named(wanted)) else {
            return error(404, "NOT_FOUND", "Message not found.", &json!([]));
        };
        if found.came == Came::Webhook {
            return denied();
        }
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        for (name, field) in [("text", "text"), ("cards_v2", "cardsV2")] {
            if mask.contains(&name) {
                found.body[field] = body[field].clone();
            }
        }
        found.edits.push(now);
        ok(&message(found))
    }

    fn too_soon(&mut self, space: &str, now: std::time::Instant) -> Option<Answer> {
        let last = self.last_write.insert(space.to_owned(), now);
        let too_soon = last.is_some_and(|last| (now - last).as_secs() < 1);
        let why = "Resource has been exhausted (e.g. check quota).";
        (!self.no_pace && too_soon).then(|| error(429, "RESOURCE_EXHAUSTED", why, &json!([])))
    }

    fn invalid(&mut self, why: &str) -> Answer {
        self.violations.push(why.to_owned());
        let details = json!([{ "@type": "type.googleapis.com/google.rpc.BadRequest",
                               "fieldViolations": [{ "description": why }] }]);
        error(400, "INVALID_ARGUMENT", why, &details)
    }

    /// `spaces.get`: whether the app is in the space.
    fn look(&self, request: &Request) -> Answer {
        let space = request.path.trim_start_matches("/v1/spaces/");
        match self.door(request, space) {
            Err(answer) => answer,
            Ok(Came::Webhook) => error(401, "UNAUTHENTICATED", "webhooks cannot read", &json!([])),
            Ok(_) => {
                let bearer = request.header("authorization").unwrap_or_default();
                let name = if self.echo { format!("you sent {bearer}") } else { "On <call>".into() };
                let body = json!({ "name": format!("spaces/{space}"), "spaceType": "SPACE", "displayName": name,
                                   "spaceThreadingState": "THREADED_MESSAGES" });
                (200, vec![], escaped(&body))
            }
        }
    }

    fn get(&self, request: &Request) -> Answer {
        let space = space_of(&request.path).unwrap_or_default();
        match self.door(request, space) {
            Err(answer) => return answer,
            Ok(Came::Webhook) => return error(401, "UNAUTHENTICATED", "webhooks cannot read", &json!([])),
            Ok(_) => {}
        }
        let wanted = request.path.trim_start_matches("/v1/");
        match self.messages.iter().find(|m| !m.deleted && m.is_named(wanted)) {
            Some(found) => ok(&message(found)),
            None => error(404, "NOT_FOUND", "Message not found.", &json!([])),
        }
    }
}

fn query_fault(request: &Request, id: &str) -> Option<String> {
    const NOTIFY: &str = "createMessageNotificationOptions.notificationType";
    const KNOWN: [&str; 6] = ["key", "token", "requestId", "messageId", "messageReplyOption", NOTIFY];
    let names = request.query.split('&').filter(|p| !p.is_empty()).map(|p| p.split('=').next().unwrap_or(p));
    for name in names {
        if !KNOWN.contains(&name) {
            return Some(format!("Invalid JSON payload received. Unknown name \"{name}\""));
        }
    }
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let well_formed = id.starts_with("client-") && id.len() <= 63 && id.chars().all(good);
    if !id.is_empty() && !well_formed {
        return Some(format!("Invalid message id `{id}`"));
    }
    if let Some(how) = request.field(NOTIFY) {
        let known = ["NOTIFICATION_TYPE_NONE", "NOTIFICATION_TYPE_FORCE_NOTIFY", "NOTIFICATION_TYPE_SILENT"];
        if request.field("key").is_some() || !known.contains(&how) {
            return Some(format!("Invalid value `{how}` of {NOTIFY}: apps alone may say it"));
        }
    }
    let reply = request.field("messageReplyOption");
    let known = ["REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD", "REPLY_MESSAGE_OR_FAIL"];
    reply.filter(|r| !known.contains(r)).map(|r| format!("Invalid value `{r}` of messageReplyOption"))
}

/// A message as Chat gives it back.
fn message(received: &Received) -> Value {
    let space = format!("spaces/{}", received.space);
    let mut out = received.body.clone();
    out["name"] = received.name.clone().into();
    out["sender"] = json!({ "name": "users/1", "type": "BOT" });
    out["createTime"] = "2026-11-22T08:00:00Z".into();
    out["space"] = json!({ "name": space });
    let thread = received.thread.as_deref().unwrap_or(&received.id);
    out["thread"] = json!({ "name": format!("{space}/threads/{thread}"), "threadKey": thread });
    if !received.id.is_empty() {
        out["clientAssignedMessageId"] = received.id.clone().into();
    }
    out
}
