//! A connector whose VM manager is gone says so, and says when it is back.

use super::rust_sdk::{sdk, wait};
use super::{replies_are_as_the_model_says, subfolder};
use crate::daemon::Daemon;
use crate::relay::Relay;
use crate::service::Service;
use crate::testbed;
use aws_sdk_sms::Client;
use aws_sdk_sms::types::ConnectorStatus;

const MIB: u64 = 1 << 20;

/// Waits until `GetConnectors` gives the only connector this status.
async fn becomes(sms: &Client, status: ConnectorStatus) {
    let seen = async || {
        let answer = sms.get_connectors().send().await.expect("GetConnectors");
        assert_eq!(answer.connector_list().len(), 1, "it stays listed: {answer:?}");
        (answer.connector_list()[0].status() == Some(&status)).then_some(())
    };
    wait(&format!("the connector to be {status}"), seen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_is_unhealthy_while_its_storage_daemon_is_gone() {
    let folder = testbed::folder();
    let machine = subfolder(folder.path(), "machine");
    let daemon = Daemon::start(&machine, &[8 * MIB]);
    daemon.write(0, &[(0, 1, MIB)]);
    let config = folder.path().join("godwit.toml");
    std::fs::write(&config, "[connectors]\nheartbeat = '1s'\n").expect("a settings file");
    let config = config.display().to_string();
    let service = Service::start_with(&folder.path().join("data"), &["--config", &config]);
    let relay = Relay::start(&service.endpoint, folder.path());
    let sms = sdk(&service, &relay.endpoint);
    service.associate(&daemon.qmp_socket());
    becomes(&sms, ConnectorStatus::Healthy).await;

    daemon.kill();
    becomes(&sms, ConnectorStatus::Unhealthy).await;
    let listed = &service.json(&["connectors", "list"])[0];
    assert_eq!(listed["status"], "UNHEALTHY", "{listed:#}");
    let reason = listed["status_reason"].as_str().unwrap_or_else(|| panic!("no reason in {listed:#}"));
    let socket = machine.join("qmp.sock").display().to_string();
    assert!(reason.contains(&socket), "{reason}");
    let table = service.cli(&["connectors", "list"]);
    assert!(table.contains("unhealthy") && table.contains(reason), "{table}");

    let _daemon = Daemon::over(&machine, 1);
    becomes(&sms, ConnectorStatus::Healthy).await;
    let listed = &service.json(&["connectors", "list"])[0];
    assert_eq!((&listed["status"], listed.get("status_reason")), (&"HEALTHY".into(), None), "{listed:#}");
    let table = service.cli(&["connectors", "list"]);
    assert!(table.contains("healthy") && !table.contains("unhealthy"), "{table}");
    // And its server is replicated.
    let job = service.create_job(&service.only_server());
    service.completed(&service.newest_run(&job));
    replies_are_as_the_model_says(&service, &relay, &["GetConnectors"]);
}
