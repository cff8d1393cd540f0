//! What was told to whom, over the wire.

use crate::scene::{NOW, Scene};
use serde_json::{Value, json};

const MAIL: &str = "ops@example.org";
const HOOK: &str = "https://example.org/hook";

/// A one-time job that told both of its recipients, and the notifications.
async fn told(scene: &Scene) -> (String, Vec<Value>) {
    let servers = scene.with_servers().await;
    let request = json!({
        "serverId": servers[0], "seedReplicationTime": NOW / 1000, "runOnce": true, "recipients": [MAIL, HOOK],
    });
    let job = scene.own("CreateReplicationJob", request).await["replicationJobId"].as_str().unwrap().to_owned();
    let told = scene
        .until("everybody is told", || async {
            let answer = scene.own("DescribeNotifications", json!({"replicationJobId": job})).await;
            let all = answer["notifications"].as_array().unwrap().clone();
            (all.len() == 3 && all.iter().all(|n| n["state"] != "PENDING")).then_some(all)
        })
        .await;
    (job, told)
}

#[tokio::test]
async fn the_record_says_what_was_told_to_whom() {
    let scene = Scene::new().await;
    let (job, told) = told(&scene).await;
    let events: Vec<_> = told.iter().map(|n| (&n["event"], &n["recipient"], &n["state"])).collect();
    assert_eq!(
        json!(events),
        json!([
            ["JOB_COMPLETED", HOOK, "DELIVERED"],
            ["JOB_COMPLETED", MAIL, "GIVEN_UP"],
            ["RUN_COMPLETED", HOOK, "DELIVERED"]
        ])
    );
    let mail = &told[1];
    assert_eq!((&mail["replicationJobId"], &mail["attempts"]), (&json!(job), &json!(1)));
    assert_eq!(mail["failure"]["code"], "NoMailServer");
    assert!(mail["failure"]["nextStep"].as_str().unwrap().contains("notifications.smtp"), "{mail}");
    assert!(mail["happenedOn"].is_number() && mail.get("deliveredOn").is_none(), "{mail}");
    assert!(told[0]["deliveredOn"].is_number() && told[0].get("failure").is_none(), "{}", told[0]);
    assert!(mail["subject"].is_string() && mail["text"].as_str().unwrap().contains(&job), "{mail}");

    let given_up = scene.own("DescribeNotifications", json!({"state": "GIVEN_UP"})).await;
    assert_eq!(given_up["notifications"], json!([mail]));
    let only = json!({"notificationIds": [told[2]["notificationId"]]});
    assert_eq!(scene.own("DescribeNotifications", only).await["notifications"], json!([told[2]]));
    let page = scene.own("DescribeNotifications", json!({"maxResults": 2})).await;
    let next = json!({"maxResults": 2, "nextToken": page["nextToken"]});
    assert_eq!(scene.own("DescribeNotifications", next).await["notifications"], json!([told[2]]));
    scene.end().await;
}

#[tokio::test]
async fn a_notification_is_delivered_again_and_a_test_says_how_it_went() {
    let scene = Scene::new().await;
    let (_, told) = told(&scene).await;
    let first = told[0]["deliveredOn"].as_f64().unwrap();
    scene.own("RedeliverNotification", json!({"notificationId": told[0]["notificationId"]})).await;
    let only = json!({"notificationIds": [told[0]["notificationId"]]});
    scene
        .until("it is delivered again", || async {
            let again = scene.own("DescribeNotifications", only.clone()).await;
            let again = &again["notifications"][0];
            (again["state"] == "DELIVERED" && again["deliveredOn"].as_f64().unwrap() > first).then_some(())
        })
        .await;

    assert_eq!(scene.own("SendTestNotification", json!({"recipient": HOOK})).await, json!({"delivered": true}));
    let refused = scene.own("SendTestNotification", json!({"recipient": MAIL})).await;
    assert_eq!((&refused["delivered"], &refused["failure"]["code"]), (&json!(false), &json!("NoMailServer")));
    scene.end().await;
}

#[tokio::test]
async fn wrong_requests_say_what_is_wrong() {
    let scene = Scene::new().await;
    for (operation, request, words) in [
        ("DescribeNotifications", json!({"state": "LOST"}), "state"),
        ("DescribeNotifications", json!({"replicationJobId": "web01"}), "replication job id"),
        ("DescribeNotifications", json!({"notificationIds": ["ntf-1"]}), "notification id"),
        ("RedeliverNotification", json!({}), "notificationId"),
        ("RedeliverNotification", json!({"notificationId": format!("ntf-{:032x}", 1)}), "there is no notification"),
        ("SendTestNotification", json!({"recipient": "web01"}), "is no recipient"),
    ] {
        let (code, message) = scene.call(&format!("Godwit_V1.{operation}"), request.clone()).await.unwrap_err();
        assert!(code.ends_with("ParameterException") && message.contains(words), "{request}: {code}: {message}");
    }
    scene.end().await;
}
