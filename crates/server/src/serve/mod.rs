//! `godwit serve`: config → build → listen → signal → drain with a deadline.

mod administrator;
pub mod allocator;
mod app;
pub mod config;
pub mod folder;
mod secrets;
mod thaw_guard;

pub use app::THAW_GUARD;
pub use thaw_guard::thaw_guard;

use crate::serve::app::App;
use crate::serve::config::Config;
use anyhow::Context;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long calls that are at work may take to end once the service is told to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// What is told when the service is ready.
pub struct Ready<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where the administrator's keys were written, if this is the first start.
    pub new_credentials: Option<&'a Path>,
}

/// Serves until SIGINT or SIGTERM; a second signal ends the process at once. `ready` is called once.
pub async fn serve(config: &Config, ready: impl FnOnce(Ready<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    // From the start: what comes while things are opened ends the service in an orderly way, too.
    let stop = stop_on_signal()?;
    // What we create is for us alone.
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));

    let app = App::build(config).await?;
    let served = match bind(config.listen).await {
        Ok((listener, address)) => {
            let told = ready(Ready { address, new_credentials: app.new_credentials() });
            match told {
                Ok(()) => listen(listener, app.router(), stop).await,
                Err(error) => Err(error),
            }
        }
        Err(error) => Err(error),
    };
    tracing::info!("stopping; active runs go on at the next start");
    app.shutdown().await;
    tracing::info!("stopped");
    served
}

async fn bind(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
    let address = listener.local_addr().context("ask for the own address")?;
    Ok((listener, address))
}

async fn listen(listener: TcpListener, router: axum::Router, stop: CancellationToken) -> anyhow::Result<()> {
    let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = serving.into_future() => served.context("serve"),
        () = deadline => {
            tracing::warn!("some calls did not end in time and were dropped");
            Ok(())
        }
    }
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
