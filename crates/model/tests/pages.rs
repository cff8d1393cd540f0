//! Pages of the documentation that are written from the code: what fails, and the state machines.
//!
//! After a change of either: `cargo test -p godwit-model --test pages -- --ignored` writes them again.

#![allow(clippy::unwrap_used, missing_docs)]

use godwit_model::catalog::{self, CatalogStatus};
use godwit_model::failure::Code;
use godwit_model::job::{self, JobState};
use godwit_model::run::{self, Position, RunState, Stage};
use std::fmt::Write;
use std::path::PathBuf;

const WRITTEN: &str = "<!-- Written by crates/model/tests/pages.rs from the code: change that. -->";

fn errors_page() -> String {
    let mut page = format!(
        "# What can go wrong\n\n{WRITTEN}\n\n\
         A run that failed says why: a stable code, its cause (what happened), the evidence (what was seen, and where), and what to do. All four are in the\n\
         status message of the API, for the run and for a job that ends or is paused by it, in `failure` of `DescribeReplicationRuns`, and in\n\
         `godwit runs show RUN`. What passes by itself is tried again within the run before it counts as failed.\n\
         Codes that begin with `Recipient`, and `NoMailServer`, are those of [notifications](notifications.md).\n\n\
         | code | what happened | tried again | what to do |\n|---|---|---|---|\n"
    );
    for code in Code::ALL {
        let again = if code.kind().is_transient() { "yes" } else { "no" };
        let (meaning, next) = (code.meaning().trim_end_matches('.'), code.next_step());
        writeln!(page, "| `{code}` | {meaning} | {again} | {next} |").unwrap();
    }
    page
}

/// An arrow for each pair of states, with all that leads along it.
fn diagram(first: &str, arrows: &[(String, String, String)]) -> String {
    let mut text = format!("```mermaid\nstateDiagram-v2\n    [*] --> {first}\n");
    let mut drawn: Vec<(&str, &str)> = Vec::new();
    for (from, to, _) in arrows {
        if drawn.contains(&(from, to)) {
            continue;
        }
        drawn.push((from, to));
        let along = arrows.iter().filter(|(a, b, _)| (a, b) == (from, to)).map(|(_, _, event)| event.as_str());
        writeln!(text, "    {from} --> {to}: {}", along.collect::<Vec<_>>().join(", ")).unwrap();
    }
    text + "```\n"
}

fn job_arrows() -> Vec<(String, String, String)> {
    let mut arrows = Vec::new();
    for state in JobState::ALL {
        for event in job::Event::ALL {
            let Ok((next, _)) = job::step(&state, event) else { continue };
            if next != state {
                arrows.push((state.as_str().to_owned(), next.as_str().to_owned(), job_event(event)));
            }
        }
    }
    arrows
}

fn job_event(event: job::Event) -> String {
    match event {
        job::Event::RunCompleted { last: true } => "RunCompleted of a one-time job".to_owned(),
        job::Event::RunFailed { last: true } => "RunFailed of a one-time job".to_owned(),
        job::Event::RunCompleted { .. } => "RunCompleted".to_owned(),
        job::Event::RunFailed { .. } => "RunFailed".to_owned(),
        job::Event::FailedTooOften { pause: true } => "FailedTooOften, to be paused".to_owned(),
        job::Event::FailedTooOften { pause: false } => "FailedTooOften, not to be paused".to_owned(),
        event => format!("{event:?}"),
    }
}

fn run_arrows() -> Vec<(String, String, String)> {
    let stages = Stage::ALL.map(Position::At);
    let others = [Position::Abandoning, Position::Deleting];
    let mut arrows = Vec::new();
    for position in [Position::Pending].into_iter().chain(stages).chain(others) {
        for event in run::Event::ALL {
            let Ok((next, _)) = run::step(&position, event) else { continue };
            if next != position {
                arrows.push((run_name(position), run_name(next), format!("{event:?}")));
            }
        }
    }
    arrows
}

/// Stages by their own names: all of them are ACTIVE.
fn run_name(position: Position) -> String {
    match position {
        Position::At(stage) => stage.as_str().to_owned(),
        Position::Abandoning => "Abandoning".to_owned(),
        position => position.state().as_str().to_owned(),
    }
}

fn catalog_arrows() -> Vec<(String, String, String)> {
    let before = CatalogStatus::ALL.into_iter().filter(|status| *status != CatalogStatus::Importing);
    let failed = before.map(|before| catalog::Event::ImportFailed { before });
    let plain = [catalog::Event::Import, catalog::Event::Imported, catalog::Event::Clear, catalog::Event::Expire];
    let events: Vec<catalog::Event> = plain.into_iter().chain(failed).collect();
    let mut arrows = Vec::new();
    for status in CatalogStatus::ALL {
        for event in &events {
            let Ok(next) = catalog::step(&status, *event) else { continue };
            let name = match event {
                catalog::Event::ImportFailed { before } => format!("ImportFailed when it was {}", before.as_str()),
                event => format!("{event:?}"),
            };
            if next != status {
                arrows.push((status.as_str().to_owned(), next.as_str().to_owned(), name));
            }
        }
    }
    arrows
}

fn states_page() -> String {
    format!(
        "# States\n\n{WRITTEN}\n\nDrawn from the functions that decide: `step` in `model::job`, `model::run` and `model::catalog`. There are no other arrows.\n\n\
         ## Jobs\n\n{}\n## Runs\n\nThe stages from Validating to Cleaning, and Abandoning, are `ACTIVE` in the API.\n\n{}\n## Catalog\n\n{}",
        diagram("PENDING", &job_arrows()),
        diagram("PENDING", &run_arrows()),
        diagram("NOT_IMPORTED", &catalog_arrows()),
    )
}

fn pages() -> [(PathBuf, String); 2] {
    let docs = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    [(docs.join("errors.md"), errors_page()), (docs.join("states.md"), states_page())]
}

#[test]
fn pages_are_as_the_code_has_them() {
    for (file, page) in pages() {
        let committed = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(committed == page, "{} is not what the code says: see the head of this test", file.display());
    }
}

#[test]
fn every_state_can_be_reached() {
    let reached = |arrows: &[(String, String, String)], state: &str| arrows.iter().any(|(_, to, _)| to == state);
    let (jobs, catalog) = (job_arrows(), catalog_arrows());
    let unreached: Vec<&str> = JobState::ALL.map(JobState::as_str).into_iter().filter(|s| !reached(&jobs, s)).collect();
    assert_eq!(unreached, ["PENDING"], "where jobs begin");
    // Runs are drawn by their stages.
    let runs = run_arrows();
    let unreached: Vec<&str> = RunState::ALL
        .map(RunState::as_str)
        .into_iter()
        .filter(|state| *state != "ACTIVE" && !reached(&runs, state))
        .chain(Stage::ALL.map(Stage::as_str).into_iter().filter(|stage| !reached(&runs, stage)))
        .collect();
    assert_eq!(unreached, ["PENDING"], "where runs begin");
    let statuses = CatalogStatus::ALL.map(CatalogStatus::as_str);
    assert!(statuses.into_iter().all(|status| reached(&catalog, status)));
}

#[test]
#[ignore = "writes into the documentation"]
fn write_the_pages() {
    for (file, page) in pages() {
        std::fs::write(file, page).unwrap();
    }
}
