//! The key of a run: chosen at Validating, looked at again wherever it is used.

use super::StageError;
use crate::control::Line;
use crate::keys::disabled;
use crate::replicator::VolumeBaseline;
use crate::store::{Chosen, RunRecord, id_of};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::KeyId;
use godwit_model::key::KeyState;

/// Chooses the key as the run's job has it now. A disabled one fails the run.
pub(super) async fn choose(line: &Line, run: &RunRecord) -> Result<(), StageError> {
    match line.store.choose_key(run).await? {
        Chosen::Key(key) if key.state == KeyState::Enabled => Ok(()),
        Chosen::Key(key) => Err(disabled("the image is to be encrypted", &key).into()),
        Chosen::Gone(name) => {
            Err(Failure::new(Code::KeyGone, format!("the job names the key '{name}', which does not exist")).into())
        }
    }
}

/// The key that was chosen, if it may still be used.
pub(super) async fn usable(line: &Line, run: &RunRecord) -> Result<KeyId, StageError> {
    let id = id_of(run)?;
    match line.store.key(&id).await? {
        Some(key) if key.state == KeyState::Disabled => Err(disabled("the image is to be encrypted", &key).into()),
        _ => Ok(id),
    }
}

/// What the operator should know if the volume's last state was encrypted with another key.
pub(super) fn note_of_change(baseline: Option<&VolumeBaseline>, key: &KeyId) -> Option<String> {
    let was = baseline.map(|baseline| &baseline.key).filter(|was| *was != key)?;
    Some(format!(
        "it was encrypted with {was} before and is with {key} now: everything is read, nothing is compared across keys"
    ))
}
