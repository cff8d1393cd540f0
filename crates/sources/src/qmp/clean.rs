//! Removing what is ours, from names alone.
//!
//! # Consistency
//! Nothing without our owner mark is touched. Trackers change only by the plans of [`tracking`], one transaction for
//! each node, so that no change of the guest falls between two of them.
//! # Retries
//! Every call looks at what is there and removes that; repeated, it finds nothing.
//! # Cancellation
//! Safe at any point: see Retries.
//! # Completion
//! When a call returns, QEMU does not list the things any more.
//! # Crash consistency
//! Exports go first, then jobs, then nodes, then trackers: a tracker that an export holds cannot be changed.

use crate::qmp::client::QmpError;
use crate::qmp::inventory::{Inventory, Node};
use crate::qmp::names::{NodeKind, Owner};
use crate::qmp::session::{POLL, Session};
use crate::qmp::tracking::{self, Action, Tracker};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::RunId;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::timeout;

/// Until all exports, jobs and nodes are gone.
const DISMANTLE_LIMIT: Duration = Duration::from_secs(30);

/// What was taken down.
#[derive(Default)]
pub(super) struct Dismantled {
    /// The runs that things belonged to: their scratch files are of no use any more.
    pub(super) runs: BTreeSet<RunId>,
    /// One sentence for each thing.
    pub(super) sentences: BTreeSet<String>,
}

/// Removes exports, jobs and nodes of the runs that `unwanted` says yes to.
pub(super) async fn dismantle(
    session: &mut Session,
    owner: &Owner,
    unwanted: &(dyn Fn(&RunId) -> bool + Sync),
) -> Result<Dismantled, Failure> {
    let mut done = Dismantled::default();
    let mut last_refusal = None;
    let work = async {
        loop {
            let left = Left::of(&session.inventory().await?, owner, unwanted);
            if left.is_empty() {
                return Ok::<(), QmpError>(());
            }
            done.runs.extend(left.runs.iter().cloned());
            for (command, arguments, sentence) in left.orders() {
                match session.execute(command, arguments).await {
                    // What QEMU is about to remove anyway is refused: the next look tells.
                    Ok(_) => done.sentences.extend([sentence]),
                    Err(error @ QmpError::Refused { .. }) => last_refusal = Some(error),
                    Err(error) => return Err(error),
                }
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match timeout(DISMANTLE_LIMIT, work).await {
        Ok(Ok(())) => Ok(done),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(last_refusal.map_or_else(
            || {
                let (place, limit) = (session.client().path().display(), DISMANTLE_LIMIT.as_secs());
                let what = format!("QEMU at {place} did not end our exports and jobs within {limit} s");
                Failure::new(Code::TimedOut, what)
            },
            Failure::from,
        )),
    }
}

/// Applies a plan to the trackers of every node. Gives one sentence for each tracker that was removed. What is in an
/// image that became read-only, as that below a snapshot taken by hand, cannot be changed and stays: no disk has it.
pub(super) async fn change_trackers(
    session: &mut Session,
    owner: &Owner,
    inventory: &Inventory,
    plan: &(dyn Fn(&[Tracker]) -> Vec<Action> + Sync),
) -> Result<Vec<String>, QmpError> {
    let mut removed = Vec::new();
    for node in inventory.nodes.values().filter(|node| !node.read_only) {
        let actions = plan(&tracking::trackers(owner, node));
        apply(session, owner, node, &actions).await?;
        let gone = |action: &Action| match action {
            Action::Remove(run) => Some(format!("removed the bitmap {} of {}", owner.bitmap(run), node.name)),
            _ => None,
        };
        removed.extend(actions.iter().filter_map(gone));
    }
    Ok(removed)
}

/// Applies one node's actions in one transaction.
pub(super) async fn apply(
    session: &mut Session,
    owner: &Owner,
    node: &Node,
    actions: &[Action],
) -> Result<(), QmpError> {
    session.transaction(actions.iter().map(|action| tracking::to_json(action, owner, node)).collect()).await
}

/// What is still there.
struct Left {
    runs: BTreeSet<RunId>,
    exports: Vec<(String, bool)>,
    jobs: Vec<(String, bool)>,
    nodes: Vec<(String, NodeKind)>,
}

impl Left {
    fn of(inventory: &Inventory, owner: &Owner, unwanted: &dyn Fn(&RunId) -> bool) -> Self {
        let run_of = |name: &str| owner.parse_run(name).or_else(|| Some(owner.parse_node(name)?.0)).filter(unwanted);
        let ours = |name: &str| run_of(name).is_some();
        let exports = inventory.exports.iter().filter(|export| ours(&export.id));
        let jobs = inventory.jobs.iter().filter(|job| ours(&job.id));
        let node = |name: &String| Some((name.clone(), owner.parse_node(name).filter(|(run, _)| unwanted(run))?.1));
        let names = inventory.exports.iter().map(|export| &export.id).chain(inventory.jobs.iter().map(|job| &job.id));
        Self {
            runs: names.chain(inventory.nodes.keys()).filter_map(|name| run_of(name)).collect(),
            exports: exports.map(|export| (export.id.clone(), export.shutting_down)).collect(),
            jobs: jobs.map(|job| (job.id.clone(), job.status == "concluded")).collect(),
            nodes: inventory.nodes.keys().filter_map(node).collect(),
        }
    }

    fn is_empty(&self) -> bool {
        self.exports.is_empty() && self.jobs.is_empty() && self.nodes.is_empty()
    }

    /// What to order now: one kind of thing at a time, as each is held by the one before.
    fn orders(&self) -> Vec<(&'static str, serde_json::Value, String)> {
        if !self.exports.is_empty() {
            // Hard: a reader of ours that still hangs on must not keep the guest's disk busy.
            let order = |id: &String| {
                ("block-export-del", json!({ "id": id, "mode": "hard" }), format!("removed the export {id}"))
            };
            return self.exports.iter().filter(|(_, leaving)| !leaving).map(|(id, _)| order(id)).collect();
        }
        if !self.jobs.is_empty() {
            let order = |(id, concluded): &(String, bool)| match concluded {
                true => ("job-dismiss", json!({ "id": id }), format!("dismissed the job {id}")),
                false => ("job-cancel", json!({ "id": id }), format!("cancelled the job {id}")),
            };
            return self.jobs.iter().map(order).collect();
        }
        // The filter goes with its job; the format layer holds the file.
        let scratch = self.nodes.iter().filter(|(_, kind)| *kind == NodeKind::Scratch);
        let files = self.nodes.iter().filter(|(_, kind)| *kind == NodeKind::File);
        let order = |(name, _): &(String, NodeKind)| {
            ("blockdev-del", json!({ "node-name": name }), format!("removed the node {name}"))
        };
        scratch.chain(files).map(order).collect()
    }
}
