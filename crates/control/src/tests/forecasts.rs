//! What is forecast of runs, written down when they begin, and how far off it was, when they end.

use crate::service::*;
use crate::testing::{Act, Harness, PACK, PACKS};
use godwit_model::failure::Code;
use godwit_model::forecast::{Forecast, Looked, Range};
use godwit_model::id::JobId;
use godwit_model::run::RunState;
use godwit_model::time::Millis;

/// What both volumes of the world hold.
const ALL: u64 = 2 * PACKS * PACK;

/// An hour later, with everything changed, one more run completes.
async fn one_more(h: &Harness, service: &Service, job: &JobId) -> Run {
    let n = h.runs(service, job).await.iter().filter(|run| run.state == RunState::Completed).count();
    h.world.look().version += 1;
    h.wait(Millis::HOUR, service);
    h.until_runs(service, job, n + 1, RunState::Completed).await;
    h.runs(service, job).await.into_iter().rfind(|run| run.state == RunState::Completed).unwrap()
}

fn likely(range: Option<Range>) -> Option<u64> {
    range.map(|range| range.likely)
}

async fn forecast(h: &Harness, service: &Service, job: &JobId) -> JobForecast {
    service.get_forecast(job.as_str(), h.now()).await.unwrap()
}

async fn cut_over(h: &Harness, service: &Service, job: &JobId) -> Forecast {
    forecast(h, service, job).await.cut_over.unwrap()
}

#[tokio::test]
async fn each_run_has_the_forecast_it_began_with_and_its_error() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;

    let first = h.runs(&service, &job).await.remove(0).forecast.unwrap();
    assert_eq!((first.forecast.looked, likely(first.forecast.read)), (Looked::FirstCopy, Some(ALL / 2)));
    assert_eq!(first.forecast.took, None, "before any run there are no hours");
    let (actual, error) = first.outcome.unwrap();
    assert_eq!((actual.read, actual.stored), (ALL, ALL));
    assert_eq!((error.read, error.stored, error.took), (Some(2.0), Some(2.0), None));

    let second = one_more(&h, &service, &job).await.forecast.unwrap();
    assert_eq!((second.forecast.looked, second.forecast.read), (Looked::Changes, None));
    assert_eq!(second.outcome.unwrap().1.read, None, "nothing was forecast of changes yet");
    let third = one_more(&h, &service, &job).await.forecast.unwrap();
    assert_eq!((third.forecast.span, likely(third.forecast.read)), (Some(Millis::HOUR), Some(ALL)));
    assert!(third.forecast.basis.starts_with("bytes: changes of 1 run of the job"), "{}", third.forecast.basis);
    let (actual, error) = third.outcome.unwrap();
    assert!(third.forecast.read.unwrap().holds(actual.read) && third.forecast.took.unwrap().holds(actual.took));
    assert_eq!((error.read, error.stored), (Some(1.0), Some(1.0)));
    control.shutdown().await;
}

#[tokio::test]
async fn first_next_and_last_run_are_forecast() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    let later = h.now() + Millis::HOUR;
    let new = NewJob { frequency_hours: Some(1), ..NewJob::new(server.as_str(), later) };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    let before = forecast(&h, &service, &job).await;
    let first = before.first_copy.unwrap();
    assert_eq!(first.read, Some(Range { low: 0, likely: ALL / 2, high: ALL }));
    assert_eq!((before.next_run, before.cut_over), (None, Some(first)), "to go over now is to make the first copy");

    one_more(&h, &service, &job).await;
    let after = forecast(&h, &service, &job).await;
    assert_eq!((after.first_copy, after.next_run.unwrap().1.read), (None, None));
    one_more(&h, &service, &job).await;
    h.wait(Millis::MINUTE.times(30), &service);
    let after = forecast(&h, &service, &job).await;
    let (due, next) = after.next_run.unwrap();
    assert_eq!((due, likely(next.read)), (h.now() + Millis::MINUTE.times(30), Some(ALL)));
    let last = after.cut_over.unwrap();
    assert_eq!((last.span, likely(last.read)), (Some(Millis::MINUTE.times(30)), Some(ALL / 2)), "half the time");

    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    let none = forecast(&h, &service, &job).await;
    assert_eq!((none.first_copy, none.next_run, none.cut_over), (None, None, None));
    let unknown = service.get_forecast("sms-job-00000000", h.now()).await.unwrap_err();
    assert!(unknown.message.contains("sms-job-00000000"), "{unknown:?}");
    control.shutdown().await;
}

#[tokio::test]
async fn a_first_copy_at_work_narrows_the_forecast_by_what_it_has_read() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    // To a pack that is sent, the first two mean nothing.
    h.world.script("send", [Act::Repack, Act::Repack, Act::Hang]);
    let job = h.hourly(&service).await;
    h.until_calls("send", 3).await;
    let at_work = forecast(&h, &service, &job).await.first_copy.unwrap();
    assert_eq!(at_work.read, Some(Range { low: 2 * PACK, likely: ALL / 2, high: ALL }));
    assert!(at_work.basis.contains("what the run has read so far"), "{}", at_work.basis);
    control.shutdown().await;
}

#[tokio::test]
async fn a_run_that_goes_on_behind_a_restart_keeps_its_forecast() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    one_more(&h, &service, &job).await;
    h.world.look().version += 1;
    let sent = h.world.calls("send");
    h.world.script("send", [Act::Hang]);
    h.wait(Millis::HOUR, &service);
    h.until_calls("send", sent + 1).await;
    let id = h.runs(&service, &job).await.into_iter().find(|run| run.state == RunState::Active).unwrap().id;
    let began = h.run(&service, &id).await.forecast.unwrap();
    assert!(began.forecast.read.is_some() && began.outcome.is_none(), "{began:?}");
    control.shutdown().await;

    let (control, service) = h.serve().await;
    h.until_runs(&service, &job, 3, RunState::Completed).await;
    let ended = h.run(&service, &id).await.forecast.unwrap();
    assert_eq!(ended.forecast, began.forecast);
    assert_eq!(ended.outcome.unwrap().1.read, Some(1.0));
    control.shutdown().await;
}

#[tokio::test]
async fn a_run_that_fails_has_no_error_and_teaches_nothing() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let job = h.replicated(&service).await;
    one_more(&h, &service, &job).await;
    let known = cut_over(&h, &service, &job).await.basis;
    h.world.script("take_point", [Act::Fail(Code::VolumeUnsupported)]);
    h.wait(Millis::HOUR, &service);
    h.until_runs(&service, &job, 1, RunState::Failed).await;
    let failed = h.runs(&service, &job).await.into_iter().find(|run| run.state == RunState::Failed).unwrap();
    let told = failed.forecast.unwrap();
    assert!(told.forecast.read.is_some() && told.outcome.is_none(), "{told:?}");
    let next = cut_over(&h, &service, &job).await;
    assert_eq!((next.basis, next.span), (known, Some(Millis::HOUR)), "changes count from the last image");
    control.shutdown().await;
}

#[tokio::test]
async fn what_another_job_took_tells_the_time_of_a_first_copy() {
    let h = Harness::new();
    h.world.look().servers.push(crate::testing::server("vm-2", "two"));
    let (control, service) = h.serve().await;
    let servers = h.catalog(&service).await;
    let other = h.hourly_of(&service, &servers[0].id).await;
    h.until_runs(&service, &other, 1, RunState::Completed).await;
    let new = NewJob { frequency_hours: Some(1), ..NewJob::new(servers[1].id.as_str(), h.now() + Millis::HOUR) };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    let first = forecast(&h, &service, &job).await.first_copy.unwrap();
    assert!(first.took.is_some() && first.basis.ends_with("time: 1 run at the connector"), "{first:?}");
    control.shutdown().await;
}
