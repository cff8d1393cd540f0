//! `godwit images compare`: what is another in an image than in one before, as figures and as a map of the disk.

use crate::cli::error::CliError;
use crate::cli::output::{self, Tone};
use crate::cli::{human, images};
use crate::client::Client;
use clap::Args;
use godwit_api::shapes::godwit::{DataExtent, ListImageChangesRequest};
use serde_json::json;

/// What `--help` adds.
pub const EXAMPLES: &str = "\
The two images are of one server and encrypted with one key; volumes are compared
by the names of their devices. Only the lists of digests are read, and of them
only what differs: terabytes take as long as their changes do.

The map is the whole disk from left to right, line by line: the fuller a place,
the more of it has changed. --json lists all ranges.

Example:
  godwit images compare ami-0123456789abcdef0 ami-0fedcba9876543210";

/// Places in the map if nobody knows how wide the terminal is.
const WIDTH: usize = 80;
/// A map is no wider than this, so that lines can be told apart.
const WIDEST: usize = 128;
/// Lines of the map.
const HEIGHT: usize = 8;
/// The first one is a place where nothing has changed; each of the others stands for a quarter more of it.
const SHADES: [char; 5] = ['·', '░', '▒', '▓', '█'];

/// What to compare.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// Id of the image before
    base: String,
    /// Id of the image whose changes are wanted
    image: String,
    /// Only this volume, from 0
    #[arg(long, value_name = "N")]
    volume: Option<u32>,
}

/// A volume and what has changed in it.
struct Compared {
    volume: u32,
    device: String,
    size: u64,
    changes: Vec<DataExtent>,
}

impl Compared {
    fn changed(&self) -> u64 {
        self.changes.iter().map(|extent| extent.length).sum()
    }
}

/// Compares.
pub async fn run(client: &Client, json: bool, args: &CompareArgs) -> Result<(), CliError> {
    let image = images::get(client, &args.image).await?;
    let mut compared = Vec::new();
    for volume in image.volumes.iter().filter(|volume| args.volume.is_none_or(|only| only == volume.volume)) {
        let (size, changes) = changes(client, args, volume.volume).await?;
        compared.push(Compared { volume: volume.volume, device: volume.device.clone(), size, changes });
    }
    if compared.is_empty() {
        let (wanted, last) = (args.volume.unwrap_or_default(), image.volumes.len().saturating_sub(1));
        return Err(CliError::failed(format!("{} has no volume {wanted}: give 0 to {last}", args.image)));
    }
    if json {
        let volumes = compared.iter().map(|volume| {
            json!({
                "volume": volume.volume, "device": volume.device, "size": volume.size,
                "bytes_changed": volume.changed(), "changes": volume.changes,
            })
        });
        let volumes: Vec<_> = volumes.collect();
        return output::json(&json!({ "base_image_id": args.base, "image_id": args.image, "volumes": volumes }));
    }
    compared.iter().try_for_each(show)
}

async fn changes(client: &Client, args: &CompareArgs, volume: u32) -> Result<(u64, Vec<DataExtent>), CliError> {
    let mut changes = Vec::new();
    let mut from = None;
    loop {
        let request = ListImageChangesRequest {
            image_id: args.image.clone(),
            volume: u64::from(volume),
            base_image_id: args.base.clone(),
            from,
            max_results: None,
        };
        let answer = client.list_image_changes(&request).await?;
        changes.extend(answer.changes);
        match answer.next {
            None => return Ok((answer.size, changes)),
            // An answer may be short where much differs, but a piece that does not go on would never end.
            Some(next) if from.is_some_and(|from| next <= from) => {
                return Err(CliError::failed(format!("the service does not get beyond byte {next} of the volume")));
            }
            next => from = next,
        }
    }
}

fn show(volume: &Compared) -> Result<(), CliError> {
    let device = output::paint(&volume.device, Tone::Strong);
    if volume.changes.is_empty() {
        return output::line(format!("{device}  {}, nothing has changed", human::size(volume.size)));
    }
    let (changed, places) = (volume.changed(), human::count(volume.changes.len(), "place"));
    let share = changed as f64 / volume.size as f64 * 100.0;
    let (size, amount) = (human::size(volume.size), human::size(changed));
    output::line(format!("{device}  {size}, {amount} of it changed ({share:.1} %) in {places}"))?;
    let width = output::columns().map_or(WIDTH, |columns| columns.saturating_sub(4).clamp(16, WIDEST));
    for line in map(&volume.changes, volume.size, width) {
        output::line(format!("  {line}"))?;
    }
    Ok(())
}

/// The disk as lines of places. What has changed at all is seen, however little of its place it is.
fn map(changes: &[DataExtent], size: u64, width: usize) -> Vec<String> {
    let place = size.div_ceil((width * HEIGHT) as u64).max(1);
    let mut changed = vec![0; size.div_ceil(place) as usize];
    for extent in changes {
        let end = extent.offset.saturating_add(extent.length).min(size);
        let mut at = extent.offset;
        while at < end {
            let until = (at / place + 1).saturating_mul(place).min(end);
            changed[(at / place) as usize] += until - at;
            at = until;
        }
    }
    let full = SHADES.len() as u64 - 1;
    let shade = |bytes: &u64| SHADES[(bytes.saturating_mul(full).div_ceil(place)).min(full) as usize];
    changed.chunks(width).map(|line| line.iter().map(shade).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extent(offset: u64, length: u64) -> DataExtent {
        DataExtent { offset, length }
    }

    #[test]
    fn a_single_block_of_a_large_disk_is_seen() {
        let lines = map(&[extent(1 << 40, 65_536)], 64 << 40, 64);
        assert_eq!((lines.len(), lines[0].chars().count()), (HEIGHT, 64));
        assert_eq!(lines[0].chars().nth(8), Some('░'));
        assert_eq!(lines.concat().chars().filter(|c| *c != '·').count(), 1);
    }

    #[test]
    fn what_has_changed_wholly_is_full() {
        assert_eq!(map(&[extent(0, 800)], 800, 10).concat(), "█".repeat(80));
        assert_eq!(map(&[extent(0, 4)], 5, 10), ["████·"], "a disk of fewer bytes than places");
        assert_eq!(map(&[], 0, 10), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn a_place_is_marked_if_and_only_if_something_in_it_has_changed(
            size in 1_u64..100_000, width in 1_usize..100, pieces in prop::collection::vec((0_u64..100_000, 1_u64..5_000), 0..20)
        ) {
            let changes: Vec<_> = pieces.into_iter().map(|(offset, length)| extent(offset, length)).collect();
            let place = size.div_ceil((width * HEIGHT) as u64).max(1);
            let cells: Vec<char> = map(&changes, size, width).concat().chars().collect();
            prop_assert!(cells.len() <= width * HEIGHT);
            for (n, cell) in cells.iter().enumerate() {
                let (from, to) = (n as u64 * place, ((n as u64 + 1) * place).min(size));
                let is_changed = changes.iter().any(|e| e.offset < to && e.offset + e.length > from);
                prop_assert_eq!(*cell != '·', is_changed);
            }
        }
    }
}
