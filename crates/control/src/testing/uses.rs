//! What a sweep of the world tells of keys.

use super::World;
use crate::replicator::SweepOrder;
use godwit_model::failure::Code;
use godwit_model::key::{KeyUse, Purpose};

impl World {
    /// Everything is looked at, under the version that it was stored with, and rewritten under the newest.
    pub(super) fn tell_uses(&self, order: &SweepOrder<'_>, repacks: bool) {
        let state = self.look();
        for stored in state.snapshots.values() {
            let read = KeyUse::of(&stored.key, stored.key_version, Purpose::Decrypt);
            if state.disabled_keys.contains(&stored.key) {
                (order.used)(KeyUse { version: None, failure: Some(Code::KeyDisabled), ..read });
                continue;
            }
            (order.used)(read);
            if repacks {
                (order.used)(KeyUse::of(&stored.key, state.keys[&stored.key], Purpose::Encrypt));
            }
        }
    }
}
