//! Passwords and sign-in links of the console.
//!
//! A password is never an argument: other users of the machine see those. It is asked for at the terminal, which does
//! not show it, or read from standard input.

use crate::cli::error::CliError;
use crate::cli::users::done;
use crate::cli::{human, output};
use crate::client::Client;
use crate::outside;
use godwit_api::shapes::godwit::{SetPasswordRequest, UserRequest};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use zeroize::Zeroizing;

/// Longest line that is read: far beyond any password.
const LONGEST: u64 = 4_096;

/// What the terminal sends for Ctrl-C while it makes no signal of it.
const INTERRUPT: char = '\u{3}';

/// `godwit users set-password`.
pub async fn set(client: &Client, json: bool, user: String, from_stdin: bool) -> Result<(), CliError> {
    let password = if from_stdin { piped()? } else { asked(&user)? };
    let request = SetPasswordRequest { user_name: user.clone(), password: password.to_string() };
    client.set_password(&request).await?;
    let text = format!("{user} signs in to the console with the new password. All its sessions have ended.");
    done(json, json!({"userName": user}), text)
}

/// `godwit users remove-password`.
pub async fn remove(client: &Client, json: bool, user: String) -> Result<(), CliError> {
    client.delete_password(&UserRequest { user_name: user.clone() }).await?;
    let text = format!("{user} has no password any more. All its sessions have ended.");
    done(json, json!({"userName": user}), text)
}

/// `godwit users sign-in-link`.
pub async fn link(client: &Client, json: bool, user: String) -> Result<(), CliError> {
    let link = client.create_sign_in_link(&UserRequest { user_name: user }).await?;
    let base = client.endpoint().join("/console/").map_err(|error| CliError::failed(error.to_string()))?;
    let address = Zeroizing::new(format!("{base}#link={}", link.token));
    if json {
        let answer = json!({"userName": link.user_name, "url": address.as_str(), "expiresOn": link.expires_on});
        return output::json(&answer);
    }
    let until = human::moment(link.expires_on.into(), outside::now());
    output::line(address.as_str())?;
    output::aside(format!("Good for one sign-in as {}, until {until}.", link.user_name));
    Ok(())
}

fn piped() -> Result<Zeroizing<String>, CliError> {
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin().take(LONGEST).read_to_string(&mut text);
    read.map_err(|error| CliError::failed(format!("standard input cannot be read: {error}")))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.contains(['\n', '\r']) {
        return Err(CliError::usage("standard input holds more than one line").next("give the password as one line"));
    }
    Ok(Zeroizing::new(line.to_owned()))
}

fn asked(user: &str) -> Result<Zeroizing<String>, CliError> {
    let terminal = File::options().read(true).write(true).open("/dev/tty").map_err(|_| {
        CliError::usage("there is no terminal to ask for the password at").next("give it with --password-stdin")
    })?;
    let password = hidden(&terminal, &format!("New password of {user}: "))?;
    if *hidden(&terminal, "The same again: ")? != *password {
        return Err(CliError::usage("the two are not the same").next("try again"));
    }
    Ok(password)
}

/// A line that the terminal does not show.
fn hidden(mut terminal: &File, prompt: &str) -> Result<Zeroizing<String>, CliError> {
    let failed = |error: std::io::Error| CliError::failed(format!("the terminal cannot be used: {error}"));
    terminal.write_all(prompt.as_bytes()).map_err(failed)?;
    let hiding = Hiding::begin(terminal).map_err(failed)?;
    let mut line = Zeroizing::new(String::new());
    let read = BufReader::new(terminal.take(LONGEST)).read_line(&mut line);
    drop(hiding);
    terminal.write_all(b"\n").map_err(failed)?;
    read.map_err(failed)?;
    if line.contains(INTERRUPT) || !line.ends_with('\n') {
        return Err(CliError::failed("interrupted: nothing was changed"));
    }
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}

/// While it lives, the terminal shows nothing of what is typed. No signal ends the program meanwhile: it would leave
/// the terminal like that.
struct Hiding<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Hiding<'a> {
    fn begin(terminal: &'a File) -> std::io::Result<Hiding<'a>> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Hiding { terminal, before })
    }
}

impl Drop for Hiding<'_> {
    fn drop(&mut self) {
        // Without a terminal there is nothing to put right.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}
