//! A running `godwit serve`.

use crate::{BOUND, godwit, told};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running service; ended when dropped.
pub struct Service {
    pub child: Child,
    pub endpoint: String,
    pub lines: Vec<String>,
}

impl Service {
    pub fn start(folder: &Path) -> Service {
        Service::start_with(folder, &[])
    }

    /// With more arguments. What it logs is in `serve.log`.
    pub fn start_with(folder: &Path, more: &[&str]) -> Service {
        let mut command = godwit(folder, &["serve", "--data", "data", "--listen", "127.0.0.1:0"]);
        command.args(more);
        Service::of(folder, command)
    }

    /// What this command starts.
    pub fn of(folder: &Path, mut command: Command) -> Service {
        let is_first = !folder.join("data/credentials").exists();
        let mut child =
            command.stdout(Stdio::piped()).stderr(File::create(folder.join("serve.log")).unwrap()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let lines: Vec<String> = (0..1 + usize::from(is_first)).filter_map(|_| out.next()?.ok()).collect();
        let endpoint =
            lines.iter().find_map(|line| line.strip_prefix("godwit listening on ")).unwrap_or_default().to_owned();
        let service = Service { child, endpoint, lines };
        assert!(service.endpoint.starts_with("http://127.0.0.1:"), "{:?}", service.lines);
        service
    }

    pub fn ask(&self, folder: &Path, args: &[&str]) -> (i32, String, String) {
        let file = folder.join("data/credentials");
        let mut command = godwit(folder, args);
        command.env("GODWIT_ENDPOINT", &self.endpoint).env("AWS_SHARED_CREDENTIALS_FILE", file);
        told(command.output().unwrap())
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    pub fn wait(&mut self) -> Option<i32> {
        // Polled: a process cannot be waited for with a bound otherwise.
        const PAUSE: Duration = Duration::from_millis(20);
        for _ in 0..BOUND.as_millis() / PAUSE.as_millis() {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(PAUSE);
        }
        panic!("the service did not end in {BOUND:?}");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
