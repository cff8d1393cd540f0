//! Which form of a file a browser takes. Pure.

use http::{HeaderMap, HeaderValue, header};

/// A form of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// The smallest.
    Brotli,
    /// What everybody takes.
    Gzip,
    /// As it is.
    Plain,
}

impl Encoding {
    /// As the header names it.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Encoding::Brotli => Some("br"),
            Encoding::Gzip => Some("gzip"),
            Encoding::Plain => None,
        }
    }

    /// What tells the tags of the forms apart.
    pub fn suffix(self) -> &'static str {
        match self {
            Encoding::Brotli => "-br",
            Encoding::Gzip => "-gz",
            Encoding::Plain => "",
        }
    }
}

/// The smallest form that is there and that a browser takes.
pub fn choose(headers: &HeaderMap, has_brotli: bool, has_gzip: bool) -> Encoding {
    let texts = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let wishes: Vec<(&str, bool)> = texts.flat_map(|text| text.split(',')).map(wish).collect();
    let takes = |name: &str| {
        let named = wishes.iter().find(|(wished, _)| wished.eq_ignore_ascii_case(name));
        named.or_else(|| wishes.iter().find(|(wished, _)| *wished == "*")).is_some_and(|(_, takes)| *takes)
    };
    if has_brotli && takes("br") {
        Encoding::Brotli
    } else if has_gzip && takes("gzip") {
        Encoding::Gzip
    } else {
        Encoding::Plain
    }
}

/// `gzip;q=0` is what is not taken.
fn wish(text: &str) -> (&str, bool) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default();
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    (name, quality.is_none_or(|quality| quality.parse::<f32>().is_ok_and(|quality| quality > 0.0)))
}

/// Whether an `If-None-Match` names a tag.
pub fn names(value: &HeaderValue, tag: &str) -> bool {
    let text = value.to_str().unwrap_or_default();
    text.split(',').map(str::trim).any(|named| named == "*" || named.strip_prefix("W/").unwrap_or(named) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Encoding {
        let value = HeaderValue::from_str(text).unwrap();
        choose(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]), true, true)
    }

    #[test]
    fn the_smallest_form_that_is_taken_is_chosen() {
        for text in ["br", "gzip, deflate, br, zstd", "gzip;q=1.0, br;q=0.1", "BR", "*"] {
            assert_eq!(of(text), Encoding::Brotli, "{text}");
        }
        for text in ["gzip", "br;q=0, gzip", "br;q=0, *", "gzip;q=0.5", "br;q=x, gzip"] {
            assert_eq!(of(text), Encoding::Gzip, "{text}");
        }
        for text in ["", "identity", "deflate", "br;q=0, gzip;q=0.000", "*;q=0", "brotli"] {
            assert_eq!(of(text), Encoding::Plain, "{text}");
        }
        assert_eq!(choose(&HeaderMap::new(), true, true), Encoding::Plain);
        let both = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static("br, gzip"))]);
        assert_eq!(choose(&both, false, true), Encoding::Gzip);
        assert_eq!(choose(&both, false, false), Encoding::Plain);
    }

    #[test]
    fn tags_are_found_in_lists() {
        for text in ["\"a\"", "W/\"a\"", "\"b\", \"a\"", "*"] {
            assert!(names(&HeaderValue::from_static(text), "\"a\""), "{text}");
        }
        for text in ["\"b\"", "a", "\"ab\"", ""] {
            assert!(!names(&HeaderValue::from_static(text), "\"a\""), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_panic(text in "[ -~]{0,60}") {
            let _ = of(&text);
            let _ = names(&HeaderValue::from_str(&text).unwrap(), "\"a\"");
        }
    }
}
