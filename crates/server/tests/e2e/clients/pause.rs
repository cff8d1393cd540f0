//! A job whose source fails is paused and says so; whoever mends the source puts it back to work, with any AWS client
//! or with our own operation.

use super::rust_sdk::{job, job_in, now_plus, sdk, wait};
use super::{replies_are_as_the_model_says, subfolder};
use crate::daemon::Daemon;
use crate::notifications::Receivers;
use crate::relay::Relay;
use crate::service::Service;
use crate::testbed;
use aws_sdk_sms::Client;
use aws_sdk_sms::types::ReplicationJobState as JobState;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// Asserts that a message holds every part.
fn holds(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
}

/// A machine, and a service with a recipient, that clients reach through a relay.
struct Scene {
    _folder: tempfile::TempDir,
    receivers: Receivers,
    machine: PathBuf,
    daemon: Option<Daemon>,
    service: Service,
    relay: Relay,
    sms: Client,
}

impl Scene {
    fn new() -> Scene {
        let folder = testbed::folder();
        let receivers = Receivers::start(folder.path());
        let machine = subfolder(folder.path(), "machine");
        let daemon = Daemon::start(&machine, &[8 * MIB]);
        daemon.write(0, &[(0, 1, MIB)]);
        let config = receivers.settings(folder.path());
        let service = Service::start_with(&folder.path().join("data"), &["--config", &config]);
        service.associate(&daemon.qmp_socket());
        let relay = Relay::start(&service.endpoint, folder.path());
        let sms = sdk(&service, &relay.endpoint);
        Scene { _folder: folder, receivers, machine, daemon: Some(daemon), service, relay, sms }
    }

    /// A machine that came back without its disk is no passing trouble: a run fails at once.
    fn lose_the_disk(&mut self) {
        self.daemon.take().expect("it runs").kill();
        self.daemon = Some(Daemon::over(&self.machine, 0));
    }

    fn mend(&mut self) {
        self.daemon.take().expect("it runs").stop();
        self.daemon = Some(Daemon::over(&self.machine, 1));
    }

    /// Runs `godwit ARGS` through the relay and insists on success.
    fn cli(&self, args: &[&str]) -> String {
        testbed::text(&format!("godwit {args:?}"), self.service.command_at(&self.relay.endpoint, args))
    }

    fn job(&self, id: &str) -> Value {
        self.service.json(&["jobs", "show", id])
    }

    /// Brings the next run forward, which fails. Gives when it was due: the grid begins there.
    async fn is_paused_again(&mut self, id: &str) -> f64 {
        self.lose_the_disk();
        self.cli(&["jobs", "update", id, "--start", "now"]);
        let paused = job_in(&self.sms, id, JobState::PausedOnFailure).await;
        assert_eq!(paused.next_replication_run_start_time(), None, "nothing is listed ahead");
        let failed = self.service.show(&self.service.newest_run(id));
        assert_eq!(failed["state"], "FAILED", "{failed:#}");
        self.mend();
        due(&failed)
    }

    /// When the next run of a job is due. The service lists it by itself, soon after a change.
    fn next_due(&self, id: &str) -> f64 {
        testbed::wait("a run to be listed ahead", Duration::from_secs(30), || {
            self.job(id)["next_replication_run_start_time"].as_f64()
        })
    }

    /// The run that follows those that were there, once it is completed.
    fn next_completed(&self, id: &str, runs: usize) -> Value {
        let run = testbed::wait("the next run to begin", Duration::from_secs(90), || {
            let all = self.service.runs(id);
            (all.len() > runs).then(|| all[0]["run_id"].as_str().expect("an id").to_owned())
        });
        self.service.completed(&run)
    }
}

/// When a run was due.
fn due(run: &Value) -> f64 {
    run["scheduled_start_time"].as_f64().unwrap_or_else(|| panic!("no time in {run:#}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_paused_on_failure_is_resumed_by_its_next_start_time() {
    let mut scene = Scene::new();
    let server = scene.service.only_server();
    scene.lose_the_disk();
    let Scene { service, sms, receivers, .. } = &scene;

    // Minutes, and how many failures pause it, are beyond the seed service's API: our own command line has them.
    let hook = receivers.hook();
    let create = ["jobs", "create", "--server", &server, "--every", "1m", "--pause-after", "1", "--notify", &hook];
    let created = service.json(&create);
    let id = created["job_id"].as_str().expect("an id");
    let paused = job_in(sms, id, JobState::PausedOnFailure).await;
    assert_eq!(paused.next_replication_run_start_time(), None, "nothing is listed ahead");
    assert_eq!(paused.frequency(), None, "a minute is no number of hours");
    holds(paused.status_message().expect("it says why"), &["VolumeUnsupported", "Seen: the server", "Next step: "]);
    let start = sms.start_on_demand_replication_run().replication_job_id(id).send().await;
    let refusal = start.expect_err("a paused job starts no run").into_service_error();
    assert!(refusal.is_operation_not_permitted_exception(), "{refusal:?}");

    // The command line tells the same, in a table and as JSON.
    let runs = service.runs(id);
    assert_eq!(runs.iter().map(|run| &run["state"]).collect::<Vec<_>>(), ["FAILED"]);
    let run = runs[0]["run_id"].as_str().expect("an id");
    let failure = &service.show(run)["failure"];
    assert_eq!(failure["code"], "VolumeUnsupported", "{failure}");
    for part in ["cause", "evidence", "next_step"] {
        assert!(failure[part].as_str().is_some_and(|said| said.len() > 10), "{part} of {failure}");
    }
    let evidence = failure["evidence"].as_str().expect("a text");
    let next_step = failure["next_step"].as_str().expect("a text");
    holds(&flat(&service.cli(&["runs", "show", run])), &["VolumeUnsupported", "cause", evidence, next_step]);
    holds(&flat(&service.cli(&["jobs", "show", id])), &["paused on failure", "VolumeUnsupported", evidence, next_step]);

    let events = receivers.wait("event", 2);
    let told = events.iter().map(|event| &event["body"]["detail"]).find(|told| told["state"] == "PausedOnFailure");
    let told = told.unwrap_or_else(|| panic!("no event says that it is paused: {events:#?}"));
    assert_eq!(told["replication-job-id"], id, "{told:#}");

    scene.mend();
    let Scene { service, sms, .. } = &scene;
    let update = sms.update_replication_job().replication_job_id(id);
    update.next_replication_run_start_time(now_plus(0)).send().await.expect("UpdateReplicationJob");
    assert_eq!(job(sms, id).await.state(), Some(&JobState::Active));
    let resumed = wait("an image", async || Some(job(sms, id).await).filter(|job| job.latest_ami_id().is_some())).await;
    // The image is there while the run still cleans up.
    service.completed(&service.newest_run(id));
    assert_eq!((resumed.state(), resumed.status_message()), (Some(&JobState::Active), None), "{resumed:?}");
    let called = ["GetReplicationJobs", "UpdateReplicationJob"];
    replies_are_as_the_model_says(service, &scene.relay, &called);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_paused_on_failure_is_resumed_by_the_command_line_on_its_grid_or_from_a_time_on() {
    let mut scene = Scene::new();
    let server = scene.service.only_server();
    let create = ["jobs", "create", "--server", &server, "--every", "12h", "--pause-after", "1"];
    let created = scene.service.json(&create);
    let id = created["job_id"].as_str().expect("an id");
    scene.service.completed(&scene.service.newest_run(id));

    // On its grid, which is made so narrow meanwhile that its next point comes.
    let start = scene.is_paused_again(id).await;
    scene.cli(&["jobs", "update", id, "--every", "1m"]);
    assert_eq!(scene.job(id)["state"], "PAUSED_ON_FAILURE", "a new interval does not resume it");
    let runs = scene.service.runs(id).len();
    assert!(scene.cli(&["jobs", "resume", id]).contains("at work again"));
    let resumed = scene.job(id);
    assert_eq!(resumed["state"], "ACTIVE", "{resumed:#}");
    let next = scene.next_due(id);
    let points = (next - start) / 60.0;
    assert!(points >= 0.99 && (points - points.round()).abs() < 1e-6, "{points} intervals after {start} is {next}");
    let run = scene.next_completed(id, runs);
    assert_eq!(due(&run), next, "{run:#}");
    assert_eq!(job(&scene.sms, id).await.state(), Some(&JobState::Active));

    // From now on: hours before the next point of its grid.
    scene.cli(&["jobs", "update", id, "--every", "12h"]);
    let start = scene.is_paused_again(id).await;
    let runs = scene.service.runs(id).len();
    scene.cli(&["jobs", "resume", id, "--start", "now"]);
    assert_eq!(job(&scene.sms, id).await.state(), Some(&JobState::Active));
    let run = scene.next_completed(id, runs);
    assert!(due(&run) > start, "{run:#}");
    assert_eq!(scene.next_due(id), due(&run) + 12.0 * 3600.0, "the grid begins with this run");

    // Only what is paused can be resumed.
    let refused = scene.service.command_at(&scene.relay.endpoint, &["jobs", "resume", id]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && said.contains("only a job that is paused can be resumed"), "{said}");
    let called = ["GetReplicationJobs", "Godwit_V1.ResumeReplicationJob"];
    replies_are_as_the_model_says(&scene.service, &scene.relay, &called);
}

/// The text without the line breaks of a table.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
