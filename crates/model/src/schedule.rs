//! What is due, decided from values alone.
