//! The console's side of a real `godwit serve`: sign-in, its page, its stream, encrypted connections.

use crate::service::Service;
use crate::testbed;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const PASSWORD: &str = "correct horse battery";

/// What `curl` got: its status, its headers in small letters, its body.
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}{}", self.head, self.body))
    }

    fn header(&self, name: &str) -> &str {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        let found = pairs.find(|(there, _)| there.eq_ignore_ascii_case(name));
        found.unwrap_or_else(|| panic!("no {name} in {}", self.head)).1
    }

    fn cookie(&self) -> String {
        let secret = self.header("set-cookie").split(';').next().expect("a first part");
        format!("cookie: {secret}")
    }
}

/// A browser in all that counts here. curl is on every machine that has the guests' tools.
fn curl(service: &Service, path: &str, args: &[&str]) -> Reply {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--include", "--max-time", "30", "--cacert"])
        .arg(service.data.join("tls/certificate.pem"))
        .args(args)
        .arg(format!("{}{path}", service.endpoint))
        .output()
        .expect("start curl");
    let text = testbed::text("curl", output);
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    let status = head.split_whitespace().nth(1).expect("a status").parse().expect("a number");
    Reply { status, head: head.replace('\r', ""), body: body.to_owned() }
}

fn sign_in(service: &Service, with: &Value) -> Reply {
    curl(service, "/session", &["-X", "POST", "-H", "content-type: application/json", "-d", &with.to_string()])
}

fn call(service: &Service, cookie: &str, target: &str, request: &Value) -> Reply {
    let target = format!("x-amz-target: {target}");
    let ours = ["-H", cookie, "-H", "x-godwit-console: 1", "-H", "content-type: application/x-amz-json-1.1"];
    curl(service, "/", &[&ours[..], &["-H", &target, "-d", &request.to_string()]].concat())
}

fn set_password(service: &Service, user: &str, password: &str) -> (i32, String) {
    let mut command = Command::new(crate::service::GODWIT);
    command.args(["users", "set-password", user, "--password-stdin"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").envs(service.environment());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start");
    writeln!(child.stdin.take().expect("piped"), "{password}").expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let all = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8(all).expect("UTF-8"))
}

#[test]
fn a_person_signs_in_by_the_first_link_sets_a_password_and_comes_back_after_a_restart() {
    let folder = testbed::folder();
    let data = folder.path().join("data");
    let service = Service::start(&data);
    let link = testbed::wait("the first link", Duration::from_secs(10), || service.first_link());
    let token = link.split_once("/console/#link=").expect("a link into the console").1.to_owned();
    assert!(link.starts_with(&service.endpoint) && token.len() == 64, "{link}");
    let reply = sign_in(&service, &json!({"link": token}));
    assert_eq!((reply.status, &reply.json()["userName"]), (200, &json!("administrator")), "{}", reply.body);
    assert_eq!(sign_in(&service, &json!({"link": token})).status, 403, "once");
    let cookie = reply.cookie();
    let change = json!({"newPassword": PASSWORD}).to_string();
    let put = ["-X", "PUT", "-H", &cookie, "-H", "content-type: application/json", "-d", &change];
    assert_eq!(curl(&service, "/session/password", &put).status, 204);
    let create =
        call(&service, &cookie, "Godwit_V1.CreateUser", &json!({"userName": "ann", "policyNames": ["read-only"]}));
    assert_eq!(create.status, 200, "{}", create.body);
    service.stop();

    let service = Service::start(&data);
    assert_eq!(service.first_link(), None, "told once");
    let reply = curl(&service, "/session", &["-H", &cookie]);
    assert_eq!((reply.status, &reply.json()["signedInWith"]), (200, &json!("link")), "sessions outlive a restart");
    let with = json!({"userName": "administrator", "password": PASSWORD});
    assert_eq!(sign_in(&service, &with).status, 200);
    let out = curl(&service, "/session?everywhere", &["-X", "DELETE", "-H", &cookie]);
    assert_eq!(out.status, 204);
    assert_eq!(call(&service, &cookie, "Godwit_V1.DescribeUsers", &json!({})).status, 401);
    service.stop();
    for name in ["state.db", "state.db-wal"] {
        let bytes = fs::read(data.join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let secret = cookie.split_once('=').expect("a cookie").1;
        assert!(!text.contains(PASSWORD) && !text.contains(secret) && !text.contains(&token), "{name} holds a secret");
    }
}

#[test]
fn the_command_line_sets_passwords_and_makes_links_and_wrong_ones_lock_out() {
    let folder = testbed::folder();
    let service = Service::start(&folder.path().join("data"));
    service.cli(&["users", "create", "ann", "--policy", "read-only"]);
    let (status, said) = set_password(&service, "ann", "short");
    assert!(status == 1 && said.contains("give 12 to 256") && !said.contains("short"), "{said}");
    let (status, said) = set_password(&service, "nobody", PASSWORD);
    assert!(status == 1 && said.contains("no user 'nobody'"), "{said}");
    let (status, said) = set_password(&service, "ann", PASSWORD);
    assert!(status == 0 && !said.contains(PASSWORD), "{said}");
    let with = |password: &str| json!({"userName": "ann", "password": password});
    let cookie = sign_in(&service, &with(PASSWORD)).cookie();
    let denied = call(&service, &cookie, "Godwit_V1.CreateUser", &json!({"userName": "eve"}));
    assert_eq!((denied.status, &denied.json()["__type"]), (400, &json!("UnauthorizedOperationException")));
    let link = service.json(&["users", "sign-in-link", "ann"]);
    let url = link["url"].as_str().expect("a link").to_owned();
    let token = url.strip_prefix(&format!("{}/console/#link=", service.endpoint)).expect("into the console");
    assert_eq!(sign_in(&service, &json!({"link": token})).status, 200);
    for _ in 0..5 {
        assert_eq!(sign_in(&service, &with("wrong horse battery")).status, 403);
    }
    let waits = sign_in(&service, &with(PASSWORD));
    assert_eq!(waits.status, 429);
    assert!((1..=2).contains(&waits.header("retry-after").parse::<u32>().expect("seconds")), "{}", waits.head);
    service.cli(&["users", "remove-password", "ann"]);
    assert_eq!(curl(&service, "/session", &["-H", &cookie]).status, 401);
    let all = service.json(&["audit", "list", "--limit", "100"]).to_string();
    assert!(all.contains("godwit:SetPassword") && all.contains("godwit:SignIn") && !all.contains(PASSWORD), "{all}");
    let log = fs::read_to_string(service.data.with_extension("log")).expect("a log");
    assert!(!log.contains(PASSWORD) && !log.contains("wrong horse") && !log.contains(token), "the log holds a secret");
}

#[test]
fn the_page_is_there_whatever_was_built_and_lets_nothing_foreign_in() {
    let folder = testbed::folder();
    let service = Service::start(&folder.path().join("data"));
    let led = curl(&service, "/", &["-H", "accept: text/html"]);
    assert_eq!((led.status, led.header("location")), (303, "/console/"));
    for path in ["/console/", "/console/jobs", "/console/index.html"] {
        let page = curl(&service, path, &[]);
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"), "{path}");
        assert_eq!(page.header("cache-control"), "no-store", "{path}");
        assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self'"), "{path}");
        assert!(page.body.contains("<title>"), "{}", page.body);
    }
    assert_eq!(curl(&service, "/console/assets/none.js", &[]).status, 404);
    assert_eq!(curl(&service, "/console", &[]).header("location"), "/console/");
    let packed =
        curl(&service, "/console/", &["-H", "accept-encoding: gzip", "--output", "/dev/null", "--dump-header", "-"]);
    assert_eq!(packed.header("vary"), "Accept-Encoding");
}

#[test]
fn a_stream_tells_of_a_change_and_ends_when_the_service_stops() {
    let folder = testbed::folder();
    let service = Service::start(&folder.path().join("data"));
    set_password(&service, "administrator", PASSWORD);
    let cookie = sign_in(&service, &json!({"userName": "administrator", "password": PASSWORD})).cookie();
    let mut child = Command::new("curl")
        .args(["--silent", "--no-buffer", "--max-time", "60", "-H", &cookie, &format!("{}/events", service.endpoint)])
        .stdout(Stdio::piped())
        .spawn()
        .expect("start curl");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "event: hello"));
    service.cli(&["users", "create", "ann"]);
    let told = lines.find(|line| line.starts_with("data: ") && line.contains("\"users\"")).expect("a change");
    assert!(told.contains("\"serverTime\":"), "{told}");
    service.stop();
    let mut rest = String::new();
    lines.for_each(|line| rest.push_str(&line));
    let ended = child.wait().expect("curl ends");
    assert!(ended.success(), "the stream was ended and not broken off: {ended}: {rest}");
}

/// A service with settings. Its address is loopback as everywhere here, so that encryption has to be asked for.
fn encrypted(data: &Path, settings: &str) -> Service {
    fs::write(data.with_extension("toml"), settings).expect("a settings file");
    let file = data.with_extension("toml").display().to_string();
    Service::start_with(data, &["--config", &file])
}

#[test]
fn encrypted_connections_show_an_own_certificate_and_everybody_can_work_over_them() {
    let folder = testbed::folder();
    let data = folder.path().join("data");
    let service = encrypted(&data, "[server]\ntls = 'on'\nnames = ['godwit.example.org']\n");
    assert!(service.endpoint.starts_with("https://127.0.0.1:"), "{}", service.endpoint);
    let key = data.join("tls/key.pem").metadata().expect("a key").permissions().mode();
    assert_eq!(key & 0o777, 0o600);
    let certificate = data.join("tls/certificate.pem").display().to_string();
    let listed = service.json(&["users", "list", "--ca-certificate", &certificate]);
    assert_eq!(listed[0]["user_name"], "administrator", "{listed}");
    let distrusted = service.command(&["users", "list"]);
    assert_eq!(distrusted.status.code(), Some(3), "nobody vouches for it");
    let link = service.first_link().expect("told at the first start");
    let token = link.split_once("#link=").expect("a link").1;
    let reply = sign_in(&service, &json!({"link": token}));
    assert!(link.starts_with("https://") && reply.header("set-cookie").ends_with("; Secure"), "{}", reply.head);
    let port = service.endpoint.rsplit(':').next().expect("a port");
    let plain = Command::new("curl").args(["--silent", &format!("http://127.0.0.1:{port}/")]).output().expect("curl");
    assert!(!plain.status.success(), "nothing is said in the clear");
}

#[test]
fn a_certificate_that_is_replaced_is_shown_without_a_restart() {
    let folder = testbed::folder();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let made = |data: &Path| encrypted(data, "[server]\ntls = 'on'\n");
    made(&two).stop();
    let service = made(&one);
    let trusts = |file: &Path| {
        let listed = service.command(&["users", "list", "--ca-certificate", &file.display().to_string()]);
        listed.status.success()
    };
    let new = folder.path().join("new.pem");
    fs::copy(two.join("tls/certificate.pem"), &new).expect("kept");
    assert!(trusts(&one.join("tls/certificate.pem")) && !trusts(&new));
    for name in ["key.pem", "certificate.pem"] {
        fs::copy(two.join("tls").join(name), one.join("tls").join(name)).expect("replaced");
    }
    testbed::wait("the new certificate", Duration::from_secs(60), || trusts(&new).then_some(()));
    let mut log = String::new();
    fs::File::open(one.with_extension("log")).expect("a log").read_to_string(&mut log).expect("text");
    assert!(log.contains("new certificate"), "{log}");
}
