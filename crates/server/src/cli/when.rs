//! Times and intervals as people type them.

use godwit_model::time::{Millis, Timestamp};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use std::fmt;
use std::str::FromStr;

/// An interval in whole hours: "12h", "12", "1d".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hours(pub i32);

impl FromStr for Hours {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("'{text}' is not an interval: give whole hours from 1h to 24h");
        let (digits, factor) = match text.trim() {
            t if t.ends_with('h') => (&t[..t.len() - 1], 1),
            t if t.ends_with('d') => (&t[..t.len() - 1], 24),
            t => (t, 1),
        };
        let hours = digits.trim().parse::<i32>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(refused)?;
        if (1..=24).contains(&hours) { Ok(Hours(hours)) } else { Err(refused()) }
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}h", self.0)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn intervals_are_whole_hours_up_to_a_day() {
        for (text, hours) in [("12h", 12), ("1h", 1), ("24", 24), ("1d", 24), (" 6 h", 6)] {
            assert_eq!(text.parse(), Ok(Hours(hours)), "{text}");
        }
        for text in ["", "h", "0h", "25h", "2d", "90m", "-1h", "1.5h", "99999999999h", "3000000000d"] {
            assert!(text.parse::<Hours>().unwrap_err().contains("whole hours"), "{text}");
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

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,20}") {
            let _ = (text.parse::<Start>(), text.parse::<Hours>());
            let _ = format!("+{text}").parse::<Start>();
        }
    }
}
