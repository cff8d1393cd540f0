//! The settings file: what an operator may change of the service's bounds and rules. `DIR/godwit.toml` if it is there.
//!
//! Every setting has a default, so that no file is an empty file. A name that does not exist is an error and not a
//! warning: a mistyped setting would otherwise be a rule that somebody relies on and that nobody keeps.

mod section;
mod sections;
mod span;
mod told;

pub(crate) use section::{Member, section};
pub use sections::{Access, Audit, Catalog, Connectors, Jobs, Server, Store, Tls};
pub use span::{Kept, Span};
pub use told::{OnCommandLine, in_force};

use crate::notify::settings::{Notifications, Smtp};
use crate::serve::remote::{self, S3};
use godwit_control::Sweeping;
use godwit_control::audit::AuditLimits;
use godwit_control::options::Options;
use godwit_control::service::SessionLimits;
use godwit_model::job::MOST_FAILURES;
use godwit_model::retention::Retention;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The file's name in the data folder.
const NAME: &str = "godwit.toml";

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

macro_rules! settings {
    ($($(#[doc = $doc:literal])* pub $field:ident: $type:ty,)*) => {
        /// All settings.
        #[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Settings {
            $($(#[doc = $doc])* pub $field: $type,)*
        }

        /// Sections that are not in another one.
        const OUTER: &[&[Member]] = &[$(<$type>::MEMBERS,)*];
    };
}

settings! {
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

/// Sections that are in another one, by their full names.
const INNER: &[(&str, &[Member])] = &[("notifications.smtp", Smtp::MEMBERS), ("store.s3", S3::MEMBERS)];

/// Where the settings were read from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsFile {
    /// The file.
    pub path: PathBuf,
    /// Whether it was there.
    pub exists: bool,
    /// What it sets, by full name.
    pub names: BTreeSet<String>,
}

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
    pub fn read(file: Option<&Path>, data: &Path) -> Result<(Settings, SettingsFile), SettingsError> {
        let path = file.map_or_else(|| data.join(NAME), Path::to_owned);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == ErrorKind::NotFound && file.is_none() => None,
            Err(error) => return Err(SettingsError::Unreadable { path, reason: error.to_string() }),
        };
        let written = text.as_deref().unwrap_or_default();
        let settings = match Settings::parse(written) {
            Ok(settings) => settings,
            Err(reason) => return Err(SettingsError::Wrong { path, reason }),
        };
        Ok((settings, SettingsFile { path, exists: text.is_some(), names: told::names_in(written) }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use godwit_model::time::Millis;

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
        let (settings, file) = Settings::read(None, folder.path()).unwrap();
        assert_eq!((settings, file.exists, file.names.len()), (Settings::default(), false, 0));
        assert_eq!(file.path, folder.path().join(NAME));
        let missing = folder.path().join("other.toml");
        assert!(matches!(Settings::read(Some(&missing), folder.path()), Err(SettingsError::Unreadable { .. })));
        std::fs::write(folder.path().join(NAME), "[jobs]\nattempts = 9").unwrap();
        let (settings, file) = Settings::read(None, folder.path()).unwrap();
        assert_eq!((settings.jobs.attempts, file.exists), (9, true));
        assert_eq!(file.names.into_iter().collect::<Vec<_>>(), ["jobs.attempts"]);
        std::fs::write(folder.path().join(NAME), "[jobs]\nattempts = ?").unwrap();
        let error = Settings::read(None, folder.path()).unwrap_err();
        assert!(error.to_string().contains(NAME) && error.next_step().contains("--check-config"), "{error}");
    }
}
