//! Clients that other people wrote, as they come: boto3, aws cli, the SDKs for JavaScript and Rust.

mod health;
mod pause;
mod rust_sdk;

use crate::daemon::Daemon;
use crate::relay::Relay;
use crate::service::Service;
use crate::testbed;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MIB: u64 = 1 << 20;

/// What works: clients drive all of it.
const WORKS: [&str; 11] = [
    "CreateReplicationJob",
    "DeleteReplicationJob",
    "DeleteServerCatalog",
    "DisassociateConnector",
    "GetConnectors",
    "GetReplicationJobs",
    "GetReplicationRuns",
    "GetServers",
    "ImportServerCatalog",
    "StartOnDemandReplicationRun",
    "UpdateReplicationJob",
];

/// A service with two connectors, one for a socket and one for a folder of two, so that every list has several pages:
/// three servers in all, each with a small disk. Clients reach it through a relay, so that each reply can be looked at.
struct Scene {
    folder: tempfile::TempDir,
    _daemons: Vec<Daemon>,
    service: Service,
    relay: Relay,
}

impl Scene {
    fn replies_are_as_the_model_says(&self, called: &[&str]) {
        replies_are_as_the_model_says(&self.service, &self.relay, called);
    }
}

/// Holds botocore's own model against every reply that came through the relay. `called` is what must be among them
/// and have succeeded, or `--all`.
fn replies_are_as_the_model_says(service: &Service, relay: &Relay, called: &[&str]) {
    let mut validator = Command::new(testbed::prepared("GODWIT_CLIENTS_PYTHON"));
    validator.arg(script("validate.py")).arg(&relay.recording).args(called);
    let output = validator.envs(environment(service, relay)).output().expect("start the validator");
    passed("validate.py", output);
}

/// Variables by which clients find the relay before a service.
fn environment(service: &Service, relay: &Relay) -> Vec<(&'static str, String)> {
    let mut variables = service.environment().to_vec();
    for (name, value) in &mut variables {
        if name.contains("ENDPOINT") {
            value.clone_from(&relay.endpoint);
        }
    }
    variables
}

fn scene() -> Scene {
    let folder = testbed::folder();
    let sockets = subfolder(folder.path(), "machines");
    let daemons: Vec<Daemon> = ["alone", "web", "db"].iter().map(|name| daemon(folder.path(), name)).collect();
    for (daemon, link) in daemons[1..].iter().zip(["web.sock", "db.sock"]) {
        std::os::unix::fs::symlink(daemon.qmp_socket(), sockets.join(link)).expect("a second name of the socket");
    }
    let service = Service::start(&folder.path().join("data"));
    service.associate_all(&[&daemons[0].qmp_socket(), &sockets]);
    make_roles_and_key(&service, folder.path());
    let relay = Relay::start(&service.endpoint, folder.path());
    Scene { folder, _daemons: daemons, service, relay }
}

/// The roles and the key that the flows name.
fn make_roles_and_key(service: &Service, folder: &Path) {
    let document = folder.join("role.json");
    let text = r#"{"Statement": {"Effect": "Allow", "Action": ["godwit:ReadSource", "godwit:WriteStore", "godwit:RegisterImage", "godwit:UseKey"]}}"#;
    std::fs::write(&document, text).expect("a file in our folder");
    for role in ["mover", "other"] {
        service.cli(&["roles", "create", role, "--document", document.to_str().expect("UTF-8")]);
    }
    service.cli(&["keys", "create", "--alias", "alias/flows"]);
}

fn daemon(folder: &Path, name: &str) -> Daemon {
    let daemon = Daemon::start(&subfolder(folder, name), &[32 * MIB]);
    daemon.write(0, &[(0, 1, 4 * MIB)]);
    daemon
}

fn subfolder(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::create_dir(&path).expect("a folder in our folder");
    path
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients").join(name)
}

fn python_script(name: &str, called: &[&str]) {
    let python = testbed::prepared("GODWIT_CLIENTS_PYTHON");
    let path = std::env::var("PATH").unwrap_or_default();
    let path = format!("{}:{path}", python.parent().expect("python is in a folder").display());
    client_script(Command::new(&python).env("PATH", path), name, called);
}

/// Lets a script drive a service of its own, and looks at what it was answered.
fn client_script(program: &mut Command, name: &str, called: &[&str]) {
    let scene = scene();
    let output = program
        .arg(script(name))
        .envs(environment(&scene.service, &scene.relay))
        .env_remove("AWS_PROFILE")
        .output()
        .expect("start the client's interpreter");
    passed(name, output);
    scene.replies_are_as_the_model_says(called);
}

/// A script says how many of its checks passed.
fn passed(name: &str, output: Output) {
    let out = testbed::text(name, output);
    assert!(out.contains(" passed, 0 failed"), "{out}");
}

#[test]
fn boto3_drives_it_unchanged() {
    python_script("boto3_flow.py", &[&WORKS[..], &["--all"]].concat());
}

#[test]
fn the_javascript_sdk_drives_it_unchanged() {
    let sdk = testbed::prepared("GODWIT_CLIENTS_JS");
    client_script(Command::new("node").env("GODWIT_CLIENTS_JS", sdk), "js/js_flow.mjs", &WORKS);
}

#[test]
fn aws_cli_drives_it_unchanged() {
    python_script("awscli_flow.py", &WORKS);
}

#[test]
fn raw_requests_that_are_wrong_are_refused_clearly() {
    python_script("raw_requests.py", &["GetConnectors", "GetServers"]);
}
