//! `godwit images export`: downloads a volume and writes it down as raw or qcow2.
//!
//! # Consistency
//! An image never changes, so what is read piece by piece is one content. The service compares every block with its
//! digest before it sends it.
//! # Retries
//! Reads are tried again by the client; the export as a whole is not: it is started again.
//! # Cancellation
//! SIGINT and SIGTERM, like any error, remove the unfinished file.
//! # Completion
//! The file has its name only when it is whole and durable.
//! # Crash consistency
//! Everything is written to FILE.partial and renamed at the end. A partial file that a crash left is replaced by the
//! next export to the same name, unless another process is still writing it.

mod partial;
mod pieces;

use self::partial::{Partial, refuse_existing};
use self::pieces::{Piece, extents, pieces};
use crate::cli::error::CliError;
use crate::cli::progress::{Progress, Step};
use crate::cli::{human, images, output};
use crate::client::{Client, ClientError};
use crate::outside;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use futures::{StreamExt, TryStreamExt, future};
use godwit_api::shapes::godwit::{ImageDescription, ReadImageRequest};
use godwit_blocks::export::{self, VolumeWriter};
use godwit_model::extent::Extent;
use serde_json::json;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use tokio::signal::unix::{SignalKind, signal};

/// Requests in flight: hides the service's disk and decompression behind our own writing; four pieces of memory.
const IN_FLIGHT: usize = 4;

pub const EXAMPLES: &str = "\
The file is readable by you alone and takes only as much space as there is data.
It appears under its name when it is complete; until then it is FILE.partial.

Examples:
  godwit images export ami-1a2b3c4d5e6f70809 --format qcow2 --output web01.qcow2
  godwit images export ami-1a2b3c4d5e6f70809 --volume 1 --format raw --output d.img";

/// What to export.
#[derive(Args, Debug)]
pub struct ExportArgs {
    /// Id of the image
    image: String,
    /// Which volume: 0 is the boot disk
    #[arg(long, value_name = "N", default_value_t = 0)]
    volume: u32,
    /// Format of the file
    #[arg(long, value_enum)]
    format: Format,
    /// File to write
    #[arg(long, value_name = "FILE")]
    output: PathBuf,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
}

/// Formats of disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    // The bytes as they are, with holes.
    Raw,
    // QEMU's.
    Qcow2,
}

/// Exports a volume.
pub async fn export(client: &Client, json: bool, args: ExportArgs) -> Result<(), CliError> {
    let image = images::get(client, &args.image).await?;
    let size = size_of(&image, args.volume)?;
    refuse_existing(&args.output, args.force)?;
    let partial = Partial::create(&args.output)?;
    let mut progress = Progress::new();
    let downloaded = tokio::select! {
        downloaded = download(client, &args, size, &partial, &mut progress) => downloaded,
        () = interrupted() => Err(CliError::failed("interrupted; the unfinished file was removed")),
    };
    progress.end();
    let bytes = downloaded?;
    refuse_existing(&args.output, args.force)?;
    let on_disk = partial.publish(&args.output)?;
    let file = std::path::absolute(&args.output).unwrap_or_else(|_| args.output.clone());
    let format = match args.format {
        Format::Raw => "raw",
        Format::Qcow2 => "qcow2",
    };
    if json {
        return output::json(&json!({
            "image_id": args.image, "volume": args.volume, "format": format, "output": file,
            "size": size, "bytes_read": bytes, "bytes_on_disk": on_disk,
        }));
    }
    output::line(format!(
        "Exported volume {} of {} to {} ({format}, {}, {} on disk)",
        args.volume,
        args.image,
        file.display(),
        human::size(size),
        human::size(on_disk)
    ))
}

/// The size of a volume, if the image has it.
pub(super) fn size_of(image: &ImageDescription, volume: u32) -> Result<u64, CliError> {
    let found = image.volumes.iter().find(|v| v.volume == volume);
    found.map(|v| v.size).ok_or_else(|| {
        let all = image.volumes.iter().map(|v| format!("{} ({})", v.volume, v.device)).collect::<Vec<_>>().join(", ");
        CliError::failed(format!("{} has no volume {volume}", image.image_id)).next(format!("it has: {all}"))
    })
}

/// Waits for SIGINT or SIGTERM.
pub(super) async fn interrupted() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
    }
}

/// How much came.
#[derive(Clone, Copy, Default, Debug)]
struct Moved {
    /// Bytes that were asked for.
    read: u64,
    /// Those of them that hold data.
    data: u64,
}

async fn download(
    client: &Client,
    args: &ExportArgs,
    size: u64,
    partial: &Partial,
    progress: &mut Progress,
) -> Result<u64, CliError> {
    let file = partial.file.try_clone().map_err(|error| partial.failed(&error))?;
    let format = match args.format {
        Format::Raw => export::Format::Raw,
        Format::Qcow2 => export::Format::Qcow2,
    };
    let mut writer =
        export::open(format, file, size, outside::random_bits(), None).map_err(|error| partial.failed(&error))?;
    let total = data_bytes(client, args);
    let pieces = pieces(extents(client.clone(), args.image.clone(), args.volume));
    let mut reads = Box::pin(pieces.map(|piece| read(client.clone(), args, piece)).buffered(IN_FLIGHT));
    let began = outside::now();
    let mut moved = Moved::default();
    while let Some((piece, bytes)) = reads.try_next().await? {
        moved.read += piece.span.length;
        moved.data += piece.data.iter().map(|part| part.length).sum::<u64>();
        let (wrote, back) = blocking(move || (write(writer.as_mut(), &piece, &bytes), writer)).await?;
        writer = back;
        wrote.map_err(|error| partial.failed(&error))?;
        let seconds = (outside::now() - began).0.max(1) as f64 / 1e3;
        progress.show(&step(moved, total.get().copied(), seconds));
    }
    progress.show(&Step::named("Writing to disk"));
    let finished = blocking(move || writer.finish()).await?;
    finished.map_err(|error| partial.failed(&error))?;
    Ok(moved.read)
}

/// How much data there is, as soon as that is known: counted beside the download, which does not wait for it.
fn data_bytes(client: &Client, args: &ExportArgs) -> Arc<OnceLock<u64>> {
    let total = Arc::new(OnceLock::new());
    let extents = extents(client.clone(), args.image.clone(), args.volume);
    let counted = total.clone();
    tokio::spawn(async move {
        let sum = extents.try_fold(0, |sum, extent| future::ready(Ok(sum + extent.length))).await;
        // Without it there is no percent; what keeps the service from answering ends the download, too.
        sum.map(|sum| counted.set(sum))
    });
    total
}

async fn read(
    client: Client,
    args: &ExportArgs,
    piece: Result<Piece, ClientError>,
) -> Result<(Piece, Bytes), ClientError> {
    let piece = piece?;
    let Extent { offset, length } = piece.span;
    let request = ReadImageRequest { image_id: args.image.clone(), volume: u64::from(args.volume), offset, length };
    // A task of its own: it goes on while we write.
    let read = tokio::spawn(async move { client.read_image(&request).await });
    let bytes = read.await.map_err(|error| ClientError::Signing(error.to_string()))??;
    Ok((piece, bytes))
}

fn write(writer: &mut dyn VolumeWriter, piece: &Piece, bytes: &[u8]) -> io::Result<()> {
    piece.data.iter().try_for_each(|part| {
        let from = (part.offset - piece.span.offset) as usize;
        writer.write(part.offset, &bytes[from..from + part.length as usize])
    })
}

/// How far it is: of the data, because holes take no time.
fn step(moved: Moved, total: Option<u64>, seconds: f64) -> Step {
    let part = total.filter(|total| *total > 0).map(|total| (moved.data as f64 / total as f64).min(1.0));
    Step {
        percent: part.map(|part| part * 100.0),
        pace: Some(moved.read as f64 / seconds),
        seconds_left: part.filter(|part| *part > 0.01).map(|part| seconds / part - seconds),
        ..Step::named("Exporting")
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| CliError::failed(format!("writing ended early: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_of_the_data_once_that_is_counted() {
        let moved = Moved { read: 300, data: 250 };
        let shown = step(moved, Some(1_000), 2.0);
        assert_eq!((shown.percent, shown.pace, shown.seconds_left), (Some(25.0), Some(150.0), Some(6.0)));
        let shown = step(moved, None, 2.0);
        assert_eq!((shown.percent, shown.pace, shown.seconds_left), (None, Some(150.0), None));
        assert_eq!(step(moved, Some(250), 2.0).percent, Some(100.0));
        assert_eq!(step(Moved::default(), Some(0), 2.0).percent, None);
    }
}
