//! End-to-end scenarios: the real `godwit` binary, real QEMU processes, clients that other people wrote.
//!
//! Everything is started in temporary folders on loopback addresses and unix sockets, and ended when a test ends,
//! however it ends. What the scenarios need beside this repository is installed by `./dev test`; without it they fail
//! and say what is missing.

#![allow(clippy::disallowed_methods, reason = "scenarios live in real time and in a real environment")]

mod bad_input;
mod caps;
mod clients;
mod console;
mod daemon;
mod deletion;
mod disclosure;
mod equal;
mod first_copy;
mod forecast;
mod guest;
mod incremental;
mod instant_boot;
mod keys;
mod liar;
mod memory;
mod notifications;
mod object_store;
mod relay;
mod resume;
mod rot;
#[path = "../../../blocks/tests/objects/seaweed.rs"]
#[expect(dead_code, reason = "what only the tests of object stores need")]
mod seaweed;
mod service;
mod staging;
mod testbed;
