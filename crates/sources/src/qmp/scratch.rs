//! Scratch files: where the old content of what the guest overwrites is kept while a point in time is read.
//!
//! QEMU creates and opens them itself, so that it may write there whatever user it runs as.
//!
//! # Consistency
//! A scratch file is of use only to the QEMU process that filled it; nobody ever opens one again.
//! # Retries
//! Each point in time has files of its own; what an earlier attempt left is removed first.
//! # Cancellation
//! A call that is dropped leaves a job, nodes or a file with our names: the next attempt or the sweep removes them.
//! # Completion
//! When [`create`] returns, the node can be the target of a backup job.
//! # Crash consistency
//! Files of runs that nobody keeps are found by name in the folder and removed.

use crate::qmp::client::QmpError;
use crate::qmp::names::{Mark, NodeKind, Owner};
use crate::qmp::session::{POLL, Session};
use godwit_model::id::RunId;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;

/// Until QEMU has created a file of a few hundred kilobytes.
const CREATE_LIMIT: Duration = Duration::from_secs(30);

/// The scratch file of a point in time's volume.
pub(super) fn file(folder: &Path, owner: &Owner, mark: &Mark) -> PathBuf {
    folder.join(format!("{}.qcow2", owner.mark(mark)))
}

/// Creates the file of `mark` and the nodes over it; `backing` is the disk that is read where the file holds nothing.
pub(super) async fn create(
    session: &mut Session,
    owner: &Owner,
    mark: &Mark,
    path: &Path,
    backing: &str,
    size: u64,
) -> Result<(), QmpError> {
    let job = owner.create_job(&mark.run, mark.index);
    let (file, scratch) =
        (owner.node(&mark.run, mark.index, NodeKind::File), owner.node(&mark.run, mark.index, NodeKind::Scratch));
    run_create(session, &job, json!({ "driver": "file", "filename": path, "size": 0 })).await?;
    session.execute("blockdev-add", json!({ "driver": "file", "node-name": file, "filename": path })).await?;
    // Not before: until the node is there, the job is what tells of the file.
    session.execute("job-dismiss", json!({ "id": job })).await?;
    run_create(session, &job, json!({ "driver": "qcow2", "file": file, "size": size })).await?;
    session.execute("job-dismiss", json!({ "id": job })).await?;
    let node = json!({
        "driver": "qcow2", "node-name": scratch, "file": file, "backing": backing,
        // A guest that discards must free nothing here, and one that writes zeros may.
        "discard": "ignore", "detect-zeroes": "off",
    });
    session.execute("blockdev-add", node).await.map(|_| ())
}

/// Removes the files of runs that `unwanted` says yes to. Gives their names.
pub(super) fn remove_files(folder: &Path, owner: &Owner, unwanted: &dyn Fn(&RunId) -> bool) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut removed = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(mark) = name.strip_suffix(".qcow2") else { continue };
        if !owner.parse_run(mark).is_some_and(|run| unwanted(&run)) {
            continue;
        }
        match std::fs::remove_file(entry.path()) {
            Ok(()) => removed.push(name),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, file = %entry.path().display(), "cannot remove a scratch file"),
        }
    }
    removed
}

/// Runs a job that creates an image and leaves it concluded.
async fn run_create(session: &mut Session, job: &str, options: Value) -> Result<(), QmpError> {
    session.execute("blockdev-create", json!({ "job-id": job, "options": options })).await?;
    let concluded = async {
        loop {
            let jobs = session.jobs().await?;
            let found = jobs.into_iter().find(|other| other.id == job);
            match found {
                Some(done) if done.status == "concluded" => return Ok(done.error),
                Some(_) => tokio::time::sleep(POLL).await,
                None => return Ok(Some("the job vanished".into())),
            }
        }
    };
    let error = match timeout(CREATE_LIMIT, concluded).await {
        Ok(end) => end?,
        Err(_) => Some(format!("not done within {} s", CREATE_LIMIT.as_secs())),
    };
    let Some(desc) = error else { return Ok(()) };
    // Its error is what matters.
    let _ = session.execute("job-dismiss", json!({ "id": job })).await;
    Err(QmpError::Refused { command: "blockdev-create of a scratch file".into(), class: "GenericError".into(), desc })
}
