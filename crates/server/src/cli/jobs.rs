//! `godwit jobs`.

use crate::cli::error::CliError;
use crate::cli::output::Tone;
use crate::cli::progress::{Progress, Step};
use crate::cli::servers::{id_of, name_of};
use crate::cli::table::{Field, facts, table};
use crate::cli::when::{Hours, Start};
use crate::cli::{human, output, runs};
use crate::client::{Client, ClientError, all_pages};
use crate::outside;
use clap::{ArgGroup, Args, Subcommand, ValueEnum};
use godwit_api::shapes::enums::{LicenseType, ReplicationJobState};
use godwit_api::shapes::requests::{
    CreateReplicationJobRequest, DeleteReplicationJobRequest, GetReplicationJobsRequest, UpdateReplicationJobRequest,
};
use godwit_api::shapes::structures::ReplicationJob;
use godwit_model::time::Timestamp;
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks at a job that is being deleted.
const LOOK: Duration = Duration::from_millis(300);
/// How long deleting may take: the bounds of stopping a run and of settling at the source, and some more.
const DELETE_BOUND: Duration = Duration::from_secs(600);
/// Runs that `jobs show` lists.
const NEWEST: usize = 5;

/// What to do with jobs.
#[derive(Subcommand, Debug)]
pub enum JobsCommand {
    /// List jobs
    List {
        /// Deleted ones, too
        #[arg(long)]
        all: bool,
    },
    /// Show a job and its newest runs
    Show {
        /// Id of the job
        job: String,
    },
    /// Create a job; its first run starts at once unless --start says otherwise
    #[command(after_help = CREATE_EXAMPLES)]
    Create(CreateArgs),
    /// Change a job
    #[command(after_help = "Example:\n  godwit jobs update sms-job-1a2b3c4d --every 6h --start +2h")]
    Update(UpdateArgs),
    /// Delete a job: its run is stopped, change tracking at the source ends, images stay
    Delete {
        /// Id of the job
        job: String,
        /// Wait until everything that it left behind is removed
        #[arg(long)]
        wait: bool,
    },
}

const CREATE_EXAMPLES: &str = "\
Examples:
  godwit jobs create --server web01 --every 12h
  godwit jobs create --server s-1a2b3c4d --once --start 2026-01-31T22:00Z
  godwit jobs create --server web01 --every 24h --start +2h --licence byol";

/// A new job.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("how_often").required(true).args(["every", "once"])))]
pub struct CreateArgs {
    /// Id or name of the server
    #[arg(long, value_name = "ID-OR-NAME")]
    server: String,
    /// Run again and again: whole hours, 1h to 24h
    #[arg(long, value_name = "INTERVAL")]
    every: Option<Hours>,
    /// Run once
    #[arg(long)]
    once: bool,
    /// When the first run starts: now, +2h, an RFC 3339 time or a local one; up to 30 days ahead
    #[arg(long, value_name = "TIME", default_value = "now")]
    start: Start,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whose licence the guest runs under at the target: Godwit chooses, the target's, or your own
    #[arg(long, value_enum, default_value = "auto", visible_alias = "license")]
    licence: NewLicence,
    /// How many of its newest images to keep: up to 270; 0 keeps all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=270))]
    keep: Option<i32>,
}

/// Changes of a job.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args(["every", "start", "description", "licence", "keep"])))]
pub struct UpdateArgs {
    /// Id of the job
    job: String,
    /// Run again and again: whole hours, 1h to 24h
    #[arg(long, value_name = "INTERVAL")]
    every: Option<Hours>,
    /// When the next run starts: now, +2h, an RFC 3339 time or a local one
    #[arg(long, value_name = "TIME")]
    start: Option<Start>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whose licence the guest runs under at the target
    #[arg(long, value_enum, visible_alias = "license")]
    licence: Option<Licence>,
    /// How many of its newest images to keep: up to 270; 0 keeps all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=270))]
    keep: Option<i32>,
}

/// Licence of a new job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum NewLicence {
    // Godwit chooses.
    Auto,
    // Provided by the target.
    Aws,
    // The customer's own.
    Byol,
}

/// Licence of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Licence {
    // Provided by the target.
    Aws,
    // The customer's own.
    Byol,
}

impl Licence {
    fn on_wire(self) -> LicenseType {
        match self {
            Licence::Aws => LicenseType::Aws,
            Licence::Byol => LicenseType::Byol,
        }
    }
}

impl NewLicence {
    fn on_wire(self) -> Option<LicenseType> {
        match self {
            NewLicence::Auto => None,
            NewLicence::Aws => Some(LicenseType::Aws),
            NewLicence::Byol => Some(LicenseType::Byol),
        }
    }
}

/// Does it.
pub async fn run(command: JobsCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        JobsCommand::List { all } => list(client, json, all).await,
        JobsCommand::Show { job } => show(client, json, &job).await,
        JobsCommand::Create(args) => create(client, json, args).await,
        JobsCommand::Update(args) => update(client, json, args).await,
        JobsCommand::Delete { job, wait } => delete(client, json, &job, wait).await,
    }
}

/// The job of this id.
pub async fn get(client: &Client, id: &str) -> Result<ReplicationJob, CliError> {
    let request =
        GetReplicationJobsRequest { replication_job_id: Some(id.to_owned()), ..GetReplicationJobsRequest::default() };
    let found =
        client.get_replication_jobs(&request).await?.replication_job_list.unwrap_or_default().into_iter().next();
    found.ok_or_else(|| {
        CliError::failed(format!("there is no replication job {id}"))
            .next("see which there are: godwit jobs list --all")
    })
}

async fn all_jobs(client: &Client) -> Result<Vec<ReplicationJob>, ClientError> {
    all_pages(|next_token| async {
        let request = GetReplicationJobsRequest { next_token, ..GetReplicationJobsRequest::default() };
        let answer = client.get_replication_jobs(&request).await?;
        Ok((answer.replication_job_list.unwrap_or_default(), answer.next_token))
    })
    .await
}

async fn list(client: &Client, json: bool, all: bool) -> Result<(), CliError> {
    let mut jobs = all_jobs(client).await?;
    jobs.retain(|job| all || job.state != Some(ReplicationJobState::Deleted));
    if json {
        return output::json(&jobs);
    }
    if jobs.is_empty() {
        return output::line("No jobs yet. Create one: godwit jobs create --server NAME --every 12h");
    }
    let now = outside::now();
    let row = |job: &ReplicationJob| {
        [
            text(job.replication_job_id.as_ref()),
            name_of(job.vm_server.as_ref()).into(),
            state(job),
            interval(job).into(),
            next_run(job, |time| human::ago(time, now)).into(),
            text(job.latest_ami_id.as_ref()),
        ]
    };
    let header = ["job", "server", "state", "every", "next run", "latest image"];
    table(header, &["next run", "every", "latest image"], &jobs.iter().map(row).collect::<Vec<_>>())
}

async fn show(client: &Client, json: bool, id: &str) -> Result<(), CliError> {
    let job = get(client, id).await?;
    if json {
        return output::json(&job);
    }
    let now = outside::now();
    let mut about = vec![
        ("job", text(job.replication_job_id.as_ref()).tone(Tone::Strong)),
        ("server", format!("{} ({})", name_of(job.vm_server.as_ref()), job.server_id.as_deref().unwrap_or("–")).into()),
        ("state", state(&job)),
        ("every", interval(&job).into()),
        ("next run", next_run(&job, |time| human::moment(time, now)).into()),
        ("licence", job.license_type.map_or("chosen automatically", LicenseType::as_str).into()),
        ("latest image", text(job.latest_ami_id.as_ref())),
    ];
    about.extend(job.number_of_recent_amis_to_keep.map(|n| ("keeps", kept(n).into())));
    about.extend(job.description.as_deref().map(|description| ("description", description.into())));
    about.extend(job.status_message.as_deref().map(|message| ("status", message.into())));
    facts(&about)?;
    let mut newest = runs::all(client, Some(id)).await?;
    newest.truncate(NEWEST);
    if newest.is_empty() {
        return Ok(());
    }
    output::line("")?;
    runs::list_table(&newest, true)
}

async fn create(client: &Client, json: bool, args: CreateArgs) -> Result<(), CliError> {
    let server_id = id_of(client, &args.server).await?;
    let now = outside::now();
    let start = args.start.resolve(now);
    let request = CreateReplicationJobRequest {
        server_id,
        seed_replication_time: start.into(),
        frequency: args.every.map(|every| every.0),
        run_once: args.once.then_some(true),
        license_type: args.licence.on_wire(),
        description: args.description,
        number_of_recent_amis_to_keep: args.keep,
        ..CreateReplicationJobRequest::default()
    };
    let id = client.create_replication_job(&request).await?.replication_job_id;
    let id = id.ok_or_else(|| CliError::failed("the service created a job and did not say which"))?;
    if json {
        return output::json(&json!({ "job_id": id }));
    }
    let when = if start <= now { "starts now".to_owned() } else { format!("starts {}", human::ago(start, now)) };
    output::line(format!("Created {id}; its first run {when}. Follow it: godwit runs watch {id}"))
}

async fn update(client: &Client, json: bool, args: UpdateArgs) -> Result<(), CliError> {
    let request = UpdateReplicationJobRequest {
        replication_job_id: args.job.clone(),
        frequency: args.every.map(|every| every.0),
        next_replication_run_start_time: args.start.map(|start| start.resolve(outside::now()).into()),
        license_type: args.licence.map(Licence::on_wire),
        description: args.description,
        number_of_recent_amis_to_keep: args.keep,
        ..UpdateReplicationJobRequest::default()
    };
    client.update_replication_job(&request).await?;
    if json {
        return output::json(&json!({ "job_id": args.job }));
    }
    output::line(format!("Changed {}. See it: godwit jobs show {}", args.job, args.job))
}

async fn delete(client: &Client, json: bool, id: &str, wait: bool) -> Result<(), CliError> {
    client.delete_replication_job(&DeleteReplicationJobRequest { replication_job_id: id.to_owned() }).await?;
    if wait {
        wait_until_deleted(client, id).await?;
    }
    if json {
        return output::json(&json!({ "job_id": id }));
    }
    output::line(match wait {
        true => format!("Deleted {id}. Its images stay."),
        false => format!("{id} is being deleted. Its images stay."),
    })
}

async fn wait_until_deleted(client: &Client, id: &str) -> Result<(), CliError> {
    let mut progress = Progress::new();
    let since = Instant::now();
    while get(client, id).await?.state != Some(ReplicationJobState::Deleted) {
        if since.elapsed() > DELETE_BOUND {
            progress.end();
            return Err(CliError::failed(format!("{id} is still being deleted"))
                .next(format!("the source may be out of reach; see: godwit jobs show {id}")));
        }
        progress.show(&Step::named("Deleting"));
        sleep(LOOK).await;
    }
    progress.end();
    Ok(())
}

fn text(text: Option<&String>) -> Field {
    text.map_or_else(|| "–".into(), |text| text.as_str().into())
}

fn state(job: &ReplicationJob) -> Field {
    job.state.map_or_else(|| "–".into(), |state| Field::state(state.as_str()))
}

fn kept(images: i32) -> String {
    match images {
        0 => "all images".to_owned(),
        n => human::count(n.unsigned_abs() as usize, "newest image"),
    }
}

fn interval(job: &ReplicationJob) -> String {
    match (job.run_once, job.frequency) {
        (Some(true), _) => "once".to_owned(),
        (_, Some(hours)) => format!("{hours} h"),
        _ => "–".to_owned(),
    }
}

fn next_run(job: &ReplicationJob, shown: impl Fn(Timestamp) -> String) -> String {
    job.next_replication_run_start_time.map_or_else(|| "–".to_owned(), |time| shown(time.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_to_keep_means_all() {
        assert_eq!([0, 1, 270].map(kept), ["all images", "1 newest image", "270 newest images"]);
    }
}
