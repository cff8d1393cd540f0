//! `godwit jobs create` and `update`.

use crate::cli::error::CliError;
use crate::cli::servers::id_of;
use crate::cli::when::{Every, Start};
use crate::cli::{human, limits, output};
use crate::client::Client;
use crate::outside;
use clap::{ArgGroup, Args, ValueEnum};
use godwit_api::shapes::godwit::{CreateJobRequest, LicenseWish, UpdateJobRequest};
use serde_json::json;

/// Shown below the help of `create`.
pub const CREATE_EXAMPLES: &str = "\
Examples:
  godwit jobs create --server web01 --every 12h
  godwit jobs create --server s-1a2b3c4d --once --start 2026-01-31T22:00Z
  godwit jobs create --server web01 --every 30m --keep 24 --notify ops@example.org
  godwit jobs create --server hr01 --every 12h --key alias/payroll
  godwit jobs create --server web01 --every 24h --start +2h --licence byol --no-pause";

/// A new job.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("how_often").required(true).args(["every", "once"])))]
pub struct CreateArgs {
    /// Id or name of the server
    #[arg(long, value_name = "ID-OR-NAME")]
    server: String,
    /// Run again and again: 30m, 12h or 1d; from a minute to 30 days
    #[arg(long, value_name = "INTERVAL")]
    every: Option<Every>,
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
    licence: Licence,
    /// How many of its newest images to keep: up to 270; 0 keeps all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=270))]
    keep: Option<i32>,
    /// Role that its runs work under; the default one if absent
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Encrypt its images with this key: its id, an alias, or the ARN of either [default: the default key]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// How fast each of its runs may read: 20MB/s, 160Mbit/s, 0 or none; or hours with a rate each
    #[arg(long, value_name = "CAP", value_parser = limits::cap)]
    cap: Option<String>,
    #[command(flatten)]
    trouble: TroubleArgs,
}

/// Who is told, and what follows when runs fail.
#[derive(Args, Debug)]
struct TroubleArgs {
    /// Whom to tell what became of it: an e-mail or web address; give it again for more
    #[arg(long, value_name = "ADDRESS")]
    notify: Vec<String>,
    /// Pause the job when so many scheduled runs have failed in a row: 1 to 100
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=100))]
    pause_after: Option<i32>,
    /// End the job then, instead of pausing it
    #[arg(long)]
    no_pause: bool,
}

/// Changes of a job.
#[derive(Args, Debug)]
#[command(group(ArgGroup::new("what").required(true).multiple(true).args([
    "every", "start", "description", "licence", "keep", "role", "key", "default_key", "notify", "notify_nobody",
    "pause_after", "pause", "no_pause", "cap",
])))]
pub struct UpdateArgs {
    /// Id of the job
    job: String,
    /// Run again and again: 30m, 12h or 1d; from a minute to 30 days
    #[arg(long, value_name = "INTERVAL")]
    every: Option<Every>,
    /// When the next run starts: now, +2h, an RFC 3339 time or a local one
    #[arg(long, value_name = "TIME")]
    start: Option<Start>,
    /// For people
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Whose licence the guest runs under at the target: Godwit chooses, the target's, or your own
    #[arg(long, value_enum, visible_alias = "license")]
    licence: Option<Licence>,
    /// How many of its newest images to keep: up to 270; 0 keeps all
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..=270))]
    keep: Option<i32>,
    /// Role that its runs work under
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// Encrypt its images with this key; the next run reads everything
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Encrypt its images with the default key
    #[arg(long, conflicts_with = "key")]
    default_key: bool,
    /// How fast each of its runs may read: 20MB/s, 160Mbit/s, 0 or none; or hours with a rate each
    #[arg(long, value_name = "CAP", value_parser = limits::cap)]
    cap: Option<String>,
    #[command(flatten)]
    trouble: TroubleArgs,
    /// Tell nobody any more
    #[arg(long, conflicts_with = "notify")]
    notify_nobody: bool,
    /// Pause it when runs fail in a row, instead of ending it
    #[arg(long, conflicts_with = "no_pause")]
    pause: bool,
}

/// Licence of a job.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Licence {
    // Godwit chooses.
    Auto,
    // Provided by the target.
    Aws,
    // The customer's own.
    Byol,
}

impl Licence {
    fn on_wire(self) -> LicenseWish {
        match self {
            Licence::Auto => LicenseWish::Auto,
            Licence::Aws => LicenseWish::Aws,
            Licence::Byol => LicenseWish::Byol,
        }
    }
}

/// Creates a job.
pub async fn create(client: &Client, json: bool, args: CreateArgs) -> Result<(), CliError> {
    let server_id = id_of(client, &args.server).await?;
    let now = outside::now();
    let start = args.start.resolve(now);
    let trouble = args.trouble;
    let request = CreateJobRequest {
        server_id,
        seed_replication_time: Some(start.into()),
        interval_minutes: args.every.map(Every::minutes),
        run_once: args.once.then_some(true),
        license_type: (args.licence != Licence::Auto).then(|| args.licence.on_wire()),
        role_name: args.role,
        description: args.description,
        number_of_recent_amis_to_keep: args.keep,
        encrypted: args.key.is_some().then_some(true),
        kms_key_id: args.key,
        recipients: (!trouble.notify.is_empty()).then_some(trouble.notify),
        pause_on_failure: trouble.no_pause.then_some(false),
        pause_after_failures: trouble.pause_after,
        bandwidth_cap: args.cap,
        ..CreateJobRequest::default()
    };
    let id = client.create_job(&request).await?.replication_job_id;
    if json {
        return output::json(&json!({ "job_id": id }));
    }
    let when = if start <= now { "starts now".to_owned() } else { format!("starts {}", human::ago(start, now)) };
    output::line(format!("Created {id}; its first run {when}. Follow it: godwit runs watch {id}"))
}

/// Changes a job.
pub async fn update(client: &Client, json: bool, args: UpdateArgs) -> Result<(), CliError> {
    let request = changes(args);
    client.update_job(&request).await?;
    let job = request.replication_job_id;
    if json {
        return output::json(&json!({ "job_id": job }));
    }
    output::line(format!("Changed {job}. See it: godwit jobs show {job}"))
}

fn changes(args: UpdateArgs) -> UpdateJobRequest {
    let trouble = args.trouble;
    let recipients = (args.notify_nobody || !trouble.notify.is_empty()).then_some(trouble.notify);
    UpdateJobRequest {
        replication_job_id: args.job,
        interval_minutes: args.every.map(Every::minutes),
        next_replication_run_start_time: args.start.map(|start| start.resolve(outside::now()).into()),
        license_type: args.licence.map(Licence::on_wire),
        role_name: args.role,
        description: args.description,
        number_of_recent_amis_to_keep: args.keep,
        encrypted: args.key.is_some().then_some(true),
        kms_key_id: args.key.or(args.default_key.then(String::new)),
        recipients,
        pause_on_failure: if args.pause { Some(true) } else { trouble.no_pause.then_some(false) },
        pause_after_failures: trouble.pause_after,
        bandwidth_cap: args.cap,
        ..UpdateJobRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::Value;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: UpdateArgs,
    }

    #[test]
    fn a_job_can_be_told_each_licence_and_to_choose_again() {
        for (given, sent) in [
            (&["--licence", "aws"][..], json!("AWS")),
            (&["--licence", "byol"][..], json!("BYOL")),
            (&["--licence", "auto"][..], json!("AUTO")),
            (&["--license", "auto"][..], json!("AUTO")),
            (&["--keep", "3"][..], Value::Null),
        ] {
            let line = Line::try_parse_from([&["update", "sms-job-1a2b3c4d"], given].concat()).unwrap();
            let request = serde_json::to_value(changes(line.args)).unwrap();
            assert_eq!(request.get("licenseType").unwrap_or(&Value::Null), &sent, "{given:?}");
            assert_eq!(request["replicationJobId"], "sms-job-1a2b3c4d");
        }
    }
}
