//! Caps as people write them.
//!
//! ```text
//! 20MB/s
//! Mon-Fri 08:00-18:00 20MB/s; Sat,Sun 0; otherwise none; in Europe/Berlin
//! ```

use super::{Cap, DAY_MINUTES, MOST_WINDOWS, Rate, Window, zone_named};
use jiff::tz::TimeZone;
use std::fmt;
use std::str::FromStr;

/// Longest text of a cap: all windows, written out.
const LONGEST: usize = 2_048;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

const ALL_DAYS: u8 = 0b111_1111;

impl FromStr for Cap {
    type Err = String;

    fn from_str(text: &str) -> Result<Cap, String> {
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} characters"));
        }
        let (mut windows, mut otherwise, mut zone) = (Vec::new(), None, None);
        for part in text.split(';') {
            let words: Vec<&str> = part.split_whitespace().collect();
            match words[..] {
                [] => return Err("a part of it is empty: give a rate, as 20MB/s, 0 or none".to_owned()),
                ["in", name] => once(&mut zone, "in", zone_of(name)?)?,
                ["otherwise", rate] => once(&mut otherwise, "otherwise", rate.parse()?)?,
                [rate] => once(&mut otherwise, "a rate without hours", rate.parse()?)?,
                [when, rate] if when.contains(':') => windows.push(window(ALL_DAYS, when, rate)?),
                [days, rate] => windows.push(window(days_of(days)?, "00:00-24:00", rate)?),
                [days, hours, rate] => windows.push(window(days_of(days)?, hours, rate)?),
                _ => {
                    return Err(format!("'{}' is not understood: write it as Mon-Fri 08:00-18:00 20MB/s", part.trim()));
                }
            }
        }
        if windows.len() > MOST_WINDOWS {
            return Err(format!("it has {} windows: give at most {MOST_WINDOWS}", windows.len()));
        }
        if windows.is_empty() && (zone.is_some() || otherwise.is_none()) {
            return Err("it says no hours: write it as Mon-Fri 08:00-18:00 20MB/s; otherwise none".to_owned());
        }
        let zone = zone.unwrap_or(TimeZone::UTC);
        Ok(Cap { windows, otherwise: otherwise.unwrap_or(Rate::Unlimited), zone })
    }
}

fn once<T>(place: &mut Option<T>, what: &str, value: T) -> Result<(), String> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("it says '{what}' twice")),
    }
}

fn zone_of(name: &str) -> Result<TimeZone, String> {
    zone_named(name).ok_or_else(|| format!("there is no time zone '{name}': write it as Europe/Berlin, or UTC"))
}

fn window(days: u8, hours: &str, rate: &str) -> Result<Window, String> {
    let wrong = || format!("'{hours}' are no hours: write them as 08:00-18:00");
    let (from, to) = hours.split_once('-').ok_or_else(wrong)?;
    let (from, to) = minute(from).zip(minute(to)).ok_or_else(wrong)?;
    if from == to || from == DAY_MINUTES {
        return Err(wrong());
    }
    Ok(Window { days, from, to, rate: rate.parse()? })
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |text: &str| match text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => text.parse::<u16>().ok(),
        false => None,
    };
    let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
    (minute < 60 && hour * 60 + minute <= DAY_MINUTES).then_some(hour * 60 + minute)
}

/// "Mon", "Mon-Fri", "Sat,Sun", "Fri-Mon".
fn days_of(text: &str) -> Result<u8, String> {
    let wrong = || format!("'{text}' are no days: write them as Mon-Fri or Sat,Sun");
    let place = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name)).ok_or_else(wrong);
    let mut days = 0;
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (place(first)?, place(last)?);
        let mut day = first;
        while day != last {
            days |= 1 << day;
            day = (day + 1) % 7;
        }
        days |= 1 << last;
    }
    Ok(days)
}

impl fmt::Display for Cap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.windows.is_empty() {
            return self.otherwise.fmt(f);
        }
        for Window { days, from, to, rate } in &self.windows {
            let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
            write!(f, "{} {}-{} {rate}; ", days_text(*days), clock(*from), clock(*to))?;
        }
        let zone = self.zone.iana_name().unwrap_or("UTC");
        write!(f, "otherwise {}; in {zone}", self.otherwise)
    }
}

fn days_text(days: u8) -> String {
    let mut parts = Vec::new();
    let mut day = 0;
    while day < 7 {
        let length = (day..7).take_while(|d| days >> d & 1 == 1).count();
        match length {
            0 => {}
            1 => parts.push(DAYS[day].to_owned()),
            _ => parts.push(format!("{}-{}", DAYS[day], DAYS[day + length - 1])),
        }
        day += length + 1;
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn caps_are_written_in_one_way() {
        for (text, written) in [
            ("none", "none"),
            ("160Mbit/s", "20MB/s"),
            ("otherwise 0", "0"),
            ("mon-fri 08:00-18:00 20mb/s", "Mon-Fri 08:00-18:00 20MB/s; otherwise none; in UTC"),
            ("in Europe/Berlin; Sat,Sun 0; 1MB/s", "Sat-Sun 00:00-24:00 0; otherwise 1MB/s; in Europe/Berlin"),
            ("Fri-Mon 22:00-06:00 1MB/s;none", "Mon,Fri-Sun 22:00-06:00 1MB/s; otherwise none; in UTC"),
            ("12:00-13:00 5MB/s", "Mon-Sun 12:00-13:00 5MB/s; otherwise none; in UTC"),
        ] {
            assert_eq!(text.parse::<Cap>().map(|cap| cap.to_string()), Ok(written.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, what) in [
            ("", "empty"),
            ("1MB/s;", "empty"),
            ("fast", "'fast' is no rate"),
            ("Moon 1MB/s", "'Moon' are no days"),
            ("Mon 8-18 1MB/s", "'8-18' are no hours"),
            ("Mon 08:00-25:00 1MB/s", "no hours"),
            ("Mon 08:00-08:00 1MB/s", "no hours"),
            ("Mon 24:00-08:00 1MB/s", "no hours"),
            ("Mon 1MB/s; in Atlantis", "'Atlantis'"),
            ("Mon 1MB/s; none; otherwise 0", "twice"),
            ("in UTC", "no hours"),
            ("Mon 08:00-18:00 1MB/s please", "not understood"),
            (&"Mon 1MB/s;".repeat(40), "empty"),
            (&vec!["Mon 1MB/s"; 40].join(";"), "40 windows"),
            (&"x".repeat(3_000), "longer"),
        ] {
            let error = text.parse::<Cap>().expect_err(text);
            assert!(error.contains(what), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[A-Za-z0-9:;,/ -]{0,60}") {
            let _ = text.parse::<Cap>();
        }
    }
}
