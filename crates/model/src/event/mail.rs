//! An event for people: a subject that says it all, and a text that an operator on call can act on.

use super::{Event, EventKind, Message, iso};
use crate::failure::Failure;

/// Longest name of a server in a subject, in characters.
const LONGEST_NAME: usize = 80;

/// A message as people get it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mail {
    /// One line.
    pub subject: String,
    /// Plain text.
    pub text: String,
}

/// The message as people get it.
pub fn mail(message: &Message) -> Mail {
    let text = match message {
        Message::Event(event) => text(event),
        Message::Test { at, .. } => format!(
            "This is a test that somebody asked for at {}. Nothing happened; notifications arrive here.\n\n\
             See what was told to whom: godwit notifications list\n",
            iso(*at)
        ),
    };
    Mail { subject: subject(message), text }
}

/// What happened, in one line.
pub fn subject(message: &Message) -> String {
    let Message::Event(event) = message else { return "Test of Godwit's notifications".to_owned() };
    let name: String = one_line(&event.server_name).chars().take(LONGEST_NAME).collect();
    let why = event.failure.as_ref().map(|failure| format!(" ({})", failure.code)).unwrap_or_default();
    match event.kind {
        EventKind::RunCompleted => format!("{name}: a replication run completed"),
        EventKind::RunFailed => format!("{name}: a replication run failed{why}"),
        EventKind::JobCompleted => format!("{name}: the migration completed"),
        EventKind::JobFailed => format!("{name}: the replication job failed{why}"),
        EventKind::JobPaused => format!("{name}: the replication job is paused{why}"),
        EventKind::JobDeleted => format!("{name}: the replication job was deleted"),
        EventKind::ImageDamaged => format!("{name}: what is stored is damaged{why}"),
    }
}

fn text(event: &Event) -> String {
    let mut facts = vec![
        ("server", format!("{} ({})", one_line(&event.server_name), event.server)),
        ("job", event.job.to_string()),
    ];
    facts.extend(event.description.as_deref().map(|text| ("description", one_line(text))));
    facts.extend(event.run.as_ref().map(|run| (run_is(event.kind), run.to_string())));
    facts.extend(event.image.as_ref().map(|image| ("image", image.to_string())));
    facts.push(("when", iso(event.at)));
    let mut text = format!("{}\n\n", happened(event.kind));
    for (name, value) in facts {
        text.push_str(&format!("  {name:<12}{value}\n"));
    }
    if let Some(failure) = &event.failure {
        text.push_str(&why(failure));
    }
    text.push_str(&format!("\nWhat comes next\n{}\n", next(event)));
    text.push_str(&format!("\nSee more\n  {}\n", see(event)));
    text.push_str(&format!("\n-- \nGodwit, event {}\n", event.id));
    text
}

const fn run_is(kind: EventKind) -> &'static str {
    if kind.is_of_run() { "run" } else { "last run" }
}

const fn happened(kind: EventKind) -> &'static str {
    match kind {
        EventKind::RunCompleted => "A replication run completed and made an image.",
        EventKind::RunFailed => "A replication run failed.",
        EventKind::JobCompleted => "A one-time job has done its work: the image is made and verified.",
        EventKind::JobFailed => "A replication job has failed and ended.",
        EventKind::JobPaused => "Runs of a replication job failed one behind the other. It is paused.",
        EventKind::JobDeleted => "A replication job was deleted, and what it left behind is removed.",
        EventKind::ImageDamaged => "What is stored of an image is not what was written.",
    }
}

fn why(failure: &Failure) -> String {
    let (meaning, next) = (failure.code.meaning().trim_end_matches('.'), failure.code.next_step());
    let evidence = one_line(failure.evidence.trim_end_matches('.'));
    format!(
        "\nWhy\n  {:<12}{}\n  {:<12}{meaning}\n  {:<12}{evidence}\n  {:<12}{next}\n",
        "code", failure.code, "means", "seen", "what to do"
    )
}

fn next(event: &Event) -> String {
    let (job, outlook) = (&event.job, &event.outlook);
    let at = outlook.next_start.map(|at| format!("  The next run is due at {}.", iso(at)));
    match event.kind {
        EventKind::RunCompleted => at.unwrap_or_else(|| "  No further run is due.".to_owned()),
        EventKind::RunFailed => match (outlook.failures_left, at) {
            (Some(0), _) if outlook.pauses => "  The job is paused: another message says how it goes on.".to_owned(),
            (Some(0), _) | (None, None) => "  The job ends: another message says so.".to_owned(),
            (left, at) => {
                let at = at.unwrap_or_else(|| "  No further run is due.".to_owned());
                left.map_or_else(|| at.clone(), |left| format!("{at} {}", patience(left, outlook.pauses)))
            }
        },
        EventKind::JobPaused => format!(
            "  Nothing, until you resume it. When the cause is removed:\n  godwit jobs resume {job} --start now"
        ),
        EventKind::JobFailed => format!(
            "  Nothing: no run starts any more. Images that it made stay. When the cause is removed, a new job can \
             replace it:\n  godwit jobs create --server {} --help",
            event.server
        ),
        EventKind::JobCompleted => match &event.image {
            Some(image) => format!(
                "  Nothing more is copied. The image waits for you:\n  godwit images export {image} --volume 0 \
                 --format qcow2 --output FILE"
            ),
            None => "  Nothing more is copied.".to_owned(),
        },
        EventKind::JobDeleted => "  Nothing. Images that it made stay: godwit images list".to_owned(),
        EventKind::ImageDamaged => {
            let at = at.unwrap_or_else(|| "  No further run is due.".to_owned());
            format!(
                "{at} It reads what is damaged from the source again, so that its image is whole.\n  Now: godwit runs start {job}"
            )
        }
    }
}

fn patience(left: u32, pauses: bool) -> String {
    let then = if pauses { "pause" } else { "end" };
    match left {
        1 => format!("One more scheduled run that fails {then}s the job."),
        left => format!("{left} more scheduled runs that fail in a row {then} the job."),
    }
}

fn see(event: &Event) -> String {
    match &event.run {
        _ if event.kind == EventKind::ImageDamaged => {
            let image = event.image.as_ref().map(|image| format!("godwit images show {image}\n  ")).unwrap_or_default();
            format!("{image}godwit store show")
        }
        Some(run) if event.kind != EventKind::JobDeleted => {
            format!("godwit runs show {run}\n  godwit jobs show {}", event.job)
        }
        _ => format!("godwit jobs show {}", event.job),
    }
}

/// Names and evidence come from outside: in a message each stays on its own line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests_of_renderings::{event, run_event};
    use super::*;
    use crate::event::Outlook;
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn written(event: Event) -> Mail {
        mail(&Message::Event(Box::new(event)))
    }

    #[test]
    fn a_failed_run_can_be_acted_on() {
        let failed = run_event(EventKind::RunFailed, "sms-job-2ea64347", "sms-run-e1a64388");
        let Mail { subject, text } = written(Event { image: None, ..failed });
        assert_eq!(subject, "web01: a replication run failed (SourceUnreachable)");
        let wanted = "\
A replication run failed.

  server      web01 (s-00000007)
  job         sms-job-2ea64347
  description the web shop
  run         sms-run-e1a64388
  when        2018-02-07T22:54:00Z

Why
  code        SourceUnreachable
  means       The VM manager cannot be reached
  seen        connect to /run/qemu/web01.qmp: no such file
  what to do  check that the hypervisor runs and that its socket or address is reachable from the connector; the run is tried again

What comes next
  The next run is due at 2018-02-07T23:54:00Z. 2 more scheduled runs that fail in a row pause the job.

See more
  godwit runs show sms-run-e1a64388
  godwit jobs show sms-job-2ea64347
";
        assert!(text.starts_with(wanted), "{text}");
    }

    #[test]
    fn a_paused_job_says_how_it_is_resumed() {
        let Mail { subject, text } = written(run_event(EventKind::JobPaused, "sms-job-2ea64347", "sms-run-e1a64388"));
        assert_eq!(subject, "web01: the replication job is paused (SourceUnreachable)");
        assert!(text.contains("\n  godwit jobs resume sms-job-2ea64347 --start now\n"), "{text}");
    }

    #[test]
    fn what_comes_next_follows_from_the_outlook() {
        let failed = |outlook| {
            let failed = run_event(EventKind::RunFailed, "sms-job-2ea64347", "sms-run-e1a64388");
            written(Event { outlook, ..failed }).text
        };
        let at = Some(Timestamp(0));
        let outlook = |next_start, failures_left, pauses| Outlook { next_start, failures_left, pauses };
        assert!(failed(outlook(at, Some(1), false)).contains("One more scheduled run that fails ends the job."));
        assert!(failed(outlook(None, Some(0), true)).contains("The job is paused"));
        assert!(failed(outlook(None, None, false)).contains("The job ends"));
        assert!(failed(outlook(at, None, true)).contains("due at 1970-01-01T00:00:00Z.\n"));
        let deleted = written(event(EventKind::JobDeleted, "sms-job-2ea64347", 0)).text;
        assert!(deleted.contains("Images that it made stay"), "{deleted}");
    }

    proptest! {
        #[test]
        fn nothing_from_outside_makes_a_line_of_its_own(name in "(?s).{0,200}", evidence in "(?s).{0,80}") {
            let mut failed = run_event(EventKind::RunFailed, "sms-job-2ea64347", "sms-run-e1a64388");
            let lines = written(failed.clone()).text.lines().count();
            failed.server_name = name;
            failed.failure = Some(Failure::new(crate::failure::Code::SourceRead, evidence));
            let Mail { subject, text } = written(failed);
            prop_assert!(!subject.chars().any(char::is_control));
            prop_assert_eq!(text.lines().count(), lines);
        }
    }
}
