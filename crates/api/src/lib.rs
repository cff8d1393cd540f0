//! AWS JSON 1.1 at `POST /`: the outer ring through which people and programs ask for things.
//!
//! Purpose: turn a signed HTTP request into a call of [`godwit_control::service::Service`], and its outcome into an
//! answer that unmodified AWS clients understand.
//!
//! Flow: [`router`] receives → [`sigv4`] finds out who asks → [`wire`] reads target and JSON → [`operations`] checks
//! the request against the rules of its operation and calls it → `calls` converts between the wire's types and the
//! inner ones → [`wire`] writes the answer, or [`errors`] gives the refusal its code.
//!
//! The console proves who asks by a session instead of a signature (`console`), and calls the same operations.
//!
//! Invariants: no state is kept here; inner types are not the wire's types ([`shapes`]); nothing of a request is
//! looked at before its signature is proven, other than what the signature needs; no parameter of a request is logged,
//! and every call of a proven caller is on record (`audit`) with none that is secret;
//! what all callers together can make the process hold is bounded ([`Bounds`]).

mod audit;
#[cfg(test)]
mod bindings;
mod bounds;
mod calls;
mod console;
pub mod errors;
pub mod operations;
mod router;
pub mod shapes;
pub mod sigv4;
pub mod wire;

pub use audit::Peer;
pub use bounds::Bounds;
pub use console::Encrypted;
pub use router::{ApiState, router};

/// The program's version, as it is told.
const VERSION: &str = env!("CARGO_PKG_VERSION");
