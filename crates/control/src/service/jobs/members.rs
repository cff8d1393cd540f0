//! Members of a request about a job: what each may be.

use crate::service::caps::cap;
use crate::service::{Answer, ServiceError};
use godwit_model::cap::Cap;
use godwit_model::job::{Interval, MOST_FAILURES};
use godwit_model::recipient::{self, Recipient};
use godwit_model::schedule::LONGEST_LEAD;
use godwit_model::time::Timestamp;

/// Hours between runs.
const HOURS: std::ops::RangeInclusive<i64> = 1..=24;

/// Minutes between runs: our own member. Thirty days are as far ahead as a start may be.
const MINUTES: std::ops::RangeInclusive<i64> = 1..=43_200;

/// Images that a job may be told to keep; 0 is all of them.
const KEEP: std::ops::RangeInclusive<i64> = 0..=270;

/// The interval that a caller wants, in hours or in minutes.
pub(super) fn interval(hours: Option<i64>, minutes: Option<i64>) -> Answer<Option<Interval>> {
    match (hours, minutes) {
        (None, None) => Ok(None),
        (Some(hours), None) => frequency(hours).map(Some),
        (None, Some(minutes)) => {
            let fitting = MINUTES.contains(&minutes).then(|| u32::try_from(minutes).ok()).flatten();
            fitting.map(|minutes| Some(Interval::EveryMinutes(minutes))).ok_or_else(|| {
                let (from, to) = (MINUTES.start(), MINUTES.end());
                ServiceError::invalid(format!("intervalMinutes is {minutes}: give {from} to {to} minutes"))
            })
        }
        (Some(_), Some(_)) => {
            Err(ServiceError::invalid("frequency and intervalMinutes are both given: give one of them"))
        }
    }
}

fn frequency(hours: i64) -> Answer<Interval> {
    let minutes = HOURS.contains(&hours).then(|| u32::try_from(hours * 60).ok()).flatten();
    minutes.map(Interval::EveryMinutes).ok_or_else(|| {
        let (from, to) = (HOURS.start(), HOURS.end());
        ServiceError::invalid(format!("frequency is {hours}: give {from} to {to} hours"))
    })
}

/// 0 is the configured number.
pub(super) fn pause_after(failures: i64) -> Answer<Option<u32>> {
    match u32::try_from(failures) {
        Ok(0) => Ok(None),
        Ok(n) if n <= MOST_FAILURES => Ok(Some(n)),
        _ => Err(ServiceError::invalid(format!("pauseAfterFailures is {failures}: give 1 to {MOST_FAILURES}"))),
    }
}

/// A cap that never limits anything is none.
pub(super) fn cap_of_job(wanted: Option<&str>, was: Option<Cap>) -> Answer<Option<Cap>> {
    let Some(wanted) = wanted else { return Ok(was) };
    Ok(cap(wanted)?.filter(|cap| !cap.is_none()))
}

/// Recipients in the form in which they are kept, each once.
pub(super) fn recipients(given: &[String]) -> Answer<Vec<String>> {
    if given.len() > recipient::MOST {
        let what = format!("recipients: {} are given, a job has at most {}", given.len(), recipient::MOST);
        return Err(ServiceError::invalid(what));
    }
    let mut all = Vec::with_capacity(given.len());
    for text in given {
        let recipient: Recipient =
            text.parse().map_err(|error| ServiceError::invalid(format!("recipients: {error}")))?;
        if !all.contains(&recipient.to_string()) {
            all.push(recipient.to_string());
        }
    }
    Ok(all)
}

pub(super) fn keep(images: i64) -> Answer<u32> {
    KEEP.contains(&images).then(|| u32::try_from(images).ok()).flatten().ok_or_else(|| {
        let (from, to) = (KEEP.start(), KEEP.end());
        ServiceError::invalid(format!("numberOfRecentAmisToKeep is {images}: give {from} to {to}, where 0 keeps all"))
    })
}

/// A start time: the past means now, and 30 days is as far ahead as it goes.
pub(super) fn start(at: Timestamp, member: &str, now: Timestamp) -> Answer<Timestamp> {
    if at > now + LONGEST_LEAD {
        return Err(ServiceError::invalid(format!("{member} is more than 30 days ahead: give an earlier time")));
    }
    Ok(at.max(now))
}

/// Whether a job is to be encrypted with a key that somebody chose, and which, from what it was and what is wanted. An
/// empty key is the default one; without encryption nobody chooses.
pub(super) fn encryption(
    was: (Option<bool>, Option<String>),
    encrypted: Option<bool>,
    key: Option<&str>,
) -> Answer<(Option<bool>, Option<String>)> {
    match (encrypted, key) {
        (Some(false), Some(key)) if !key.is_empty() => {
            Err(ServiceError::invalid("kmsKeyId is given and encrypted is false: give encrypted=true, or no kmsKeyId"))
        }
        (Some(false), _) => Ok((Some(false), None)),
        (_, Some(key)) if !key.is_empty() => Ok((Some(true), Some(key.to_owned()))),
        (encrypted, Some(_)) => Ok((encrypted.or(was.0), None)),
        (encrypted, None) => Ok((encrypted.or(was.0), was.1)),
    }
}
