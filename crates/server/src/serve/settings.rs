//! The settings file: what an operator may change of the service's bounds and rules. `DIR/godwit.toml` if it is there.
//!
//! Every setting has a default, so that no file is an empty file. A name that does not exist is an error and not a
//! warning: a mistyped setting would otherwise be a rule that somebody relies on and that nobody keeps.

use crate::notify::settings::Notifications;
use crate::serve::remote::{self, S3};
use godwit_control::Sweeping;
use godwit_control::audit::AuditLimits;
use godwit_control::options::Options;
use godwit_control::service::SessionLimits;
use godwit_model::job::MOST_FAILURES;
use godwit_model::retention::Retention;
use godwit_model::time::Millis;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file's name in the data folder.
const NAME: &str = "godwit.toml";

/// Longest span that may be set: beyond it, arithmetic with times would say nothing sensible.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);

/// Runs at work at the same time at most: each holds a pipeline's buffers.
const MOST_RUNS: usize = 64;

/// A round of the scrub is no shorter: it would only keep the disk busy.
const SHORTEST_SCRUB: Duration = Duration::from_secs(3_600);

/// A session that is idle lives so long at least: a page fetches again now and then.
const SHORTEST_SESSION: Duration = Duration::from_secs(60);

/// A session lives so long at most.
const LONGEST_SESSION: Duration = Duration::from_secs(30 * 86_400);

/// Audit records that are kept at least: fewer would be gone before anybody looks.
const FEWEST_RECORDS: u64 = 1_000;

/// Audit records that are kept at most: some 300 GB of them.
const MOST_RECORDS: u64 = 1_000_000_000;

/// All settings.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Replication jobs and their runs.
    pub jobs: Jobs,
    /// The server catalog.
    pub catalog: Catalog,
    /// Connectors.
    pub connectors: Connectors,
    /// How recipients are told.
    pub notifications: Notifications,
    /// The audit trail.
    pub audit: Audit,
    /// Where packs, snapshots and images are kept.
    pub store: Store,
    /// Users and their keys.
    pub access: Access,
    /// How the service is reached.
    pub server: Server,
}

/// Section `[jobs]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// Runs at work at the same time, over all jobs.
    pub max_active_runs: usize,
    /// Scheduled runs that may fail in a row before their job is paused, unless the job says otherwise.
    pub pause_after_failures: u32,
    /// How long a job that is paused on failure is kept; then it is deleted.
    pub keep_paused: Kept,
    /// How long a deleted job stays in the lists, with its runs.
    pub keep_deleted: Kept,
    /// Attempts of a stage, without progress between them, before its run fails.
    pub attempts: u32,
    /// A run that fell due while the service was down is still started if it is no later than this.
    pub late_start: Span,
}

/// Section `[catalog]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Catalog {
    /// The catalog expires so long after its last import.
    pub expires_after: Kept,
}

/// Section `[connectors]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Connectors {
    /// How often a connector is asked whether it is well.
    pub heartbeat: Span,
    /// How often a VM manager is looked through for things of ours that nothing needs.
    pub sweep_every: Span,
}

/// Section `[audit]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// How long what was done stays on record.
    pub keep: Kept,
    /// How many records are kept at most, however young.
    pub max_records: u64,
}

/// Section `[store]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// How long what no snapshot names is kept, so that runs can resume from it.
    pub staging: Span,
    /// How often the store is swept by itself; forever means never.
    pub sweep_every: Kept,
    /// A pack is repacked if at least so many percent of it are dead; 0 is never.
    pub repack_percent: u8,
    /// GiB that one sweep moves at most.
    pub repack_gib: u64,
    /// Within which time the store is looked through for rot once; forever means only on request.
    pub scrub_every: Kept,
    /// Where the objects are: `s3://BUCKET/PREFIX`; in the data folder if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// How that is reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
}

/// Section `[access]`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// How long an access key goes on when another was made in its place.
    pub key_grace: Span,
    /// How long a session of the console lives in any case.
    pub session: Span,
    /// How long it lives if nothing is asked for.
    pub session_idle: Span,
}

/// Section `[server]`.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Whether connections are encrypted.
    pub tls: Tls,
    /// PEM file of the certificate, and of those that vouch for it; an own one if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// PEM file of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Further names and addresses that an own certificate is for.
    pub names: Vec<String>,
}

/// Whether connections are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tls {
    /// If others can reach the address, or a certificate is named.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never: loopback only.
    Off,
}

/// A span of time as people write it: "90s", "5m", "12h", "7d".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub Duration);

/// How long something is kept: a [`Span`], or "forever".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Kept(pub Option<Duration>);

/// Why settings are refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The file cannot be read.
    #[error("the settings in '{}' cannot be read: {reason}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The file holds what settings cannot be.
    #[error("the settings in '{}' are not in order: {reason}", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// What, with its line.
        reason: String,
    },
}

impl SettingsError {
    /// What to do about it.
    pub fn next_step(&self) -> &'static str {
        match self {
            SettingsError::Unreadable { .. } => "give another file with --config, or leave it out",
            SettingsError::Wrong { .. } => {
                "correct that line; godwit serve --data DIR --check-config shows all settings with their values"
            }
        }
    }
}

impl Settings {
    /// The settings of `file`, which must be there; or of the data folder's file, if that is there.
    pub fn read(file: Option<&Path>, data: &Path) -> Result<Settings, SettingsError> {
        let path = file.map_or_else(|| data.join(NAME), Path::to_owned);
        match std::fs::read_to_string(&path) {
            Ok(text) => Settings::parse(&text).map_err(|reason| SettingsError::Wrong { path, reason }),
            Err(error) if error.kind() == ErrorKind::NotFound && file.is_none() => Ok(Settings::default()),
            Err(error) => Err(SettingsError::Unreadable { path, reason: error.to_string() }),
        }
    }

    fn parse(text: &str) -> Result<Settings, String> {
        let settings: Settings = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), String> {
        let within = |name: &str, value: u64, most: u64| match (1..=most).contains(&value) {
            true => Ok(()),
            false => Err(format!("{name} is {value}: give a number from 1 to {most}")),
        };
        within("jobs.max_active_runs", self.jobs.max_active_runs as u64, MOST_RUNS as u64)?;
        within("jobs.pause_after_failures", self.jobs.pause_after_failures.into(), MOST_FAILURES.into())?;
        if !(FEWEST_RECORDS..=MOST_RECORDS).contains(&self.audit.max_records) {
            let given = self.audit.max_records;
            return Err(format!("audit.max_records is {given}: give a number from {FEWEST_RECORDS} to {MOST_RECORDS}"));
        }
        within("jobs.attempts", self.jobs.attempts.into(), 100)?;
        within("store.repack_gib", self.store.repack_gib, 1 << 20)?;
        if self.store.repack_percent > 100 {
            return Err(format!("store.repack_percent is {}: give 0 to 100", self.store.repack_percent));
        }
        if self.store.scrub_every.0.is_some_and(|every| every < SHORTEST_SCRUB) {
            return Err("store.scrub_every is shorter than an hour: give 1h or more, or forever".to_owned());
        }
        remote::check(&self.store)?;
        self.notifications.check()?;
        if self.connectors.heartbeat.0 < Duration::from_secs(1) {
            return Err("connectors.heartbeat is shorter than a second: give 1s or more".to_owned());
        }
        if self.access.session_idle.0 < SHORTEST_SESSION || self.access.session.0 < self.access.session_idle.0 {
            return Err("access.session_idle must be 1m or more, and access.session no shorter than it".to_owned());
        }
        if self.access.session.0 > LONGEST_SESSION {
            return Err("access.session is longer than 30 days: give 30d or less".to_owned());
        }
        if self.server.certificate.is_some() != self.server.key.is_some() {
            return Err("server.certificate and server.key belong together: give both or none".to_owned());
        }
        if self.server.tls == Tls::Off && self.server.certificate.is_some() {
            return Err("server.tls is off, so server.certificate would not be used: leave one of them out".to_owned());
        }
        if self.connectors.sweep_every.0 < Duration::from_secs(60) {
            return Err("connectors.sweep_every is shorter than a minute: give 1m or more".to_owned());
        }
        Ok(())
    }

    /// The bounds of the decision line that follow.
    pub fn options(&self) -> Options {
        let options = Options::default();
        Options {
            max_active_runs: self.jobs.max_active_runs,
            pause_after: self.jobs.pause_after_failures,
            late_start: self.jobs.late_start.0,
            heartbeat: self.connectors.heartbeat.0,
            sweep_sources: self.connectors.sweep_every.0,
            retention: Retention {
                paused_jobs: self.jobs.keep_paused.millis(),
                deleted_jobs: self.jobs.keep_deleted.millis(),
                catalog: self.catalog.expires_after.millis(),
            },
            notify: self.notifications.options(),
            sweeping: Sweeping {
                staging: self.store.staging.millis(),
                every: self.store.sweep_every.millis(),
                repack_percent: self.store.repack_percent,
                repack_bytes: self.store.repack_gib << 30,
                ..options.sweeping
            },
            scrub_every: self.store.scrub_every.millis(),
            key_grace: self.access.key_grace.millis(),
            sessions: SessionLimits { longest: self.access.session.millis(), idle: self.access.session_idle.millis() },
            audit: AuditLimits { keep: self.audit.keep.millis(), most: self.audit.max_records },
            retry: godwit_control::options::Retry { attempts: self.jobs.attempts, ..options.retry },
            ..options
        }
    }
}

/// All settings with their values, as a file that would set them.
impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = toml::to_string(self).map_err(|_| fmt::Error)?;
        f.write_str(text.trim_end())
    }
}

impl Default for Jobs {
    fn default() -> Self {
        let options = Options::default();
        Self {
            max_active_runs: options.max_active_runs,
            pause_after_failures: options.pause_after,
            keep_paused: Kept::of(options.retention.paused_jobs),
            keep_deleted: Kept::of(options.retention.deleted_jobs),
            attempts: options.retry.attempts,
            late_start: Span(options.late_start),
        }
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self { expires_after: Kept::of(Options::default().retention.catalog) }
    }
}

impl Default for Connectors {
    fn default() -> Self {
        let options = Options::default();
        Self { heartbeat: Span(options.heartbeat), sweep_every: Span(options.sweep_sources) }
    }
}

impl Default for Store {
    fn default() -> Self {
        let sweeping = Sweeping::default();
        Self {
            staging: Span::of(sweeping.staging),
            sweep_every: Kept::of(sweeping.every),
            repack_percent: sweeping.repack_percent,
            repack_gib: sweeping.repack_bytes >> 30,
            scrub_every: Kept::of(Options::default().scrub_every),
            url: None,
            s3: None,
        }
    }
}

impl Default for Access {
    fn default() -> Self {
        let Options { key_grace, sessions, .. } = Options::default();
        Self {
            key_grace: Span::of(key_grace),
            session: Span::of(sessions.longest),
            session_idle: Span::of(sessions.idle),
        }
    }
}

impl Span {
    fn of(span: Millis) -> Span {
        Span(Duration::from_millis(u64::try_from(span.0).unwrap_or(0)))
    }

    /// For the rules of the model.
    fn millis(self) -> Millis {
        Millis(i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Default for Audit {
    fn default() -> Self {
        let AuditLimits { keep, most } = AuditLimits::default();
        Self { keep: Kept::of(keep), max_records: most }
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

    #[test]
    fn what_is_shown_is_what_is_read() {
        let settings = Settings::default();
        assert_eq!(Settings::parse(&settings.to_string()), Ok(settings));
        let remote =
            "[store]\nurl = 's3://bucket/prefix'\n[store.s3]\nendpoint = 'https://s3.example.org'\npath_style = false";
        let settings = Settings::parse(remote).unwrap();
        assert_eq!(Settings::parse(&settings.to_string()), Ok(settings));
        assert_eq!(Settings::parse(""), Ok(Settings::default()));
        assert_eq!(Settings::default().options(), Options::default());
    }

    #[test]
    fn what_is_set_is_obeyed() {
        let text = "[jobs]\nkeep_paused = '4d'\nkeep_deleted = 'forever'\npause_after_failures = 7\n[catalog]\nexpires_after = '90s'\n[audit]\nkeep = '30d'\nmax_records = 5000";
        let options = Settings::parse(text).unwrap().options();
        assert_eq!((options.pause_after, options.retention.paused_jobs), (7, Some(Millis::DAY.times(4))));
        assert_eq!(options.audit, AuditLimits { keep: Some(Millis::DAY.times(30)), most: 5_000 });
        assert_eq!((options.retention.deleted_jobs, options.retention.catalog), (None, Some(Millis(90_000))));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, words) in [
            ("[jobs]\npause_after = 3", "pause_after_failures"),
            ("[job]", "unknown field `job`"),
            ("[jobs]\nkeep_paused = 4", "line 2"),
            ("[jobs]\nkeep_paused = '4 weeks'", "or forever"),
            ("[jobs]\nlate_start = '-5m'", "span of time"),
            ("[jobs]\nkeep_deleted = '99999d'", "hundred years"),
            ("[jobs]\nmax_active_runs = 0", "1 to 64"),
            ("[store]\nscrub_every = '5m'", "shorter than an hour"),
            ("[jobs]\npause_after_failures = 101", "1 to 100"),
            ("[audit]\nmax_records = 10", "1000 to"),
            ("[connectors]\nheartbeat = '0s'", "shorter than a second"),
            ("[connectors]\nsweep_every = '59s'", "shorter than a minute"),
            ("[store]\nrepack_percent = 101", "0 to 100"),
            ("[store]\nrepack_gib = 0", "1 to"),
            ("[store]\nurl = 'bucket'", "s3://BUCKET"),
            ("[store]\nurl = 's3://bucket'\n[store.s3]\nendpoint = 'http://10.0.0.1'", "no TLS"),
            ("jobs", "line 1"),
        ] {
            let error = Settings::parse(text).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn a_named_file_must_be_there_and_the_usual_one_need_not() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Settings::read(None, folder.path()), Ok(Settings::default()));
        let missing = folder.path().join("other.toml");
        assert!(matches!(Settings::read(Some(&missing), folder.path()), Err(SettingsError::Unreadable { .. })));
        std::fs::write(folder.path().join(NAME), "[jobs]\nattempts = 9").unwrap();
        assert_eq!(Settings::read(None, folder.path()).unwrap().jobs.attempts, 9);
        std::fs::write(folder.path().join(NAME), "[jobs]\nattempts = ?").unwrap();
        let error = Settings::read(None, folder.path()).unwrap_err();
        assert!(error.to_string().contains(NAME) && error.next_step().contains("--check-config"), "{error}");
    }

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
