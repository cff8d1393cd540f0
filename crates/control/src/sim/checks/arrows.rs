//! The arrows of jobs, runs and the catalog, as the documentation draws them. Written down once more on purpose: who asks
//! the code that decides finds it right.

use super::Record;
use godwit_model::catalog::CatalogStatus;
use godwit_model::job::JobState;
use godwit_model::run::Position;
use std::collections::BTreeSet;

const JOBS: &[(&str, &[&str])] = &[
    ("PENDING", &["ACTIVE", "DELETING"]),
    ("ACTIVE", &["COMPLETED", "PAUSED_ON_FAILURE", "FAILING", "DELETING"]),
    ("PAUSED_ON_FAILURE", &["ACTIVE", "DELETING"]),
    ("FAILING", &["FAILED", "DELETING"]),
    ("FAILED", &["DELETING"]),
    ("COMPLETED", &["DELETING"]),
    ("DELETING", &["DELETED"]),
];

const RUNS: &[(&str, &[&str])] = &[
    ("Pending", &["Validating", "Missed", "Deleted"]),
    ("Validating", &["Snapshotting", "Abandoning", "Deleting"]),
    ("Snapshotting", &["Transferring", "Abandoning", "Deleting"]),
    ("Transferring", &["Verifying", "Snapshotting", "Abandoning", "Deleting"]),
    ("Verifying", &["Registering", "Abandoning", "Deleting"]),
    ("Registering", &["Cleaning", "Abandoning", "Deleting"]),
    ("Cleaning", &["Completed"]),
    ("Abandoning", &["Failed", "Deleting"]),
    ("Deleting", &["Deleted"]),
];

const CATALOG: &[(&str, &[&str])] = &[
    ("NOT_IMPORTED", &["IMPORTING", "DELETED"]),
    ("IMPORTING", &["AVAILABLE", "NOT_IMPORTED", "DELETED", "EXPIRED"]),
    ("AVAILABLE", &["IMPORTING", "DELETED", "EXPIRED"]),
    ("DELETED", &["IMPORTING"]),
    ("EXPIRED", &["IMPORTING", "DELETED"]),
];

/// Too rare for a thousand days: the catalog is imported in the first minutes, a point in time is taken, an image written
/// and what failed cleaned up in a moment.
const RARE: [&str; 7] = [
    "a run Snapshotting → Deleting",
    "a run Registering → Deleting",
    "a job FAILING → DELETING",
    "a run Abandoning → Deleting",
    "the catalog NOT_IMPORTED → DELETED",
    "the catalog IMPORTING → NOT_IMPORTED",
    "the catalog EXPIRED → DELETED",
];

/// Every arrow that the usual histories must go along.
pub(in crate::sim) fn all() -> impl Iterator<Item = String> {
    every().filter(|arrow| !RARE.contains(&arrow.as_str()))
}

fn every() -> impl Iterator<Item = String> {
    [("a job", JOBS), ("a run", RUNS), ("the catalog", CATALOG)]
        .into_iter()
        .flat_map(|(of, arrows)| arrows.iter().map(move |(from, ends)| (of, from, ends)))
        .flat_map(|(of, from, ends)| ends.iter().map(move |to| name(of, from, to)))
}

impl Record {
    pub(super) fn job_went(&mut self, from: JobState, to: JobState) {
        self.went("a job", JOBS, from.as_str(), to.as_str());
    }

    pub(super) fn run_went(&mut self, from: Position, to: Position) {
        self.went("a run", RUNS, &place(from), &place(to));
    }

    pub(super) fn catalog_went(&mut self, from: CatalogStatus, to: CatalogStatus) {
        self.went("the catalog", CATALOG, from.as_str(), to.as_str());
    }

    fn went(&mut self, of: &str, arrows: &[(&str, &[&str])], from: &str, to: &str) {
        let ends = arrows.iter().find(|(start, _)| *start == from).map_or(&[][..], |(_, ends)| ends);
        assert!(ends.contains(&to), "{of} went from {from} to {to}");
        self.seen.insert(name(of, from, to));
    }
}

/// The stage, while there is one.
fn place(position: Position) -> String {
    match position {
        Position::At(stage) => stage.as_str().to_owned(),
        other => format!("{other:?}"),
    }
}

fn name(of: &str, from: &str, to: &str) -> String {
    format!("{of} {from} → {to}")
}

/// Both are written by different hands: this file, and the functions that decide.
#[test]
fn the_arrows_are_those_of_the_documentation() {
    let page = include_str!("../../../../../docs/states.md");
    let (mut drawn, mut of) = (BTreeSet::new(), "");
    for line in page.lines() {
        match line.trim() {
            "## Jobs" => of = "a job",
            "## Runs" => of = "a run",
            "## Catalog" => of = "the catalog",
            line => {
                let Some((from, rest)) = line.split_once(" --> ") else { continue };
                if let (false, Some((to, _))) = (from == "[*]", rest.split_once(": ")) {
                    drawn.insert(name(of, from, to).to_lowercase());
                }
            }
        }
    }
    let here: BTreeSet<String> = every().map(|arrow| arrow.to_lowercase()).collect();
    assert_eq!(here, drawn);
}
