//! Whether a page of ours made a request. Pure.
//!
//! Browsers say where a request comes from: `Origin` and, newer ones, `Sec-Fetch-Site`. Where they say nothing, what
//! counts is that other sites cannot send our header nor our content types without asking first, which is never allowed.

use crate::errors::{ApiError, ErrorCode};
use http::{HeaderMap, HeaderName, header};

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what another site sent.
pub fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    // `none`: a person typed the address.
    if text(&FETCH_SITE).is_some_and(|site| site != "same-origin" && site != "none") {
        return Err(foreign("it comes from another site"));
    }
    let Some(origin) = text(&header::ORIGIN) else { return Ok(()) };
    let host = origin.split_once("://").map(|(_, host)| host);
    // Not the scheme: what takes TLS away before us leaves it in the origin.
    if host.is_none_or(|host| host.is_empty() || text(&header::HOST) != Some(host)) {
        return Err(foreign("its Origin is not the host that it was sent to"));
    }
    Ok(())
}

/// Whether the body is of this type, whatever its parameters.
pub fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

/// The refusal of what a page of ours would not have sent.
pub fn foreign(why: &str) -> ApiError {
    let message = format!("No page of this service has made this request: {why}.");
    ApiError::new(ErrorCode::CrossOriginException, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn is_ours(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        check(&headers).is_ok()
    }

    #[test]
    fn what_browsers_say_of_other_sites_is_heard() {
        let host = ("host", "godwit.example:8384");
        for ours in [
            &[host][..],
            &[host, ("origin", "https://godwit.example:8384")],
            &[host, ("origin", "http://godwit.example:8384"), ("sec-fetch-site", "same-origin")],
            &[host, ("sec-fetch-site", "none")],
        ] {
            assert!(is_ours(ours), "{ours:?}");
        }
        for foreign in [
            &[host, ("origin", "https://evil.example")][..],
            &[host, ("origin", "https://godwit.example")],
            &[host, ("origin", "https://godwit.example:8384.evil.example")],
            &[host, ("origin", "https://evil.example/godwit.example:8384")],
            &[host, ("origin", "null")],
            &[host, ("origin", "")],
            &[host, ("origin", "https://")],
            &[("origin", "https://godwit.example:8384")],
            &[host, ("sec-fetch-site", "cross-site")],
            &[host, ("sec-fetch-site", "same-site")],
            &[host, ("origin", "https://godwit.example:8384"), ("sec-fetch-site", "cross-site")],
        ] {
            assert!(!is_ours(foreign), "{foreign:?}");
        }
    }

    #[test]
    fn types_are_compared_without_their_parameters() {
        let of = |text: &'static str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))]);
            has_type(&headers, "application/json")
        };
        assert!(of("application/json") && of("Application/JSON; charset=utf-8"));
        assert!(!of("text/plain") && !of("application/json2") && !of("text/plain; application/json") && !of(""));
        assert!(!has_type(&HeaderMap::new(), "application/json"));
    }
}
