//! Calls through the router to the real service and back.

use crate::oracle::{ACCESS_KEY, Draft};
use crate::scene::{DISK, NOW, OWN, PANIC_SOCKET, SMS, Scene, TIME};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

const NOBODY: &str = "sms-job-00000000";

fn job(server: &str) -> Value {
    json!({"serverId": server, "seedReplicationTime": NOW / 1000, "frequency": 12})
}

fn with(mut request: Value, more: Value) -> Value {
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

async fn completed_run(scene: &Scene, job: &str) -> Value {
    scene
        .until("the run completes", || async {
            let answer = scene.sms("GetReplicationRuns", json!({"replicationJobId": job})).await;
            let runs = answer["replicationRunList"].as_array().unwrap().clone();
            assert!(runs.iter().all(|run| run["state"] != "FAILED"), "{runs:?}");
            runs.into_iter().find(|run| run["state"] == "COMPLETED")
        })
        .await
}

#[tokio::test]
async fn a_server_becomes_an_image() {
    let scene = Scene::new().await;
    let servers = scene.with_servers().await;
    assert_eq!(servers.len(), 3);

    let request = with(job(&servers[0]), json!({"description": "d é", "licenseType": "BYOL", "unheardOf": 1}));
    let created = scene.sms("CreateReplicationJob", request).await;
    let id = created["replicationJobId"].as_str().unwrap();
    let run = completed_run(&scene, id).await;
    assert_eq!(run["type"], "AUTOMATIC");
    assert!(run["scheduledStartTime"].is_number() && run["completedTime"].is_number(), "{run}");
    let image = run["amiId"].as_str().unwrap();

    let shown = scene.sms("GetReplicationJobs", json!({"replicationJobId": id})).await;
    let shown = &shown["replicationJobList"][0];
    assert_eq!(shown["state"], "ACTIVE");
    assert_eq!(shown["latestAmiId"], image);
    assert_eq!((&shown["frequency"], &shown["runOnce"]), (&json!(12), &json!(false)));
    assert_eq!((&shown["description"], &shown["licenseType"]), (&json!("d é"), &json!("BYOL")));
    assert_eq!(shown["vmServer"]["vmServerAddress"]["vmManagerId"], "9d2f3c0e");
    assert_eq!(shown["serverType"], "VIRTUAL_MACHINE");
    assert!(shown.get("statusMessage").is_none_or(|m| m.is_string()), "{shown}");

    let described = scene.own("DescribeReplicationRuns", json!({"replicationRunIds": [run["replicationRunId"]]})).await;
    let described = &described["runs"][0];
    assert_eq!((&described["imageId"], &described["consistency"]), (&json!(image), &json!("FILE_SYSTEM")));
    assert_eq!(described["notes"][0], "the guest agent answered");
    let volume = &described["volumes"][0];
    let figures = ["bytesTotal", "bytesDone", "bytesRead", "bytesSent", "bytesStored", "bytesResent"];
    assert_eq!(figures.map(|name| volume[name].as_u64().unwrap()), [DISK, DISK, DISK, 4_096, 4_096, 0]);
    assert_eq!(volume["rootDigest"].as_str().unwrap().len(), 64);
    assert_eq!(volume["consistency"], described["consistency"]);

    look_at_image(&scene, image, id).await;

    let answer = scene.sms("DeleteReplicationJob", json!({"replicationJobId": id})).await;
    assert_eq!(answer, json!({}), "an empty answer is an object");
    scene
        .until("the job is deleted", || async {
            let shown = scene.sms("GetReplicationJobs", json!({"replicationJobId": id})).await;
            (shown["replicationJobList"][0]["state"] == "DELETED").then_some(())
        })
        .await;
    scene.end().await;
}

#[tokio::test]
async fn jobs_have_what_the_seed_service_never_had() {
    let scene = Scene::new().await;
    let servers = scene.with_servers().await;
    let listed = scene.own("DescribeServers", json!({})).await;
    assert_eq!(listed["serverCatalogStatus"], "AVAILABLE");
    let linux = listed["servers"].as_array().unwrap().iter().find(|s| s["platform"] == "LINUX").unwrap();
    assert_eq!(linux["volumes"], json!([{"device": "drive0", "size": DISK}]));
    let only = scene.own("DescribeServers", json!({"serverIds": [linux["serverId"]]})).await;
    assert_eq!(only["servers"], json!([linux]));

    let (invalid, cannot) = ("InvalidParameterException", "ServerCannotBeReplicatedException");
    let create = |more| with(json!({"serverId": linux["serverId"], "intervalMinutes": 5}), more);
    let target = format!("{OWN}CreateReplicationJob");
    scene.refused(&target, create(json!({"licenseType": "AWS"})), cannot, "Linux").await;
    scene.refused(&target, create(json!({"recipients": ["x"]})), invalid, "recipients").await;
    scene.refused(&target, create(json!({"frequency": 1})), invalid, "intervalMinutes").await;
    let of_seed = with(job(linux["serverId"].as_str().unwrap()), json!({"licenseType": "AWS"}));
    scene.refused(&format!("{SMS}CreateReplicationJob"), of_seed, cannot, "BYOL").await;

    let more = json!({"recipients": ["ops@example.org"], "pauseAfterFailures": 7, "licenseType": "AUTO"});
    let created = scene.own("CreateReplicationJob", create(more)).await;
    let id = created["replicationJobId"].as_str().unwrap();
    completed_run(&scene, id).await;
    let described =
        async || scene.own("DescribeReplicationJobs", json!({"replicationJobIds": [id]})).await["jobs"][0].clone();
    let shown = described().await;
    assert_eq!((&shown["intervalMinutes"], &shown["recipients"]), (&json!(5), &json!(["ops@example.org"])));
    assert_eq!((&shown["pauseAfterFailures"], &shown["pauseOnFailure"]), (&json!(7), &json!(true)));
    assert_eq!((&shown["licenseType"], &shown["licenseChosen"]), (&json!("BYOL"), &json!(true)));
    assert_eq!(shown["latestRun"]["state"], "COMPLETED");
    assert!(shown["nextReplicationRunStartTime"].is_number() && shown["stateSince"].is_number(), "{shown}");
    let seeds = scene.sms("GetReplicationJobs", json!({"replicationJobId": id})).await;
    assert!(seeds["replicationJobList"][0].get("frequency").is_none(), "minutes are not hours: {seeds}");
    assert_eq!(seeds["replicationJobList"][0]["licenseType"], "BYOL");

    let change = json!({"replicationJobId": id, "intervalMinutes": 120, "recipients": [], "pauseOnFailure": false});
    assert_eq!(scene.own("UpdateReplicationJob", change).await, json!({}));
    let changed = described().await;
    assert_eq!((&changed["intervalMinutes"], &changed["recipients"]), (&json!(120), &json!([])));
    assert_eq!(changed["pauseOnFailure"], false);
    for (wish, shown) in [("BYOL", ("BYOL", false)), ("AUTO", ("BYOL", true))] {
        scene.own("UpdateReplicationJob", json!({"replicationJobId": id, "licenseType": wish})).await;
        let changed = described().await;
        let is = (changed["licenseType"].as_str().unwrap(), changed["licenseChosen"].as_bool().unwrap());
        assert_eq!(is, shown, "{wish}");
    }
    let unheard_of = json!({"replicationJobId": id, "licenseType": "OTHER"});
    scene.refused(&format!("{OWN}UpdateReplicationJob"), unheard_of, invalid, "AWS, BYOL, AUTO").await;
    let of_seed = json!({"replicationJobId": id, "licenseType": "AUTO"});
    scene.refused(&format!("{SMS}UpdateReplicationJob"), of_seed, invalid, "AWS, BYOL").await;
    let resume = json!({"replicationJobId": id});
    scene.refused(&format!("{OWN}ResumeReplicationJob"), resume, "OperationNotPermittedException", "paused").await;
    let unknown = json!({"replicationJobIds": [NOBODY]});
    scene.refused(&format!("{OWN}DescribeReplicationJobs"), unknown, invalid, NOBODY).await;
    assert_eq!(servers.len(), 3);
    scene.end().await;
}

async fn look_at_image(scene: &Scene, image: &str, job: &str) {
    let described = scene.own("DescribeImages", json!({"imageIds": [image]})).await;
    let described = &described["images"][0];
    assert_eq!((&described["replicationJobId"], &described["sizeBytes"]), (&json!(job), &json!(DISK)));
    assert_eq!(described["verification"]["state"], "UNVERIFIED");
    assert_eq!(described["volumes"][0]["volume"], 0);
    let snapshots = scene.own("DescribeSnapshots", json!({"imageId": image})).await;
    assert_eq!(snapshots["snapshots"][0]["snapshotId"], described["volumes"][0]["snapshotId"]);

    let extents = scene.own("ListImageExtents", json!({"imageId": image, "volume": 0})).await;
    assert_eq!(extents, json!({"size": DISK, "extents": [{"offset": 65_536, "length": 65_536}]}));
    let compare = json!({"imageId": image, "volume": 0, "baseImageId": image});
    let changes = scene.own("ListImageChanges", compare).await;
    assert_eq!(changes, json!({"size": DISK, "changes": [{"offset": 0, "length": 65_536}]}));
    let read = json!({"imageId": image, "volume": 0, "offset": 65_535, "length": 3});
    let draft = Draft::new(&format!("{OWN}ReadImage"), TIME, read.to_string().as_bytes());
    let (status, headers, bytes) = scene.send_draft(&draft).await;
    assert_eq!((status, &bytes[..]), (200, &[0u8, 1, 1][..]));
    assert_eq!(headers["content-type"], "application/octet-stream");

    assert_eq!(scene.own("StartImageVerification", json!({"imageId": image})).await, json!({}));
    let verified = scene
        .until("the verification ends", || async {
            let described = scene.own("DescribeImages", json!({"imageIds": [image]})).await;
            let verification = described["images"][0]["verification"].clone();
            (verification["state"] != "RUNNING").then_some(verification)
        })
        .await;
    assert_eq!((&verified["state"], &verified["damaged"]), (&json!("VERIFIED"), &json!([])));
    assert!(verified["verifiedOn"].is_number(), "{verified}");
    assert_eq!(scene.own("DeleteImage", json!({"imageId": image})).await, json!({}));
    assert_eq!(scene.own("DescribeImages", json!({})).await["images"], json!([]));
}

#[tokio::test]
async fn lists_come_in_pages() {
    let scene = Scene::new().await;
    let servers = scene.with_servers().await;
    let (mut seen, mut request) = (Vec::new(), json!({"maxResults": 1}));
    loop {
        let page = scene.sms("GetServers", request.clone()).await;
        assert_eq!(page["serverList"].as_array().unwrap().len(), 1);
        seen.push(page["serverList"][0]["serverId"].as_str().unwrap().to_owned());
        match page.get("nextToken") {
            Some(token) => request["nextToken"] = token.clone(),
            None => break,
        }
    }
    assert_eq!(seen, servers);
    let only = json!({"vmServerAddressList": [{"vmManagerId": "9d2f3c0e", "vmId": "vm-1"}]});
    assert_eq!(scene.sms("GetServers", only).await["serverList"][0]["vmServer"]["vmName"], "guest 1");
    let invalid = "InvalidParameterException";
    for list in [format!("{SMS}GetServers"), format!("{SMS}GetConnectors"), format!("{OWN}DescribeImages")] {
        scene.refused(&list, json!({"nextToken": "x"}), invalid, "nextToken").await;
        scene.refused(&list, json!({"maxResults": 0}), invalid, "maxResults").await;
        scene.refused(&list, json!({"maxResults": "5"}), "SerializationException", "maxResults").await;
    }
    scene.end().await;
}

#[tokio::test]
async fn wrong_requests_are_refused_with_the_modelled_code() {
    let scene = Scene::new().await;
    let server = scene.with_servers().await.remove(0);
    let (invalid, missing) = ("InvalidParameterException", "MissingRequiredParameterException");
    let create = format!("{SMS}CreateReplicationJob");
    let late = NOW / 1000 + 31 * 86_400;
    for (change, code, words) in [
        (json!({"serverId": "s-00000000"}), invalid, "s-00000000"),
        (json!({"serverId": ""}), invalid, ""),
        (json!({"serverId": null}), missing, "serverId"),
        (json!({"seedReplicationTime": null}), missing, "seedReplicationTime"),
        (json!({"seedReplicationTime": late}), invalid, ""),
        (json!({"seedReplicationTime": 1e300}), invalid, ""),
        (json!({"seedReplicationTime": "now"}), "SerializationException", "seedReplicationTime"),
        (json!({"frequency": 0}), invalid, "frequency"),
        (json!({"frequency": 25}), invalid, "frequency"),
        (json!({"frequency": "12"}), "SerializationException", "frequency"),
        (json!({"frequency": null}), missing, ""),
        (json!({"runOnce": true}), invalid, ""),
        (json!({"licenseType": "Auto"}), invalid, "AWS, BYOL"),
        (json!({"numberOfRecentAmisToKeep": 271}), invalid, ""),
    ] {
        scene.refused(&create, with(job(&server), change), code, words).await;
    }

    let far = with(job(&server), json!({"seedReplicationTime": NOW / 1000 + 86_400}));
    let created = scene.sms("CreateReplicationJob", far.clone()).await;
    scene.refused(&create, far, "ReplicationJobAlreadyExistsException", "").await;
    let update = format!("{SMS}UpdateReplicationJob");
    let id = &created["replicationJobId"];
    scene.refused(&update, json!({"replicationJobId": id, "frequency": 99}), invalid, "frequency").await;
    let changed = json!({"replicationJobId": id, "frequency": 24, "nextReplicationRunStartTime": NOW / 1000 + 7_200});
    assert_eq!(scene.sms("UpdateReplicationJob", changed).await, json!({}));

    let gone = "ReplicationJobNotFoundException";
    for nobody in [NOBODY, "x", ""] {
        let request = json!({"replicationJobId": nobody});
        scene.refused(&update, request.clone(), gone, nobody).await;
        scene.refused(&format!("{SMS}DeleteReplicationJob"), request.clone(), gone, nobody).await;
        scene.refused(&format!("{SMS}GetReplicationRuns"), request.clone(), invalid, nobody).await;
        scene.refused(&format!("{SMS}StartOnDemandReplicationRun"), request, invalid, nobody).await;
    }
    let image = json!({"imageId": "ami-00000000000000000"});
    let volume = with(image.clone(), json!({"volume": 0, "offset": 0, "length": 1}));
    scene.refused(&format!("{OWN}DeleteImage"), image.clone(), invalid, "ami-00000000000000000").await;
    scene.refused(&format!("{OWN}ReadImage"), volume, invalid, "ami-00000000000000000").await;
    scene.refused(&format!("{OWN}ReadImage"), image, missing, "volume").await;
    scene.end().await;
}

#[tokio::test]
async fn what_does_not_work_yet_says_so() {
    let scene = Scene::new().await;
    let mut asked = 0;
    for entry in godwit_api::operations::TABLE.iter().filter(|entry| !entry.works()) {
        let target = format!("{}.{}", entry.prefix, entry.name);
        scene.refused(&target, json!({"appId": 5}), "UnknownOperationException", entry.name).await;
        asked += 1;
    }
    assert_eq!(asked, 24);
    scene.refused(&format!("{SMS}CreateConnector"), json!({}), "UnknownOperationException", "CreateConnector").await;
    scene.end().await;
}

#[tokio::test]
async fn nothing_is_told_before_the_signature_is_proven() {
    let scene = Scene::new().await;
    for (target, body) in [("Nonsense", "{"), (&*format!("{SMS}GetServers"), "{}")] {
        let mut draft = Draft::new(target, TIME, body.as_bytes());
        let unsigned = Request::post("/").header("x-amz-target", target).body(Body::from(body)).unwrap();
        let answer = scene.send(unsigned).await;
        assert_eq!(answer.headers()["x-amzn-errortype"], "MissingAuthenticationTokenException", "{target}");
        draft.time = "20261123T031244Z".to_owned();
        draft.headers.iter_mut().find(|(name, _)| name == "x-amz-date").unwrap().1 = draft.time.clone();
        let (status, headers, _) = scene.send_draft(&draft).await;
        assert_eq!((status, &headers["x-amzn-errortype"]), (400, &"RequestTimeTooSkewed".parse().unwrap()));
        let draft = Draft::new(target, TIME, body.as_bytes());
        let mut request = Request::post("/").body(Body::from(body)).unwrap();
        *request.headers_mut() = draft.headers_with(&"0".repeat(64));
        assert_eq!(scene.send(request).await.headers()["x-amzn-errortype"], "InvalidSignatureException", "{target}");
        let mut request = Request::post("/").body(Body::from(body)).unwrap();
        *request.headers_mut() = draft.sign();
        let unknown = draft.sign()["authorization"].to_str().unwrap().replace(ACCESS_KEY, "AKIDNOBODY");
        request.headers_mut().insert("authorization", unknown.parse().unwrap());
        assert_eq!(scene.send(request).await.headers()["x-amzn-errortype"], "UnrecognizedClientException", "{target}");
    }
    scene.end().await;
}

#[tokio::test]
async fn bodies_that_are_wrong_or_too_large_are_refused() {
    let scene = Scene::new().await;
    let target = format!("{SMS}GetServers");
    let answer = async |body: Vec<u8>| {
        let (status, _, text) = scene.send_draft(&Draft::new(&target, TIME, &body)).await;
        let text: Value = serde_json::from_slice(&text).unwrap();
        (status, text["__type"].as_str().unwrap_or_default().to_owned())
    };
    for body in ["{", "[]", "null", "{'a': 1}"] {
        assert_eq!(answer(body.into()).await, (400, "SerializationException".to_owned()), "{body}");
    }
    let padded = |n: usize| format!("{{\"x\": \"{}\"}}", "a".repeat(n - 9)).into_bytes();
    assert_eq!(answer(padded(1 << 20)).await, (200, String::new()));
    assert_eq!(answer(padded((1 << 20) + 1)).await, (413, "RequestEntityTooLargeException".to_owned()));
    assert_eq!(answer(vec![]).await, (200, String::new()), "an empty body is an empty request");
    scene.end().await;
}

#[tokio::test]
async fn keys_are_named_and_jobs_choose_one() {
    let scene = Scene::new().await;
    let servers = scene.with_servers().await;
    let made = scene.own("CreateKey", json!({"alias": "alias/pay", "description": "HR"})).await["key"].clone();
    assert_eq!((&made["state"], &made["version"], &made["default"]), (&json!("ENABLED"), &json!(1), &json!(false)));
    assert_eq!(made["aliases"], json!(["alias/pay"]));
    let id = made["keyId"].as_str().unwrap();
    assert!(made["arn"].as_str().unwrap().ends_with(&format!(":key/{id}")), "{made}");
    let wanted = json!({"encrypted": true, "kmsKeyId": "arn:aws:kms:us-east-1:1:alias/pay"});
    let job = scene.sms("CreateReplicationJob", with(job(&servers[0]), wanted.clone())).await;
    let job = job["replicationJobId"].as_str().unwrap();
    let run = completed_run(&scene, job).await;
    assert_eq!((&run["encrypted"], &run["kmsKeyId"]), (&wanted["encrypted"], &wanted["kmsKeyId"]));
    let shown = scene.sms("GetReplicationJobs", json!({"replicationJobId": job})).await;
    assert_eq!(shown["replicationJobList"][0]["kmsKeyId"], wanted["kmsKeyId"]);
    let image = json!({"imageIds": [run["amiId"]]});
    assert_eq!(scene.own("DescribeImages", image.clone()).await["images"][0]["keyId"], id);
    let snapshots = scene.own("DescribeSnapshots", json!({"imageId": run["amiId"]})).await;
    assert_eq!(snapshots["snapshots"][0]["keyId"], id);

    assert_eq!(scene.own("RotateKey", json!({"keyId": id})).await, json!({"version": 2}));
    scene.own("UpdateKey", json!({"keyId": id, "description": ""})).await;
    scene.own("CreateAlias", json!({"alias": "alias/hr", "keyId": "alias/pay"})).await;
    let found = scene.own("DescribeKeys", json!({"keyIds": ["alias/hr"]})).await["keys"][0].clone();
    assert_eq!((&found["keyId"], &found["version"], found.get("description")), (&json!(id), &json!(2), None));
    scene.own("DeleteAlias", json!({"alias": "alias/hr"})).await;

    scene.own("DisableKey", json!({"keyId": id})).await;
    let to_image = json!({"imageId": run["amiId"]});
    let refusal = ("OperationNotPermittedException", "KeyDisabled");
    scene.refused(&format!("{OWN}StartImageVerification"), to_image.clone(), refusal.0, refusal.1).await;
    let read = with(to_image, json!({"volume": 0, "offset": 0, "length": 1}));
    scene.refused(&format!("{OWN}ReadImage"), read, refusal.0, refusal.1).await;
    let other =
        with(json!({"serverId": servers[1], "seedReplicationTime": NOW / 1000, "runOnce": true}), wanted.clone());
    let invalid = "InvalidParameterException";
    scene.refused(&format!("{SMS}CreateReplicationJob"), other, invalid, "is disabled: enable it").await;
    scene.refused(&format!("{OWN}SetDefaultKey"), json!({"keyId": id}), refusal.0, "enable it first").await;
    scene.own("EnableKey", json!({"keyId": id})).await;
    scene.own("SetDefaultKey", json!({"keyId": id})).await;
    let listed = scene.own("DescribeKeys", json!({})).await;
    let defaults: Vec<_> = listed["keys"].as_array().unwrap().iter().map(|key| key["default"].clone()).collect();
    assert_eq!(defaults, [json!(false), json!(true)]);
    scene.refused(&format!("{OWN}DisableKey"), json!({"keyId": id}), refusal.0, "default key").await;
    scene.refused(&format!("{OWN}RotateKey"), json!({"keyId": "alias/none"}), invalid, "no key 'alias/none'").await;
    scene.refused(&format!("{OWN}CreateKey"), json!({"alias": "pay"}), invalid, "alias/pay").await;
    scene.refused(&format!("{OWN}RotateKey"), json!({}), "MissingRequiredParameterException", "keyId").await;
    scene.end().await;
}

#[tokio::test]
async fn a_panic_ends_one_call_only() {
    let scene = Scene::new().await;
    let request = json!({"name": "x", "type": "QMP", "socket": PANIC_SOCKET});
    scene.refused(&format!("{OWN}AssociateConnector"), request, "InternalError", "log").await;
    assert_eq!(scene.sms("GetConnectors", json!({})).await["connectorList"], json!([]));
    scene.end().await;
}

#[tokio::test]
async fn people_with_a_browser_are_told_where_they_are() {
    let scene = Scene::new().await;
    for (method, path, status, words) in [
        ("GET", "/", 200, "Godwit"),
        ("PUT", "/", 405, "POST"),
        ("DELETE", "/", 405, "POST"),
        ("GET", "/favicon.ico", 404, "POST /"),
        ("POST", "/other", 404, "POST /"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let (head, body) = scene.send(request).await.into_parts();
        let text = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        assert_eq!(head.status, status, "{method} {path}");
        assert!(head.headers.contains_key("x-amzn-requestid"), "{method} {path}");
        assert!(String::from_utf8_lossy(&text).contains(words), "{method} {path}: {text:?}");
    }
    scene.end().await;
}
