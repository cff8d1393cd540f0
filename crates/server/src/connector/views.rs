//! Points in time that are open at the moment, so that the volumes of a run share their connections.

use godwit_blocks::source::View;
use godwit_model::id::RunId;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Views kept open: one for each run that may be at work, and a few more. What does not fit is opened again.
const KEPT: usize = 4;

/// Open views, newest last.
#[derive(Default)]
pub struct Views(Mutex<VecDeque<(RunId, Arc<View>)>>);

impl Views {
    /// The open view of a run, if it shows this point in time.
    pub fn get(&self, run: &RunId, point: &str) -> Option<Arc<View>> {
        let views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        views.iter().find(|(of, view)| of == run && view.point == point).map(|(_, view)| view.clone())
    }

    /// Keeps the view of a run; an older one of the run is let go.
    pub fn put(&self, run: &RunId, view: Arc<View>) {
        let mut views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        views.retain(|(of, _)| of != run);
        if views.len() == KEPT {
            views.pop_front();
        }
        views.push_back((run.clone(), view));
    }

    /// Lets go of the view of a run.
    pub fn forget(&self, run: &RunId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _)| of != run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godwit_model::figures::Consistency;

    fn view(point: &str) -> Arc<View> {
        Arc::new(View {
            point: point.to_owned(),
            resumed: false,
            consistency: Consistency::Crash,
            volumes: vec![],
            notes: vec![],
        })
    }

    #[test]
    fn only_the_very_point_in_time_is_given() {
        let (views, run) = (Views::default(), RunId::from_bits(1));
        views.put(&run, view("a"));
        assert!(views.get(&run, "a").is_some());
        assert!(views.get(&run, "b").is_none() && views.get(&RunId::from_bits(2), "a").is_none());
        views.put(&run, view("b"));
        assert!(views.get(&run, "a").is_none() && views.get(&run, "b").is_some());
        views.forget(&run);
        assert!(views.get(&run, "b").is_none());
    }

    #[test]
    fn no_more_are_kept_than_allowed() {
        let views = Views::default();
        let runs: Vec<_> = (0..KEPT as u128 + 3).map(RunId::from_bits).collect();
        runs.iter().for_each(|run| views.put(run, view("p")));
        let kept: Vec<_> = runs.iter().filter(|run| views.get(run, "p").is_some()).collect();
        assert_eq!(kept, runs[3..].iter().collect::<Vec<_>>());
    }
}
