//! Who may call what: every operation, by users with and without policies, keys that come and go.

use crate::oracle::{ACCESS_KEY, Draft};
use crate::scene::{OWN, SMS, SOCKET, Scene, TIME};
use axum::body::Body;
use axum::http::Request;
use godwit_api::operations::TABLE;
use godwit_model::policy::is_reading;
use http::HeaderValue;
use serde_json::{Value, json};

/// An access key of somebody.
struct Key {
    id: String,
    secret: String,
}

impl Key {
    fn of(answer: &Value) -> Key {
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Key { id: text("accessKeyId"), secret: text("secretAccessKey") }
    }

    /// A new user with these policies.
    async fn of_new_user(scene: &Scene, name: &str, policies: &[&str]) -> Key {
        scene.own("CreateUser", json!({"userName": name, "policyNames": policies})).await;
        Key::of(&scene.own("CreateAccessKey", json!({"userName": name})).await)
    }

    /// Status and code of an answer, `OK` if it is one; and its message.
    async fn call(&self, scene: &Scene, target: &str, request: Value) -> (u16, String, String) {
        let draft = Draft::new(target, TIME, request.to_string().as_bytes());
        let mut headers = draft.headers_with(&draft.signature(&self.secret));
        let signed = headers["authorization"].to_str().unwrap().replace(ACCESS_KEY, &self.id);
        headers.insert("authorization", HeaderValue::from_str(&signed).unwrap());
        let mut request = Request::builder().method("POST").uri("/").body(Body::from(draft.body)).unwrap();
        *request.headers_mut() = headers;
        let (head, body) = scene.send(request).await.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        let text = |name: &str| answer[name].as_str().unwrap_or("OK").to_owned();
        (head.status.as_u16(), text("__type"), text("message"))
    }

    async fn code(&self, scene: &Scene, target: &str, request: Value) -> String {
        self.call(scene, target, request).await.1
    }
}

const NOT_ALLOWED: &str = "UnauthorizedOperationException";
const UNKNOWN_KEY: &str = "UnrecognizedClientException";

#[tokio::test]
async fn without_a_policy_every_operation_is_refused_and_the_missing_action_is_named() {
    let scene = Scene::new().await;
    let key = Key::of_new_user(&scene, "nobody", &[]).await;
    for entry in TABLE {
        let target = format!("{}.{}", entry.prefix, entry.name);
        let (status, code, message) = key.call(&scene, &target, json!({})).await;
        assert_eq!((status, code.as_str()), (400, NOT_ALLOWED), "{target}: {message}");
        assert!(message.contains(entry.permission) && message.contains("'nobody'"), "{message}");
    }
    assert_eq!(key.code(&scene, "Godwit_V1.Nonsense", json!({})).await, "UnknownOperationException");
    scene.end().await;
}

#[tokio::test]
async fn read_only_may_call_exactly_what_reads() {
    let scene = Scene::new().await;
    let key = Key::of_new_user(&scene, "viewer", &["read-only"]).await;
    let mut reading = 0;
    for entry in TABLE {
        let code = key.code(&scene, &format!("{}.{}", entry.prefix, entry.name), json!({})).await;
        assert_eq!(code != NOT_ALLOWED, is_reading(entry.permission), "{}: {code}", entry.permission);
        reading += usize::from(code == "OK");
    }
    assert!(reading >= 8, "lists are answered: {reading}");
    assert!(!is_reading("godwit:ReadImage"));
    scene.end().await;
}

#[tokio::test]
async fn who_may_only_read_cannot_make_the_service_open_a_socket() {
    let scene = Scene::new().await;
    let test = json!({"type": "QMP", "socket": SOCKET});
    for (policy, code) in [("read-only", NOT_ALLOWED), ("operator", "OK"), ("administrator", "OK")] {
        let key = Key::of_new_user(&scene, &format!("a-{policy}"), &[policy]).await;
        assert_eq!(key.code(&scene, &format!("{OWN}TestConnector"), test.clone()).await, code, "{policy}");
    }
    scene.end().await;
}

#[tokio::test]
async fn an_operator_works_and_decides_about_nobody() {
    let scene = Scene::new().await;
    let key = Key::of_new_user(&scene, "op", &["operator"]).await;
    assert_eq!(key.code(&scene, &format!("{SMS}DeleteServerCatalog"), json!({})).await, "OK");
    let attach = json!({"userName": "op", "policyName": "administrator"});
    assert_eq!(key.code(&scene, &format!("{OWN}AttachPolicy"), attach).await, NOT_ALLOWED);
    assert_eq!(key.code(&scene, &format!("{OWN}CreateAccessKey"), json!({"userName": "op"})).await, NOT_ALLOWED);
    scene.end().await;
}

#[tokio::test]
async fn a_denial_wins_and_changes_of_a_policy_hold_from_the_next_call_on() {
    let scene = Scene::new().await;
    let deny = r#"{"Statement": {"Effect": "Deny", "Action": "sms:Get*"}}"#;
    scene.own("CreatePolicy", json!({"policyName": "blind", "policyDocument": deny})).await;
    let key = Key::of_new_user(&scene, "u", &["read-only", "blind"]).await;
    let (_, code, message) = key.call(&scene, &format!("{SMS}GetServers"), json!({})).await;
    assert!(code == NOT_ALLOWED && message.contains("the policy 'blind' denies it"), "{message}");
    assert_eq!(key.code(&scene, &format!("{OWN}DescribeServers"), json!({})).await, "OK");
    let other = r#"{"Statement": {"Effect": "Deny", "Action": "*:Describe*"}}"#;
    scene.own("UpdatePolicy", json!({"policyName": "blind", "policyDocument": other})).await;
    assert_eq!(key.code(&scene, &format!("{SMS}GetServers"), json!({})).await, "OK");
    assert_eq!(key.code(&scene, &format!("{OWN}DescribeServers"), json!({})).await, NOT_ALLOWED);
    scene.own("DetachPolicy", json!({"userName": "u", "policyName": "blind"})).await;
    assert_eq!(key.code(&scene, &format!("{OWN}DescribeServers"), json!({})).await, "OK");
    scene.own("DeletePolicy", json!({"policyName": "blind"})).await;
    scene.end().await;
}

#[tokio::test]
async fn bad_policies_are_refused_with_what_is_wrong() {
    let scene = Scene::new().await;
    let (create, invalid) = (format!("{OWN}CreatePolicy"), "InvalidParameterException");
    let policy = |name: &str, document: &str| json!({"policyName": name, "policyDocument": document});
    let allow = |action: &str| format!(r#"{{"Statement": {{"Effect": "Allow", "Action": "{action}"}}}}"#);
    scene.refused(&create, policy("p", &allow("sms:GetServer")), invalid, "is 'sms:GetServers' meant?").await;
    scene.refused(&create, policy("p", "{"), invalid, "policyDocument: it is not understood").await;
    scene.refused(&create, policy("two words", &allow("*")), invalid, "cannot be a name").await;
    scene.refused(&create, policy("operator", &allow("*")), "OperationNotPermittedException", "built in").await;
    let delete = json!({"policyName": "read-only"});
    scene.refused(&format!("{OWN}DeletePolicy"), delete, "OperationNotPermittedException", "built in").await;
    scene.own("CreatePolicy", policy("p", &allow("sms:*"))).await;
    scene.refused(&create, policy("p", &allow("*")), invalid, "there is a policy 'p' already").await;
    scene.own("CreateUser", json!({"userName": "u", "policyNames": ["p"]})).await;
    scene.refused(&create, json!({"policyName": "x"}), "MissingRequiredParameterException", "policyDocument").await;
    let delete = json!({"policyName": "p"});
    scene.refused(&format!("{OWN}DeletePolicy"), delete, "OperationNotPermittedException", "attached to u").await;
    let attach = json!({"userName": "u", "policyName": "nosuch"});
    scene.refused(&format!("{OWN}AttachPolicy"), attach, invalid, "there is no policy 'nosuch'").await;
    let all = scene.own("DescribePolicies", json!({"maxResults": 2})).await;
    let rest = scene.own("DescribePolicies", json!({"nextToken": all["nextToken"]})).await;
    let names: Vec<_> = [&all, &rest].iter().flat_map(|page| page["policies"].as_array().unwrap()).collect();
    let names: Vec<_> = names.iter().map(|policy| policy["policyName"].as_str().unwrap()).collect();
    assert_eq!(names, ["administrator", "operator", "read-only", "p"]);
    scene.end().await;
}

#[tokio::test]
async fn disabled_keys_and_users_are_as_unknown_ones_and_come_back() {
    let scene = Scene::new().await;
    let key = Key::of_new_user(&scene, "u", &["read-only"]).await;
    let code = async || key.code(&scene, &format!("{SMS}GetServers"), json!({})).await;
    assert_eq!(code().await, "OK");
    for (off, on, which) in [
        ("DisableAccessKey", "EnableAccessKey", json!({"accessKeyId": key.id})),
        ("DisableUser", "EnableUser", json!({"userName": "u"})),
    ] {
        scene.own(off, which.clone()).await;
        scene.own(off, which.clone()).await;
        assert_eq!(code().await, UNKNOWN_KEY, "{off}");
        scene.own(on, which).await;
        assert_eq!(code().await, "OK", "{on}");
    }
    let keys = scene.own("DescribeAccessKeys", json!({"userName": "u"})).await;
    assert!(keys["accessKeys"][0]["lastUsedOn"].is_number(), "{keys}");
    assert!(!keys.to_string().contains(&key.secret), "the secret is told once");
    scene.own("DeleteAccessKey", json!({"accessKeyId": key.id})).await;
    assert_eq!(code().await, UNKNOWN_KEY);
    scene.own("DeleteUser", json!({"userName": "u"})).await;
    scene
        .refused(&format!("{OWN}DeleteUser"), json!({"userName": "u"}), "InvalidParameterException", "no user 'u'")
        .await;
    scene.end().await;
}

#[tokio::test]
async fn a_rotated_key_makes_room_when_it_has_ended() {
    let scene = Scene::new().await;
    let first = Key::of_new_user(&scene, "u", &["read-only"]).await;
    let answer = scene.own("RotateAccessKey", json!({"accessKeyId": first.id})).await;
    let second = Key::of(&answer);
    assert!(answer["oldKeyEndsOn"].is_number() && answer["userName"] == "u", "{answer}");
    let target = format!("{SMS}GetServers");
    assert_eq!(first.code(&scene, &target, json!({})).await, "OK", "it goes on for a while");
    assert_eq!(second.code(&scene, &target, json!({})).await, "OK");
    let third = json!({"userName": "u"});
    scene
        .refused(&format!("{OWN}CreateAccessKey"), third, "OperationNotPermittedException", "2 access keys already")
        .await;
    scene.own("DeleteAccessKey", json!({"accessKeyId": first.id})).await;
    let third = Key::of(&scene.own("RotateAccessKey", json!({"accessKeyId": second.id, "graceMinutes": 0})).await);
    assert_eq!(second.code(&scene, &target, json!({})).await, UNKNOWN_KEY, "ended at once");
    assert_eq!(third.code(&scene, &target, json!({})).await, "OK");
    Key::of(&scene.own("CreateAccessKey", json!({"userName": "u"})).await);
    let too_long = json!({"accessKeyId": third.id, "graceMinutes": 43_201});
    scene.refused(&format!("{OWN}RotateAccessKey"), too_long, "InvalidParameterException", "graceMinutes").await;
    scene.end().await;
}

#[tokio::test]
async fn the_last_administrator_cannot_be_lost_in_any_way() {
    let scene = Scene::new().await;
    let deny = r#"{"Statement": {"Effect": "Deny", "Action": "godwit:CreateUser"}}"#;
    scene.own("CreatePolicy", json!({"policyName": "deny", "policyDocument": deny})).await;
    let me = "administrator";
    let ways = [
        ("DeleteUser", json!({"userName": me})),
        ("DisableUser", json!({"userName": me})),
        ("DetachPolicy", json!({"userName": me, "policyName": "administrator"})),
        ("AttachPolicy", json!({"userName": me, "policyName": "deny"})),
        ("DisableAccessKey", json!({"accessKeyId": ACCESS_KEY})),
        ("DeleteAccessKey", json!({"accessKeyId": ACCESS_KEY})),
    ];
    scene.own("CreateUser", json!({"userName": "keyless", "policyNames": ["administrator"]})).await;
    for (way, request) in ways {
        scene
            .refused(&format!("{OWN}{way}"), request, "OperationNotPermittedException", "last enabled administrator")
            .await;
    }
    let other = Key::of(&scene.own("CreateAccessKey", json!({"userName": "keyless"})).await);
    scene.own("DeleteUser", json!({"userName": me})).await;
    let users = other.call(&scene, &format!("{OWN}DescribeUsers"), json!({})).await;
    assert_eq!(users.1, "OK");
    let (_, code, message) = other.call(&scene, &format!("{OWN}DisableUser"), json!({"userName": "keyless"})).await;
    assert!(code == "OperationNotPermittedException", "{message}");
    scene.end().await;
}

#[tokio::test]
async fn a_job_runs_under_a_role_that_exists_and_allows_it() {
    let scene = Scene::new().await;
    let servers = scene.with_servers().await;
    let create = format!("{OWN}CreateReplicationJob");
    let job = |role: &str| json!({"serverId": servers[0], "runOnce": true, "roleName": role});
    scene.refused(&create, job("mover"), "InvalidParameterException", "there is no role 'mover'").await;
    let little = r#"{"Statement": {"Effect": "Allow", "Action": ["godwit:ReadSource", "sms:*"]}}"#;
    scene.own("CreateRole", json!({"roleName": "mover", "policyDocument": little})).await;
    scene
        .refused(&create, job("mover"), "OperationNotPermittedException", "godwit:WriteStore, godwit:RegisterImage")
        .await;
    let enough = r#"{"Statement": {"Effect": "Allow", "Action": "godwit:*"}}"#;
    scene.own("UpdateRole", json!({"roleName": "mover", "policyDocument": enough, "description": "moves"})).await;
    let mut paused = job("mover");
    paused["runOnce"] = Value::Null;
    paused["frequency"] = json!(12);
    scene.own("CreateReplicationJob", paused).await;
    let delete = json!({"roleName": "mover"});
    scene.refused(&format!("{OWN}DeleteRole"), delete, "OperationNotPermittedException", "is used by sms-job-").await;
    scene.own("CreateReplicationJob", json!({"serverId": servers[1], "runOnce": true})).await;
    scene
        .own(
            "CreateReplicationJob",
            json!({"serverId": servers[2], "runOnce": true, "roleName": "AWSServiceRoleForSMS"}),
        )
        .await;
    let roles = scene.own("DescribeRoles", json!({})).await;
    let names: Vec<_> = roles["roles"].as_array().unwrap().iter().map(|r| r["roleName"].as_str().unwrap()).collect();
    assert_eq!(names, ["mover", "sms", "AWSServiceRoleForSMS"]);
    scene.end().await;
}
