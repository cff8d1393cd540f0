//! `godwit serve`: config → bind → build → listen → signal → drain with a deadline.

mod administrator;
pub mod allocator;
mod app;
pub mod config;
pub mod folder;
mod listen;
pub mod master;
pub mod remote;
mod secrets;
pub mod settings;
mod taken;
mod thaw_guard;

pub use app::THAW_GUARD;
pub use thaw_guard::thaw_guard;

use crate::serve::app::App;
use crate::serve::config::Config;
use crate::serve::listen::{Bounds, listen};
use anyhow::Context;
use std::net::SocketAddr;
use std::path::Path;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What is told when the service is ready.
pub struct Ready<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where the administrator's keys were written, if that was now.
    pub new_credentials: Option<&'a Path>,
}

/// Serves until SIGINT or SIGTERM; a second signal ends the process at once. `ready` is called once.
pub async fn serve(config: &Config, ready: impl FnOnce(Ready<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    // From the start: what comes while things are opened ends the service in an orderly way, too.
    let stop = stop_on_signal()?;
    // What we create is for us alone.
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));

    // First: an address that is taken must not leave a folder, nor begin work that nobody can ask about. Whoever
    // connects already is accepted when everything is ready.
    let (listener, address) = bind(config.listen).await?;
    let app = App::build(config).await?;
    let told = ready(Ready { address, new_credentials: app.new_credentials() });
    if told.is_ok() {
        listen(listener, app.router(), Bounds::of_this_process(), stop).await;
    }
    tracing::info!("stopping; active runs go on at the next start");
    app.shutdown().await;
    tracing::info!("stopped");
    told
}

async fn bind(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
    let address = listener.local_addr().context("ask for the own address")?;
    Ok((listener, address))
}

fn stop_on_signal() -> anyhow::Result<CancellationToken> {
    let mut interrupt = signal(SignalKind::interrupt()).context("listen to SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen to SIGTERM")?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if told.is_cancelled() {
                // Nothing is lost by it: every step can be repeated.
                std::process::exit(130);
            }
            told.cancel();
        }
    });
    Ok(stop)
}
