//! Forecasts over the API: of a job, and of a run with its error.

use crate::scene::{DISK, NOW, OWN, Scene};
use serde_json::{Value, json};

#[tokio::test]
async fn forecasts_are_told_before_and_measured_behind() {
    let scene = Scene::new().await;
    let servers = scene.with_servers().await;
    let later = NOW / 1_000 + 3_600;
    let request = json!({"serverId": servers[0], "intervalMinutes": 60, "seedReplicationTime": later});
    let job = scene.own("CreateReplicationJob", request).await["replicationJobId"].clone();
    let ask = async || scene.own("GetForecast", json!({"replicationJobId": job})).await;
    let before = ask().await;
    assert_eq!((&before["replicationJobId"], before["madeOn"].is_number()), (&job, true), "{before}");
    let first = &before["firstCopy"];
    assert_eq!(first["looksAt"], "FIRST_COPY");
    assert_eq!(first["bytesRead"], json!({"low": 0, "likely": DISK / 2, "high": DISK}));
    assert_eq!(first["basis"], "bytes: allocated bytes; no run yet: no hours");
    assert_eq!((first.get("seconds"), before.get("nextRun")), (None, None), "{before}");
    assert_eq!(&before["cutOver"], first);

    let run = scene.sms("StartOnDemandReplicationRun", json!({"replicationJobId": job})).await;
    let ended = scene
        .until("the run ends", || async {
            let filter = json!({"replicationRunIds": [run["replicationRunId"]]});
            let run = scene.own("DescribeReplicationRuns", filter).await["runs"][0].clone();
            (run["state"] == "COMPLETED").then_some(run)
        })
        .await;
    let told = &ended["forecast"];
    assert_eq!((&told["bytesRead"], &told["basis"]), (&first["bytesRead"], &first["basis"]), "{told}");
    assert_eq!(told["error"]["bytesRead"], 2.0, "{told}");
    assert_eq!(told["error"].get("seconds"), None);

    let after = ask().await;
    assert_eq!(after.get("firstCopy"), None);
    assert_eq!(after["nextRun"]["looksAt"], "CHANGES");
    assert_eq!((after["nextRun"]["dueOn"].as_f64(), after["nextRun"].get("bytesRead")), (Some(later as f64), None));
    assert!(after["cutOver"]["secondsOfChanges"].is_number(), "{after}");
    scene.end().await;
}

#[tokio::test]
async fn of_a_job_that_there_is_not_nothing_is_forecast() {
    let scene = Scene::new().await;
    let target = format!("{OWN}GetForecast");
    let invalid = "InvalidParameterException";
    scene.refused(&target, json!({"replicationJobId": "sms-job-00000000"}), invalid, "sms-job-00000000").await;
    scene.refused(&target, json!({"replicationJobId": Value::from("x")}), invalid, "x").await;
    scene.refused(&target, json!({}), "MissingRequiredParameterException", "replicationJobId").await;
    scene.end().await;
}
