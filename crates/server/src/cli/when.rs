//! Times and intervals as people type them.

use godwit_model::time::{Millis, Timestamp};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::fmt;
use std::str::FromStr;

/// An interval in minutes: "30m", "12h", "12" (hours), "1d".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Every(pub u32);

/// Thirty days.
const LONGEST_INTERVAL: u32 = 43_200;

impl Every {
    /// As the API takes it.
    pub fn minutes(self) -> i32 {
        i32::try_from(self.0).unwrap_or(i32::MAX)
    }
}

impl FromStr for Every {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("'{text}' is not an interval: give 30m, 12h or 1d, from a minute to 30 days");
        let (digits, factor) = match text.trim() {
            t if t.ends_with('m') => (&t[..t.len() - 1], 1),
            t if t.ends_with('h') => (&t[..t.len() - 1], 60),
            t if t.ends_with('d') => (&t[..t.len() - 1], 24 * 60),
            t => (t, 60),
        };
        let minutes = digits.trim().parse::<u32>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(refused)?;
        if (1..=LONGEST_INTERVAL).contains(&minutes) { Ok(Every(minutes)) } else { Err(refused()) }
    }
}

impl fmt::Display for Every {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            minutes if minutes % (24 * 60) == 0 && minutes > 24 * 60 => write!(f, "{} d", minutes / (24 * 60)),
            minutes if minutes % 60 == 0 => write!(f, "{} h", minutes / 60),
            minutes => write!(f, "{minutes} min"),
        }
    }
}

/// A point in time: "now", "+2h", RFC 3339, or a local date and time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// At once.
    Now,
    /// So much later.
    In(Millis),
    /// Then.
    At(Timestamp),
}

impl Start {
    /// As a point in time.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Start::Now => now,
            Start::In(span) => now + span,
            Start::At(time) => time,
        }
    }
}

impl FromStr for Start {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("now") {
            return Ok(Start::Now);
        }
        if let Some(span) = text.strip_prefix('+') {
            return later(span).map(Start::In).ok_or_else(|| format!("'{text}' is not a span: try +30m, +2h or +1d"));
        }
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            return Ok(Start::At(Timestamp(time.as_millisecond())));
        }
        let local = text.parse::<DateTime>().ok().and_then(|local| local.to_zoned(TimeZone::system()).ok());
        local.map(|zoned| Start::At(Timestamp(zoned.timestamp().as_millisecond()))).ok_or_else(|| {
            format!("'{text}' is not a time: give now, +2h, 2026-01-31T22:00:00Z, or 2026-01-31T22:00 in local time")
        })
    }
}

fn later(text: &str) -> Option<Millis> {
    let unit = match text.chars().last()? {
        'm' => Millis::MINUTE,
        'h' => Millis::HOUR,
        'd' => Millis::DAY,
        _ => return None,
    };
    let n: i64 = text[..text.len() - 1].parse().ok().filter(|n| *n >= 0)?;
    Some(unit.times(n))
}

/// A time that has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Past(Start);

impl FromStr for Past {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // "7d" is what "+7d" is for times to come.
        format!("+{text}").parse().or_else(|_| text.parse()).map(Past).map_err(|_: String| {
            format!("'{text}' is not a time: give 7d, 12h, 2026-01-31T22:00:00Z, or 2026-01-31T22:00 in local time")
        })
    }
}

impl Past {
    /// As a point in time.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self.0 {
            Start::In(span) => now - span,
            other => other.resolve(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn intervals_are_minutes_hours_or_days() {
        for (text, minutes, shown) in [
            ("12h", 720, "12 h"),
            ("1m", 1, "1 min"),
            ("90m", 90, "90 min"),
            ("24", 1_440, "24 h"),
            ("1d", 1_440, "24 h"),
            ("30d", 43_200, "30 d"),
            (" 6 h", 360, "6 h"),
        ] {
            assert_eq!(text.parse(), Ok(Every(minutes)), "{text}");
            assert_eq!(Every(minutes).to_string(), shown);
        }
        for text in ["", "h", "0h", "0m", "31d", "-1h", "1.5h", "99999999999h", "3000000000d"] {
            assert!(text.parse::<Every>().unwrap_err().contains("from a minute"), "{text}");
        }
    }

    #[test]
    fn times_are_taken_as_people_write_them() {
        let now = Timestamp(1_000);
        let at = |text: &str| text.parse::<Start>().unwrap().resolve(now).as_millis();
        assert_eq!((at("now"), at("NOW"), at("+2h")), (1_000, 1_000, 7_201_000));
        assert_eq!(at("2026-01-31T22:00:00Z"), 1_769_896_800_000);
        assert_eq!(at("2026-01-31T23:00:00+01:00"), 1_769_896_800_000);
        assert!("2026-01-31T22:00".parse::<Start>().is_ok() && "2026-01-31 22:00:30".parse::<Start>().is_ok());
    }

    #[test]
    fn times_are_spans_before_now_or_dates() {
        let now = Timestamp(1_795_407_164_000);
        let of = |text: &str| text.parse::<Past>().map(|past| past.resolve(now));
        assert_eq!(of("7d"), Ok(now - Millis::DAY.times(7)));
        assert_eq!(of("30m"), Ok(now - Millis::MINUTE.times(30)));
        assert_eq!(of("2026-11-23T04:12:44Z"), Ok(now));
        assert_eq!(of("now"), Ok(now));
        assert!(of("yesterday").unwrap_err().contains("7d"));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,20}") {
            let _ = (text.parse::<Start>(), text.parse::<Every>());
            let _ = format!("+{text}").parse::<Start>();
        }
    }
}
