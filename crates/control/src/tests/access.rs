//! Roles at a run's beginning, keys over time, and what becomes of a database that knew no users.

use crate::service::*;
use crate::testing::Harness;
use godwit_model::failure::Code;
use godwit_model::role;
use godwit_model::run::RunState;
use godwit_model::time::Millis;
use sqlx::{ConnectOptions, Connection, Executor};

const LITTLE: &str = r#"{"Statement": {"Effect": "Allow", "Action": "godwit:ReadSource"}}"#;

#[tokio::test]
async fn a_run_whose_role_has_lost_a_permission_fails_and_says_so() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    assert_eq!(h.job(&service, &job).await.role_name, role::DEFAULT);
    let changes = PolicyChanges { document: Some(LITTLE.to_owned()), description: None };
    service.update_role(role::DEFAULT, &changes, &[], h.now()).await.unwrap();
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 1, RunState::Failed).await;
    let failed = h.runs(&service, &job).await.into_iter().find(|run| run.state == RunState::Failed).unwrap();
    let failure = failed.failure.unwrap();
    assert_eq!(failure.code, Code::RoleNotAllowed);
    assert!(failure.evidence.contains("godwit:WriteStore, godwit:RegisterImage"), "{failure}");

    let other = JobChanges { role_name: Some("nosuch".into()), ..JobChanges::default() };
    let refused = service.update_replication_job(job.as_str(), other, h.now()).await.unwrap_err();
    assert!(refused.code == ErrorCode::InvalidParameter && refused.message.contains("no role 'nosuch'"), "{refused}");
    let other = JobChanges { role_name: Some(role::SERVICE_LINKED.into()), ..JobChanges::default() };
    service.update_replication_job(job.as_str(), other, h.now()).await.unwrap();
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 2, RunState::Completed).await;
    service.delete_role(role::DEFAULT).await.unwrap();
    control.shutdown().await;
}

#[tokio::test]
async fn a_rotated_key_ends_after_its_grace_and_its_use_is_noted_coarsely() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    service.create_user("u", &["read-only".to_owned()], h.now()).await.unwrap();
    let first = service.create_access_key("u", h.now()).await.unwrap();
    let second = service.rotate_access_key(&first.id, None, h.now()).await.unwrap();
    assert_eq!(second.old_ends_at, Some(h.now() + Millis::DAY));
    let used = async || {
        let keys = service.describe_access_keys(Some("u"), &Page::default(), h.now()).await.unwrap().items;
        keys.into_iter().find(|key| key.id == second.id).unwrap().last_used_at
    };
    let start = h.now();
    assert_eq!(service.authorize(&second.id, "sms:GetServers", start).await.unwrap(), "u");
    assert_eq!(used().await, Some(start));
    h.wait(Millis::MINUTE.times(14), &service);
    service.authorize(&second.id, "sms:GetServers", h.now()).await.unwrap();
    assert_eq!(used().await, Some(start), "not a write for every call");
    h.wait(Millis::MINUTE, &service);
    service.authorize(&second.id, "sms:GetServers", h.now()).await.unwrap();
    assert_eq!(used().await, Some(h.now()));

    assert!(service.signer(&first.id).await.unwrap().is_some());
    h.wait(Millis::DAY, &service);
    assert!(service.signer(&first.id).await.unwrap().is_none());
    assert_eq!(service.signer(&second.id).await.unwrap().map(|signer| signer.secret), Some(second.secret));
    let keys = service.describe_access_keys(None, &Page::default(), h.now()).await.unwrap().items;
    assert_eq!(keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), [second.id.as_str()]);
    control.shutdown().await;
}

#[tokio::test]
async fn names_of_users_differ_in_more_than_capitals() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    service.create_user("Ann", &[], h.now()).await.unwrap();
    let refused = service.create_user("ann", &[], h.now()).await.unwrap_err();
    assert!(refused.message.contains("'Ann' already"), "{refused}");
    let unknown = service.create_user("bob", &["nosuch".to_owned()], h.now()).await.unwrap_err();
    assert!(unknown.message.contains("no policy 'nosuch'"), "{unknown}");
    let users = service.describe_users(None, &Page::default()).await.unwrap().items;
    assert_eq!(users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["Ann"], "nothing half made");
    control.shutdown().await;
}

#[tokio::test]
async fn keys_and_jobs_that_are_older_than_users_and_roles_go_on() {
    let h = Harness::new();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(h.path()).create_if_missing(true);
    let mut connection = options.connect().await.unwrap();
    let mut first = crate::store::migrations();
    first.migrations.to_mut().retain(|migration| migration.version <= 2);
    first.run_direct(None, &mut connection, false).await.unwrap();
    for sql in [
        "INSERT INTO access_key VALUES ('AKIA1', 'administrator', '7465726365732079726576', 5)",
        "INSERT INTO server (server_id, manager_id, vm_id, manager_name, name, path, volumes, listed, import_number, \
         created_at) VALUES ('s-00000001', 'm', 'vm', 'm', 'web', '/web', '[]', 1, 1, 5)",
        "INSERT INTO job (job_id, server_id, state, start_at, interval_minutes, role_name, created_at, seed_at, fence) \
         VALUES ('sms-job-00000001', 's-00000001', 'PAUSED_ON_FAILURE', 5, 60, 'anything', 5, 5, 3)",
    ] {
        connection.execute(sql).await.unwrap();
    }
    connection.close().await.unwrap();

    let (control, service) = h.serve().await;
    assert!(service.has_administrator().await.unwrap());
    assert_eq!(service.signer("AKIA1").await.unwrap().unwrap().secret.expose(), "very secret");
    assert_eq!(service.authorize("AKIA1", "godwit:CreateUser", h.now()).await.unwrap(), "administrator");
    let role = service.describe_roles(Some(&["anything".to_owned()]), &Page::default()).await.unwrap().items.remove(0);
    assert_eq!(role.document, role::DEFAULT_DOCUMENT);
    let in_use = service.delete_role("anything").await.unwrap_err();
    assert!(in_use.message.contains("sms-job-00000001"), "{in_use}");
    control.shutdown().await;
}
