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

use crate::cli::error::CliError;
use crate::cli::progress::{Progress, Step};
use crate::cli::{human, images, output};
use crate::client::{Client, ClientError};
use crate::outside;
use clap::{Args, ValueEnum};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use godwit_api::shapes::godwit::{ImageDescription, ListImageExtentsRequest, ReadImageRequest};
use godwit_blocks::export::{Qcow2Writer, RawWriter, VolumeWriter};
use godwit_model::extent::Extent;
use rustix::fs::{FlockOperation, flock};
use serde_json::json;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};

/// Bytes of one request: large enough that its overhead does not count, small enough for a lively progress.
const PIECE: u64 = 4 << 20;
/// Zeros that are read along rather than making another request.
const GAP: u64 = 256 << 10;
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

/// A request, and the parts of it that hold data.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Piece {
    span: Extent,
    data: Vec<Extent>,
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

fn size_of(image: &ImageDescription, volume: u32) -> Result<u64, CliError> {
    let found = image.volumes.iter().find(|v| v.volume == volume);
    found.map(|v| v.size).ok_or_else(|| {
        let all = image.volumes.iter().map(|v| format!("{} ({})", v.volume, v.device)).collect::<Vec<_>>().join(", ");
        CliError::failed(format!("{} has no volume {volume}", image.image_id)).next(format!("it has: {all}"))
    })
}

fn refuse_existing(file: &Path, force: bool) -> Result<(), CliError> {
    match std::fs::symlink_metadata(file) {
        Ok(found) if found.is_dir() => {
            Err(CliError::failed(format!("{} is a folder", file.display())).next("give the name of a file in it"))
        }
        Ok(_) if !force => Err(CliError::failed(format!("{} is there already", file.display()))
            .next("give another name, or --force to replace it")),
        _ => Ok(()),
    }
}

async fn interrupted() {
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

async fn download(
    client: &Client,
    args: &ExportArgs,
    size: u64,
    partial: &Partial,
    progress: &mut Progress,
) -> Result<u64, CliError> {
    let file = partial.file.try_clone().map_err(|error| partial.failed(&error))?;
    let mut writer: Box<dyn VolumeWriter + Send> = match args.format {
        Format::Raw => Box::new(RawWriter::new(file, size).map_err(|error| partial.failed(&error))?),
        Format::Qcow2 => Box::new(Qcow2Writer::new(file, size).map_err(|error| partial.failed(&error))?),
    };
    let pieces = pieces(extents(client.clone(), args.image.clone(), args.volume));
    let mut reads = Box::pin(
        pieces
            .map(|piece| {
                let (client, image, volume) = (client.clone(), args.image.clone(), u64::from(args.volume));
                async move {
                    let piece = piece?;
                    let Extent { offset, length } = piece.span;
                    let request = ReadImageRequest { image_id: image, volume, offset, length };
                    // A task of its own: it goes on while we write.
                    let read = tokio::spawn(async move { client.read_image(&request).await });
                    let bytes = read.await.map_err(|error| ClientError::Signing(error.to_string()))??;
                    Ok::<_, ClientError>((piece, bytes))
                }
            })
            .buffered(IN_FLIGHT),
    );
    let began = outside::now();
    let mut bytes_read = 0;
    while let Some((piece, bytes)) = reads.try_next().await? {
        bytes_read += piece.span.length;
        let (wrote, back) = blocking(move || {
            let wrote = piece.data.iter().try_for_each(|part| {
                let from = (part.offset - piece.span.offset) as usize;
                writer.write(part.offset, &bytes[from..from + part.length as usize])
            });
            (wrote.map(|()| piece.span.end()), writer)
        })
        .await?;
        writer = back;
        let done = wrote.map_err(|error| partial.failed(&error))?;
        let seconds = (outside::now() - began).0.max(1) as f64 / 1e3;
        progress.show(&step(done, size, bytes_read, seconds));
    }
    progress.show(&Step::named("Writing to disk"));
    let finished = blocking(move || writer.finish()).await?;
    finished.map_err(|error| partial.failed(&error))?;
    Ok(bytes_read)
}

fn step(done: u64, size: u64, bytes_read: u64, seconds: f64) -> Step {
    let part = done as f64 / size.max(1) as f64;
    Step {
        percent: Some(part * 100.0),
        pace: Some(bytes_read as f64 / seconds),
        seconds_left: (part > 0.01).then(|| seconds / part - seconds),
        ..Step::named("Exporting")
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| CliError::failed(format!("writing ended early: {error}")))
}

/// Where the volume holds data, page by page as it is needed.
fn extents(client: Client, image: String, volume: u32) -> impl Stream<Item = Result<Extent, ClientError>> {
    stream::try_unfold(Some(0), move |from| {
        let request =
            ListImageExtentsRequest { image_id: image.clone(), volume: u64::from(volume), from, max_results: None };
        let client = client.clone();
        async move {
            if from.is_none() {
                return Ok(None);
            }
            let answer = client.list_image_extents(&request).await?;
            // Going on where one has been would never end.
            let next = answer.next.filter(|next| Some(*next) > from);
            let extents = answer.extents.into_iter().filter_map(|e| Extent::new(e.offset, e.length)).map(Ok);
            Ok::<_, ClientError>(Some((stream::iter(extents.collect::<Vec<_>>()), next)))
        }
    })
    .try_flatten()
}

/// Requests that cover all extents in their order: small ones together, large ones in parts.
fn pieces(extents: impl Stream<Item = Result<Extent, ClientError>>) -> impl Stream<Item = Result<Piece, ClientError>> {
    let state = (Box::pin(extents), VecDeque::<Extent>::new(), false);
    stream::try_unfold(state, |(mut extents, mut waiting, mut ended)| async move {
        let mut piece: Option<Piece> = None;
        loop {
            if waiting.is_empty() && !ended {
                match extents.try_next().await? {
                    Some(extent) => waiting.extend(extent.pieces(PIECE)),
                    None => ended = true,
                }
            }
            let Some(next) = waiting.front().copied() else {
                if ended {
                    return Ok(piece.map(|piece| (piece, (extents, waiting, ended))));
                }
                continue;
            };
            match &mut piece {
                None => piece = Some(Piece { span: next, data: vec![next] }),
                Some(piece) if fits(piece.span, next) => {
                    piece.span = Extent::between(piece.span.offset, next.end());
                    piece.data.push(next);
                }
                Some(_) => return Ok(piece.map(|piece| (piece, (extents, waiting, ended)))),
            }
            waiting.pop_front();
        }
    })
}

fn fits(span: Extent, next: Extent) -> bool {
    next.offset - span.end() <= GAP && next.end() - span.offset <= PIECE
}

/// The unfinished file. It is removed when this is dropped, unless it was published.
struct Partial {
    file: File,
    path: PathBuf,
    published: bool,
}

impl Partial {
    fn create(output: &Path) -> Result<Self, CliError> {
        let path = output.with_added_extension("partial");
        let failed = |error: io::Error| {
            let next = match error.kind() {
                io::ErrorKind::NotFound => "create the folder first, or give another path",
                io::ErrorKind::PermissionDenied => "give a path that you may write to",
                _ => "give another path",
            };
            CliError::failed(format!("{} cannot be created: {error}", path.display())).next(next)
        };
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(failed)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(CliError::failed(format!("{} is being written by another export", path.display()))
                .next("wait for it, or give another name"));
        }
        let emptied = file.set_len(0);
        let partial = Self { file, path, published: false };
        emptied.map_err(|error| partial.failed(&error))?;
        Ok(partial)
    }

    /// Makes it durable and gives it its name. Tells the bytes that it takes on disk.
    fn publish(mut self, output: &Path) -> Result<u64, CliError> {
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let published = self.file.sync_all().and_then(|()| self.file.metadata()).and_then(|metadata| {
            std::fs::rename(&self.path, output)?;
            File::open(folder)?.sync_all()?;
            Ok(metadata.blocks() * 512)
        });
        let on_disk = published.map_err(|error| self.failed(&error))?;
        self.published = true;
        Ok(on_disk)
    }

    fn failed(&self, error: &io::Error) -> CliError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                CliError::failed(format!("no space left for {}; the unfinished file was removed", self.path.display()))
                    .next("free space there, or give a path on another disk")
            }
            io::ErrorKind::FileTooLarge => {
                CliError::failed(format!("{}: its file system cannot hold a file of this size", self.path.display()))
                    .next("give a path on another disk")
            }
            _ => CliError::failed(format!("{} cannot be written: {error}", self.path.display())),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published {
            // If it cannot be removed, its name says what it is.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cut(extents: Vec<Extent>) -> Vec<Piece> {
        let all = pieces(stream::iter(extents.into_iter().map(Ok)));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(all.try_collect()).unwrap()
    }

    fn kib(offset: u64, length: u64) -> Extent {
        Extent { offset: offset << 10, length: length << 10 }
    }

    #[test]
    fn small_extents_share_a_request_and_large_ones_are_split() {
        let near = cut(vec![kib(0, 64), kib(128, 64), kib(1024, 64)]);
        assert_eq!(near.iter().map(|p| p.span).collect::<Vec<_>>(), [kib(0, 192), kib(1024, 64)]);
        assert_eq!(near[0].data, [kib(0, 64), kib(128, 64)]);
        let large = cut(vec![kib(1024, 10 << 10)]);
        assert!(large.len() >= 3 && large.iter().all(|piece| piece.span.length <= PIECE));
        assert!(cut(vec![]).is_empty());
    }

    proptest! {
        #[test]
        fn every_byte_of_data_is_asked_for_once_and_in_order(
            parts in proptest::collection::vec((0u64..600, 1u64..9000), 0..30)
        ) {
            let mut at = 0;
            let extents: Vec<_> = parts.into_iter().map(|(gap, length)| {
                let extent = kib(at + gap + 1, length);
                at += gap + 1 + length;
                extent
            }).collect();
            let pieces = cut(extents.clone());
            let data: Vec<_> = pieces.iter().flat_map(|p| p.data.clone()).collect();
            prop_assert_eq!(godwit_model::extent::merge(data), extents);
            for piece in &pieces {
                prop_assert!(piece.span.length <= PIECE);
                prop_assert_eq!(piece.span.offset, piece.data[0].offset);
                prop_assert_eq!(piece.span.end(), piece.data[piece.data.len() - 1].end());
            }
            prop_assert!(pieces.windows(2).all(|w| w[0].span.end() <= w[1].span.offset));
        }
    }

    #[test]
    fn an_unfinished_file_leaves_nothing_and_a_finished_one_only_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("disk.raw");
        let partial = Partial::create(&output).unwrap();
        assert!(Partial::create(&output).err().unwrap().what.contains("another export"));
        drop(partial);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        std::fs::write(folder.path().join("disk.raw.partial"), "left by a crash").unwrap();
        Partial::create(&output).unwrap().publish(&output).unwrap();
        assert_eq!(std::fs::read(&output).unwrap(), b"");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(refuse_existing(&output, false).is_err() && refuse_existing(&output, true).is_ok());
        assert!(refuse_existing(folder.path(), true).is_err());
    }

    #[test]
    fn a_full_disk_is_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let partial = Partial::create(&folder.path().join("x")).unwrap();
        let error = partial.failed(&io::Error::from(io::ErrorKind::StorageFull));
        assert!(error.what.starts_with("no space left for") && error.next.is_some());
    }
}
