//! Policies in files.

use crate::cli::error::CliError;
use std::io::Read;
use std::path::Path;

/// Bytes of a file that are read: more than any policy has, so that the service says that it is too long.
const MOST: u64 = 64 << 10;

/// The text of a file; `-` is standard input.
pub fn read(file: &Path) -> Result<String, CliError> {
    let mut text = String::new();
    let outcome = if file == Path::new("-") {
        std::io::stdin().take(MOST).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(MOST).read_to_string(&mut text))
    };
    match outcome {
        Ok(_) => Ok(text),
        Err(error) => Err(CliError::failed(format!("{} cannot be read: {error}", file.display()))),
    }
}

/// A document with a line for each of its parts.
pub fn pretty(document: &str) -> String {
    let value = serde_json::from_str::<serde_json::Value>(document);
    value.and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or_else(|_| document.to_owned())
}
