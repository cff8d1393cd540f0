//! Who is told what became of a job: an e-mail address, or a web address that takes a signed event.

use std::fmt;
use std::str::FromStr;

/// Longest recipient, in bytes: a web address of sensible length.
pub const LONGEST: usize = 512;

/// Recipients of a job at most: each event is delivered to each of them.
pub const MOST: usize = 20;

/// Where notifications go. As text: the address, or the URL.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Recipient {
    /// By e-mail.
    Email(String),
    /// By an HTTP POST with a signature.
    Webhook(String),
}

/// A text that is no recipient.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "'{text}' is no recipient: {problem}; give an e-mail address, or a web address such as https://example.org/hook"
)]
pub struct NotARecipient {
    /// What was given, cut to a length fit for a message.
    pub text: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl FromStr for Recipient {
    type Err = NotARecipient;

    fn from_str(text: &str) -> Result<Self, NotARecipient> {
        let text = text.trim();
        let refused = |problem| NotARecipient { text: text.chars().take(64).collect(), problem };
        if text.len() > LONGEST {
            return Err(refused("it is too long"));
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || !c.is_ascii()) {
            return Err(refused("it holds blanks or characters that addresses cannot have"));
        }
        if let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) {
            let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
            if host.contains('@') {
                return Err(refused("a password has no place in it: what is sent is signed"));
            }
            let name = host.strip_suffix(']').unwrap_or(host);
            return match name.is_empty() || name.starts_with(':') {
                true => Err(refused("it names no host")),
                false => Ok(Recipient::Webhook(text.to_owned())),
            };
        }
        let address = text.strip_prefix("mailto:").unwrap_or(text);
        let Some((user, host)) = address.rsplit_once('@') else { return Err(refused("it holds no @")) };
        let is_host = !host.is_empty()
            && host.split('.').all(|label| {
                !label.is_empty()
                    && !label.starts_with('-')
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            });
        let is_user = !user.is_empty()
            && !user.starts_with('.')
            && !user.ends_with('.')
            && user.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&b));
        match is_user && is_host {
            true => Ok(Recipient::Email(address.to_owned())),
            false => Err(refused("it is no address")),
        }
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Recipient::Email(text) | Recipient::Webhook(text)) = self;
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_of_both_kinds_are_taken() {
        for mail in ["ops@example.org", "a.b+c@localhost", "mailto:x@y.z", " ops@example.org "] {
            assert!(matches!(mail.parse(), Ok(Recipient::Email(_))), "{mail}");
        }
        for hook in ["https://example.org/hook?x=1", "http://127.0.0.1:9000/", "https://[::1]:1/x"] {
            assert_eq!(hook.parse::<Recipient>().unwrap().to_string(), hook);
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("", "no @"),
            ("ops", "no @"),
            ("@example.org", "no address"),
            ("ops@", "no address"),
            ("ops@exa mple.org", "blanks"),
            ("ops@example.org\r\nBcc: all@example.org", "blanks"),
            ("https://", "no host"),
            ("https://user:pass@example.org/", "password"),
            ("ftp://example.org/", "no @"),
        ] {
            let error = text.parse::<Recipient>().unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
        assert!("x".repeat(LONGEST + 1).parse::<Recipient>().is_err());
    }

    proptest! {
        #[test]
        fn what_is_taken_is_taken_again(text in "\\PC{0,40}") {
            if let Ok(recipient) = text.parse::<Recipient>() {
                prop_assert_eq!(recipient.to_string().parse::<Recipient>(), Ok(recipient));
            }
        }
    }
}
