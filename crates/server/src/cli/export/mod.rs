//! `godwit images export`: downloads a volume and writes it down as raw, qcow2, VMDK or VHDX.
//!
//! # Consistency
//! An image never changes, so what is read piece by piece is one content. The service compares every block with its
//! digest before it sends it.
//! # Retries
//! Reads are tried again by the client; the export as a whole is not. The same command goes on where the last one
//! ended.
//! # Cancellation
//! SIGINT and SIGTERM, like errors of the service, leave the unfinished file and what it holds. If the file cannot be
//! written, it is removed.
//! # Completion
//! The file has its name only when it is whole and durable.
//! # Crash consistency
//! Everything is written to FILE.partial and renamed at the end. FILE.partial.state says what of it is durable. A
//! partial file without a state that fits it is begun anew, unless another process is still writing it.

mod download;
mod format;
mod partial;
mod pieces;
mod state;

pub(super) use self::download::interrupted;

use self::download::{download, tell_kept, tell_resumed};
use self::format::Format;
use self::partial::{Partial, refuse_existing};
use self::state::{Origin, State};
use crate::cli::error::CliError;
use crate::cli::progress::Progress;
use crate::cli::{human, images, output};
use crate::client::Client;
use clap::Args;
use godwit_api::shapes::godwit::{ImageDescription, ImageVolumeDescription};
use serde_json::json;
use std::path::PathBuf;

pub const EXAMPLES: &str = "\
The file is readable by you alone and takes only as much space as there is data.
It appears under its name when it is complete; until then it is FILE.partial.
After an interruption the same command goes on where it was.

Examples:
  godwit images export ami-1a2b3c4d5e6f70809 --output web01.qcow2 --compress
  godwit images export ami-1a2b3c4d5e6f70809 --volume 1 --output d.vmdk
  godwit images export ami-1a2b3c4d5e6f70809 --format raw --output /mnt/d";

/// What to export.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Id of the image
    image: String,
    /// Which volume: 0 is the boot disk
    #[arg(long, value_name = "N", default_value_t = 0)]
    volume: u32,
    /// Format of the file; without it, the end of the file's name says it
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Compress the data: qcow2 (read by QEMU 5.1 and later); VMDK always is
    #[arg(long)]
    compress: bool,
    /// File to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Begin anew, whatever an interrupted export left in FILE.partial
    #[arg(long)]
    restart: bool,
}

/// Exports a volume.
pub async fn export(client: &Client, json: bool, args: ExportArgs) -> Result<(), CliError> {
    let format = format::choose(args.format, args.compress, &args.output)?;
    let image = images::get(client, &args.image).await?;
    let origin = Origin::new(&args.image, find(&image, args.volume)?, format);
    format::check_size(format, origin.size)?;
    refuse_existing(&args.output, args.force)?;
    let mut partial = Partial::open(&args.output)?;
    let state = if args.restart { None } else { State::load(&partial) };
    match &state {
        Some(state) => {
            state.check(&partial, &origin)?;
            tell_resumed(&partial, state);
        }
        None => partial.empty()?,
    }
    let resumed_at = state.as_ref().map_or(0, |state| state.checkpoint.position);
    let mut progress = Progress::new();
    let downloaded = download(client, &origin, &mut partial, state, &mut progress).await;
    progress.end();
    let bytes = downloaded.inspect_err(|_| tell_kept(&partial))?.read;
    refuse_existing(&args.output, args.force)?;
    let on_disk = partial.publish(&args.output)?;
    let file = std::path::absolute(&args.output).unwrap_or_else(|_| args.output.clone());
    if json {
        return output::json(&json!({
            "image_id": args.image, "volume": args.volume, "format": format.name(),
            "compressed": format.is_compressed(), "output": file, "size": origin.size, "resumed_at": resumed_at,
            "bytes_read": bytes, "bytes_on_disk": on_disk,
        }));
    }
    output::line(format!(
        "Exported volume {} of {} to {} ({format}, {}, {} on disk)",
        args.volume,
        args.image,
        file.display(),
        human::size(origin.size),
        human::size(on_disk)
    ))
}

/// What the image says of its volume, if it has it.
pub(super) fn find(image: &ImageDescription, volume: u32) -> Result<&ImageVolumeDescription, CliError> {
    let found = image.volumes.iter().find(|v| v.volume == volume);
    found.ok_or_else(|| {
        let all = image.volumes.iter().map(|v| format!("{} ({})", v.volume, v.device)).collect::<Vec<_>>().join(", ");
        CliError::failed(format!("{} has no volume {volume}", image.image_id)).next(format!("it has: {all}"))
    })
}
