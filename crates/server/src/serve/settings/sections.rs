//! The sections of the settings file and their defaults, which are those of the decision line.

use super::section::section;
use super::span::{Kept, Span};
use crate::serve::remote::S3;
use godwit_control::Sweeping;
use godwit_control::audit::AuditLimits;
use godwit_control::options::Options;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

section! {
    /// Section `[jobs]`.
    #[serde(deny_unknown_fields, default)]
    pub struct Jobs in "jobs" {
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
}

section! {
    /// Section `[catalog]`.
    #[serde(deny_unknown_fields, default)]
    pub struct Catalog in "catalog" {
        /// The catalog expires so long after its last import.
        pub expires_after: Kept,
    }
}

section! {
    /// Section `[connectors]`.
    #[serde(deny_unknown_fields, default)]
    pub struct Connectors in "connectors" {
        /// How often a connector is asked whether it is well.
        pub heartbeat: Span,
        /// How often a VM manager is looked through for things of ours that nothing needs.
        pub sweep_every: Span,
    }
}

section! {
    /// Section `[audit]`.
    #[serde(deny_unknown_fields, default)]
    pub struct Audit in "audit" {
        /// How long what was done stays on record.
        pub keep: Kept,
        /// How many records are kept at most, however young.
        pub max_records: u64,
    }
}

section! {
    /// Section `[store]`.
    #[serde(deny_unknown_fields, default)]
    pub struct Store in "store" {
        /// How long what no snapshot names is kept, so that runs can resume from it.
        pub staging: Span,
        /// How often the store is swept by itself; forever means only on request.
        pub sweep_every: Kept,
        /// A pack is repacked if at least so many percent of it are dead; 0 is never.
        pub repack_percent: u8,
        /// GiB that one sweep moves at most.
        pub repack_gib: u64,
        /// Within which time the store is looked through for rot once; forever means only on request.
        pub scrub_every: Kept,
        /// Where the objects are: s3://BUCKET/PREFIX; in the data folder if nothing is said.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub url: Option<String>,
        /// How that is reached.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub s3: Option<S3>,
    }
}

section! {
    /// Section `[access]`.
    #[serde(deny_unknown_fields, default)]
    pub struct Access in "access" {
        /// How long an access key goes on when another was made in its place.
        pub key_grace: Span,
        /// How long a session of the console lives in any case.
        pub session: Span,
        /// How long a session of the console lives if nothing is asked for.
        pub session_idle: Span,
    }
}

section! {
    /// Section `[server]`.
    #[serde(deny_unknown_fields, default)]
    #[derive(Default)]
    pub struct Server in "server" {
        /// Whether connections are encrypted.
        pub tls: Tls,
        /// PEM file of the certificate, and of those that vouch for it; an own one if nothing is said.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub certificate: Option<PathBuf>,
        /// PEM file of the certificate's key.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub key: Option<PathBuf>,
        /// Further names and addresses that an own certificate is for.
        pub names: Vec<String>,
    }
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

impl Default for Audit {
    fn default() -> Self {
        let AuditLimits { keep, most } = AuditLimits::default();
        Self { keep: Kept::of(keep), max_records: most }
    }
}
