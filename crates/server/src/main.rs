//! `godwit`: the service and its command line in one binary.

mod cli;
mod client;
mod connector;
mod credentials;
mod notify;
mod outside;
mod serve;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run()
}
