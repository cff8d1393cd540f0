//! What is likely, and between which bounds.

use crate::cli::human;
use godwit_api::shapes::godwit::{ByteRange, SecondRange};
use godwit_model::time::Millis;

/// What is not known.
const UNKNOWN: &str = "–";

/// What is likely, and the bounds: "1 MiB", "900 KiB – 1.2 MiB".
pub fn bytes(range: Option<&ByteRange>) -> [String; 2] {
    texts(range.map(|range| [range.low, range.likely, range.high].map(human::size)))
}

/// The same of times: "3 min", "2 min – 5 min".
pub fn seconds(range: Option<&SecondRange>) -> [String; 2] {
    texts(range.map(|range| [range.low, range.likely, range.high].map(|seconds| human::took(millis(seconds)))))
}

/// Seconds as the API has them.
pub fn millis(seconds: f64) -> Millis {
    Millis((seconds * 1e3) as i64)
}

/// How far off a forecast was: "as forecast", "12 % more", "3.4 times as much".
pub fn error(ratio: Option<f64>) -> String {
    match ratio {
        None => UNKNOWN.to_owned(),
        Some(ratio) if (ratio - 1.0).abs() < 0.005 => "as forecast".to_owned(),
        Some(ratio) if ratio < 1.0 => format!("{:.0} % less", (1.0 - ratio) * 100.0),
        Some(ratio) if ratio < 2.0 => format!("{:.0} % more", (ratio - 1.0) * 100.0),
        Some(ratio) => format!("{ratio:.1} times as much"),
    }
}

/// The same where there is little room: "0 %", "+12 %", "-5 %"; from ten times on "×12".
pub fn percent(ratio: Option<f64>) -> String {
    match ratio {
        None => UNKNOWN.to_owned(),
        Some(ratio) if (ratio - 1.0).abs() < 0.005 => "0 %".to_owned(),
        Some(ratio) if ratio < 10.0 => format!("{:+.0} %", (ratio - 1.0) * 100.0),
        Some(ratio) => format!("×{ratio:.0}"),
    }
}

fn texts(range: Option<[String; 3]>) -> [String; 2] {
    match range {
        Some([low, likely, high]) if low == high => [likely, low],
        Some([low, likely, high]) => [likely, format!("{low} – {high}")],
        None => [UNKNOWN.to_owned(), UNKNOWN.to_owned()],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_stand_beside_what_is_likely() {
        let range = ByteRange { low: 0, likely: 1 << 20, high: 3 << 20 };
        assert_eq!(bytes(Some(&range)), ["1 MiB", "0 B – 3 MiB"]);
        assert_eq!(bytes(Some(&ByteRange { low: 5, likely: 5, high: 5 })), ["5 B", "5 B"]);
        let range = SecondRange { low: 2.0, likely: 60.0, high: 7_200.0 };
        assert_eq!(seconds(Some(&range)), ["1 min", "2.0 s – 2 h"]);
        assert_eq!(seconds(None), ["–", "–"]);
    }

    #[test]
    fn errors_are_said_in_words() {
        let words = [Some(1.0), Some(0.88), Some(1.12), Some(3.4), Some(0.0), None].map(error);
        assert_eq!(words, ["as forecast", "12 % less", "12 % more", "3.4 times as much", "100 % less", "–"]);
    }

    #[test]
    fn errors_are_said_in_percent() {
        let short = [Some(1.0), Some(0.88), Some(1.12), Some(3.4), Some(12.3), Some(0.0), None].map(percent);
        assert_eq!(short, ["0 %", "-12 %", "+12 %", "+240 %", "×12", "-100 %", "–"]);
    }

    proptest! {
        #[test]
        fn no_number_makes_it_panic(low: f64, likely: f64, high: f64) {
            let range = SecondRange { low, likely, high };
            prop_assert!(!seconds(Some(&range))[0].is_empty());
            prop_assert!(!error(Some(likely)).is_empty() && !percent(Some(likely)).is_empty());
        }
    }
}
