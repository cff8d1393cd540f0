//! `godwit store use`.

use crate::cli::error::CliError;
use crate::cli::output::Tone;
use crate::cli::table::{Field, table};
use crate::cli::when::Past;
use crate::cli::{human, output};
use crate::client::Client;
use crate::outside;
use clap::Args;
use godwit_api::shapes::godwit::{DescribeStoreUseRequest, DescribeStoreUseResponse, StoreUsePoint};

/// Lines of the table, unless something else is said: they fit on a screen.
const LINES: i32 = 24;

/// Characters of the longest bar.
const BAR: u64 = 24;

/// What the parts of a bar are drawn with, and their names, in the order of the columns.
const PARTS: [(char, &str); 4] = [('█', "live"), ('▓', "dead"), ('▒', "staged"), ('░', "to be freed")];

/// For `--help`.
pub const EXAMPLES: &str = "\
What the store holds is recorded once an hour and behind every sweep. All such
samples are kept for a week, then one a day for 400 days. Where there are more
than was asked for, some are left out evenly; the first and the last are there.
Times are a span before now (7d, 12h, 30m), or a date and time:
2026-01-31T22:00:00Z, or 2026-01-31T22:00 in local time.

Examples:
  godwit store use                          the last seven days
  godwit store use --since 400d             as far back as there is
  godwit store use --since 30d --points 2000 --json > use.json";

/// Options of `godwit store use`.
#[derive(Args, Debug)]
pub struct UseArgs {
    /// Not older than this
    #[arg(long, value_name = "TIME", default_value = "7d")]
    since: Past,
    /// Not newer than this
    #[arg(long, value_name = "TIME")]
    until: Option<Past>,
    /// How many at most [default: 24, with --json 500]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(2..=2000))]
    points: Option<i32>,
}

/// Shows how the store was used.
pub async fn show(args: UseArgs, client: &Client, json: bool) -> Result<(), CliError> {
    let now = outside::now();
    let request = DescribeStoreUseRequest {
        from: Some(args.since.resolve(now).into()),
        to: args.until.map(|until| until.resolve(now).into()),
        max_points: args.points.or((!json).then_some(LINES)),
    };
    let found = client.describe_store_use(&request).await?;
    if json {
        return output::json(&found);
    }
    if found.points.is_empty() {
        return output::line(nothing(&found, now));
    }
    let most = found.points.iter().map(|point| point.bytes).max().unwrap_or_default();
    let rows = found.points.iter().map(|point| {
        [
            human::date(point.at.into()).into(),
            Field::number(human::size(point.bytes)).tone(Tone::Strong),
            Field::number(human::size(point.live_bytes)),
            Field::number(human::size(point.dead_bytes)),
            Field::number(human::size(point.staged_bytes)),
            Field::number(human::size(point.to_free_bytes)),
            Field::number(point.packs.to_string()),
            bar(point, most).into(),
        ]
    });
    let header = ["when", "in packs", "live", "dead", "staged", "to free", "packs", "use"];
    table(header, &["packs", "dead", "to free", "staged", "use"], &rows.collect::<Vec<_>>())?;
    let legend: Vec<String> = PARTS.iter().map(|(letter, name)| format!("{letter} {name}")).collect();
    output::line(format!("\n{}", legend.join("  ")))?;
    let left_out = found.recorded.saturating_sub(found.points.len() as u64);
    match left_out {
        0 => Ok(()),
        n => output::line(format!(
            "{} between these are left out: --points shows more.",
            human::count(n as usize, "sample")
        )),
    }
}

fn nothing(found: &DescribeStoreUseResponse, now: godwit_model::time::Timestamp) -> String {
    let next = found.next_on.map(|next| human::ago(next.into(), now));
    match next {
        None => "There is no sample of that time.".to_owned(),
        Some(next) => format!("There is no sample of that time. The next one is due {next}."),
    }
}

/// What the store held, as a line that is as long as it was full.
fn bar(point: &StoreUsePoint, most: u64) -> String {
    let parts = [point.live_bytes, point.dead_bytes, point.staged_bytes, point.to_free_bytes];
    let scaled = |bytes: u128| {
        let most = u128::from(most.max(1));
        usize::try_from(((bytes * u128::from(BAR) + most / 2) / most).min(u128::from(BAR))).unwrap_or_default()
    };
    let (mut sum, mut text, mut drawn) = (0u128, String::new(), 0);
    for (bytes, (letter, _)) in parts.into_iter().zip(PARTS) {
        sum += u128::from(bytes);
        // By the sums, so that what is rounded off of one part is not lost to the whole.
        let end = scaled(sum);
        text.extend(std::iter::repeat_n(letter, end.saturating_sub(drawn)));
        drawn = end.max(drawn);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use godwit_api::shapes::epoch::EpochSeconds;
    use proptest::prelude::*;

    fn point(parts: [u64; 4]) -> StoreUsePoint {
        let [live_bytes, dead_bytes, staged_bytes, to_free_bytes] = parts;
        let bytes = parts.iter().sum();
        StoreUsePoint { at: EpochSeconds(0), packs: 1, bytes, live_bytes, dead_bytes, staged_bytes, to_free_bytes }
    }

    #[test]
    fn a_bar_shows_the_parts_beside_each_other() {
        assert_eq!(bar(&point([60, 20, 20, 20]), 120), "████████████▓▓▓▓▒▒▒▒░░░░");
        assert_eq!(bar(&point([60, 0, 0, 60]), 240), "██████░░░░░░");
        assert_eq!(bar(&point([0; 4]), 0), "");
    }

    proptest! {
        #[test]
        fn a_bar_is_as_long_as_the_store_was_full(parts: [u32; 4], more: u32) {
            let point = point(parts.map(u64::from));
            let most = point.bytes + u64::from(more);
            let length = bar(&point, most).chars().count() as f64;
            let exact = if most == 0 { 0.0 } else { point.bytes as f64 * BAR as f64 / most as f64 };
            prop_assert!((length - exact).abs() <= 0.51, "{} for {}", length, exact);
        }
    }
}
