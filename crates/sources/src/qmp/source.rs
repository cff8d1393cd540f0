//! [`Source`] over QMP: who is asked, in which order; the work is in the modules beside this one.
//!
//! # Consistency
//! All volumes of a point in time begin in one transaction. What exists at QEMU is the only record: this type keeps
//! nothing that is needed later.
//! # Retries
//! Every call can be repeated, in any process, also after a crash in its middle.
//! # Cancellation
//! A call that is dropped leaves things with our names behind, and never a frozen guest; the next call cleans up.
//! # Completion
//! `open` has readers that are connected; `settle` and `sweep` return when QEMU lists nothing of what they removed.
//! # Crash consistency
//! The point in time exists from the transaction on: a job with its mark. Before, all is left-over; after, it is found.

use crate::freeze::{FreezeLimits, FreezerCommand};
use crate::qmp::client::{QmpError, QmpLimits};
use crate::qmp::discover::{self, census};
use crate::qmp::names::Owner;
use crate::qmp::platform::Remembered;
use crate::qmp::session::Session;
use crate::qmp::{clean, quiesce, scratch, server, tracking, view};
use async_trait::async_trait;
use godwit_blocks::source::{AskClaims, OpenRequest, Settle, Source, View};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::RunId;
use godwit_model::server::Discovery;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::timeout;

/// Where a source of random bits comes in.
pub type Random = Arc<dyn Fn() -> u64 + Send + Sync>;

/// What a source needs to know.
#[derive(Clone)]
pub struct QmpOptions {
    /// A QMP socket, or a folder of them.
    pub socket: PathBuf,
    /// Whose things we make.
    pub owner: Owner,
    /// Folder for NBD sockets and freeze markers; QEMU must be able to create a socket there. Short: a unix socket's
    /// whole path has at most 107 characters.
    pub runtime_dir: PathBuf,
    /// Folder for scratch files; QEMU must be able to create files there. It takes what the guest overwrites while a
    /// run reads: if it fills up, the guest's writes fail.
    pub scratch_dir: PathBuf,
    /// A point in time is ended when fewer bytes are free in `scratch_dir`, and none is taken with less than twice that.
    pub scratch_reserve: u64,
    /// Socket of an NBD server that QEMU runs already, if it is not to be found through the process table.
    pub nbd_socket: Option<PathBuf>,
    /// Program that holds the freeze, so that the guest is thawed even if this process is killed.
    pub freezer: Option<FreezerCommand>,
    /// Bounds.
    pub limits: Limits,
    /// Random bits, for names of points in time.
    pub random: Random,
}

/// Bounds of everything that is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// QMP.
    pub qmp: QmpLimits,
    /// Guest agent.
    pub freeze: FreezeLimits,
    /// Until an NBD connection is made.
    pub nbd_connect: Duration,
    /// Until an NBD request is answered.
    pub nbd_request: Duration,
    /// Until another call of ours on the same socket has ended.
    pub turn: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            qmp: QmpLimits::default(),
            freeze: FreezeLimits::default(),
            nbd_connect: Duration::from_secs(10),
            nbd_request: Duration::from_secs(60),
            turn: Duration::from_secs(120),
        }
    }
}

/// QEMU guests and storage daemons behind QMP sockets.
pub struct QmpSource {
    options: QmpOptions,
    /// Sockets of this process's conversations: QEMU serves one at a time.
    turns: Mutex<HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
    /// Where a machine was found last: only a hint.
    known: Mutex<HashMap<String, PathBuf>>,
    /// What runs in machines.
    platforms: Mutex<HashMap<String, Remembered>>,
}

impl QmpSource {
    /// A source; nothing is contacted.
    pub fn new(options: QmpOptions) -> Self {
        Self { options, turns: Mutex::default(), known: Mutex::default(), platforms: Mutex::default() }
    }

    pub(super) fn options(&self) -> &QmpOptions {
        &self.options
    }

    pub(super) fn remembered_platform(&self, vm_id: &str) -> Option<Remembered> {
        locked(&self.platforms).get(vm_id).copied()
    }

    pub(super) fn remember_platform(&self, vm_id: &str, answer: Remembered) {
        locked(&self.platforms).insert(vm_id.to_owned(), answer);
    }

    /// A conversation with whoever is behind a socket.
    pub(super) async fn session(&self, path: &Path) -> Result<Session, QmpError> {
        let turn = locked(&self.turns).entry(path.to_owned()).or_default().clone();
        let waited = self.options.limits.turn;
        let turn = timeout(waited, turn.lock_owned()).await;
        let turn = turn.map_err(|_| QmpError::Busy { path: path.to_owned(), waited })?;
        Session::open(path, self.options.limits.qmp, turn).await
    }

    /// A conversation with a machine; `None` if it surely does not run.
    pub(super) async fn find(&self, vm_id: &str) -> Result<Option<Session>, Failure> {
        let hint = locked(&self.known).get(vm_id).cloned();
        if let Some(path) = hint {
            match self.session(&path).await {
                Ok(mut session) => {
                    if session.identity().await?.vm_id == vm_id {
                        return Ok(Some(session));
                    }
                }
                Err(error) if error.is_gone() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let census = census(self).await?;
        if let Some((path, _)) = census.machines.into_iter().find(|(_, identity)| identity.vm_id == vm_id) {
            let session = self.session(&path).await?;
            locked(&self.known).insert(vm_id.to_owned(), path);
            return Ok(Some(session));
        }
        match census.unsure.into_iter().next() {
            // It may be the one that did not answer.
            Some(error) => Err(error.into()),
            None => Ok(None),
        }
    }

    fn nbd_socket(&self, vm_id: &str) -> PathBuf {
        self.options.runtime_dir.join(self.options.owner.nbd_socket(vm_id))
    }

    async fn settle_trackers(&self, session: &mut Session, run: &RunId, end: Settle) -> Result<(), QmpError> {
        let inventory = session.inventory().await?;
        let plan = |trackers: &[tracking::Tracker]| match end {
            Settle::Committed => tracking::commit(run, trackers),
            Settle::Abandoned => tracking::abandon(run, trackers),
            Settle::Forget => tracking::sweep(&|_| false, trackers),
        };
        clean::change_trackers(session, &self.options.owner, &inventory, &plan).await.map(|_| ())
    }

    async fn sweep_machine(&self, path: &Path, vm_id: &str, ask_claims: AskClaims<'_>) -> Result<Vec<String>, Failure> {
        let owner = &self.options.owner;
        let mut session = self.session(path).await?;
        // QEMU serves one conversation at a time: what begins a run here from now on waits for the end of this one.
        let claims = ask_claims().await?;
        let mut done = Vec::new();
        done.extend(quiesce::thaw(&mut session, &self.options, vm_id).await?);
        done.extend(clean::dismantle(&mut session, owner, &|run| !claims.all_of(run)).await?.sentences);
        let inventory = session.inventory().await?;
        let plan = |trackers: &[tracking::Tracker]| tracking::sweep(&|run| claims.trackers_of(run), trackers);
        done.extend(clean::change_trackers(&mut session, owner, &inventory, &plan).await?);
        if server::stop_if_idle(&mut session, &self.nbd_socket(vm_id)).await? {
            done.push("stopped the NBD server that we had started".into());
        }
        Ok(done.into_iter().map(|sentence| format!("{}: {sentence}", path.display())).collect())
    }
}

#[async_trait]
impl Source for QmpSource {
    async fn discover(&self) -> Result<Discovery, Failure> {
        discover::discover(self).await
    }

    async fn open(&self, request: &OpenRequest) -> Result<View, Failure> {
        let Some(mut session) = self.find(&request.vm_id).await? else {
            let place = self.options.socket.display();
            return Err(Failure::new(Code::ServerGone, format!("no machine {} answers at {place}", request.vm_id)));
        };
        view::open(&mut session, &self.options, &self.nbd_socket(&request.vm_id), request).await
    }

    async fn still_holds(&self, vm_id: &str, run: &RunId, point: &str) -> Result<(), Failure> {
        match self.find(vm_id).await? {
            Some(mut session) => view::still_holds(&mut session, &self.options, run, point).await,
            None => Err(Failure::new(Code::PointInTimeLost, format!("machine {vm_id}, which held {point}, has ended"))),
        }
    }

    async fn guard(&self, vm_id: &str, run: &RunId) -> Failure {
        scratch::guard(self, vm_id, run).await
    }

    async fn settle(&self, vm_id: &str, run: &RunId, end: Settle) -> Result<(), Failure> {
        let owner = &self.options.owner;
        // Forgetting is about the server, not about one run of it.
        let whole_server = end == Settle::Forget;
        let mut ended = HashSet::from([run.clone()]);
        match self.find(vm_id).await? {
            Some(mut session) => {
                if let Some(sentence) = quiesce::thaw(&mut session, &self.options, vm_id).await? {
                    tracing::warn!(vm_id, "{sentence}");
                }
                let gone = clean::dismantle(&mut session, owner, &|other| whole_server || other == run).await?;
                ended.extend(gone.runs);
                self.settle_trackers(&mut session, run, end).await?;
                server::stop_if_idle(&mut session, &self.nbd_socket(vm_id)).await?;
            }
            None => server::remove_dead_socket(&self.nbd_socket(vm_id)).await,
        }
        scratch::remove_files(&self.options.scratch_dir, owner, move |other| ended.contains(other)).await;
        Ok(())
    }

    async fn sweep(&self, claims: AskClaims<'_>) -> Result<Vec<String>, Failure> {
        let census = census(self).await?;
        let mut done = Vec::new();
        let mut failed = census.unsure.into_iter().next().map(Failure::from);
        for (path, identity) in census.machines {
            // One machine that does not let itself be swept must not keep the others from it.
            match self.sweep_machine(&path, &identity.vm_id, claims).await {
                Ok(sentences) => done.extend(sentences),
                Err(failure) => failed = Some(failure),
            }
        }
        match scratch::sweep(&self.options, claims).await {
            Ok(files) => done.extend(files.into_iter().map(|name| format!("removed the scratch file {name}"))),
            Err(failure) => failed = Some(failure),
        }
        match failed {
            // What was done is worth telling; what was not is tried again by the next sweep.
            Some(failure) if done.is_empty() => Err(failure),
            Some(failure) => {
                tracing::warn!(%failure, "part of the sweep failed");
                Ok(done)
            }
            None => Ok(done),
        }
    }
}

impl fmt::Debug for QmpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "QmpSource({})", self.options.socket.display())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
