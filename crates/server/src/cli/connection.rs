//! Where the service is and which keys open it.

use crate::cli::Global;
use crate::cli::error::CliError;
use crate::client::Client;
use crate::credentials::{self, AccessKey, Places};
use crate::outside::{home, variable};
use crate::serve::config::DEFAULT_PORT;
use reqwest::Url;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// What a client needs.
#[derive(Debug)]
pub struct Connection {
    endpoint: Url,
    key: AccessKey,
    region: String,
}

impl Connection {
    /// From options and environment.
    pub fn find(global: &Global) -> Result<Self, CliError> {
        let endpoint = match &global.endpoint {
            Some(text) => endpoint(text)?,
            None => endpoint(&format!("http://127.0.0.1:{DEFAULT_PORT}"))?,
        };
        let key = credentials::find(&Places {
            access_key_id: variable("AWS_ACCESS_KEY_ID"),
            secret_access_key: variable("AWS_SECRET_ACCESS_KEY").map(Zeroizing::new),
            session_token: variable("AWS_SESSION_TOKEN").map(Zeroizing::new),
            file: variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from),
            home: home(),
            profile: global.profile.clone().or_else(|| variable("AWS_PROFILE")),
            profile_by_option: global.profile.is_some(),
        })?;
        let region = global.region.clone();
        let region = region.or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
        Ok(Self { endpoint, key, region: region.unwrap_or_else(|| "us-east-1".to_owned()) })
    }

    /// A client of it.
    pub fn client(self) -> Result<Client, CliError> {
        Ok(Client::new(self.endpoint, self.key, self.region)?)
    }
}

fn endpoint(text: &str) -> Result<Url, CliError> {
    let example = format!("give one such as http://127.0.0.1:{DEFAULT_PORT}");
    let refused = |why: &str| CliError::usage(format!("'{text}' is not an endpoint: {why}")).next(example.clone());
    // "127.0.0.1:8384" is what people type.
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url: Url = whole.parse().map_err(|error| refused(&format!("{error}")))?;
    match url.scheme() {
        "http" if url.has_host() => Ok(url),
        "https" => Err(refused("this version speaks plain HTTP on loopback only")),
        _ => Err(refused("only http:// is known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::Exit;

    #[test]
    fn endpoints_are_urls_or_addresses() {
        for text in ["http://127.0.0.1:8384", "127.0.0.1:8384", "http://127.0.0.1:8384/", "localhost:1"] {
            assert!(endpoint(text).is_ok(), "{text}");
        }
        assert_eq!(endpoint("127.0.0.1:8384").unwrap().as_str(), "http://127.0.0.1:8384/");
        for text in ["", "https://example.org", "ftp://x", "http://", "http://[::"] {
            assert_eq!(endpoint(text).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }
}
