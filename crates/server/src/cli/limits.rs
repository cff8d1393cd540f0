//! `godwit limits`, and what other commands need of caps.

use crate::cli::error::CliError;
use crate::cli::output::Tone;
use crate::cli::table::{Field, facts};
use crate::cli::{human, output};
use crate::client::Client;
use crate::outside;
use clap::Subcommand;
use godwit_api::shapes::godwit::{DescribeLimitsRequest, UpdateLimitsRequest};
use godwit_model::cap::Cap;
use serde_json::json;

const LIMITS_HELP: &str = "\
A cap is a rate (20MB/s, 160Mbit/s), 0 (nothing is read) or none; or hours of
days with a rate each, by the clock of a time zone. It counts at once, also
for runs at work.

Examples:
  godwit limits set --cap 100MB/s
  godwit limits set --cap 'Mon-Fri 08:00-18:00 20MB/s; otherwise none; in Europe/Berlin'
  godwit limits set --cap none";

/// What counts for the whole service.
#[derive(Subcommand, Debug)]
pub enum LimitsCommand {
    /// Show how fast all runs together may read
    Show,
    /// Change how fast all runs together may read
    #[command(after_help = LIMITS_HELP)]
    Set {
        /// How fast
        #[arg(long, value_name = "CAP", value_parser = cap)]
        cap: String,
    },
}

/// Does it.
pub async fn run(command: LimitsCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        LimitsCommand::Show => show(client, json).await,
        LimitsCommand::Set { cap } => {
            client.update_limits(&UpdateLimitsRequest { bandwidth_cap: cap.clone() }).await?;
            if json {
                return output::json(&json!({ "bandwidth_cap": cap }));
            }
            output::line(format!("All runs together: {cap}."))
        }
    }
}

async fn show(client: &Client, json: bool) -> Result<(), CliError> {
    let limits = client.describe_limits(&DescribeLimitsRequest {}).await?;
    if json {
        return output::json(&limits);
    }
    let cap = limits.bandwidth_cap.as_deref().unwrap_or("none");
    let mut about = vec![("all runs together", Field::from(cap).tone(Tone::Strong))];
    if let Some(changes) = limits.changes_on {
        let rate = match limits.bytes_per_second {
            None => "none".to_owned(),
            Some(0) => "nothing is read".to_owned(),
            Some(bytes) => human::pace(bytes as f64),
        };
        about.push(("now", rate.into()));
        about.push(("changes", human::moment(changes.into(), outside::now()).into()));
    }
    facts(&about)
}

/// A cap as it is written.
pub fn cap(text: &str) -> Result<String, String> {
    text.parse::<Cap>().map(|cap| cap.to_string())
}

/// A run's cap as it is sent: an empty one is what its job says.
pub fn cap_of_run(text: &str) -> Result<String, String> {
    if text == "job" { Ok(String::new()) } else { cap(text) }
}

/// What holds a run back, in words.
pub fn held_back(by: &str) -> &str {
    match by {
        "RUN_CAP" => "the cap of the run or its job",
        "CONNECTOR_CAP" => "the cap of the connector",
        "TOTAL_CAP" => "the cap over all runs",
        "SLOW_SOURCE" => "the source: it answers slowly and is read less at once",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_may_have_what_its_job_says() {
        assert_eq!(cap_of_run("job"), Ok(String::new()));
        assert_eq!(cap_of_run("160Mbit/s"), Ok("20MB/s".to_owned()));
        assert!(cap("job").is_err() && cap_of_run("fast").is_err());
    }
}
