//! What people and programs can ask for: one method per operation, one file per noun.
//!
//! Purpose: check a request, write it to the store, wake the driver. Nothing here waits for a source longer than a
//! bound, nothing here replicates. Inputs hold what the caller sent, ids as texts, so that every refusal is worded in
//! one place; outputs are plain values without a hint of the wire.

mod access;
mod access_keys;
mod audit;
mod caps;
mod catalog;
mod connectors;
mod error;
mod forecasts;
mod images;
mod jobs;
mod keys;
pub(crate) mod lockout;
mod notifications;
mod page;
mod policies;
mod reads;
mod runs;
mod scrubs;
pub(crate) mod sessions;
mod settings;
mod store_uses;
mod sweeps;
mod users;

pub use access::{Secret, SecretBox, Signer};
pub use access_keys::{AccessKey, NewAccessKey};
pub use audit::AuditFilter;
pub use caps::Limits;
pub use catalog::{Catalog, ImportFailure, ImportProgress, Server, VmAddress};
pub use connectors::{ConnectionTest, Connector, ConnectorChanges, NewConnector};
pub use error::{ErrorCode, ServiceError};
pub use forecasts::{JobForecast, RunForecast};
pub use images::{
    DamagedRange, ExtentList, Image, ImageVolume, ImagesFilter, Snapshot, SnapshotsFilter, Verification,
    VerificationState,
};
pub use jobs::{Job, JobChanges, LicenseChange, NewJob};
pub use keys::{Key, NewKey};
pub use notifications::{Notification, NotificationsFilter};
pub use page::{DEFAULT_PAGE, LONGEST_PAGE, Page, Paged};
pub use policies::{PolicyChanges, Role, WrittenPolicy};
pub use runs::{Run, RunVolume, RunsFilter};
pub use scrubs::{Scrub, ScrubDescription};
pub use sessions::{NotSignedIn, Passwords, Proof, Session, SessionLimits, SignIn, SignInLink, SignedInWith};
pub use settings::{SetIn, Setting, SettingsInForce};
pub use store_uses::{StoreUse, StoreUseFilter};
pub use sweeps::{StoreDescription, Sweep, SweepPreview, SweepState};
pub use users::User;

use crate::control::Line;
use std::sync::Arc;

/// Longest single [`Service::read_image`]: long enough that what every call costs does not count, short enough to be held
/// in memory some times over.
pub const MAX_READ: u64 = 2 << 20;

/// Outcome of an operation.
pub type Answer<T> = Result<T, ServiceError>;

/// The operations. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Service {
    line: Arc<Line>,
}

impl Service {
    pub(crate) fn new(line: Arc<Line>) -> Service {
        Service { line }
    }

    #[cfg(test)]
    pub(crate) fn store(&self) -> &crate::store::Store {
        &self.line.store
    }

    /// The driver looks at the store now: for tests that move the clock.
    #[cfg(test)]
    pub(crate) fn wake(&self) {
        self.line.wake.notify_one();
    }
}
