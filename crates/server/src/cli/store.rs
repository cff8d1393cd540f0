//! `godwit store`.

use crate::cli::error::CliError;
use crate::cli::output::Tone;
use crate::cli::progress::{Progress, Step};
use crate::cli::table::{Field, facts, table};
use crate::cli::{human, output, scrub, store_use};
use crate::client::{Client, ClientError, all_pages};
use crate::outside;
use clap::Subcommand;
use godwit_api::shapes::godwit::{
    DescribeScrubRequest, DescribeStoreRequest, DescribeSweepsRequest, PackCount, PreviewSweepRequest,
    PreviewSweepResponse, StartSweepRequest, SweepDescription, SweepState,
};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

/// Between two looks at a sweep.
const LOOK: Duration = Duration::from_millis(300);

const EXAMPLES: &str = "\
The store is swept once a day by itself. What failed runs staged is kept for
seven days, so that the next run need not send it again; what only deleted
images needed goes at once; packs that are mostly dead are repacked.

Examples:
  godwit store sweep --plan      what would be freed? Changes nothing
  godwit store sweep             free it now
  godwit store sweep --detach    begin, and do not wait for the end";

/// What to do with the store.
#[derive(Subcommand, Debug)]
pub enum StoreCommand {
    /// Show how much is in the store, and what for
    Show,
    /// Show how much was in the store over time
    #[command(after_help = store_use::EXAMPLES)]
    Use(store_use::UseArgs),
    /// Remove what nothing needs any more
    #[command(after_help = EXAMPLES)]
    Sweep {
        /// Only say what would be freed
        #[arg(long)]
        plan: bool,
        /// Do not wait for the end
        #[arg(long, conflicts_with = "plan")]
        detach: bool,
    },
    /// List sweeps, newest first
    Sweeps,
    /// Read the whole store and look for rot
    #[command(after_help = scrub::EXAMPLES)]
    Scrub {
        /// Do not wait for the end
        #[arg(long)]
        detach: bool,
    },
}

/// Does it.
pub async fn run(command: StoreCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        StoreCommand::Show => show(client, json).await,
        StoreCommand::Use(args) => store_use::show(args, client, json).await,
        StoreCommand::Sweep { plan: true, .. } => plan(client, json).await,
        StoreCommand::Sweep { detach, .. } => sweep(client, json, detach).await,
        StoreCommand::Sweeps => sweeps(client, json).await,
        StoreCommand::Scrub { detach } => scrub::scrub(client, json, detach).await,
    }
}

async fn show(client: &Client, json: bool) -> Result<(), CliError> {
    let store = client.describe_store(&DescribeStoreRequest {}).await?;
    if json {
        let scrub = client.describe_scrub(&DescribeScrubRequest {}).await?;
        let mut shown = serde_json::to_value(&store).map_err(|error| CliError::failed(error.to_string()))?;
        shown["scrub"] = serde_json::to_value(&scrub).map_err(|error| CliError::failed(error.to_string()))?;
        return output::json(&shown);
    }
    let now = outside::now();
    let content = &store.content;
    let live = content.named.bytes.saturating_sub(content.dead_bytes);
    let unneeded = content.released.bytes + content.expired.bytes + content.expired_staged.bytes;
    let mut about = vec![
        ("in packs", Field::from(amount(&content.all)).tone(Tone::Strong)),
        ("live", format!("{} that snapshots need", human::size(live)).into()),
        ("dead", format!("{} between what is live", human::size(content.dead_bytes)).into()),
        ("staged", staged(content).into()),
    ];
    if content.waiting.packs > 0 {
        about.push(("unknown", waiting(content).into()));
    }
    about.push(("to be freed", to_free(content, unneeded)));
    about.push((
        "last sweep",
        match &store.last_sweep {
            None => "none yet".into(),
            Some(sweep) => format!("{}: {}", human::ago(sweep.started_on.into(), now), outcome(sweep)).into(),
        },
    ));
    about.extend(store.next_sweep_on.map(|at| ("next sweep", human::moment(at.into(), now).into())));
    about.extend(scrub::shown(client).await?);
    facts(&about)?;
    unreadable(content)
}

async fn plan(client: &Client, json: bool) -> Result<(), CliError> {
    let plan = client.preview_sweep(&PreviewSweepRequest {}).await?;
    if json {
        return output::json(&plan);
    }
    let now = outside::now();
    let repack = PackCount { packs: plan.repack_packs, bytes: plan.repack_frees, oldest: plan.repackable.oldest };
    let reasons = [
        ("only deleted images needed it", &plan.released),
        ("staged by failed runs for too long", &plan.expired_staged),
        ("nobody knows it, and it is old", &plan.expired),
        ("dead parts of packs, by repacking", &repack),
    ];
    let rows: Vec<_> = reasons
        .iter()
        .filter(|(_, count)| count.packs > 0)
        .map(|(reason, count)| {
            [
                Field::from(*reason),
                Field::number(count.packs.to_string()),
                Field::number(human::size(count.bytes)),
                count.oldest.map_or_else(String::new, |at| human::ago(at.into(), now)).into(),
            ]
        })
        .collect();
    if rows.is_empty() {
        output::line("A sweep would free nothing now.")?;
    } else {
        table(["why", "packs", "frees", "oldest"], &["oldest"], &rows)?;
        output::line(format!("\nA sweep would free {}. Nothing was changed.", human::size(plan.bytes_to_free)))?;
    }
    if plan.repackable.packs > plan.repack_packs {
        let more = plan.repackable.bytes.saturating_sub(plan.repack_frees);
        output::line(format!("Later sweeps would free {} more by repacking.", human::size(more)))?;
    }
    if plan.stray_snapshots > 0 {
        output::line(format!(
            "{} that no image names would be removed.",
            human::count(plan.stray_snapshots as usize, "snapshot")
        ))?;
    }
    if plan.staged.packs > 0 {
        output::line(format!("Kept: {}", staged(&plan)))?;
    }
    if plan.waiting.packs > 0 {
        output::line(format!("Kept: {}", waiting(&plan)))?;
    }
    unreadable(&plan)
}

async fn sweep(client: &Client, json: bool, detach: bool) -> Result<(), CliError> {
    let id = client.start_sweep(&StartSweepRequest {}).await?.sweep_id;
    if detach {
        return match json {
            true => output::json(&json!({ "sweep_id": id })),
            false => output::line(format!("{id} is at work. See how it went: godwit store sweeps")),
        };
    }
    let mut progress = Progress::new();
    let ended = loop {
        let found = get(client, &id).await?;
        if found.state != SweepState::Running {
            break found;
        }
        progress.show(&step(&found));
        sleep(LOOK).await;
    };
    progress.end();
    if json {
        output::json(&ended)?;
    }
    match ended.state {
        SweepState::Failed => {
            let why = ended.message.as_deref().unwrap_or("the service did not say why");
            Err(CliError::failed(format!("the sweep failed: {why}"))
                .next("what was deleted until then is gone; start another one: godwit store sweep"))
        }
        _ if json => Ok(()),
        _ => output::line(format!("Swept: {}", outcome(&ended))),
    }
}

async fn sweeps(client: &Client, json: bool) -> Result<(), CliError> {
    let sweeps = all(client).await?;
    if json {
        return output::json(&sweeps);
    }
    if sweeps.is_empty() {
        return output::line("No sweeps yet. The first comes a day after the first run, or now: godwit store sweep");
    }
    let now = outside::now();
    let rows = sweeps.iter().map(|sweep| {
        [
            sweep.sweep_id.as_str().into(),
            Field::state(sweep.state.as_str()),
            human::ago(sweep.started_on.into(), now).into(),
            if sweep.on_demand { "on demand" } else { "daily" }.into(),
            Field::number(sweep.packs_freed.to_string()),
            Field::number(human::size(sweep.bytes_freed)),
            Field::number(human::size(sweep.bytes_moved)),
            Field::number(sweep.left.to_string()),
        ]
    });
    let header = ["sweep", "state", "began", "why", "packs", "freed", "moved", "left"];
    table(header, &["why", "moved", "packs"], &rows.collect::<Vec<_>>())?;
    for sweep in &sweeps {
        if let Some(message) = &sweep.message {
            output::line(format!("\n{}: {message}", sweep.sweep_id))?;
        }
    }
    Ok(())
}

async fn get(client: &Client, id: &str) -> Result<SweepDescription, CliError> {
    let request = DescribeSweepsRequest { sweep_ids: Some(vec![id.to_owned()]), ..DescribeSweepsRequest::default() };
    let found = client.describe_sweeps(&request).await?.sweeps.into_iter().next();
    found.ok_or_else(|| CliError::failed(format!("there is no sweep {id}")))
}

async fn all(client: &Client) -> Result<Vec<SweepDescription>, ClientError> {
    all_pages(|next_token| async {
        let request = DescribeSweepsRequest { next_token, ..DescribeSweepsRequest::default() };
        let answer = client.describe_sweeps(&request).await?;
        Ok((answer.sweeps, answer.next_token))
    })
    .await
}

fn step(sweep: &SweepDescription) -> Step {
    let Some(progress) = &sweep.progress else { return Step::named("Sweeping") };
    let percent = |done: u64, all: u64| (all > 0).then(|| done as f64 / all as f64 * 100.0);
    if progress.snapshots > 0 {
        return Step {
            percent: percent(progress.snapshots_read, progress.snapshots),
            ..Step::named("Reading snapshots")
        };
    }
    if progress.bytes_moved > 0 {
        return Step { subject: human::size(progress.bytes_moved), ..Step::named("Repacking") };
    }
    Step {
        subject: human::size(progress.bytes_freed),
        percent: percent(progress.packs_freed, progress.packs_to_free),
        ..Step::named("Freeing")
    }
}

fn outcome(sweep: &SweepDescription) -> String {
    if sweep.state == SweepState::Running {
        return "at work".to_owned();
    }
    let packs = human::count(sweep.packs_freed as usize, "pack");
    let mut text = format!("{} freed in {packs}", human::size(sweep.bytes_freed));
    if sweep.bytes_moved > 0 {
        text.push_str(&format!(", {} moved", human::size(sweep.bytes_moved)));
    }
    if sweep.left > 0 {
        text.push_str(&format!(", {} left to the next sweep", sweep.left));
    }
    if sweep.state == SweepState::Failed {
        text.push_str(", then it failed");
    }
    if let Some(message) = &sweep.message {
        text.push_str(&format!(" ({message})"));
    }
    text
}

fn amount(count: &PackCount) -> String {
    format!("{} in {}", human::size(count.bytes), human::count(count.packs as usize, "pack"))
}

fn staged(content: &PreviewSweepResponse) -> String {
    if content.staged.packs == 0 {
        return "nothing".to_owned();
    }
    let days = content.staging_hours as f64 / 24.0;
    format!("{}, kept {days} days for runs to resume from", amount(&content.staged))
}

fn waiting(content: &PreviewSweepResponse) -> String {
    let until = content.waiting_until.map(|at| format!(", kept until {}", human::date(at.into()))).unwrap_or_default();
    format!("{} that nothing names{until}", amount(&content.waiting))
}

fn to_free(content: &PreviewSweepResponse, unneeded: u64) -> Field {
    match (unneeded, content.repackable.bytes) {
        (0, 0) => "nothing".into(),
        (_, 0) => human::size(unneeded).into(),
        (_, dead) => format!("{}, and {} by repacking", human::size(unneeded), human::size(dead)).into(),
    }
}

fn unreadable(content: &PreviewSweepResponse) -> Result<(), CliError> {
    for snapshot in &content.unreadable {
        output::line(format!(
            "\n{} cannot be read, and while it is there nothing is freed that it may need: {}\n\
             Repair the store's disk, or delete the image of that snapshot.",
            snapshot.snapshot_id, snapshot.message
        ))?;
    }
    Ok(())
}
