//! The hidden command that holds a guest's freeze in a process of its own, so that the guest is thawed even if the
//! service is killed.

use anyhow::Context;
use godwit_sources::freeze::{FreezeOrder, thaw_guard_main};
use tokio::signal::unix::{SignalKind, signal};

/// Freezes, tells on standard output, thaws when standard input ends or the bound of the order has run out.
pub async fn thaw_guard(args: &[String]) -> anyhow::Result<()> {
    let order = FreezeOrder::from_args(args).context("this command is for godwit's own use")?;
    // Signals that are meant for the service must not end the guard between freeze and thaw; its bound does.
    let ignored = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::pipe()];
    let _held = ignored.map(signal);
    thaw_guard_main(order, tokio::io::stdin(), tokio::io::stdout()).await.context("talk to the service")
}
