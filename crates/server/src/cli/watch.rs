//! `godwit runs watch`: follows a run to its end.

use crate::cli::error::CliError;
use crate::cli::output::{self, Tone};
use crate::cli::progress::{Progress, Step};
use crate::cli::{human, limits, runs};
use crate::client::{Client, ClientError};
use crate::outside;
use godwit_api::shapes::enums::ReplicationRunState as State;
use godwit_api::shapes::godwit::RunDescription;
use godwit_model::id::JobId;
use godwit_model::time::Timestamp;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks at a run.
const LOOK: Duration = Duration::from_millis(500);
/// How long the service may be away meanwhile: it may be restarted, and the run goes on.
const PATIENCE: Duration = Duration::from_secs(60);

/// Follows the run, or the job's.
pub async fn watch(client: &Client, json: bool, id: &str) -> Result<(), CliError> {
    let id = match id.parse::<JobId>() {
        Ok(job) => run_of(client, job.as_str()).await?,
        Err(_) => id.to_owned(),
    };
    let mut progress = Progress::watched();
    let followed = follow(client, &id, &mut progress).await;
    progress.end();
    let run = followed?;
    if json {
        output::json(&run)?;
    }
    match run.state {
        State::Completed if json => Ok(()),
        State::Completed => completed(&run),
        _ => Err(ended_otherwise(&run)),
    }
}

/// The job's run at work, else its next one, else its last one.
async fn run_of(client: &Client, job: &str) -> Result<String, CliError> {
    let runs = runs::all(client, Some(job)).await?;
    let at_work = runs.iter().find(|run| matches!(run.state, State::Active | State::Deleting));
    let pending = || runs.iter().filter(|run| run.state == State::Pending).min_by_key(|run| run.scheduled_start_time);
    let run = at_work.or_else(pending).or_else(|| runs.first());
    run.map(|run| run.replication_run_id.clone()).ok_or_else(|| {
        CliError::failed(format!("the job {job} has no runs")).next(format!("start one: godwit runs start {job}"))
    })
}

async fn follow(client: &Client, id: &str, progress: &mut Progress) -> Result<RunDescription, CliError> {
    let mut away: Option<Instant> = None;
    let mut known: Option<RunDescription> = None;
    loop {
        match runs::find(client, id).await {
            Ok(Some(run)) => {
                away = None;
                if has_ended(&run) {
                    return Ok(run);
                }
                progress.show(&step(&run, outside::now()));
                known = Some(run);
            }
            Ok(None) => return Err(runs::get(client, id).await.map_or_else(|error| error, |_| gone(id))),
            Err(error @ ClientError::Unreachable { .. }) if known.is_some() => {
                let since = *away.get_or_insert_with(Instant::now);
                if since.elapsed() > PATIENCE {
                    return Err(error.into());
                }
                progress.show(&Step::named("The service does not answer, trying again"));
            }
            Err(error) => return Err(error.into()),
        }
        sleep(LOOK).await;
    }
}

fn gone(id: &str) -> CliError {
    CliError::failed(format!("the run {id} was not there for a moment")).next("try again")
}

fn has_ended(run: &RunDescription) -> bool {
    matches!(run.state, State::Completed | State::Failed | State::Missed | State::Deleted)
}

fn step(run: &RunDescription, now: Timestamp) -> Step {
    match run.state {
        State::Pending => {
            let due = Timestamp::from(run.scheduled_start_time);
            let text =
                if due <= now { "Waiting to start".to_owned() } else { format!("Starts {}", human::ago(due, now)) };
            return Step::named(text);
        }
        State::Deleting => return Step::named("Deleting"),
        _ => {}
    }
    if let Some(failure) = &run.failure {
        return Step::named(format!("Giving up ({})", failure.code));
    }
    let stage = run.stage.clone().unwrap_or_else(|| "Active".to_owned());
    if let Some(trouble) = &run.retrying_after {
        return Step::named(format!("{stage}: trying again after {trouble}"));
    }
    let is_measured = matches!(stage.as_str(), "Transferring" | "Verifying");
    Step {
        subject: if stage == "Transferring" { volume_at_work(run) } else { String::new() },
        held_back: run.held_back_by.as_deref().map(|by| limits::held_back(by).to_owned()),
        // An empty bar tells nothing: the stage has just begun, and what it will move is not known yet.
        percent: Some(run.percent).filter(|percent| is_measured && *percent > 0.0),
        pace: run.bytes_per_second,
        seconds_left: run.seconds_left,
        stage,
    }
}

/// Which volume is being moved, and the how manieth it is if there are several.
fn volume_at_work(run: &RunDescription) -> String {
    let at = run.volumes.iter().position(|volume| volume.root_digest.is_none());
    let Some((at, volume)) = at.and_then(|at| Some((at, run.volumes.get(at)?))) else { return String::new() };
    match run.volumes.len() {
        1 => volume.device.clone(),
        n => format!("{} ({} of {n})", volume.device, at + 1),
    }
}

fn completed(run: &RunDescription) -> Result<(), CliError> {
    let took = runs::took(run, outside::now()).map(|time| format!(" in {}", human::took(time))).unwrap_or_default();
    let good = output::paint("completed", Tone::Good);
    let image = run.image_id.as_deref().map(|image| format!(": image {image}")).unwrap_or_default();
    output::line(format!("{} {good}{took}{image}", run.replication_run_id))?;
    output::line(figures(run))?;
    for note in runs::all_notes(run) {
        output::line(format!("  {} {note}", output::paint("note:", Tone::Warning)))?;
    }
    Ok(())
}

fn figures(run: &RunDescription) -> String {
    let sizes = [
        ("disk", runs::sum(run, |v| v.bytes_total)),
        ("read", runs::sum(run, |v| v.bytes_read)),
        ("sent", runs::sum(run, |v| v.bytes_sent)),
        ("stored", runs::sum(run, |v| v.bytes_stored)),
    ];
    let mut parts: Vec<_> = sizes.map(|(name, bytes)| format!("{name} {}", human::size(bytes))).into();
    let resent = runs::sum(run, |v| v.bytes_resent);
    if resent > 0 {
        parts.push(format!("sent again {}", human::size(resent)));
    }
    parts.extend(run.consistency.as_deref().map(|word| runs::consistency(word).to_owned()));
    format!("  {}", parts.join(" · "))
}

fn ended_otherwise(run: &RunDescription) -> CliError {
    let id = &run.replication_run_id;
    match (&run.failure, run.state) {
        (Some(failure), _) => CliError::failed(format!("{id} failed: {}: {}", failure.code, failure.evidence))
            .next(failure.next_step.clone()),
        (None, State::Missed) => CliError::failed(format!("{id} was missed: it fell due while it could not run"))
            .next(format!("start one now: godwit runs start {}", run.replication_job_id)),
        (None, state) => CliError::failed(format!("{id} ended as {}", human::state(state.as_str()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godwit_api::shapes::enums::ReplicationRunType;
    use godwit_api::shapes::epoch::EpochSeconds;
    use godwit_api::shapes::godwit::{FailureDescription, RunVolumeDescription};

    fn volume(device: &str, digest: Option<&str>) -> RunVolumeDescription {
        RunVolumeDescription {
            device: device.into(),
            snapshot_id: None,
            bytes_total: 1 << 30,
            bytes_done: 0,
            bytes_read: 1 << 20,
            bytes_sent: 1 << 19,
            bytes_stored: 1 << 19,
            bytes_resent: 0,
            bytes_verified: 0,
            root_digest: digest.map(str::to_owned),
            consistency: Some("CRASH".into()),
            tracked: false,
            notes: vec![],
        }
    }

    fn run(state: State, stage: Option<&str>) -> RunDescription {
        RunDescription {
            replication_run_id: "sms-run-00000001".into(),
            replication_job_id: "sms-job-00000001".into(),
            state,
            r#type: ReplicationRunType::Automatic,
            description: None,
            stage: stage.map(str::to_owned),
            stage_started_on: None,
            percent: 42.0,
            bytes_per_second: Some(1e8),
            seconds_left: Some(12.0),
            scheduled_start_time: EpochSeconds(1_000_000),
            started_on: Some(EpochSeconds(1_000_000)),
            completed_time: Some(EpochSeconds(1_012_000)),
            image_id: None,
            consistency: Some("CRASH".into()),
            point_in_time: None,
            key_id: None,
            key_version: None,
            notes: vec![],
            retrying_after: None,
            failure: None,
            bandwidth_cap: None,
            held_back_by: None,
            forecast: None,
            volumes: vec![volume("vda", Some("d")), volume("vdb", None)],
        }
    }

    #[test]
    fn the_volume_at_work_is_the_first_without_a_digest() {
        let now = Timestamp(2_000_000);
        let shown = step(&run(State::Active, Some("Transferring")), now);
        assert_eq!((shown.subject.as_str(), shown.percent), ("vdb (2 of 2)", Some(42.0)));
        let shown = step(&run(State::Active, Some("Snapshotting")), now);
        assert_eq!((shown.stage.as_str(), shown.percent), ("Snapshotting", None));
        assert_eq!(step(&run(State::Pending, None), now).stage, "Waiting to start");
        let began = RunDescription { percent: 0.0, ..run(State::Active, Some("Transferring")) };
        assert_eq!(step(&began, now).percent, None);
        let held =
            RunDescription { held_back_by: Some("TOTAL_CAP".into()), ..run(State::Active, Some("Transferring")) };
        assert_eq!(step(&held, now).held_back.as_deref(), Some("the cap over all runs"));
    }

    #[test]
    fn figures_are_sums_and_name_the_consistency() {
        let text = figures(&run(State::Completed, None));
        assert_eq!(text, "  disk 2 GiB · read 2 MiB · sent 1 MiB · stored 1 MiB · as after a power cut");
    }

    #[test]
    fn a_failure_has_code_cause_and_next_step() {
        let mut failed = run(State::Failed, Some("Transferring"));
        failed.failure = Some(FailureDescription {
            code: "StoreFull".into(),
            cause: "The store has no space left".into(),
            evidence: "no space left".into(),
            next_step: "free space".into(),
        });
        let error = ended_otherwise(&failed);
        assert_eq!(error.what, "sms-run-00000001 failed: StoreFull: no space left");
        assert_eq!(error.next.as_deref(), Some("free space"));
        assert!(ended_otherwise(&run(State::Missed, None)).next.unwrap().contains("runs start sms-job-00000001"));
    }
}
