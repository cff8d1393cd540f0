//! Columns to values, in one place: what a row holds is checked when it is read.

use super::StoreError;
use godwit_model::time::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;
use sqlx::{ColumnIndex, Row};
use std::str::FromStr;

/// A row being read.
pub(crate) struct Fields<'r>(pub &'r AnyRow);

impl Fields<'_> {
    pub fn text(&self, column: &'static str) -> Result<String, StoreError> {
        self.get(column)
    }

    pub fn opt_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        self.get(column)
    }

    pub fn int(&self, column: &'static str) -> Result<i64, StoreError> {
        self.get(column)
    }

    pub fn opt_int(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        self.get(column)
    }

    /// A number of a narrower or unsigned type.
    pub fn number<N: TryFrom<i64>>(&self, column: &'static str) -> Result<N, StoreError> {
        fit(column, self.int(column)?)
    }

    pub fn opt_number<N: TryFrom<i64>>(&self, column: &'static str) -> Result<Option<N>, StoreError> {
        self.opt_int(column)?.map(|n| fit(column, n)).transpose()
    }

    pub fn truth(&self, column: &'static str) -> Result<bool, StoreError> {
        Ok(self.int(column)? != 0)
    }

    pub fn time(&self, column: &'static str) -> Result<Timestamp, StoreError> {
        Ok(Timestamp(self.int(column)?))
    }

    pub fn opt_time(&self, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.opt_int(column)?.map(Timestamp))
    }

    /// A typed id.
    pub fn id<I: FromStr>(&self, column: &'static str) -> Result<I, StoreError> {
        let text = self.text(column)?;
        text.parse().map_err(|_| StoreError::unreadable(column, text))
    }

    pub fn opt_id<I: FromStr>(&self, column: &'static str) -> Result<Option<I>, StoreError> {
        self.opt_text(column)?.map(|text| text.parse().map_err(|_| StoreError::unreadable(column, text))).transpose()
    }

    /// A name of a closed set.
    pub fn name<T>(&self, column: &'static str, parse: fn(&str) -> Option<T>) -> Result<T, StoreError> {
        let text = self.text(column)?;
        parse(&text).ok_or_else(|| StoreError::unreadable(column, text))
    }

    pub fn opt_name<T>(&self, column: &'static str, parse: fn(&str) -> Option<T>) -> Result<Option<T>, StoreError> {
        self.opt_text(column)?.map(|text| parse(&text).ok_or_else(|| StoreError::unreadable(column, text))).transpose()
    }

    pub fn json<T: DeserializeOwned>(&self, column: &'static str) -> Result<T, StoreError> {
        let text = self.text(column)?;
        serde_json::from_str(&text).map_err(|_| StoreError::unreadable(column, text))
    }

    fn get<'r, T>(&'r self, column: &'static str) -> Result<T, StoreError>
    where
        T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
        &'static str: ColumnIndex<AnyRow>,
    {
        self.0.try_get(column).map_err(|e| StoreError::database("read a column", e))
    }
}

fn fit<N: TryFrom<i64>>(column: &'static str, n: i64) -> Result<N, StoreError> {
    N::try_from(n).map_err(|_| StoreError::unreadable(column, n.to_string()))
}

/// A value as JSON text.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("values of ours have string keys and no failing serialiser")
}

/// A number of bytes, rows or places as SQL knows it. Sizes beyond 8 EiB do not exist.
pub(crate) fn to_sql(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
