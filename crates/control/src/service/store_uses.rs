//! The use of the store over time.

use super::{Answer, Service, ServiceError};
use crate::store_use;
use godwit_model::store_use::{Sample, evenly};
use godwit_model::time::{Millis, Timestamp};

/// Samples that are given unless somebody wants more or fewer.
const USUAL: i64 = 500;

/// Samples that are given at most: more than a screen has columns.
const MOST: i64 = 2_000;

/// Which samples are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct StoreUseFilter {
    /// Not before this.
    pub from: Option<Timestamp>,
    /// Not behind this.
    pub to: Option<Timestamp>,
    /// How many at most.
    pub most: Option<i64>,
}

/// What the store held over time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoreUse {
    /// Samples, oldest first.
    pub samples: Vec<Sample>,
    /// How many there are of that time in all.
    pub taken: usize,
    /// Time between two of them at most; `None`: none are taken.
    pub every: Option<Millis>,
    /// When the next one is due.
    pub next: Option<Timestamp>,
}

impl Service {
    /// `DescribeStoreUse`: the samples of a span of time, thinned evenly if there are too many; the first and the last one
    /// are always among them.
    pub async fn describe_store_use(&self, filter: &StoreUseFilter) -> Answer<StoreUse> {
        let (from, to) = (filter.from.unwrap_or(Timestamp(i64::MIN)), filter.to.unwrap_or(Timestamp(i64::MAX)));
        if from > to {
            return Err(ServiceError::invalid("from is later than to: give them in the order of time"));
        }
        let most = filter.most.unwrap_or(USUAL);
        if !(2..=MOST).contains(&most) {
            return Err(ServiceError::invalid(format!("maxPoints is {most}: give a number from 2 to {MOST}")));
        }
        let all = self.line.store.samples(from, to).await?;
        let samples = evenly(all.len(), usize::try_from(most).unwrap_or(2)).into_iter().map(|n| all[n]).collect();
        let next = store_use::wanted(&self.line).await?;
        Ok(StoreUse { samples, taken: all.len(), every: self.line.options.sampling.every, next })
    }
}
