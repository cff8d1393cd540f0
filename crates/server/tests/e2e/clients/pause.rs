//! A job whose source fails is paused; whoever mends the source puts it back to work with any AWS client.

use super::rust_sdk::{job, job_in, now_plus, sdk, wait};
use super::subfolder;
use crate::daemon::Daemon;
use crate::service::Service;
use crate::testbed;
use aws_sdk_sms::types::ReplicationJobState as JobState;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Asserts that a message holds every part.
fn holds(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "'{part}' is missing in: {message}");
    }
}

/// A machine that came back without its disk is no passing trouble: the run fails at once.
fn loses_its_disk(daemon: Daemon, folder: &Path) -> Daemon {
    daemon.kill();
    Daemon::over(folder, 0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_paused_on_failure_is_resumed_by_its_next_start_time() {
    let folder = testbed::folder();
    let machine = subfolder(folder.path(), "machine");
    let daemon = Daemon::start(&machine, &[8 * MIB]);
    daemon.write(0, &[(0, 1, MIB)]);
    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());
    let server = service.only_server();
    let daemon = loses_its_disk(daemon, &machine);

    // Minutes, and how many failures pause it, are beyond the seed service's API: our own command line has them.
    let created = service.json(&["jobs", "create", "--server", &server, "--every", "1m", "--pause-after", "1"]);
    let id = created["job_id"].as_str().expect("an id");
    let sms = sdk(&service, &service.endpoint);
    let paused = job_in(&sms, id, JobState::PausedOnFailure).await;
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

    drop(daemon);
    let _mended = Daemon::over(&machine, 1);
    let update = sms.update_replication_job().replication_job_id(id);
    update.next_replication_run_start_time(now_plus(0)).send().await.expect("UpdateReplicationJob");
    assert_eq!(job(&sms, id).await.state(), Some(&JobState::Active));
    let resumed =
        wait("an image", async || Some(job(&sms, id).await).filter(|job| job.latest_ami_id().is_some())).await;
    // The image is there while the run still cleans up.
    service.completed(&service.newest_run(id));
    assert_eq!((resumed.state(), resumed.status_message()), (Some(&JobState::Active), None), "{resumed:?}");
}

/// The text without the line breaks of a table.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
