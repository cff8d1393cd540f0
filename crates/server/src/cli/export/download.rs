//! Fetches the data of a volume, writes it down, and keeps account of how far it came.

use super::partial::Partial;
use super::pieces::{PIECE, Piece, extents, pieces};
use super::state::{Origin, State};
use crate::cli::error::CliError;
use crate::cli::progress::{Progress, Step};
use crate::cli::{human, output};
use crate::client::{Client, ClientError};
use crate::outside;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, future};
use godwit_api::shapes::godwit::ReadImageRequest;
use godwit_blocks::buffers::Buffers;
use godwit_blocks::export::{self, Checkpoint, VolumeWriter};
use godwit_model::extent::Extent;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;

/// Requests in flight: one for each stage that one is in there, from the database over disk and decompression to the
/// socket, so that no core waits. As many pieces of memory.
const IN_FLIGHT: usize = 6;
/// Data between two states: what a crash makes to be fetched again, and what came while the last one was being saved.
const STATE_EVERY: u64 = 64 << 20;

type Writer = Box<dyn VolumeWriter + Send>;

/// How much came.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Moved {
    /// Bytes that were asked for.
    pub read: u64,
    /// Those of them that hold data.
    data: u64,
    /// Bytes of data that were there before.
    before: u64,
}

/// Writes the volume into the unfinished file, from its beginning or from where an earlier export left it.
pub(super) async fn download(
    client: &Client,
    origin: &Origin,
    partial: &mut Partial,
    state: Option<State>,
    progress: &mut Progress,
) -> Result<Moved, CliError> {
    let mut moved = Moved { before: state.as_ref().map_or(0, |state| state.data), ..Moved::default() };
    let position = state.as_ref().map_or(0, |state| state.checkpoint.position);
    let checkpoint = state.map(|state| state.checkpoint);
    let file = partial.file.try_clone().map_err(|error| partial.failed(&error))?;
    let mut writer = export::open(origin.format, file, origin.size, outside::random_bits(), checkpoint)
        .map_err(|error| partial.failed(&error))?;
    let mut keeper = Keeper::new(origin, partial)?;
    let total = data_bytes(client, origin, position);
    let pieces = pieces(extents(client.clone(), origin.image.clone(), origin.volume, position));
    let buffers = Arc::new(Buffers::new(IN_FLIGHT + 1, PIECE as usize));
    let read = |piece| read(client.clone(), origin, piece, buffers.clone());
    let mut reads = pin!(pieces.map(read).buffered(IN_FLIGHT));
    let mut interrupted = pin!(interrupted());
    let began = outside::now();
    loop {
        let next = tokio::select! {
            biased;
            () = &mut interrupted => Err(CliError::failed("interrupted")),
            next = reads.try_next() => next.map_err(CliError::from),
        };
        let (piece, bytes) = match next {
            Ok(Some(next)) => next,
            Ok(None) => break,
            Err(error) => return Err(keeper.leave(error, writer, partial, moved).await),
        };
        moved.read += piece.span.length;
        moved.data += piece.data.iter().map(|part| part.length).sum::<u64>();
        let is_due = keeper.is_due(moved);
        let (wrote, back) = blocking(move || {
            let wrote = write(writer.as_mut(), &piece, &bytes);
            (wrote.and_then(|()| is_due.then(|| writer.checkpoint()).transpose()), writer)
        })
        .await?;
        writer = back;
        let kept = match wrote {
            Ok(checkpoint) => keeper.advance(checkpoint, partial, moved).await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            return Err(keeper.give_up(&error, partial).await);
        }
        let seconds = (outside::now() - began).0.max(1) as f64 / 1e3;
        progress.show(&step(moved, total.get().copied(), seconds));
    }
    progress.show(&Step::named("Writing to disk"));
    if let Err(error) = keeper.end(partial).await {
        return Err(keeper.give_up(&error, partial).await);
    }
    let finished = tokio::select! {
        () = &mut interrupted => return Err(CliError::failed("interrupted")),
        finished = blocking(move || writer.finish()) => finished?,
    };
    match finished {
        Ok(()) => Ok(moved),
        Err(error) => Err(keeper.give_up(&error, partial).await),
    }
}

/// Saves states while the download goes on.
struct Keeper {
    origin: Origin,
    content: Arc<File>,
    path: PathBuf,
    /// Data that the last state that was begun speaks of.
    data: u64,
    /// The state that is being saved: one at a time, and nobody waits for it.
    saving: Option<JoinHandle<io::Result<()>>>,
}

impl Keeper {
    fn new(origin: &Origin, partial: &Partial) -> Result<Self, CliError> {
        let content = Arc::new(partial.file.try_clone().map_err(|error| partial.failed(&error))?);
        Ok(Self { origin: origin.clone(), content, path: partial.state_path(), data: 0, saving: None })
    }

    /// Whether it is time for a state, and the last one is saved.
    fn is_due(&self, moved: Moved) -> bool {
        moved.data - self.data >= STATE_EVERY && self.saving.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Begins to save a state if there is something to save.
    async fn advance(&mut self, checkpoint: Option<Checkpoint>, partial: &mut Partial, moved: Moved) -> io::Result<()> {
        let Some(checkpoint) = checkpoint else { return Ok(()) };
        self.end(partial).await?;
        self.data = moved.data;
        let state = State::new(self.origin.clone(), moved.before + moved.data, checkpoint);
        let (content, path) = (self.content.clone(), self.path.clone());
        self.saving = Some(tokio::task::spawn_blocking(move || state.save(&content, &path)));
        Ok(())
    }

    /// Waits for the state that is being saved.
    async fn end(&mut self, partial: &mut Partial) -> io::Result<()> {
        if let Some(saving) = self.saving.take() {
            saving.await.map_err(io::Error::other)??;
            partial.keep();
        }
        Ok(())
    }

    /// Keeps all that came although the export ends with `error`.
    async fn leave(&mut self, error: CliError, writer: Writer, partial: &mut Partial, moved: Moved) -> CliError {
        match self.keep(writer, partial, moved).await {
            Ok(()) => error,
            Err(error) => self.give_up(&error, partial).await,
        }
    }

    async fn keep(&mut self, mut writer: Writer, partial: &mut Partial, moved: Moved) -> io::Result<()> {
        if moved.data > 0 {
            let checkpoint =
                tokio::task::spawn_blocking(move || writer.checkpoint()).await.map_err(io::Error::other)??;
            self.advance(Some(checkpoint), partial, moved).await?;
        }
        self.end(partial).await
    }

    /// The file cannot be written: it goes, and with it what it takes of a disk that is full.
    async fn give_up(&mut self, error: &io::Error, partial: &mut Partial) -> CliError {
        // Its error changes nothing any more, but its state would outlive the file.
        if let Some(saving) = self.saving.take() {
            let _ = saving.await;
        }
        partial.discard();
        partial.failed(error)
    }
}

/// Waits for SIGINT or SIGTERM. From the call on, not from the first look at what it returns, they end nothing by themselves.
pub(in crate::cli) fn interrupted() -> impl Future<Output = ()> {
    let signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    async move {
        let wait = async |signal: std::io::Result<Signal>| match signal {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        };
        let [interrupt, terminate] = signals;
        tokio::select! {
            () = wait(interrupt) => {}
            () = wait(terminate) => {}
        }
    }
}

/// How much data there is from `position` on, as soon as that is known: counted beside the download, which does not
/// wait for it.
fn data_bytes(client: &Client, origin: &Origin, position: u64) -> Arc<OnceLock<u64>> {
    let total = Arc::new(OnceLock::new());
    let extents = extents(client.clone(), origin.image.clone(), origin.volume, position);
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
    origin: &Origin,
    piece: Result<Piece, ClientError>,
    buffers: Arc<Buffers>,
) -> Result<(Piece, Bytes), ClientError> {
    let piece = piece?;
    let Extent { offset, length } = piece.span;
    let request = ReadImageRequest { image_id: origin.image.clone(), volume: u64::from(origin.volume), offset, length };
    // A task of its own: it goes on while we write.
    let read = tokio::spawn(async move { client.read_image(&request, &buffers).await });
    let bytes = read.await.map_err(|error| ClientError::Signing(error.to_string()))??;
    Ok((piece, bytes))
}

fn write(writer: &mut dyn VolumeWriter, piece: &Piece, bytes: &[u8]) -> io::Result<()> {
    piece.data.iter().try_for_each(|part| {
        let from = (part.offset - piece.span.offset) as usize;
        writer.write(part.offset, &bytes[from..from + part.length as usize])
    })
}

/// How far it is: of the data, because holes take no time. What was there before counts, but not for the pace.
fn step(moved: Moved, total: Option<u64>, seconds: f64) -> Step {
    let part = |done: u64, total: u64| (total > 0).then(|| (done as f64 / total as f64).min(1.0));
    let whole = total.and_then(|total| part(moved.before + moved.data, moved.before + total));
    let left = total.and_then(|total| part(moved.data, total));
    Step {
        percent: whole.map(|part| part * 100.0),
        pace: Some(moved.read as f64 / seconds),
        seconds_left: left.filter(|part| *part > 0.01).map(|part| seconds / part - seconds),
        ..Step::named("Exporting")
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CliError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| CliError::failed(format!("writing ended early: {error}")))
}

/// What to tell after an export that did not come to its end.
pub(super) fn tell_kept(partial: &Partial) {
    if partial.is_kept() {
        let path = partial.path().display();
        output::aside(format!("What was fetched is kept in {path}: the same command goes on from there."));
    }
}

/// What to tell before an export goes on.
pub(super) fn tell_resumed(partial: &Partial, state: &State) {
    let at = human::size(state.checkpoint.position);
    output::aside(format!("Going on with {} at {at} of {}.", partial.path().display(), human::size(state.origin.size)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_is_of_the_data_once_that_is_counted() {
        let moved = Moved { read: 300, data: 250, before: 0 };
        let shown = step(moved, Some(1_000), 2.0);
        assert_eq!((shown.percent, shown.pace, shown.seconds_left), (Some(25.0), Some(150.0), Some(6.0)));
        let shown = step(moved, None, 2.0);
        assert_eq!((shown.percent, shown.pace, shown.seconds_left), (None, Some(150.0), None));
        assert_eq!(step(moved, Some(250), 2.0).percent, Some(100.0));
        assert_eq!(step(Moved::default(), Some(0), 2.0).percent, None);
    }

    #[test]
    fn what_was_there_before_counts_for_the_percent_and_not_for_the_time_left() {
        let moved = Moved { read: 250, data: 250, before: 3_000 };
        let shown = step(moved, Some(1_000), 2.0);
        assert_eq!((shown.percent, shown.pace, shown.seconds_left), (Some(81.25), Some(125.0), Some(6.0)));
    }
}
