//! `godwit images`.

use crate::cli::compare::{self, CompareArgs};
use crate::cli::error::CliError;
use crate::cli::export::{self, ExportArgs};
use crate::cli::nbd::{self, ServeImageArgs};
use crate::cli::output::Tone;
use crate::cli::progress::{Progress, Step};
use crate::cli::table::{Field, facts, table};
use crate::cli::verify::{self, VerifyArgs};
use crate::cli::{human, output, runs};
use crate::client::{Client, ClientError, all_pages};
use crate::outside;
use clap::Subcommand;
use godwit_api::shapes::godwit::{
    DescribeImagesRequest, ImageDescription, ImageRequest, Verification, VerificationState as State,
};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

/// Between two looks at a verification.
const LOOK: Duration = Duration::from_millis(300);
/// Damaged ranges that are listed for people; `--json` has all.
const SHOWN_DAMAGE: usize = 10;

/// What to do with images.
#[derive(Subcommand, Debug)]
pub enum ImagesCommand {
    /// List images, newest first
    List {
        /// Only those of this job
        #[arg(long, value_name = "JOB")]
        job: Option<String>,
    },
    /// Show an image with its volumes
    Show {
        /// Id of the image
        image: String,
    },
    /// Show what has changed from one image to another, as a map of the disk
    #[command(after_help = compare::EXAMPLES)]
    Compare(CompareArgs),
    /// Re-read everything that is stored and compare it with what was read from the source
    #[command(after_help = verify::EXAMPLES)]
    Verify(VerifyArgs),
    /// Write a volume of an image into a file
    #[command(after_help = export::EXAMPLES)]
    Export(ExportArgs),
    /// Serve an image's volumes as disks that QEMU boots from at once (NBD)
    #[command(after_help = nbd::EXAMPLES)]
    Serve(ServeImageArgs),
    /// Delete an image and its snapshots
    Delete {
        /// Id of the image
        image: String,
    },
}

/// Does it.
pub async fn run(command: ImagesCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        ImagesCommand::List { job } => list(client, json, job).await,
        ImagesCommand::Show { image } => {
            let image = get(client, &image).await?;
            if json { output::json(&image) } else { show(&image) }
        }
        ImagesCommand::Compare(args) => compare::run(client, json, &args).await,
        ImagesCommand::Verify(args) => verify_by_service(client, json, &args.image.unwrap_or_default()).await,
        ImagesCommand::Export(args) => export::export(client, json, args).await,
        ImagesCommand::Serve(args) => nbd::serve(client, json, args).await,
        ImagesCommand::Delete { image } => {
            client.delete_image(&ImageRequest { image_id: image.clone() }).await?;
            if json {
                return output::json(&json!({ "image_id": image }));
            }
            output::line(format!("Deleted {image}."))
        }
    }
}

/// The image of this id.
pub async fn get(client: &Client, id: &str) -> Result<ImageDescription, CliError> {
    let request = DescribeImagesRequest { image_ids: Some(vec![id.to_owned()]), ..DescribeImagesRequest::default() };
    let found = client.describe_images(&request).await?.images.into_iter().next();
    found.ok_or_else(|| {
        CliError::failed(format!("there is no image {id}")).next("see which there are: godwit images list")
    })
}

async fn all(client: &Client, job: Option<&str>) -> Result<Vec<ImageDescription>, ClientError> {
    all_pages(|next_token| async {
        let request = DescribeImagesRequest {
            replication_job_id: job.map(str::to_owned),
            next_token,
            ..DescribeImagesRequest::default()
        };
        let answer = client.describe_images(&request).await?;
        Ok((answer.images, answer.next_token))
    })
    .await
}

async fn list(client: &Client, json: bool, job: Option<String>) -> Result<(), CliError> {
    let images = all(client, job.as_deref()).await?;
    if json {
        return output::json(&images);
    }
    if images.is_empty() {
        return output::line("No images yet. Every completed run makes one: godwit runs list");
    }
    let now = outside::now();
    let row = |image: &ImageDescription| {
        [
            image.image_id.as_str().into(),
            image.server_name.as_str().into(),
            Field::number(human::size(image.size_bytes)),
            Field::number(image.volumes.len().to_string()),
            human::ago(image.created_on.into(), now).into(),
            verification(&image.verification),
            image.replication_job_id.as_str().into(),
        ]
    };
    let header = ["image", "server", "size", "volumes", "created", "verification", "job"];
    table(header, &["volumes", "job", "created"], &images.iter().map(row).collect::<Vec<_>>())
}

fn verification(verification: &Verification) -> Field {
    let now = outside::now();
    match (verification.state, verification.verified_on) {
        (State::Unverified, _) => Field::from("by its run").tone(Tone::Faint),
        (State::Verified, Some(time)) => {
            Field::from(format!("verified {}", human::ago(time.into(), now))).tone(Tone::Good)
        }
        (state, _) => Field::state(word(state)),
    }
}

fn word(state: State) -> &'static str {
    match state {
        State::Unverified => "UNVERIFIED",
        State::Running => "RUNNING",
        State::Verified => "VERIFIED",
        State::Damaged => "DAMAGED",
        State::Failed => "FAILED",
    }
}

fn show(image: &ImageDescription) -> Result<(), CliError> {
    let now = outside::now();
    let mut about = vec![
        ("image", Field::from(image.image_id.as_str()).tone(Tone::Strong)),
        ("server", format!("{} ({})", image.server_name, image.server_id).into()),
        ("job", image.replication_job_id.as_str().into()),
        ("run", image.replication_run_id.as_str().into()),
        ("created", human::moment(image.created_on.into(), now).into()),
        ("size", human::size(image.size_bytes).into()),
        ("verification", verification(&image.verification)),
    ];
    about.extend(runs::key(image.key_id.as_deref(), image.key_version).map(|key| ("key", key.into())));
    about.extend(image.verification.message.as_deref().map(|message| ("problem", message.into())));
    if !image.description.is_empty() {
        about.push(("description", image.description.as_str().into()));
    }
    facts(&about)?;
    output::line("")?;
    let rows = image.volumes.iter().map(|v| {
        [
            Field::number(v.volume.to_string()),
            v.device.as_str().into(),
            Field::number(human::size(v.size)),
            v.snapshot_id.as_str().into(),
            v.root_digest.as_str().into(),
        ]
    });
    table(["volume", "device", "size", "snapshot", "root digest"], &["root digest"], &rows.collect::<Vec<_>>())?;
    damage(&image.verification, output::line)
}

async fn verify_by_service(client: &Client, json: bool, id: &str) -> Result<(), CliError> {
    let before = get(client, id).await?.verification;
    client.start_image_verification(&ImageRequest { image_id: id.to_owned() }).await?;
    let mut progress = Progress::new();
    let image = loop {
        let image = get(client, id).await?;
        // An end that was there before is not the end of this one.
        let is_old = image.verification.verified_on == before.verified_on && before.state != State::Running;
        match image.verification.state {
            State::Running | State::Unverified => progress.show(&step(&image)),
            State::Verified | State::Damaged if is_old => progress.show(&Step::named("Verifying")),
            _ => break image,
        }
        sleep(LOOK).await;
    };
    progress.end();
    if json {
        output::json(&image)?;
    }
    verified(&image, json)
}

fn step(image: &ImageDescription) -> Step {
    let (done, total) = (image.verification.bytes_verified.unwrap_or_default(), image.verification.bytes_total);
    let percent = total.filter(|total| *total > 0 && done > 0).map(|total| done as f64 / total as f64 * 100.0);
    Step { percent, ..Step::named("Verifying") }
}

fn verified(image: &ImageDescription, json: bool) -> Result<(), CliError> {
    let id = &image.image_id;
    let bytes = image.verification.bytes_verified.map(human::size);
    match image.verification.state {
        State::Verified if json => Ok(()),
        State::Verified => output::line(format!(
            "{id} is {}: {} re-read, every block is what was read from the source",
            output::paint("verified", Tone::Good),
            bytes.unwrap_or_else(|| "everything".to_owned())
        )),
        State::Damaged => {
            damage(&image.verification, |text| {
                output::aside(text);
                Ok(())
            })?;
            let problem =
                image.verification.message.as_deref().unwrap_or("blocks differ from what was read from the source");
            Err(CliError::failed(format!("{id} is damaged: {problem}")).next(
                "check the store's disk, and start a run of its job: it reads what is damaged from the source again",
            ))
        }
        _ => {
            let why = image.verification.message.as_deref().unwrap_or("the service did not say why");
            let refused = CliError::failed(format!("{id} could not be verified: {why}"));
            // A cause comes with its own next step.
            Err(if why.contains("Next step:") {
                refused
            } else {
                refused.next("try again, or look into the log of 'godwit serve'")
            })
        }
    }
}

fn damage(verification: &Verification, mut tell: impl FnMut(String) -> Result<(), CliError>) -> Result<(), CliError> {
    for range in verification.damaged.iter().take(SHOWN_DAMAGE) {
        tell(format!("damaged: volume {}, {} at {}", range.volume, human::size(range.length), range.offset))?;
    }
    match verification.damaged.len().saturating_sub(SHOWN_DAMAGE) {
        0 => Ok(()),
        more => tell(format!("… and {more} more; --json lists them")),
    }
}
