//! Connectors over the API: tested, associated, changed; how an import of the catalog went.

use crate::scene::{DEAD_SOCKET, FICKLE_SOCKET, OWN, SAME_SOCKET, SMS, SOCKET, Scene};
use serde_json::{Value, json};

const INVALID: &str = "InvalidParameterException";
const MISSING: &str = "MissingRequiredParameterException";

/// Associates what answers there; its id.
async fn associated(scene: &Scene, name: &str, socket: &str) -> Value {
    let request = json!({"name": name, "type": "QMP", "socket": socket});
    scene.own("AssociateConnector", request).await["connectorId"].clone()
}

async fn connector(scene: &Scene, id: &Value) -> Value {
    scene.own("DescribeConnectors", json!({"connectorIds": [id]})).await["connectors"][0].clone()
}

#[tokio::test]
async fn connectors_come_and_go() {
    let scene = Scene::new().await;
    scene.refused(&format!("{SMS}ImportServerCatalog"), json!({}), "NoConnectorsAvailableException", "connector").await;
    assert_eq!(scene.sms("GetConnectors", json!({})).await, json!({"connectorList": []}));
    let catalog = scene.sms("GetServers", json!({})).await;
    assert_eq!((&catalog["serverCatalogStatus"], &catalog["serverList"]), (&json!("NOT_IMPORTED"), &json!([])));
    assert!(catalog["lastModifiedOn"].is_number(), "{catalog}");

    let id = scene.own("AssociateConnector", json!({"name": "guests", "type": "QMP", "socket": SOCKET})).await;
    let id = id["connectorId"].as_str().unwrap();
    let seen = scene.sms("GetConnectors", json!({})).await;
    let seen = &seen["connectorList"][0];
    assert_eq!((&seen["connectorId"], &seen["status"]), (&json!(id), &json!("HEALTHY")));
    assert_eq!((&seen["vmManagerName"], &seen["capabilityList"]), (&json!("QEMU at /run/guests"), &json!([])));
    assert!(seen["associatedOn"].is_number() && seen.get("vmManagerType").is_none(), "{seen}");
    let described = scene.own("DescribeConnectors", json!({"connectorIds": [id]})).await;
    let described = &described["connectors"][0];
    assert_eq!((&described["type"], &described["socket"]), (&json!("QMP"), &json!(SOCKET)));
    assert_eq!((&described["name"], &described["managerVersion"]), (&json!("guests"), &json!("10.0.2")));

    assert_eq!(scene.sms("DisassociateConnector", json!({"connectorId": id})).await, json!({}));
    assert_eq!(scene.sms("GetConnectors", json!({})).await["connectorList"], json!([]));
    scene.end().await;
}

#[tokio::test]
async fn a_source_that_is_none_is_refused() {
    let scene = Scene::new().await;
    let request = |kind: &str, socket: &str| json!({"name": "x", "type": kind, "socket": socket});
    for operation in ["AssociateConnector", "TestConnector"] {
        let target = format!("{OWN}{operation}");
        scene.refused(&target, request("QMP", DEAD_SOCKET), INVALID, &format!("socket '{DEAD_SOCKET}'")).await;
        scene.refused(&target, request("QMP", "guests"), INVALID, "socket 'guests' is not an absolute path").await;
        scene.refused(&target, request("VSPHERE", SOCKET), INVALID, "not one of QMP").await;
        scene.refused(&target, json!({"name": "x", "type": "QMP"}), MISSING, "socket").await;
    }
    assert_eq!(scene.sms("GetConnectors", json!({})).await["connectorList"], json!([]));
    scene.end().await;
}

#[tokio::test]
async fn a_connection_is_tested_without_being_associated() {
    let scene = Scene::new().await;
    let request = json!({"type": "QMP", "socket": SOCKET});
    let found = json!({
        "managerId": "9d2f3c0e", "managerName": "QEMU at /run/guests", "managerVersion": "10.0.2", "servers": 3,
        "serverNames": ["guest 0", "guest 1", "guest 2"], "warnings": ["/run/guests/old.sock does not answer"],
    });
    assert_eq!(scene.own("TestConnector", request.clone()).await, found);
    assert_eq!(scene.own("DescribeConnectors", json!({})).await["connectors"], json!([]));
    let id = associated(&scene, "guests", SAME_SOCKET).await;
    let again = scene.own("TestConnector", request).await;
    assert_eq!((&again["connectorId"], &again["connectorName"]), (&id, &json!("guests")));
    // The service is about to open what somebody names: that is on record as a change is.
    let records = scene.own("DescribeAuditRecords", json!({"what": "TestConnector"})).await;
    let parameters: Value = serde_json::from_str(records["records"][0]["parameters"].as_str().unwrap()).unwrap();
    assert_eq!(parameters, json!({"type": "QMP", "socket": SOCKET}));
    scene.end().await;
}

#[tokio::test]
async fn of_a_connector_what_is_sent_changes() {
    let scene = Scene::new().await;
    let id = associated(&scene, "guests", SOCKET).await;
    let mut wanted = connector(&scene, &id).await;
    for (change, member, value) in [
        (json!({"name": " rack 1 "}), "name", json!("rack 1")),
        (json!({"bandwidthCap": "160Mbit/s"}), "bandwidthCap", json!("20MB/s")),
        (json!({"socket": SAME_SOCKET}), "socket", json!(SAME_SOCKET)),
        (json!({}), "socket", json!(SAME_SOCKET)),
    ] {
        let mut request = change.clone();
        request["connectorId"] = id.clone();
        assert_eq!(scene.own("UpdateConnector", request).await, json!({}));
        wanted[member] = value;
        let mut is = connector(&scene, &id).await;
        // It was asked anew where it is now.
        is["lastContactOn"] = wanted["lastContactOn"].clone();
        assert_eq!(is, wanted, "{change}");
    }
    let update = format!("{OWN}UpdateConnector");
    for (change, words) in [
        (json!({"name": ""}), "name: give 1 to 128 characters"),
        (json!({"socket": DEAD_SOCKET}), "socket '/run/dead.sock': nobody answers"),
        (json!({"socket": FICKLE_SOCKET}), "socket '/run/fickle' leads to another VM manager"),
        (json!({"connectorId": "c-00000000000000000", "name": "x"}), "c-00000000000000000"),
    ] {
        let mut request = json!({"connectorId": id});
        request.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        scene.refused(&update, request, INVALID, words).await;
    }
    scene.refused(&update, json!({"name": "x"}), MISSING, "connectorId").await;
    scene.end().await;
}

#[tokio::test]
async fn the_list_of_servers_says_how_the_import_went_and_who_gave_none() {
    let scene = Scene::new().await;
    let described = async || scene.own("DescribeServers", json!({"maxResults": 1})).await;
    assert!(described().await.get("catalogImport").is_none());
    associated(&scene, "guests", SOCKET).await;
    let fickle = associated(&scene, "fickle", FICKLE_SOCKET).await;
    scene.sms("ImportServerCatalog", json!({})).await;
    let import = scene
        .until("the import ends", || async {
            let import = described().await["catalogImport"].clone();
            import.get("endedOn").is_some().then_some(import)
        })
        .await;
    assert!(import["beganOn"].as_f64() <= import["endedOn"].as_f64(), "{import}");
    let counts = ["connectors", "answered", "failed", "servers"].map(|count| import[count].as_u64().unwrap());
    assert_eq!(counts, [2, 1, 1, 3]);
    let failure = &import["failures"][0];
    assert_eq!((&failure["connectorId"], &failure["connectorName"]), (&fickle, &json!("fickle")));
    assert!(failure["reason"].as_str().unwrap().contains("nobody answers at the socket /run/fickle"), "{failure}");
    scene.sms("DeleteServerCatalog", json!({})).await;
    assert!(described().await.get("catalogImport").is_none());
    scene.end().await;
}
