//! The process that thaws a guest when the service is gone.

use crate::{folder, godwit};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// A guest agent that answers what a freeze needs, and says what it was asked.
fn guest_agent(socket: &Path) -> std::sync::mpsc::Receiver<String> {
    let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut frozen = false;
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut out = stream;
            loop {
                let mut line = Vec::new();
                if reader.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                    break;
                }
                let text = String::from_utf8_lossy(&line).replace('\u{fffd}', "");
                let asked: serde_json::Value = serde_json::from_str(&text).unwrap();
                let command = asked["execute"].as_str().unwrap().to_owned();
                let (before, answer) = match command.as_str() {
                    "guest-sync-delimited" => (&[0xff][..], asked["arguments"]["id"].clone()),
                    "guest-fsfreeze-status" => (&[][..], if frozen { "frozen".into() } else { "thawed".into() }),
                    _ => (&[][..], 1.into()),
                };
                frozen = command == "guest-fsfreeze-freeze" || (frozen && command != "guest-fsfreeze-thaw");
                let line = [before, format!("{{\"return\": {answer}}}\n").as_bytes()].concat();
                if out.write_all(&line).is_err() || tell.send(command).is_err() {
                    return;
                }
            }
        }
    });
    told
}

#[test]
fn a_frozen_guest_is_thawed_when_the_service_is_gone() {
    let folder = folder();
    let (socket, marker) = (folder.path().join("qga.sock"), folder.path().join("frozen"));
    let asked = guest_agent(&socket);
    let (socket, file) = (socket.to_str().unwrap(), marker.to_str().unwrap());
    let args = ["thaw-guard", socket, file, "7", "5000", "5000", "60000", "5000"];
    let mut guard = godwit(folder.path(), &args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(guard.stdout.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "frozen 1");
    assert!(marker.exists());
    // Signals to the service's group do not end it; the end of the service does: its side of the pipe closes.
    for name in ["-TERM", "-INT", "-HUP"] {
        assert!(Command::new("kill").args([name, &guard.id().to_string()]).status().unwrap().success());
    }
    assert!(guard.try_wait().unwrap().is_none());
    drop(guard.stdin.take());
    assert_eq!(said.next().unwrap().unwrap(), "thawed");
    assert_eq!(guard.wait().unwrap().code(), Some(0));
    assert!(!marker.exists());
    let asked: Vec<String> = asked.try_iter().collect();
    assert_eq!(asked.last().map(String::as_str), Some("guest-fsfreeze-thaw"), "{asked:?}");
}
