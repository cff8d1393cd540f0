//! The cookie that holds a session's secret. Pure.

use godwit_control::service::Secret;
use http::{HeaderMap, HeaderValue, header};

const NAME: &str = "godwit_session";

/// The secret that a request carries. Several are not understood: whoever can put a second one there is not its user.
pub fn secret(headers: &HeaderMap) -> Option<Secret> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut found = texts.flat_map(|text| text.split(';')).filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name.trim() == NAME).then(|| value.trim())
    });
    match (found.next(), found.next()) {
        (Some(secret), None) if !secret.is_empty() => Some(Secret::new(secret.to_owned())),
        _ => None,
    }
}

/// The header that gives a secret to a browser.
pub fn set(secret: &Secret, seconds: i64, is_encrypted: bool) -> HeaderValue {
    set_cookie(secret.expose(), seconds, is_encrypted)
}

/// The header that takes it away again.
pub fn clear(is_encrypted: bool) -> HeaderValue {
    set_cookie("", 0, is_encrypted)
}

fn set_cookie(value: &str, seconds: i64, is_encrypted: bool) -> HeaderValue {
    let secure = if is_encrypted { "; Secure" } else { "" };
    let text = format!("{NAME}={value}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}");
    let mut value = HeaderValue::from_str(&text).expect("hexadecimal digits are plain text");
    value.set_sensitive(true);
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(texts: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for text in texts {
            headers.append(header::COOKIE, HeaderValue::from_str(text).unwrap());
        }
        secret(&headers).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn the_secret_is_found_among_other_cookies() {
        assert_eq!(of(&["godwit_session=abc"]).as_deref(), Some("abc"));
        assert_eq!(of(&["a=b; godwit_session=abc; c=d"]).as_deref(), Some("abc"));
        assert_eq!(of(&["a=b", "godwit_session=abc"]).as_deref(), Some("abc"));
        for wrong in [&[][..], &["godwit_session="], &["xgodwit_session=a"], &["godwit_session"], &["Godwit_Session=a"]]
        {
            assert_eq!(of(wrong), None, "{wrong:?}");
        }
        assert_eq!(of(&["godwit_session=a; godwit_session=b"]), None, "two are none");
    }

    #[test]
    fn no_script_and_no_other_site_gets_at_it() {
        let value = set(&Secret::new("abc".to_owned()), 60, false);
        let text = "godwit_session=abc; HttpOnly; SameSite=Strict; Path=/; Max-Age=60";
        assert_eq!(value.to_str().unwrap(), text);
        assert!(value.is_sensitive());
        assert_eq!(set(&Secret::new("abc".to_owned()), 60, true).to_str().unwrap(), format!("{text}; Secure"));
        assert!(clear(false).to_str().unwrap().starts_with("godwit_session=; "));
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_panic(text in "[ -~]{0,80}") {
            let _ = of(&[&text]);
        }
    }
}
