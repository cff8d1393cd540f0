//! The guest agent of a QEMU: where it is, freezing around the transaction, thawing what a crash left frozen.

use crate::freeze::{FreezeOrder, Frozen, freeze, thaw_leftover};
use crate::qmp::client::QmpError;
use crate::qmp::session::Session;
use crate::qmp::source::QmpOptions;
use serde_json::{Value, json};
use std::path::PathBuf;

/// Name of the port under which every agent registers.
const PORT: &str = "org.qemu.guest_agent.0";

/// Finds the agent's socket; `None` if the machine has no channel for one.
pub(super) async fn agent_socket(session: &mut Session) -> Result<Option<PathBuf>, QmpError> {
    Ok(channel(session).await?.map(|channel| channel.path))
}

/// The same if something in the guest holds the channel open, as an agent that runs does.
pub(super) async fn running_agent(session: &mut Session) -> Result<Option<PathBuf>, QmpError> {
    Ok(channel(session).await?.filter(|channel| channel.is_open).map(|channel| channel.path))
}

struct Channel {
    path: PathBuf,
    is_open: bool,
}

async fn channel(session: &mut Session) -> Result<Option<Channel>, QmpError> {
    if !session.has_guest() {
        return Ok(None);
    }
    let Some(chardevs) = optional(session, "query-chardev", Value::Null).await? else { return Ok(None) };
    let label = agent_label(session).await?;
    let found = chardevs.as_array().into_iter().flatten().find_map(|chardev| {
        let text = |key: &str| chardev.get(key).and_then(Value::as_str).unwrap_or_default();
        let path = socket_path(text("filename"))?;
        let named = path.contains("org.qemu.guest_agent") || text("label").contains("qga") || path.contains("qga");
        let is_agent = label.as_ref().map_or(named, |label| label == text("label"));
        let is_open = chardev.get("frontend-open").and_then(Value::as_bool).unwrap_or(false);
        is_agent.then(|| (path.to_owned(), is_open))
    });
    let folder = session.client().peer_pid().and_then(|pid| std::fs::read_link(format!("/proc/{pid}/cwd")).ok());
    // QEMU tells the path as it was given: it may be relative to where QEMU was started.
    Ok(found.map(|(path, is_open)| Channel { path: folder.unwrap_or_default().join(path), is_open }))
}

/// Freezes if an agent answers. Gives the hold, or why there is none.
pub(super) async fn hold(
    session: &mut Session,
    options: &QmpOptions,
    vm_id: &str,
) -> Result<Result<Frozen, String>, QmpError> {
    let Some(agent) = agent_socket(session).await? else {
        return Ok(Err("the machine has no channel for a guest agent".into()));
    };
    Ok(freeze(order(options, vm_id, agent), options.freezer.as_ref()).await)
}

/// Thaws a guest that we left frozen. Gives a sentence if it did, or could not.
pub(super) async fn thaw(session: &mut Session, options: &QmpOptions, vm_id: &str) -> Result<Option<String>, QmpError> {
    let marker = options.runtime_dir.join(options.owner.frozen_marker(vm_id));
    if !marker.exists() {
        return Ok(None);
    }
    let Some(agent) = agent_socket(session).await? else {
        // Without a channel nothing can be frozen.
        let _ = std::fs::remove_file(marker);
        return Ok(None);
    };
    Ok(match thaw_leftover(&order(options, vm_id, agent)).await {
        Ok(true) => Some("thawed the file systems of a guest that we had left frozen".into()),
        Ok(false) => None,
        Err(error) => Some(format!("the guest may be frozen by us, and it could not be asked: {error}")),
    })
}

fn order(options: &QmpOptions, vm_id: &str, agent: PathBuf) -> FreezeOrder {
    let marker = options.runtime_dir.join(options.owner.frozen_marker(vm_id));
    FreezeOrder { agent, marker, sync_id: (options.random)(), limits: options.limits.freeze }
}

/// Name of the character device behind the agent's port, by the machine's own device tree.
async fn agent_label(session: &mut Session) -> Result<Option<String>, QmpError> {
    for folder in ["/machine/peripheral", "/machine/peripheral-anon"] {
        let Some(devices) = optional(session, "qom-list", json!({ "path": folder })).await? else { continue };
        let is_port = |device: &&Value| device.get("type").and_then(Value::as_str) == Some("child<virtserialport>");
        let names: Vec<String> = devices
            .as_array()
            .into_iter()
            .flatten()
            .filter(is_port)
            .filter_map(|device| device.get("name")?.as_str().map(str::to_owned))
            .collect();
        for name in names {
            let path = format!("{folder}/{name}");
            let port = optional(session, "qom-get", json!({ "path": path, "property": "name" })).await?;
            if port.as_ref().and_then(Value::as_str) == Some(PORT) {
                let label = optional(session, "qom-get", json!({ "path": path, "property": "chardev" })).await?;
                return Ok(label.and_then(|label| label.as_str().map(str::to_owned)));
            }
        }
    }
    Ok(None)
}

/// Runs a command whose refusal means that there is no such thing.
async fn optional(session: &mut Session, command: &str, arguments: Value) -> Result<Option<Value>, QmpError> {
    match session.execute(command, arguments).await {
        Ok(value) => Ok(Some(value)),
        Err(QmpError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The path in a character device's description: `unix:PATH,server=on`, `disconnected:unix:PATH,server=on`.
fn socket_path(filename: &str) -> Option<&str> {
    let rest = filename.strip_prefix("disconnected:").unwrap_or(filename).strip_prefix("unix:")?;
    // Only a listening socket can be connected to.
    rest.split_once(",server").map(|(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_sockets_path_is_found() {
        assert_eq!(socket_path("disconnected:unix:/run/q.sock,server=on"), Some("/run/q.sock"));
        assert_eq!(socket_path("unix:qga.sock,server=on"), Some("qga.sock"));
        assert_eq!(socket_path("unix:qga.sock,server"), Some("qga.sock"));
        assert_eq!(socket_path("unix:/run/client.sock"), None);
        assert_eq!(socket_path("pty:/dev/pts/3"), None);
    }
}
