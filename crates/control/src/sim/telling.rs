//! What must be true of telling recipients, looked at after every turn. That every event is written down with what it
//! tells, and no other, follows from the journal: see `checks::jobs`.
//!
//! - Whoever is to be told has a row.
//! - What counts as delivered did arrive.
//! - Nothing is put off for longer than the longest pause; in good weather everything comes to its end.

use super::storm::Storm;
use crate::service::Service;
use crate::testing::at_once;
use godwit_model::id::EventId;
use godwit_model::time::{Millis, Timestamp};
use sqlx::Row;

/// The longest pause, and what setting the clock back adds to it.
const LONGEST_PAUSE: Millis = Millis(6 * Millis::HOUR.0);

/// Nothing is missing and nothing is invented.
pub(super) async fn look(service: &Service, storm: &Storm, now: Timestamp) {
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
