//! The Rust SDK, whose answers and errors have types: what it cannot match, it cannot use.

use super::{Scene, WORKS, scene, subfolder};
use crate::daemon::Daemon;
use crate::service::Service;
use aws_sdk_sms::Client;
use aws_sdk_sms::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_sms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sms::operation::RequestId;
use aws_sdk_sms::primitives::DateTime;
use aws_sdk_sms::types::{
    LicenseType, ReplicationJob, ReplicationJobState as JobState, ReplicationRun, ReplicationRunState as RunState,
    ServerCatalogStatus,
};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// How long a job or the catalog may take to come into a state before it counts as hung.
const BOUND: Duration = Duration::from_secs(120);

/// The SDK as it comes, with a service's keys.
pub(super) fn sdk(service: &Service, endpoint: &str) -> Client {
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
        .endpoint_url(endpoint)
        .build();
    Client::from_conf(config)
}

pub(super) fn now_plus(seconds: u64) -> DateTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    DateTime::from_secs((now + seconds) as i64)
}

/// Ids of a list from start to end: in one page, in pages of one by the SDK's paginator, and as its stream of items.
/// Gives the ids; `$call` makes the request anew.
macro_rules! in_pages {
    ($call:expr, $members:ident, $id:ident) => {{
        let whole = $call.send().await.expect("the list");
        let whole: Vec<String> = whole.$members().iter().map(|item| item.$id().expect("an id").to_owned()).collect();
        assert!(whole.len() >= 2, "there is more than a page of one: {whole:?}");
        assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), whole.len(), "nothing comes twice: {whole:?}");
        let mut pages = $call.into_paginator().page_size(1).send();
        let mut turned = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.expect("a page");
            assert_eq!(page.$members().len(), 1, "{page:?}");
            turned.push(page.$members()[0].$id().expect("an id").to_owned());
            assert_eq!(page.next_token().is_some(), turned.len() < whole.len(), "all but the last have a token");
        }
        assert_eq!(turned, whole, "a page for each item");
        let items = $call.into_paginator().page_size(1).items().send().collect::<Result<Vec<_>, _>>().await;
        let items: Vec<_> = items.expect("the items").iter().filter_map(|item| item.$id().map(str::to_owned)).collect();
        assert_eq!(items, whole);
        whole
    }};
}

/// The typed error of a refusal, which has a sentence for people and a request id.
fn refused<T: Debug, E: ProvideErrorMetadata + Debug>(answer: Result<T, SdkError<E>>) -> E {
    let error = answer.expect_err("it should be refused");
    assert!(error.request_id().is_some_and(|id| id.len() > 8), "{error:?}");
    match error {
        SdkError::ServiceError(error) => {
            assert!(error.err().message().is_some_and(|said| said.len() > 10), "{error:?}");
            error.into_err()
        }
        other => panic!("this is no answer of the service: {other:?}"),
    }
}

async fn servers(sms: &Client) -> Vec<String> {
    let answer = sms.get_servers().send().await.expect("GetServers");
    assert_eq!(answer.server_catalog_status(), Some(&ServerCatalogStatus::Available));
    answer.server_list().iter().map(|server| server.server_id().expect("an id").to_owned()).collect()
}

async fn connectors(sms: &Client) -> Vec<String> {
    let answer = sms.get_connectors().send().await.expect("GetConnectors");
    answer.connector_list().iter().map(|connector| connector.connector_id().expect("an id").to_owned()).collect()
}

async fn repeating_job(sms: &Client, server: &str, start: DateTime) -> String {
    let create = sms.create_replication_job().server_id(server).frequency(12).seed_replication_time(start);
    let create = create.license_type(LicenseType::Byol).role_name("mover").number_of_recent_amis_to_keep(9);
    let job = create.encrypted(true).description("from the Rust SDK").send().await.expect("CreateReplicationJob");
    job.replication_job_id().expect("an id").to_owned()
}

async fn one_time_job(sms: &Client, server: &str, start: DateTime) -> String {
    let create = sms.create_replication_job().server_id(server).run_once(true).seed_replication_time(start);
    let job = create.send().await.expect("CreateReplicationJob");
    job.replication_job_id().expect("an id").to_owned()
}

pub(super) async fn job(sms: &Client, id: &str) -> ReplicationJob {
    let answer = sms.get_replication_jobs().replication_job_id(id).send().await.expect("GetReplicationJobs");
    assert_eq!((answer.replication_job_list().len(), answer.next_token()), (1, None));
    answer.replication_job_list()[0].clone()
}

/// Polls until `probe` gives something.
pub(super) async fn wait<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(start.elapsed() < BOUND, "waited {BOUND:?} in vain for {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

pub(super) async fn job_in(sms: &Client, id: &str, state: JobState) -> ReplicationJob {
    wait(&format!("{id} in {state:?}"), async || Some(job(sms, id).await).filter(|job| job.state() == Some(&state)))
        .await
}

/// The run, or the job's automatic one that has ended, once it is completed.
async fn completed(sms: &Client, job: &str, run: Option<&str>) -> ReplicationRun {
    wait("the run to complete", async || {
        let runs = sms.get_replication_runs().replication_job_id(job).send().await.expect("GetReplicationRuns");
        let list = runs.replication_run_list();
        assert!(list.iter().all(|found| found.state() != Some(&RunState::Failed)), "{runs:?}");
        let wanted = |found: &&ReplicationRun| run.is_none_or(|run| found.replication_run_id() == Some(run));
        list.iter().filter(wanted).find(|found| found.state() == Some(&RunState::Completed)).cloned()
    })
    .await
}

async fn run_on_demand(sms: &Client, job: &str) -> ReplicationRun {
    let answer = sms.start_on_demand_replication_run().replication_job_id(job).description("extra").send().await;
    let run = answer.expect("StartOnDemandReplicationRun");
    completed(sms, job, run.replication_run_id()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_that_works_is_driven_by_the_rust_sdk() {
    let scene = scene();
    let Scene { service, relay, .. } = &scene;
    let sms = sdk(service, &relay.endpoint);

    let known = in_pages!(sms.get_connectors(), connector_list, connector_id);
    let ids = in_pages!(sms.get_servers(), server_list, server_id);
    assert_eq!((known.len(), ids.len()), (2, 3));

    let first = repeating_job(&sms, &ids[0], now_plus(0)).await;
    let second = one_time_job(&sms, &ids[1], now_plus(7 * DAY)).await;
    let found = job(&sms, &first).await;
    let settings = (found.license_type(), found.role_name(), found.number_of_recent_amis_to_keep(), found.encrypted());
    assert_eq!(settings, (Some(&LicenseType::Byol), Some("mover"), Some(9), Some(true)));
    let jobs = in_pages!(sms.get_replication_jobs(), replication_job_list, replication_job_id);
    assert_eq!(jobs, [second.clone(), first.clone()], "newest first");

    let run = completed(&sms, &first, None).await;
    let extra = run_on_demand(&sms, &first).await;
    assert_eq!(extra.description(), Some("extra"));
    assert_ne!(extra.ami_id().expect("an image"), run.ami_id().expect("an image"));
    let found = job(&sms, &first).await;
    assert_eq!((found.state(), found.latest_ami_id()), (Some(&JobState::Active), extra.ami_id()));
    let runs =
        in_pages!(sms.get_replication_runs().replication_job_id(&first), replication_run_list, replication_run_id);
    assert_eq!(runs.len(), 3, "the scheduled one, the extra one, the first: {runs:?}");
    assert_eq!(&runs[1..], [extra, run].map(|run| run.replication_run_id().expect("an id").to_owned()));

    let update = sms.update_replication_job().replication_job_id(&first).frequency(6).description("changed");
    update.number_of_recent_amis_to_keep(3).send().await.expect("UpdateReplicationJob");
    let found = job(&sms, &first).await;
    let settings = (found.frequency(), found.description(), found.number_of_recent_amis_to_keep());
    assert_eq!(settings, (Some(6), Some("changed"), Some(3)));
    assert_eq!((found.license_type(), found.role_name()), (Some(&LicenseType::Byol), Some("mover")), "the rest stays");

    for id in [&first, &second] {
        sms.delete_replication_job().replication_job_id(id).send().await.expect("DeleteReplicationJob");
        job_in(&sms, id, JobState::Deleted).await;
    }
    sms.delete_server_catalog().send().await.expect("DeleteServerCatalog");
    let catalog = sms.get_servers().send().await.expect("GetServers");
    assert_eq!(catalog.server_catalog_status(), Some(&ServerCatalogStatus::Deleted));
    assert!(catalog.server_list().is_empty(), "{catalog:?}");
    sms.import_server_catalog().send().await.expect("ImportServerCatalog");
    let imported = async || {
        let catalog = sms.get_servers().send().await.expect("GetServers");
        (catalog.server_catalog_status() == Some(&ServerCatalogStatus::Available)).then_some(())
    };
    wait("the catalog", imported).await;
    assert_eq!(servers(&sms).await, ids, "the same ids again");

    sms.disassociate_connector().connector_id(&known[0]).send().await.expect("DisassociateConnector");
    assert_eq!(connectors(&sms).await, known[1..]);
    scene.replies_are_as_the_model_says(&WORKS);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_has_its_type_in_the_rust_sdk() {
    let scene = scene();
    let Scene { service, relay, folder, .. } = &scene;
    let sms = sdk(service, &relay.endpoint);
    let ids = servers(&sms).await;
    let nobody = "sms-job-00000000";

    let create = || sms.create_replication_job().server_id(&ids[0]).seed_replication_time(now_plus(0));
    let late = create().seed_replication_time(now_plus(31 * DAY)).frequency(12).send().await;
    assert!(refused(late).is_invalid_parameter_exception());
    assert!(refused(create().send().await).is_missing_required_parameter_exception());
    let foreign = sms.get_replication_jobs().next_token("elsewhere").send().await;
    assert!(refused(foreign).is_invalid_parameter_exception());
    let unknown = sms.update_replication_job().replication_job_id(nobody).frequency(1).send().await;
    assert!(refused(unknown).is_replication_job_not_found_exception());
    let unknown = sms.delete_replication_job().replication_job_id(nobody).send().await;
    assert!(refused(unknown).is_replication_job_not_found_exception());
    let unknown = sms.get_replication_runs().replication_job_id(nobody).send().await;
    assert!(refused(unknown).is_invalid_parameter_exception());
    let unknown = sms.disassociate_connector().connector_id("c-00000000000000000").send().await;
    assert!(refused(unknown).is_invalid_parameter_exception());

    // A machine without a disk is in the catalog, but nothing of it can be replicated.
    let diskless = Daemon::start(&subfolder(folder.path(), "diskless"), &[]);
    service.associate(&diskless.qmp_socket());
    let all = servers(&sms).await;
    let bare: Vec<_> = all.iter().filter(|id| !ids.contains(id)).collect();
    assert_eq!(bare.len(), 1, "{all:?}");
    let impossible = create().server_id(bare[0]).frequency(12).send().await;
    assert!(refused(impossible).is_server_cannot_be_replicated_exception());

    let first = repeating_job(&sms, &ids[0], now_plus(0)).await;
    assert!(refused(create().run_once(true).send().await).is_replication_job_already_exists_exception());
    completed(&sms, &first, None).await;
    let start = || sms.start_on_demand_replication_run().replication_job_id(&first).send();
    for _ in 0..2 {
        run_on_demand(&sms, &first).await;
    }
    assert!(refused(start().await).is_replication_run_limit_exceeded_exception());

    let error = refused(sms.create_app().name("shop").send().await);
    assert_eq!(error.code(), Some("UnknownOperationException"), "{error:?}");
    assert!(!error.is_invalid_parameter_exception() && !error.is_operation_not_permitted_exception(), "{error:?}");
    let error = refused(sms.launch_app().app_id("app-0123456789abcdef0").send().await);
    assert_eq!(error.code(), Some("UnknownOperationException"), "{error:?}");

    for connector in connectors(&sms).await {
        sms.disassociate_connector().connector_id(connector).send().await.expect("DisassociateConnector");
    }
    let import = sms.import_server_catalog().send().await;
    assert!(refused(import).is_no_connectors_available_exception());
    scene.replies_are_as_the_model_says(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_has_ended_is_not_changed_any_more() {
    let scene = scene();
    let Scene { service, relay, .. } = &scene;
    let sms = sdk(service, &relay.endpoint);
    let ids = servers(&sms).await;

    let done = one_time_job(&sms, &ids[0], now_plus(0)).await;
    job_in(&sms, &done, JobState::Completed).await;

    let deleted = repeating_job(&sms, &ids[1], now_plus(7 * DAY)).await;
    sms.delete_replication_job().replication_job_id(&deleted).send().await.expect("DeleteReplicationJob");
    job_in(&sms, &deleted, JobState::Deleted).await;

    // Its only run is brought forward to a time at which no connector leads to its server any more.
    let failed = one_time_job(&sms, &ids[2], now_plus(7 * DAY)).await;
    for connector in connectors(&sms).await {
        sms.disassociate_connector().connector_id(connector).send().await.expect("DisassociateConnector");
    }
    let update = sms.update_replication_job().replication_job_id(&failed);
    update.next_replication_run_start_time(now_plus(0)).send().await.expect("UpdateReplicationJob");
    let found = job_in(&sms, &failed, JobState::Failed).await;
    assert!(found.status_message().is_some_and(|said| said.contains("ConnectorGone")), "{found:?}");

    for id in [&done, &deleted, &failed] {
        let before = job(&sms, id).await;
        let update = sms.update_replication_job().replication_job_id(id).description("too late").send().await;
        assert!(refused(update).is_operation_not_permitted_exception());
        let start = sms.start_on_demand_replication_run().replication_job_id(id).send().await;
        assert!(refused(start).is_operation_not_permitted_exception());
        assert_eq!(job(&sms, id).await, before, "nothing has changed");
    }
    scene.replies_are_as_the_model_says(&[]);
}
