//! The material of keys: in the store, wrapped under the master key.

use super::Images;
use async_trait::async_trait;
use godwit_blocks::store::BlockStore;
use godwit_control::KeyStore;
use godwit_model::failure::Failure;
use godwit_model::id::KeyId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Keys of one store.
pub struct Keys {
    store: BlockStore,
    images: Arc<Images>,
}

impl Keys {
    /// Those of `store`, which `images` reads with.
    pub fn new(store: BlockStore, images: Arc<Images>) -> Self {
        Self { store, images }
    }
}

#[async_trait]
impl KeyStore for Keys {
    async fn make(&self, key: &KeyId, version: u32) -> Result<(), Failure> {
        self.store.make_key(key, version).await
    }

    async fn all(&self) -> Result<BTreeMap<KeyId, u32>, Failure> {
        self.store.all_keys().await
    }

    fn set_enabled(&self, key: &KeyId, enabled: bool) {
        self.store.set_key_enabled(key, enabled);
        if !enabled {
            // They hold what the key ring has just forgotten.
            self.images.let_go();
        }
    }
}
