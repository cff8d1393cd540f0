//! How an import of the catalog goes, connector by connector. Held in memory: after a restart the import that was at
//! work begins anew, and of the last one the catalog itself is left.

use crate::changes::{Changes, Kind, Kinds};
use crate::service::Connector;
use godwit_model::failure::Failure;
use godwit_model::id::ConnectorId;
use godwit_model::time::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Failures that are kept by connector and sentence; more are only counted. What is wrong with so many is rarely wrong
/// with one alone, and every page of the list of servers carries them.
const MOST_FAILURES: usize = 50;

/// How an import of the catalog goes, or went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportProgress {
    /// When it began.
    pub began_at: Timestamp,
    /// When it ended; `None` while it is at work.
    pub ended_at: Option<Timestamp>,
    /// Connectors that are asked.
    pub connectors: u64,
    /// Of these, those that have answered.
    pub answered: u64,
    /// Those that gave no servers.
    pub failed: u64,
    /// Why they did not, in the order in which it was known; the first ones only if they are very many.
    pub failures: Vec<ImportFailure>,
    /// Servers that are listed so far.
    pub servers: u64,
}

/// A connector that gave no servers to an import.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportFailure {
    /// Which.
    pub connector: ConnectorId,
    /// What people call it.
    pub name: String,
    /// Why, and what to do.
    pub reason: String,
}

/// The import that is at work, or else the last one.
#[derive(Default)]
pub(crate) struct Imports {
    /// With its number, by which an import that was overtaken is known.
    last: Mutex<Option<(i64, ImportProgress)>>,
    /// What only moves in memory is told from here.
    changes: Changes,
}

impl Imports {
    /// None yet; what comes is told to those who listen to `changes`.
    pub fn telling(changes: Changes) -> Imports {
        Imports { changes, ..Imports::default() }
    }

    /// How the import of this number goes or went. Another number means that the catalog was cleared since, or that the
    /// next import is wanted and has not begun: then what the last one found is of no interest any more.
    pub fn of(&self, number: i64) -> Option<ImportProgress> {
        self.lock().as_ref().filter(|(last, _)| *last == number).map(|(_, progress)| progress.clone())
    }

    /// An import asks so many connectors.
    pub fn begin(&self, number: i64, connectors: u64, now: Timestamp) {
        *self.lock() = Some((
            number,
            ImportProgress {
                began_at: now,
                ended_at: None,
                connectors,
                answered: 0,
                failed: 0,
                failures: Vec::new(),
                servers: 0,
            },
        ));
        self.changes.tell(Kinds::of(Kind::Catalog));
    }

    /// A connector has answered, and so many of its servers are listed.
    pub fn answered(&self, number: i64, servers: u64) {
        self.change(number, |progress| {
            progress.answered += 1;
            progress.servers += servers;
        });
    }

    /// A connector gave no servers.
    pub fn failed(&self, number: i64, connector: &Connector, failure: &Failure) {
        self.change(number, |progress| {
            progress.failed += 1;
            if progress.failures.len() < MOST_FAILURES {
                let (connector, name) = (connector.id.clone(), connector.name.clone());
                progress.failures.push(ImportFailure { connector, name, reason: failure.message() });
            }
        });
    }

    /// It is done.
    pub fn ended(&self, number: i64, now: Timestamp) {
        self.change(number, |progress| progress.ended_at = Some(now));
    }

    /// Changes the import of this number, unless another one has begun since.
    fn change(&self, number: i64, how: impl FnOnce(&mut ImportProgress)) {
        match &mut *self.lock() {
            Some((last, progress)) if *last == number => how(progress),
            _ => return,
        }
        self.changes.tell(Kinds::of(Kind::Catalog));
    }

    fn lock(&self) -> MutexGuard<'_, Option<(i64, ImportProgress)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use godwit_model::connector::{ConnectorConfig, ConnectorStatus};
    use godwit_model::failure::Code;

    const NOW: Timestamp = Timestamp(7);

    fn connector(n: u128) -> Connector {
        Connector {
            id: ConnectorId::from_bits(n),
            name: format!("rack{n}"),
            config: ConnectorConfig::Qmp { socket: "/run/qmp".into() },
            status: ConnectorStatus::Healthy,
            status_reason: None,
            manager_id: "m".into(),
            manager_name: "m".into(),
            manager_version: "1".into(),
            associated_at: NOW,
            last_contact_at: NOW,
            cap: None,
        }
    }

    #[test]
    fn every_connector_is_counted_as_it_is_heard_of_and_each_step_is_told() {
        let changes = Changes::default();
        let heard = changes.listen();
        let imports = Imports::telling(changes);
        assert_eq!(imports.of(1), None);
        imports.begin(1, 3, NOW);
        imports.answered(1, 4);
        imports.failed(1, &connector(2), &Failure::new(Code::SourceUnreachable, "nobody answers"));
        let at_work = imports.of(1).unwrap();
        assert_eq!((at_work.connectors, at_work.answered, at_work.failed, at_work.servers), (3, 1, 1, 4));
        assert_eq!((at_work.failures[0].name.as_str(), at_work.ended_at), ("rack2", None));
        assert!(at_work.failures[0].reason.contains("nobody answers"), "{at_work:?}");
        imports.answered(1, 0);
        imports.ended(1, Timestamp(9));
        assert_eq!(imports.of(1).unwrap().ended_at, Some(Timestamp(9)));
        assert_eq!((heard.borrow().last, heard.borrow().since(0)), (5, vec![Kind::Catalog]));
    }

    #[test]
    fn an_import_that_was_overtaken_says_nothing_any_more() {
        let imports = Imports::default();
        imports.begin(1, 2, NOW);
        imports.answered(1, 4);
        assert_eq!(imports.of(2), None, "cleared, or the next one has not begun");
        imports.begin(3, 2, NOW);
        imports.answered(1, 4);
        imports.ended(1, NOW);
        assert_eq!(imports.of(1), None);
        let present = imports.of(3).unwrap();
        assert_eq!((present.answered, present.servers, present.ended_at), (0, 0, None));
    }

    #[test]
    fn very_many_failures_are_counted_and_the_first_ones_kept() {
        let imports = Imports::default();
        imports.begin(1, 60, NOW);
        for n in 0..60 {
            imports.failed(1, &connector(n), &Failure::new(Code::TimedOut, "no answer"));
        }
        let progress = imports.of(1).unwrap();
        assert_eq!((progress.failed, progress.failures.len()), (60, MOST_FAILURES));
        assert_eq!(progress.failures[0].connector, connector(0).id);
    }
}
