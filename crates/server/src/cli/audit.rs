//! `godwit audit`.

use crate::cli::error::CliError;
use crate::cli::table::{Field, table};
use crate::cli::when::Past;
use crate::cli::{human, output};
use crate::client::{Client, ClientError};
use crate::outside;
use clap::{Args, Subcommand};
use godwit_api::shapes::godwit::{
    AuditRecordDescription, DescribeAuditRecordsRequest, VerifyAuditTrailRequest, VerifyAuditTrailResponse,
};
use godwit_control::audit::{Hash, Link};
use godwit_control::store::{TrailReport, check_trail_in};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Records that are asked for at a time.
const PAGE: i32 = 1_000;

const LIST_EXAMPLES: &str = "\
Times are a span before now (7d, 12h, 30m), or a date and time:
2026-01-31T22:00:00Z, or 2026-01-31T22:00 in local time.
An outcome is OK, the code of an error, UNKNOWN (the service stopped before the
call ended), or FAILED for everything but OK. What the service did by itself is
on record with the user godwit.

Examples:
  godwit audit list                                 the newest records
  godwit audit list --since 7d --action DeleteReplicationJob
  godwit audit list --user ada --outcome FAILED
  godwit audit list --since 30d --limit 100000 --json > audit.json";

const VERIFY_EXAMPLES: &str = "\
Checks that no record was changed, removed or put between, from the first one
that is kept to the last one, and says where the trail ends: NUMBER:HASH. Kept
elsewhere and given back with --expect, it proves that nothing up to there was
rewritten since. Exit status 1 if the trail is broken.

With --data the database file itself is checked, whether or not the service is
running, and no access keys are needed.

Examples:
  godwit audit verify
  godwit audit verify --expect 1234:5f0c…            NUMBER:HASH, as it was shown
  godwit audit verify --data /var/lib/godwit";

/// What to do with the audit trail.
#[derive(Subcommand, Debug)]
pub enum AuditCommand {
    /// List who did what, newest first
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Check that nothing on record was changed, removed or put between
    #[command(after_help = VERIFY_EXAMPLES)]
    Verify(VerifyArgs),
}

/// Options of `godwit audit list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Not older than this
    #[arg(long, value_name = "TIME")]
    since: Option<Past>,
    /// Older than this
    #[arg(long, value_name = "TIME")]
    until: Option<Past>,
    /// Only of this user, or of this access key
    #[arg(long, value_name = "NAME-OR-KEY", visible_alias = "who")]
    user: Option<String>,
    /// Only this, with or without what precedes the colon
    #[arg(long, value_name = "ACTION", visible_alias = "what")]
    action: Option<String>,
    /// Only with this outcome
    #[arg(long)]
    outcome: Option<String>,
    /// How many at most
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Options of `godwit audit verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// A record that was noted and must still be there
    #[arg(long, value_name = "NUMBER:HASH")]
    expect: Option<Noted>,
    /// Check the database in this data folder, without the service
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// A record by number and hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Noted(Link);

impl FromStr for Noted {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(number, hash)| {
            let number = number.parse::<i64>().ok().filter(|number| *number >= 0)?;
            Some(Link { number, hash: Hash::parse(hash)? })
        });
        parsed.map(Noted).ok_or_else(|| format!("'{text}' is not NUMBER:HASH as 'godwit audit verify' shows it"))
    }
}

/// Does it.
pub async fn run(command: AuditCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        AuditCommand::List(args) => list(args, client, json).await,
        AuditCommand::Verify(args) => {
            let expected = args.expect.map(|noted| noted.0);
            let request = VerifyAuditTrailRequest {
                number: expected.map(|link| link.number.unsigned_abs()),
                hash: expected.map(|link| link.hash.to_string()),
            };
            tell(&client.verify_audit_trail(&request).await?, json)
        }
    }
}

/// `godwit audit verify --data DIR`: the file is only read.
pub async fn verify_offline(args: &VerifyArgs, json: bool) -> Result<(), CliError> {
    let folder = args.data.as_deref().unwrap_or(Path::new("."));
    let file = folder.join("state.db");
    if !file.is_file() {
        let what = format!("there is no database '{}'", file.display());
        return Err(CliError::failed(what).next("give the folder that 'godwit serve --data' was given"));
    }
    let report = check_trail_in(&file, args.expect.map(|noted| noted.0)).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        CliError::failed(format!("the audit trail in '{}' cannot be read: {error}{cause}", file.display()))
            .next("a database of an older Godwit has none: start the service once with this version")
    })?;
    tell(&answer(report), json)
}

async fn list(args: ListArgs, client: &Client, json: bool) -> Result<(), CliError> {
    let records = found(args, client).await?;
    if json {
        return output::json(&records);
    }
    if records.is_empty() {
        return output::line("No records match. All that are kept: godwit audit list --limit 1000");
    }
    let now = outside::now();
    let rows = records.iter().map(|record| {
        let who = record.user.as_ref().or(record.access_key_id.as_ref()).map_or("-", String::as_str);
        [
            Field::number(record.number.to_string()),
            human::moment(record.at.into(), now).into(),
            who.into(),
            record.action.as_str().into(),
            outcome(&record.outcome),
            record.parameters.as_str().into(),
            record.source.as_deref().unwrap_or("-").into(),
            record.request_id.as_deref().unwrap_or("-").into(),
        ]
    });
    let header = ["number", "at", "who", "action", "outcome", "parameters", "source", "request"];
    table(header, &["request", "source", "parameters"], &rows.collect::<Vec<_>>())
}

async fn found(args: ListArgs, client: &Client) -> Result<Vec<AuditRecordDescription>, ClientError> {
    let now = outside::now();
    let wanted = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut request = DescribeAuditRecordsRequest {
        since: args.since.map(|past| past.resolve(now).into()),
        until: args.until.map(|past| past.resolve(now).into()),
        who: args.user,
        what: args.action,
        outcome: args.outcome,
        next_token: None,
        max_results: None,
    };
    let mut records = Vec::new();
    loop {
        let left = wanted - records.len();
        request.max_results = Some(i32::try_from(left).unwrap_or(PAGE).min(PAGE));
        let answer = client.describe_audit_records(&request).await?;
        records.extend(answer.records);
        request.next_token = answer.next_token;
        if records.len() >= wanted || request.next_token.is_none() {
            records.truncate(wanted);
            return Ok(records);
        }
    }
}

fn outcome(outcome: &str) -> Field {
    let tone = match outcome {
        "OK" => output::Tone::Good,
        "UNKNOWN" => output::Tone::Warning,
        _ => output::Tone::Bad,
    };
    Field::from(outcome).tone(tone)
}

/// Says what was found; broken is a failure.
fn tell(report: &VerifyAuditTrailResponse, json: bool) -> Result<(), CliError> {
    if json {
        output::json(report)?;
    }
    if let Some(reason) = &report.reason {
        let number = report.broken_number.unwrap_or_default();
        let what = format!("the audit trail is broken at record {number}: {reason}");
        let before = match report.records {
            0 => "no record before it is in order".to_owned(),
            records => format!("the {records} records before it are in order"),
        };
        return Err(CliError::failed(what)
            .next(format!("{before}; find out who could write the database, and compare with a backup of it")));
    }
    if json {
        return Ok(());
    }
    let records = human::count(usize::try_from(report.records).unwrap_or(usize::MAX), "record");
    let pruned = match report.pruned_up_to {
        0 => String::new(),
        number => format!(" Records up to {number} have been pruned."),
    };
    output::line(format!("The audit trail is intact: {records}.{pruned}"))?;
    output::line(format!("It ends with {}:{}", report.last_number, report.last_hash))?;
    output::line("Keep that line elsewhere: given with --expect, it proves later that nothing was rewritten.")
}

fn answer(report: TrailReport) -> VerifyAuditTrailResponse {
    let unsigned = |number: i64| u64::try_from(number).unwrap_or_default();
    let (broken_number, reason) = report.broken.map(|b| (unsigned(b.number), b.reason)).unzip();
    VerifyAuditTrailResponse {
        intact: reason.is_none(),
        records: report.records,
        pruned_up_to: unsigned(report.anchor.number),
        last_number: unsigned(report.last.number),
        last_hash: report.last.hash.to_string(),
        broken_number,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noted_record_is_read_as_it_is_shown() {
        let text = format!("7:{}", "a5".repeat(32));
        assert_eq!(text.parse::<Noted>(), Ok(Noted(Link { number: 7, hash: Hash([0xa5; 32]) })));
        for wrong in ["7", "7:", "x:a5", &text[1..], &format!("-{text}")] {
            assert!(wrong.parse::<Noted>().is_err(), "{wrong}");
        }
    }
}
