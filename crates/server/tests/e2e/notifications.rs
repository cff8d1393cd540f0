//! Recipients are told: by a mail server and a web server that other people wrote, of jobs on a real source.

use crate::daemon::Daemon;
use crate::service::Service;
use crate::testbed;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const MIB: u64 = 1 << 20;
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// Mail servers and a web server, see `tests/clients/notification_receivers.py`; ended with the value.
pub struct Receivers {
    child: Child,
    folder: PathBuf,
    ports: Value,
}

impl Receivers {
    /// Starts them; what arrives is kept in a folder in `folder`.
    pub fn start(folder: &Path) -> Receivers {
        let folder = folder.join("arrived");
        std::fs::create_dir(&folder).expect("a folder in our folder");
        std::fs::write(folder.join("secret"), SECRET).expect("a secret for the receiver");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients/notification_receivers.py");
        let mut child = Command::new(testbed::prepared("GODWIT_CLIENTS_PYTHON"))
            .args([&script, &folder])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start the receivers");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("the ports of the receivers");
        let ports = serde_json::from_str(&line).unwrap_or_else(|e| panic!("no ports of the receivers: {e}: {line}"));
        Receivers { child, folder, ports }
    }

    fn port(&self, name: &str) -> u64 {
        self.ports[name].as_u64().unwrap_or_else(|| panic!("no port {name} in {}", self.ports))
    }

    /// The web address that takes events.
    pub fn hook(&self) -> String {
        format!("https://localhost:{}/hook", self.port("https"))
    }

    /// What arrived of a kind, oldest first.
    fn arrived(&self, kind: &str) -> Vec<Value> {
        let mut files: Vec<_> =
            std::fs::read_dir(&self.folder).expect("our folder").map(|e| e.expect("entry").path()).collect();
        files.retain(|file| file.to_string_lossy().ends_with(&format!(".{kind}.json")));
        files.sort();
        let read = |file: PathBuf| serde_json::from_slice(&std::fs::read(file).expect("what arrived")).expect("JSON");
        files.into_iter().map(read).collect()
    }

    /// A settings file for a service that is to reach them.
    pub fn settings(&self, folder: &Path) -> String {
        with_password(self, folder, "a password")
    }

    /// Waits for so many.
    pub fn wait(&self, kind: &str, n: usize) -> Vec<Value> {
        testbed::wait(&format!("{n} of {kind}"), Duration::from_secs(60), || {
            Some(self.arrived(kind)).filter(|arrived| arrived.len() >= n)
        })
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A settings file for a mail server, and what it names; `more` comes first in `[notifications]`.
fn settings(folder: &Path, more: &str, smtp: &str) -> String {
    for (name, text) in [("hook.secret", SECRET), ("smtp.password", "a password")] {
        let file = folder.join(name);
        std::fs::write(&file, format!("{text}\n")).expect("a secret");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("for us alone");
    }
    let file = folder.join("godwit.toml");
    let text = format!(
        "[jobs]\nattempts = 1\n[notifications]\nallow_private_webhooks = true\nwebhook_secret_file = '{0}/hook.secret'\n\
         {more}\n[notifications.smtp]\nhost = 'localhost'\nfrom = 'godwit@example.org'\n{smtp}\n",
        folder.display()
    );
    std::fs::write(&file, text).expect("a settings file");
    file.display().to_string()
}

fn with_password(receivers: &Receivers, folder: &Path, password: &str) -> String {
    let smtp = format!(
        "port = {}\nuser = 'godwit'\npassword_file = '{}/smtp.password'",
        receivers.port("starttls"),
        folder.display()
    );
    let file = settings(folder, &format!("ca_file = '{}/arrived/ca.pem'", folder.display()), &smtp);
    std::fs::write(folder.join("smtp.password"), password).expect("a password");
    file
}

fn notifications(service: &Service) -> Vec<Value> {
    service.json(&["notifications", "list"]).as_array().expect("a list").clone()
}

fn create(service: &Service, server: &str, recipients: &[&str]) -> String {
    let mut args = vec!["jobs", "create", "--server", server, "--once"];
    args.extend(recipients.iter().flat_map(|recipient| ["--notify", recipient]));
    service.json(&args)["job_id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_finished_and_a_failed_job_arrive_as_mails_and_signed_events() {
    let folder = testbed::folder();
    let receivers = Receivers::start(folder.path());
    let config = with_password(&receivers, folder.path(), "a password\n");
    let daemon = Daemon::start(folder.path(), &[8 * MIB]);
    let socket = daemon.qmp_socket();
    let service = Service::start_with(&folder.path().join("data"), &["--config", &config]);
    service.associate(&socket);
    let server = service.only_server();
    let hook = receivers.hook();

    let job = create(&service, &server, &["ops@example.org", &hook]);
    let mail = receivers.wait("mail", 1).remove(0);
    let events = receivers.wait("event", 2);
    let run = service.completed(&service.newest_run(&job));
    assert_eq!((&mail["tls"], &mail["authenticated"]), (&true.into(), &true.into()), "{mail:#}");
    assert_eq!(mail["to"], serde_json::json!(["ops@example.org"]));
    assert!(mail["headers"]["subject"].as_str().unwrap().ends_with(": the migration completed"), "{mail:#}");
    let image = run["image_id"].as_str().expect("an image");
    assert!(mail["text"].as_str().unwrap().contains(&format!("godwit images export {image} --volume 0")), "{mail:#}");
    for event in &events {
        assert_eq!((&event["genuine"], &event["forged"]), (&true.into(), &false.into()), "{event:#}");
    }
    let details = [&events[0]["body"]["detail"], &events[1]["body"]["detail"]];
    assert_eq!(details.map(|detail| detail["state"].clone()), ["Completed", "Completed"]);
    assert_eq!((&details[0]["replication-run-id"], &details[0]["ami-id"]), (&run["run_id"], &run["image_id"]));
    assert_eq!((&details[1]["replication-run-id"], details[1].get("ami-id")), (&"N/A".into(), None));

    // The source goes away: the next run cannot but fail.
    drop(daemon);
    let job = create(&service, &server, &["ops@example.org", "gone@example.org", &hook]);
    let mails = receivers.wait("mail", 3);
    let events = receivers.wait("event", 4);
    let run = service.ended(&service.newest_run(&job));
    let code = run["failure"]["code"].as_str().unwrap_or_else(|| panic!("no failure in {run:#}"));
    let failed = &mails[1];
    assert!(failed["headers"]["subject"].as_str().unwrap().ends_with(&format!(": a replication run failed ({code})")));
    for words in [&job, run["run_id"].as_str().unwrap(), code, run["failure"]["next_step"].as_str().unwrap()] {
        assert!(failed["text"].as_str().unwrap().contains(words), "{words}: {failed:#}");
    }
    assert!(mails[2]["headers"]["subject"].as_str().unwrap().contains("the replication job failed"), "{mails:#?}");
    assert_eq!(
        (&events[2]["body"]["detail"]["state"], &events[2]["body"]["godwit"]["failure-code"]),
        (&"Failed".into(), &code.into())
    );
    let id = events[2]["headers"]["godwit-event-id"].as_str().unwrap();
    assert!(failed["headers"]["message-id"].as_str().unwrap().contains(id), "one event, one id: {failed:#}");

    // What did not arrive is in the record, with the mail server's words.
    let lost = testbed::wait("both messages to be given up", Duration::from_secs(60), || {
        let given_up = service.json(&["notifications", "list", "--job", &job, "--state", "given-up"]);
        assert!(given_up.as_array().is_some_and(|all| all.len() <= 2), "{given_up:#}");
        given_up.get(1).cloned()
    });
    assert_eq!(
        (&lost["recipient"], &lost["attempts"], &lost["event"]),
        (&"gone@example.org".into(), &1.into(), &"RUN_FAILED".into())
    );
    assert!(lost["failure"]["evidence"].as_str().unwrap().contains("no such mailbox here"), "{lost:#}");
    let shown = service.cli(&["notifications", "show", lost["notification_id"].as_str().unwrap()]);
    assert!(shown.contains("given up") && shown.contains("A replication run failed."), "{shown}");

    service.cli(&["jobs", "delete", &job, "--wait"]);
    let deleted = receivers.wait("mail", 4).remove(3);
    assert!(deleted["headers"]["subject"].as_str().unwrap().contains("was deleted"), "{deleted:#}");
    let told = notifications(&service).len();
    assert_eq!(told, 3 + 6 + 3);
    service.stop();
    let log = std::fs::read_to_string(folder.path().join("data.log")).expect("a log");
    for secret in ["a password", SECRET, "/hook"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[test]
fn a_busy_mail_server_is_asked_again_also_by_hand_and_after_a_crash() {
    let folder = testbed::folder();
    let receivers = Receivers::start(folder.path());
    let config = with_password(&receivers, folder.path(), "a password");
    let daemon = Daemon::start(folder.path(), &[8 * MIB]);
    let data = folder.path().join("data");
    let service = Service::start_with(&data, &["--config", &config]);
    service.associate(&daemon.qmp_socket());
    let job = create(&service, &service.only_server(), &["busy@example.org"]);
    let waiting = testbed::wait("the first attempt", Duration::from_secs(60), || {
        notifications(&service).into_iter().find(|n| n["attempts"] == 1)
    });
    assert_eq!((&waiting["state"], &waiting["job_id"]), (&"PENDING".into(), &job.into()));
    assert!(waiting["failure"]["evidence"].as_str().unwrap().contains("come back later"), "{waiting:#}");
    assert!(waiting["next_attempt_on"].is_number(), "{waiting:#}");
    service.kill();

    let service = Service::start_with(&data, &["--config", &config]);
    assert!(receivers.arrived("mail").is_empty());
    let id = waiting["notification_id"].as_str().unwrap();
    service.cli(&["notifications", "retry", id]);
    assert_eq!(receivers.wait("mail", 1).len(), 1);
    testbed::wait("the record", Duration::from_secs(10), || {
        notifications(&service).into_iter().find(|n| n["state"] == "DELIVERED" && n["notification_id"] == id)
    });
    service.stop();
}

/// A service with such settings sends a test; whether it arrived, and what was said if not.
fn tried(folder: &Path, config: &str, recipient: &str) -> (bool, String) {
    let data = tempfile::tempdir_in(folder).expect("a folder in our folder");
    let service = Service::start_with(&data.path().join("data"), &["--config", config]);
    let output = service.command(&["notifications", "test", recipient]);
    service.stop();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn nothing_is_sent_to_servers_that_do_not_prove_who_they_are() {
    let folder = testbed::folder();
    let (folder, receivers) = (folder.path(), Receivers::start(folder.path()));
    let ca = format!("ca_file = '{}/arrived/ca.pem'", folder.display());
    let port = |name: &str, tls: &str| format!("port = {}\ntls = '{tls}'", receivers.port(name));

    // Not signed by anybody that the system trusts.
    let hook = receivers.hook();
    for (name, recipient) in [("implicit", "ops@example.org"), ("starttls", "ops@example.org"), ("starttls", &hook)] {
        let (arrived, said) = tried(folder, &settings(folder, "", &port(name, name)), recipient);
        assert!(
            !arrived && said.contains("RecipientUnreachable") && said.contains("certificate"),
            "{recipient}: {said}"
        );
    }
    // No TLS where TLS is demanded, and a password that is wrong.
    let (arrived, said) = tried(folder, &settings(folder, &ca, &port("plain", "starttls")), "ops@example.org");
    assert!(!arrived && said.contains("RecipientUnreachable"), "{said}");
    let (arrived, said) = tried(folder, &with_password(&receivers, folder, "guessed"), "ops@example.org");
    assert!(!arrived && said.contains("RecipientUnreachable") && said.contains("535"), "{said}");
    assert!(receivers.arrived("mail").is_empty() && receivers.arrived("event").is_empty());

    // With TLS from the first byte, and in plain text on this machine, it does arrive.
    assert!(tried(folder, &settings(folder, &ca, &port("implicit", "implicit")), "ops@example.org").0);
    let plain = settings(folder, &ca, &port("plain", "none"));
    assert!(tried(folder, &plain, "ops@example.org").0);
    assert!(tried(folder, &plain, &hook).0);
    let (arrived, said) = tried(folder, &plain, &hook.replace("/hook", "/moved"));
    assert!(!arrived && said.contains("redirects are not followed"), "{said}");
    let mails = receivers.arrived("mail");
    assert_eq!(mails.iter().map(|mail| mail["tls"].clone()).collect::<Vec<_>>(), [true, false]);
    assert_eq!(receivers.arrived("event").len(), 1);
}
