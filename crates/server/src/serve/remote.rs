//! A store on an S3-compatible server: what the settings say of it, whose keys it is asked with, and that a data folder
//! stays with the store that it began with.

use crate::credentials::{self, AccessKey};
use crate::outside;
use crate::serve::folder::{Folder, FolderError, refuse_open, write_private};
use crate::serve::settings::{Store, section};
use godwit_blocks::store::{AskKeys, RemoteBounds, RemoteError, RemoteKeys, RemoteOptions};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use zeroize::Zeroizing;

/// What requests are signed for if nothing is said; servers other than AWS mostly do not care.
const REGION: &str = "us-east-1";

section! {
    /// Section `[store.s3]`.
    #[serde(deny_unknown_fields, default)]
    pub struct S3 in "store.s3" {
        /// Address of the S3 server; AWS if there is none.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub endpoint: Option<String>,
        /// The region of the bucket.
        pub region: String,
        /// Whether the bucket is named in the path instead of the host's name; if nothing is said, with an endpoint only.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub path_style: Option<bool>,
        /// Where the keys for the bucket are: env, or file:PATH.
        pub credentials: String,
        /// Which pair of keys of that file.
        pub profile: String,
    }
}

impl Default for S3 {
    fn default() -> Self {
        let (region, credentials, profile) = (REGION.to_owned(), "env".to_owned(), "default".to_owned());
        Self { endpoint: None, region, path_style: None, credentials, profile }
    }
}

/// Why a store is not opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreRefused {
    /// There are no keys to ask with.
    #[error("no credentials for the object store: {0}")]
    Keys(String),
    /// The server, or what it said.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The data folder is another store's.
    #[error("the data folder {} works with the store {was}, and the settings say {is}", folder.display())]
    Other {
        /// Which folder.
        folder: PathBuf,
        /// Where its objects are.
        was: String,
        /// Where they were to be.
        is: String,
    },
}

impl StoreRefused {
    /// What to do about it.
    pub fn next_step(&self) -> String {
        match self {
            StoreRefused::Keys(_) => "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for the service, or name a file \
                that it alone can read: credentials = \"file:PATH\" in [store.s3]"
                .to_owned(),
            StoreRefused::Remote(error) => error.next_step().to_owned(),
            StoreRefused::Other { .. } => "correct store.url in the settings, or begin with a new data folder: what \
                is on record belongs to the objects of that store"
                .to_owned(),
        }
    }
}

/// Where a store is.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Place {
    bucket: String,
    prefix: String,
}

impl Place {
    fn parse(url: &str) -> Result<Place, String> {
        let refused = || format!("store.url is '{url}': give s3://BUCKET or s3://BUCKET/PREFIX, or leave it out");
        let rest = url.strip_prefix("s3://").ok_or_else(refused)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-_".contains(c);
        let is_bucket = (3..=63).contains(&bucket.len()) && bucket.chars().all(fits);
        let prefix = prefix.trim_end_matches('/');
        let is_prefix = prefix.is_empty()
            || prefix.split('/').all(|part| !part.is_empty() && part.chars().all(|c| fits(c.to_ascii_lowercase())));
        let has_dots = prefix.split('/').any(|part| part.chars().all(|c| c == '.') && !part.is_empty());
        match is_bucket && is_prefix && !has_dots {
            true => Ok(Place { bucket: bucket.to_owned(), prefix: prefix.to_owned() }),
            false => Err(refused()),
        }
    }
}

/// Checks what the settings say of the store, without looking anywhere.
pub fn check(store: &Store) -> Result<(), String> {
    let Some(url) = &store.url else {
        return match &store.s3 {
            None => Ok(()),
            Some(_) => Err("[store.s3] is set, but store.url is not: add url = \"s3://BUCKET\" to [store]".to_owned()),
        };
    };
    Place::parse(url)?;
    let s3 = store.s3.clone().unwrap_or_default();
    if let Some(endpoint) = &s3.endpoint {
        check_endpoint(endpoint)?;
    }
    if s3.region.is_empty() {
        return Err("store.s3.region is empty: give one, or leave it out".to_owned());
    }
    match s3.credentials.split_once(':') {
        Some(("file", path)) if Path::new(path).is_absolute() => Ok(()),
        None if s3.credentials == "env" => Ok(()),
        // Whatever it is may be a key itself: it is not repeated.
        _ => Err("store.s3.credentials is neither \"env\" nor \"file:\" with the full path of a file".to_owned()),
    }
}

/// Names keep disks from the eyes of others only with TLS; and what is encrypted already is still worth hiding.
fn check_endpoint(endpoint: &str) -> Result<(), String> {
    let refused = |why: &str| Err(format!("store.s3.endpoint {why}: give https://HOST or https://HOST:PORT"));
    if endpoint.contains('@') {
        return refused("holds credentials, which belong into a file");
    }
    let Ok(uri) = endpoint.parse::<http::Uri>() else { return refused("is no address") };
    let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return refused("is no address") };
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return refused("has a path; the bucket belongs into store.url");
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    match scheme {
        "https" => Ok(()),
        "http" if is_loopback => Ok(()),
        "http" => refused("has no TLS, which is for servers on this machine only"),
        _ => refused("is neither http nor https"),
    }
}

/// The remote store that the settings name, if they do, as that of `owner`. Its keys are looked at.
pub fn options(store: &Store, owner: &str) -> Result<Option<RemoteOptions>, StoreRefused> {
    let Some(url) = &store.url else { return Ok(None) };
    let place = Place::parse(url).map_err(RemoteError::Options)?;
    let s3 = store.s3.clone().unwrap_or_default();
    let keys = keys(&s3);
    keys().map_err(|error| StoreRefused::Keys(error.to_string()))?;
    Ok(Some(RemoteOptions {
        bucket: place.bucket,
        prefix: place.prefix,
        path_style: s3.path_style.unwrap_or(s3.endpoint.is_some()),
        endpoint: s3.endpoint.map(|endpoint| endpoint.trim_end_matches('/').to_owned()),
        region: s3.region,
        keys,
        owner: owner.to_owned(),
        bounds: RemoteBounds::default(),
    }))
}

fn keys(s3: &S3) -> AskKeys {
    match s3.credentials.strip_prefix("file:") {
        None => Arc::new(|| Ok(of_environment()?)),
        Some(path) => {
            let file = KeyFile { path: path.into(), profile: s3.profile.clone(), read: Mutex::default() };
            Arc::new(move || Ok(file.keys()?))
        }
    }
}

fn of_environment() -> Result<RemoteKeys, String> {
    let variable = |name| outside::variable(name).ok_or_else(|| format!("the variable {name} is not set"));
    let secret = Zeroizing::new(variable("AWS_SECRET_ACCESS_KEY")?);
    let token = outside::variable("AWS_SESSION_TOKEN").map(Zeroizing::new);
    Ok(RemoteKeys { id: variable("AWS_ACCESS_KEY_ID")?, secret, token })
}

/// A credentials file as AWS tools write it. It is read again when it has changed: keys are changed while we run.
struct KeyFile {
    path: PathBuf,
    profile: String,
    read: Mutex<Option<(SystemTime, RemoteKeys)>>,
}

impl KeyFile {
    fn keys(&self) -> Result<RemoteKeys, String> {
        let told = |error: std::io::Error| format!("{} cannot be read: {error}", self.path.display());
        let changed = std::fs::metadata(&self.path).and_then(|file| file.modified()).map_err(told)?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, keys)) = read.as_ref()
            && *at == changed
        {
            return Ok(keys.clone());
        }
        refuse_open(&self.path).map_err(|error| format!("{error}; {}", error.next_step()))?;
        let text = std::fs::read_to_string(&self.path).map(Zeroizing::new).map_err(told)?;
        let found = credentials::from_text(&text, &self.path, &self.profile).map_err(|error| error.to_string())?;
        let AccessKey { id, secret, session_token } = found;
        let keys = RemoteKeys { id, secret, token: session_token };
        *read = Some((changed, keys.clone()));
        Ok(keys)
    }
}

/// Refuses a data folder whose objects are elsewhere than the settings say.
pub fn check_place(folder: &Folder, url: Option<&str>) -> Result<(), StoreRefused> {
    let mark = std::fs::read_to_string(folder.place()).ok();
    let was = mark.as_deref().map(str::trim);
    let has_objects = || std::fs::read_dir(folder.objects()).is_ok_and(|mut found| found.next().is_some());
    let here = folder.objects().display().to_string();
    let (was, is) = match (was, url) {
        (was, url) if was == url && was.is_some() => return Ok(()),
        (None, None) => return Ok(()),
        (None, Some(_)) if !has_objects() => return Ok(()),
        (was, url) => (was.unwrap_or(&here).to_owned(), url.unwrap_or(&here).to_owned()),
    };
    Err(StoreRefused::Other { folder: folder.path().to_owned(), was, is })
}

/// Writes down where the objects of a data folder are.
pub fn mark_place(folder: &Folder, url: &str) -> Result<(), FolderError> {
    match folder.place().exists() {
        true => Ok(()),
        false => write_private(&folder.place(), format!("{url}\n").as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn store(url: &str, s3: Option<S3>) -> Store {
        Store { url: Some(url.to_owned()), s3, ..Store::default() }
    }

    fn at(endpoint: &str) -> Result<(), String> {
        check(&store("s3://bucket", Some(S3 { endpoint: Some(endpoint.to_owned()), ..S3::default() })))
    }

    #[test]
    fn places_are_a_bucket_and_a_prefix() {
        let place = |bucket: &str, prefix: &str| Ok(Place { bucket: bucket.into(), prefix: prefix.into() });
        assert_eq!(Place::parse("s3://backups"), place("backups", ""));
        assert_eq!(Place::parse("s3://backups/"), place("backups", ""));
        assert_eq!(Place::parse("s3://my.bucket-1/godwit/Site_1/"), place("my.bucket-1", "godwit/Site_1"));
        for url in [
            "",
            "backups",
            "s3://",
            "s3://ab",
            "s3://Bucket",
            "s3://b u/c",
            "s3://bucket//x",
            "s3://bucket/..",
            "s3://bucket/a b",
            "s3://bucket/ä",
            "https://bucket",
            "s3://bucket/a?b",
            "s3://bucket/a/./b",
        ] {
            assert!(Place::parse(url).unwrap_err().contains("s3://BUCKET"), "{url}");
        }
    }

    #[test]
    fn only_this_machine_is_reached_without_tls() {
        for endpoint in [
            "https://s3.example.org",
            "https://10.0.0.1:9000/",
            "http://127.0.0.1:8333",
            "http://[::1]:1",
            "http://localhost:8333",
        ] {
            assert_eq!(at(endpoint), Ok(()), "{endpoint}");
        }
        for (endpoint, words) in [
            ("http://s3.example.org", "no TLS"),
            ("http://10.0.0.1:9000", "no TLS"),
            ("http://127.0.0.1.example.org", "no TLS"),
            ("https://s3.example.org/bucket", "has a path"),
            ("s3.example.org", "no address"),
            ("ftp://s3.example.org", "neither"),
        ] {
            assert!(at(endpoint).unwrap_err().contains(words), "{endpoint}: {:?}", at(endpoint));
        }
        let error = at("https://key:geheim@s3.example.org").unwrap_err();
        assert!(error.contains("credentials") && !error.contains("geheim"), "{error}");
    }

    #[test]
    fn keys_come_from_the_environment_or_a_file_and_are_not_repeated() {
        let of = |credentials: &str| {
            check(&store("s3://bucket", Some(S3 { credentials: credentials.to_owned(), ..S3::default() })))
        };
        assert_eq!((of("env"), of("file:/etc/keys")), (Ok(()), Ok(())));
        for credentials in ["", "file:keys", "AKIAGEHEIM", "env:x"] {
            assert!(!of(credentials).unwrap_err().contains("GEHEIM"));
        }
        let without = Store { s3: Some(S3::default()), ..Store::default() };
        assert!(check(&without).unwrap_err().contains("store.url"));
    }

    #[test]
    fn a_key_file_is_private_and_read_again_when_it_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let file = KeyFile { path: path.clone(), profile: "default".into(), read: Mutex::default() };
        assert!(file.keys().unwrap_err().contains("cannot be read"));
        let write = |id: &str| {
            std::fs::write(&path, format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = geheim\n"))
                .unwrap();
        };
        write("FIRST");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = file.keys().unwrap_err();
        assert!(error.contains("644") && error.contains("chmod 600") && !error.contains("geheim"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(file.keys().unwrap().id, "FIRST");
        write("SECOND");
        let later = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
        let keys = file.keys().unwrap();
        assert_eq!(keys.id, "SECOND");
        assert!(!format!("{keys:?}").contains("geheim"));
        let other = KeyFile { profile: "other".into(), ..file };
        *other.read.lock().unwrap() = None;
        assert!(other.keys().unwrap_err().contains("other"));
    }

    #[test]
    fn a_data_folder_stays_with_its_store() {
        let parent = tempfile::tempdir().unwrap();
        let folder = Folder::open(&parent.path().join("a")).unwrap();
        assert!(check_place(&folder, None).is_ok() && check_place(&folder, Some("s3://one")).is_ok());
        std::fs::write(folder.objects().join("x"), "").unwrap();
        let error = check_place(&folder, Some("s3://one")).unwrap_err();
        assert!(error.to_string().contains("/objects, and the settings say s3://one"), "{error}");
        std::fs::remove_file(folder.objects().join("x")).unwrap();
        mark_place(&folder, "s3://one").unwrap();
        mark_place(&folder, "s3://two").unwrap();
        assert!(check_place(&folder, Some("s3://one")).is_ok());
        for url in [None, Some("s3://two")] {
            let error = check_place(&folder, url).unwrap_err();
            assert!(error.to_string().contains("works with the store s3://one"), "{error}");
            assert!(error.next_step().contains("store.url"));
        }
    }
}
