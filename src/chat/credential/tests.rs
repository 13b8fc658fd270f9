//! What is said of each bad secret, to the character.

use super::*;
use serde_json::json;

fn no_env(_: &str) -> Option<OsString> {
    None
}

fn said<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
    let fault = result.unwrap_err();
    format!("{}\nhint: {}", fault.what, fault.hint)
}

fn webhook(url: &str) -> Result<WebhookUrl, Fault> {
    WebhookUrl::parse(&SecretString::from(url), "credential `ops`")
}

const GOOD: &str = "https://chat.googleapis.com/v1/spaces/AAAA/messages?key=AIza-k&token=abc%3D";

#[test]
fn a_secret_that_is_not_there_is_named_with_its_remedy() {
    assert_eq!(
        said(resolve(&SecretSource::Env("OPS_WEBHOOK".into()), &no_env)),
        "environment variable `OPS_WEBHOOK` is not set\n\
         hint: set it in the unit's `EnvironmentFile=`, or say `credential` instead of `env`"
    );
    let empty = |_: &str| Some(OsString::from(" \n"));
    assert_eq!(
        said(resolve(&SecretSource::Env("OPS_WEBHOOK".into()), &empty)),
        "environment variable `OPS_WEBHOOK` is empty\nhint: store the secret there"
    );
    assert_eq!(
        said(resolve(&SecretSource::Credential("ops-webhook".into()), &no_env)),
        "credential `ops-webhook` cannot be read: `$CREDENTIALS_DIRECTORY` is not set\n\
         hint: run as a systemd service with `LoadCredential=ops-webhook:/path/to/it`, or use `{ file = \"/path\" }`"
    );
    let dir = tempfile::tempdir().unwrap();
    let env = |_: &str| Some(dir.path().as_os_str().to_owned());
    assert_eq!(
        said(resolve(&SecretSource::Credential("ops-webhook".into()), &env)),
        "credential `ops-webhook` is not among the service's credentials\n\
         hint: add `LoadCredential=ops-webhook:/path/to/it` to the unit, and `systemctl daemon-reload`"
    );
    assert_eq!(
        said(resolve(&SecretSource::File("/nowhere/key.json".into()), &no_env)),
        "file `/nowhere/key.json` does not exist\nhint: put the secret there, or mend the path"
    );
}

#[test]
fn a_credential_is_read_from_the_services_folder() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("ops"), "the secret\n").unwrap();
    let env = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| dir.path().as_os_str().to_owned());
    let found = resolve(&SecretSource::Credential("ops".into()), &env).unwrap();
    assert_eq!((found.secret.expose_secret(), found.place.as_str()), ("the secret", "credential `ops`"));
    assert!(!format!("{found:?}").contains("the secret"));
}

#[test]
fn a_file_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.json");
    std::fs::write(&path, "x").unwrap();
    let warned = |mode| {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        resolve(&SecretSource::File(path.clone()), &no_env).unwrap().warning
    };
    assert_eq!(warned(0o600), None);
    assert_eq!(
        warned(0o644).unwrap(),
        format!(
            "file `{}` has mode 0644: others than its owner can read a secret; `chmod 600` it",
            path.display()
        )
    );
}

#[test]
fn an_unreadable_file_says_who_may_read_it() {
    let root_only = (0o100_640, "root".to_owned(), "adm".to_owned());
    let said = |f: Fault| format!("{}\nhint: {}", f.what, f.hint);
    assert_eq!(
        said(denied_text(Path::new("/etc/logherald/key.json"), "logherald", Some(&root_only))),
        "file `/etc/logherald/key.json` cannot be read: permission denied; it has mode 0640, and only user `root` and \
         group `adm` may read it, not `logherald`\n\
         hint: hand it over by `LoadCredential=` (systemd reads it as root), or `chown logherald` it"
    );
    assert_eq!(
        said(denied_text(Path::new("/root/key.json"), "logherald", None)),
        "file `/root/key.json` cannot be read: permission denied on a folder above it, as user `logherald`\n\
         hint: let `logherald` into the folder, or hand the file over by `LoadCredential=`"
    );
}

#[test]
fn a_wrong_webhook_url_says_what_is_wrong_and_never_its_secret() {
    let hint = "\nhint: expected the whole URL as the space's settings show it, with `key` and `token`: \
                `https://chat.googleapis.com/v1/spaces/SPACE/messages?…`";
    let table = [
        ("hunter2", "credential `ops` holds no URL"),
        (
            "ftp://chat.googleapis.com/hunter2",
            "the webhook URL in credential `ops` does not begin with `https:`",
        ),
        (
            "http://chat.googleapis.com/v1/spaces/A/messages?key=hunter2&token=hunter2",
            "the webhook URL in credential `ops` begins with `http:`; plain http is accepted for loopback only",
        ),
        (
            "https://hooks.example/services/hunter2",
            "the webhook URL in credential `ops` points to `hooks.example` and not to `chat.googleapis.com`",
        ),
        (
            "https://chat.googleapis.com/v1/rooms/hunter2",
            "the webhook URL in credential `ops` has no path of the form `/v1/spaces/SPACE/messages`",
        ),
        (
            "https://chat.googleapis.com/v1/spaces/A/messages?token=hunter2",
            "the webhook URL in credential `ops` has no `key`",
        ),
        (
            "https://chat.googleapis.com/v1/spaces/A/messages?key=hunter2&token=",
            "the webhook URL in credential `ops` has no `token`",
        ),
    ];
    for (url, want) in table {
        let said = said(webhook(url));
        assert_eq!(said, format!("{want}{hint}"));
        assert!(!said.contains("hunter2"));
    }
}

#[test]
fn what_is_another_sort_of_secret_is_named_with_its_place() {
    let url = |text: &str| said(webhook(text));
    let api_key = format!("AIza{}", "hunter2".repeat(5));
    assert!(
        url(&api_key)
            .starts_with("credential `ops` holds an API key, not the URL of a webhook\nhint: expected the ")
    );
    assert_eq!(
        url(r#"{"type":"service_account","private_key":"hunter2"}"#),
        "credential `ops` holds the key of a service account, not the URL of a webhook\n\
         hint: a key belongs under `service_account`, with `name = \"spaces/…\"` in place of `webhook`"
    );
    assert!(
        url("https://chat.google.com/room/AAAA?hunter2").starts_with(
            "the webhook URL in credential `ops` is the address of a space in the browser, not of a webhook in it\nhint: "
        )
    );
    let key = |text: &str| {
        let secret = SecretString::from(text);
        said(ServiceKey::parse(&Found { secret, place: "file `/k`".into(), warning: None }))
    };
    let new = "make a new JSON key for the service account in the Google Cloud console, and store the file as it is";
    assert_eq!(
        key(&api_key),
        format!("file `/k` holds an API key, not the key of a service account\nhint: {new}")
    );
    assert_eq!(
        key(r#"{"installed":{"client_id":"x","client_secret":"hunter2"}}"#),
        format!("file `/k` holds an OAuth client, not the key of a service account\nhint: {new}")
    );
    assert_eq!(
        key(GOOD),
        "file `/k` holds a URL, not the key of a service account\n\
         hint: a webhook's URL belongs under `webhook`, in place of `name` and `service_account`"
    );
    assert_eq!(
        key("-----BEGIN PRIVATE KEY-----\nhunter2"),
        "file `/k` holds a bare private key or certificate, not the key of a service account\n\
         hint: store the whole JSON file of the key, as the Google Cloud console gave it"
    );
    assert_eq!(
        key(r#"{"type":"external_account","audience":"x"}"#),
        "file `/k` holds the configuration of workload identity, not the key of a service account\n\
         hint: leave `service_account` out, and name the file in `GOOGLE_APPLICATION_CREDENTIALS`"
    );
}

#[test]
fn ids_are_added_and_key_and_token_stay_byte_for_byte() {
    let url = webhook(GOOD).unwrap();
    let row = RowId::from_random([0xab; 16]);
    let id = "ab".repeat(16);
    assert_eq!(
        url.create(&row).expose_secret(),
        format!(
            "{GOOD}&requestId={id}&messageId=client-{id}&messageReplyOption=REPLY_MESSAGE_FALLBACK_TO_NEW_THREAD"
        )
    );
    assert_eq!(url.space, "spaces/AAAA");
    assert!(!format!("{url:?}").contains("AIza"));
}

#[test]
fn what_was_pasted_along_gives_way_to_our_ids() {
    let url = webhook(&format!("{GOOD}&threadKey=mine&messageReplyOption=X#top")).unwrap();
    let posted = url.create(&RowId::from_random([0; 16])).expose_secret().to_owned();
    assert!(!posted.contains("threadKey") && posted.matches("messageReplyOption").count() == 1, "{posted}");
}

#[test]
fn plain_http_reaches_loopback_only() {
    for host in ["127.0.0.1:8900", "localhost:1", "[::1]:1"] {
        assert!(webhook(&format!("http://{host}/v1/spaces/A/messages?key=k&token=t")).unwrap().loopback);
    }
    assert!(webhook("http://127.0.0.1.evil.example/v1/spaces/A/messages?key=k&token=t").is_err());
}

fn key(change: impl FnOnce(&mut Value)) -> Result<ServiceKey, Fault> {
    let mut json = json!({
        "type": "service_account", "client_email": "bot@proj-1.iam.gserviceaccount.com", "project_id": "proj-1",
        "private_key_id": "k1", "private_key": "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n",
        "token_uri": "https://oauth2.googleapis.com/token",
    });
    change(&mut json);
    let secret = SecretString::from(json.to_string());
    ServiceKey::parse(&Found { secret, place: "file `/k.json`".into(), warning: None })
}

#[test]
fn a_wrong_key_file_says_what_is_wrong_and_never_its_secret() {
    let hint = "\nhint: make a new JSON key for the service account in the Google Cloud console, and store the file as it is";
    let set = |name: &'static str, value: &'static str| move |j: &mut Value| j[name] = value.into();
    let table = [
        (key(|j| *j = "x".into()), "has no `type`, expected `service_account`"),
        (key(set("type", "authorized_user")), "has `type` `authorized_user`, expected `service_account`"),
        (key(set("client_email", "")), "has no `client_email`"),
        (key(|j| _ = j.as_object_mut().unwrap().remove("project_id")), "has no `project_id`"),
        (key(set("private_key", "")), "has no `private_key`"),
        (
            key(set("token_uri", "http://oauth2.example/")),
            "has a `token_uri` of plain http, which is accepted for loopback only",
        ),
        (key(set("token_uri", "oauth2")), "has a `token_uri` that is no https URL"),
        (
            key(set("private_key", "hunter2")),
            "has a `private_key` that is no RSA key in PKCS#8 form (`BEGIN PRIVATE KEY`)",
        ),
        (key(|_| ()), "has a `private_key` that is no RSA key in PKCS#8 form (`BEGIN PRIVATE KEY`)"),
        (
            key(set("private_key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n")),
            "has an encrypted `private_key`, and there is nobody to type its passphrase",
        ),
    ];
    for (got, want) in table {
        assert_eq!(said(got), format!("file `/k.json` {want}{hint}"));
    }
    assert_eq!(
        said(key(set("private_key", "-----BEGIN RSA PRIVATE KEY-----\n"))),
        "file `/k.json` has a `private_key` in PKCS#1 form, expected PKCS#8 (`BEGIN PRIVATE KEY`)\n\
         hint: convert it by `openssl pkcs8 -topk8 -nocrypt`, or make a new JSON key"
    );
}

#[test]
fn a_pipe_is_no_place_for_a_secret_and_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let found = resolve(&SecretSource::File(path.clone()), &|_| None).unwrap_err();
    assert_eq!(found.what, format!("`{}` is no file: a secret cannot be read again from it", path.display()));
    assert_eq!(found.hint, "store the secret in a plain file");
}

#[test]
fn one_file_holds_one_url() {
    let url = |token: &str| {
        format!("https://chat.googleapis.com/v1/spaces/AAAA/messages?key=k-k-k-k-k&token={token}")
    };
    let said = |text: String| {
        WebhookUrl::parse(&SecretString::from(text), "file `/h`").map(drop).map_err(|f| f.what)
    };
    assert_eq!(said(url("t-t-t-t-t")), Ok(()));
    for two in [format!("{}\n{}", url("a-secret-1"), url("a-secret-2")), url("cut in\ntwo")] {
        assert_eq!(
            said(two),
            Err("the webhook URL in file `/h` has a space or a line end in it, or another URL behind it"
                .to_owned())
        );
    }
}
