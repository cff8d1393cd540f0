//! What runs in a guest, as its agent tells.

use crate::qga::Agent;
use crate::qmp::client::QmpError;
use crate::qmp::quiesce::running_agent;
use crate::qmp::session::Session;
use crate::qmp::source::QmpSource;
use godwit_model::server::Platform;
use serde_json::Value;
use std::time::Duration;
use tokio::time::Instant;

/// Until the agent has answered: an agent that holds its channel open answers at once.
const LIMIT: Duration = Duration::from_secs(2);
/// For how long an answer is believed: a system is not exchanged by the hour.
const BELIEVED: Duration = Duration::from_secs(3_600);

/// An answer and when it came.
pub(super) type Remembered = (Instant, Platform);

/// Asks the agent, if one is there and the guest is not frozen by us. That there is no answer is no failure.
pub(super) async fn platform(
    source: &QmpSource,
    session: &mut Session,
    vm_id: &str,
) -> Result<Option<Platform>, QmpError> {
    if let Some(known) = source.remembered_platform(vm_id).filter(|(at, _)| at.elapsed() < BELIEVED) {
        return Ok(Some(known.1));
    }
    let options = source.options();
    // A frozen guest's channel is for the one who thaws it.
    if options.runtime_dir.join(options.owner.frozen_marker(vm_id)).exists() {
        return Ok(None);
    }
    let Some(path) = running_agent(session).await? else { return Ok(None) };
    let asked = async {
        let mut agent = Agent::connect(&path, (options.random)(), LIMIT).await?;
        agent.os_info(LIMIT).await
    };
    let Ok(info) = asked.await else { return Ok(None) };
    let found = platform_of(&info);
    if let Some(platform) = found {
        source.remember_platform(vm_id, (Instant::now(), platform));
    }
    Ok(found)
}

/// The platform in the answer of `guest-get-osinfo`: `id` is that of `os-release`, or `mswindows`.
fn platform_of(info: &Value) -> Option<Platform> {
    let text = |key: &str| info.get(key).and_then(Value::as_str);
    match (text("id")?, text("variant-id")) {
        ("mswindows", Some("server")) => Some(Platform::WindowsServer),
        ("mswindows", Some("client")) => Some(Platform::WindowsClient),
        ("mswindows", _) => None,
        (id, _) if id.ends_with("bsd") || ["illumos", "solaris", "macos", "haiku"].contains(&id) => None,
        _ => Some(Platform::Linux),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn platforms_are_told_apart() {
        for (info, platform) in [
            (json!({"id": "debian", "version-id": "12"}), Some(Platform::Linux)),
            (json!({"id": "mswindows", "variant-id": "server"}), Some(Platform::WindowsServer)),
            (json!({"id": "mswindows", "variant-id": "client"}), Some(Platform::WindowsClient)),
            (json!({"id": "mswindows"}), None),
            (json!({"id": "freebsd"}), None),
            (json!({"kernel-release": "6.1.0"}), None),
            (json!(7), None),
        ] {
            assert_eq!(platform_of(&info), platform, "{info}");
        }
    }
}
