//! `godwit notifications` and what it needs, without a job and without anybody who receives.

use crate::service::Service;
use crate::{folder, run};
use std::os::unix::fs::PermissionsExt;

#[test]
fn an_empty_record_and_a_missing_mail_server_say_what_to_do() {
    let folder = folder();
    let service = Service::start(folder.path());
    let ask = |args: &[&str]| service.ask(folder.path(), args);
    let (status, out, _) = ask(&["notifications", "list"]);
    assert!(status == 0 && out.contains("godwit jobs update JOB --notify"), "{out}");
    let (status, out, _) = ask(&["notifications", "list", "--json"]);
    assert_eq!((status, out.trim()), (0, "[]"));

    let (status, _, err) = ask(&["notifications", "test", "ops@example.org"]);
    assert!(status == 1 && err.contains("no mail server is configured") && err.contains("notifications.smtp"), "{err}");
    let (status, out, _) = ask(&["notifications", "test", "ops@example.org", "--json"]);
    assert!(status == 1 && out.contains("\"code\": \"NoMailServer\""), "{out}");
    let (status, _, err) = ask(&["notifications", "test", "http://localhost:1/hook"]);
    assert!(status == 1 && err.contains("RecipientNotAllowed") && err.contains("allow_private_webhooks"), "{err}");
    let (status, _, err) = ask(&["notifications", "show", "ntf-1"]);
    assert!(status == 1 && err.contains("is no notification id"), "{err}");

    let secret = folder.path().join("data/webhook.secret");
    assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn secrets_that_are_not_there_refuse_the_start() {
    let folder = folder();
    let smtp = "[notifications.smtp]\nhost = 'localhost'\nfrom = 'a@b.c'\nuser = 'u'\n";
    for (more, words) in [
        ("password_file = 'no.such.file'", "no.such.file"),
        ("password_variable = 'NO_SUCH_VARIABLE'", "NO_SUCH_VARIABLE"),
    ] {
        std::fs::write(folder.path().join("own.toml"), format!("{smtp}{more}\n")).unwrap();
        let (status, out, err) =
            run(folder.path(), &["serve", "--data", "data", "--listen", "127.0.0.1:0", "--config", "own.toml"]);
        assert_eq!((status, out.as_str()), (1, ""), "{err}");
        assert!(err.contains(words) && err.contains("notifications.smtp.password"), "{err}");
    }
    std::fs::write(folder.path().join("own.toml"), "[notifications]\naccount = 'me'\n").unwrap();
    let (status, _, err) = run(folder.path(), &["serve", "--data", "data", "--config", "own.toml", "--check-config"]);
    assert!(status == 2 && err.contains("twelve digits"), "{err}");
}
