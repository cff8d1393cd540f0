//! The audit trail: what is done to its rows from outside is found; what is pruned can be proven all the same.

use crate::audit::recorder::STANDS;
use crate::audit::{AuditLimits, AuditRecord, Caller, NewAuditRecord, OK, UNKNOWN};
use crate::audit::{Break, Hash, Link};
use crate::service::*;
use crate::store::{AuditQuery, Store, TrailReport, check_trail_in};
use crate::testing::{Act, Harness, until};
use godwit_model::failure::Code;
use godwit_model::job::JobState;
use godwit_model::time::{Millis, Timestamp};
use sqlx::{ConnectOptions, Connection};

const START: Timestamp = Timestamp(1_795_407_164_000);

fn call(n: i64) -> NewAuditRecord {
    NewAuditRecord {
        at: START + Millis(n),
        caller: Caller { user: Some("ada".into()), access_key_id: "GW1".into() },
        action: "sms:GetServers".into(),
        parameters: format!(r#"{{"n":{n}}}"#),
        outcome: OK.into(),
        message: String::new(),
        request_id: format!("r-{n}"),
        source: "127.0.0.1:5".into(),
    }
}

async fn with_records(h: &Harness, records: i64) -> Store {
    let store = h.store().await;
    let all: Vec<_> = (1..=records).map(|n| (call(n), false)).collect();
    store.record_all(&all).await.unwrap();
    store
}

fn everything() -> AuditQuery {
    let all = String::new();
    AuditQuery { since: START, until: Timestamp(i64::MAX), who: all.clone(), what: all.clone(), outcome: all }
}

/// Changes the database as somebody would who has its file.
pub(super) async fn tamper(h: &Harness, sql: &str) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(h.path());
    let mut connection = options.connect().await.unwrap();
    let statement = sqlx::AssertSqlSafe(sql.to_owned());
    let changed = sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    assert!(changed.rows_affected() > 0, "{sql}");
    connection.close().await.unwrap();
}

async fn checked(h: &Harness, store: &Store) -> TrailReport {
    let report = store.check_trail(None).await.unwrap();
    assert_eq!(check_trail_in(&h.path(), None).await.unwrap(), report, "offline the same");
    report
}

#[tokio::test]
async fn whatever_is_done_to_a_row_is_found() {
    let swap = "UPDATE audit SET number = -1 WHERE number = 3; UPDATE audit SET number = 3 WHERE number = 4; \
                UPDATE audit SET number = 4 WHERE number = -1";
    let contents_swapped = "CREATE TABLE x AS SELECT * FROM audit WHERE number = 3; \
        UPDATE audit SET (at, parameters, request_id, hash) = (SELECT at, parameters, request_id, hash FROM audit AS y \
        WHERE y.number = 4) WHERE number = 3; \
        UPDATE audit SET (at, parameters, request_id, hash) = (SELECT at, parameters, request_id, hash FROM x) \
        WHERE number = 4";
    let copy = |number: &str| {
        format!(
            "INSERT INTO audit SELECT {number}, at, user_name, access_key_id, action, parameters, outcome, message, \
             request_id, source, previous_hash, hash FROM audit WHERE number = 5"
        )
    };
    let mut cases: Vec<(String, i64, &str)> = vec![
        ("DELETE FROM audit WHERE number = 1".into(), 1, "missing"),
        ("DELETE FROM audit WHERE number = 3".into(), 3, "missing"),
        ("DELETE FROM audit WHERE number = 10".into(), 10, "missing at the end"),
        ("DELETE FROM audit WHERE number > 6".into(), 7, "records 7 to 10 are missing"),
        ("DELETE FROM audit".into(), 1, "records 1 to 10 are missing"),
        (swap.into(), 3, "does not follow"),
        (contents_swapped.into(), 3, "changed"),
        (copy("11"), 11, "does not follow"),
        (
            format!(
                "UPDATE audit SET number = number + 100 WHERE number > 5; UPDATE audit SET number = number - 99 \
            WHERE number > 100; {}",
                copy("6")
            ),
            6,
            "does not follow",
        ),
        ("UPDATE audit SET number = 'x' WHERE number = 4".into(), 4, "missing"),
        ("DELETE FROM audit WHERE number = 10; UPDATE audit_chain SET last_number = 9".into(), 9, "ended with"),
        ("UPDATE audit_chain SET anchor_number = 2".into(), 3, "does not follow"),
        ("UPDATE audit_chain SET last_hash = 'x'".into(), 0, "begins and ends"),
        ("DELETE FROM audit_chain".into(), 0, "begins and ends"),
    ];
    for column in ["user_name", "access_key_id", "action", "parameters", "outcome", "message", "request_id", "source"] {
        cases.push((format!("UPDATE audit SET {column} = 'x' WHERE number = 4"), 4, "changed"));
    }
    cases.push(("UPDATE audit SET at = at + 1 WHERE number = 4".into(), 4, "changed"));
    cases.push((format!("UPDATE audit SET hash = '{}' WHERE number = 4", "0".repeat(64)), 4, "changed"));
    cases.push((format!("UPDATE audit SET previous_hash = '{}' WHERE number = 4", "0".repeat(64)), 4, "follow"));
    cases.push(("UPDATE audit SET hash = upper(hash) WHERE number = 4".into(), 4, "cannot be read"));
    cases.push(("UPDATE audit SET at = 'never' WHERE number = 4".into(), 4, "cannot be read"));
    for (sql, number, words) in cases {
        let h = Harness::new();
        let store = with_records(&h, 10).await;
        assert_eq!(checked(&h, &store).await.broken, None);
        tamper(&h, &sql).await;
        let broken = checked(&h, &store).await.broken.unwrap_or_else(|| panic!("{sql}: not found"));
        assert_eq!(broken.number, number, "{sql}: {}", broken.reason);
        assert!(broken.reason.contains(words), "{sql}: {}", broken.reason);
        store.close().await;
    }
}

#[tokio::test]
async fn a_trail_that_was_rewritten_to_its_end_is_found_by_a_record_noted_before() {
    let h = Harness::new();
    let store = with_records(&h, 10).await;
    let noted = store.check_trail(None).await.unwrap().last;
    assert_eq!(noted.number, 10);
    // Whoever can compute hashes can make another chain that is in order.
    tamper(&h, "DELETE FROM audit; UPDATE audit_chain SET last_number = 0, last_hash = anchor_hash").await;
    let forged: Vec<_> = (1..=12).map(|n| (call(n * 2), false)).collect();
    store.record_all(&forged).await.unwrap();
    assert_eq!(checked(&h, &store).await.broken, None);
    let broken = store.check_trail(Some(noted)).await.unwrap().broken.unwrap();
    assert_eq!(broken.number, 10);
    assert!(broken.reason.contains("rewritten"), "{}", broken.reason);
    store.close().await;
}

#[tokio::test]
async fn what_is_too_old_or_too_much_is_pruned_and_the_rest_is_still_proven() {
    let h = Harness::new();
    let store = with_records(&h, 20).await;
    let noted = Link { number: 12, hash: store.audit_records(&everything(), 13, 1).await.unwrap()[0].hash };
    let unlimited = AuditLimits { keep: None, most: u64::MAX };
    let now = START + Millis(1_000);
    assert_eq!(store.prune_audit(&unlimited, now).await.unwrap(), 0);
    let by_age = AuditLimits { keep: Some(Millis(990)), ..unlimited };
    assert_eq!(store.prune_audit(&by_age, now).await.unwrap(), 10);
    let report = checked(&h, &store).await;
    assert_eq!((report.anchor.number, report.records, report.last.number, report.broken), (10, 11, 21, None));
    let pruning = &store.audit_records(&everything(), i64::MAX, 1).await.unwrap()[0].what;
    assert_eq!(pruning.parameters, r#"{"records":10,"upTo":10}"#);
    assert_eq!(pruning.caller.user.as_deref(), Some("godwit"));

    let by_number = AuditLimits { most: 10, ..unlimited };
    assert_eq!(store.prune_audit(&by_number, now).await.unwrap(), 2);
    assert_eq!(store.prune_audit(&by_number, now).await.unwrap(), 0, "the pruning's own record has its place");
    let report = checked(&h, &store).await;
    assert_eq!((report.anchor, report.records, report.broken), (noted, 10, None));

    // What was noted and pruned: the last one can still be compared, those before not.
    assert_eq!(store.check_trail(Some(noted)).await.unwrap().broken, None);
    let other = Link { hash: Hash::NOTHING, ..noted };
    assert!(store.check_trail(Some(other)).await.unwrap().broken.unwrap().reason.contains("rewritten"));
    let gone = Link { number: 3, ..noted };
    assert!(store.check_trail(Some(gone)).await.unwrap().broken.unwrap().reason.contains("has been pruned"));

    // An anchor that was moved, or a first record that was taken away, is found as before.
    tamper(&h, "DELETE FROM audit WHERE number = 13").await;
    let broken = checked(&h, &store).await.broken;
    assert!(matches!(broken, Some(Break { number: 13, .. })), "{broken:?}");
    store.close().await;
}

#[tokio::test]
async fn all_can_be_pruned_and_the_chain_goes_on() {
    let h = Harness::new();
    let store = with_records(&h, 5).await;
    let nothing = AuditLimits { keep: Some(Millis(0)), most: u64::MAX };
    assert_eq!(store.prune_audit(&nothing, START + Millis(60_000)).await.unwrap(), 5);
    let report = checked(&h, &store).await;
    assert_eq!((report.anchor.number, report.records, report.broken), (5, 1, None));
    store.close().await;
}

#[tokio::test]
async fn a_call_that_was_at_work_when_the_service_died_is_on_record_as_unknown() {
    let h = Harness::new();
    let control = h.start().await;
    let begun = NewAuditRecord { outcome: String::new(), ..call(1) };
    control.service().audit_begin(&begun).await.unwrap();
    let ended = NewAuditRecord { outcome: String::new(), ..call(2) };
    control.service().audit_begin(&ended).await.unwrap();
    control.service().audit_end(call(2)).await;
    // Not even a stop makes a record of it: only the next start knows that it will never end.
    control.shutdown().await;

    let control = h.start().await;
    let filter = AuditFilter { who: Some("ada".into()), ..AuditFilter::default() };
    let records = control.service().describe_audit_records(&filter, &Page::default()).await.unwrap().items;
    let outcomes: Vec<_> = records.iter().map(|r| (r.what.request_id.as_str(), r.what.outcome.as_str())).collect();
    assert_eq!(outcomes, [("r-1", UNKNOWN), ("r-2", OK)]);
    assert_eq!(control.service().verify_audit_trail(None).await.unwrap().broken, None);
    control.shutdown().await;
}

#[tokio::test]
async fn what_waits_when_the_service_stops_is_on_record() {
    let h = Harness::new();
    let control = h.start().await;
    for n in 0..300 {
        control.service().audit_note(call(n)).await.unwrap();
    }
    control.service().audit_refused("InvalidSignatureException", Some("GW2"));
    control.shutdown().await;
    let store = h.store().await;
    let report = store.check_trail(None).await.unwrap();
    assert_eq!((report.records, report.broken), (301, None));
    store.close().await;
}

#[tokio::test]
async fn an_end_that_is_told_twice_is_on_record_once() {
    let h = Harness::new();
    let store = h.store().await;
    store.begin_audited(&call(1)).await.unwrap();
    store.record_all(&[(call(1), true), (call(1), true)]).await.unwrap();
    store.record_all(&[(call(1), true)]).await.unwrap();
    assert_eq!(store.check_trail(None).await.unwrap().records, 1);
    store.close().await;
}

#[tokio::test]
async fn a_change_that_cannot_be_put_on_record_is_refused() {
    let h = Harness::new();
    let control = h.start().await;
    tamper(&h, "DROP TABLE audit_intent; UPDATE audit_chain SET chain = 1").await;
    let refused = control.service().audit_begin(&call(1)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TemporarilyUnavailable);
    assert!(refused.message.contains("not carried out"), "{refused}");
    control.shutdown().await;
}

fn read(n: i64) -> NewAuditRecord {
    NewAuditRecord { action: "godwit:ReadImage".into(), ..call(n) }
}

#[tokio::test]
async fn who_gets_bytes_of_a_volume_is_on_record_before_they_leave() {
    let h = Harness::new();
    let control = h.start().await;
    let (service, store) = (control.service(), h.store().await);
    let reads = AuditQuery { what: "ReadImage".into(), ..everything() };
    let newest = async || store.audit_records(&reads, i64::MAX, 1).await.unwrap()[0].what.request_id.clone();
    let other_key = |n| NewAuditRecord { caller: Caller { access_key_id: "GW2".into(), user: None }, ..read(n) };
    for (n, what, volume) in [(1, read(1), "a/0"), (2, read(2), "a/1"), (3, read(3), "b/0"), (4, other_key(4), "a/0")] {
        service.audit_disclose(what, volume).await.unwrap();
        assert_eq!(newest().await, format!("r-{n}"), "another key or volume waits for a record of its own");
    }
    // Many of the same: each of them is on record in the end.
    for n in 5..100 {
        service.audit_disclose(read(n), "a/0").await.unwrap();
    }
    // What stands for others does so for a moment only.
    tokio::time::sleep(STANDS).await;
    service.audit_disclose(read(100), "a/0").await.unwrap();
    assert_eq!(newest().await, "r-100");
    control.shutdown().await;
    assert_eq!(store.audit_records(&reads, i64::MAX, 200).await.unwrap().len(), 100);
    assert_eq!(checked(&h, &store).await.broken, None);
    store.close().await;
}

#[tokio::test]
async fn bytes_whose_reader_cannot_be_put_on_record_do_not_leave() {
    let mut h = Harness::new();
    // What waits is written while the service stops: on a busy machine that takes longer than stops do in other tests.
    h.options.stop = std::time::Duration::from_secs(20);
    let control = h.start().await;
    let service = control.service();
    tamper(&h, "ALTER TABLE audit RENAME TO away; UPDATE audit_chain SET chain = 1").await;
    for n in 1..3 {
        let refused = service.audit_disclose(read(n), "a/0").await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::TemporarilyUnavailable, "nor does the second one: {refused}");
    }
    tamper(&h, "ALTER TABLE away RENAME TO audit; UPDATE audit_chain SET chain = 1").await;
    control.shutdown().await;
    let store = h.store().await;
    let records = store.audit_records(&everything(), i64::MAX, 10).await.unwrap();
    let told: Vec<_> = records.iter().map(|r| (r.what.request_id.as_str(), r.what.outcome.as_str())).collect();
    let refused = "TemporarilyUnavailableException";
    assert_eq!(told, [("r-2", refused), ("r-1", refused)], "what is put on record later is that they were refused");
    store.close().await;
}

#[tokio::test]
async fn what_the_service_does_by_itself_is_on_record() {
    let mut h = Harness::new();
    h.options.retention.paused_jobs = Some(Millis::DAY);
    h.options.retention.catalog = Some(Millis::DAY);
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    h.world.script("register", vec![Act::Fail(Code::SourceRefused); 9]);
    let new = NewJob { frequency_hours: Some(1), pause_after: Some(1), ..NewJob::new(server.as_str(), h.now()) };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    h.until_job(&service, &job, JobState::PausedOnFailure).await;
    h.wait(Millis::DAY.times(2), &service);
    h.until_job(&service, &job, JobState::Deleted).await;
    let filter = AuditFilter { who: Some("godwit".into()), ..AuditFilter::default() };
    let own = async || service.describe_audit_records(&filter, &Page::default()).await.unwrap().items;
    let is_key_use = |record: &AuditRecord| record.what.action == "godwit:UseKey";
    until("both are on record", async || own().await.iter().filter(|r| !is_key_use(r)).count() == 2).await;
    let (uses, mut records): (Vec<_>, Vec<_>) = own().await.into_iter().partition(is_key_use);
    assert!(uses.iter().all(|used| used.what.outcome == "OK" && used.what.parameters.contains("sms-run-")), "{uses:?}");
    for purpose in ["encrypt", "decrypt"] {
        let of_run = |used: &&AuditRecord| used.what.parameters.contains(&format!("\"purpose\":\"{purpose}\""));
        assert!(uses.iter().any(|used| of_run(&used)), "the run used its key to {purpose}: {uses:?}");
    }
    records.sort_by(|a, b| a.what.action.cmp(&b.what.action));
    assert_eq!(records[0].what.action, "godwit:ExpireServerCatalog");
    assert_eq!(records[1].what.action, "sms:DeleteReplicationJob");
    assert!(records[1].what.parameters.contains(job.as_str()), "{:?}", records[1]);
    control.shutdown().await;
}

#[tokio::test]
async fn the_trail_is_pruned_every_hour() {
    let mut h = Harness::new();
    h.options.audit = AuditLimits { keep: Some(Millis::DAY), most: u64::MAX };
    let (control, service) = h.serve().await;
    for n in 0..5 {
        service.audit_begin(&call(n)).await.unwrap();
        service.audit_end(NewAuditRecord { at: h.now(), ..call(n) }).await;
    }
    h.wait(Millis::DAY.times(2), &service);
    let report = async || service.verify_audit_trail(None).await.unwrap();
    until("the trail is pruned", async || report().await.anchor.number == 5).await;
    assert_eq!((report().await.records, report().await.broken), (1, None));
    control.shutdown().await;
}

#[tokio::test]
async fn a_forged_end_is_found_and_keeps_nobody_from_writing() {
    let h = Harness::new();
    let store = with_records(&h, 3).await;
    let forge = "INSERT INTO audit SELECT 4, at, user_name, access_key_id, action, parameters, outcome, message, \
        request_id, source, previous_hash, hash FROM audit WHERE number = 3";
    tamper(&h, forge).await;
    store.record_all(&[(call(9), false)]).await.unwrap();
    assert_eq!(store.audit_records(&everything(), i64::MAX, 1).await.unwrap()[0].number, 5);
    let broken = checked(&h, &store).await.broken.unwrap();
    assert!(broken.number == 4 && broken.reason.contains("does not follow"), "{broken:?}");
    store.close().await;
}
