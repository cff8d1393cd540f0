//! Spans of time in the settings file.

use godwit_model::time::Millis;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest span that may be set: beyond it, arithmetic with times would say nothing sensible.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// A span of time as people write it: "90s", "5m", "12h", "7d".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// How long something is kept: a [`Span`], or "forever".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Kept(pub Option<Duration>);

impl Span {
    /// As the rules of the model have it.
    pub fn of(span: Millis) -> Span {
        Span(Duration::from_millis(u64::try_from(span.0).unwrap_or(0)))
    }

    /// For the rules of the model.
    pub fn millis(self) -> Millis {
        Millis(i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Kept {
    /// As the rules of the model have it.
    pub fn of(kept: Option<Millis>) -> Kept {
        Kept(kept.map(|kept| Duration::from_millis(u64::try_from(kept.0).unwrap_or(0))))
    }

    /// For the rules of the model.
    pub fn millis(self) -> Option<Millis> {
        self.0.map(|kept| Millis(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX)))
    }
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let refused = || format!("'{text}' is no span of time: give a number and s, m, h or d, such as 90s or 7d");
        let unit = UNITS.iter().find(|(unit, _)| text.ends_with(*unit)).ok_or_else(refused)?;
        let number: u64 = text[..text.len() - 1].trim().parse().map_err(|_| refused())?;
        let span = Duration::from_secs(number.checked_mul(unit.1).ok_or_else(refused)?);
        if span <= LONGEST { Ok(Span(span)) } else { Err(format!("'{text}' is longer than a hundred years")) }
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        let seconds = span.0.as_secs();
        let fits = |factor: &u64| seconds.is_multiple_of(*factor) && seconds >= *factor;
        let (unit, factor) = UNITS.into_iter().find(|(_, factor)| fits(factor)).unwrap_or(('s', 1));
        format!("{}{unit}", seconds / factor)
    }
}

impl TryFrom<String> for Kept {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "forever" => Ok(Kept(None)),
            _ => Span::try_from(text).map(|span| Kept(Some(span.0))).map_err(|error| format!("{error}, or forever")),
        }
    }
}

impl From<Kept> for String {
    fn from(kept: Kept) -> String {
        kept.0.map_or_else(|| "forever".to_owned(), |span| Span(span).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_are_read_as_they_are_written(seconds in 0u64..3_000_000_000) {
            let text = String::from(Span(Duration::from_secs(seconds)));
            prop_assert_eq!(Span::try_from(text), Ok(Span(Duration::from_secs(seconds))));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,12}") {
            let _ = (Span::try_from(text.clone()), Kept::try_from(text));
        }
    }
}
