//! The decision line as a whole, on a real database, against a world in memory.

mod damage;
mod jobs;
mod keys;
mod kill;
mod life;
mod pause;
mod requests;
mod retention;
mod store;
mod trouble;
