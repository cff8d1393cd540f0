//! `godwit store scrub`.

use crate::cli::error::CliError;
use crate::cli::output::Tone;
use crate::cli::progress::{Progress, Step};
use crate::cli::table::Field;
use crate::cli::{human, output};
use crate::client::Client;
use crate::outside;
use godwit_api::shapes::godwit::{DescribeScrubRequest, ScrubDescription, StartScrubRequest};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

/// Between two looks at a scrub.
const LOOK: Duration = Duration::from_millis(300);

/// For `--help`.
pub const EXAMPLES: &str = "\
The service looks through the whole store for rot by itself, once in 30 days, a
little every hour: 'godwit store show' says how far it is. This reads all of it
now, once, and takes as long as the disk does. Images that are damaged are
listed as DAMAGED, with where; the next runs read that from the source again.
Exit status 1 if anything in the store is damaged.

Examples:
  godwit store scrub             read everything now, and wait for the end
  godwit store scrub --detach    begin, and do not wait";

/// Reads the whole store now.
pub async fn scrub(client: &Client, json: bool, detach: bool) -> Result<(), CliError> {
    let round = client.start_scrub(&StartScrubRequest {}).await?.round;
    if detach {
        return match json {
            true => output::json(&json!({ "round": round })),
            false => output::line("The store is read. See how far it is: godwit store show"),
        };
    }
    let mut progress = Progress::new();
    let done = loop {
        let scrub = client.describe_scrub(&DescribeScrubRequest {}).await?;
        // A later round has begun if somebody asked for another one meanwhile.
        if scrub.round > round || (scrub.round == round && !scrub.open) {
            break scrub;
        }
        let is_begun = scrub.round == round && scrub.bytes_total > 0;
        let percent = is_begun.then(|| percent(&scrub));
        progress.show(&Step { percent, ..Step::named("Reading the store") });
        sleep(LOOK).await;
    };
    progress.end();
    if json {
        output::json(&done)?;
    }
    if done.damaged_packs > 0 {
        let what = human::count(done.damaged_packs as usize, "damaged pack");
        let why = done.problem.as_deref().unwrap_or("what is stored is not what was written");
        return Err(CliError::failed(format!("{what} in the store: {why}")).next(
            "see which images are DAMAGED: godwit images list; check the store's disk, and start runs of their jobs",
        ));
    }
    if json {
        return Ok(());
    }
    let read = human::size(done.bytes_checked);
    output::line(format!("Read: {read} in {}, all as written", human::count(done.packs_checked as usize, "pack")))?;
    skipped(&done)
}

/// What is to be said in `godwit store show`.
pub async fn shown(client: &Client) -> Result<Vec<(&'static str, Field)>, CliError> {
    let scrub = client.describe_scrub(&DescribeScrubRequest {}).await?;
    Ok(facts(&scrub))
}

fn facts(scrub: &ScrubDescription) -> Vec<(&'static str, Field)> {
    let now = outside::now();
    let last = scrub.ended_on.map_or_else(
        || "never read as a whole".to_owned(),
        |at| format!("read as a whole {}", human::ago(at.into(), now)),
    );
    let at = match (scrub.open, scrub.next_on) {
        (true, _) => format!("; {:.0} % of the present round", percent(scrub)),
        (false, Some(next)) => format!("; again {}", human::ago(next.into(), now)),
        (false, None) => String::new(),
    };
    let mut facts: Vec<(&'static str, Field)> = vec![("scrub", format!("{last}{at}").into())];
    if scrub.damaged_packs > 0 {
        let what = human::count(scrub.damaged_packs as usize, "pack");
        let why = scrub.problem.as_deref().unwrap_or("not what was written");
        facts.push(("damaged", Field::from(format!("{what}: {why}")).tone(Tone::Bad)));
    }
    if scrub.packs_skipped > 0 {
        let what = human::count(scrub.packs_skipped as usize, "pack");
        facts.push(("not read", format!("{what} of keys that are disabled or lost").into()));
    }
    facts.extend(scrub.message.as_deref().map(|why| ("scrub waits", Field::from(why).tone(Tone::Warning))));
    facts
}

fn percent(scrub: &ScrubDescription) -> f64 {
    if scrub.bytes_total == 0 {
        return 100.0;
    }
    (scrub.bytes_checked as f64 / scrub.bytes_total as f64 * 100.0).min(100.0)
}

fn skipped(scrub: &ScrubDescription) -> Result<(), CliError> {
    match scrub.packs_skipped {
        0 => Ok(()),
        n => output::line(format!(
            "{} could not be read: of keys that are disabled or lost",
            human::count(n as usize, "pack")
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrub(open: bool, damaged_packs: u64) -> ScrubDescription {
        ScrubDescription {
            round: 3,
            open,
            on_demand: false,
            began_on: None,
            ended_on: None,
            next_on: None,
            packs_checked: 5,
            bytes_checked: 50,
            bytes_total: 200,
            packs_skipped: 0,
            damaged_packs,
            problem: Some("object packs/00/p: a record is not what was written".into()),
            message: None,
        }
    }

    #[test]
    fn what_is_damaged_and_how_far_it_is_are_shown() {
        let names = |scrub| facts(&scrub).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(scrub(true, 0)), ["scrub"]);
        assert_eq!(names(scrub(false, 2)), ["scrub", "damaged"]);
        assert_eq!(percent(&scrub(true, 0)), 25.0);
        assert_eq!(percent(&ScrubDescription { bytes_total: 0, ..scrub(true, 0) }), 100.0);
    }
}
