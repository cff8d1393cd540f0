//! godwit-sources
