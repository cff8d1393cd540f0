//! `godwit runs`.

use crate::cli::error::CliError;
use crate::cli::output::Tone;
use crate::cli::table::{Field, facts, table};
use crate::cli::{human, limits, output, ranges, watch};
use crate::client::{Client, ClientError, all_pages};
use crate::outside;
use clap::Subcommand;
use godwit_api::shapes::enums::ReplicationRunState;
use godwit_api::shapes::godwit::{
    DescribeReplicationRunsRequest, ForecastDescription, RunDescription, RunVolumeDescription, UpdateRunRequest,
};
use godwit_api::shapes::requests::StartOnDemandReplicationRunRequest;
use godwit_model::time::{Millis, Timestamp};
use serde_json::json;

/// Columns of the list that a narrow terminal does without.
const EXPENDABLE: &[&str] = &["took", "stored", "job", "image", "error", "forecast", "read"];

/// What to do with runs.
#[derive(Subcommand, Debug)]
pub enum RunsCommand {
    /// List runs, newest first
    List {
        /// Only those of this job
        #[arg(long, value_name = "JOB")]
        job: Option<String>,
    },
    /// Show a run with all its figures
    Show {
        /// Id of the run
        run: String,
    },
    /// Start an extra run of a job now; two in any 24 hours, none while another is active
    Start {
        /// Id of the job
        job: String,
        /// For people
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Change how fast a run may read, now and until its end
    #[command(after_help = CAP_EXAMPLES)]
    Cap {
        /// Id of the run
        run: String,
        /// How fast; 'job': as its job says
        #[arg(value_parser = limits::cap_of_run)]
        cap: String,
    },
    /// Follow a run to its end; status 0 if it completed, 1 if it failed
    #[command(after_help = WATCH_EXAMPLES)]
    Watch {
        /// Id of a run; or of a job, which stands for its run at work or else its next one
        #[arg(value_name = "RUN-OR-JOB")]
        id: String,
    },
}

const CAP_EXAMPLES: &str = "\
A cap is a rate (20MB/s, 160Mbit/s), 0 (nothing is read) or none; or hours of
days with a rate each, by the clock of a time zone. It counts at once.

Examples:
  godwit runs cap sms-run-1a2b3c4d 5MB/s
  godwit runs cap sms-run-1a2b3c4d 0
  godwit runs cap sms-run-1a2b3c4d job";

const WATCH_EXAMPLES: &str = "\
Examples:
  godwit runs watch sms-run-1a2b3c4d
  godwit runs watch sms-job-1a2b3c4d && echo done";

/// Does it.
pub async fn run(command: RunsCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        RunsCommand::List { job } => list(client, json, job.as_deref()).await,
        RunsCommand::Show { run } => {
            let run = get(client, &run).await?;
            if json { output::json(&run) } else { show(&run) }
        }
        RunsCommand::Start { job, description } => start(client, json, job, description).await,
        RunsCommand::Cap { run, cap } => set_cap(client, json, run, cap).await,
        RunsCommand::Watch { id } => watch::watch(client, json, &id).await,
    }
}

/// All runs, newest first; or those of a job.
pub async fn all(client: &Client, job: Option<&str>) -> Result<Vec<RunDescription>, ClientError> {
    all_pages(|next_token| async {
        let request = DescribeReplicationRunsRequest {
            replication_job_id: job.map(str::to_owned),
            next_token,
            ..DescribeReplicationRunsRequest::default()
        };
        let answer = client.describe_runs(&request).await?;
        Ok((answer.runs, answer.next_token))
    })
    .await
}

/// The run of this id.
pub async fn find(client: &Client, id: &str) -> Result<Option<RunDescription>, ClientError> {
    let request = DescribeReplicationRunsRequest {
        replication_run_ids: Some(vec![id.to_owned()]),
        ..DescribeReplicationRunsRequest::default()
    };
    Ok(client.describe_runs(&request).await?.runs.into_iter().next())
}

/// The run of this id, which should be there.
pub async fn get(client: &Client, id: &str) -> Result<RunDescription, CliError> {
    let none =
        || CliError::failed(format!("there is no replication run {id}")).next("see which there are: godwit runs list");
    find(client, id).await?.ok_or_else(none)
}

/// Sum of a figure over the volumes.
pub fn sum(run: &RunDescription, figure: impl Fn(&RunVolumeDescription) -> u64) -> u64 {
    run.volumes.iter().map(figure).sum()
}

/// Writes runs as a table; the job's id is left out if all are `of_one_job`.
pub fn list_table(runs: &[RunDescription], of_one_job: bool) -> Result<(), CliError> {
    let now = outside::now();
    let row = |run: &RunDescription| {
        let moved =
            |bytes: u64| Field::number(if run.volumes.is_empty() { "–".to_owned() } else { human::size(bytes) });
        [
            run.replication_run_id.as_str().into(),
            run.replication_job_id.as_str().into(),
            state(run),
            started(run, now).into(),
            Field::number(took(run, now).map_or_else(|| "–".to_owned(), human::took)),
            moved(sum(run, |v| v.bytes_read)),
            Field::number(forecast_of_read(run)),
            Field::number(error_of_read(run)),
            moved(sum(run, |v| v.bytes_stored)),
            run.image_id.as_deref().unwrap_or("–").into(),
        ]
    };
    let header = ["run", "job", "state", "started", "took", "read", "forecast", "error", "stored", "image"];
    let rows: Vec<_> = runs.iter().map(row).collect();
    if of_one_job {
        let without = rows.iter().map(|[run, _, rest @ ..]| without_job(run.clone(), rest.clone()));
        let [run, _, rest @ ..] = header;
        return table(without_job(run, rest), EXPENDABLE, &without.collect::<Vec<_>>());
    }
    table(header, EXPENDABLE, &rows)
}

fn without_job<T>(run: T, rest: [T; 8]) -> [T; 9] {
    let [state, started, took, read, forecast, error, stored, image] = rest;
    [run, state, started, took, read, forecast, error, stored, image]
}

/// Bytes that the run was likely to read, as forecast when it began.
fn forecast_of_read(run: &RunDescription) -> String {
    let [likely, _] = ranges::bytes(run.forecast.as_ref().and_then(|told| told.bytes_read.as_ref()));
    likely
}

/// How far off that was.
fn error_of_read(run: &RunDescription) -> String {
    ranges::percent(run.forecast.as_ref().and_then(|told| told.error.as_ref()?.bytes_read))
}

async fn list(client: &Client, json: bool, job: Option<&str>) -> Result<(), CliError> {
    let runs = all(client, job).await?;
    if json {
        return output::json(&runs);
    }
    if runs.is_empty() {
        return output::line(
            "No runs yet. Create a job, which starts its own: godwit jobs create --server NAME --every 12h",
        );
    }
    list_table(&runs, job.is_some())
}

async fn start(client: &Client, json: bool, job: String, description: Option<String>) -> Result<(), CliError> {
    let request = StartOnDemandReplicationRunRequest { replication_job_id: job, description };
    let id = client.start_run(&request).await?.replication_run_id;
    let id = id.ok_or_else(|| CliError::failed("the service started a run and did not say which"))?;
    if json {
        return output::json(&json!({ "run_id": id }));
    }
    output::line(format!("Started {id}. Follow it: godwit runs watch {id}"))
}

async fn set_cap(client: &Client, json: bool, run: String, cap: String) -> Result<(), CliError> {
    client.update_run(&UpdateRunRequest { replication_run_id: run.clone(), bandwidth_cap: cap.clone() }).await?;
    if json {
        return output::json(&json!({ "run_id": run, "bandwidth_cap": cap }));
    }
    output::line(match cap.as_str() {
        "" => format!("{run}: as its job says."),
        cap => format!("{run}: {cap}."),
    })
}

fn state(run: &RunDescription) -> Field {
    match (&run.state, &run.stage) {
        (ReplicationRunState::Active, Some(stage)) => {
            let percent = run.percent;
            Field::from(format!("{} {percent:.0} %", stage.to_lowercase())).tone(Tone::Busy)
        }
        (state, _) => Field::state(state.as_str()),
    }
}

fn started(run: &RunDescription, now: Timestamp) -> String {
    match run.started_on {
        Some(time) => human::ago(time.into(), now),
        None => format!("due {}", human::ago(run.scheduled_start_time.into(), now)),
    }
}

/// How long it took, or takes until now.
pub fn took(run: &RunDescription, now: Timestamp) -> Option<Millis> {
    let begun = Timestamp::from(run.started_on?);
    Some(run.completed_time.map_or(now, Timestamp::from) - begun)
}

/// How consistent the guest was, in words.
pub fn consistency(word: &str) -> &str {
    match word {
        "FILE_SYSTEM" => "file systems flushed and frozen by the guest agent",
        "CRASH" => "as after a power cut",
        other => other,
    }
}

fn show(run: &RunDescription) -> Result<(), CliError> {
    let now = outside::now();
    let moment = |time: godwit_api::shapes::epoch::EpochSeconds| Field::from(human::moment(time.into(), now));
    let mut about = vec![
        ("run", Field::from(run.replication_run_id.as_str()).tone(Tone::Strong)),
        ("job", run.replication_job_id.as_str().into()),
        ("state", state(run)),
        ("started by", human::state(run.r#type.as_str()).into()),
    ];
    about.extend(run.description.as_deref().map(|description| ("description", description.into())));
    match run.started_on {
        Some(time) => about.push(("started", moment(time))),
        None => about.push(("due", moment(run.scheduled_start_time))),
    }
    about.extend(run.completed_time.map(|time| ("ended", moment(time))));
    about.extend(took(run, now).map(|time| ("took", human::took(time).into())));
    about.extend(run.point_in_time.map(|time| ("point in time", moment(time))));
    about.extend(run.consistency.as_deref().map(|word| ("consistency", consistency(word).into())));
    about.extend(run.image_id.as_deref().map(|image| ("image", image.into())));
    about.extend(key(run.key_id.as_deref(), run.key_version).map(|key| ("key", key.into())));
    about.extend(run.bandwidth_cap.as_deref().map(|cap| ("cap", cap.into())));
    about.extend(run.held_back_by.as_deref().map(|by| ("held back by", limits::held_back(by).into())));
    if let Some(failure) = &run.failure {
        about.push(("failure", Field::from(failure.code.as_str()).tone(Tone::Bad)));
        about.push(("cause", failure.cause.as_str().into()));
        about.push(("evidence", failure.evidence.as_str().into()));
        about.push(("next step", failure.next_step.as_str().into()));
    }
    facts(&about)?;
    if !run.volumes.is_empty() {
        output::line("")?;
        volumes(run)?;
    }
    if let Some(told) = &run.forecast {
        output::line("")?;
        forecast(run, told)?;
    }
    notes(run)
}

/// What was forecast when the run began, what it has come to, and how far off that was.
fn forecast(run: &RunDescription, told: &ForecastDescription) -> Result<(), CliError> {
    let now = outside::now();
    let errors = told.error.as_ref();
    let row = |name: &str, [likely, between]: [String; 2], is: String, ratio: Option<Option<f64>>| {
        let error = ratio.map_or_else(|| "–".to_owned(), ranges::error);
        [name.into(), Field::number(likely), between.into(), Field::number(is), error.into()]
    };
    let time = took(run, now).map_or_else(|| "–".to_owned(), human::took);
    let (read, stored) = (sum(run, |v| v.bytes_read), sum(run, |v| v.bytes_stored));
    let rows = [
        row("read", ranges::bytes(told.bytes_read.as_ref()), human::size(read), errors.map(|e| e.bytes_read)),
        row("stored", ranges::bytes(told.bytes_stored.as_ref()), human::size(stored), errors.map(|e| e.bytes_stored)),
        row("took", ranges::seconds(told.seconds.as_ref()), time, errors.map(|e| e.seconds)),
    ];
    table(["forecast", "likely", "between", "is", "error"], &["between"], &rows)?;
    output::line(format!("{} {}", output::paint("forecast from", Tone::Faint), told.basis))
}

/// A key and its version.
pub fn key(id: Option<&str>, version: Option<u32>) -> Option<String> {
    Some(format!("{}, version {}", id?, version?))
}

fn volumes(run: &RunDescription) -> Result<(), CliError> {
    let row = |v: &RunVolumeDescription| {
        [
            v.device.as_str().into(),
            Field::number(human::size(v.bytes_total)),
            Field::number(human::size(v.bytes_read)),
            Field::number(human::size(v.bytes_sent)),
            Field::number(human::size(v.bytes_stored)),
            Field::number(human::size(v.bytes_resent)),
            Field::number(human::size(v.bytes_verified)),
            if v.tracked { "tracked changes".into() } else { "everything".into() },
            v.snapshot_id.as_deref().unwrap_or("–").into(),
        ]
    };
    let header = ["volume", "size", "read", "sent", "stored", "sent again", "verified", "looked at", "snapshot"];
    let expendable = ["looked at", "verified", "sent again", "sent"];
    table(header, &expendable, &run.volumes.iter().map(row).collect::<Vec<_>>())?;
    for volume in &run.volumes {
        if let Some(digest) = &volume.root_digest {
            output::line(format!("{} {}: {digest}", output::paint("root digest of", Tone::Faint), volume.device))?;
        }
    }
    Ok(())
}

fn notes(run: &RunDescription) -> Result<(), CliError> {
    for note in all_notes(run) {
        output::line(format!("{} {note}", output::paint("note:", Tone::Warning)))?;
    }
    Ok(())
}

/// What the operator should know of a run and its volumes.
pub fn all_notes(run: &RunDescription) -> Vec<String> {
    let of_volumes = run.volumes.iter().flat_map(|v| v.notes.iter().map(|note| format!("{}: {note}", v.device)));
    run.notes.iter().cloned().chain(of_volumes).collect()
}
