//! How many streams of changes there are: each holds a connection for as long as a page is open.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Of one session: tabs share one, but a page that is left may keep it for a moment.
const MOST_OF_SESSION: usize = 4;

/// Of all together: the service has 128 connections, and calls need some, too.
const MOST: usize = 48;

/// Counts streams.
#[derive(Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<String, usize>>>);

/// The right to be one of the streams. Given back when it is dropped.
pub(crate) struct Place {
    streams: Streams,
    session: String,
}

impl Streams {
    /// A place for one more stream of a session.
    pub fn place(&self, session: &str) -> Option<Place> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.values().sum::<usize>() >= MOST {
            return None;
        }
        let of_session = all.entry(session.to_owned()).or_default();
        if *of_session >= MOST_OF_SESSION {
            return None;
        }
        *of_session += 1;
        Some(Place { streams: self.clone(), session: session.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.streams.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_session) = all.get_mut(&self.session) {
            *of_session -= 1;
            if *of_session == 0 {
                all.remove(&self.session);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_given_back() {
        let streams = Streams::default();
        let mut places: Vec<_> = (0..MOST_OF_SESSION).map(|_| streams.place("a").unwrap()).collect();
        assert!(streams.place("a").is_none());
        places.pop();
        places.push(streams.place("a").unwrap());
        let others: Vec<_> = (0..MOST).map_while(|n| streams.place(&n.to_string())).collect();
        assert_eq!(places.len() + others.len(), MOST);
        drop((places, others));
        assert!(streams.0.lock().unwrap().is_empty(), "nothing is remembered of sessions without streams");
    }
}
