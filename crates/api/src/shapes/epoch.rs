//! Points in time as AWS JSON writes them: a number of seconds since 1970.

use godwit_model::time::Timestamp;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Milliseconds since the epoch. On the wire seconds: a whole number where possible, otherwise with a fraction.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
#[cfg_attr(test, derive(ts_rs::TS), ts(type = "number"))]
pub struct EpochSeconds(pub i64);

impl From<Timestamp> for EpochSeconds {
    fn from(time: Timestamp) -> Self {
        EpochSeconds(time.as_millis())
    }
}

impl From<EpochSeconds> for Timestamp {
    fn from(time: EpochSeconds) -> Self {
        Timestamp(time.0)
    }
}

impl Serialize for EpochSeconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 1_000 == 0 {
            return serializer.serialize_i64(self.0 / 1_000);
        }
        serializer.serialize_f64(self.0 as f64 / 1_000.0)
    }
}

impl<'de> Deserialize<'de> for EpochSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Seconds)
    }
}

struct Seconds;

impl Visitor<'_> for Seconds {
    type Value = EpochSeconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of seconds since 1970-01-01T00:00:00Z")
    }

    // Times that no calendar holds become the nearest one that fits: the rules of the service refuse them as too far
    // away, which says more than a parse error.
    fn visit_i64<E: Error>(self, seconds: i64) -> Result<EpochSeconds, E> {
        Ok(EpochSeconds(seconds.saturating_mul(1_000)))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<EpochSeconds, E> {
        self.visit_i64(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<EpochSeconds, E> {
        if seconds.is_nan() {
            return Err(E::custom("not a number"));
        }
        Ok(EpochSeconds((seconds * 1_000.0).round() as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<i64, serde_json::Error> {
        serde_json::from_str::<EpochSeconds>(text).map(|t| t.0)
    }

    #[test]
    fn whole_seconds_are_whole_numbers() {
        assert_eq!(serde_json::to_string(&EpochSeconds(1_477_348_200_000)).unwrap(), "1477348200");
        assert_eq!(serde_json::to_string(&EpochSeconds(1_477_006_131_856)).unwrap(), "1477006131.856");
        assert_eq!(serde_json::to_string(&EpochSeconds(-500)).unwrap(), "-0.5");
    }

    #[test]
    fn what_the_clients_send_is_read() {
        assert_eq!(parse("1767323045").unwrap(), 1_767_323_045_000);
        assert_eq!(parse("1767323045.678").unwrap(), 1_767_323_045_678);
        assert_eq!(parse("1.767323045678E9").unwrap(), 1_767_323_045_678);
        assert_eq!(parse("1e300").unwrap(), i64::MAX);
        assert_eq!(parse("18446744073709551615").unwrap(), i64::MAX);
    }

    #[test]
    fn texts_are_refused() {
        for text in ["\"1767323045\"", "\"2026-01-02T03:04:05Z\"", "true", "[1]", "{}"] {
            assert!(parse(text).unwrap_err().to_string().contains("a number of seconds"), "{text}");
        }
    }

    proptest! {
        // Beyond 2^43 ms (the year 2248) a double cannot hold every millisecond of a time in seconds exactly; the
        // rounding on reading still finds it far beyond that.
        #[test]
        fn every_time_survives_the_wire(ms in -4_000_000_000_000i64..=4_000_000_000_000) {
            let text = serde_json::to_string(&EpochSeconds(ms)).unwrap();
            prop_assert_eq!(parse(&text).unwrap(), ms);
        }
    }
}
