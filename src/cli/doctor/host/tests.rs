//! What is said of this host.

use super::super::sheet::Grade;
use super::*;

#[test]
fn a_trouble_with_a_log_is_a_failure_and_one_with_watching_a_warning() {
    let trouble = |source: Option<&str>, path: &str, what: &str| Trouble {
        source: source.map(Into::into),
        path: path.into(),
        what: what.into(),
        hint: Some("mend it".into()),
        over: false,
        minor: false,
    };
    let said = |t: &Trouble| {
        let f = of_trouble(t);
        (f.grade, f.check, f.what, f.hint.unwrap())
    };
    let hint = || "mend it".to_owned();
    assert_eq!(
        said(&trouble(Some("files"), "/a.log", "too many levels")),
        (Grade::Failure, "readable", "`/a.log`: too many levels".into(), hint())
    );
    let (.., denied, _) = said(&trouble(Some("files"), "/nowhere/a.log", "permission denied"));
    assert!(
        denied.starts_with("file `/nowhere/a.log` cannot be read: permission denied on a folder"),
        "{denied}"
    );
    assert_eq!(
        said(&trouble(None, "/var/log", "no inotify watch left")),
        (Grade::Warning, "inotify", "`/var/log`: no inotify watch left".into(), hint())
    );
    assert_eq!(
        said(&trouble(None, "journalctl", "the journal cannot be read: permission denied")),
        (Grade::Failure, "journal", "the journal cannot be read: permission denied".into(), hint())
    );
}

#[test]
fn more_logs_than_may_be_held_open_are_told() {
    assert_eq!(of_handles(512, Some(1024)), None);
    assert_eq!(of_handles(1 << 20, None), None);
    let told = of_handles(513, Some(1024)).unwrap();
    assert_eq!(told.what, "513 logs are read, and only 512 of them may be held open at once");
}

#[test]
fn a_directory_that_cannot_be_written_says_why() {
    assert_eq!(may_write(Path::new("/nowhere/at/all")).unwrap_err().split(", as user").count(), 2);
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(may_write(dir.path()), Ok(()));
}
