//! Who is told what, when it is tried again, and what the record says.

use super::kill::{at_every_step, it_is_due};
use crate::service::*;
use crate::testing::{Act, Answer, Harness, START, until};
use godwit_model::event::EventKind::{self, *};
use godwit_model::event::delivery::DeliveryState;
use godwit_model::failure::Code;
use godwit_model::id::JobId;
use godwit_model::job::JobState;
use godwit_model::time::Millis;
use std::collections::BTreeSet;
use std::time::Duration;

const MAIL: &str = "ops@example.org";
const HOOK: &str = "https://example.org/hook";
const DEAD: &str = "https://dead.example.org/hook";

fn failing(h: &Harness) {
    h.world.script("register", vec![Act::Fail(Code::SourceRefused); 100]);
}

async fn job_that_tells(h: &Harness, service: &Service, new: impl FnOnce(NewJob) -> NewJob) -> JobId {
    let server = h.one_server(service).await;
    let recipients = vec![MAIL.to_owned(), HOOK.to_owned()];
    let job = NewJob { recipients, ..NewJob::new(server.as_str(), h.now()) };
    service.create_replication_job(new(job), h.now()).await.unwrap()
}

fn once(new: NewJob) -> NewJob {
    NewJob { run_once: Some(true), ..new }
}

fn hourly(new: NewJob) -> NewJob {
    NewJob { frequency_hours: Some(1), ..new }
}

async fn told(h: &Harness, to: &str, wanted: &[EventKind]) {
    until(&format!("what {to} is told"), async || h.receivers.taken(to).len() >= wanted.len()).await;
    assert_eq!(h.receivers.taken(to), wanted, "{to}");
}

async fn all(service: &Service) -> Vec<Notification> {
    service.describe_notifications(&NotificationsFilter::default(), &Page::default()).await.unwrap().items
}

/// Waits until nothing is on its way any more.
async fn at_rest(service: &Service) -> Vec<Notification> {
    until("all deliveries", async || all(service).await.iter().all(|n| n.state != DeliveryState::Pending)).await;
    all(service).await
}

#[tokio::test]
async fn a_finished_migration_is_told_and_so_is_its_image_to_programs() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = job_that_tells(&h, &service, once).await;
    told(&h, HOOK, &[RunCompleted, JobCompleted]).await;
    told(&h, MAIL, &[JobCompleted]).await;
    let record = at_rest(&service).await;
    let image = &h.images(&service).await[0].id;
    assert!(record.iter().all(|n| n.state == DeliveryState::Delivered && n.attempts == 1 && n.job == job));
    assert!(record.iter().all(|n| n.text.contains(image.as_str())), "{record:?}");
    control.shutdown().await;
}

#[tokio::test]
async fn failures_and_the_pause_that_follows_are_told() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    failing(&h);
    let job = job_that_tells(&h, &service, |new| NewJob { pause_after: Some(2), ..hourly(new) }).await;
    told(&h, MAIL, &[RunFailed]).await;
    let first = &at_rest(&service).await[0];
    assert!(first.text.contains("SourceRefused") && first.text.contains("One more scheduled run that fails pauses"));
    assert!(first.text.contains("The next run is due at 2027-01-15T09:00:00Z"), "{}", first.text);
    h.wait(Millis::HOUR, &service);
    told(&h, MAIL, &[RunFailed, RunFailed, JobPaused]).await;
    told(&h, HOOK, &[RunFailed, RunFailed, JobPaused]).await;
    let paused = &at_rest(&service).await[0];
    assert_eq!(paused.kind, JobPaused);
    assert!(paused.text.contains(&format!("godwit jobs resume {job} --start now")), "{}", paused.text);
    assert!(paused.run.is_some() && paused.text.contains("SourceRefused"), "the cause is in it");
    control.shutdown().await;
}

#[tokio::test]
async fn a_job_that_ends_by_failure_and_one_that_is_deleted_are_told() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    failing(&h);
    let job = job_that_tells(&h, &service, once).await;
    told(&h, MAIL, &[RunFailed, JobFailed]).await;
    h.until_job(&service, &job, JobState::Failed).await;
    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    told(&h, MAIL, &[RunFailed, JobFailed, JobDeleted]).await;
    let record = at_rest(&service).await;
    let ids: BTreeSet<_> = record.iter().map(|n| n.event_id.clone()).collect();
    assert_eq!((record.len(), ids.len()), (6, 3), "one id for an event, whoever is told");
    let seen = h.receivers.seen();
    assert!(seen.iter().all(|seen| ids.contains(&seen.id)));
    control.shutdown().await;
}

#[tokio::test]
async fn nothing_is_kept_for_jobs_that_tell_nobody() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.replicated(&service).await;
    assert!(all(&service).await.is_empty() && h.receivers.seen().is_empty());
    assert_eq!(h.rows("job_event").await, 0);
    control.shutdown().await;
}

#[tokio::test]
async fn a_delivery_is_tried_with_growing_pauses_and_given_up_in_the_end() {
    let h = Harness::new();
    h.receivers.answer(MAIL, Answer::Fail(Code::RecipientUnreachable));
    let (control, service) = h.serve().await;
    failing(&h);
    let job = job_that_tells(&h, &service, |new| NewJob { pause_on_failure: Some(false), ..once(new) }).await;
    h.until_job(&service, &job, JobState::Failed).await;
    let of_mail = async || {
        let mut mine = all(&service).await;
        mine.retain(|n| n.recipient == MAIL && n.kind == RunFailed);
        mine.remove(0)
    };
    let (mut pause, mut attempts) = (Millis::SECOND.times(10), 1);
    loop {
        until("an attempt", async || of_mail().await.attempts == attempts).await;
        let now = of_mail().await;
        if now.state == DeliveryState::GivenUp {
            break;
        }
        assert_eq!(now.next_attempt, Some(h.now() + pause), "attempt {attempts}");
        assert!(now.failure.is_some());
        h.wait(Millis(pause.0 - 1), &service);
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(of_mail().await.attempts, attempts, "not before its time");
        h.wait(Millis(1), &service);
        (pause, attempts) = (Millis((2 * pause.0).min(Millis::HOUR.0)), attempts + 1);
    }
    assert_eq!(attempts, 80);
    let age = h.now() - START;
    assert!(age <= Millis::DAY.times(3) && age.0 > Millis::DAY.0 * 3 - Millis::HOUR.0, "{age:?}");
    assert!(h.receivers.taken(HOOK).len() == 2, "the other one was told");
    control.shutdown().await;
}

#[tokio::test]
async fn whoever_does_not_answer_keeps_nobody_waiting() {
    let mut h = Harness::new();
    h.options.notify.attempt = Duration::from_secs(600);
    h.options.notify.in_flight = 2;
    h.receivers.answer(DEAD, Answer::Hang);
    let (control, service) = h.serve().await;
    let recipients = vec![DEAD.to_owned(), MAIL.to_owned(), HOOK.to_owned()];
    job_that_tells(&h, &service, |new| NewJob { recipients, ..once(new) }).await;
    told(&h, HOOK, &[RunCompleted, JobCompleted]).await;
    told(&h, MAIL, &[JobCompleted]).await;
    assert_eq!(h.receivers.attempts(DEAD), 1, "it is called once at a time");
    control.shutdown().await;
}

#[tokio::test]
async fn an_attempt_has_a_bound() {
    let mut h = Harness::new();
    h.options.notify.attempt = Duration::from_millis(20);
    h.receivers.answer(MAIL, Answer::Hang);
    let (control, service) = h.serve().await;
    job_that_tells(&h, &service, once).await;
    until("the attempt to end", async || all(&service).await.iter().any(|n| n.failure.is_some())).await;
    let failure = all(&service).await.into_iter().find_map(|n| n.failure).unwrap();
    assert_eq!(failure.code, Code::RecipientUnreachable);
    assert!(failure.evidence.contains("no answer within"), "{failure}");
    control.shutdown().await;
}

#[tokio::test]
async fn what_will_not_pass_is_given_up_at_once_and_can_be_sent_again() {
    let h = Harness::new();
    h.receivers.answer(MAIL, Answer::Fail(Code::NoMailServer));
    let (control, service) = h.serve().await;
    let job = job_that_tells(&h, &service, once).await;
    told(&h, HOOK, &[RunCompleted, JobCompleted]).await;
    at_rest(&service).await;
    let filter = |state: &str| NotificationsFilter {
        job_id: Some(job.to_string()),
        state: Some(state.to_owned()),
        ..NotificationsFilter::default()
    };
    let list = async |state| service.describe_notifications(&filter(state), &Page::default()).await.unwrap().items;
    let given_up = list("GIVEN_UP").await;
    assert_eq!((given_up.len(), given_up[0].attempts, list("DELIVERED").await.len()), (1, 1, 2));
    assert_eq!(given_up[0].failure.as_ref().unwrap().code, Code::NoMailServer);

    h.receivers.answer(MAIL, Answer::Take);
    service.redeliver_notification(given_up[0].id.as_str(), h.now()).await.unwrap();
    told(&h, MAIL, &[JobCompleted]).await;
    at_rest(&service).await;
    assert_eq!((list("GIVEN_UP").await.len(), list("DELIVERED").await.len()), (0, 3));
    let again = list("DELIVERED").await.into_iter().find(|n| n.recipient == MAIL).unwrap();
    assert_eq!((again.attempts, again.failure, again.event_id.clone()), (1, None, given_up[0].event_id.clone()));
    assert_eq!(h.receivers.seen().last().unwrap().id, again.event_id, "the same id at every attempt");
    control.shutdown().await;
}

#[tokio::test]
async fn lists_have_pages_and_wrong_requests_are_refused() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    job_that_tells(&h, &service, once).await;
    told(&h, HOOK, &[RunCompleted, JobCompleted]).await;
    told(&h, MAIL, &[JobCompleted]).await;
    let (mut page, mut seen) = (Page { token: None, limit: Some(1) }, Vec::new());
    loop {
        let answer = service.describe_notifications(&NotificationsFilter::default(), &page).await.unwrap();
        seen.extend(answer.items.into_iter().map(|n| n.id));
        match answer.next {
            None => break,
            token => page.token = token,
        }
    }
    assert!(seen.len() == 3 && seen.is_sorted_by(|a, b| a > b), "{seen:?}");
    let only = NotificationsFilter { notification_ids: Some(vec![seen[1].to_string()]), ..Default::default() };
    assert_eq!(service.describe_notifications(&only, &Page::default()).await.unwrap().items[0].id, seen[1]);

    for filter in [
        NotificationsFilter { state: Some("LOST".into()), ..Default::default() },
        NotificationsFilter { job_id: Some("web01".into()), ..Default::default() },
        NotificationsFilter { notification_ids: Some(vec![format!("ntf-{}", "0".repeat(32))]), ..Default::default() },
    ] {
        let refused = service.describe_notifications(&filter, &Page::default()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidParameter, "{refused}");
    }
    let unknown = format!("ntf-{}", "0".repeat(32));
    let refused = service.redeliver_notification(&unknown, h.now()).await.unwrap_err();
    assert!(refused.message.contains("there is no notification"), "{refused}");
    control.shutdown().await;
}

#[tokio::test]
async fn a_test_is_sent_at_once_and_says_why_it_did_not_arrive() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    assert_eq!(service.send_test_notification(MAIL, h.now()).await.unwrap(), Ok(()));
    h.receivers.answer(HOOK, Answer::Fail(Code::RecipientRefused));
    let failure = service.send_test_notification(HOOK, h.now()).await.unwrap().unwrap_err();
    assert_eq!(failure.code, Code::RecipientRefused);
    assert!(h.receivers.seen().iter().all(|seen| seen.kind.is_none()));
    let refused = service.send_test_notification("web01", h.now()).await.unwrap_err();
    assert!(refused.message.contains("is no recipient"), "{refused}");
    assert!(all(&service).await.is_empty(), "a test leaves no record");
    control.shutdown().await;
}

#[tokio::test]
async fn the_record_is_forgotten_after_its_time_but_not_what_is_still_on_its_way() {
    let mut h = Harness::new();
    h.options.notify.keep = Some(Millis::HOUR);
    h.receivers.answer(MAIL, Answer::Fail(Code::RecipientUnreachable));
    let (control, service) = h.serve().await;
    job_that_tells(&h, &service, once).await;
    told(&h, HOOK, &[RunCompleted, JobCompleted]).await;
    h.wait(Millis::HOUR, &service);
    until("forgetting", async || all(&service).await.len() == 2).await;
    assert!(all(&service).await.iter().all(|n| n.kind == JobCompleted), "one of its deliveries is on its way");
    h.receivers.answer(MAIL, Answer::Take);
    h.wait(Millis::HOUR.times(2), &service);
    until("forgetting the rest", async || all(&service).await.is_empty()).await;
    assert_eq!((h.rows("job_event").await, h.rows("notification").await), (0, 0));
    told(&h, MAIL, &[JobCompleted]).await;
    control.shutdown().await;
}

/// Waits an hour at a time until everything is delivered: a kill may leave a delivery that is tried again later.
#[test]
fn every_event_is_told_after_a_kill_at_every_step() {
    at_every_step(
        async |h, service| {
            let server = h.one_server(service).await;
            h.until_calls("sweep", 1).await;
            let recipients = vec![MAIL.to_owned(), HOOK.to_owned()];
            let new = once(NewJob { recipients, ..NewJob::new(server.as_str(), h.now() + Millis::HOUR) });
            service.create_replication_job(new, h.now()).await.unwrap()
        },
        async |h, service, job| {
            failing(h);
            it_is_due(h, service, job).await;
        },
        async |h, service, job| {
            let record = all(service).await;
            h.job(service, job).await.state == JobState::Failed
                && record.len() == 4
                && record.iter().all(|n| n.state == DeliveryState::Delivered)
        },
        async |h, service, _, when| {
            for to in [MAIL, HOOK] {
                let taken = h.receivers.taken(to);
                let kinds: BTreeSet<_> = taken.iter().copied().collect();
                assert_eq!(kinds, BTreeSet::from([RunFailed, JobFailed]), "{when}: {to}");
                assert!(taken.len() <= 3, "{when}: {to} was told {taken:?}");
            }
            let ids: BTreeSet<_> = h.receivers.seen().into_iter().map(|seen| seen.id).collect();
            let known: BTreeSet<_> = all(service).await.into_iter().map(|n| n.event_id).collect();
            assert_eq!((ids.len(), &ids), (2, &known), "{when}: an event came under two ids");
        },
    );
}
