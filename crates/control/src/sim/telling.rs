//! What must be true of telling recipients, looked at after every turn.
//!
//! - Whatever is to be told has its event, of the very moment of the change, and whoever is to be told has a row.
//! - What counts as delivered did arrive.
//! - Nothing is put off for longer than the longest pause; in good weather everything comes to its end.

use super::storm::Storm;
use crate::service::Service;
use crate::testing::at_once;
use godwit_model::event::EventKind;
use godwit_model::id::EventId;
use godwit_model::job::JobState;
use godwit_model::time::{Millis, Timestamp};
use sqlx::Row;

/// How far back is looked: less than the record is kept, even if the clock was set forward.
const BACK: Millis = Millis(5 * Millis::DAY.0);

/// The longest pause, and what setting the clock back adds to it.
const LONGEST_PAUSE: Millis = Millis(6 * Millis::HOUR.0);

/// Nothing is missing and nothing is invented.
pub(super) async fn look(service: &Service, storm: &Storm, now: Timestamp) {
    for state in JobState::ALL {
        let Some(kind) = EventKind::of_job(state) else { continue };
        let untold = texts(
            service,
            &format!(
                "SELECT job_id FROM job WHERE recipients <> '[]' AND state = '{}' AND state_since > {} AND NOT EXISTS \
                 (SELECT 1 FROM job_event WHERE job_event.job_id = job.job_id AND kind = '{}' \
                 AND happened_at = job.state_since)",
                state.as_str(),
                (now - BACK).0,
                kind.as_str()
            ),
        )
        .await;
        assert!(untold.is_empty(), "nobody is told that these jobs are {state:?}: {untold:?}");
    }
    let untold = texts(
        service,
        &format!(
            "SELECT run_id FROM run JOIN job ON job.job_id = run.job_id WHERE recipients <> '[]' \
             AND run.state = 'FAILED' AND completed_at > {} AND NOT EXISTS (SELECT 1 FROM job_event \
             WHERE job_event.run_id = run.run_id AND kind = 'RUN_FAILED' AND happened_at = run.completed_at)",
            (now - BACK).0
        ),
    )
    .await;
    assert!(untold.is_empty(), "nobody is told that these runs failed: {untold:?}");
    let to_nobody = "SELECT event_id FROM job_event WHERE NOT EXISTS \
                     (SELECT 1 FROM notification WHERE notification.event_id = job_event.event_id)";
    assert_eq!(texts(service, to_nobody).await, Vec::<String>::new(), "events that are told to nobody");
    for event in texts(service, "SELECT event_id FROM notification WHERE state = 'DELIVERED'").await {
        let event: EventId = event.parse().unwrap();
        assert!(storm.arrived(&event), "{event} counts as delivered and did not arrive");
    }
    let put_off = format!(
        "SELECT notification_id FROM notification WHERE state = 'PENDING' AND next_at > {}",
        (now + LONGEST_PAUSE).0
    );
    assert_eq!(texts(service, &put_off).await, Vec::<String>::new(), "put off for too long");
}

/// The weather has been good for hours.
pub(super) async fn look_at_rest(service: &Service, now: Timestamp) {
    let waiting = format!(
        "SELECT notification_id FROM notification WHERE state = 'PENDING' AND since_at < {}",
        (now - Millis::HOUR.times(2)).0
    );
    assert_eq!(texts(service, &waiting).await, Vec::<String>::new(), "not delivered in good weather");
}

async fn texts(service: &Service, sql: &str) -> Vec<String> {
    let rows = at_once(sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).fetch_all(service.store().reader())).await;
    rows.unwrap().iter().map(|row| row.get::<String, _>(0)).collect()
}
