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

#[tokio::test]
async fn the_use_of_the_store_is_recorded_and_given_by_time() {
    let scene = Scene::new().await;
    let recorded = async |n: usize| {
        scene
            .until("samples", || async {
                let answer = scene.own("DescribeStoreUse", json!({})).await;
                (answer["points"].as_array().map(Vec::len) == Some(n)).then_some(answer)
            })
            .await
    };
    let first = recorded(1).await;
    let point = json!({
        "at": first["points"][0]["at"], "packs": 3, "bytes": 7_000, "liveBytes": 4_900, "deadBytes": 100,
        "stagedBytes": 0, "toFreeBytes": 2_000,
    });
    assert_eq!((&first["points"][0], &first["recorded"], &first["everyMinutes"]), (&point, &json!(1), &json!(60)));
    assert!(first["nextOn"].as_f64() > first["points"][0]["at"].as_f64(), "{first}");
    for n in 2..=4 {
        scene.own("StartSweep", json!({})).await;
        recorded(n).await;
    }
    let at: Vec<f64> =
        recorded(4).await["points"].as_array().unwrap().iter().map(|point| point["at"].as_f64().unwrap()).collect();
    assert!(at.windows(2).all(|pair| pair[0] < pair[1]), "{at:?}");
    let ends = scene.own("DescribeStoreUse", json!({"maxPoints": 2})).await;
    let shown = |answer: &serde_json::Value| {
        let points = answer["points"].as_array().unwrap();
        points.iter().map(|point| point["at"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((shown(&ends), &ends["recorded"]), (vec![at[0], at[3]], &json!(4)));
    let between = scene.own("DescribeStoreUse", json!({"from": at[1], "to": at[2]})).await;
    assert_eq!(shown(&between), at[1..=2]);

    let (target, invalid) = (format!("{OWN}DescribeStoreUse"), "InvalidParameterException");
    scene.refused(&target, json!({"from": at[1], "to": at[0]}), invalid, "from is later").await;
    scene.refused(&target, json!({"maxPoints": 1}), invalid, "maxPoints is 1").await;
    scene.refused(&target, json!({"maxPoints": 2_001}), invalid, "from 2 to 2000").await;
    scene.end().await;
}
