//! `godwit jobs`.

mod edit;
mod forecast;

use crate::cli::error::CliError;
use crate::cli::output::Tone;
use crate::cli::progress::{Progress, Step};
use crate::cli::table::{Field, facts, table};
use crate::cli::when::{Every, Start};
use crate::cli::{human, output, runs};
use crate::client::{Client, ClientError, all_pages};
use crate::outside;
use clap::Subcommand;
use godwit_api::shapes::enums::ReplicationJobState;
use godwit_api::shapes::godwit::{DescribeJobsRequest, JobDescription, ResumeJobRequest};
use godwit_api::shapes::requests::DeleteReplicationJobRequest;
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
    /// Say what the first copy, the next run and a cut-over will read, store and take
    Forecast {
        /// Id of the job
        job: String,
    },
    /// Create a job; its first run starts at once unless --start says otherwise
    #[command(after_help = edit::CREATE_EXAMPLES)]
    Create(edit::CreateArgs),
    /// Change a job
    #[command(after_help = "Example:\n  godwit jobs update sms-job-1a2b3c4d --every 6h --start +2h")]
    Update(edit::UpdateArgs),
    /// Put a job back to work that was paused because its runs failed
    #[command(after_help = "Example:\n  godwit jobs resume sms-job-1a2b3c4d --start now")]
    Resume {
        /// Id of the job
        job: String,
        /// When the next run starts: now, +2h, a time; this moves the schedule. Without it, as scheduled
        #[arg(long, value_name = "TIME")]
        start: Option<Start>,
    },
    /// Delete a job: its run is stopped, change tracking at the source ends, images stay
    Delete {
        /// Id of the job
        job: String,
        /// Wait until everything that it left behind is removed
        #[arg(long)]
        wait: bool,
    },
}

/// Does it.
pub async fn run(command: JobsCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        JobsCommand::List { all } => list(client, json, all).await,
        JobsCommand::Show { job } => show(client, json, &job).await,
        JobsCommand::Forecast { job } => forecast::forecast(client, json, job).await,
        JobsCommand::Create(args) => edit::create(client, json, args).await,
        JobsCommand::Update(args) => edit::update(client, json, args).await,
        JobsCommand::Resume { job, start } => resume(client, json, &job, start).await,
        JobsCommand::Delete { job, wait } => delete(client, json, &job, wait).await,
    }
}

/// The job of this id.
pub async fn get(client: &Client, id: &str) -> Result<JobDescription, CliError> {
    let request =
        DescribeJobsRequest { replication_job_ids: Some(vec![id.to_owned()]), ..DescribeJobsRequest::default() };
    client.describe_jobs(&request).await?.jobs.into_iter().next().ok_or_else(|| {
        CliError::failed(format!("there is no replication job {id}"))
            .next("see which there are: godwit jobs list --all")
    })
}

async fn all_jobs(client: &Client) -> Result<Vec<JobDescription>, ClientError> {
    all_pages(|next_token| async {
        let request = DescribeJobsRequest { next_token, ..DescribeJobsRequest::default() };
        let answer = client.describe_jobs(&request).await?;
        Ok((answer.jobs, answer.next_token))
    })
    .await
}

async fn list(client: &Client, json: bool, all: bool) -> Result<(), CliError> {
    let mut jobs = all_jobs(client).await?;
    jobs.retain(|job| all || job.state != ReplicationJobState::Deleted);
    if json {
        return output::json(&jobs);
    }
    if jobs.is_empty() {
        return output::line("No jobs yet. Create one: godwit jobs create --server NAME --every 12h");
    }
    let now = outside::now();
    let row = |job: &JobDescription| {
        [
            job.replication_job_id.as_str().into(),
            job.server_name.as_str().into(),
            Field::state(job.state.as_str()),
            interval(job).into(),
            next_run(job, |time| human::ago(time, now)).into(),
            text(job.latest_image_id.as_ref()),
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
        ("job", Field::from(job.replication_job_id.as_str()).tone(Tone::Strong)),
        ("server", format!("{} ({})", job.server_name, job.server_id).into()),
        ("state", Field::state(job.state.as_str())),
        ("every", interval(&job).into()),
        ("next run", next_run(&job, |time| human::moment(time, now)).into()),
        ("licence", licence(&job).into()),
        ("role", job.role_name.as_str().into()),
        ("latest image", text(job.latest_image_id.as_ref())),
    ];
    about.push(("key", job.kms_key_id.as_deref().unwrap_or("the default key").into()));
    about.extend(job.number_of_recent_amis_to_keep.map(|n| ("keeps", kept(n).into())));
    about.extend(job.bandwidth_cap.as_deref().map(|cap| ("cap", cap.into())));
    about.extend((!job.run_once).then(|| ("on failures", on_failures(&job).into())));
    about.extend((!job.recipients.is_empty()).then(|| ("tells", job.recipients.join(", ").into())));
    about.extend(job.description.as_deref().map(|description| ("description", description.into())));
    about.extend(job.status_message.as_deref().map(|message| ("status", message.into())));
    facts(&about)?;
    if job.state == ReplicationJobState::PausedOnFailure {
        output::line("")?;
        output::line(format!("When the cause is removed: godwit jobs resume {id} --start now"))?;
    }
    let mut newest = runs::all(client, Some(id)).await?;
    newest.truncate(NEWEST);
    if newest.is_empty() {
        return Ok(());
    }
    output::line("")?;
    runs::list_table(&newest, true)
}

async fn resume(client: &Client, json: bool, id: &str, start: Option<Start>) -> Result<(), CliError> {
    let next_replication_run_start_time = start.map(|start| start.resolve(outside::now()).into());
    client.resume_job(&ResumeJobRequest { replication_job_id: id.to_owned(), next_replication_run_start_time }).await?;
    if json {
        return output::json(&json!({ "job_id": id }));
    }
    output::line(format!("{id} is at work again. See when it runs: godwit jobs show {id}"))
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
    while get(client, id).await?.state != ReplicationJobState::Deleted {
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

fn kept(images: u32) -> String {
    match images {
        0 => "all images".to_owned(),
        n => human::count(n as usize, "newest image"),
    }
}

fn interval(job: &JobDescription) -> String {
    job.interval_minutes.map_or_else(|| "once".to_owned(), |minutes| Every(minutes).to_string())
}

fn licence(job: &JobDescription) -> String {
    match (job.license_type, job.license_chosen) {
        (Some(licence), true) => format!("{} (chosen by the server's platform)", licence.as_str()),
        (Some(licence), false) => licence.as_str().to_owned(),
        (None, _) => "chosen when the server's platform is known".to_owned(),
    }
}

fn on_failures(job: &JobDescription) -> String {
    let what = if job.pause_on_failure { "pauses" } else { "ends" };
    let now = match job.failures {
        0 => String::new(),
        n => format!(" (now {n})"),
    };
    format!("{what} after {} in a row{now}", job.pause_after_failures)
}

fn next_run(job: &JobDescription, shown: impl Fn(Timestamp) -> String) -> String {
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
