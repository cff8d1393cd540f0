//! Caps: how many bytes a second may be read from sources, at which hours, and what holds a read back.
//!
//! A [`Cap`] is what somebody set: of a run, of a connector, of everything. At any moment it is a [`Rate`], and a
//! [`Bucket`] holds a flow to that. [`Pressure`] is about reads in flight: nobody sets it, the source does by its answers.

mod bucket;
mod pressure;
mod rate;
mod text;

pub use bucket::{Bucket, Wait, wait_of_all};
pub use pressure::{Answered, Pressure};
pub use rate::Rate;

use crate::time::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use std::collections::BTreeSet;

/// Windows of a cap at most: more than people can keep in mind.
pub const MOST_WINDOWS: usize = 32;

/// Where the next change is looked for. More than two weeks, because a window may lie in the hour that a clock skips.
const HORIZON_DAYS: i64 = 16;

const DAY_MINUTES: u16 = 24 * 60;

/// How fast something may be read, by the hours of the week.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cap {
    /// The first one that fits counts.
    windows: Vec<Window>,
    otherwise: Rate,
    zone: TimeZone,
}

/// Hours of some days, by the clock on the wall. What ends before it begins ends on the next day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Window {
    /// Bit 0 is Monday.
    days: u8,
    /// Minutes of the day.
    from: u16,
    /// The first minute behind it.
    to: u16,
    rate: Rate,
}

/// What holds the reads of a run back.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HeldBack {
    /// Its own cap, or its job's.
    RunCap,
    /// The cap of its connector.
    ConnectorCap,
    /// The cap over everything.
    TotalCap,
    /// The source answers slowly: fewer reads are in flight.
    SlowSource,
}

impl HeldBack {
    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            HeldBack::RunCap => "RUN_CAP",
            HeldBack::ConnectorCap => "CONNECTOR_CAP",
            HeldBack::TotalCap => "TOTAL_CAP",
            HeldBack::SlowSource => "SLOW_SOURCE",
        }
    }
}

impl Cap {
    /// The same at all hours.
    pub fn always(rate: Rate) -> Cap {
        Cap { windows: Vec::new(), otherwise: rate, zone: TimeZone::UTC }
    }

    /// Whether it never limits anything.
    pub fn is_none(&self) -> bool {
        self.otherwise == Rate::Unlimited && self.windows.iter().all(|window| window.rate == Rate::Unlimited)
    }

    /// What it is at `now`.
    pub fn rate(&self, now: Timestamp) -> Rate {
        let Ok(now) = jiff::Timestamp::from_millisecond(now.0) else { return self.otherwise };
        let on_the_wall = self.zone.to_datetime(now);
        let minute = minute_of(on_the_wall);
        let fitting = self.windows.iter().find(|window| window.holds(on_the_wall.weekday(), minute));
        fitting.map_or(self.otherwise, |window| window.rate)
    }

    /// When it changes next; `None` if it stays as it is.
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let rate = self.rate(now);
        self.candidates(now)?.into_iter().map(Timestamp).find(|at| self.rate(*at) != rate)
    }

    /// Every moment behind `now` at which it could change, in order.
    fn candidates(&self, now: Timestamp) -> Option<BTreeSet<i64>> {
        if self.windows.is_empty() {
            return None;
        }
        let from = jiff::Timestamp::from_millisecond(now.0).ok()?;
        let mut at = BTreeSet::new();
        let today = self.zone.to_datetime(from).date();
        for day in 0..=HORIZON_DAYS {
            let date = today.checked_add(jiff::Span::new().try_days(day).ok()?).ok()?;
            for minute in self.windows.iter().flat_map(|window| [window.from, window.to]) {
                let (hour, minute) = ((minute % DAY_MINUTES) / 60, minute % 60);
                let time = date.at(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0);
                // By a clock that is set back an hour comes twice; one that it skips is neither's.
                let ambiguous = self.zone.to_ambiguous_timestamp(time);
                at.extend(ambiguous.earlier().map(|at| at.as_millisecond()));
                at.extend(ambiguous.later().map(|at| at.as_millisecond()));
            }
        }
        let last = at.last().copied()?;
        let set = self.zone.following(from).map(|set| set.timestamp().as_millisecond());
        at.extend(set.take_while(|at| *at <= last).collect::<Vec<_>>());
        Some(at.split_off(&now.0.saturating_add(1)))
    }
}

impl Window {
    fn holds(&self, day: Weekday, minute: u16) -> bool {
        let is_on = |day: Weekday| self.days >> day.to_monday_zero_offset() & 1 == 1;
        match self.from < self.to {
            true => is_on(day) && (self.from..self.to).contains(&minute),
            false => (is_on(day) && minute >= self.from) || (is_on(day.previous()) && minute < self.to),
        }
    }
}

fn minute_of(time: DateTime) -> u16 {
    u16::try_from(time.hour()).unwrap_or(0) * 60 + u16::try_from(time.minute()).unwrap_or(0)
}

/// The zone of this name, from the data that comes with the program: the same on every machine.
fn zone_named(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cap(text: &str) -> Cap {
        text.parse().unwrap_or_else(|why| panic!("{why}"))
    }

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    fn mb(n: u64) -> Rate {
        Rate::BytesPerSecond(n * 1_000_000)
    }

    #[test]
    fn office_hours_are_those_of_the_zone() {
        let cap = cap("Mon-Fri 08:00-18:00 20MB/s; otherwise none; in Europe/Berlin");
        // A Friday in summer: UTC+2.
        for (now, rate, next) in [
            ("2026-07-03T05:59:59.999Z", Rate::Unlimited, "2026-07-03T06:00:00Z"),
            ("2026-07-03T06:00:00Z", mb(20), "2026-07-03T16:00:00Z"),
            ("2026-07-03T16:00:00Z", Rate::Unlimited, "2026-07-06T06:00:00Z"),
            // In winter: UTC+1. The clock is set back on Sunday the 25th of October.
            ("2026-10-23T16:00:00Z", Rate::Unlimited, "2026-10-26T07:00:00Z"),
        ] {
            assert_eq!(cap.rate(at(now)), rate, "{now}");
            assert_eq!(cap.next_change(at(now)), Some(at(next)), "{now}");
        }
    }

    #[test]
    fn a_window_may_go_on_to_the_next_day() {
        let cap = cap("Fri 22:00-06:00 0; in UTC; otherwise 5MB/s");
        assert_eq!(cap.rate(at("2026-07-03T21:59:00Z")), mb(5));
        assert_eq!(cap.rate(at("2026-07-03T22:00:00Z")), Rate::HELD);
        assert_eq!(cap.rate(at("2026-07-04T05:59:00Z")), Rate::HELD);
        assert_eq!(cap.rate(at("2026-07-04T06:00:00Z")), mb(5));
        assert_eq!(cap.rate(at("2026-07-04T22:00:00Z")), mb(5), "Saturday night is free");
    }

    #[test]
    fn the_first_window_that_fits_counts() {
        let cap = cap("Wed 12:00-13:00 none; Mon-Fri 10MB/s");
        assert_eq!(cap.rate(at("2026-07-01T12:30:00Z")), Rate::Unlimited);
        assert_eq!(cap.rate(at("2026-07-01T13:00:00Z")), mb(10));
    }

    #[test]
    fn when_the_clock_is_set_hours_come_twice_or_not_at_all() {
        let cap = cap("02:00-02:30 1MB/s; otherwise none; in Europe/Berlin");
        // Back from 03:00 to 02:00: the half hour comes twice.
        let mut now = at("2026-10-24T22:00:00Z");
        let mut changes = Vec::new();
        for _ in 0..4 {
            now = cap.next_change(now).unwrap();
            changes.push((now, cap.rate(now)));
        }
        let wanted = [
            ("2026-10-25T00:00:00Z", mb(1)),
            ("2026-10-25T00:30:00Z", Rate::Unlimited),
            ("2026-10-25T01:00:00Z", mb(1)),
            ("2026-10-25T01:30:00Z", Rate::Unlimited),
        ];
        assert_eq!(changes, wanted.map(|(now, rate)| (at(now), rate)));
        // On from 02:00 to 03:00: it does not come.
        assert_eq!(cap.next_change(at("2026-03-28T02:00:00Z")), Some(at("2026-03-30T00:00:00Z")));
        let sundays = super::tests::cap("Sun 02:00-02:30 1MB/s; otherwise none; in Europe/Berlin");
        assert_eq!(sundays.next_change(at("2026-03-23T00:00:00Z")), Some(at("2026-04-05T00:00:00Z")));
    }

    #[test]
    fn what_does_not_change_has_no_next_change() {
        for text in
            ["none", "5MB/s", "Mon-Sun 5MB/s; otherwise none", "Mon-Fri 5MB/s; otherwise 5MB/s", "00:00-24:00 0"]
        {
            assert_eq!(cap(text).next_change(at("2026-07-01T12:30:00Z")), None, "{text}");
        }
        assert!(cap("none").is_none() && cap("Mon none; otherwise none").is_none());
        assert!(!cap("0").is_none() && !cap("Mon 1MB/s; otherwise none").is_none());
    }

    fn windows() -> impl Strategy<Value = Vec<Window>> {
        let window = (1_u8..128, 0_u16..96, 0_u16..=96, 0_u64..3).prop_map(|(days, from, to, rate)| {
            let rate = if rate == 0 { Rate::Unlimited } else { Rate::BytesPerSecond((rate - 1) * 1_000_000) };
            Window { days, from: from * 15, to: to * 15, rate }
        });
        proptest::collection::vec(window, 0..5)
    }

    /// Around both changes of the clock in 2026, in zones north, south, with half an hour and with none.
    fn moments() -> impl Strategy<Value = (TimeZone, i64)> {
        const ZONES: &[&str] =
            &["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"];
        let zone = proptest::sample::select(ZONES).prop_map(|name| zone_named(name).unwrap());
        let days = prop_oneof![60_i64..75, 80_i64..95, 295_i64..310, 0_i64..365];
        (zone, days, 0_i64..86_400_000).prop_map(|(zone, day, ms)| (zone, 1_767_225_600_000 + day * 86_400_000 + ms))
    }

    proptest! {
        #[test]
        fn between_now_and_the_next_change_nothing_changes(
            windows in windows(),
            (zone, now) in moments(),
            parts in proptest::collection::vec(0.0..1.0_f64, 20),
        ) {
            let cap = Cap { windows, otherwise: Rate::Unlimited, zone };
            let rate = cap.rate(Timestamp(now));
            let next = cap.next_change(Timestamp(now));
            let end = next.map_or(now + HORIZON_DAYS * 86_400_000 / 2, |next| next.0);
            if let Some(next) = next {
                prop_assert!(next.0 > now);
                prop_assert_ne!(cap.rate(next), rate);
                prop_assert_eq!(cap.rate(Timestamp(next.0 - 1)), rate);
            }
            for part in parts {
                let between = now + ((end - now) as f64 * part) as i64;
                prop_assert_eq!(cap.rate(Timestamp(between)), rate, "at {}", between);
            }
        }

        #[test]
        fn no_time_is_too_far_away(windows in windows(), now: i64) {
            let cap = Cap { windows, otherwise: Rate::Unlimited, zone: TimeZone::UTC };
            let _ = (cap.rate(Timestamp(now)), cap.next_change(Timestamp(now)));
        }

        #[test]
        fn what_is_written_is_read_again(windows in windows(), (zone, now) in moments(), otherwise in 0_u64..3) {
            let otherwise = if otherwise == 0 { Rate::Unlimited } else { Rate::BytesPerSecond((otherwise - 1) * 1_024) };
            let windows: Vec<_> = windows.into_iter().filter(|w| w.from != w.to).collect();
            let zone = if windows.is_empty() { TimeZone::UTC } else { zone };
            let cap = Cap { windows, otherwise, zone };
            let again: Cap = cap.to_string().parse().unwrap_or_else(|why| panic!("{cap}: {why}"));
            prop_assert_eq!(&again, &cap, "{}", cap);
            prop_assert_eq!(again.rate(Timestamp(now)), cap.rate(Timestamp(now)));
        }
    }
}
