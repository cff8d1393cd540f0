//! The store over the API: what is in it, previews, sweeps.

use crate::scene::{OWN, Scene};
use serde_json::json;

#[tokio::test]
async fn the_store_is_described_previewed_and_swept() {
    let scene = Scene::new().await;
    let plan = scene.own("PreviewSweep", json!({})).await;
    assert_eq!((&plan["all"]["packs"], &plan["all"]["bytes"]), (&json!(3), &json!(7_000)), "{plan}");
    assert_eq!((&plan["bytesToFree"], &plan["stagingHours"]), (&json!(2_000), &json!(168)));
    assert!(plan["released"]["oldest"].is_number() && plan["unreadable"] == json!([]), "{plan}");
    assert_eq!(scene.own("DescribeSweeps", json!({})).await, json!({"sweeps": []}));

    let id = scene.own("StartSweep", json!({})).await["sweepId"].clone();
    assert!(id.as_str().is_some_and(|id| id.starts_with("sweep-")), "{id}");
    let ended = scene
        .until("the sweep ends", || async {
            let sweeps = scene.own("DescribeSweeps", json!({"sweepIds": [id]})).await;
            let sweep = sweeps["sweeps"][0].clone();
            (sweep["state"] != "RUNNING").then_some(sweep)
        })
        .await;
    assert_eq!((&ended["state"], &ended["onDemand"]), (&json!("COMPLETED"), &json!(true)), "{ended}");
    assert_eq!((&ended["packsFreed"], &ended["bytesFreed"]), (&json!(1), &json!(2_000)));
    assert!(ended["endedOn"].is_number() && ended.get("message").is_none() && ended.get("progress").is_none());

    let store = scene.own("DescribeStore", json!({})).await;
    assert_eq!(store["content"], plan);
    assert_eq!(store["lastSweep"]["sweepId"], id);
    assert!(store["nextSweepOn"].is_number(), "{store}");
    let page = scene.own("DescribeSweeps", json!({"maxResults": 1})).await;
    assert_eq!(page["sweeps"].as_array().map(Vec::len), Some(1));
    scene.end().await;
}

#[tokio::test]
async fn a_sweep_that_there_is_not_is_refused_by_its_name() {
    let scene = Scene::new().await;
    let invalid = "InvalidParameterException";
    let target = format!("{OWN}DescribeSweeps");
    scene.refused(&target, json!({"sweepIds": ["sweep-00000000"]}), invalid, "sweep-00000000").await;
    scene.refused(&target, json!({"sweepIds": ["ami-0"]}), invalid, "sweep").await;
    scene.refused(&target, json!({"nextToken": "x"}), invalid, "nextToken").await;
    scene.end().await;
}

#[tokio::test]
async fn a_scrub_is_asked_for_and_described() {
    let scene = Scene::new().await;
    let asked = scene.own("StartScrub", json!({})).await;
    let round = asked["round"].as_u64().unwrap();
    let done = scene
        .until("the scrub ends", || async {
            let scrub = scene.own("DescribeScrub", json!({})).await;
            (scrub["round"] == round && scrub["open"] == false).then_some(scrub)
        })
        .await;
    assert_eq!((&done["packsChecked"], &done["bytesChecked"]), (&json!(1), &json!(4_096)), "{done}");
    assert_eq!((&done["damagedPacks"], &done["onDemand"]), (&json!(0), &json!(false)), "{done}");
    assert!(done["endedOn"].is_number() && done["nextOn"].is_number() && done.get("message").is_none(), "{done}");
    scene.end().await;
}
