//! Scratch files: where the old content of what the guest overwrites is kept while a point in time is read.
//!
//! QEMU creates and opens them itself, so that it may write there whatever user it runs as. A scratch file that cannot
//! grow makes the guest's own writes fail: no point in time is taken where little room is left, and [`guard`] ends one
//! before the room is used up.
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

use crate::qmp::clean;
use crate::qmp::client::QmpError;
use crate::qmp::codec::path_text;
use crate::qmp::names::{Mark, NodeKind, Owner};
use crate::qmp::session::{POLL, Session};
use crate::qmp::source::{QmpOptions, QmpSource};
use godwit_blocks::source::AskClaims;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::RunId;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::timeout;

/// Until QEMU has created a file of a few hundred kilobytes.
const CREATE_LIMIT: Duration = Duration::from_secs(30);
/// How often the room is looked at. With the usual reserve, a guest that overwrites a gibibyte each second is noticed
/// before the room is used up.
const LOOK: Duration = Duration::from_millis(200);
/// Between attempts to end a point in time: short, as the guest's writes are at stake.
const PAUSE: Duration = Duration::from_secs(1);
/// A new point in time wants room for this part of the disks, as a guest may overwrite it while they are read …
const PART_OF_DISKS: u64 = 16;
/// … but no more than this: what large disks lose in a run does not grow with them for ever.
const MOST_WANTED: u64 = 16 << 30;

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
) -> Result<(), Failure> {
    let path = path_text(path)?;
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
    session.execute("blockdev-add", node).await?;
    Ok(())
}

/// Refuses a folder that QEMU cannot be told of, or without room for a new point in time of `disks` bytes.
pub(super) async fn check_folder(options: &QmpOptions, disks: u64) -> Result<(), Failure> {
    let folder = &options.scratch_dir;
    path_text(folder)?;
    let free = free_space(folder).await?;
    let wanted = (disks / PART_OF_DISKS).min(MOST_WANTED).max(options.scratch_reserve.saturating_mul(2));
    if free >= wanted {
        return Ok(());
    }
    let what = format!("{free} bytes are free in the scratch folder {}, {wanted} are wanted", folder.display());
    Err(Failure::new(Code::SourceRefused, what))
}

/// Looks after the room for the scratch files of a run's point in time: when less than the reserve is left, ends the
/// point and tells why. Otherwise it does not return.
pub(super) async fn guard(source: &QmpSource, vm_id: &str, run: &RunId) -> Failure {
    let QmpOptions { scratch_dir, scratch_reserve, .. } = source.options();
    loop {
        tokio::time::sleep(LOOK).await;
        // A folder that cannot be looked at is no reason to end what may be well.
        let Ok(free) = free_space(scratch_dir).await else { continue };
        if free >= *scratch_reserve {
            continue;
        }
        match end_point(source, vm_id, run).await {
            Ok(()) => {
                let what = format!(
                    "only {free} bytes were left in the scratch folder {}: the point in time was ended so that the \
                     guest's writes do not fail; choose a folder with more room by --scratch-dir",
                    scratch_dir.display()
                );
                return Failure::new(Code::PointInTimeLost, what);
            }
            // Perhaps another program holds QMP: it is tried until it works.
            Err(failure) => {
                tracing::warn!(vm_id, %run, %failure, "cannot end a point in time whose scratch room ends");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn end_point(source: &QmpSource, vm_id: &str, run: &RunId) -> Result<(), Failure> {
    let QmpOptions { owner, scratch_dir, .. } = source.options();
    if let Some(mut session) = source.find(vm_id).await? {
        clean::dismantle(&mut session, owner, &|other| other == run).await?;
    }
    let ended = run.clone();
    remove_files(scratch_dir, owner, move |run| *run == ended).await;
    Ok(())
}

/// Bytes that may be written in a folder.
async fn free_space(folder: &Path) -> Result<u64, Failure> {
    let place = folder.to_owned();
    let state = tokio::task::spawn_blocking(move || rustix::fs::statvfs(&place)).await;
    let refused = |error: &dyn std::fmt::Display| {
        Failure::new(Code::SourceRefused, format!("the scratch folder {} cannot be used: {error}", folder.display()))
    };
    let state = state.map_err(|error| refused(&error))?.map_err(|error| refused(&error))?;
    Ok(state.f_bavail.saturating_mul(state.f_frsize))
}

/// Removes the files of runs that `unwanted` says yes to. Gives their names.
pub(super) async fn remove_files(folder: &Path, owner: &Owner, unwanted: impl Fn(&RunId) -> bool) -> Vec<String> {
    let files = files(folder, owner).await;
    unlink(files.into_iter().filter(|(run, _)| unwanted(run)).map(|(_, file)| file).collect()).await
}

/// Removes the files of runs that are not at work. Gives their names.
pub(super) async fn sweep(options: &QmpOptions, claims: AskClaims<'_>) -> Result<Vec<String>, Failure> {
    // What a run creates that begins after this look is not in it.
    let files = files(&options.scratch_dir, &options.owner).await;
    let claims = claims().await?;
    Ok(unlink(files.into_iter().filter(|(run, _)| !claims.all_of(run)).map(|(_, file)| file).collect()).await)
}

/// Our scratch files, with the run that each is of.
async fn files(folder: &Path, owner: &Owner) -> Vec<(RunId, PathBuf)> {
    let (folder, owner) = (folder.to_owned(), owner.clone());
    let look = move || {
        let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
        let run = |name: &str| owner.parse_run(name.strip_suffix(".qcow2")?);
        entries.flatten().filter_map(|entry| Some((run(entry.file_name().to_str()?)?, entry.path()))).collect()
    };
    tokio::task::spawn_blocking(look).await.unwrap_or_default()
}

async fn unlink(files: Vec<PathBuf>) -> Vec<String> {
    let work = move || {
        let mut removed = Vec::new();
        for file in files {
            match std::fs::remove_file(&file) {
                Ok(()) => removed.extend(file.file_name().map(|name| name.to_string_lossy().into_owned())),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => tracing::warn!(%error, file = %file.display(), "cannot remove a scratch file"),
            }
        }
        removed
    };
    // Unlinking a file of many gigabytes takes its time.
    tokio::task::spawn_blocking(work).await.unwrap_or_default()
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
