//! Events of jobs and runs, written down in the transaction that brings them: what is told to nobody is not stored.

use super::jobs::JobRecord;
use super::query::Verbs;
use super::row::{Fields, to_json};
use super::runs::{RunRecord, run_record};
use super::{StoreError, Tx};
use godwit_model::event::{self, Event, EventKind, Outlook};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{ImageId, JobId, RunId};
use godwit_model::job::{Interval, JobState};
use godwit_model::recipient::Recipient;
use godwit_model::schedule::next_on_grid;
use godwit_model::time::Timestamp;

/// Damaged images that a message names besides the newest.
const NAMED: usize = 10;

/// Tells the recipients of the job that it is in `state` now, if that is something to be told. `was` is the job before.
pub(super) async fn tell_of_job(
    tx: &mut Tx,
    was: &JobRecord,
    state: JobState,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(kind) = EventKind::of_job(state).filter(|_| state != was.state) else { return Ok(()) };
    if recipients(was, kind).is_empty() {
        return Ok(());
    }
    let ended_as = match kind {
        EventKind::JobCompleted => "COMPLETED",
        EventKind::JobFailed | EventKind::JobPaused => "FAILED",
        _ => "",
    };
    let run = sqlx::query(
        "SELECT * FROM run WHERE job_id = $1 AND state = $2 AND completed_at IS NOT NULL \
         ORDER BY completed_at DESC, scheduled_at DESC LIMIT 1",
    )
    .bind(was.id.to_string())
    .bind(ended_as)
    .find(&mut **tx, "read the run that led to an event", run_record)
    .await?;
    // What a job has gone through, in a number that differs between two events of it.
    let part = was.fence as u32;
    write(tx, was, kind, part, About::run(run.as_ref(), Outlook::default()), now).await
}

/// Tells the recipients of the job that these of its images proved damaged, oldest first, and what is damaged of each.
pub(super) async fn tell_of_damage(
    tx: &mut Tx,
    job: &JobRecord,
    images: &[(ImageId, String)],
    now: Timestamp,
) -> Result<(), StoreError> {
    let kind = EventKind::ImageDamaged;
    let Some((newest, what)) = images.last().filter(|_| !recipients(job, kind).is_empty()) else { return Ok(()) };
    let mut evidence = format!("{newest}: {what}");
    let mut named: Vec<&ImageId> = Vec::new();
    named.extend(images.iter().map(|(image, _)| image).filter(|image| *image != newest));
    named.dedup();
    if !named.is_empty() {
        let some: Vec<_> = named.iter().rev().take(NAMED).map(|image| image.as_str()).collect();
        evidence.push_str(&format!("; {} more images share it or are damaged, too: {}", named.len(), some.join(", ")));
    }
    let outlook = Outlook {
        next_start: if job.state.is_running() { next_start(tx, job, now).await? } else { None },
        ..Outlook::default()
    };
    let failure = Some(Failure::new(Code::StoreCorrupt, evidence));
    let about = About { run: None, image: Some(newest.clone()), failure, outlook };
    // The image's last digits: two finds of one millisecond differ in them.
    let digits = newest.as_str();
    let part = u32::from_str_radix(&digits[digits.len().saturating_sub(8)..], 16).unwrap_or_default();
    write(tx, job, kind, part, about, now).await
}

/// Tells the recipients of the job that its run ended so. `failures_left`: how many more scheduled ones may fail in a
/// row, if this one counts.
pub(super) async fn tell_of_run(
    tx: &mut Tx,
    job: &JobRecord,
    run: &RunRecord,
    kind: EventKind,
    failures_left: Option<u32>,
    now: Timestamp,
) -> Result<(), StoreError> {
    if recipients(job, kind).is_empty() {
        return Ok(());
    }
    let paused = job.state == JobState::PausedOnFailure;
    let outlook = Outlook {
        next_start: if failures_left == Some(0) || paused { None } else { next_start(tx, job, now).await? },
        failures_left: if paused { Some(0) } else { failures_left },
        pauses: job.settings.pause_on_failure,
    };
    write(tx, job, kind, event::run_part(&run.id), About::run(Some(run), outlook), now).await
}

/// What an event is about, besides its job.
struct About {
    run: Option<RunId>,
    image: Option<ImageId>,
    failure: Option<Failure>,
    outlook: Outlook,
}

impl About {
    fn run(run: Option<&RunRecord>, outlook: Outlook) -> About {
        About {
            run: run.map(|run| run.id.clone()),
            image: run.filter(|run| run.failure.is_none()).and_then(|run| run.image.clone()),
            failure: run.and_then(|run| run.failure.clone()),
            outlook,
        }
    }
}

async fn write(
    tx: &mut Tx,
    job: &JobRecord,
    kind: EventKind,
    part: u32,
    about: About,
    now: Timestamp,
) -> Result<(), StoreError> {
    let what = "write down an event";
    let server_name = sqlx::query("SELECT name FROM server WHERE server_id = $1")
        .bind(job.settings.server.to_string())
        .one(&mut **tx, what, |row| Fields(row).text("name"))
        .await?;
    let event = Event {
        id: event::event_id(now, kind, &job.id, part),
        at: now,
        kind,
        job: job.id.clone(),
        description: job.settings.description.clone(),
        server: job.settings.server.clone(),
        server_name,
        run: about.run,
        image: about.image,
        failure: about.failure,
        outlook: about.outlook,
    };
    // The same event has the same id: then it is told already.
    let new = sqlx::query(
        "INSERT INTO job_event (event_id, happened_at, kind, job_id, run_id, facts) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(event.id.to_string())
    .bind(now.0)
    .bind(kind.as_str())
    .bind(job.id.to_string())
    .bind(event.run.as_ref().map(ToString::to_string))
    .bind(to_json(&event))
    .run(&mut **tx, what)
    .await?;
    if new == 1 {
        for (place, recipient) in recipients(job, kind) {
            address(tx, &event, place, recipient).await?;
        }
    }
    Ok(())
}

async fn address(tx: &mut Tx, event: &Event, place: usize, recipient: &str) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO notification (notification_id, event_id, job_id, happened_at, recipient, state, attempts, \
         since_at, next_at, delivered_at, failure_code, failure_evidence, fence) \
         VALUES ($1, $2, $3, $4, $5, 'PENDING', 0, $4, $4, NULL, NULL, NULL, 0)",
    )
    .bind(event::notification_id(&event.id, place).to_string())
    .bind(event.id.to_string())
    .bind(event.job.to_string())
    .bind(event.at.0)
    .bind(recipient.to_owned())
    .run(&mut **tx, "write down whom to tell")
    .await?;
    Ok(())
}

/// Who is told of such an event, each with its place in the job's list.
fn recipients(job: &JobRecord, kind: EventKind) -> Vec<(usize, &str)> {
    let all = job.settings.recipients.iter().map(String::as_str).enumerate();
    // What does not parse any more was checked by an older version: it is tried, and the record says what is wrong.
    all.filter(|(_, text)| text.parse::<Recipient>().map_or(true, |recipient| kind.concerns(&recipient))).collect()
}

/// When the job's next scheduled run is due: listed already, or to be listed by the driver.
async fn next_start(tx: &mut Tx, job: &JobRecord, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
    let listed = listed_start(tx, &job.id).await?;
    Ok(match (listed, job.settings.interval) {
        (Some(at), _) => Some(at),
        (None, Interval::EveryMinutes(minutes)) => Some(next_on_grid(job.settings.start, minutes, now)),
        (None, Interval::Once) => None,
    })
}

async fn listed_start(tx: &mut Tx, job: &JobId) -> Result<Option<Timestamp>, StoreError> {
    sqlx::query("SELECT scheduled_at FROM run WHERE job_id = $1 AND state = 'PENDING' AND kind = 'AUTOMATIC'")
        .bind(job.to_string())
        .find(&mut **tx, "read the next run", |row| Fields(row).time("scheduled_at"))
        .await
}
