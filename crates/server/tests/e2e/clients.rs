//! Clients that other people wrote, as they come: boto3, aws cli, the Rust SDK.

use crate::daemon::Daemon;
use crate::service::Service;
use crate::testbed;
use aws_sdk_sms::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sms::error::ProvideErrorMetadata;
use aws_sdk_sms::primitives::DateTime;
use aws_sdk_sms::types::{ReplicationJobState, ReplicationRunState, ServerCatalogStatus};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const MIB: u64 = 1 << 20;

struct Scene {
    _folder: tempfile::TempDir,
    _daemon: Daemon,
    service: Service,
}

fn scene() -> Scene {
    let folder = testbed::folder();
    let daemon = Daemon::start(folder.path(), &[32 * MIB]);
    daemon.write(0, &[(0, 1, 4 * MIB)]);
    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());
    Scene { _folder: folder, _daemon: daemon, service }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients").join(name)
}

fn python_script(name: &str) {
    let scene = scene();
    let python = testbed::prepared("GODWIT_CLIENTS_PYTHON");
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(&python)
        .arg(script(name))
        .envs(scene.service.environment())
        .env("GODWIT_WAIT_RUN", "1")
        .env("PATH", format!("{}:{path}", python.parent().expect("python is in a folder").display()))
        .env_remove("AWS_PROFILE")
        .output()
        .expect("start the client's python");
    let out = testbed::text(name, output);
    assert!(out.contains(" passed, 0 failed"), "{out}");
}

#[test]
fn boto3_drives_it_unchanged() {
    python_script("boto3_flow.py");
}

#[test]
fn aws_cli_drives_it_unchanged() {
    python_script("awscli_flow.py");
}

#[test]
fn raw_requests_that_are_wrong_are_refused_clearly() {
    python_script("raw_requests.py");
}

fn sdk(service: &Service) -> aws_sdk_sms::Client {
    let file = std::fs::read_to_string(service.data.join("credentials")).expect("the credentials file");
    let value = |key: &str| {
        let line = file.lines().find(|l| l.trim_start().starts_with(key)).expect("the key is in the file");
        line.split_once('=').expect("key = value").1.trim().to_owned()
    };
    let keys = Credentials::new(value("aws_access_key_id"), value("aws_secret_access_key"), None, None, "file");
    let config = aws_sdk_sms::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .credentials_provider(keys)
        .endpoint_url(&service.endpoint)
        .build();
    aws_sdk_sms::Client::from_conf(config)
}

fn now_plus(seconds: u64) -> DateTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    DateTime::from_secs((now + seconds) as i64)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rust_sdk_drives_it_unchanged() {
    let scene = scene();
    let sms = sdk(&scene.service);

    let connectors = sms.get_connectors().send().await.expect("GetConnectors");
    assert_eq!(connectors.connector_list().len(), 1);
    let servers = sms.get_servers().send().await.expect("GetServers");
    assert_eq!(servers.server_catalog_status(), Some(&ServerCatalogStatus::Available));
    let server = servers.server_list()[0].server_id().expect("an id").to_owned();

    let error = sms
        .create_replication_job()
        .server_id(&server)
        .frequency(12)
        .seed_replication_time(now_plus(31 * 86_400))
        .send()
        .await
        .expect_err("more than 30 days ahead");
    assert_eq!(error.code(), Some("InvalidParameterException"));

    let job = sms
        .create_replication_job()
        .server_id(&server)
        .frequency(12)
        .seed_replication_time(now_plus(0))
        .description("from the Rust SDK")
        .send()
        .await
        .expect("CreateReplicationJob");
    let job = job.replication_job_id().expect("an id").to_owned();
    let error = sms
        .create_replication_job()
        .server_id(&server)
        .run_once(true)
        .seed_replication_time(now_plus(0))
        .send()
        .await
        .expect_err("a second live job");
    assert!(error.into_service_error().is_replication_job_already_exists_exception());

    let image = wait_for_image(&sms, &job).await;
    let jobs = sms.get_replication_jobs().replication_job_id(&job).send().await.expect("GetReplicationJobs");
    let found = &jobs.replication_job_list()[0];
    assert_eq!(found.state(), Some(&ReplicationJobState::Active));
    assert_eq!(found.latest_ami_id(), Some(image.as_str()));

    sms.delete_replication_job().replication_job_id(&job).send().await.expect("DeleteReplicationJob");
    let error = sms.launch_app().app_id("app-0123456789abcdef0").send().await.expect_err("applications come later");
    assert_eq!(error.code(), Some("UnknownOperationException"));
}

async fn wait_for_image(sms: &aws_sdk_sms::Client, job: &str) -> String {
    for _ in 0..600 {
        let runs = sms.get_replication_runs().replication_job_id(job).send().await.expect("GetReplicationRuns");
        let done = runs.replication_run_list().iter().find(|r| r.state() == Some(&ReplicationRunState::Completed));
        if let Some(run) = done {
            return run.ami_id().expect("a completed run has an image").to_owned();
        }
        assert!(
            !runs.replication_run_list().iter().any(|r| r.state() == Some(&ReplicationRunState::Failed)),
            "{runs:?}"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    panic!("no image of {job} within two minutes");
}
