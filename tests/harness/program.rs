//! The real binary in a folder of its own: rules, logs, state, and a running agent that is killed when dropped.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Nothing in these tests takes longer on a machine that works, though others work it too; a wait that runs out is a
/// failure with its story.
pub(crate) const DEADLINE: Duration = Duration::from_secs(150);

/// Reads the clock for a deadline.
#[expect(clippy::disallowed_methods, reason = "a deadline in a test, not time that the program sees")]
pub(crate) fn stopwatch() -> Instant {
    Instant::now()
}

/// A folder with everything one agent needs.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    more: Vec<String>,
}

impl Place {
    pub(crate) fn new() -> Place {
        let mut dir = tempfile::tempdir().unwrap();
        // `DIR` in rules becomes this folder, and so would a part of its own random name
        while dir.path().file_name().is_some_and(|name| name.to_string_lossy().contains("DIR")) {
            dir = tempfile::tempdir().unwrap();
        }
        Place { dir, env: Vec::new(), more: Vec::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The agent and every command see this variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Place {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The agent is always run with this argument.
    pub(crate) fn run_with(mut self, argument: &str) -> Place {
        self.more.push(argument.into());
        self
    }

    /// Writes `rules.toml`; `DIR` in the text becomes this folder.
    pub(crate) fn rules(&self, text: &str) -> PathBuf {
        let path = self.path("rules.toml");
        fs::write(&path, text.replace("DIR", &self.dir.path().display().to_string())).unwrap();
        path
    }

    /// Writes rules whose space `app` is reached by REST at `api`, with the key that `make` puts here.
    pub(crate) fn reached_by_key(&self, api: &str, make: impl Fn(&Path) -> PathBuf, rules: &str) {
        let key = make(&self.path(""));
        self.rules(&format!(
            "[chat]\napi_url = '{api}'\n[space.app]\nname = 'spaces/APP'\nservice_account = {{ file = '{}' }}\n{rules}",
            key.display()
        ));
    }

    /// Appends to a log, made when it is not there.
    pub(crate) fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    /// Runs a command of the binary to its end.
    pub(crate) fn command(&self, args: &[&str]) -> Output {
        self.prepare(args).output().unwrap()
    }

    /// Standard output of a command that must succeed.
    pub(crate) fn says(&self, args: &[&str]) -> String {
        let out = self.command(args);
        assert!(out.status.success(), "{args:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// The same of a command that reads `stdin`.
    pub(crate) fn says_of(&self, stdin: File, args: &[&str]) -> String {
        let out = self.prepare(args).stdin(stdin).output().unwrap();
        assert!(out.status.success(), "{args:?}: {out:?}");
        String::from_utf8(out.stdout).unwrap()
    }

    /// Exit code and standard error of a command that must fail.
    pub(crate) fn fails(&self, args: &[&str]) -> (i32, String) {
        let out = self.command(args);
        assert!(!out.status.success(), "{args:?}: {out:?}");
        (out.status.code().unwrap(), String::from_utf8(out.stderr).unwrap())
    }

    fn prepare(&self, args: &[&str]) -> Command {
        let mut command = self.prepare_by(env!("CARGO_BIN_EXE_logherald"));
        command.args(args);
        command
    }

    fn prepare_by(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir.path()).env_remove("LOGHERALD_LOG").env("NO_COLOR", "1");
        for name in ["STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CONFIGURATION_DIRECTORY", "JOURNAL_STREAM"] {
            command.env_remove(name);
        }
        for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_ascii_lowercase());
        }
        for (name, value) in &self.env {
            command.env(name, value);
        }
        command
    }

    /// Starts the agent on `rules.toml` and waits until it says what it watches.
    pub(crate) fn start(&self) -> Agent<'_> {
        self.start_with(&[])
    }

    /// The same with more arguments.
    pub(crate) fn start_with(&self, more: &[&str]) -> Agent<'_> {
        let mut agent = self.launch(more);
        agent.wait_for_log("watching ");
        agent
    }

    /// Starts the agent and waits for nothing.
    pub(crate) fn launch(&self, more: &[&str]) -> Agent<'_> {
        let mut child = self.spawn(more);
        let out = lines_of(child.stdout.take().unwrap());
        let err = lines_of(child.stderr.take().unwrap());
        Agent { place: self, child, out, err, story: Vec::new() }
    }

    /// Starts the agent by `wrapper`, which executes what follows its own arguments: in a namespace, under a limit, as
    /// another user.
    pub(crate) fn launch_by(&self, wrapper: &[&str]) -> Agent<'_> {
        let (program, first) = wrapper.split_first().unwrap();
        let mut command = self.prepare_by(program);
        command.args(first).arg(env!("CARGO_BIN_EXE_logherald")).args(self.run(&[]));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = lines_of(child.stdout.take().unwrap());
        let err = lines_of(child.stderr.take().unwrap());
        Agent { place: self, child, out, err, story: Vec::new() }
    }

    /// The same, and waits until it says what it watches.
    pub(crate) fn start_by(&self, wrapper: &[&str]) -> Agent<'_> {
        let mut agent = self.launch_by(wrapper);
        agent.wait_for_log("watching ");
        agent
    }

    /// Starts the agent with a standard output that nobody reads.
    pub(crate) fn start_unheard(&self) -> Agent<'_> {
        let mut child = self.spawn(&[]);
        let err = lines_of(child.stderr.take().unwrap());
        let mut agent = Agent { place: self, child, out: mpsc::channel().1, err, story: Vec::new() };
        agent.wait_for_log("watching ");
        agent
    }

    /// Starts a command that goes on until it is ended, and reads what it prints.
    pub(crate) fn follow(&self, args: &[&str]) -> Agent<'_> {
        self.follow_unread(args).read()
    }

    /// The same, and does not read what it prints until it is [`Unread::read`].
    pub(crate) fn follow_unread(&self, args: &[&str]) -> Unread<'_> {
        let mut command = self.prepare(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let pipe = child.stdout.take().unwrap();
        let err = lines_of(child.stderr.take().unwrap());
        Unread { agent: Agent { place: self, child, out: mpsc::channel().1, err, story: Vec::new() }, pipe }
    }

    /// Starts the agent with this as its standard input and waits for nothing.
    pub(crate) fn launch_on(&self, stdin: impl Into<Stdio>) -> Agent<'_> {
        let mut child = self.spawn_on(stdin.into(), &[]);
        let out = lines_of(child.stdout.take().unwrap());
        let err = lines_of(child.stderr.take().unwrap());
        Agent { place: self, child, out, err, story: Vec::new() }
    }

    /// The arguments of a run.
    fn run<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let own = self.more.iter().map(String::as_str);
        ["run", "rules.toml", "--state", "state"].into_iter().chain(own).chain(more.iter().copied()).collect()
    }

    fn spawn(&self, more: &[&str]) -> Child {
        self.spawn_on(Stdio::null(), more)
    }

    fn spawn_on(&self, stdin: Stdio, more: &[&str]) -> Child {
        let mut command = self.prepare(&self.run(more));
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

fn lines_of(pipe: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (tx, rx) = mpsc::channel();
    #[expect(
        clippy::disallowed_methods,
        reason = "a test reads a pipe beside itself; it ends with the pipe"
    )]
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if tx.send(line).is_err() {
                return;
            }
        }
    });
    rx
}

/// Appends to a file and closes it.
pub(crate) fn append(path: &Path, text: &str) {
    open_to_append(path).write_all(text.as_bytes()).unwrap();
}

pub(crate) fn open_to_append(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).unwrap()
}

/// A command that nobody listens to yet.
pub(crate) struct Unread<'a> {
    agent: Agent<'a>,
    pipe: std::process::ChildStdout,
}

impl<'a> Unread<'a> {
    pub(crate) fn wait_for_log(&mut self, part: &str) -> String {
        self.agent.wait_for_log(part)
    }

    /// Reads what it prints from now on.
    pub(crate) fn read(mut self) -> Agent<'a> {
        self.agent.out = lines_of(self.pipe);
        self.agent
    }
}

/// A running agent.
pub(crate) struct Agent<'a> {
    place: &'a Place,
    child: Child,
    out: Receiver<String>,
    err: Receiver<String>,
    story: Vec<String>,
}

impl Agent<'_> {
    /// Waits for a line of its log that holds `part`.
    pub(crate) fn wait_for_log(&mut self, part: &str) -> String {
        wait_for_line(&self.err, part, &mut self.story)
    }

    /// A line of its log that holds `part`, of those that were waited through already or the next.
    pub(crate) fn has_logged(&mut self, part: &str) -> String {
        let before = self.story.iter().find(|line| line.contains(part)).cloned();
        before.unwrap_or_else(|| self.wait_for_log(part))
    }

    /// Waits for a line on its standard output that holds `part`.
    pub(crate) fn wait_for_output(&mut self, part: &str) -> String {
        wait_for_line(&self.out, part, &mut self.story)
    }

    /// `status --json`, asked over the socket.
    pub(crate) fn status(&self) -> Value {
        let out = self.place.command(&["status", "--json", "--state", "state"]);
        assert!(out.status.success(), "{out:?}\n{}", self.story.join("\n"));
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// Asks for the status until it is as `wanted` says.
    pub(crate) fn wait_for_status(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait_for_status_within(DEADLINE, what, wanted)
    }

    /// The same where it may take longer than anything else.
    pub(crate) fn wait_for_status_within(
        &self,
        deadline: Duration,
        what: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let begun = stopwatch();
        loop {
            let status = self.status();
            if wanted(&status) {
                return status;
            }
            assert!(begun.elapsed() < deadline, "waited for {what}; the last status was {status:#}");
        }
    }

    /// Lets it live for this long, and keeps what it logs meanwhile; less where it ends by itself.
    pub(crate) fn live(&mut self, time: Duration) {
        let begun = stopwatch();
        while let Ok(line) = self.err.recv_timeout(time.saturating_sub(begun.elapsed())) {
            self.story.push(line);
        }
    }

    /// All that it has logged so far.
    pub(crate) fn log(&mut self) -> String {
        self.story.extend(self.err.try_iter());
        self.story.join("\n")
    }

    /// Waits until it ends by itself: its exit code, and what it still had to print.
    pub(crate) fn ends(mut self) -> (i32, Vec<String>) {
        let lines = self.rest();
        self.story.extend(self.err.try_iter());
        (self.child.wait().unwrap().code().unwrap_or(-1), lines)
    }

    /// What it prints until it ends.
    fn rest(&self) -> Vec<String> {
        let begun = stopwatch();
        let mut lines = Vec::new();
        loop {
            match self.out.recv_timeout(DEADLINE.saturating_sub(begun.elapsed())) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => return lines,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end; it printed {lines:#?}"),
            }
        }
    }

    /// SIGKILL, and waits until it is dead.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits until somebody else has killed it.
    pub(crate) fn meets_its_end(mut self) {
        use std::os::unix::process::ExitStatusExt as _;
        let begun = stopwatch();
        // it says so by letting go of its standard error
        while let Ok(line) = self.err.recv_timeout(DEADLINE.saturating_sub(begun.elapsed())) {
            self.story.push(line);
        }
        assert!(begun.elapsed() < DEADLINE, "it was not killed");
        assert_eq!(self.child.wait().unwrap().signal(), Some(rustix::process::Signal::KILL.as_raw()));
    }

    /// SIGTERM; its exit code.
    pub(crate) fn stop(mut self) -> i32 {
        self.signal(rustix::process::Signal::TERM);
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// SIGINT, as of Ctrl-C; its exit code, or none where the signal ended it. A shell that runs the tests in the background
    /// may have it ignored, by what they start too: then it does not end.
    pub(crate) fn interrupt(mut self) -> Option<i32> {
        self.signal(rustix::process::Signal::INT);
        self.rest();
        self.child.wait().unwrap().code()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// What it has logged so far, as far as somebody waited for it.
    pub(crate) fn story(&self) -> &[String] {
        &self.story
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The most memory it ever held, in KiB.
    pub(crate) fn peak_rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Agent<'_> {
    fn drop(&mut self) {
        // it may have ended already
        _ = self.child.kill();
        _ = self.child.wait();
        if std::thread::panicking() {
            self.story.extend(self.err.try_iter());
            println!("the agent's log:\n{}", self.story.join("\n"));
        }
    }
}

fn wait_for_line(lines: &Receiver<String>, part: &str, story: &mut Vec<String>) -> String {
    let begun = stopwatch();
    loop {
        let left = DEADLINE.saturating_sub(begun.elapsed());
        match lines.recv_timeout(left) {
            Ok(line) => {
                story.push(line.clone());
                if line.contains(part) {
                    return line;
                }
            }
            Err(e) => panic!("no line holds `{part}` ({e}); there were:\n{}", story.join("\n")),
        }
    }
}

/// A program that a test needs; where it is absent the test is skipped out loud, in CI it fails.
pub(crate) fn have(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap().status.success();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "`{program}` is needed in CI");
        println!("SKIPPED: `{program}` is not installed");
    }
    found
}

/// A term of a rule's ledger.
pub(crate) fn term(status: &Value, rule: &str, term: &str) -> u64 {
    status["rules"][rule][term].as_u64().unwrap_or_else(|| panic!("no {term} of {rule} in {status:#}"))
}
