//! What tests of the whole program share.
pub(crate) mod counted;
pub(crate) mod dice;
pub(crate) mod disk;
pub(crate) mod fake_chat;
pub(crate) mod power;
pub(crate) mod program;
pub(crate) mod wire;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Makes a script that can be run. Another process writes it: a file that is open for writing anywhere cannot be, and what this
/// one has open is held by whatever another test is just starting.
pub(crate) fn script(path: &Path, text: &str) {
    let made = path.with_extension("made");
    let status = Command::new("sh")
        .args(["-c", "cat > \"$1\" && chmod 755 \"$1\" && mv \"$1\" \"$2\"", "sh"])
        .args([made.as_path(), path])
        .stdin(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            child.stdin.take().expect("it is piped").write_all(text.as_bytes())?;
            child.wait()
        });
    assert!(status.unwrap().success());
}
