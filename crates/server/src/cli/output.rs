//! What goes to the terminal: lines, colours and JSON.

use crate::cli::error::CliError;
use crate::outside;
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::{self, IsTerminal, Write};

/// How something is to catch the eye.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// It is well.
    Good,
    /// It needs attention.
    Warning,
    /// It went wrong.
    Bad,
    /// It works at the moment.
    Busy,
    /// It is of less interest.
    Faint,
    /// It is a heading.
    Strong,
}

/// Writes a line to standard output.
pub fn line(text: impl AsRef<str>) -> Result<(), CliError> {
    write(text.as_ref())
}

/// Writes a value as JSON with the command line's names.
pub fn json(value: &impl Serialize) -> Result<(), CliError> {
    let value = serde_json::to_value(value).map_err(|error| CliError::failed(error.to_string()))?;
    let text = serde_json::to_string_pretty(&renamed(value)).map_err(|error| CliError::failed(error.to_string()))?;
    write(&text)
}

/// Writes a line to standard error: what is not part of the answer.
pub fn aside(text: impl AsRef<str>) {
    // Nobody is left to tell it to.
    let _ = writeln!(io::stderr(), "{}", text.as_ref());
}

/// Whether standard output takes colours.
pub fn colours() -> bool {
    io::stdout().is_terminal() && wants_colours()
}

/// Columns of the terminal on standard output, if it is one.
pub fn columns() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Whether standard error is a terminal that can draw.
pub fn draws() -> bool {
    io::stderr().is_terminal() && outside::variable("TERM").as_deref() != Some("dumb")
}

/// The text in a tone, for standard output.
pub fn paint(text: &str, tone: Tone) -> String {
    if colours() { escaped(text, tone) } else { text.to_owned() }
}

/// The text in a tone, for standard error.
pub fn paint_aside(text: &str, tone: Tone) -> String {
    if io::stderr().is_terminal() && wants_colours() { escaped(text, tone) } else { text.to_owned() }
}

fn wants_colours() -> bool {
    outside::variable("NO_COLOR").is_none() && outside::variable("TERM").as_deref() != Some("dumb")
}

fn escaped(text: &str, tone: Tone) -> String {
    let code = match tone {
        Tone::Good => "32",
        Tone::Warning => "33",
        Tone::Bad => "31",
        Tone::Busy => "36",
        Tone::Faint => "2",
        Tone::Strong => "1",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// Whoever reads may stop reading (`godwit … | head`): that is not an error.
fn write(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::failed(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// The same value with names in snake_case, ids under their short names.
pub fn renamed(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(renamed).collect()),
        Value::Object(members) => Value::Object(
            members.into_iter().map(|(name, value)| (short(&name), renamed(value))).collect::<Map<_, _>>(),
        ),
        other => other,
    }
}

fn short(name: &str) -> String {
    let name = match name {
        "amiId" => "imageId",
        "latestAmiId" => "latestImageId",
        "numberOfRecentAmisToKeep" => "numberOfRecentImagesToKeep",
        name => name.strip_prefix("replication").filter(|rest| rest.starts_with(['R', 'J'])).unwrap_or(name),
    };
    let mut snake = String::with_capacity(name.len() + 4);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_those_that_scripts_rely_on() {
        let wire = json!({
            "replicationRunId": 1, "replicationJobId": 2, "imageId": 3, "bytesTotal": 4, "scheduledStartTime": 5,
            "volumes": [{"rootDigest": "x", "bytesResent": 0}], "latestAmiId": 6, "replicationRunList": [],
            "serverId": 7, "connectorId": 8,
        });
        let named = json!({
            "run_id": 1, "job_id": 2, "image_id": 3, "bytes_total": 4, "scheduled_start_time": 5,
            "volumes": [{"root_digest": "x", "bytes_resent": 0}], "latest_image_id": 6, "run_list": [],
            "server_id": 7, "connector_id": 8,
        });
        assert_eq!(renamed(wire), named);
    }
}
