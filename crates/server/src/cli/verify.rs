//! `godwit images verify` with the store alone: no service, no database, nothing written.

use crate::cli::error::CliError;
use crate::cli::output::Tone;
use crate::cli::progress::{Progress, Step};
use crate::cli::{human, output};
use crate::serve::folder::{FolderError, master_of};
use crate::serve::master::MasterSource;
use clap::Args;
use godwit_blocks::crypt::MasterKey;
use godwit_blocks::image::{self, ImageManifest, ImageVolume};
use godwit_blocks::snapshot;
use godwit_blocks::store::{BlockStore, FolderStore};
use godwit_blocks::verify::{Scope, verify};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::ImageId;
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio_util::sync::CancellationToken;

/// Damaged ranges of a volume that are listed for people; `--json` has all.
const SHOWN_DAMAGE: usize = 10;

/// For `--help`.
pub const EXAMPLES: &str = "\
Every block is read from the store, decrypted, decompressed, and compared with
the digest that was taken when the source was read. What that proves:
docs/verification.md. Exit status 1 if anything is damaged.

With --data or --store the store itself is read: no service and no access keys
are needed, and nothing is written. A service may run on it meanwhile.

Examples:
  godwit images verify ami-0123456789abcdef0          by the service
  godwit images verify --all --data /var/lib/godwit   without it
  godwit images verify --all --store /mnt/objects --master-key file:/etc/godwit/master.key";

/// What to verify, and where it is.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Id of the image
    #[arg(required_unless_present = "all")]
    pub image: Option<String>,
    /// Every image of the store; needs --data or --store
    #[arg(long, conflicts_with = "image", requires = "place")]
    pub all: bool,
    /// Data folder of a service, which need not run
    #[arg(long, value_name = "DIR", group = "place")]
    pub data: Option<PathBuf>,
    /// The folder of objects alone; needs --master-key
    #[arg(long, value_name = "DIR", group = "place", requires = "master_key")]
    pub store: Option<PathBuf>,
    /// Where the master key is [default: DIR/master.key]
    #[arg(long, value_name = "file:PATH|env:NAME", requires = "place")]
    pub master_key: Option<MasterSource>,
}

impl VerifyArgs {
    /// Whether the store itself is to be read.
    pub fn is_offline(&self) -> bool {
        self.data.is_some() || self.store.is_some()
    }
}

/// What was found out about an image.
#[derive(Serialize, Debug)]
struct Report {
    image_id: String,
    server_name: Option<String>,
    state: State,
    bytes_verified: u64,
    volumes: Vec<VolumeReport>,
    message: Option<String>,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum State {
    Verified,
    Damaged,
    Failed,
}

#[derive(Serialize, Debug)]
struct VolumeReport {
    volume: usize,
    device: String,
    snapshot_id: String,
    size: Option<u64>,
    /// As recomputed.
    root_digest: Option<String>,
    bytes_verified: u64,
    damaged: Vec<Extent>,
    message: Option<String>,
    /// Why it could not be verified, if that says nothing about what is stored.
    #[serde(skip)]
    failure: Option<Failure>,
}

/// Verifies one image, or all, with the store alone.
pub async fn verify_offline(args: &VerifyArgs, json: bool) -> Result<(), CliError> {
    let store = open(args).await?;
    let images = match &args.image {
        Some(id) => vec![id.parse::<ImageId>().map_err(|error| CliError::usage(error.to_string()))?],
        None => {
            let mut all = image::list(&store).await.map_err(failed)?;
            all.sort();
            all
        }
    };
    let mut reports = Vec::new();
    for id in &images {
        let Some(report) = one_image(&store, id).await? else { continue };
        if !json {
            tell(&report)?;
        }
        reports.push(report);
    }
    if reports.is_empty() {
        return match &args.image {
            Some(id) => Err(CliError::failed(format!("there is no image {id} in the store"))
                .next("see which there are: --all verifies each")),
            None if json => output::json(&reports),
            None => output::line("There are no images in the store."),
        };
    }
    if json {
        output::json(&reports)?;
    }
    let with = |state| reports.iter().filter(|report| report.state == state).count();
    match (with(State::Damaged), with(State::Failed)) {
        (0, 0) => Ok(()),
        (0, failed) => Err(CliError::failed(format!("{} could not be verified", human::count(failed, "image")))
            .next("see the causes above, and try again")),
        (damaged, _) => Err(CliError::failed(format!("{} damaged", are(damaged)))
            .next("check the store's disk; the next run of their job reads from the source again what it would share")),
    }
}

fn are(n: usize) -> String {
    format!("{} {}", human::count(n, "image"), if n == 1 { "is" } else { "are" })
}

/// Opens the store to look at it. The data folder's lock is left alone.
async fn open(args: &VerifyArgs) -> Result<BlockStore, CliError> {
    let source = args.master_key.clone().unwrap_or_default();
    let (objects, folder) = match (&args.data, &args.store) {
        (Some(data), _) => (data.join("objects"), data.as_path()),
        (None, store) => (store.clone().unwrap_or_default(), Path::new("")),
    };
    if !objects.is_dir() {
        return Err(CliError::failed(format!("there is no store in '{}'", objects.display()))
            .next("give --data the folder that 'godwit serve --data' was given, or --store its folder of objects"));
    }
    let master = master_of(folder, &source).map_err(anyhow::Error::from)?;
    let files = FolderStore::open(&objects, 0)
        .map_err(|reason| anyhow::Error::from(FolderError::Io { verb: "open", path: objects.clone(), reason }))?;
    BlockStore::open_to_read(Arc::new(files), &MasterKey::new(*master.expose())).await.map_err(failed)
}

/// What is found out about an image; `None` if there is none, or none any more.
async fn one_image(store: &BlockStore, id: &ImageId) -> Result<Option<Report>, CliError> {
    let manifest = match image::load(store, id).await {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Ok(None),
        Err(failure) => return Ok(Some(unreadable(id, failure))),
    };
    let progress = Mutex::new(Progress::new());
    let mut volumes = Vec::new();
    for (n, volume) in manifest.volumes.iter().enumerate() {
        volumes.push(one_volume(store, id, n, volume, &progress).await);
    }
    progress.into_inner().unwrap_or_else(PoisonError::into_inner).end();
    let report = report(&manifest, volumes);
    // A service may have deleted it meanwhile, and what it needed.
    let is_gone = report.state != State::Verified && image::load(store, id).await.is_ok_and(|found| found.is_none());
    Ok((!is_gone).then_some(report))
}

fn unreadable(id: &ImageId, failure: Failure) -> Report {
    let state = if failure.code == Code::StoreCorrupt { State::Damaged } else { State::Failed };
    let message = Some(failure.evidence);
    Report { image_id: id.to_string(), server_name: None, state, bytes_verified: 0, volumes: vec![], message }
}

fn report(manifest: &ImageManifest, volumes: Vec<VolumeReport>) -> Report {
    let state = if volumes.iter().any(|volume| volume.failure.is_none() && volume.message.is_some()) {
        State::Damaged
    } else if volumes.iter().any(|volume| volume.failure.is_some()) {
        State::Failed
    } else {
        State::Verified
    };
    let first =
        volumes.iter().find_map(|volume| volume.message.as_ref().map(|why| format!("{}: {why}", volume.device)));
    Report {
        image_id: manifest.image.to_string(),
        server_name: Some(manifest.server_name.clone()),
        state,
        bytes_verified: volumes.iter().map(|volume| volume.bytes_verified).sum(),
        volumes,
        message: first,
    }
}

async fn one_volume(
    store: &BlockStore,
    image: &ImageId,
    n: usize,
    volume: &ImageVolume,
    progress: &Mutex<Progress>,
) -> VolumeReport {
    let show = |done: u64, total: u64| {
        let percent = (total > 0).then(|| done as f64 / total as f64 * 100.0);
        let subject = format!("{image} {}", volume.device);
        let step = Step { percent, subject, ..Step::named("Verifying") };
        progress.lock().unwrap_or_else(PoisonError::into_inner).show(&step);
    };
    let mut report = VolumeReport {
        volume: n,
        device: volume.device.clone(),
        snapshot_id: volume.snapshot.to_string(),
        size: None,
        root_digest: None,
        bytes_verified: 0,
        damaged: vec![],
        message: None,
        failure: None,
    };
    if let Ok(Some(manifest)) = snapshot::load(store, &volume.snapshot).await {
        report.size = Some(manifest.size);
    }
    match verify(store, &volume.snapshot, Scope::Everything, &show, &CancellationToken::new()).await {
        Ok(found) => {
            report.root_digest = Some(found.root_digest.to_string());
            report.bytes_verified = found.bytes_verified;
            report.damaged = found.damaged;
            report.message = found.first_problem;
        }
        // Without its manifest, nothing of the volume can be read.
        Err(failure) => {
            report.message = Some(failure.evidence.clone());
            report.failure = Some(failure).filter(|failure| failure.code != Code::StoreCorrupt);
        }
    }
    report
}

fn tell(report: &Report) -> Result<(), CliError> {
    let id = &report.image_id;
    let of = report.server_name.as_deref().map(|name| format!(" of {name}")).unwrap_or_default();
    let why = report.message.as_deref().unwrap_or_default();
    match report.state {
        State::Verified => output::line(format!(
            "{id}{of} is {}: {} re-read, every block is what was read from the source",
            output::paint("verified", Tone::Good),
            human::size(report.bytes_verified)
        ))?,
        State::Damaged => output::line(format!("{id}{of} is {}: {why}", output::paint("damaged", Tone::Bad)))?,
        State::Failed => {
            output::line(format!("{id}{of} could {}: {why}", output::paint("not be verified", Tone::Bad)))?;
        }
    }
    for volume in &report.volumes {
        let size = volume.size.map_or_else(|| "size unknown".to_owned(), human::size);
        let digest = volume.root_digest.as_deref().unwrap_or("none");
        output::line(format!("  {}  {size}  root digest {digest}", volume.device))?;
        for extent in volume.damaged.iter().take(SHOWN_DAMAGE) {
            output::line(format!("    damaged: {} bytes at {}", extent.length, extent.offset))?;
        }
        if volume.damaged.len() > SHOWN_DAMAGE {
            output::line(format!("    … and {} more; --json lists them", volume.damaged.len() - SHOWN_DAMAGE))?;
        }
    }
    Ok(())
}

fn failed(failure: Failure) -> CliError {
    CliError::failed(failure.evidence.clone()).next(failure.code.next_step())
}
