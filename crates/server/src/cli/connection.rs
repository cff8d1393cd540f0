//! Where the service is and which keys open it.

use crate::cli::Global;
use crate::cli::error::CliError;
use crate::client::Client;
use crate::credentials::{self, AccessKey, Places};
use crate::outside::{home, variable};
use crate::serve::config::DEFAULT_PORT;
use reqwest::{Certificate, Url};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Variables that say where the service is; the first one wins.
const ENDPOINT_VARIABLES: [&str; 3] = ["GODWIT_ENDPOINT", "AWS_ENDPOINT_URL_SMS", "AWS_ENDPOINT_URL"];
/// Variables that say the region; the first one wins.
const REGION_VARIABLES: [&str; 2] = ["AWS_REGION", "AWS_DEFAULT_REGION"];
/// The variable that says which certificates AWS tools trust.
const CA_VARIABLE: &str = "AWS_CA_BUNDLE";
/// The region if none is said.
pub const DEFAULT_REGION: &str = "us-east-1";
/// Longest region: far beyond all that exist.
const LONGEST_REGION: usize = 64;

/// What a client needs.
#[derive(Debug)]
pub struct Connection {
    endpoint: Url,
    key: AccessKey,
    region: String,
    trusted: Option<Vec<Certificate>>,
}

impl Connection {
    /// From options, environment and files.
    pub fn find(global: &Global) -> Result<Self, CliError> {
        let endpoint = find_endpoint(global.endpoint.as_deref(), variable)?;
        let places = places(global);
        let of_variable = || REGION_VARIABLES.into_iter().find_map(variable);
        let region = given(global.region.as_deref()).or_else(of_variable).or_else(|| credentials::region(&places));
        let region = region_or_default(region)?;
        Ok(Self { endpoint, key: credentials::find(&places)?, region, trusted: trusted(global)? })
    }

    /// A client of it.
    pub fn client(self) -> Result<Client, CliError> {
        Ok(Client::new(self.endpoint, self.key, self.region, self.trusted)?)
    }
}

/// The certificates of the file that an option or the variable of AWS tools names.
fn trusted(global: &Global) -> Result<Option<Vec<Certificate>>, CliError> {
    let file = global.ca_certificate.clone().filter(|file| !file.as_os_str().is_empty());
    let Some(file) = file.or_else(|| variable(CA_VARIABLE).map(PathBuf::from)) else { return Ok(None) };
    let shown = file.display();
    let example = "give a PEM file, such as DIR/tls/certificate.pem of 'godwit serve --data DIR'";
    let text = std::fs::read(&file).map_err(|error| {
        CliError::usage(format!("the certificates in {shown} cannot be read: {error}")).next(example)
    })?;
    let certificates = Certificate::from_pem_bundle(&text).unwrap_or_default();
    if certificates.is_empty() {
        return Err(CliError::usage(format!("{shown} holds no certificate")).next(example));
    }
    Ok(Some(certificates))
}

/// The region of the option alone: what a service writes beside its keys does not depend on who starts it.
pub fn region_of_option(global: &Global) -> Result<String, CliError> {
    region_or_default(given(global.region.as_deref()))
}

fn places(global: &Global) -> Places {
    let profile = given(global.profile.as_deref());
    Places {
        access_key_id: variable("AWS_ACCESS_KEY_ID"),
        secret_access_key: variable("AWS_SECRET_ACCESS_KEY").map(Zeroizing::new),
        session_token: variable("AWS_SESSION_TOKEN").map(Zeroizing::new),
        file: variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from),
        config_file: variable("AWS_CONFIG_FILE").map(PathBuf::from),
        home: home(),
        profile_by_option: profile.is_some(),
        profile: profile.or_else(|| variable("AWS_PROFILE")),
    }
}

/// An option that is empty, like such a variable, counts as absent.
fn given(option: Option<&str>) -> Option<String> {
    option.filter(|text| !text.is_empty()).map(str::to_owned)
}

fn region_or_default(region: Option<String>) -> Result<String, CliError> {
    let region = region.unwrap_or_else(|| DEFAULT_REGION.to_owned());
    // It becomes a part of the signature's scope, where a slash separates.
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if region.len() <= LONGEST_REGION && region.bytes().all(fits) {
        return Ok(region);
    }
    let what = format!("'{}' is not a region: only letters, digits, '-' and '_' are", region.escape_debug());
    Err(CliError::usage(what).next(format!("give one such as {DEFAULT_REGION}, or leave it out")))
}

fn find_endpoint(option: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Result<Url, CliError> {
    if let Some(text) = option {
        return endpoint("--endpoint", text);
    }
    match ENDPOINT_VARIABLES.into_iter().find_map(|name| Some((name, variable(name)?))) {
        Some((name, text)) => endpoint(name, &text),
        None => endpoint("the default", &format!("http://127.0.0.1:{DEFAULT_PORT}")),
    }
}

fn endpoint(whence: &str, text: &str) -> Result<Url, CliError> {
    let example = format!("give one such as http://127.0.0.1:{DEFAULT_PORT}");
    // What stands before an '@' is a name or a password: it is not repeated.
    if text.contains('@') {
        let what = format!("{whence} is not an endpoint: it has an '@', but keys are no part of it");
        return Err(CliError::usage(what).next(example));
    }
    let refused = |why: &str| CliError::usage(format!("{whence} '{text}' is not an endpoint: {why}")).next(&example);
    // "127.0.0.1:8384" is what people type.
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url: Url = whole.parse().map_err(|error| refused(&format!("{error}")))?;
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(refused("only https:// and http:// are known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::Exit;

    #[test]
    fn endpoints_are_urls_or_addresses() {
        for text in ["http://127.0.0.1:8384", "127.0.0.1:8384", "http://127.0.0.1:8384/", "localhost:1"] {
            assert!(endpoint("x", text).is_ok(), "{text}");
        }
        assert_eq!(endpoint("x", "127.0.0.1:8384").unwrap().as_str(), "http://127.0.0.1:8384/");
        assert_eq!(endpoint("x", "https://example.org").unwrap().as_str(), "https://example.org/");
        for text in ["", "https://", "ftp://x", "http://", "http://[::"] {
            assert_eq!(endpoint("x", text).unwrap_err().exit, Exit::Usage, "{text}");
        }
    }

    #[test]
    fn what_stands_before_an_at_sign_is_not_repeated() {
        for text in ["http://u:hunter2@host", "u:hunter2@host", "http:u:hunter2@host", "ftp://hunter2@x", "hunter2@[::"]
        {
            let error = endpoint("GODWIT_ENDPOINT", text).unwrap_err();
            assert_eq!(error.exit, Exit::Usage, "{text}");
            assert!(
                error.what.starts_with("GODWIT_ENDPOINT ") && !format!("{error:?}").contains("hunter2"),
                "{error:?}"
            );
        }
    }

    #[test]
    fn endpoints_are_looked_for_in_their_order() {
        let found = |option: Option<&str>, set: &[&str]| {
            let variable = |name: &str| set.contains(&name).then(|| name.to_lowercase().replace('_', "-"));
            find_endpoint(option, variable).unwrap().host_str().unwrap().to_owned()
        };
        assert_eq!(found(Some("option"), &ENDPOINT_VARIABLES), "option");
        assert_eq!(found(None, &ENDPOINT_VARIABLES), "godwit-endpoint");
        assert_eq!(found(None, &["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SMS"]), "aws-endpoint-url-sms");
        assert_eq!(found(None, &["AWS_ENDPOINT_URL"]), "aws-endpoint-url");
        assert_eq!(found(None, &[]), "127.0.0.1");
    }

    #[test]
    fn regions_fit_into_a_scope() {
        for region in ["us-east-1", "eu_west", "X", "a2"] {
            assert_eq!(region_or_default(Some(region.into())).unwrap(), region);
        }
        assert_eq!(region_or_default(given(Some(""))).unwrap(), DEFAULT_REGION);
        for region in ["eu/west", "eu west", "é", "a\nb", "x".repeat(65).as_str()] {
            assert_eq!(region_or_default(Some(region.into())).unwrap_err().exit, Exit::Usage, "{region}");
        }
    }
}
