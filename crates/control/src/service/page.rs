//! Lists in pages: an opaque token says where the next page begins.

use super::{Answer, ServiceError};
use crate::hex;
use crate::store::{After, StoreError};
use godwit_model::id::ParseIdError;
use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::str::FromStr;

/// Items per page if the caller does not say.
pub const DEFAULT_PAGE: usize = 50;

/// Items per page at most, however many are asked for: an answer stays small enough to be built in memory.
pub const LONGEST_PAGE: usize = 1_000;

/// Longest token that is looked at, far above those that we give out.
const LONGEST_TOKEN: usize = 512;

/// Which part of a list.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Page {
    /// `nextToken` of the page before; `None` for the first.
    pub token: Option<String>,
    /// `maxResults`: how many items at most.
    pub limit: Option<i64>,
}

/// One page of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Paged<T> {
    /// The items.
    pub items: Vec<T>,
    /// Token of the next page; `None` on the last.
    pub next: Option<String>,
}

impl<T> Paged<T> {
    /// The same page of other things.
    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Paged<U> {
        Paged { items: self.items.into_iter().map(f).collect(), next: self.next }
    }
}

impl Page {
    /// The same part of a list whose pages are no longer than this.
    pub(super) fn at_most(&self, most: i64) -> Page {
        Page { token: self.token.clone(), limit: self.limit.map(|limit| limit.min(most)) }
    }

    /// Refuses what a list called `list` would refuse.
    pub(super) fn check(&self, list: &str) -> Answer<()> {
        self.size().and(self.position(list)).map(|_| ())
    }

    /// How many items the caller gets at most.
    fn size(&self) -> Answer<usize> {
        match self.limit {
            None => Ok(DEFAULT_PAGE),
            Some(n) if n < 1 => {
                Err(ServiceError::invalid(format!("maxResults is {n}: give a number from 1 to {LONGEST_PAGE}")))
            }
            Some(n) => Ok(usize::try_from(n).unwrap_or(LONGEST_PAGE).min(LONGEST_PAGE)),
        }
    }

    /// Where to go on in the list called `list`.
    fn position(&self, list: &str) -> Answer<Option<After>> {
        let Some(token) = &self.token else { return Ok(None) };
        let refused = || ServiceError::invalid("nextToken is not one that this list gave out: start again without it");
        let text = decode(token).ok_or_else(refused)?;
        let mut parts = text.splitn(3, '/');
        let (Some(name), Some(key), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(refused());
        };
        if name != list {
            return Err(refused());
        }
        Ok(Some(After { key: key.parse().map_err(|_| refused())?, id: id.to_owned() }))
    }
}

/// A page of the list called `list`. `read` gives rows behind a place, up to a number; `at` says where a row is: its
/// sort key and id.
pub(crate) async fn paged<T, F>(
    page: &Page,
    list: &str,
    read: impl FnOnce(Option<After>, usize) -> F,
    at: impl Fn(&T) -> (i64, String),
) -> Answer<Paged<T>>
where
    F: Future<Output = Result<Vec<T>, StoreError>>,
{
    let size = page.size()?;
    // One more than the page holds: so it shows whether there is a next one.
    let rows = read(page.position(list)?, size + 1).await?;
    Ok(cut(rows, size, list, at))
}

/// Cuts `rows` (fetched with one more than `size`) to a page of the list called `list`.
fn cut<T>(mut rows: Vec<T>, size: usize, list: &str, at: impl Fn(&T) -> (i64, String)) -> Paged<T> {
    let more = rows.len() > size;
    rows.truncate(size);
    let next = rows.last().filter(|_| more).map(|last| {
        let (key, id) = at(last);
        encode(&format!("{list}/{key}/{id}"))
    });
    Paged { items: rows, next }
}

/// Exactly the things with these ids, in their order and on one page of the list called `list`. One that does not exist
/// is refused. `read` gives those that exist, all at once.
pub(crate) async fn only<I, T>(
    ids: &[String],
    noun: &str,
    list: &str,
    page: &Page,
    read: impl AsyncFnOnce(&[I]) -> Result<HashMap<I, T>, StoreError>,
) -> Answer<Paged<T>>
where
    I: FromStr<Err = ParseIdError> + Display + Eq + Hash,
    T: Clone,
{
    page.check(list)?;
    if ids.len() > LONGEST_PAGE {
        return Err(ServiceError::invalid(format!("{} ids at once: give at most {LONGEST_PAGE}", ids.len())));
    }
    let ids: Vec<I> = ids.iter().map(|id| id.parse()).collect::<Result<_, _>>()?;
    let found = read(&ids).await?;
    let unknown = |id: &I| ServiceError::invalid(format!("there is no {noun} {id}"));
    let items = ids.iter().map(|id| found.get(id).cloned().ok_or_else(|| unknown(id)));
    Ok(Paged { items: items.collect::<Answer<_>>()?, next: None })
}

fn encode(text: &str) -> String {
    hex::encode(text.as_bytes())
}

fn decode(token: &str) -> Option<String> {
    if token.len() > LONGEST_TOKEN {
        return None;
    }
    String::from_utf8(hex::decode(token)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use godwit_model::id::ServerId;
    use proptest::prelude::*;

    fn walk(n: usize, size: usize) -> Vec<usize> {
        let mut seen = Vec::new();
        let mut page = Page { token: None, limit: Some(size as i64) };
        loop {
            let from = page.position("things").unwrap().map_or(0, |p| p.key as usize + 1);
            let rows: Vec<usize> = (from..n).take(size + 1).collect();
            let cut = cut(rows, page.size().unwrap(), "things", |i| (*i as i64, i.to_string()));
            seen.extend(cut.items);
            match cut.next {
                None => return seen,
                token => page.token = token,
            }
        }
    }

    proptest! {
        #[test]
        fn pages_give_every_item_once(n in 0usize..50, size in 1usize..20) {
            prop_assert_eq!(walk(n, size), (0..n).collect::<Vec<_>>());
        }

        #[test]
        fn foreign_tokens_are_refused(text in "\\PC{0,40}") {
            let page = Page { token: Some(text), limit: None };
            prop_assert!(page.position("things").is_err());
        }
    }

    #[test]
    fn a_token_of_another_list_is_refused() {
        let token = encode("jobs/1/sms-job-00000000");
        let page = Page { token: Some(token), limit: None };
        assert!(page.position("jobs").unwrap().is_some());
        assert!(page.position("runs").is_err());
    }

    #[tokio::test]
    async fn what_does_not_exist_is_named_and_refused() {
        let id = |n| format!("s-{n:08x}");
        let exist = async |ids: &[ServerId]| Ok(ids.iter().take(2).map(|id| (id.clone(), id.to_string())).collect());
        let ask = async |ids: &[String]| only(ids, "server", "servers", &Page::default(), exist).await;
        assert_eq!(ask(&[id(2), id(1), id(2)]).await.unwrap().items, [id(2), id(1), id(2)]);
        assert_eq!(ask(&[id(2), id(1), id(3)]).await.unwrap_err().message, "there is no server s-00000003");
        assert!(ask(&[id(1), "s-1".into()]).await.unwrap_err().message.contains("server id"));
        assert!(ask(&vec![id(1); LONGEST_PAGE + 1]).await.unwrap_err().message.contains("at most"));
        assert_eq!(ask(&[]).await.unwrap().items, [""; 0]);
    }

    #[test]
    fn page_sizes_below_one_are_refused_and_large_ones_cut() {
        let of = |limit| Page { token: None, limit: Some(limit) }.size();
        assert!(of(0).is_err() && of(-3).is_err());
        assert_eq!((of(1).unwrap(), of(i64::MAX).unwrap()), (1, LONGEST_PAGE));
    }
}
