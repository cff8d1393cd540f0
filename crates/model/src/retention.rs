//! How long things are kept that have done their work.

use crate::time::{Millis, Timestamp};

/// For how long; `None` is for ever.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// A job that is paused on failure; then it is deleted. (The seed service: four days.)
    pub paused_jobs: Option<Millis>,
    /// A deleted job in the lists, with its runs.
    pub deleted_jobs: Option<Millis>,
    /// The catalog as it was imported last; then it is EXPIRED.
    pub catalog: Option<Millis>,
}

/// What is older than this, if anything is to go at all: it has been so for `kept` or longer.
pub fn due_before(kept: Option<Millis>, now: Timestamp) -> Option<Timestamp> {
    kept.map(|kept| now - kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_for_ever_is_never_due() {
        let now = Timestamp(1_000);
        assert_eq!(due_before(None, now), None);
        assert_eq!(due_before(Some(Millis(400)), now), Some(Timestamp(600)));
        assert_eq!(due_before(Some(Millis(i64::MAX)), Timestamp(i64::MIN)), Some(Timestamp(i64::MIN)));
    }
}
