//! Bytes a second, and how people write them.

use std::fmt;
use std::str::FromStr;

/// How fast something may be read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Rate {
    /// As fast as it goes.
    Unlimited,
    /// So many bytes a second; with 0 nothing is read at all.
    BytesPerSecond(u64),
}

/// The slowest rate but 0: below it a single read would take hours, which nobody means.
const SLOWEST: u64 = 1_000;

/// Units in the order in which a number is tried for writing. Bits are only read.
const UNITS: [(&str, u64); 7] = [
    ("GB/s", 1_000_000_000),
    ("GiB/s", 1 << 30),
    ("MB/s", 1_000_000),
    ("MiB/s", 1 << 20),
    ("kB/s", 1_000),
    ("KiB/s", 1 << 10),
    ("B/s", 1),
];

const BIT_UNITS: [(&str, u64); 3] = [("Gbit/s", 125_000_000), ("Mbit/s", 125_000), ("kbit/s", 125)];

impl Rate {
    /// Nothing is read.
    pub const HELD: Rate = Rate::BytesPerSecond(0);

    /// The number, if it is limited.
    pub const fn bytes_per_second(self) -> Option<u64> {
        match self {
            Rate::Unlimited => None,
            Rate::BytesPerSecond(bytes) => Some(bytes),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Rate::Unlimited => f.write_str("none"),
            Rate::BytesPerSecond(0) => f.write_str("0"),
            Rate::BytesPerSecond(bytes) => {
                let (name, unit) = UNITS.iter().find(|(_, unit)| bytes % unit == 0).unwrap_or(&("B/s", 1));
                write!(f, "{}{name}", bytes / unit)
            }
        }
    }
}

impl FromStr for Rate {
    type Err = String;

    /// "20MB/s", "1.5GiB/s", "160Mbit/s", "0", "none".
    fn from_str(text: &str) -> Result<Rate, String> {
        let wrong = || format!("'{text}' is no rate: write it as 20MB/s or 160Mbit/s, 0 (nothing is read), or none");
        match text {
            "0" => return Ok(Rate::HELD),
            _ if text.eq_ignore_ascii_case("none") => return Ok(Rate::Unlimited),
            _ => {}
        }
        let number_ends = text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, name) = text.split_at(number_ends);
        let unit = UNITS.iter().chain(&BIT_UNITS).find(|(unit, _)| name.eq_ignore_ascii_case(unit));
        let bytes = decimal(number).zip(unit).and_then(|(thousandths, (_, unit))| {
            let bytes = thousandths.checked_mul(u128::from(*unit))? / 1_000;
            // The store keeps signed numbers.
            u64::try_from(bytes).ok().filter(|bytes| i64::try_from(*bytes).is_ok())
        });
        match bytes {
            None => Err(wrong()),
            Some(0) => Ok(Rate::HELD),
            Some(bytes) if bytes < SLOWEST => {
                Err(format!("'{text}' is too slow: give at least 1kB/s, or 0 to read nothing"))
            }
            Some(bytes) => Ok(Rate::BytesPerSecond(bytes)),
        }
    }
}

/// A number with up to three decimals, in thousandths.
fn decimal(text: &str) -> Option<u128> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || decimals.len() > 3 || (text.contains('.') && decimals.is_empty()) {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let decimals: u128 = format!("{decimals:0<3}").parse().ok()?;
    whole.checked_mul(1_000)?.checked_add(decimals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn people_write_rates_in_bytes_or_bits() {
        let read = |text: &str| text.parse::<Rate>().map(|rate| rate.bytes_per_second());
        assert_eq!(read("20MB/s"), Ok(Some(20_000_000)));
        assert_eq!(read("1.5gib/s"), Ok(Some(3 << 29)));
        assert_eq!(read("160Mbit/s"), Ok(Some(20_000_000)));
        assert_eq!(read("0"), Ok(Some(0)));
        assert_eq!(read("0MB/s"), Ok(Some(0)));
        assert_eq!(read("None"), Ok(None));
        for wrong in ["", "20", "MB/s", "20 MB/s", "1.2.3MB/s", "1.MB/s", "-1MB/s", "20MB", "9999999999GB/s", "1B/s"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bytes in prop_oneof![Just(0), SLOWEST..(1 << 62)], shift in 0_u32..40) {
            let bytes = match bytes >> shift << shift {
                few if few < SLOWEST => bytes,
                many => many,
            };
            let rate = Rate::BytesPerSecond(bytes);
            prop_assert_eq!(rate.to_string().parse::<Rate>(), Ok(rate));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,24}") {
            let _ = text.parse::<Rate>();
        }
    }
}
