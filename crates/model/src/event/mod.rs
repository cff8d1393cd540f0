//! What recipients are told: events of jobs and runs, as values.
//!
//! An [`Event`] is written down in the transaction that changed the state, with every fact that a message needs, so that
//! a later delivery says what was true then. Two renderings are made from it, both pure: the [`mail`] for people and the
//! [`envelope`] for programs, which the seed service's clients understand. [`delivery`] says when a delivery that
//! failed is tried again, and when it is given up.

pub mod delivery;
pub mod envelope;
pub mod mail;
mod utc;

pub use utc::iso;

use crate::failure::Failure;
use crate::id::{EventId, ImageId, JobId, NotificationId, RunId, ServerId};
use crate::job::JobState;
use crate::recipient::{self, Recipient};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What happened. In the order in which events of one moment are told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum EventKind {
    /// A run made an image. Told to web addresses only: people would get a mail for every run.
    RunCompleted,
    /// A run failed.
    RunFailed,
    /// A one-time job has done its work.
    JobCompleted,
    /// A job ended by failure.
    JobFailed,
    /// A job waits for somebody to look at it.
    JobPaused,
    /// A job was deleted and what it left is removed.
    JobDeleted,
    /// What is stored of images of a job proved damaged.
    ImageDamaged,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [EventKind; 7] = [
        EventKind::RunCompleted,
        EventKind::RunFailed,
        EventKind::JobCompleted,
        EventKind::JobFailed,
        EventKind::JobPaused,
        EventKind::JobDeleted,
        EventKind::ImageDamaged,
    ];

    /// As in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            EventKind::RunCompleted => "RUN_COMPLETED",
            EventKind::RunFailed => "RUN_FAILED",
            EventKind::JobCompleted => "JOB_COMPLETED",
            EventKind::JobFailed => "JOB_FAILED",
            EventKind::JobPaused => "JOB_PAUSED",
            EventKind::JobDeleted => "JOB_DELETED",
            EventKind::ImageDamaged => "IMAGE_DAMAGED",
        }
    }

    /// The kind of that name.
    pub fn parse(text: &str) -> Option<EventKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// What is told when a job comes into a state.
    pub const fn of_job(state: JobState) -> Option<EventKind> {
        match state {
            JobState::Completed => Some(EventKind::JobCompleted),
            JobState::Failed => Some(EventKind::JobFailed),
            JobState::PausedOnFailure => Some(EventKind::JobPaused),
            JobState::Deleted => Some(EventKind::JobDeleted),
            JobState::Pending | JobState::Active | JobState::Failing | JobState::Deleting => None,
        }
    }

    /// Whether it is about a run, not about its job.
    pub const fn is_of_run(self) -> bool {
        matches!(self, EventKind::RunCompleted | EventKind::RunFailed)
    }

    /// Whether such a recipient is told.
    pub const fn concerns(self, recipient: &Recipient) -> bool {
        match recipient {
            Recipient::Webhook(_) => true,
            Recipient::Email(_) => !matches!(self, EventKind::RunCompleted),
        }
    }
}

/// Something that happened, with all that a message about it says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Event {
    /// The same at every delivery and every attempt: receivers know by it what they have seen.
    pub id: EventId,
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// The job.
    pub job: JobId,
    /// For people.
    pub description: Option<String>,
    /// The job's server.
    pub server: ServerId,
    /// What people call it.
    pub server_name: String,
    /// The run that it is about, or that led to it.
    pub run: Option<RunId>,
    /// The image that this run made, or the newest of those that are damaged.
    pub image: Option<ImageId>,
    /// Why that run failed.
    pub failure: Option<Failure>,
    /// What comes next.
    pub outlook: Outlook,
}

/// What comes next in a job, as it stood at the event.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Outlook {
    /// When its next scheduled run is due.
    pub next_start: Option<Timestamp>,
    /// How many more scheduled runs may fail in a row; `None` if that has no meaning for it.
    pub failures_left: Option<u32>,
    /// Whether it is paused then, instead of ending.
    pub pauses: bool,
}

/// What a delivery carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message {
    /// An event.
    Event(Box<Event>),
    /// Somebody wants to know whether messages arrive.
    Test {
        /// As that of an event.
        id: EventId,
        /// When it was asked for.
        at: Timestamp,
    },
}

impl Message {
    /// The id that receivers know it by.
    pub fn id(&self) -> &EventId {
        match self {
            Message::Event(event) => &event.id,
            Message::Test { id, .. } => id,
        }
    }

    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Message::Event(event) => event.at,
            Message::Test { at, .. } => *at,
        }
    }
}

/// The id of an event. It follows from what happened, so a step that is repeated after a crash tells the same event: in
/// the layout of UUID version 8 the time, the kind, the job and `part`, which is the run's digits, or for events of a
/// job something that grows with each of its changes of state.
pub fn event_id(at: Timestamp, kind: EventKind, job: &JobId, part: u32) -> EventId {
    let job = digits(job.as_str());
    let rank = EventKind::ALL.iter().position(|k| *k == kind).unwrap_or_default();
    id_from(at, rank as u32 + 1, job, part)
}

/// The id of a test, from random bits.
pub fn test_id(at: Timestamp, bits: u128) -> EventId {
    id_from(at, 0, (bits >> 32) as u32, bits as u32)
}

/// The digits of a run, for [`event_id`].
pub fn run_part(run: &RunId) -> u32 {
    digits(run.as_str())
}

/// The id of what the event's recipient number `place` gets.
pub fn notification_id(event: &EventId, place: usize) -> NotificationId {
    const _: () = assert!(recipient::MOST < 1 << PLACE_BITS, "places of recipients fit");
    let hex = &event.as_str()[EventId::PREFIX.len()..];
    let bits = u128::from_str_radix(hex, 16).expect("an id holds 32 hexadecimal digits by construction");
    NotificationId::from_bits(bits | (place as u128 & ((1 << PLACE_BITS) - 1)) << 64)
}

/// Bits of the id that say which recipient; in an event's own id they are zero. They are bits 64 to 68, below those
/// of the kind and above the variant, so that ids sort by time, kind, recipient.
const PLACE_BITS: u32 = 5;

/// 48 bits of time, 4 of version, 12 of which 5 kind, 2 top bits, 5 place; 2 of variant, 31 of job, 31 of part.
fn id_from(at: Timestamp, rank: u32, job: u32, part: u32) -> EventId {
    let time = u128::from(at.as_millis().unsigned_abs() & 0xffff_ffff_ffff);
    let tops = (job >> 31) << 1 | part >> 31;
    let middle = u128::from((rank << 2 | tops) << PLACE_BITS);
    let low = |bits: u32| u128::from(bits & 0x7fff_ffff);
    EventId::from_bits(time << 80 | 8 << 76 | middle << 64 | 0b10 << 62 | low(job) << 31 | low(part))
}

fn digits(id: &str) -> u32 {
    let hex = &id[id.len().saturating_sub(8)..];
    u32::from_str_radix(hex, 16).expect("these ids end in eight hexadecimal digits by construction")
}

/// Events for the tests of both renderings.
#[cfg(test)]
mod tests_of_renderings {
    use super::*;
    use crate::failure::Code;

    pub fn event(kind: EventKind, job: &str, at: i64) -> Event {
        let (at, job): (_, JobId) = (Timestamp(at), job.parse().unwrap());
        Event {
            id: event_id(at, kind, &job, 3),
            at,
            kind,
            job,
            description: Some("the web shop".into()),
            server: ServerId::from_bits(7),
            server_name: "web01".into(),
            run: None,
            image: None,
            failure: None,
            outlook: Outlook::default(),
        }
    }

    pub fn run_event(kind: EventKind, job: &str, run: &str) -> Event {
        let evidence = "connect to /run/qemu/web01.qmp: no such file";
        Event {
            run: Some(run.parse().unwrap()),
            image: Some(ImageId::from_bits(0x74)),
            failure: Some(Failure::new(Code::SourceUnreachable, evidence)),
            outlook: Outlook { next_start: Some(Timestamp(1_518_047_640_000)), failures_left: Some(2), pauses: true },
            ..event(kind, job, 1_518_044_040_000)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_are_not_told_of_every_run_that_went_well() {
        let mail: Recipient = "ops@example.org".parse().unwrap();
        let hook: Recipient = "https://example.org/hook".parse().unwrap();
        for kind in EventKind::ALL {
            assert!(kind.concerns(&hook));
            assert_eq!(kind.concerns(&mail), kind != EventKind::RunCompleted, "{kind:?}");
            assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
        }
    }

    #[test]
    fn people_and_programs_are_told_of_every_failure_its_code_cause_evidence_and_next_step() {
        let origin = envelope::Origin { region: "us-west-1".into(), account: "123456789012".into() };
        for code in crate::failure::Code::ALL {
            let evidence = format!("seen of {code}");
            let failure = Some(Failure::new(*code, evidence.clone()));
            let run = tests_of_renderings::run_event(EventKind::RunFailed, "sms-job-2ea64347", "sms-run-e1a64388");
            let message = Message::Event(Box::new(Event { failure, ..run }));
            let (cause, next_step) = (code.meaning().trim_end_matches('.'), code.next_step());
            let programs = serde_json::to_value(envelope::envelope(&message, &origin)).unwrap();
            for (member, told) in [
                ("failure-code", code.as_str()),
                ("failure-cause", cause),
                ("evidence", &evidence),
                ("next-step", next_step),
            ] {
                assert_eq!(programs["godwit"][member], told, "{code}: {member}");
            }
            let people = mail::mail(&message).text;
            let lines: Vec<_> = people.lines().map(str::trim).collect();
            for (label, told) in
                [("code", code.as_str()), ("means", cause), ("seen", &evidence), ("what to do", next_step)]
            {
                assert!(lines.contains(&format!("{label:<12}{told}").as_str()), "{code}: {label}: {people}");
            }
        }
    }

    #[test]
    fn four_states_of_a_job_are_told() {
        let told: Vec<_> = JobState::ALL.into_iter().filter_map(EventKind::of_job).collect();
        assert_eq!(told.len(), 4);
    }

    proptest! {
        #[test]
        fn ids_differ_where_events_do_and_sort_by_time(
            at in 0i64..1 << 47, later in 1i64..1_000_000, bits: u64, other: u64, kinds in (0usize..7, 0usize..7),
            places in (0usize..recipient::MOST, 0usize..recipient::MOST),
        ) {
            let id = |at, kind: usize, bits: u64| {
                let job = JobId::from_bits(u128::from(bits >> 32));
                event_id(Timestamp(at), EventKind::ALL[kind], &job, bits as u32)
            };
            let one = id(at, kinds.0, bits);
            prop_assert_eq!(one == id(at, kinds.1, other), (kinds.0, bits) == (kinds.1, other));
            prop_assert!(one < id(at + later, kinds.1, other));
            prop_assert_eq!(&one.as_str()[4 + 12..4 + 13], "8");
            let (first, second) = (notification_id(&one, places.0), notification_id(&one, places.1));
            prop_assert_eq!(first == second, places.0 == places.1);
            if kinds.0 < kinds.1 {
                let next = notification_id(&id(at, kinds.1, other), 0);
                prop_assert!(first < next, "events of one moment are told in order");
            }
        }
    }
}
