//! The API from outside: signatures, shapes, and requests through the router in process.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails, in the functions that tests share too")]

mod access;
mod audit;
mod bounds;
mod calls;
mod connectors;
mod console;
mod forecasts;
mod limits;
mod log;
mod notifications;
mod oracle;
mod scene;
mod settings;
mod shapes;
mod sigv4;
mod store;
