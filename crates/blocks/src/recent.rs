//! A small cache of what was used last.

use std::collections::VecDeque;

/// Keeps the `limit` values that were used last. Searched linearly: meant for a few dozen entries at most.
pub(crate) struct Recent<K, V> {
    entries: VecDeque<(K, V)>,
    limit: usize,
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    /// An empty cache.
    pub(crate) fn new(limit: usize) -> Self {
        Self { entries: VecDeque::with_capacity(limit), limit }
    }

    /// The value of `key`, which thereby becomes the last used.
    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        let at = self.entries.iter().position(|(k, _)| k == key)?;
        let entry = self.entries.remove(at)?;
        let value = entry.1.clone();
        self.entries.push_front(entry);
        Some(value)
    }

    /// What is kept, without counting as use.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.entries.iter().map(|(_, value)| value)
    }

    /// Drops the value of `key`.
    pub(crate) fn remove(&mut self, key: &K) {
        self.entries.retain(|(k, _)| k != key);
    }

    /// Keeps `value`; what was not used for longest goes.
    pub(crate) fn put(&mut self, key: K, value: V) {
        self.entries.retain(|(k, _)| *k != key);
        self.entries.truncate(self.limit.saturating_sub(1));
        self.entries.push_front((key, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_used_goes_first() {
        let mut cache = Recent::new(2);
        cache.put(1, "a");
        cache.put(2, "b");
        assert_eq!(cache.get(&1), Some("a"));
        cache.put(3, "c");
        assert_eq!((cache.get(&1), cache.get(&2), cache.get(&3)), (Some("a"), None, Some("c")));
        cache.put(1, "d");
        assert_eq!((cache.get(&1), cache.get(&3)), (Some("d"), Some("c")));
    }
}
