//! Caps over the API: of everything, of a connector, of a job and of a run.

use crate::scene::{NOW, OWN, Scene};
use serde_json::json;

const INVALID: &str = "InvalidParameterException";

#[tokio::test]
async fn caps_are_set_and_shown_in_one_way_of_writing() {
    let scene = Scene::new().await;
    let servers = scene.with_servers().await;
    assert_eq!(scene.own("DescribeLimits", json!({})).await, json!({}));
    // The scene's time is a Monday morning: 04:12:44 UTC.
    let cap = "mon-fri 08:00-18:00 160Mbit/s; 1gb/s; in Europe/Berlin";
    assert_eq!(scene.own("UpdateLimits", json!({"bandwidthCap": cap})).await, json!({}));
    let limits = scene.own("DescribeLimits", json!({})).await;
    assert_eq!(limits["bandwidthCap"], "Mon-Fri 08:00-18:00 20MB/s; otherwise 1GB/s; in Europe/Berlin");
    assert_eq!(limits["bytesPerSecond"], 1_000_000_000);
    let changes_on = limits["changesOn"].as_f64().unwrap() as i64;
    assert_eq!(changes_on, 1_795_417_200, "08:00 in Berlin");
    assert!(changes_on > NOW / 1_000);

    let connector = scene.own("DescribeConnectors", json!({})).await["connectors"][0].clone();
    assert!(connector.get("bandwidthCap").is_none(), "{connector}");
    let id = &connector["connectorId"];
    scene.own("UpdateConnector", json!({"connectorId": id, "bandwidthCap": "0"})).await;
    assert_eq!(scene.own("DescribeConnectors", json!({})).await["connectors"][0]["bandwidthCap"], "0");
    scene.own("UpdateConnector", json!({"connectorId": id, "bandwidthCap": "none"})).await;
    assert_eq!(scene.own("DescribeConnectors", json!({})).await["connectors"][0], connector);

    let start = NOW / 1_000 + 3_600;
    let new =
        json!({"serverId": servers[0], "intervalMinutes": 60, "seedReplicationTime": start, "bandwidthCap": "5MB/s"});
    let job = scene.own("CreateReplicationJob", new).await["replicationJobId"].clone();
    let described = async || {
        let jobs = scene.own("DescribeReplicationJobs", json!({"replicationJobIds": [job]})).await;
        let runs = scene.own("DescribeReplicationRuns", json!({"replicationJobId": job})).await;
        (jobs["jobs"][0]["bandwidthCap"].clone(), runs["runs"][0].clone())
    };
    let (of_job, run) = described().await;
    assert_eq!((&of_job, &run["bandwidthCap"]), (&json!("5MB/s"), &json!("5MB/s")));
    assert!(run.get("heldBackBy").is_none(), "{run}");
    let id = &run["replicationRunId"];
    scene.own("UpdateReplicationRun", json!({"replicationRunId": id, "bandwidthCap": "1MB/s"})).await;
    scene.own("UpdateReplicationJob", json!({"replicationJobId": job, "bandwidthCap": "none"})).await;
    let (of_job, run) = described().await;
    assert_eq!((&of_job, &run["bandwidthCap"]), (&json!(null), &json!("1MB/s")));
    scene.own("UpdateReplicationRun", json!({"replicationRunId": id, "bandwidthCap": ""})).await;
    assert!(described().await.1.get("bandwidthCap").is_none());
    scene.end().await;
}

#[tokio::test]
async fn what_is_no_cap_or_of_nothing_is_refused() {
    let scene = Scene::new().await;
    scene.with_servers().await;
    let connector = scene.own("DescribeConnectors", json!({})).await["connectors"][0]["connectorId"].clone();
    for (operation, request, what) in [
        ("UpdateLimits", json!({"bandwidthCap": "20"}), "bandwidthCap: '20' is no rate"),
        ("UpdateConnector", json!({"connectorId": connector, "bandwidthCap": "Moon 0"}), "'Moon' are no days"),
        ("UpdateConnector", json!({"connectorId": "c-0", "bandwidthCap": "0"}), "c-0"),
        (
            "UpdateReplicationRun",
            json!({"replicationRunId": "sms-run-00000000", "bandwidthCap": "0"}),
            "sms-run-00000000",
        ),
    ] {
        scene.refused(&format!("{OWN}{operation}"), request, INVALID, what).await;
    }
    let missing = "MissingRequiredParameterException";
    scene.refused(&format!("{OWN}UpdateLimits"), json!({}), missing, "bandwidthCap").await;
    scene.end().await;
}
