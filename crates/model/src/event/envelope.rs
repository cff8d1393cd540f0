//! An event for programs, in the shape in which the seed service's events came: what matched those, matches these.
//!
//! `detail` is the seed service's, member by member. Events of a job, not of a run, have `"N/A"` as their run and no
//! image, so that a consumer that starts a machine for every `ami-id` starts one per image. What the seed service did
//! not say stands apart, in `godwit`.

use super::{Event, EventKind, Message, iso, mail};
use serde::Serialize;

/// Where events come from, as receivers are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// Region.
    pub region: String,
    /// Account: twelve digits.
    pub account: String,
}

/// The whole message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Envelope {
    version: &'static str,
    id: String,
    detail_type: &'static str,
    source: &'static str,
    account: String,
    time: String,
    region: String,
    resources: Vec<String>,
    detail: Detail,
    godwit: More,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    replication_run_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replication_job_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ami_id: Option<String>,
    version: &'static str,
}

/// What the seed service had no words for.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct More {
    event: &'static str,
    subject: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_code: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_cause: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_step: Option<&'static str>,
}

/// The message as programs get it.
pub fn envelope(message: &Message, origin: &Origin) -> Envelope {
    let (detail_type, source, resources, detail, godwit) = match message {
        // Nothing that the seed service's clients know.
        Message::Event(event) if event.kind == EventKind::ImageDamaged => (
            "Godwit Image Damaged",
            "godwit",
            resources(event, origin),
            detail(event),
            more(event, mail::subject(message)),
        ),
        Message::Event(event) => (
            "Server Migration Job State Change",
            "aws.sms",
            resources(event, origin),
            detail(event),
            more(event, mail::subject(message)),
        ),
        Message::Test { .. } => {
            let nothing = Detail {
                state: "Test",
                replication_run_id: None,
                replication_job_id: None,
                ami_id: None,
                version: "1.0",
            };
            let subject = mail::subject(message);
            ("Godwit Test", "godwit", vec![], nothing, More { event: "TEST", subject, ..More::default() })
        }
    };
    Envelope {
        version: "0",
        id: uuid(message),
        detail_type,
        source,
        account: origin.account.clone(),
        time: iso(message.at()),
        region: origin.region.clone(),
        resources,
        detail,
        godwit,
    }
}

fn resources(event: &Event, origin: &Origin) -> Vec<String> {
    let job = format!("arn:aws:sms:{}:{}:{}", origin.region, origin.account, event.job);
    let run = event.run.as_ref().filter(|_| event.kind.is_of_run()).map(|run| format!("{job}/{run}"));
    [job].into_iter().chain(run).collect()
}

fn detail(event: &Event) -> Detail {
    let of_run = event.kind.is_of_run();
    let run = event.run.as_ref().filter(|_| of_run).map_or_else(|| "N/A".to_owned(), ToString::to_string);
    Detail {
        state: match event.kind {
            EventKind::RunCompleted | EventKind::JobCompleted => "Completed",
            EventKind::RunFailed | EventKind::JobFailed => "Failed",
            EventKind::JobPaused => "PausedOnFailure",
            EventKind::JobDeleted => "Deleted",
            EventKind::ImageDamaged => "ImageDamaged",
        },
        replication_run_id: Some(run),
        replication_job_id: Some(event.job.to_string()),
        ami_id: event
            .image
            .as_ref()
            .filter(|_| of_run || event.kind == EventKind::ImageDamaged)
            .map(ToString::to_string),
        version: "1.0",
    }
}

fn more(event: &Event, subject: String) -> More {
    More {
        event: event.kind.as_str(),
        subject,
        server_id: Some(event.server.to_string()),
        server_name: Some(event.server_name.clone()),
        failure_code: event.failure.as_ref().map(|failure| failure.code.as_str()),
        failure_cause: event.failure.as_ref().map(|failure| failure.code.meaning().trim_end_matches('.')),
        evidence: event.failure.as_ref().map(|failure| failure.evidence.clone()),
        next_step: event.failure.as_ref().map(|failure| failure.code.next_step()),
    }
}

/// The digits of the event's id, as UUIDs are written.
fn uuid(message: &Message) -> String {
    let hex = &message.id().as_str()[crate::id::EventId::PREFIX.len()..];
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::super::tests_of_renderings::{event, run_event};
    use super::*;
    use serde_json::{Value, json};

    fn written(event: Event) -> Value {
        let origin = Origin { region: "us-west-1".into(), account: "123456789012".into() };
        let mut value = serde_json::to_value(envelope(&Message::Event(Box::new(event)), &origin)).unwrap();
        value.as_object_mut().unwrap().remove("godwit").unwrap();
        value
    }

    /// The sample of a deleted job in the seed service's documentation, apart from the id.
    #[test]
    fn a_deleted_job_is_told_as_the_seed_service_did() {
        let deleted = event(EventKind::JobDeleted, "sms-job-21a64348", 1_518_042_611_000);
        let mut value = written(deleted.clone());
        let id = value.as_object_mut().unwrap().remove("id").unwrap();
        let wanted = json!({
            "version": "0",
            "detail-type": "Server Migration Job State Change",
            "source": "aws.sms",
            "account": "123456789012",
            "time": "2018-02-07T22:30:11Z",
            "region": "us-west-1",
            "resources": ["arn:aws:sms:us-west-1:123456789012:sms-job-21a64348"],
            "detail": {
                "state": "Deleted",
                "replication-run-id": "N/A",
                "replication-job-id": "sms-job-21a64348",
                "version": "1.0"
            }
        });
        assert_eq!(value, wanted);
        let digits = id.as_str().unwrap().replace('-', "");
        assert_eq!(deleted.id.as_str(), format!("evt-{digits}"), "one id in two spellings");
        assert_eq!(id.as_str().unwrap().split('-').map(str::len).collect::<Vec<_>>(), [8, 4, 4, 4, 12]);
    }

    /// The sample of a completed run, but for the length of the image's id.
    #[test]
    fn a_completed_run_is_told_as_the_seed_service_did() {
        let mut value = written(run_event(EventKind::RunCompleted, "sms-job-2ea64347", "sms-run-e1a64388"));
        value.as_object_mut().unwrap().remove("id").unwrap();
        let wanted = json!({
            "version": "0",
            "detail-type": "Server Migration Job State Change",
            "source": "aws.sms",
            "account": "123456789012",
            "time": "2018-02-07T22:54:00Z",
            "region": "us-west-1",
            "resources": [
                "arn:aws:sms:us-west-1:123456789012:sms-job-2ea64347",
                "arn:aws:sms:us-west-1:123456789012:sms-job-2ea64347/sms-run-e1a64388"
            ],
            "detail": {
                "state": "Completed",
                "replication-run-id": "sms-run-e1a64388",
                "replication-job-id": "sms-job-2ea64347",
                "ami-id": "ami-00000000000000074",
                "version": "1.0"
            }
        });
        assert_eq!(value, wanted);
    }

    #[test]
    fn an_image_is_told_once() {
        for kind in EventKind::ALL {
            let value = written(run_event(kind, "sms-job-2ea64347", "sms-run-e1a64388"));
            let shown = value["detail"].get("ami-id").is_some();
            assert_eq!(shown, kind.is_of_run() || kind == EventKind::ImageDamaged, "{kind:?}");
            assert_eq!(value["detail"]["replication-run-id"] == "N/A", !kind.is_of_run());
        }
    }

    #[test]
    fn a_test_is_not_taken_for_an_event_of_a_job() {
        let origin = Origin { region: "us-west-1".into(), account: "123456789012".into() };
        let at = crate::time::Timestamp(0);
        let test = Message::Test { id: super::super::test_id(at, 7), at };
        let value = serde_json::to_value(envelope(&test, &origin)).unwrap();
        assert_eq!((&value["source"], &value["detail-type"]), (&json!("godwit"), &json!("Godwit Test")));
        assert_eq!(value["detail"], json!({ "state": "Test", "version": "1.0" }));
    }

    #[test]
    fn what_the_seed_service_did_not_say_stands_apart() {
        let origin = Origin { region: "r".into(), account: "a".into() };
        let failed = run_event(EventKind::RunFailed, "sms-job-2ea64347", "sms-run-e1a64388");
        let value = serde_json::to_value(envelope(&Message::Event(Box::new(failed)), &origin)).unwrap();
        assert_eq!(value["godwit"]["failure-code"], "SourceUnreachable");
        assert_eq!(value["godwit"]["server-name"], "web01");
        assert!(value["godwit"]["next-step"].as_str().unwrap().starts_with("check that the hypervisor runs"));
    }
}
