//! What is refused and how; paging; ids that last.

use crate::service::*;
use crate::testing::{Act, Harness, START, server};
use godwit_model::catalog::CatalogStatus;
use godwit_model::failure::Code;
use godwit_model::job::{Interval, JobState};
use godwit_model::licence::LicenseType;
use godwit_model::run::RunState;
use godwit_model::time::Millis;
use std::sync::Arc;
use tokio::sync::Notify;

#[tokio::test]
async fn jobs_that_are_not_in_order_are_refused() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let id = h.one_server(&service).await.to_string();
    let far = h.now() + Millis::DAY.times(30) + Millis(1);
    let new = || NewJob { frequency_hours: Some(1), ..NewJob::new(id.as_str(), START) };
    use ErrorCode::{InvalidParameter, MissingRequiredParameter};
    let cases = [
        (NewJob { frequency_hours: None, ..new() }, MissingRequiredParameter, "runOnce"),
        (NewJob { frequency_hours: None, run_once: Some(false), ..new() }, MissingRequiredParameter, "frequency"),
        (NewJob { run_once: Some(true), ..new() }, InvalidParameter, "both"),
        (NewJob { interval_minutes: Some(5), ..new() }, InvalidParameter, "both"),
        (NewJob { frequency_hours: None, interval_minutes: Some(0), ..new() }, InvalidParameter, "1 to 43200"),
        (NewJob { recipients: vec!["nobody".into()], ..new() }, InvalidParameter, "recipients: 'nobody'"),
        (NewJob { recipients: vec!["a@b.c".into(); 21], ..new() }, InvalidParameter, "at most 20"),
        (NewJob { pause_after: Some(101), ..new() }, InvalidParameter, "1 to 100"),
        (NewJob { frequency_hours: Some(0), ..new() }, InvalidParameter, "1 to 24"),
        (NewJob { frequency_hours: Some(25), ..new() }, InvalidParameter, "1 to 24"),
        (NewJob { start: far, ..new() }, InvalidParameter, "30 days"),
        (NewJob { server_id: "s-12345678".into(), ..new() }, InvalidParameter, "s-12345678"),
        (NewJob { server_id: "nonsense".into(), ..new() }, InvalidParameter, "nonsense"),
        (NewJob { keep_images: Some(271), ..new() }, InvalidParameter, "0 to 270"),
        (NewJob { keep_images: Some(-1), ..new() }, InvalidParameter, "0 keeps all"),
        (NewJob { kms_key_id: Some("alias/mine".into()), ..new() }, InvalidParameter, "alias/mine"),
        (NewJob { description: Some("x".repeat(1_025)), ..new() }, InvalidParameter, "description"),
    ];
    for (job, code, words) in cases {
        let refused = service.create_replication_job(job.clone(), h.now()).await.unwrap_err();
        assert_eq!(refused.code, code, "{job:?}: {refused}");
        assert!(refused.message.contains(words), "{refused}");
    }
    let edge = NewJob { start: h.now() + Millis::DAY.times(30), keep_images: Some(0), ..new() };
    let job = service.create_replication_job(edge, h.now()).await.unwrap();
    assert_eq!(h.job(&service, &job).await.keep_images, Some(0));
    let second = service.create_replication_job(new(), h.now()).await.unwrap_err();
    assert_eq!(second.code, ErrorCode::ReplicationJobAlreadyExists);
    assert!(second.message.contains(job.as_str()));
    control.shutdown().await;
}

/// What one member of an update does to a job.
type Effect = fn(&mut Job);

#[tokio::test]
async fn each_member_of_an_update_changes_what_it_says_and_nothing_else() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    service
        .create_role("ours", r#"{"Statement": {"Effect": "Allow", "Action": "*"}}"#, None, &[], h.now())
        .await
        .unwrap();
    let start = h.now() + Millis::HOUR;
    let new = NewJob {
        frequency_hours: Some(1),
        license: Some(LicenseType::Byol),
        description: Some("old".into()),
        keep_images: Some(3),
        encrypted: Some(true),
        recipients: vec!["ops@example.org".into()],
        pause_after: Some(5),
        ..NewJob::new(server.as_str(), start)
    };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    let later = start + Millis::HOUR;
    let none = JobChanges::default;
    let cases: [(JobChanges, Effect); 13] = [
        (JobChanges { frequency_hours: Some(6), ..none() }, |job| job.interval = Interval::EveryMinutes(360)),
        (JobChanges { interval_minutes: Some(7), ..none() }, |job| job.interval = Interval::EveryMinutes(7)),
        (JobChanges { next_start: Some(later), ..none() }, |job| {
            let later = job.seed + Millis::HOUR;
            job.next_start = Some(later);
            job.latest_runs[0].scheduled_at = later;
        }),
        (JobChanges { license: Some(LicenseChange::To(LicenseType::Aws)), ..none() }, |job| {
            job.license = Some(LicenseType::Aws)
        }),
        (JobChanges { role_name: Some("ours".into()), ..none() }, |job| job.role_name = "ours".into()),
        (JobChanges { description: Some("new".into()), ..none() }, |job| job.description = Some("new".into())),
        (JobChanges { keep_images: Some(1), ..none() }, |job| job.keep_images = Some(1)),
        (JobChanges { encrypted: Some(false), ..none() }, |job| {
            job.encrypted = Some(false);
            // A run that has not begun shows what it is to be.
            job.latest_runs[0].encrypted = Some(false);
        }),
        (JobChanges { kms_key_id: Some("alias/aws/ebs".into()), ..none() }, |job| {
            let key = (Some(true), Some("alias/aws/ebs".to_owned()));
            (job.encrypted, job.kms_key_id) = key.clone();
            (job.latest_runs[0].encrypted, job.latest_runs[0].kms_key_id) = key;
        }),
        (JobChanges { recipients: Some(vec![]), ..none() }, |job| job.recipients.clear()),
        (JobChanges { pause_on_failure: Some(false), ..none() }, |job| job.pause_on_failure = false),
        (JobChanges { pause_after: Some(2), ..none() }, |job| job.pause_after = 2),
        (JobChanges { cap: Some("5MB/s".into()), ..none() }, |job| {
            job.cap = Some("5MB/s".parse().unwrap());
            job.latest_runs[0].cap = job.cap.clone();
        }),
    ];
    let members = format!("{:?}", none()).matches(": None").count();
    assert_eq!(cases.len(), members, "every member has its case");
    for (changes, effect) in cases {
        let mut expected = h.job(&service, &job).await;
        effect(&mut expected);
        service.update_replication_job(job.as_str(), changes.clone(), h.now()).await.unwrap();
        assert_eq!(h.job(&service, &job).await, expected, "{changes:?}");
    }
    let before = h.job(&service, &job).await;
    service.update_replication_job(job.as_str(), none(), h.now()).await.unwrap();
    assert_eq!(h.job(&service, &job).await, before, "nothing was sent");
    control.shutdown().await;
}

#[tokio::test]
async fn a_job_may_run_every_few_minutes_and_tell_people() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let id = h.one_server(&service).await;
    let recipients = vec!["ops@example.org".into(), "mailto:ops@example.org".into(), "https://x.y/z".into()];
    let new = NewJob { interval_minutes: Some(1), recipients, ..NewJob::new(id.as_str(), h.now()) };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let made = h.job(&service, &job).await;
    assert_eq!((made.next_start, made.frequency_hours()), (Some(h.now() + Millis::MINUTE), None));
    assert_eq!(made.recipients, ["ops@example.org", "https://x.y/z"], "each once");
    assert!(made.pause_on_failure && made.pause_after == 3);

    let changes = JobChanges { interval_minutes: Some(120), pause_after: Some(7), ..JobChanges::default() };
    service.update_replication_job(job.as_str(), changes, h.now()).await.unwrap();
    let changed = h.job(&service, &job).await;
    assert_eq!((changed.frequency_hours(), changed.pause_after, changed.recipients.len()), (Some(2), 7, 2));
    let changes = JobChanges { recipients: Some(vec![]), pause_after: Some(0), ..JobChanges::default() };
    service.update_replication_job(job.as_str(), changes, h.now()).await.unwrap();
    let changed = h.job(&service, &job).await;
    assert_eq!((changed.pause_after, changed.recipients.len()), (3, 0));
    control.shutdown().await;
}

#[tokio::test]
async fn licences_follow_the_platform() {
    use godwit_model::licence::LicenseType::{Aws, Byol};
    use godwit_model::server::Platform;
    let h = Harness::new();
    let platform = |p| h.world.look().servers[0].platform = p;
    platform(Some(Platform::Linux));
    let (control, service) = h.serve().await;
    let id = h.one_server(&service).await;
    let new = |license| NewJob { interval_minutes: Some(60), license, ..NewJob::new(id.as_str(), h.now()) };
    let refused = service.create_replication_job(new(Some(Aws)), h.now()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ServerCannotBeReplicated);
    assert!(refused.message.contains("Linux"), "{refused}");
    let job = service.create_replication_job(new(None), h.now()).await.unwrap();
    assert_eq!((h.job(&service, &job).await.license, h.job(&service, &job).await.license_asked), (Some(Byol), false));
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    let to = |license| JobChanges { license: Some(license), ..JobChanges::default() };
    let changes = to(LicenseChange::To(Aws));
    let refused = service.update_replication_job(job.as_str(), changes.clone(), h.now()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ServerCannotBeReplicated);

    platform(Some(Platform::WindowsServer));
    h.import(&service).await;
    assert_eq!(h.job(&service, &job).await.license, Some(Aws), "chosen by the platform");
    service.update_replication_job(job.as_str(), changes, h.now()).await.unwrap();
    platform(Some(Platform::Linux));
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 1, RunState::Failed).await;
    let failed = h.runs(&service, &job).await.into_iter().find(|r| r.state == RunState::Failed).unwrap();
    assert_eq!(failed.failure.unwrap().code, Code::LicenseNotAllowed, "what runs in the guest has changed since");

    // The next step that the failure names.
    service.update_replication_job(job.as_str(), to(LicenseChange::Automatic), h.now()).await.unwrap();
    h.import(&service).await;
    let changed = h.job(&service, &job).await;
    assert_eq!((changed.license, changed.license_asked), (Some(Byol), false), "chosen by the platform again");
    let completed = h.runs(&service, &job).await.iter().filter(|r| r.state == RunState::Completed).count();
    service.start_on_demand_replication_run(job.as_str(), None, h.now()).await.unwrap();
    h.until_runs(&service, &job, completed + 1, RunState::Completed).await;
    control.shutdown().await;
}

#[tokio::test]
async fn a_start_in_the_past_means_now() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let id = h.one_server(&service).await;
    let new = NewJob { run_once: Some(true), ..NewJob::new(id.as_str(), h.now() - Millis::DAY) };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    assert_eq!(h.job(&service, &job).await.seed, h.now());
    control.shutdown().await;
}

#[tokio::test]
async fn unknown_things_are_refused_by_the_code_of_the_operation() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = "sms-job-00000000";
    let page = Page::default();
    let code = |e: ServiceError| e.code;
    let not_found = ErrorCode::ReplicationJobNotFound;
    let invalid = ErrorCode::InvalidParameter;
    for job in [job, "nonsense"] {
        assert_eq!(service.delete_replication_job(job, h.now()).await.map_err(code), Err(not_found));
        let update = service.update_replication_job(job, JobChanges::default(), h.now()).await;
        assert_eq!(update.map_err(code), Err(not_found));
        assert_eq!(service.get_replication_jobs(Some(job), &page).await.map(|_| ()).map_err(code), Err(invalid));
        assert_eq!(service.get_replication_runs(job, &page).await.map(|_| ()).map_err(code), Err(invalid));
        let demand = service.start_on_demand_replication_run(job, None, h.now()).await;
        assert_eq!(demand.map(|_| ()).map_err(code), Err(invalid));
    }
    assert_eq!(service.disassociate_connector("c-1", h.now()).await.map_err(code), Err(invalid));
    assert_eq!(service.start_image_verification("ami-1", h.now()).await.map_err(code), Err(invalid));
    let image = "ami-00000000000000000";
    assert_eq!(service.delete_image(image, h.now()).await.map_err(code), Err(invalid));
    assert_eq!(service.read_image(image, 0, 0, 1).await.map(|_| ()).map_err(code), Err(invalid));
    let refused = service.import_server_catalog(h.now()).await.map_err(code);
    assert_eq!(refused, Err(ErrorCode::NoConnectorsAvailable));
    control.shutdown().await;
}

#[tokio::test]
async fn reads_beyond_a_volume_are_refused() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.replicated(&service).await;
    let image = h.images(&service).await.remove(0).id;
    for (volume, offset, length) in [
        (2, 0, 1),
        (-1, 0, 1),
        (0, 3_000, 1),
        (0, 2_999, 2),
        (0, -1, 1),
        (0, 0, 0),
        (0, 0, -1),
        (0, i64::MAX, i64::MAX),
    ] {
        let refused = service.read_image(image.as_str(), volume, offset, length).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidParameter, "{volume} {offset} {length}");
    }
    assert_eq!(service.read_image(image.as_str(), 0, 2_999, 1).await.unwrap().len(), 1);
    assert!(service.list_image_extents(image.as_str(), 0, Some(3_001), None).await.is_err());
    assert!(service.list_image_extents(image.as_str(), 0, None, Some(0)).await.is_err());
    control.shutdown().await;
}

#[tokio::test]
async fn servers_keep_their_ids_through_imports_and_clearing() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let before = service.get_servers(None, &Page::default()).await.unwrap();
    assert_eq!((before.status, before.modified_at), (CatalogStatus::NotImported, START));
    h.world.look().servers.push(server("vm-2", "two"));
    let both = h.catalog(&service).await;
    assert_eq!(both.len(), 2);

    h.world.look().servers.remove(0);
    let left = h.import(&service).await;
    assert_eq!((left.len(), left[0].name.as_str()), (1, "two"));
    service.delete_server_catalog(h.now()).await.unwrap();
    let cleared = service.get_servers(None, &Page::default()).await.unwrap();
    assert_eq!((cleared.status, cleared.servers.items.len()), (CatalogStatus::Deleted, 0));
    h.world.look().servers.push(server("vm-1", "renamed"));
    let again = h.import(&service).await;
    let id = |list: &[Server], vm: &str| list.iter().find(|s| s.address.vm_id == vm).unwrap().id.clone();
    for vm in ["vm-1", "vm-2"] {
        assert_eq!(id(&both, vm), id(&again, vm));
    }
    assert!(again.iter().any(|s| s.name == "renamed"));

    let address = VmAddress { manager_id: "manager-1".into(), vm_id: "vm-2".into() };
    let unknown = VmAddress { vm_id: "vm-9".into(), ..address.clone() };
    let some = service.get_servers(Some(&[address, unknown]), &Page::default()).await.unwrap();
    assert_eq!(some.servers.items.len(), 1);
    control.shutdown().await;
}

/// The items of a list, fetched three at a time.
async fn all_pages<T>(read: impl AsyncFn(&Page) -> Paged<T>) -> Vec<T> {
    let mut items = Vec::new();
    let mut page = Page { token: None, limit: Some(3) };
    loop {
        let got = read(&page).await;
        items.extend(got.items);
        if got.next.is_none() {
            return items;
        }
        page.token = got.next;
    }
}

#[tokio::test]
async fn pages_have_fifty_items_unless_told_otherwise_and_those_of_jobs_a_hundred_at_most() {
    let h = Harness::new();
    h.world.look().servers = (0..120).map(|n| server(&format!("vm-{n}"), &format!("server {n}"))).collect();
    let (control, service) = h.serve().await;
    h.catalog(&service).await;
    let all = Page { limit: Some(1_000), token: None };
    for server in service.get_servers(None, &all).await.unwrap().servers.items {
        let start = h.now() + Millis::DAY;
        let new = NewJob { frequency_hours: Some(1), ..NewJob::new(server.id.as_str(), start) };
        service.create_replication_job(new, h.now()).await.unwrap();
    }
    for (limit, jobs, servers) in [(None, 50, 50), (Some(1), 1, 1), (Some(110), 100, 110), (Some(i64::MAX), 100, 120)] {
        let page = Page { limit, token: None };
        let found = service.get_replication_jobs(None, &page).await.unwrap();
        assert_eq!((found.items.len(), found.next.is_some()), (jobs, true), "{limit:?}");
        let next = Page { limit, token: found.next };
        let rest = service.get_replication_jobs(None, &next).await.unwrap();
        assert_eq!(rest.items.len(), jobs.min(120 - jobs), "{limit:?}");
        assert_eq!(service.get_servers(None, &page).await.unwrap().servers.items.len(), servers, "{limit:?}");
    }
    let refused = service.get_replication_jobs(None, &Page { limit: Some(0), token: None }).await.unwrap_err();
    assert!(refused.message.contains("from 1 to"), "{refused}");
    control.shutdown().await;
}

#[tokio::test]
async fn the_largest_numbers_are_accepted_and_the_next_ones_refused() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let id = h.one_server(&service).await.to_string();
    let new = || NewJob { interval_minutes: Some(43_200), ..NewJob::new(id.as_str(), h.now() + Millis::DAY.times(30)) };
    let people = |n: i64| (0..n).map(|n| format!("p{n}@example.org")).collect::<Vec<_>>();
    type Change = fn(&mut NewJob, i64);
    let limits: [(&str, i64, Change); 4] = [
        ("intervalMinutes", 43_200, |job, n| job.interval_minutes = Some(n)),
        ("numberOfRecentAmisToKeep", 270, |job, n| job.keep_images = Some(n)),
        ("pauseAfterFailures", 100, |job, n| job.pause_after = Some(n)),
        ("description", 1_024, |job, n| job.description = Some("x".repeat(n as usize))),
    ];
    for (member, most, change) in limits {
        let mut job = new();
        change(&mut job, most + 1);
        let refused = service.create_replication_job(job, h.now()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidParameter, "{refused}");
        assert!(refused.message.contains(member), "{member}: {refused}");
    }
    let all = NewJob { recipients: people(20), ..new() };
    let all = limits.into_iter().fold(all, |mut job, (_, most, change)| {
        change(&mut job, most);
        job
    });
    let job = service.create_replication_job(all, h.now()).await.unwrap();
    let made = h.job(&service, &job).await;
    assert_eq!((made.interval, made.keep_images), (Interval::EveryMinutes(43_200), Some(270)));
    assert_eq!((made.pause_after, made.recipients.len()), (100, 20));
    let changes = JobChanges { pause_after: Some(0), ..JobChanges::default() };
    service.update_replication_job(job.as_str(), changes, h.now()).await.unwrap();
    assert_eq!(h.job(&service, &job).await.pause_after, h.options.pause_after, "0 is what is configured");
    control.shutdown().await;
}

#[tokio::test]
async fn a_job_may_be_deleted_again_until_it_is_gone() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.world.script("send", [Act::Hang]);
    let job = h.hourly(&service).await;
    h.until_calls("send", 1).await;
    let go_on = Arc::new(Notify::new());
    h.world.script("settle", [Act::Wait(go_on.clone())]);
    for _ in 0..2 {
        service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
        assert_eq!(h.job(&service, &job).await.state, JobState::Deleting);
    }
    go_on.notify_one();
    h.until_job(&service, &job, JobState::Deleted).await;
    let refused = service.delete_replication_job(job.as_str(), h.now()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::ReplicationJobNotFound);
    assert!(refused.message.contains("deleted already"), "{refused}");
    control.shutdown().await;
}

#[tokio::test]
async fn a_one_time_job_has_no_interval_and_no_next_run_once_its_run_has_begun() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    let start = h.now() + Millis::HOUR;
    let new = NewJob { run_once: Some(true), ..NewJob::new(server.as_str(), start) };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    let ahead = h.job(&service, &job).await;
    assert_eq!((ahead.frequency_hours(), ahead.next_start), (None, Some(start)));
    h.world.script("send", [Act::Hang]);
    h.wait(Millis::HOUR, &service);
    h.until_calls("send", 1).await;
    assert_eq!(h.job(&service, &job).await.next_start, None);
    control.shutdown().await;
}

#[tokio::test]
async fn lists_come_in_pages() {
    let h = Harness::new();
    h.world.look().servers = (0..7).map(|n| server(&format!("vm-{n}"), &format!("server {n}"))).collect();
    let (control, service) = h.serve().await;
    let all = h.catalog(&service).await;
    for server in &all {
        let start = h.now() + Millis::DAY;
        let new = NewJob { frequency_hours: Some(1), ..NewJob::new(server.id.as_str(), start) };
        service.create_replication_job(new, h.now()).await.unwrap();
    }
    let servers = all_pages(async |page| {
        let jobs = service.get_replication_jobs(None, page).await;
        assert_eq!(jobs.is_err(), page.token.is_some(), "a token of another list");
        service.get_servers(None, page).await.unwrap().servers.map(|s| s.id)
    })
    .await;
    let mut jobs = all_pages(async |page| service.get_replication_jobs(None, page).await.unwrap().map(|j| j.id)).await;
    let mut runs = all_pages(async |page| {
        service.describe_replication_runs(&RunsFilter::default(), page).await.unwrap().map(|r| r.id)
    })
    .await;
    assert_eq!(servers, all.into_iter().map(|s| s.id).collect::<Vec<_>>());
    for n in [jobs.len(), runs.len()] {
        assert_eq!(n, 7);
    }
    jobs.sort();
    jobs.dedup();
    runs.sort();
    runs.dedup();
    assert_eq!((jobs.len(), runs.len()), (7, 7));
    control.shutdown().await;
}

#[tokio::test]
async fn secrets_are_wrapped_and_come_back() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    assert!(!service.has_administrator().await.unwrap());
    let secret = Secret::new("very secret".into());
    for _ in 0..2 {
        service.create_administrator("AKIA1", &secret, h.now()).await.unwrap();
    }
    assert!(service.has_administrator().await.unwrap());
    assert_eq!(service.signer("AKIA1").await.unwrap().unwrap().secret.expose(), "very secret");
    assert!(service.signer("AKIA2").await.unwrap().is_none());
    assert!(!format!("{secret:?}").contains("very"));
    control.shutdown().await;
    let file = std::fs::read(h.path()).unwrap();
    assert!(!file.windows(11).any(|w| w == b"very secret"));
}
