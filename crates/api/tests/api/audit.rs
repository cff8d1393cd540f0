//! Every call leaves one record, with the id of its reply and without a secret.

use crate::oracle::{ACCESS_KEY, Draft};
use crate::scene::{NOW, OWN, PANIC_SOCKET, SMS, SOCKET, Scene, TIME};
use godwit_api::operations::TABLE;
use serde_json::{Value, json};

/// Everything on record that somebody did, oldest first; what has only just been asked is awaited.
async fn records(scene: &Scene, at_least: usize) -> Vec<Value> {
    scene
        .until("the calls are on record", || async {
            let answer = scene.own("DescribeAuditRecords", json!({"maxResults": 1000})).await;
            let mut records = answer["records"].as_array().unwrap().clone();
            records.retain(|r| r["action"] != "godwit:DescribeAuditRecords");
            records.reverse();
            (records.len() >= at_least).then_some(records)
        })
        .await
}

async fn request_id(scene: &Scene, target: &str, request: Value) -> String {
    let (_, headers, _) = scene.send_draft(&Draft::new(target, TIME, request.to_string().as_bytes())).await;
    headers["x-amzn-requestid"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_call_is_on_record_with_who_what_outcome_and_the_id_of_its_reply() {
    let scene = Scene::new().await;
    let associate = json!({"name": "guests", "type": "QMP", "socket": SOCKET});
    let calls = [
        (format!("{OWN}AssociateConnector"), associate, "godwit:AssociateConnector", "OK"),
        (format!("{SMS}GetServers"), json!({"maxResults": 7}), "sms:GetServers", "OK"),
        (
            format!("{SMS}CreateReplicationJob"),
            json!({"serverId": "s-1"}),
            "sms:CreateReplicationJob",
            "MissingRequiredParameterException",
        ),
        (format!("{SMS}CreateApp"), json!({}), "sms:CreateApp", "UnknownOperationException"),
        ("Nothing.Such".to_owned(), json!({"x": 1}), "unknown", "UnknownOperationException"),
        (
            format!("{OWN}AssociateConnector"),
            json!({"name": "p", "type": "QMP", "socket": PANIC_SOCKET}),
            "godwit:AssociateConnector",
            "InternalError",
        ),
    ];
    let mut ids = vec![];
    for (target, request, ..) in &calls {
        ids.push(request_id(&scene, target, request.clone()).await);
    }
    let records = records(&scene, calls.len()).await;
    assert_eq!(records.len(), calls.len(), "one for each: {records:?}");
    for (record, ((_, _, action, outcome), id)) in records.iter().zip(calls.iter().zip(&ids)) {
        assert_eq!((&record["action"], &record["outcome"]), (&json!(action), &json!(outcome)));
        assert_eq!(record["requestId"], json!(id));
        assert_eq!(record["accessKeyId"], ACCESS_KEY);
        assert!((record["at"].as_f64().unwrap() - NOW as f64 / 1000.0).abs() < 60.0, "{record}");
    }
    assert_eq!(records[1]["parameters"], r#"{"maxResults":7}"#);
    assert!(records[2]["message"].as_str().unwrap().contains("seedReplicationTime"), "{}", records[2]);
    assert_eq!(records[4]["parameters"], r#"{"target":"Nothing.Such"}"#);
    let report = scene.own("VerifyAuditTrail", json!({})).await;
    assert_eq!(report["intact"], true, "{report}");
    scene.end().await;
}

#[tokio::test]
async fn every_operation_of_the_table_leaves_one_record() {
    let scene = Scene::new().await;
    for entry in TABLE {
        let _ = scene.send_draft(&Draft::new(&format!("{}.{}", entry.prefix, entry.name), TIME, b"{}")).await;
    }
    let others = TABLE.len() - 1;
    let records = records(&scene, others).await;
    let mut actions: Vec<_> = records.iter().map(|r| r["action"].as_str().unwrap()).collect();
    actions.sort_unstable();
    let mut wanted: Vec<_> =
        TABLE.iter().map(|e| e.permission).filter(|p| *p != "godwit:DescribeAuditRecords").collect();
    wanted.sort_unstable();
    assert_eq!(actions, wanted);
    scene.end().await;
}

#[tokio::test]
async fn a_change_is_on_record_before_its_reply() {
    let scene = Scene::new().await;
    for n in 0..20 {
        let id = request_id(&scene, &format!("{SMS}DeleteServerCatalog"), json!({})).await;
        let answer = scene.own("DescribeAuditRecords", json!({"maxResults": 1, "what": "DeleteServerCatalog"})).await;
        assert_eq!(answer["records"][0]["requestId"], json!(id), "call {n}");
    }
    scene.end().await;
}

#[tokio::test]
async fn who_reads_an_image_is_on_record_before_the_reply() {
    let scene = Scene::new().await;
    let image = scene.with_image().await;
    let read = json!({"imageId": image, "volume": 0, "offset": 0, "length": 1});
    let beyond = json!({"imageId": image, "volume": 1, "offset": 0, "length": 1});
    scene.refused(&format!("{OWN}ReadImage"), beyond, "InvalidParameterException", "volume").await;
    let id = request_id(&scene, &format!("{OWN}ReadImage"), read.clone()).await;
    let answer = scene.own("DescribeAuditRecords", json!({"maxResults": 1, "what": "ReadImage"})).await;
    let record = &answer["records"][0];
    assert_eq!((&record["requestId"], &record["outcome"]), (&json!(id), &json!("OK")));
    assert_eq!(record["parameters"], read.to_string());
    scene.end().await;
}

#[tokio::test]
async fn parameters_hold_no_secret() {
    let scene = Scene::new().await;
    let request = json!({
        "serverId": "s-00000000", "runOnce": true, "licenseType": "BYOL", "secretKey": "hunter2",
        "recipients": ["https://hooks.example.org/hunter2"], "description": "kept",
    });
    scene.call(&format!("{OWN}CreateReplicationJob"), request).await.unwrap_err();
    let all = records(&scene, 1).await;
    let text = json!(all).to_string();
    assert!(!text.contains("hunter2") && text.contains("kept") && text.contains("hooks.example.org"), "{text}");
    scene.end().await;
}

#[tokio::test]
async fn requests_that_nobody_has_proven_are_counted_in_one_record() {
    let scene = Scene::new().await;
    let mut draft = Draft::new(&format!("{SMS}GetServers"), TIME, b"{}");
    draft.body = b"{ }".to_vec();
    for _ in 0..50 {
        let mut forged = axum::http::Request::builder().method("POST").uri("/").body("{ }".into()).unwrap();
        *forged.headers_mut() = draft.headers_with(&"0".repeat(64));
        assert_eq!(scene.send(forged).await.status().as_u16(), 400);
    }
    let records = records(&scene, 1).await;
    assert!(records.len() <= 2, "{records:?}");
    assert_eq!((&records[0]["action"], &records[0]["user"]), (&json!("godwit:RefuseRequests"), &json!("godwit")));
    let parameters: Value = serde_json::from_str(records[0]["parameters"].as_str().unwrap()).unwrap();
    assert!(parameters["requests"]["InvalidSignatureException"].as_u64().unwrap() >= 1, "{parameters}");
    assert_eq!(parameters["accessKeysNamed"], json!([ACCESS_KEY]));
    scene.end().await;
}

#[tokio::test]
async fn records_are_found_by_who_what_outcome_and_time_and_come_in_pages() {
    let scene = Scene::new().await;
    for _ in 0..5 {
        scene.sms("GetServers", json!({})).await;
    }
    scene.call(&format!("{SMS}GetServers"), json!({"maxResults": "x"})).await.unwrap_err();
    scene.sms("GetConnectors", json!({})).await;
    records(&scene, 7).await;
    let count = |filter: Value| {
        let scene = &scene;
        async move {
            let answer = scene.own("DescribeAuditRecords", filter).await;
            answer["records"].as_array().unwrap().len()
        }
    };
    assert_eq!(count(json!({"what": "GetServers"})).await, 6);
    assert_eq!(count(json!({"what": "sms:GetServers", "outcome": "OK"})).await, 5);
    assert_eq!(count(json!({"what": "GetServers", "outcome": "FAILED"})).await, 1);
    assert_eq!(count(json!({"what": "GetServers", "outcome": "SerializationException", "who": ACCESS_KEY})).await, 1);
    assert_eq!(count(json!({"what": "GetServers", "who": "nobody"})).await, 0);
    assert_eq!(count(json!({"what": "GetServers", "until": NOW / 1000 - 1})).await, 0);
    assert_eq!(count(json!({"what": "GetServers", "since": NOW / 1000 + 3600})).await, 0);
    assert_eq!(count(json!({"what": "GetServers", "since": NOW / 1000 - 1, "until": NOW / 1000 + 3600})).await, 6);

    let mut numbers = vec![];
    let mut token = Value::Null;
    loop {
        let request = json!({"what": "GetServers", "maxResults": 4, "nextToken": token});
        let answer = scene.own("DescribeAuditRecords", request).await;
        numbers.extend(answer["records"].as_array().unwrap().iter().map(|r| r["number"].as_u64().unwrap()));
        match answer.get("nextToken") {
            Some(next) => token = next.clone(),
            None => break,
        }
    }
    assert_eq!(numbers.len(), 6);
    assert!(numbers.windows(2).all(|pair| pair[0] > pair[1]), "newest first: {numbers:?}");
    scene.end().await;
}

#[tokio::test]
async fn a_head_that_was_noted_is_compared() {
    let scene = Scene::new().await;
    scene.sms("DeleteServerCatalog", json!({})).await;
    let noted = scene.own("VerifyAuditTrail", json!({})).await;
    let (number, hash) = (&noted["lastNumber"], &noted["lastHash"]);
    scene.sms("DeleteServerCatalog", json!({})).await;
    let report = scene.own("VerifyAuditTrail", json!({"number": number, "hash": hash})).await;
    assert_eq!(report["intact"], true, "{report}");
    let report = scene.own("VerifyAuditTrail", json!({"number": number, "hash": "0".repeat(64)})).await;
    assert_eq!((&report["intact"], &report["brokenNumber"]), (&json!(false), number), "{report}");
    let report = scene.own("VerifyAuditTrail", json!({"number": 1_000, "hash": hash})).await;
    assert!(report["reason"].as_str().unwrap().contains("it was cut"), "{report}");
    let target = format!("{OWN}VerifyAuditTrail");
    scene.refused(&target, json!({"number": 1}), "MissingRequiredParameterException", "both").await;
    scene.refused(&target, json!({"number": 1, "hash": "x"}), "InvalidParameterException", "64").await;
    scene.end().await;
}
