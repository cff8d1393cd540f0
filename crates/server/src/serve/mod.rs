//! `godwit serve`: config → bind → build → listen → signal → drain with a deadline.

mod administrator;
pub mod allocator;
mod app;
pub mod config;
mod console;
pub mod folder;
mod listen;
pub mod master;
mod passwords;
pub mod remote;
mod secrets;
pub mod settings;
mod taken;
mod thaw_guard;
mod tls;

pub use app::THAW_GUARD;
pub use thaw_guard::thaw_guard;

use crate::serve::app::App;
use crate::serve::config::Config;
use crate::serve::listen::{Bounds, listen};
pub use crate::serve::tls::Certificate;
use anyhow::Context;
use godwit_control::service::Secret;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What is told when the service is ready.
pub struct Ready<'a> {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate that is shown, if connections are encrypted.
    pub certificate: Option<&'a Certificate>,
    /// Where the administrator's keys were written, if that was now.
    pub new_credentials: Option<&'a Path>,
    /// What the administrator's first sign-in link holds, if the keys were written now.
    pub sign_in_link: Option<&'a Secret>,
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
    let app = App::build(config, stop.clone()).await?;
    let served = listen_with(config, &app, listener, address, ready, stop).await;
    tracing::info!("stopping; active runs go on at the next start");
    app.shutdown().await;
    tracing::info!("stopped");
    served
}

async fn listen_with(
    config: &Config,
    app: &App,
    listener: TcpListener,
    address: SocketAddr,
    ready: impl FnOnce(Ready<'_>) -> anyhow::Result<()>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let certificate = encrypted(config, address, &stop)?;
    let acceptor = certificate.as_ref().map(|certificate| certificate.acceptor()).transpose()?;
    ready(Ready {
        address,
        certificate: certificate.as_deref(),
        new_credentials: app.new_credentials(),
        sign_in_link: app.sign_in_link(),
    })?;
    listen(listener, acceptor, app.router(), Bounds::of_this_process(), stop).await;
    Ok(())
}

/// The certificate, kept fresh, if connections are to be encrypted.
fn encrypted(
    config: &Config,
    address: SocketAddr,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Arc<Certificate>>> {
    let certificate = Certificate::open(&config.settings.server, address, &config.data)?.map(Arc::new);
    if let Some(certificate) = &certificate {
        tokio::spawn(certificate.clone().keep_fresh(stop.clone()));
    }
    Ok(certificate)
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
