//! The master key, by reference: a file or a variable of the environment. The key itself is on no command line.
//!
//! A file must be readable by its owner alone. The key is 32 bytes, written as 64 hexadecimal digits or in base64.

use crate::outside;
use crate::serve::folder::{FolderError, refuse_open};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use zeroize::Zeroizing;

/// The master key's bytes; shows nothing of itself.
#[derive(Clone)]
pub struct MasterBytes(pub(super) Zeroizing<[u8; 32]>);

impl fmt::Debug for MasterBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterBytes(hidden)")
    }
}

impl MasterBytes {
    /// The bytes: only for making ciphers of them.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Where the master key comes from.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub enum MasterSource {
    /// `master.key` in the data folder, made at the first start.
    #[default]
    Folder,
    /// This file.
    File(PathBuf),
    /// This variable of the environment.
    Variable(String),
}

/// What a reference to a master key must look like.
const EXPECTED: &str = "expected file:PATH, or env:NAME for a variable of the environment";

impl FromStr for MasterSource {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => {
                let path = std::path::absolute(path).map_err(|error| format!("{path}: {error}"))?;
                Ok(MasterSource::File(path))
            }
            Some(("env", name)) if is_name(name) => Ok(MasterSource::Variable(name.to_owned())),
            Some(("env", _)) => Err("env: is followed by the name of a variable, not by a key".to_owned()),
            // Whatever it is may be the key itself: it is not repeated.
            _ => Err(EXPECTED.to_owned()),
        }
    }
}

/// Whether this can be the name of a variable: a key in its place is noticed, most of the time.
fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !text.is_empty() && text.len() <= 40 && text.chars().all(fits) && !text.starts_with(|c: char| c.is_ascii_digit())
}

impl MasterSource {
    /// The key, if it is not in the data folder. Nothing is created.
    pub fn read(&self) -> Result<Option<MasterBytes>, FolderError> {
        match self {
            MasterSource::Folder => Ok(None),
            MasterSource::File(path) => from_file(path).map(Some),
            MasterSource::Variable(name) => {
                let refused = |problem| FolderError::MasterVariable { name: name.clone(), problem };
                let text = outside::variable(name).map(Zeroizing::new).ok_or_else(|| refused("is not set"))?;
                let key = parse(&text).ok_or_else(|| refused("does not hold a key"))?;
                Ok(Some(MasterBytes(key)))
            }
        }
    }
}

fn from_file(path: &Path) -> Result<MasterBytes, FolderError> {
    let text = match std::fs::read_to_string(path).map(Zeroizing::new) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(FolderError::NoMasterFile { file: path.to_owned() });
        }
        Err(reason) if reason.kind() != io::ErrorKind::InvalidData => {
            return Err(FolderError::Io { verb: "read", path: path.to_owned(), reason });
        }
        Err(_) => Zeroizing::new(String::new()),
    };
    refuse_open(path)?;
    let problem = "it should hold a key: 64 hexadecimal digits, or 32 bytes in base64";
    parse(&text).map(MasterBytes).ok_or_else(|| FolderError::Damaged { file: path.to_owned(), problem })
}

/// 32 bytes in hexadecimal digits or base64.
fn parse(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let text = text.trim();
    if text.len() == 64 { from_hex(text) } else { from_base64(text) }
}

pub(super) fn from_hex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut bytes = Zeroizing::new([0; 32]);
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = [digits[0], digits[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = (high? * 16 + low?) as u8;
    }
    Some(bytes)
}

/// 43 characters of either alphabet, with or without the `=` behind them.
fn from_base64(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let text = text.strip_suffix('=').unwrap_or(text);
    if text.len() != 43 {
        return None;
    }
    let mut bytes = Zeroizing::new([0; 32]);
    let (mut held, mut bits, mut at) = (0u32, 0, 0);
    for character in text.bytes() {
        let value = match character {
            b'A'..=b'Z' => character - b'A',
            b'a'..=b'z' => character - b'a' + 26,
            b'0'..=b'9' => character - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        held = held << 6 & 0xFFFF | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes[at] = (held >> bits) as u8;
            at += 1;
        }
    }
    // The last character has two bits too many: they are zeros in what a program wrote.
    (held & 0b11 == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1EFF";
    const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8=";

    #[test]
    fn a_key_is_taken_in_both_ways_of_writing() {
        let mut bytes: Vec<u8> = (0..31).collect();
        bytes.push(0xff);
        for text in [HEX, BASE64, BASE64.trim_end_matches('='), &format!(" {HEX}\n"), &BASE64.replace('/', "_")] {
            assert_eq!(parse(text).unwrap()[..], bytes[..], "{text}");
        }
        for text in
            ["", "00", &HEX[1..], &format!("{HEX}0"), &BASE64[1..], &BASE64.replace("v8", "v9"), &"é".repeat(32)]
        {
            assert!(parse(text).is_none(), "{text}");
        }
        assert!(parse(&HEX.replace('F', "g")).is_none() && parse(&HEX.replace("00", "+0")).is_none());
    }

    #[test]
    fn references_are_a_file_or_the_name_of_a_variable() {
        assert_eq!("file:/etc/k".parse(), Ok(MasterSource::File("/etc/k".into())));
        assert!(matches!("file:k".parse(), Ok(MasterSource::File(path)) if path.is_absolute()));
        assert_eq!("env:GODWIT_MASTER".parse(), Ok(MasterSource::Variable("GODWIT_MASTER".into())));
        for text in ["", "file:", "env:", "/etc/k", HEX, &format!("env:{HEX}"), &format!("env:{BASE64}"), "vault:x"] {
            let error = text.parse::<MasterSource>().unwrap_err();
            assert!(!error.contains(&HEX[..20]) && !error.contains(&BASE64[..20]), "what may be a key is not repeated");
        }
    }

    #[test]
    fn a_file_must_be_there_be_private_and_hold_a_key() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("k");
        let read = || MasterSource::File(file.clone()).read();
        let error = read().unwrap_err();
        assert!(error.next_step().contains("openssl rand"), "{error}");
        std::fs::write(&file, HEX).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        let error = read().unwrap_err();
        assert!(error.to_string().contains("640") && error.next_step().contains("chmod 600"), "{error}");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read().unwrap().unwrap().expose()[31], 0xff);
        std::fs::write(&file, "no key").unwrap();
        assert!(matches!(read(), Err(FolderError::Damaged { .. })));
        assert!(MasterSource::Folder.read().unwrap().is_none());
    }

    #[test]
    fn a_variable_that_is_not_set_is_told_by_its_name() {
        let error = MasterSource::Variable("GODWIT_SURELY_NOT_SET".into()).read().unwrap_err();
        assert!(error.to_string().contains("GODWIT_SURELY_NOT_SET is not set"), "{error}");
    }
}
