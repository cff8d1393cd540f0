//! How the store speaks SQL: a statement, its values, then one verb that says what is wanted of it.
//!
//! Each verb says what was tried (`what`, for [`StoreError::database`]) and, where rows are wanted, which function
//! reads one. Statements go to [`super::Store::reader`] or, inside a transaction, to the connection of a [`super::Tx`].

use super::row::to_sql;
use super::{StoreError, at_once};
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{Any, AnyExecutor};

/// A statement with the values bound so far.
pub(super) type Statement<'q> = Query<'q, Any, AnyArguments>;

/// What was tried, in the words of [`StoreError::database`]: "cannot …".
pub(super) type What = &'static str;

/// Reads one row.
pub(super) type Read<T> = fn(&AnyRow) -> Result<T, StoreError>;

/// Where a page of a list begins: behind the row with this sort key and id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct After {
    pub key: i64,
    pub id: String,
}

/// How a list is sorted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

/// What can be wanted of a statement. The futures are declared `Send`: an `async fn` would leave that to be inferred at
/// every place that spawns, where the compiler cannot do it for any executor.
pub(super) trait Verbs<'q>: Sized + Send {
    fn statement(self) -> Statement<'q>;

    /// The row, if there is one.
    fn find<'c, T>(
        self,
        at: impl AnyExecutor<'c>,
        what: What,
        read: Read<T>,
    ) -> impl Future<Output = Result<Option<T>, StoreError>> + Send {
        async move {
            let row = at_once(self.statement().fetch_optional(at)).await.map_err(|e| StoreError::database(what, e))?;
            row.as_ref().map(read).transpose()
        }
    }

    /// The row that is always there: that it is missing is a failure of the database.
    fn one<'c, T>(
        self,
        at: impl AnyExecutor<'c>,
        what: What,
        read: Read<T>,
    ) -> impl Future<Output = Result<T, StoreError>> + Send {
        async move { read(&at_once(self.statement().fetch_one(at)).await.map_err(|e| StoreError::database(what, e))?) }
    }

    /// All rows.
    fn all<'c, T>(
        self,
        at: impl AnyExecutor<'c>,
        what: What,
        read: Read<T>,
    ) -> impl Future<Output = Result<Vec<T>, StoreError>> + Send {
        async move {
            let rows = at_once(self.statement().fetch_all(at)).await.map_err(|e| StoreError::database(what, e))?;
            rows.iter().map(read).collect()
        }
    }

    /// Whether there is a row.
    fn exists<'c>(self, at: impl AnyExecutor<'c>, what: What) -> impl Future<Output = Result<bool, StoreError>> + Send {
        async move { Ok(self.find(at, what, |_| Ok(())).await?.is_some()) }
    }

    /// Changes rows; gives how many.
    fn run<'c>(self, at: impl AnyExecutor<'c>, what: What) -> impl Future<Output = Result<u64, StoreError>> + Send {
        async move {
            Ok(at_once(self.statement().execute(at)).await.map_err(|e| StoreError::database(what, e))?.rows_affected())
        }
    }

    /// Changes the one row with the id and the fence that the statement names. If there is none, the change came late.
    fn run_fenced<'c>(
        self,
        at: impl AnyExecutor<'c>,
        what: What,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move { if self.run(at, what).await? == 1 { Ok(()) } else { Err(StoreError::Stale) } }
    }

    /// Binds a page's place in a list as three values, for `… key <= $a AND (key < $a OR id < $b) … LIMIT $c` (oldest
    /// first: `>`). Written so, and not with one OR over both, an index over both columns is read from there on.
    fn page(self, after: Option<After>, order: Order, limit: usize) -> Statement<'q> {
        // On the first page no key is beyond this one.
        let key = if order == Order::NewestFirst { i64::MAX } else { i64::MIN };
        let After { key, id } = after.unwrap_or(After { key, id: String::new() });
        self.statement().bind(key).bind(id).bind(to_sql(limit))
    }
}

impl<'q> Verbs<'q> for Statement<'q> {
    fn statement(self) -> Statement<'q> {
        self
    }
}

/// The condition that `column` is `owner`, if one is given, and the value of its `$1`. Two conditions rather than
/// `($1 = '' OR column = $1)`: SQLite plans a statement before it knows the values, so it would read the whole list
/// where an index has the few rows of one owner.
pub(super) fn of<I: ToString>(column: &str, owner: Option<&I>) -> (String, String) {
    match owner {
        Some(id) => (format!("{column} = $1"), id.to_string()),
        None => ("$1 = ''".to_owned(), String::new()),
    }
}

/// Values in one statement at most. For SQLite `$7` is a name, which it looks for among all names before it: what a
/// statement costs grows with the square of their number, and beyond some hundred that is more than another statement.
pub(super) const MOST_VALUES: usize = 100;

/// `($first, …)`: places for `count` values.
pub(super) fn places(first: usize, count: usize) -> String {
    let places: Vec<String> = (first..first + count).map(|n| format!("${n}")).collect();
    format!("({})", places.join(", "))
}

/// Binds each of `values` in turn.
pub(super) fn bind_all<'q, V: ToString>(statement: Statement<'q>, values: &[V]) -> Statement<'q> {
    values.iter().fold(statement, |statement, value| statement.bind(value.to_string()))
}
