//! `godwit images serve`: an image as disks that QEMU boots from at once, by the NBD protocol.
//!
//! It is a command and no part of the service, because images are read over the API (`docs/decisions`): who may read one
//! is decided there, and it works for whoever may. So the NBD server stands here, next to the client that it reads with;
//! `sources` has the other half of the protocol, and knows no images.
//!
//! ```text
//!   QEMU ──NBD──► listen ─► session ─► volume ─┬─► overlay       what was written
//!                (codec, handshake: pure)      └─► cache ─► origin ──API──► godwit serve
//! ```
//!
//! # Consistency
//! An image never changes. What was written over it is seen by all connections as soon as the write was answered.
//! # Retries
//! Reads of the service are tried again by its client; then the request fails, and the next one is tried anew.
//! # Cancellation
//! SIGINT and SIGTERM end the connections after the requests that were begun, flush the overlay and remove the socket.
//! # Completion
//! A flush is answered when what was written before survives a power cut.
//! # Crash consistency
//! The overlay's, see there. An overlay without a name goes with the process.

mod cache;
mod codec;
mod handshake;
mod listen;
mod origin;
mod overlay;
mod session;
mod tell;
#[cfg(test)]
mod tests;
mod volume;

use self::cache::Cache;
use self::codec::Export;
use self::listen::{Listener, Stream};
use self::origin::ServiceImage;
use self::overlay::{Identity, Overlay, OverlayError, VolumeIdentity};
use self::session::{Exports, SessionError, converse};
use self::tell::Problems;
use self::volume::Volume;
use crate::cli::error::CliError;
use crate::cli::{export, human, images, output};
use crate::client::Client;
use crate::outside;
use clap::Args;
use godwit_api::shapes::godwit::{ImageDescription, ImageVolumeDescription};
use serde_json::json;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at a time; others wait. QEMU has up to 16 for a disk, if told so.
const MOST_CONNECTIONS: usize = 64;
/// How long requests that were begun may take when we are told to end.
const END_BOUND: Duration = Duration::from_secs(10);
/// After an error in accepting, most likely too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

pub const EXAMPLES: &str = "\
The image itself never changes. Without --copy-on-write nothing can be written;
QEMU boots from it all the same with snapshot=on, as in the line that is
printed. Ctrl-C ends it.

Every volume is an export: by its number (0), and by its device's name (vda).
The export without a name is the boot disk.

Examples:
  godwit images serve ami-1a2b3c4d5e6f70809
  godwit images serve ami-1a2b3c4d5e6f70809 --copy-on-write --overlay web01.overlay
  godwit images serve ami-1a2b3c4d5e6f70809 --listen 127.0.0.1:10809
  nbdcopy 'nbd+unix:///0?socket=/run/user/1000/godwit-ami-….sock' web01.img";

/// What to serve, and where.
#[derive(Args, Debug)]
pub struct ServeImageArgs {
    /// Id of the image
    image: String,
    /// Only this volume; 0 is the boot disk [default: all of them]
    #[arg(long, value_name = "N")]
    volume: Option<u32>,
    /// Unix socket to listen on, for you alone [default: godwit-IMAGE.sock in XDG_RUNTIME_DIR, else in /tmp]
    #[arg(long, value_name = "PATH", conflicts_with = "listen")]
    socket: Option<PathBuf>,
    /// Port to listen on instead: loopback only, for everybody on this machine; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT")]
    listen: Option<SocketAddr>,
    /// Refuse writes: the default
    #[arg(long, conflicts_with_all = ["copy_on_write", "overlay"])]
    read_only: bool,
    /// Keep writes beside the image; they are gone at the end, unless there is an --overlay
    #[arg(long)]
    copy_on_write: bool,
    /// File that keeps the writes; one of the same image is continued
    #[arg(long, value_name = "FILE", requires = "copy_on_write")]
    overlay: Option<PathBuf>,
}

/// Serves until it is told to stop.
pub async fn serve(client: &Client, json: bool, args: ServeImageArgs) -> Result<(), CliError> {
    let image = images::get(client, &args.image).await?;
    let chosen = chosen(&image, args.volume)?;
    let overlay = overlay(&image, &args)?;
    let listener = match (&args.listen, &args.socket) {
        (Some(address), _) => Listener::tcp(*address).await?,
        (None, Some(path)) => Listener::unix(path)?,
        (None, None) => Listener::unix(&default_socket(&image.image_id))?,
    };
    let problems = Problems::default();
    let tell = Arc::new(move |export: &Export, error: &volume::VolumeError| problems.tell(export, error));
    let (volumes, exports) = volumes(client, &image, &chosen, overlay.as_ref());
    let served = Arc::new(Exports::new(volumes, exports, tell));
    // Before anybody is told that there is something to end.
    let interrupted = export::interrupted();
    announce(&image, &args, &listener, served.exports(), overlay.as_ref(), json)?;
    let stop = CancellationToken::new();
    let sessions = TaskTracker::new();
    tokio::select! {
        () = accept(&served, &listener, &sessions, &stop) => {}
        () = interrupted => {}
    }
    stop.cancel();
    sessions.close();
    let ended = tokio::time::timeout(END_BOUND, sessions.wait()).await;
    if ended.is_err() {
        output::aside("a request was still at work and is given up");
    }
    served.flush().await.map_err(|error| CliError::failed(format!("what was written is not all kept: {error}")))
}

/// Takes connections for ever.
async fn accept(
    served: &Arc<Exports<ServiceImage>>,
    listener: &Listener,
    sessions: &TaskTracker,
    stop: &CancellationToken,
) {
    let turns = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let turn = turns.clone().acquire_owned().await.expect("the semaphore is never closed");
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                output::aside(format!("a client could not connect: {error}"));
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (served, stop) = (served.clone(), stop.clone());
        sessions.spawn(async move {
            let _turn = turn;
            let ended = match stream {
                Stream::Unix(stream) => {
                    let (reader, writer) = stream.into_split();
                    Box::pin(converse(served, reader, writer, &stop)).await
                }
                Stream::Tcp(stream) => {
                    let (reader, writer) = stream.into_split();
                    Box::pin(converse(served, reader, writer, &stop)).await
                }
            };
            match ended {
                // So do many clients say goodbye.
                Ok(()) | Err(SessionError::Broken(_)) => {}
                Err(error) => output::aside(format!("{error}; its connection was ended")),
            }
        });
    }
}

fn chosen(image: &ImageDescription, volume: Option<u32>) -> Result<Vec<ImageVolumeDescription>, CliError> {
    let Some(volume) = volume else { return Ok(image.volumes.clone()) };
    export::find(image, volume).map(|found| vec![found.clone()])
}

fn overlay(image: &ImageDescription, args: &ServeImageArgs) -> Result<Option<Overlay>, CliError> {
    if !args.copy_on_write {
        return Ok(None);
    }
    // Of all volumes, whichever are served now: it can be continued with others.
    let volume = |found: &ImageVolumeDescription| VolumeIdentity {
        volume: found.volume,
        size: found.size,
        root_digest: found.root_digest.clone(),
    };
    let volumes = image.volumes.iter().map(volume).collect();
    let identity = Identity { image: image.image_id.clone(), volumes };
    let opened = match &args.overlay {
        Some(file) => Overlay::kept(file, &identity),
        // Not /tmp, which is memory on many machines.
        None => Overlay::temporary(&outside::variable("TMPDIR").map_or("/var/tmp".into(), PathBuf::from), &identity),
    };
    opened.map(Some).map_err(|error: OverlayError| CliError::failed(error.to_string()).next(error.next_step()))
}

fn default_socket(image: &str) -> PathBuf {
    let folder = outside::variable("XDG_RUNTIME_DIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    folder.join(format!("godwit-{image}.sock"))
}

fn volumes(
    client: &Client,
    image: &ImageDescription,
    chosen: &[ImageVolumeDescription],
    overlay: Option<&Overlay>,
) -> (Vec<Volume<ServiceImage>>, Vec<Export>) {
    let cache = Cache::new(ServiceImage::new(client.clone(), image.image_id.clone()));
    let one = |found: &ImageVolumeDescription| {
        let at = image.volumes.iter().position(|volume| volume.volume == found.volume);
        let layer = overlay.zip(at).map(|(overlay, at)| overlay.layers[at].clone());
        let export = Export {
            name: found.volume.to_string(),
            alias: found.device.clone(),
            description: format!("volume {} ({}) of {}", found.volume, found.device, image.image_id),
            size: found.size,
            writable: layer.is_some(),
        };
        (Volume { number: found.volume, size: found.size, cache: cache.clone(), layer }, export)
    };
    chosen.iter().map(one).unzip()
}

fn announce(
    image: &ImageDescription,
    args: &ServeImageArgs,
    listener: &Listener,
    exports: &[Export],
    overlay: Option<&Overlay>,
    json: bool,
) -> Result<(), CliError> {
    let boot = boot_line(listener, exports);
    if json {
        let listed = exports.iter().map(|export| {
            json!({ "volume": export.name.parse::<u32>().ok(), "device": export.alias, "size": export.size,
                    "uri": listener.uri(&export.name) })
        });
        return output::json(&json!({
            "image_id": image.image_id, "uri": listener.uri(""), "socket": listener.socket(),
            "copy_on_write": overlay.is_some(), "overlay": args.overlay,
            "overlay_continued": overlay.is_some_and(|overlay| overlay.is_continued),
            "volumes": listed.collect::<Vec<_>>(), "qemu": boot,
        }));
    }
    let how = match (overlay, &args.overlay) {
        (None, _) => "read-only".to_owned(),
        (Some(_), None) => "copy-on-write; what is written goes at the end".to_owned(),
        (Some(overlay), Some(file)) if overlay.is_continued => {
            format!("copy-on-write, continued from {}", file.display())
        }
        (Some(_), Some(file)) => format!("copy-on-write into {}", file.display()),
    };
    output::line(format!("Serving {} of {}, {how}", image.image_id, image.server_name))?;
    for export in exports {
        let uri = listener.uri(&export.name);
        output::line(format!("  {} ({}, {}): {uri}", export.name, export.alias, human::size(export.size)))?;
    }
    output::line("Boot it now:")?;
    output::line(format!("  {boot}"))?;
    output::line("Ctrl-C ends it.")
}

/// What boots a guest from the exports.
fn boot_line(listener: &Listener, exports: &[Export]) -> String {
    let drive = |export: &Export| {
        // What the guest writes is QEMU's to keep if it cannot be ours.
        let snapshot = if export.writable { "" } else { ",snapshot=on" };
        format!(" -drive 'file={},format=raw,if=virtio{snapshot}'", listener.uri(&export.name))
    };
    let drives: String = exports.iter().map(drive).collect();
    format!("qemu-system-x86_64 -accel kvm -accel tcg -m 2048{drives}")
}
