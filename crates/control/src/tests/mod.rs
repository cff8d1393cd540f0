//! The decision line as a whole, on a real database, against a world in memory.

mod access;
mod audit;
mod caps;
mod connectors;
mod damage;
mod failures;
mod forecasts;
mod jobs;
mod key_uses;
mod keys;
mod kill;
mod life;
mod look;
mod notifications;
mod pause;
mod requests;
mod retention;
mod scrub;
mod sessions;
mod store;
mod store_use;
mod sweeps;
mod trouble;
