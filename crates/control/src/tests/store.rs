//! The store by itself: versions, late writers.

use crate::service::*;
use crate::store::{Done, Store, StoreError};
use crate::testing::{Act, Harness};
use godwit_model::run::RunState;
use sqlx::{ConnectOptions, Connection};
use std::collections::BTreeMap;

fn folder(path: &std::path::Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|e| e.unwrap())
        .map(|e| (e.file_name().to_string_lossy().into_owned(), std::fs::read(e.path()).unwrap()))
        .collect()
}

/// What was said to be done is on the disk, on each connection that writes or reads.
#[tokio::test]
async fn every_transaction_is_synced() {
    let h = Harness::new();
    let store = h.store().await;
    for pool in [&store.writer, store.reader()] {
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(pool).await.unwrap();
        assert_eq!(synchronous, 2, "FULL");
    }
}

#[tokio::test]
async fn a_database_of_a_newer_version_is_refused_and_left_untouched() {
    let h = Harness::new();
    h.store().await.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(h.path());
    let mut connection = options.connect().await.unwrap();
    sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
         VALUES (99, 'from the future', 1, X'00', 0)",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    connection.close().await.unwrap();
    let before = folder(&h.path());
    let refused = Store::open(&h.path()).await.err().unwrap();
    assert!(
        matches!(refused, StoreError::NewerVersion { found: 99, known: crate::store::SCHEMA_VERSION }),
        "{refused:?}"
    );
    assert!(refused.to_string().contains("start the newer program"));
    assert_eq!(folder(&h.path()), before);
}

#[tokio::test]
async fn opening_twice_migrates_once_and_keeps_everything() {
    let h = Harness::new();
    let control = h.start().await;
    let id = h.one_server(&control.service()).await;
    control.shutdown().await;
    let control = h.start().await;
    let servers = control.service().get_servers(None, &Page::default()).await.unwrap().servers.items;
    assert_eq!(servers.into_iter().map(|s| s.id).collect::<Vec<_>>(), [id]);
    control.shutdown().await;
}

#[tokio::test]
async fn what_is_no_database_is_refused() {
    let h = Harness::new();
    std::fs::write(h.path(), vec![b'x'; 8_192]).unwrap();
    assert!(matches!(Store::open(&h.path()).await, Err(StoreError::Database { .. })));
}

#[tokio::test]
async fn late_and_repeated_writers_change_nothing() {
    let h = Harness::new();
    h.world.script("send", [Act::Hang]);
    let (control, service) = h.serve().await;
    let job = h.hourly(&service).await;
    h.until_calls("send", 1).await;
    let id = h.runs(&service, &job).await.remove(0).id;
    let store = h.store().await;
    let seen = store.run(&id).await.unwrap().unwrap();
    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    h.until_runs(&service, &job, 2, RunState::Deleted).await;

    let draw: crate::Draw = std::sync::Arc::new(|| 4_711);
    let late = store.stage_done(&seen, &Done::Stage, &draw, h.now()).await.unwrap_err();
    assert!(matches!(late, StoreError::Stale), "{late:?}");
    let pack = godwit_model::id::PackId::from_bits(9);
    assert!(matches!(store.pack_begun(&seen, "boot", &pack, 1).await, Err(StoreError::Stale)));
    assert!(matches!(store.record_figures(&seen, &[]).await, Err(StoreError::Stale)));
    let failure = godwit_model::failure::Failure::new(godwit_model::failure::Code::Internal, "late");
    assert!(matches!(store.give_up(&seen, &failure, h.now()).await, Err(StoreError::Stale)));
    assert!(store.start_run(&id, h.now()).await.is_err());
    assert_eq!(h.run(&service, &id).await.state, RunState::Deleted);
    store.close().await;
    control.shutdown().await;
}

#[tokio::test]
async fn a_database_of_the_first_version_is_brought_up_with_what_it_holds() {
    use godwit_model::job::JobState;
    use godwit_model::time::Timestamp;
    use sqlx::Executor;
    let h = Harness::new();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(h.path()).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let mut first = crate::store::migrations();
    first.migrations.to_mut().truncate(1);
    first.run_direct(None, &mut connection, false).await.unwrap();
    let job =
        "INSERT INTO job (job_id, server_id, state, start_at, interval_minutes, role_name, created_at, seed_at, fence)";
    let run = "INSERT INTO run (run_id, job_id, state, abandoning, kind, scheduled_at, completed_at, notes, fence)";
    for sql in [
        "INSERT INTO server VALUES ('s-00000001', 'm', 'vm', NULL, 'm', 'web', '/web', '[]', 1, 1, 5)".to_owned(),
        format!("{job} VALUES ('sms-job-00000001', 's-00000001', 'DELETED', 5, 60, 'sms', 5, 5, 3)"),
        format!("{job} VALUES ('sms-job-00000002', 's-00000001', 'COMPLETED', 5, NULL, 'sms', 6, 5, 3)"),
        format!("{run} VALUES ('sms-run-00000001', 'sms-job-00000001', 'COMPLETED', 0, 'AUTOMATIC', 5, 70, '[]', 9)"),
        "UPDATE run SET started_at = 6".to_owned(),
        format!("{run} VALUES ('sms-run-00000002', 'sms-job-00000002', 'PENDING', 0, 'AUTOMATIC', 5, NULL, '[]', 0)"),
        "INSERT INTO snapshot VALUES ('snap-00000000000000001', NULL, 'sms-run-00000001', 's-00000001', 'boot', 1, '', \
         NULL, 5, 1)"
            .to_owned(),
        "INSERT INTO baseline VALUES ('sms-job-00000002', 'boot', 'sms-run-00000001', 'snap-00000000000000001', 1)"
            .to_owned(),
    ] {
        connection.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }
    connection.close().await.unwrap();

    let store = h.store().await;
    let job = async |id: &str| store.job(&id.parse().unwrap()).await.unwrap().unwrap();
    let (deleted, once) = (job("sms-job-00000001").await, job("sms-job-00000002").await);
    assert_eq!((deleted.state, deleted.state_since, deleted.failures), (JobState::Deleted, Timestamp(70), 0));
    assert!(deleted.settings.pause_on_failure && deleted.settings.recipients.is_empty());
    assert_eq!((once.state_since, once.settings.pause_on_failure), (Timestamp(6), false));

    // What was encrypted before keys had names was encrypted with the first one.
    let first = godwit_model::key::first_key();
    let key = async |id: &str| store.run(&id.parse().unwrap()).await.unwrap().unwrap().key.map(|k| (k.id, k.version));
    assert_eq!(key("sms-run-00000001").await, Some((first.clone(), 1)));
    assert_eq!(key("sms-run-00000002").await, None, "it has not begun");
    let baselines = store.baselines(&once.id).await.unwrap();
    assert_eq!(baselines.iter().map(|b| &b.key).collect::<Vec<_>>(), [&first]);
    let keys = store.keys(None, 9).await.unwrap();
    assert_eq!(keys.iter().map(|k| (&k.id, k.is_default, k.version)).collect::<Vec<_>>(), [(&first, true, 1)]);
    store.close().await;
}
