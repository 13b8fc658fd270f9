//! A strict Google Chat on loopback: webhooks, the REST API and the token endpoint, over a hand-written HTTP/1.1, so
//! that it can also break a connection at any byte.
//!
//! It is stricter than the live service wherever that helps: a field nobody documented, a signature, a scope, an
//! id or a `messageId` out of form is refused, and one id with two bodies is written down as a violation.
//! It runs in a thread of its own, so that a test without a runtime can drive the real program against it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod host;
mod http;
mod keys;
mod schema;
mod server;

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// The webhook key of every space.
const KEY: &str = "AIzaFake-Key_1";
/// The project whose app is a member of every space.
pub(crate) const PROJECT: &str = "proj-1";
/// A project whose app is a member of none.
pub(crate) const OTHER_PROJECT: &str = "proj-2";

/// What to do with the next create request instead of serving it.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Answer this; nothing is stored.
    Answer { status: u16, headers: Vec<(String, String)>, body: String },
    /// Reset the connection; nothing is stored.
    ResetBefore,
    /// Store the message, then reset the connection instead of answering.
    ResetAfter,
    /// Store the message, then break the answer off in the middle of its JSON.
    Truncate,
    /// Store the message, then never answer.
    Stall,
    /// Store the message, then answer with another space's name.
    WrongSpace,
    /// Answer 200 with more JSON than anybody should read.
    Endless,
}

impl Fault {
    /// An answer without headers.
    pub(crate) fn status(status: u16) -> Fault {
        Fault::Answer { status, headers: vec![], body: String::new() }
    }

    /// A captive portal.
    pub(crate) fn html() -> Fault {
        Fault::Answer { status: 200, headers: vec![], body: "<html>Please log in</html>".into() }
    }

    /// A redirect to `url`.
    pub(crate) fn redirect(url: &str) -> Fault {
        Fault::Answer { status: 307, headers: vec![("Location".into(), url.into())], body: String::new() }
    }
}

/// A step of a message's way, as the server sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The head of its request is there, and the rest never is.
    Asked,
    /// It is stored, and nothing of the answer has gone out.
    Stored,
    /// Half of the answer has gone out; the rest never does.
    HalfAnswered,
    /// All of the answer has gone out.
    Answered,
}

/// What is to be done when a message for this space is there.
type Then = (Moment, String, Box<dyn FnOnce() + Send>);

/// Through which door a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A webhook.
    Webhook,
    /// REST with a JWT that the key signed itself.
    SelfSigned,
    /// REST with a token from the token endpoint.
    Exchanged,
}

/// A message that was accepted, once, however often it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    /// `AAAA` of `spaces/AAAA`.
    pub(crate) space: String,
    /// `client-…`, or empty.
    pub(crate) id: String,
    /// The `requestId`, or empty.
    pub(crate) request_id: String,
    /// The body.
    pub(crate) body: Value,
    /// The body's bytes.
    pub(crate) raw: String,
    /// Its `thread.threadKey`.
    pub(crate) thread: Option<String>,
    /// When it was stored.
    pub(crate) at: Instant,
    /// Through which door.
    pub(crate) came: Came,
    /// Its name in the space.
    name: String,
    /// How often it came.
    pub(crate) times: u32,
    /// When it was edited.
    pub(crate) edits: Vec<Instant>,
    /// A human has deleted it.
    pub(crate) deleted: bool,
}

impl Received {
    /// This is its name in its space, or the one that its id makes.
    fn is_named(&self, name: &str) -> bool {
        self.name == name || format!("spaces/{}/messages/{}", self.space, self.id) == name
    }

    /// Every string of its cards, or its `text`, joined by newlines: what a person reads.
    pub(crate) fn shown(&self) -> String {
        fn walk(value: &Value, out: &mut String) {
            match value {
                Value::String(s) => {
                    out.push_str(s);
                    out.push('\n');
                }
                Value::Array(a) => a.iter().for_each(|v| walk(v, out)),
                Value::Object(o) => o.values().for_each(|v| walk(v, out)),
                _ => {}
            }
        }
        let mut out = String::new();
        walk(
            if self.body["cardsV2"].is_array() { &self.body["cardsV2"] } else { &self.body["text"] },
            &mut out,
        );
        out
    }

    /// The hits that it accounts for: of each alert's counts, and of the line that stands for alerts left out.
    /// A rule's own text is not looked at, whatever numbers it holds.
    pub(crate) fn hits(&self) -> u64 {
        let sections = self.body["cardsV2"][0]["card"]["sections"].as_array();
        let widgets =
            sections.into_iter().flatten().flat_map(|s| s["widgets"].as_array().into_iter().flatten());
        let mut sum = 0;
        for widget in widgets {
            let counts = widget["decoratedText"]["text"].as_str().and_then(|t| t.lines().last());
            let paragraph = widget["textParagraph"]["text"].as_str().unwrap_or_default();
            let rest =
                paragraph.split_once(" more alerts, ").or_else(|| paragraph.split_once(" more alert, "));
            let rest = rest.filter(|(n, _)| n.parse::<u64>().is_ok()).map(|(_, counts)| counts);
            let mut words = counts.or(rest).unwrap_or_default().split_whitespace();
            if let (Some(Ok(n)), Some("hit" | "hits" | "hit," | "hits,")) =
                (words.next().map(str::parse::<u64>), words.next())
            {
                sum += n;
            }
        }
        sum
    }
}

/// A try, accepted or not.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// `POST /v1/spaces/AAAA/messages?…`.
    pub(crate) line: String,
    /// The space it was for, where it was a create.
    pub(crate) space: Option<String>,
    /// The status that was answered; 0 where none was.
    pub(crate) status: u16,
    /// When it came.
    pub(crate) at: Instant,
}

#[derive(Default)]
struct State {
    spaces: HashSet<String>,
    messages: Vec<Received>,
    attempts: Vec<Attempt>,
    faults: VecDeque<Fault>,
    token_faults: VecDeque<Fault>,
    violations: Vec<String>,
    tokens: HashSet<String>,
    /// Every token that was ever granted.
    ever: HashSet<String>,
    granted: u32,
    last_write: HashMap<String, Instant>,
    refuse_self_signed: bool,
    lost_threads: HashSet<String>,
    forget_request_ids: bool,
    no_pace: bool,
    outage: bool,
    /// The secrets of the second set are good, those of the first are not any more.
    exchanged: bool,
    echo: bool,
    /// Its clock is so many seconds ahead of the tests'.
    clock_ahead: i64,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    then: Mutex<Option<Then>>,
}

impl Shared {
    /// Somebody is to be called at this step of a request.
    fn waits_for(&self, moment: Moment, path: &str) -> bool {
        let then = self.then.lock().unwrap();
        then.as_ref().is_some_and(|(at, space, _)| *at == moment && server::space_of(path) == Some(space))
    }

    /// A request is at this step; tells whether somebody was called.
    fn reaches(&self, moment: Moment, path: &str) -> bool {
        if !self.waits_for(moment, path) {
            return false;
        }
        let then = self.then.lock().unwrap().take();
        then.map(|(.., then)| then()).is_some()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The server; stops when dropped.
pub(crate) struct FakeChat {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl FakeChat {
    /// Listens on a free port of 127.0.0.1.
    pub(crate) fn start() -> FakeChat {
        let (shared, stop) = (Arc::<Shared>::default(), CancellationToken::new());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let serve = server::serve(listener, address, shared.clone(), stop.clone());
        #[expect(clippy::disallowed_methods, reason = "the server lives beside a test that has no runtime")]
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(serve);
        });
        FakeChat { address, shared, stop, thread: Some(thread) }
    }

    /// `http://127.0.0.1:PORT`, for `[chat] api_url`.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A webhook of `space` (`AAAA`), which exists from now on.
    pub(crate) fn webhook_url(&self, space: &str) -> String {
        self.add_space(space);
        let token = token_of(space, self.shared.state().exchanged);
        format!("{}/v1/spaces/{space}/messages?key={KEY}&token={token}", self.base_url())
    }

    /// From now on neither the webhooks nor the keys that were given out so far are good, but those that are given out
    /// from now on.
    pub(crate) fn exchange_secrets(&self) {
        let mut state = self.shared.state();
        state.exchanged = true;
        state.tokens.clear();
    }

    /// From now on every refusal says all that was sent, secrets too, and each space is called by the token it was asked with.
    pub(crate) fn echo(&self) {
        self.shared.state().echo = true;
    }

    /// From now on its clock is `seconds` ahead of this host's.
    pub(crate) fn clock_ahead(&self, seconds: i64) {
        self.shared.state().clock_ahead = seconds;
    }

    /// Whatever nobody else may read: parts of webhook URLs, keys and tokens.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let state = self.shared.state();
        let mut all: Vec<String> = vec![KEY.into(), "eyJ0eXAi".into(), "eyJhbGci".into()];
        all.extend([host::SUBJECT.to_owned(), host::REFRESH.to_owned()]);
        all.extend(state.spaces.iter().flat_map(|s| [token_of(s, false), token_of(s, true)]));
        all.extend(state.ever.iter().cloned());
        for key in [keys::own(), keys::revoked()] {
            all.extend(key.pem.lines().filter(|l| l.len() == 64).map(str::to_owned));
        }
        all
    }

    /// From now on there is `spaces/{space}`, with the app of [`PROJECT`] in it; gives its name.
    pub(crate) fn add_space(&self, space: &str) -> String {
        self.shared.state().spaces.insert(space.to_owned());
        format!("spaces/{space}")
    }

    /// Takes a space away: 404 from now on.
    pub(crate) fn remove_space(&self, space: &str) {
        self.shared.state().spaces.remove(space);
    }

    /// A service-account key that is accepted, mode 0600.
    pub(crate) fn key_file(&self, dir: &Path) -> PathBuf {
        let key = if self.shared.state().exchanged { keys::revoked() } else { keys::own() };
        self.write_key(dir, "key.json", PROJECT, &key.pem)
    }

    /// A good key of a project whose app is in no space: 403.
    pub(crate) fn key_of_another_project(&self, dir: &Path) -> PathBuf {
        self.write_key(dir, "other-key.json", OTHER_PROJECT, &keys::own().pem)
    }

    /// Application Default Credentials of a workload whose identity is another cloud's, which becomes the account of
    /// [`PROJECT`] by itself, or `by_impersonation`.
    pub(crate) fn workload_file(&self, dir: &Path, by_impersonation: bool) -> PathBuf {
        std::fs::write(dir.join("subject"), host::SUBJECT).unwrap();
        let mut json = json!({
            "type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": format!("{}/sts", self.base_url()),
            "credential_source": { "file": dir.join("subject") },
        });
        if by_impersonation {
            json["service_account_impersonation_url"] = self.impersonation_url().into();
        }
        let path = dir.join("workload.json");
        std::fs::write(&path, json.to_string()).unwrap();
        path
    }

    /// Application Default Credentials of a person who may become the account of [`PROJECT`].
    pub(crate) fn impersonating_file(&self, dir: &Path) -> PathBuf {
        let json = json!({
            "type": "impersonated_service_account", "service_account_impersonation_url": self.impersonation_url(),
            "source_credentials": {
                "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": host::REFRESH,
                "token_uri": format!("{}/token", self.base_url()),
            },
        });
        let path = dir.join("impersonating.json");
        std::fs::write(&path, json.to_string()).unwrap();
        path
    }

    fn impersonation_url(&self) -> String {
        format!("{}/v1/projects/-/serviceAccounts/{}:generateAccessToken", self.base_url(), email_of(PROJECT))
    }

    /// A key that was revoked: no signature of it is accepted.
    pub(crate) fn revoked_key(&self, dir: &Path) -> PathBuf {
        self.write_key(dir, "revoked-key.json", PROJECT, &keys::revoked().pem)
    }

    fn write_key(&self, dir: &Path, file: &str, project: &str, pem: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let path = dir.join(file);
        let json = json!({
            "type": "service_account", "project_id": project, "private_key_id": "test-key-1", "private_key": pem,
            "client_email": email_of(project), "token_uri": format!("{}/token", self.base_url()),
        });
        std::fs::write(&path, json.to_string()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// A human deletes the message of this id.
    pub(crate) fn delete(&self, id: &str) {
        self.shared.state().messages.iter_mut().filter(|m| m.id == id).for_each(|m| m.deleted = true);
    }

    /// The thread that this key has made is gone.
    pub(crate) fn lose_thread(&self, key: &str) {
        self.shared.state().lost_threads.insert(key.to_owned());
    }

    /// The next request that creates or edits a message meets `fault`; several wait in a queue.
    pub(crate) fn next(&self, fault: Fault) {
        self.shared.state().faults.push_back(fault);
    }

    /// When a message for this space (`AAAA`) is at this step of its way, once, `then` is called before anything else happens.
    pub(crate) fn when(&self, moment: Moment, space: &str, then: impl FnOnce() + Send + 'static) {
        *self.shared.then.lock().unwrap() = Some((moment, space.to_owned(), Box::new(then)));
    }

    /// From now on every create request is served.
    pub(crate) fn mend(&self) {
        self.shared.state().faults.clear();
    }

    /// The next create request is answered so.
    pub(crate) fn answer_next(&self, status: u16, headers: &[(&str, &str)], body: &str) {
        let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.next(Fault::Answer { status, headers, body: body.to_owned() });
    }

    /// The next token request is answered so.
    pub(crate) fn answer_next_token(&self, status: u16, body: &str) {
        let fault = Fault::Answer { status, headers: vec![], body: body.to_owned() };
        self.shared.state().token_faults.push_back(fault);
    }

    /// From now on every token request is served.
    pub(crate) fn mend_tokens(&self) {
        self.shared.state().token_faults.clear();
    }

    /// From now on self-signed JWTs are answered by 401.
    pub(crate) fn refuse_self_signed(&self) {
        self.shared.state().refuse_self_signed = true;
    }

    /// From now on every token that was granted is answered by 401.
    pub(crate) fn revoke_tokens(&self) {
        self.shared.state().tokens.clear();
    }

    /// From now on a `requestId` that came before is not known any more: `messageId` answers 409.
    pub(crate) fn forget_request_ids(&self) {
        self.shared.state().forget_request_ids = true;
    }

    /// From now on a second write within a second to one space is no fault: whoever writes does not keep the pace, or has
    /// no chance to, for it is killed before it can write down when it wrote.
    pub(crate) fn without_pace(&self) {
        self.shared.state().no_pace = true;
    }

    /// While `down`, every connection is reset as soon as it asks for something.
    pub(crate) fn outage(&self, down: bool) {
        self.shared.state().outage = down;
    }

    /// Every message that was accepted, in order; `space` is `AAAA`.
    pub(crate) fn messages(&self, space: &str) -> Vec<Received> {
        self.shared.state().messages.iter().filter(|m| m.space == space).cloned().collect()
    }

    /// Every message of every space, in order.
    pub(crate) fn all_messages(&self) -> Vec<Received> {
        self.shared.state().messages.clone()
    }

    /// Every request, in order.
    pub(crate) fn attempts(&self) -> Vec<Attempt> {
        self.shared.state().attempts.clone()
    }

    /// How many tokens were granted.
    pub(crate) fn tokens_granted(&self) -> u32 {
        self.shared.state().granted
    }

    /// What should never happen: one id with two bodies, a body that Chat would refuse, ids out of form.
    pub(crate) fn violations(&self) -> Vec<String> {
        self.shared.state().violations.clone()
    }

    /// How often two writes to `space` came less than a second apart.
    pub(crate) fn pace_violations(&self, space: &str) -> usize {
        let state = self.shared.state();
        let writes: Vec<Instant> =
            state.attempts.iter().filter(|a| a.space.as_deref() == Some(space)).map(|a| a.at).collect();
        writes.windows(2).filter(|w| w[1] - w[0] < Duration::from_secs(1)).count()
    }

    /// Waits until `n` messages were accepted in all, and gives them; fails the test after `deadline`.
    pub(crate) fn wait_for(&self, n: usize, deadline: Duration) -> Vec<Received> {
        self.wait_until(deadline, &format!("{n} messages"), |messages| messages.len() >= n)
    }

    /// Waits until the accepted messages satisfy `done`, and gives them; fails the test after `deadline`.
    pub(crate) fn wait_until(
        &self,
        deadline: Duration,
        what: &str,
        done: impl Fn(&[Received]) -> bool,
    ) -> Vec<Received> {
        let state = self.shared.state();
        let (state, timeout) = self
            .shared
            .changed
            .wait_timeout_while(state, deadline, |s| !done(&s.messages))
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(
            !timeout.timed_out(),
            "no {what} within {deadline:?}: {} came, of these attempts: {:#?}",
            state.messages.len(),
            state.attempts.iter().rev().take(20).collect::<Vec<_>>()
        );
        state.messages.clone()
    }

    /// Waits until there were more than `n` requests of any sort, but not longer than `at_most`.
    pub(crate) fn wait_for_more_than(&self, n: usize, at_most: Duration) {
        let state = self.shared.state();
        drop(self.shared.changed.wait_timeout_while(state, at_most, |s| s.attempts.len() <= n));
    }

    /// Waits until `n` requests of any sort came; fails the test after `deadline`.
    pub(crate) fn wait_for_attempts(&self, n: usize, deadline: Duration) -> Vec<Attempt> {
        let state = self.shared.state();
        let (state, timeout) = self
            .shared
            .changed
            .wait_timeout_while(state, deadline, |s| s.attempts.len() < n)
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        assert!(!timeout.timed_out(), "{} requests and not {n} within {deadline:?}", state.attempts.len());
        state.attempts.clone()
    }
}

impl Drop for FakeChat {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // a panic of the server has failed the test already
            _ = thread.join();
        }
    }
}

/// The secret of a space's webhook, as it stands in the URL: its end must survive as it is.
fn token_of(space: &str, exchanged: bool) -> String {
    let set = if exchanged { "y" } else { "x" };
    format!("tok-{space}_{set}%3D")
}

fn email_of(project: &str) -> String {
    format!("bot@{project}.iam.gserviceaccount.com")
}

#[expect(clippy::disallowed_methods, reason = "a stopwatch of the tests")]
fn stopwatch() -> Instant {
    Instant::now()
}
