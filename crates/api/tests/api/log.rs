//! One line of log per call, without anything that might be secret.

use crate::oracle::{ACCESS_KEY, SECRET};
use crate::scene::{NOW, SMS, Scene};
use serde_json::json;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_call_leaves_one_line_and_no_parameter() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // While there is but one, a call site takes what it wants from the first thread that comes along, and remembers it:
    // other tests, in other threads, want nothing.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());

    let scene = Scene::new().await;
    lines.0.lock().unwrap().clear();
    let request = json!({"serverId": "s-00000000", "seedReplicationTime": NOW / 1000, "description": "hunter2"});
    scene.call(&format!("{SMS}CreateReplicationJob"), request).await.unwrap_err();
    scene.call("hunter2", json!({})).await.unwrap_err();
    scene.call(&format!("{SMS}GetServers"), json!({})).await.unwrap();

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let calls: Vec<&str> = text.lines().filter(|line| line.contains("godwit_api")).collect();
    assert_eq!(calls.len(), 2, "a read that goes well says nothing at this level: {text}");
    for word in ["INFO", "CreateReplicationJob", ACCESS_KEY, "MissingRequiredParameterException", "ms=", "request_id="]
    {
        assert!(calls[0].contains(word), "'{word}' is missing in: {}", calls[0]);
    }
    assert!(calls[1].contains("UnknownOperationException"), "{}", calls[1]);
    assert!(!text.contains("hunter2") && !text.contains(&format!("\"{SECRET}\"")), "{text}");
    scene.end().await;
}
