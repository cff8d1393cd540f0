//! QMP messages: one JSON object per line. Pure.

use crate::wire::excerpt;
use godwit_model::failure::{Code, Failure};
use serde_json::Value;
use std::path::Path;

/// Longest line that is read: the answer to `query-named-block-nodes` of a host with hundreds of disks is far below.
pub const MAX_LINE: usize = 16 << 20;

/// What a QMP server sends.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// The first line of a connection.
    Greeting {
        /// Version as people write it, for example `10.0.2`.
        version: String,
    },
    /// A command succeeded.
    Return {
        /// The id that was given with the command.
        id: Option<u64>,
        /// The result.
        value: Value,
    },
    /// A command failed.
    Error {
        /// The id that was given with the command; absent if the server could not parse it.
        id: Option<u64>,
        /// QEMU's error class.
        class: String,
        /// QEMU's own sentence.
        desc: String,
    },
    /// Something happened.
    Event {
        /// Name of the event.
        name: String,
    },
}

/// A line that is no QMP message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a QMP message: {seen}")]
pub struct NotQmp {
    /// The beginning of what came.
    pub seen: String,
}

/// The line of a command.
pub fn command(id: u64, name: &str, arguments: &Value) -> Vec<u8> {
    let mut message = serde_json::json!({ "execute": name, "id": id });
    if !arguments.is_null() {
        message["arguments"] = arguments.clone();
    }
    let mut line = message.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// A path as QMP can be told it: JSON is UTF-8, and the file systems of Linux take any bytes.
pub fn path_text(path: &Path) -> Result<&str, Failure> {
    let refused = || {
        let what = format!("the path {} is not UTF-8, and QEMU can only be told such: choose another", path.display());
        Failure::new(Code::SourceRefused, what)
    };
    path.to_str().ok_or_else(refused)
}

/// What a line says.
pub fn message(line: &[u8]) -> Result<Message, NotQmp> {
    let refuse = || NotQmp { seen: excerpt(line) };
    let Ok(Value::Object(mut object)) = serde_json::from_slice::<Value>(line) else { return Err(refuse()) };
    let id = object.get("id").and_then(Value::as_u64);
    if let Some(qmp) = object.get("QMP") {
        return version(qmp).map(|version| Message::Greeting { version }).ok_or_else(refuse);
    }
    if let Some(value) = object.remove("return") {
        return Ok(Message::Return { id, value });
    }
    if let Some(error) = object.get("error") {
        let text = |key: &str| error.get(key).and_then(Value::as_str).map(str::to_owned);
        let (Some(class), Some(desc)) = (text("class"), text("desc")) else { return Err(refuse()) };
        return Ok(Message::Error { id, class, desc });
    }
    let event = object.get("event").and_then(Value::as_str);
    event.map(|name| Message::Event { name: name.to_owned() }).ok_or_else(refuse)
}

fn version(qmp: &Value) -> Option<String> {
    let qemu = qmp.get("version")?.get("qemu")?;
    let part = |key: &str| qemu.get(key).and_then(Value::as_u64);
    Some(format!("{}.{}.{}", part("major")?, part("minor")?, part("micro")?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_four_kinds_are_told_apart() {
        let greeting =
            br#"{"QMP":{"version":{"qemu":{"micro":2,"minor":0,"major":10},"package":""},"capabilities":["oob"]}}"#;
        assert_eq!(message(greeting), Ok(Message::Greeting { version: "10.0.2".into() }));
        assert_eq!(
            message(br#"{"return":{},"id":4}"#),
            Ok(Message::Return { id: Some(4), value: serde_json::json!({}) })
        );
        let error = message(br#"{"id":5,"error":{"class":"CommandNotFound","desc":"no"}}"#);
        assert_eq!(error, Ok(Message::Error { id: Some(5), class: "CommandNotFound".into(), desc: "no".into() }));
        assert_eq!(message(br#"{"event":"STOP","timestamp":{}}"#), Ok(Message::Event { name: "STOP".into() }));
    }

    #[test]
    fn anything_else_is_refused_with_what_was_seen() {
        for bad in ["", "NBDMAGICIHAVEOPT", "[]", "{}", r#"{"QMP":{}}"#, r#"{"error":{}}"#, r#"{"event":3}"#] {
            let refused = message(bad.as_bytes()).expect_err(bad);
            assert!(refused.seen.contains(&bad[..bad.len().min(5)]), "{bad}: {}", refused.seen);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = message(&bytes);
        }

        #[test]
        fn mutations_of_a_reply_do_not_panic(at in 0usize..60, byte: u8) {
            let mut line = br#"{"id":5,"error":{"class":"CommandNotFound","desc":"no such"}}"#.to_vec();
            line[at] = byte;
            let _ = message(&line);
        }
    }
}
