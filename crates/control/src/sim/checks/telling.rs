//! What recipients are told: of each event, each recipient of the moment, once at least, or as long as patience lasts.

use super::{Owed, Record};
use crate::sim::journal::{EventRow, JobRow, NotificationRow, Step};
use crate::sim::storm::Storm;
use godwit_model::event::EventKind;
use godwit_model::failure::Code;
use godwit_model::id::NotificationId;
use godwit_model::time::{Millis, Timestamp};

/// The longest pause, and what setting the clock back adds to it.
const LONGEST_PAUSE: Millis = Millis(6 * Millis::HOUR.0);

/// In good weather everything that is due arrives within this: the longest pause, and once more.
const LONGEST_WAY: Millis = Millis(2 * Millis::HOUR.0);

/// A notification as of the last change.
pub(super) struct Letter {
    row: NotificationRow,
    /// How often it was recorded as delivered: again if somebody wanted it again.
    delivered: usize,
}

impl Record {
    /// Somebody is about to ask for it once more: a call may be cut off behind its effect.
    pub fn wanted_again(&mut self, id: &NotificationId) {
        *self.wanted_again.entry(id.clone()).or_default() += 1;
    }

    /// It was refused.
    pub fn refused_again(&mut self, id: &NotificationId) {
        *self.wanted_again.entry(id.clone()).or_insert(1) -= 1;
    }

    /// An event is written down: so is every recipient that it concerns, in the same transaction.
    pub(super) fn address(&mut self, event: &EventRow, kind: EventKind) {
        let recipients = concerned(&self.jobs[&event.job_id].row, kind);
        assert!(!recipients.is_empty(), "an event that is told to nobody: {event:?}");
        self.owed.extend(recipients.into_iter().map(|recipient| Owed::Letter(event.event_id.clone(), recipient)));
    }

    pub(super) fn take_notification(&mut self, step: Step<NotificationRow>, storm: &Storm, latest: Timestamp) {
        match (step.was, step.is) {
            (None, Some(is)) => {
                let owed = Owed::Letter(is.event_id.clone(), is.recipient.clone());
                assert!(self.owed.remove(&owed), "told to somebody whom it does not concern: {is:?}");
                assert_eq!((is.state.as_str(), is.attempts), ("PENDING", 0), "{is:?}");
                self.letters.insert(is.notification_id.clone(), Letter { row: is, delivered: 0 });
            }
            (Some(was), Some(is)) => {
                let letter = self.letters.get_mut(&is.notification_id).expect("it is on record");
                assert_eq!(std::mem::replace(&mut letter.row, is.clone()), was, "a change was not written down");
                if is.attempts == 0 {
                    return self.is_wanted_again(&is);
                }
                assert_eq!((was.state.as_str(), is.attempts), ("PENDING", was.attempts + 1), "{was:?} became {is:?}");
                match is.state.as_str() {
                    "DELIVERED" => {
                        letter.delivered += 1;
                        let taken = storm.seen(&is.event_id, &is.recipient).taken;
                        assert!(taken >= letter.delivered, "counts as delivered and did not arrive: {is:?}");
                        self.counts.told += 1;
                    }
                    "GIVEN_UP" => self.is_rightly_given_up(&is, storm),
                    _ => assert_eq!(is.failure_code.as_deref(), Some(Code::RecipientUnreachable.as_str()), "{is:?}"),
                }
            }
            (Some(was), None) => {
                assert_ne!(was.state, "PENDING", "forgotten, and owed: {was:?}");
                let is_old = self.options.notify.keep.is_some_and(|kept| was.happened_at + kept <= latest);
                assert!(is_old, "forgotten: {was:?}");
                self.letters.remove(&was.notification_id);
            }
            (None, None) => unreachable!("a change of nothing"),
        }
    }

    fn is_wanted_again(&mut self, is: &NotificationRow) {
        assert_eq!(is.state, "PENDING", "{is:?}");
        let wanted = self.wanted_again.get_mut(&is.notification_id).filter(|wanted| **wanted > 0);
        *wanted.unwrap_or_else(|| panic!("tried again though nobody wants it: {is:?}")) -= 1;
        self.counts.told_again += 1;
    }

    /// The weather makes only failures that pass, so nothing but the end of patience is a reason.
    fn is_rightly_given_up(&mut self, is: &NotificationRow, storm: &Storm) {
        self.counts.given_up += 1;
        let patience = self.options.notify.patience;
        let tried = storm.seen(&is.event_id, &is.recipient).tried;
        // The next attempt would have come too late.
        let is_late = tried.is_some_and(|tried| tried + patience.longest > is.since_at + patience.age);
        assert_eq!(is.failure_code.as_deref(), Some(Code::RecipientUnreachable.as_str()), "{is:?}");
        assert!(is_late || is.attempts >= patience.attempts, "given up, last tried {tried:?}: {is:?}");
    }

    /// Nothing is put off for longer than the longest pause.
    pub(super) fn look_at_letters(&self, now: Timestamp) {
        let put_off = |letter: &&Letter| letter.row.next_at.is_some_and(|next| next > now + LONGEST_PAUSE);
        let put_off = self.letters.values().find(put_off).map(|letter| &letter.row);
        assert_eq!(put_off, None, "put off for too long");
    }

    /// The weather has been good for hours: whatever is on record arrived, or was given up, which is looked at then.
    pub(super) fn look_at_letters_at_rest(&self, now: Timestamp) {
        let is_owed = |letter: &&Letter| letter.row.state == "PENDING" && letter.row.since_at < now - LONGEST_WAY;
        let owed = self.letters.values().find(is_owed).map(|letter| &letter.row);
        assert_eq!(owed, None, "not delivered in good weather");
    }
}

/// Whom of a job's recipients an event of this kind is for: people are not told of every image.
pub(super) fn concerned(job: &JobRow, kind: EventKind) -> Vec<String> {
    let all: Vec<String> = serde_json::from_str(&job.recipients).expect("a list of recipients");
    all.into_iter().filter(|recipient| kind != EventKind::RunCompleted || recipient.contains("://")).collect()
}
