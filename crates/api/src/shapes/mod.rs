//! What goes over the wire: requests and answers as structures, and the rules that requests obey.
//!
//! The shapes of the SMS API are generated from the public service model (tools/shapes); [`godwit`] holds those of our
//! own operations, by hand and in the same manner. All of them work in both directions, so that the command line uses
//! the very same types. Inner types never appear here: `calls` converts.

pub mod answers;
pub mod app_enums;
pub mod app_structures;
pub mod enums;
pub mod epoch;
pub mod godwit;
pub mod operations;
pub mod requests;
pub mod rule;
pub mod rules;
pub mod session;
pub mod structures;
