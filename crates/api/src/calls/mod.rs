//! Between the wire's types and the inner ones: one file per noun, one function per operation.
//!
//! Each function takes the request as the wire has it, calls the service, and gives the answer as the wire wants it.
//! No rule lives here: what may be asked for is said by the tables of `shapes` and by the service.

pub mod audit;
pub mod connectors;
pub mod forecasts;
pub mod images;
pub mod jobs;
pub mod keys;
pub mod limits;
pub mod notifications;
pub mod policies;
pub mod runs;
pub mod scrub;
pub mod servers;
pub mod settings;
pub mod snapshots;
pub mod store;
pub mod users;

use crate::errors::ApiError;
use godwit_control::service::Page;

type Outcome<T> = Result<T, ApiError>;

fn page(token: Option<String>, limit: Option<i32>) -> Page {
    Page { token, limit: limit.map(i64::from) }
}

/// A count as the service takes it. The rules of the request bound it by the largest signed number.
fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
