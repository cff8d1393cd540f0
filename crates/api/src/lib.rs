//! godwit-api
