//! Sizes, paces, times and identifiers as people read them.

use godwit_model::time::{Millis, Timestamp};
use jiff::tz::TimeZone;

/// "0 B", "64 KiB", "1.5 GiB": three digits that count.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.5 would be written as 1024.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let text = if value >= 99.95 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{} {}", text.strip_suffix(".0").unwrap_or(&text), UNITS[unit])
}

/// "103 MB/s": in millions of bytes, as links are rated.
pub fn pace(bytes_per_second: f64) -> String {
    let value = bytes_per_second.max(0.0) / 1e6;
    match value {
        v if v >= 99.95 => format!("{v:.0} MB/s"),
        v if v >= 0.05 => format!("{v:.1} MB/s"),
        v => format!("{:.0} kB/s", v * 1e3),
    }
}

/// "12 s", "3 min 20 s", "2 h 5 min", "3 d 4 h": two units at most.
pub fn span(span: Millis) -> String {
    let seconds = span.0.unsigned_abs().saturating_add(500) / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large} {large_unit}"),
        _ => format!("{large} {large_unit} {small} {small_unit}"),
    };
    match () {
        () if seconds < 60 => format!("{seconds} s"),
        () if minutes < 60 => two(minutes, "min", seconds % 60, "s"),
        () if hours < 24 => two(hours, "h", minutes % 60, "min"),
        () => two(days, "d", hours % 24, "h"),
    }
}

/// How long something took: below ten seconds with tenths.
pub fn took(time: Millis) -> String {
    let ms = time.0.unsigned_abs();
    if ms < 9_950 { format!("{:.1} s", ms as f64 / 1e3) } else { span(time) }
}

/// "just now", "5 min ago", "in 11 h 58 min"; what is further away than two days as a date.
pub fn ago(time: Timestamp, now: Timestamp) -> String {
    let since = now - time;
    match since.0 {
        ms if ms.saturating_abs() < 2_000 => "just now".to_owned(),
        ms if ms.saturating_abs() >= 2 * Millis::DAY.0 => date(time),
        ms if ms > 0 => format!("{} ago", span(coarse(since))),
        _ => format!("in {}", span(coarse(since))),
    }
}

/// Local date and time to the minute.
pub fn date(time: Timestamp) -> String {
    local(time, "%Y-%m-%d %H:%M")
}

/// Local date and time to the second, and how long ago that is.
pub fn moment(time: Timestamp, now: Timestamp) -> String {
    let exact = local(time, "%Y-%m-%d %H:%M:%S");
    if (now - time).0.saturating_abs() >= 2 * Millis::DAY.0 { exact } else { format!("{exact} ({})", ago(time, now)) }
}

/// Local time of day.
pub fn clock(time: Timestamp) -> String {
    local(time, "%H:%M:%S")
}

/// "3 volumes", "1 volume".
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// A state of the API model as people write it: "PAUSED_ON_FAILURE" becomes "paused on failure".
pub fn state(text: &str) -> String {
    text.to_lowercase().replace('_', " ")
}

/// Only what is worth saying: seconds are left out behind ten minutes.
fn coarse(span: Millis) -> Millis {
    let ms = span.0.saturating_abs();
    if ms < 10 * Millis::MINUTE.0 { Millis(ms) } else { Millis(ms.saturating_add(30_000) / 60_000 * 60_000) }
}

fn local(time: Timestamp, format: &str) -> String {
    jiff::Timestamp::from_millisecond(time.as_millis())
        .map(|time| time.to_zoned(TimeZone::system()).strftime(format).to_string())
        .unwrap_or_else(|_| format!("{} ms", time.as_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_have_three_digits() {
        let all = [0, 1023, 1024, 65_536, 1_048_576, 1_610_612_736, 1_048_524, 104_857_600, u64::MAX];
        let texts: Vec<_> = all.into_iter().map(size).collect();
        assert_eq!(texts, ["0 B", "1023 B", "1 KiB", "64 KiB", "1 MiB", "1.5 GiB", "1 MiB", "100 MiB", "16 EiB"]);
    }

    #[test]
    fn paces_are_decimal() {
        let texts: Vec<_> = [0.0, 1_500.0, 12_340_000.0, 250e6].into_iter().map(pace).collect();
        assert_eq!(texts, ["0 kB/s", "2 kB/s", "12.3 MB/s", "250 MB/s"]);
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let texts: Vec<_> = [0, 59_400, 60_000, 200_000, 7_500_000, 86_400_000, 273_600_000]
            .into_iter()
            .map(|ms| span(Millis(ms)))
            .collect();
        assert_eq!(texts, ["0 s", "59 s", "1 min", "3 min 20 s", "2 h 5 min", "1 d", "3 d 4 h"]);
    }

    #[test]
    fn short_times_have_tenths() {
        assert_eq!(
            [0, 540, 9_949, 9_950, 61_000].map(|ms| took(Millis(ms))),
            ["0.0 s", "0.5 s", "9.9 s", "10 s", "1 min 1 s"]
        );
    }

    #[test]
    fn times_are_relative_while_that_helps() {
        let now = Timestamp(1_700_000_000_000);
        assert_eq!(ago(now, now), "just now");
        assert_eq!(ago(now - Millis::MINUTE.times(5), now), "5 min ago");
        assert_eq!(ago(now + Millis::HOUR.times(12) - Millis(61_000), now), "in 11 h 59 min");
        assert!(ago(now - Millis::DAY.times(3), now).starts_with("2023-11-1"));
        assert!(moment(now - Millis::MINUTE, now).ends_with("(1 min ago)"));
    }

    #[test]
    fn words_are_counted() {
        assert_eq!((count(1, "volume"), count(0, "volume")), ("1 volume".into(), "0 volumes".into()));
        assert_eq!(state("PAUSED_ON_FAILURE"), "paused on failure");
    }

    proptest! {
        #[test]
        fn no_number_makes_it_panic(bytes: u64, ms: i64, now: i64, speed: f64) {
            prop_assert!(!size(bytes).is_empty() && !pace(speed).is_empty());
            prop_assert!(!ago(Timestamp(ms), Timestamp(now)).is_empty());
            prop_assert!(!span(Millis(ms)).is_empty() && !moment(Timestamp(ms), Timestamp(now)).is_empty());
        }
    }
}
