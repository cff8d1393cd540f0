//! Puts calls on record as they end: whatever is waiting goes into one transaction.
//!
//! # Order of things
//!
//! A call that may change something is put on record twice: that it begins, before it does anything, and how it ended,
//! before its reply is sent. The begin is no record of the trail but a row beside it; it goes in the transaction that
//! brings the record. So a crash between leaves the begin, of which the next start makes a record with the outcome
//! `UNKNOWN`. A call that only reads is put on record within moments after its reply: a crash may lose these, and
//! nothing else.
//!
//! A call whose reply takes bytes of an image out of the house changes nothing either, but that it happened must not be
//! lost. Its record is on disk before the reply is sent, unless another one of the same access key and the same volume
//! was so a moment ago: an export makes hundreds of calls a second, and to wait for the disk each time would cost a third
//! of its pace. So a crash may lose how far an export came in its last moments, and never who got at which volume.
//!
//! # Bounds
//!
//! So many records wait at most. When that many do, because the database does not take them, calls that read wait for a
//! place, and are refused if they get none: nothing is read that cannot be put on record.

use super::NewAuditRecord;
use crate::control::Clock;
use crate::store::Store;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Records that wait at the same time: of a few KiB each, so a mebibyte or two in all.
const QUEUE: usize = 512;

/// Records in one transaction: more would make others that write wait.
const BATCH: usize = 256;

/// How long records of calls that only read wait for company: each transaction waits for the disk.
const GATHER: Duration = Duration::from_millis(200);

/// How long one record on disk stands for what else the same access key reads of the same volume.
pub(crate) const STANDS: Duration = Duration::from_secs(1);

/// Pause after the database did not take a batch.
const PAUSE: Duration = Duration::from_secs(1);

/// Longest wait for a place in the queue, or for a record to be on disk: longer than the database's own waits.
const WAIT: Duration = Duration::from_secs(20);

/// Requests whose signature is not proven are counted, and the counts put on record so often at most: whoever has no
/// key must not be able to fill the disk.
const REFUSALS_EVERY: Duration = Duration::from_secs(600);

/// How many of the access keys that such requests name are told, and how much of each.
const KEYS_TOLD: usize = 8;
const KEY_TOLD: usize = 64;

/// It could not be put on record.
#[derive(Debug, thiserror::Error)]
#[error("it cannot be put on record")]
pub(crate) struct NotRecorded;

struct Waiting {
    what: NewAuditRecord,
    begun: bool,
    /// Whether the call is refused if this is not on disk in time.
    discloses: bool,
    done: Option<oneshot::Sender<bool>>,
}

impl Waiting {
    /// Nobody waits for it.
    fn of(what: NewAuditRecord) -> Waiting {
        Waiting { what, begun: false, discloses: false, done: None }
    }

    /// The record, as it is true now: who waited in vain for it has been refused.
    fn record(&self) -> NewAuditRecord {
        let in_vain = self.discloses && self.done.as_ref().is_none_or(oneshot::Sender::is_closed);
        if in_vain { self.what.clone().refused() } else { self.what.clone() }
    }
}

/// Requests that nobody has proven to be theirs, since the last time that their number was put on record.
#[derive(Default)]
struct Refusals {
    counts: BTreeMap<&'static str, u64>,
    keys: BTreeSet<String>,
}

/// Whose access key reads, and what: the volume of an image.
type Disclosure = (String, String);

/// The way to the recorder. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Recorder {
    store: Store,
    queue: mpsc::Sender<Waiting>,
    disclosed: Arc<Mutex<HashMap<Disclosure, Instant>>>,
    refusals: Arc<Mutex<Refusals>>,
    refused: Arc<Notify>,
}

/// The recorder at work.
struct Work {
    store: Store,
    clock: Clock,
    queue: mpsc::Receiver<Waiting>,
    refusals: Arc<Mutex<Refusals>>,
    refused: Arc<Notify>,
    /// Not before this are refusals put on record again.
    next_refusals: Instant,
    stop: CancellationToken,
}

impl Recorder {
    /// Starts it. Stopped, it puts on record what waits, then ends.
    pub fn start(store: Store, clock: Clock, stop: CancellationToken) -> (Recorder, JoinHandle<()>) {
        let (queue, waiting) = mpsc::channel(QUEUE);
        let recorder =
            Recorder { store, queue, disclosed: Arc::default(), refusals: Arc::default(), refused: Arc::default() };
        let work = Work {
            store: recorder.store.clone(),
            clock,
            queue: waiting,
            refusals: recorder.refusals.clone(),
            refused: recorder.refused.clone(),
            next_refusals: Instant::now(),
            stop,
        };
        (recorder, tokio::spawn(work.run()))
    }

    /// A call that may change something begins: on disk when this returns.
    pub async fn begin(&self, what: &NewAuditRecord) -> Result<(), NotRecorded> {
        self.store.begin_audited(what).await.map_err(|error| {
            tracing::error!(error = %error.to_failure(), "a call was refused: it cannot be put on record");
            NotRecorded
        })
    }

    /// A call that began has ended: on disk when this returns, or at least the begin is, and this will be.
    pub async fn end(&self, what: NewAuditRecord) {
        if self.on_disk(Waiting { begun: true, ..Waiting::of(what) }).await.is_err() {
            tracing::error!("how a call ended is not on record yet; that it began is");
        }
    }

    /// Bytes of a volume are about to leave: when this returns, that its caller reads it is on disk. They must not leave
    /// if it fails.
    pub async fn disclose(&self, what: NewAuditRecord, volume: &str) -> Result<(), NotRecorded> {
        let disclosure = (what.caller.access_key_id.clone(), volume.to_owned());
        let mut what = what;
        if self.stands(&disclosure) {
            // Only if there is a place at once: what stands for it would grow old meanwhile.
            match self.queue.try_send(Waiting::of(what)) {
                Ok(()) => return Ok(()),
                Err(refused) => what = refused.into_inner().what,
            }
        }
        self.on_disk(Waiting { discloses: true, ..Waiting::of(what) }).await?;
        self.disclosed().insert(disclosure, Instant::now());
        Ok(())
    }

    fn stands(&self, disclosure: &Disclosure) -> bool {
        let mut disclosed = self.disclosed();
        disclosed.retain(|_, at| at.elapsed() < STANDS);
        disclosed.contains_key(disclosure)
    }

    fn disclosed(&self) -> MutexGuard<'_, HashMap<Disclosure, Instant>> {
        self.disclosed.lock().expect("no thread panics while it holds this")
    }

    /// A call that changed nothing has ended.
    pub async fn note(&self, what: NewAuditRecord) -> Result<(), NotRecorded> {
        let sent = timeout(WAIT, self.queue.send(Waiting::of(what))).await;
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(NotRecorded) }
    }

    async fn on_disk(&self, waiting: Waiting) -> Result<(), NotRecorded> {
        let (done, when_done) = oneshot::channel();
        let sent = timeout(WAIT, self.queue.send(Waiting { done: Some(done), ..waiting })).await;
        let is_on_disk = matches!(sent, Ok(Ok(()))) && matches!(timeout(WAIT, when_done).await, Ok(Ok(true)));
        if is_on_disk { Ok(()) } else { Err(NotRecorded) }
    }

    /// A request was refused before it was known whose it is. `key` is the access key that it names.
    pub fn refused(&self, code: &'static str, key: Option<&str>) {
        let mut refusals = self.refusals.lock().expect("no thread panics while it holds this");
        *refusals.counts.entry(code).or_default() += 1;
        if let Some(key) = key
            && refusals.keys.len() < KEYS_TOLD
        {
            refusals.keys.insert(key.chars().take(KEY_TOLD).collect());
        }
        drop(refusals);
        self.refused.notify_one();
    }
}

impl Work {
    async fn run(mut self) {
        let mut batch = Vec::new();
        let mut refusals_wait = false;
        loop {
            tokio::select! {
                biased;
                first = self.queue.recv() => match first {
                    Some(first) => {
                        batch.push(first);
                        self.gather(&mut batch).await;
                    }
                    None => break,
                },
                () = self.stop.cancelled() => break,
                () = self.refused.notified(), if !refusals_wait => refusals_wait = true,
                () = sleep_until(self.next_refusals), if refusals_wait => {
                    refusals_wait = false;
                    batch.extend(self.refusals());
                }
            }
            while !batch.is_empty() && !self.write(&mut batch).await {
                if self.stop.run_until_cancelled(sleep(PAUSE)).await.is_none() {
                    break;
                }
                // Who has come meanwhile need not wait longer than we do to hear that it does not work.
                self.gather(&mut batch).await;
            }
        }
        self.last(batch).await;
    }

    /// Takes what else waits; waits for it a little, unless somebody waits for us.
    async fn gather(&mut self, batch: &mut Vec<Waiting>) {
        let until = Instant::now() + GATHER;
        while batch.len() < BATCH {
            let patient = batch.last().is_some_and(|last| last.done.is_none()) && !self.stop.is_cancelled();
            let more = if patient && batch.iter().all(|waiting| waiting.done.is_none()) {
                tokio::time::timeout_at(until, self.queue.recv()).await.ok().flatten()
            } else {
                self.queue.try_recv().ok()
            };
            match more {
                Some(more) => batch.push(more),
                None => return,
            }
        }
    }

    /// Writes a batch. If that fails it stays, and nobody waits for it any longer.
    async fn write(&self, batch: &mut Vec<Waiting>) -> bool {
        let all: Vec<_> = batch.iter().map(|waiting| (waiting.record(), waiting.begun)).collect();
        let outcome = self.store.record_all(&all).await;
        if let Err(error) = &outcome {
            let records = all.len();
            tracing::error!(error = %error.to_failure(), records, "calls cannot be put on record; trying again");
        }
        for done in batch.iter_mut().filter_map(|waiting| waiting.done.take()) {
            // Who waits no longer need not know.
            let _ = done.send(outcome.is_ok());
        }
        if outcome.is_ok() {
            batch.clear();
        }
        outcome.is_ok()
    }

    /// What is left when the service stops.
    async fn last(&mut self, mut batch: Vec<Waiting>) {
        self.queue.close();
        batch.extend(self.refusals());
        loop {
            while batch.len() < BATCH
                && let Some(waiting) = self.queue.recv().await
            {
                batch.push(waiting);
            }
            if batch.is_empty() || !self.write(&mut batch).await {
                return;
            }
        }
    }

    fn refusals(&mut self) -> Option<Waiting> {
        self.next_refusals = Instant::now() + REFUSALS_EVERY;
        let Refusals { counts, keys } =
            std::mem::take(&mut *self.refusals.lock().expect("no thread panics while it holds this"));
        if counts.is_empty() {
            return None;
        }
        let parameters = json!({ "requests": counts, "accessKeysNamed": keys });
        let what = NewAuditRecord::of_the_service("godwit:RefuseRequests", &parameters, (self.clock)());
        Some(Waiting::of(what))
    }
}
