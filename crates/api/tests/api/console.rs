//! Sessions in place of signatures, and the stream of changes: through the router, as a browser asks.

use crate::oracle::{ACCESS_KEY, Draft, SECRET};
use crate::scene::{OWN, SMS, Scene, TIME};
use axum::body::{Body, BodyDataStream};
use axum::http::Request;
use futures::StreamExt;
use godwit_api::{Encrypted, operations};
use http::{HeaderMap, header};
use serde_json::{Value, json};
use std::time::Duration;

const PASSWORD: &str = "correct horse battery";

struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Reply {
    /// The cookie that it sets, as a browser sends it back.
    fn cookie(&self) -> String {
        let text = self.headers[header::SET_COOKIE].to_str().unwrap();
        text.split(';').next().unwrap().to_owned()
    }

    fn code(&self) -> &str {
        self.body["__type"].as_str().unwrap_or("OK")
    }
}

async fn ask(scene: &Scene, method: &str, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let text = if body.is_null() { String::new() } else { body.to_string() };
    let (head, body) = scene.send(request.body(Body::from(text)).unwrap()).await.into_parts();
    let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Reply { status: head.status.as_u16(), headers: head.headers, body }
}

const JSON: (&str, &str) = ("content-type", "application/json");
const AMZ: (&str, &str) = ("content-type", "application/x-amz-json-1.1");
const OURS: (&str, &str) = ("x-godwit-console", "1");

async fn sign_in(scene: &Scene, with: Value) -> Reply {
    ask(scene, "POST", "/session", &[JSON], with).await
}

/// A user with a password, and the cookie of its session.
async fn user(scene: &Scene, name: &str, policy: &str) -> String {
    scene.own("CreateUser", json!({"userName": name, "policyNames": [policy]})).await;
    scene.own("SetPassword", json!({"userName": name, "password": PASSWORD})).await;
    let reply = sign_in(scene, json!({"userName": name, "password": PASSWORD})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.cookie()
}

async fn call(scene: &Scene, cookie: &str, target: &str, request: Value) -> Reply {
    ask(scene, "POST", "/", &[("cookie", cookie), OURS, AMZ, ("x-amz-target", target)], request).await
}

#[tokio::test]
async fn whoever_shows_a_password_a_key_or_a_link_gets_a_session() {
    let scene = Scene::new().await;
    scene.own("CreateUser", json!({"userName": "ann", "policyNames": ["read-only"]})).await;
    scene.own("SetPassword", json!({"userName": "ann", "password": PASSWORD})).await;
    let link = scene.own("CreateSignInLink", json!({"userName": "ann"})).await;
    for (with, user, how) in [
        (json!({"userName": "ann", "password": PASSWORD}), "ann", "password"),
        (json!({"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET}), "administrator", "accessKey"),
        (json!({"link": link["token"]}), "ann", "link"),
    ] {
        let reply = sign_in(&scene, with).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!((&reply.body["userName"], &reply.body["signedInWith"]), (&json!(user), &json!(how)));
        let set = reply.headers[header::SET_COOKIE].to_str().unwrap().to_owned();
        assert!(set.contains("; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200") && !set.contains("Secure"), "{set}");
        assert_eq!(reply.headers[header::CACHE_CONTROL], "no-store");
        let described = ask(&scene, "GET", "/session", &[("cookie", &reply.cookie())], Value::Null).await;
        assert_eq!((described.status, &described.body["userName"]), (200, &json!(user)));
        let span = |from: &str, to: &str| reply.body[to].as_f64().unwrap() - reply.body[from].as_f64().unwrap();
        assert_eq!((span("createdAt", "expiresAt"), span("createdAt", "endsAt")), (3_600.0, 43_200.0));
    }
    let again = sign_in(&scene, json!({"link": link["token"]})).await;
    assert_eq!((again.status, again.code()), (403, "AccessDeniedException"), "a link is good once");
    scene.end().await;
}

#[tokio::test]
async fn whatever_is_wrong_is_answered_with_the_same_words() {
    let scene = Scene::new().await;
    user(&scene, "ann", "read-only").await;
    user(&scene, "off", "read-only").await;
    scene.own("DisableUser", json!({"userName": "off"})).await;
    let mut told = std::collections::BTreeSet::new();
    for with in [
        json!({"userName": "ann", "password": "wrong"}),
        json!({"userName": "ann", "password": ""}),
        json!({"userName": "nobody", "password": PASSWORD}),
        json!({"userName": "off", "password": PASSWORD}),
        json!({"userName": "administrator", "password": ""}),
        json!({"userName": "x".repeat(2_000), "password": PASSWORD}),
        json!({"accessKeyId": ACCESS_KEY, "secretAccessKey": "wrong"}),
        json!({"accessKeyId": "GWNOSUCHKEY", "secretAccessKey": ""}),
        json!({"link": "0".repeat(64)}),
    ] {
        let reply = sign_in(&scene, with.clone()).await;
        assert_eq!((reply.status, reply.code()), (403, "AccessDeniedException"), "{with}");
        assert!(!reply.headers.contains_key(header::SET_COOKIE));
        told.insert(reply.body["message"].to_string());
    }
    assert_eq!(told.len(), 1, "{told:?}");
    for with in [json!({}), json!({"userName": "ann"}), json!({"password": PASSWORD}), json!([]), json!({"link": 7})] {
        let reply = sign_in(&scene, with.clone()).await;
        assert_eq!((reply.status, reply.code()), (400, "SerializationException"), "{with}");
        assert!(!reply.body.to_string().contains(PASSWORD), "{}", reply.body);
    }
    scene.end().await;
}

#[tokio::test]
async fn who_fails_too_often_has_to_wait() {
    let scene = Scene::new().await;
    user(&scene, "ann", "read-only").await;
    for _ in 0..5 {
        assert_eq!(sign_in(&scene, json!({"userName": "ann", "password": "wrong"})).await.status, 403);
    }
    let reply = sign_in(&scene, json!({"userName": "ANN", "password": PASSWORD})).await;
    assert_eq!((reply.status, reply.code()), (429, "TooManyRequestsException"), "right or wrong");
    assert_eq!(reply.headers[header::RETRY_AFTER], "1");
    let other = sign_in(&scene, json!({"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET})).await;
    assert_eq!(other.status, 200, "others do not wait");
    scene.end().await;
}

#[tokio::test]
async fn a_session_counts_only_in_requests_of_our_own_pages() {
    let scene = Scene::new().await;
    let cookie = user(&scene, "ann", "read-only").await;
    let target = format!("{SMS}GetServers");
    let cookie: (&str, &str) = ("cookie", &cookie);
    let to: (&str, &str) = ("x-amz-target", &target);
    let host = ("host", "godwit.example");
    for ours in [
        &[cookie, to, OURS, AMZ][..],
        &[cookie, to, OURS, AMZ, host, ("origin", "https://godwit.example")],
        &[cookie, to, OURS, AMZ, host, ("origin", "http://godwit.example"), ("sec-fetch-site", "same-origin")],
    ] {
        let reply = ask(&scene, "POST", "/", ours, json!({})).await;
        assert_eq!(reply.status, 200, "{ours:?}: {}", reply.body);
    }
    for foreign in [
        &[cookie, to, AMZ][..],
        &[cookie, to, AMZ, ("x-godwit-console", "0")],
        &[cookie, to, OURS, JSON],
        &[cookie, to, OURS, ("content-type", "text/plain")],
        &[cookie, to, OURS, AMZ, host, ("origin", "https://evil.example")],
        &[cookie, to, OURS, AMZ, host, ("origin", "null")],
        &[cookie, to, OURS, AMZ, host, ("sec-fetch-site", "cross-site")],
    ] {
        let reply = ask(&scene, "POST", "/", foreign, json!({})).await;
        assert_eq!((reply.status, reply.code()), (403, "CrossOriginException"), "{foreign:?}");
    }
    for (method, path) in [("POST", "/session"), ("GET", "/session"), ("DELETE", "/session"), ("GET", "/events")] {
        let foreign = [cookie, JSON, host, ("origin", "https://evil.example")];
        let reply = ask(&scene, method, path, &foreign, json!({"userName": "ann", "password": PASSWORD})).await;
        assert_eq!((reply.status, reply.code()), (403, "CrossOriginException"), "{method} {path}");
    }
    let plain = ask(&scene, "POST", "/session", &[("content-type", "text/plain")], json!({"link": "x"})).await;
    assert_eq!((plain.status, plain.code()), (415, "UnsupportedMediaTypeException"));
    for stranger in [&[to, OURS, AMZ][..], &[to, OURS, AMZ, ("cookie", "godwit_session=0123")]] {
        let reply = ask(&scene, "POST", "/", stranger, json!({})).await;
        assert_eq!((reply.status, reply.code()), (401, "SessionExpiredException"), "{stranger:?}");
    }
    scene.end().await;
}

#[tokio::test]
async fn a_session_may_do_what_its_user_may_and_says_so() {
    let scene = Scene::new().await;
    let cookie = user(&scene, "ann", "read-only").await;
    let described = ask(&scene, "GET", "/session", &[("cookie", &cookie)], Value::Null).await;
    let actions: Vec<&str> =
        described.body["actions"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
    assert!(actions.is_sorted() && actions.len() > 10, "{actions:?}");
    for entry in operations::TABLE.iter().filter(|entry| entry.works()) {
        let reply = call(&scene, &cookie, &format!("{}.{}", entry.prefix, entry.name), json!({})).await;
        let may = reply.code() != "UnauthorizedOperationException";
        assert_eq!(may, actions.contains(&entry.permission), "{}: {}", entry.permission, reply.body);
    }
    scene.own("DetachPolicy", json!({"userName": "ann", "policyName": "read-only"})).await;
    let reply = call(&scene, &cookie, &format!("{SMS}GetServers"), json!({})).await;
    assert_eq!(reply.code(), "UnauthorizedOperationException", "from the next call on");
    scene.end().await;
}

#[tokio::test]
async fn a_session_ends_with_whatever_it_came_from() {
    let scene = Scene::new().await;
    let is_there =
        async |cookie: &str| ask(&scene, "GET", "/session", &[("cookie", cookie)], Value::Null).await.status == 200;
    let with_password = async || sign_in(&scene, json!({"userName": "ann", "password": PASSWORD})).await.cookie();
    let cookie = user(&scene, "ann", "read-only").await;
    let other = with_password().await;
    let gone = ask(&scene, "DELETE", "/session", &[("cookie", &cookie)], Value::Null).await;
    assert_eq!(gone.status, 204);
    assert!(gone.headers[header::SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    assert!(!is_there(&cookie).await && is_there(&other).await, "only this one");
    let third = with_password().await;
    ask(&scene, "DELETE", "/session?everywhere", &[("cookie", &other)], Value::Null).await;
    assert!(!is_there(&other).await && !is_there(&third).await, "everywhere");
    for (operation, request) in
        [("SetPassword", json!({"userName": "ann", "password": PASSWORD})), ("DisableUser", json!({"userName": "ann"}))]
    {
        let cookie = with_password().await;
        scene.own(operation, request).await;
        assert!(!is_there(&cookie).await, "{operation}");
    }
    scene.own("EnableUser", json!({"userName": "ann"})).await;
    let key = scene.own("CreateAccessKey", json!({"userName": "ann"})).await;
    let with_key = json!({"accessKeyId": key["accessKeyId"], "secretAccessKey": key["secretAccessKey"]});
    for (operation, back) in [("DisableAccessKey", Some("EnableAccessKey")), ("DeleteAccessKey", None)] {
        let (of_key, of_password) = (sign_in(&scene, with_key.clone()).await.cookie(), with_password().await);
        assert!(is_there(&of_key).await);
        scene.own(operation, json!({"accessKeyId": key["accessKeyId"]})).await;
        assert!(!is_there(&of_key).await && is_there(&of_password).await, "{operation}");
        if let Some(back) = back {
            scene.own(back, json!({"accessKeyId": key["accessKeyId"]})).await;
            assert!(!is_there(&of_key).await, "it does not come back");
        }
    }
    let cookie = with_password().await;
    scene.own("DeletePassword", json!({"userName": "ann"})).await;
    assert!(!is_there(&cookie).await);
    assert_eq!(sign_in(&scene, json!({"userName": "ann", "password": PASSWORD})).await.status, 403);
    scene.own("SetPassword", json!({"userName": "ann", "password": PASSWORD})).await;
    let cookie = with_password().await;
    scene.own("DeleteUser", json!({"userName": "ann"})).await;
    assert!(!is_there(&cookie).await);
    scene.end().await;
}

#[tokio::test]
async fn a_user_changes_its_own_password_and_stays_signed_in() {
    let scene = Scene::new().await;
    let cookie = user(&scene, "ann", "read-only").await;
    let other = sign_in(&scene, json!({"userName": "ann", "password": PASSWORD})).await.cookie();
    let change = async |cookie: &str, body: Value| {
        ask(&scene, "PUT", "/session/password", &[("cookie", cookie), JSON], body).await
    };
    let new = "another horse battery";
    let wrong = change(&cookie, json!({"newPassword": new, "currentPassword": "wrong"})).await;
    assert_eq!((wrong.status, wrong.code()), (403, "AccessDeniedException"));
    assert_eq!(change(&cookie, json!({"newPassword": new})).await.status, 403, "the present one is needed");
    let short = change(&cookie, json!({"newPassword": "short", "currentPassword": PASSWORD})).await;
    assert_eq!((short.status, short.code()), (400, "InvalidParameterException"));
    assert!(!short.body.to_string().contains("'short'"));
    assert_eq!(change("", json!({"newPassword": new})).await.status, 401);
    assert_eq!(change(&cookie, json!({"newPassword": new, "currentPassword": PASSWORD})).await.status, 204);
    let is_there = async |cookie: &str| ask(&scene, "GET", "/session", &[("cookie", cookie)], Value::Null).await.status;
    assert_eq!((is_there(&cookie).await, is_there(&other).await), (200, 401));
    let link = scene.own("CreateSignInLink", json!({"userName": "ann"})).await;
    let by_link = sign_in(&scene, json!({"link": link["token"]})).await.cookie();
    assert_eq!(change(&by_link, json!({"newPassword": PASSWORD})).await.status, 204, "whoever lost it has a link");
    assert_eq!(sign_in(&scene, json!({"userName": "ann", "password": PASSWORD})).await.status, 200);
    scene.end().await;
}

#[tokio::test]
async fn the_audit_trail_names_the_user_of_a_session_and_no_secret() {
    let scene = Scene::new().await;
    let cookie = user(&scene, "ann", "operator").await;
    let reply = call(&scene, &cookie, &format!("{SMS}DeleteServerCatalog"), json!({})).await;
    assert_eq!(reply.status, 200, "{}", reply.body);
    ask(&scene, "DELETE", "/session", &[("cookie", &cookie)], Value::Null).await;
    let records = scene
        .until("the records", || async {
            let records = scene.own("DescribeAuditRecords", json!({"who": "ann"})).await;
            (records["records"].as_array().unwrap().len() >= 3).then_some(records)
        })
        .await;
    let of = |n: usize, name: &str| records["records"][n][name].as_str().unwrap().to_owned();
    let actions: Vec<_> = (0..3).map(|n| of(n, "action")).collect();
    assert_eq!(actions, ["godwit:SignOut", "sms:DeleteServerCatalog", "godwit:SignIn"]);
    let session = of(0, "accessKeyId");
    assert!(session.starts_with("session-") && session.len() == 16, "{session}");
    assert!((0..3).all(|n| of(n, "accessKeyId") == session && of(n, "outcome") == "OK"), "{records}");
    let all = scene.own("DescribeAuditRecords", json!({})).await.to_string();
    let secret = cookie.split_once('=').unwrap().1;
    assert!(!all.contains(PASSWORD) && !all.contains(secret), "{all}");
    let users = scene.own("DescribeUsers", json!({"userNames": ["ann"]})).await;
    assert_eq!(users["users"][0]["hasPassword"], true);
    scene.end().await;
}

#[tokio::test]
async fn a_signature_counts_beside_a_cookie_and_encrypted_cookies_stay_encrypted() {
    let scene = Scene::new().await;
    let mut headers = Draft::new(&format!("{SMS}GetServers"), TIME, b"{}").sign();
    headers.insert(header::COOKIE, "godwit_session=0123".parse().unwrap());
    let mut request = Request::builder().method("POST").uri("/").body(Body::from("{}")).unwrap();
    *request.headers_mut() = headers;
    assert_eq!(scene.send(request).await.status(), 200);
    let body = json!({"accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET}).to_string();
    let request = Request::builder().method("POST").uri("/session").header(JSON.0, JSON.1);
    let mut request = request.body(Body::from(body)).unwrap();
    request.extensions_mut().insert(Encrypted);
    let response = scene.send(request).await;
    assert!(response.headers()[header::SET_COOKIE].to_str().unwrap().ends_with("; Secure"));
    scene.end().await;
}

#[tokio::test]
async fn people_are_led_to_the_console_and_programs_are_not() {
    let scene = Scene::new().await;
    let person = ask(&scene, "GET", "/", &[("accept", "text/html,*/*;q=0.8")], Value::Null).await;
    assert_eq!((person.status, person.headers[header::LOCATION].to_str().unwrap()), (303, "/console/"));
    assert_eq!(ask(&scene, "GET", "/", &[("accept", "*/*")], Value::Null).await.status, 200);
    scene.end().await;
}

/// The events of a stream, one by one.
struct Events {
    body: BodyDataStream,
    text: String,
}

impl Events {
    async fn open(scene: &Scene, cookie: &str, last: Option<&str>) -> Events {
        let mut request = Request::builder().uri("/events").header("cookie", cookie);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let response = scene.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        Events { body: response.into_body().into_data_stream(), text: String::new() }
    }

    /// Name, id and data of the next one; `None` at the end.
    async fn next(&mut self) -> Option<(String, Option<String>, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let found = line("event: ")
                    .map(|name| (name, line("id: "), serde_json::from_str(&line("data: ").unwrap()).unwrap()));
                self.text = rest.to_owned();
                if found.is_some() {
                    return found;
                }
                continue;
            }
            let bytes = tokio::time::timeout(Duration::from_secs(60), self.body.next()).await.expect("an event");
            self.text.push_str(std::str::from_utf8(&bytes?.unwrap()).unwrap());
        }
    }

    /// Waits for a change of this kind.
    async fn until(&mut self, kind: &str) -> String {
        loop {
            let (name, id, data) = self.next().await.expect("the stream goes on");
            if name == "change" && data["changed"].as_array().unwrap().contains(&json!(kind)) {
                return id.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_stream_tells_what_was_committed_and_goes_on_where_it_was() {
    let scene = Scene::new().await;
    let cookie = user(&scene, "ann", "administrator").await;
    let mut events = Events::open(&scene, &cookie, None).await;
    let (name, id, data) = events.next().await.unwrap();
    assert_eq!((name.as_str(), &data["changed"]), ("hello", &json!([])), "{data}");
    assert!(data["serverTime"].is_number() && data["version"].is_string() && id.is_some(), "{data}");
    scene.own("CreateRole", json!({"roleName": "r", "policyDocument": r#"{"Statement": {"Effect": "Allow", "Action": "godwit:ReadSource"}}"#})).await;
    let heard = events.until("roles").await;
    scene.with_servers().await;
    events.until("servers").await;

    let mut again = Events::open(&scene, &cookie, Some(&heard)).await;
    let missed = again.next().await.unwrap().2["changed"].clone();
    let missed = missed.as_array().unwrap();
    assert!(missed.contains(&json!("servers")) && missed.contains(&json!("connectors")), "{missed:?}");
    assert!(!missed.contains(&json!("policies")) && !missed.contains(&json!("users")), "{missed:?}");
    let mut strange = Events::open(&scene, &cookie, Some("00000000-7")).await;
    assert_eq!(
        strange.next().await.unwrap().2["changed"].as_array().unwrap().len(),
        godwit_control::changes::Kind::ALL.len(),
        "of another process: everything"
    );
    scene.end().await;
}

#[tokio::test]
async fn a_look_at_the_trail_is_no_change() {
    let scene = Scene::new().await;
    let cookie = user(&scene, "ann", "administrator").await;
    let mut events = Events::open(&scene, &cookie, None).await;
    let before = events.next().await.unwrap().1.unwrap();
    for _ in 0..3 {
        assert_eq!(call(&scene, &cookie, &format!("{OWN}DescribeAuditRecords"), json!({})).await.status, 200);
    }
    scene
        .until("the looks are on record", || async {
            let records =
                scene.own("DescribeAuditRecords", json!({"who": "ann", "what": "DescribeAuditRecords"})).await;
            (records["records"].as_array().unwrap().len() == 3).then_some(())
        })
        .await;
    let mut later = Events::open(&scene, &cookie, Some(&before)).await;
    let missed = later.next().await.unwrap().2["changed"].clone();
    assert!(!missed.as_array().unwrap().contains(&json!("audit")), "{missed}");
    scene.end().await;
}

#[tokio::test]
async fn a_stream_ends_with_its_session_and_they_are_not_without_number() {
    let scene = Scene::new().await;
    assert_eq!(ask(&scene, "GET", "/events", &[], Value::Null).await.status, 401);
    let cookie = user(&scene, "ann", "administrator").await;
    let mut streams = vec![];
    for _ in 0..4 {
        let mut events = Events::open(&scene, &cookie, None).await;
        events.next().await.unwrap();
        streams.push(events);
    }
    let reply = ask(&scene, "GET", "/events", &[("cookie", &cookie)], Value::Null).await;
    assert_eq!((reply.status, reply.code()), (429, "TooManyStreamsException"));
    assert!(reply.headers.contains_key(header::RETRY_AFTER));
    let mut last = streams.pop().unwrap();
    drop(streams);
    let mut other = Events::open(&scene, &cookie, None).await;
    other.next().await.unwrap();
    ask(&scene, "DELETE", "/session", &[("cookie", &cookie)], Value::Null).await;
    loop {
        let (name, _, data) = last.next().await.unwrap();
        if name == "signed-out" {
            assert!(data["serverTime"].is_number());
            break;
        }
    }
    assert!(last.next().await.is_none(), "the last word");
    scene.end().await;
}
