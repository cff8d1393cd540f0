//! Secrets of notifications: named in the settings, never written there.

use crate::notify::settings::Notifications;
use crate::outside;
use crate::serve::folder::{refuse_open, write_private};
use anyhow::{Context, anyhow, bail};
use godwit_control::service::Secret;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The file in the data folder that holds the secret which the first start made.
const NAME: &str = "webhook.secret";

/// Shortest secret that is taken for signing: shorter ones can be guessed.
const SHORTEST: usize = 16;

/// The secret that events are signed with: the configured one, or the data folder's, which is made if it is not there.
pub fn webhook_secret(settings: &Notifications, data: &Path) -> anyhow::Result<Secret> {
    let (file, variable) = (settings.webhook_secret_file.as_deref(), settings.webhook_secret_variable.as_deref());
    let secret = match referred("notifications.webhook_secret", file, variable, data)? {
        Some(secret) => secret,
        None => made(&data.join(NAME))?,
    };
    if secret.expose().len() < SHORTEST {
        bail!("the secret of notifications for web addresses is shorter than {SHORTEST} characters: take a longer one");
    }
    Ok(secret)
}

/// What the file or the variable that the settings name under `what` holds; `None` if they name neither.
pub fn referred(
    what: &str,
    file: Option<&Path>,
    variable: Option<&str>,
    data: &Path,
) -> anyhow::Result<Option<Secret>> {
    if let Some(file) = file {
        return read(&data.join(file)).with_context(|| format!("read {what}_file")).map(Some);
    }
    let Some(name) = variable else { return Ok(None) };
    match outside::variable(name) {
        Some(value) => Ok(Some(Secret::new(value))),
        None => bail!("{what}_variable names {name}, which is not set or empty in the environment of the service"),
    }
}

fn read(file: &PathBuf) -> anyhow::Result<Secret> {
    // In words: the reader of the error is to see which setting named the file, too.
    refuse_open(file).map_err(|error| anyhow!("{error}; {}", error.next_step()))?;
    let text = std::fs::read_to_string(file).map(Zeroizing::new);
    let text = text.with_context(|| format!("read {}", file.display()))?;
    Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
}

fn made(file: &PathBuf) -> anyhow::Result<Secret> {
    if file.exists() {
        return read(file);
    }
    let mut bytes = Zeroizing::new([0; 32]);
    outside::fill_random(&mut *bytes);
    let text = Zeroizing::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    write_private(file, format!("{}\n", *text).as_bytes())?;
    Ok(Secret::new(text.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_first_start_makes_a_secret_that_the_second_finds() {
        let folder = tempfile::tempdir().unwrap();
        let secret = || webhook_secret(&Notifications::default(), folder.path()).unwrap();
        let first = secret();
        assert_eq!((first.expose().len(), first.expose()), (64, secret().expose()));
        let mode = std::fs::metadata(folder.path().join(NAME)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn secrets_that_others_can_read_or_guess_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("mine");
        std::fs::write(&file, "sixteen letters!\n").unwrap();
        let settings = Notifications { webhook_secret_file: Some("mine".into()), ..Notifications::default() };
        let secret = || webhook_secret(&settings, folder.path()).map(|s| s.expose().to_owned());
        let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        mode(0o644);
        assert!(format!("{:#}", secret().unwrap_err()).contains("read by other users"));
        mode(0o600);
        assert_eq!(secret().unwrap(), "sixteen letters!");
        std::fs::write(&file, "short\n").unwrap();
        assert!(secret().unwrap_err().to_string().contains("shorter than 16"));
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let name = "GODWIT_TEST_NO_SUCH_VARIABLE";
        let error = referred("notifications.smtp.password", None, Some(name), Path::new("/")).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}
