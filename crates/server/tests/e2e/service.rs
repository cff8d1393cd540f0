//! A real `godwit serve` and the command line against it.

use crate::testbed;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The binary under test.
pub const GODWIT: &str = env!("CARGO_BIN_EXE_godwit");

/// How long a run may take in a scenario before it counts as hung.
const RUN_BOUND: Duration = Duration::from_secs(300);

/// A running service; ended with the value.
pub struct Service {
    child: Child,
    /// `http://127.0.0.1:PORT`, or `https://` of an encrypted one.
    pub endpoint: String,
    /// Its data folder.
    pub data: PathBuf,
    /// What it says beside that: the first sign-in link.
    link: Arc<Mutex<Option<String>>>,
}

impl Service {
    /// Starts the service on a free port and waits until it listens.
    pub fn start(data: &Path) -> Service {
        Service::start_with(data, &[])
    }

    /// Like [`Service::start`] with more arguments for `godwit serve`.
    pub fn start_with(data: &Path, more: &[&str]) -> Service {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(data.with_extension("log"))
            .expect("a log file beside the data folder");
        let mut child = Command::new(GODWIT)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .args(more)
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("start godwit serve");
        let stdout = child.stdout.take().expect("piped");
        let (send, receive) = std::sync::mpsc::channel();
        let link = Arc::new(Mutex::new(None));
        let told = link.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let word =
                    line.split_whitespace().find(|word| word.starts_with("http://") || word.starts_with("https://"));
                match word {
                    Some(word) if word.contains("#link=") => {
                        *told.lock().expect("nobody panics with it") = Some(word.to_owned());
                    }
                    Some(word) => drop(send.send(word.to_owned())),
                    None => {}
                }
            }
        });
        let endpoint = receive.recv_timeout(Duration::from_secs(30)).unwrap_or_else(|_| {
            let _ = child.kill();
            let log = std::fs::read_to_string(data.with_extension("log")).unwrap_or_default();
            panic!("godwit serve did not say where it listens:\n{log}")
        });
        Service { child, endpoint, data: data.to_owned(), link }
    }

    /// The sign-in link that it told at its start.
    pub fn first_link(&self) -> Option<String> {
        self.link.lock().expect("nobody panics with it").clone()
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, as a power cut of the process.
    pub fn kill(mut self) {
        self.child.kill().expect("kill -9");
        self.child.wait().expect("the killed service is reaped");
    }

    /// Asks it to stop and waits.
    pub fn stop(mut self) {
        testbed::run("kill", &["-TERM", &self.child.id().to_string()]);
        let child = &mut self.child;
        let status = testbed::wait("the service to stop", Duration::from_secs(30), || child.try_wait().expect("wait"));
        assert!(status.success(), "godwit serve ended with {status}");
    }

    /// Variables by which AWS tools and our own command line find this service.
    pub fn environment(&self) -> [(&'static str, String); 6] {
        [
            ("GODWIT_ENDPOINT", self.endpoint.clone()),
            ("AWS_ENDPOINT_URL_SMS", self.endpoint.clone()),
            ("AWS_SHARED_CREDENTIALS_FILE", self.data.join("credentials").display().to_string()),
            ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
            ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ]
    }

    /// Runs `godwit ARGS` as a user would.
    pub fn command(&self, args: &[&str]) -> Output {
        self.command_at(&self.endpoint, args)
    }

    /// The same through what listens at `endpoint`.
    pub fn command_at(&self, endpoint: &str, args: &[&str]) -> Output {
        Command::new(GODWIT)
            .args(args)
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env_remove("AWS_PROFILE")
            .envs(self.environment())
            .env("GODWIT_ENDPOINT", endpoint)
            .output()
            .expect("start godwit")
    }

    /// Runs `godwit ARGS`, insists on success and gives its output.
    pub fn cli(&self, args: &[&str]) -> String {
        testbed::text(&format!("godwit {args:?}"), self.command(args))
    }

    /// Runs `godwit ARGS --json`.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut all = args.to_vec();
        all.push("--json");
        let out = self.cli(&all);
        serde_json::from_str(&out).unwrap_or_else(|e| panic!("godwit {all:?} printed no JSON: {e}\n{out}"))
    }

    /// Associates a QMP socket or folder and imports the catalog.
    pub fn associate(&self, socket: &Path) {
        self.associate_all(&[socket]);
    }

    /// Associates a connector for each QMP socket or folder and imports the catalog.
    pub fn associate_all(&self, sockets: &[&Path]) {
        for socket in sockets {
            self.cli(&["connectors", "add", "qmp", "--name", "test", "--socket", &socket.display().to_string()]);
        }
        self.cli(&["servers", "import"]);
    }

    /// The only server of the catalog.
    pub fn only_server(&self) -> String {
        let servers = self.json(&["servers", "list"]);
        let list = servers.as_array().expect("a list of servers");
        assert_eq!(list.len(), 1, "{servers}");
        list[0]["server_id"].as_str().expect("an id").to_owned()
    }

    /// Creates a repeating job for a server; its first run starts by itself.
    pub fn create_job(&self, server: &str) -> String {
        let job = self.json(&["jobs", "create", "--server", server, "--every", "12h"]);
        job["job_id"].as_str().unwrap_or_else(|| panic!("no job id in {job}")).to_owned()
    }

    /// Runs of a job that are not merely planned, newest first.
    pub fn runs(&self, job: &str) -> Vec<Value> {
        let runs = self.json(&["runs", "list", "--job", job]);
        let list = runs.as_array().expect("a list of runs").clone();
        list.into_iter().filter(|run| run["state"] != "PENDING").collect()
    }

    /// Id of the newest run that began.
    pub fn newest_run(&self, job: &str) -> String {
        testbed::wait("a run to begin", Duration::from_secs(30), || {
            self.runs(job).first().map(|run| run["run_id"].as_str().expect("an id").to_owned())
        })
    }

    /// A run as `godwit runs show --json` gives it.
    pub fn show(&self, run: &str) -> Value {
        self.json(&["runs", "show", run])
    }

    /// Asks for an extra run.
    pub fn start_run(&self, job: &str) -> String {
        let run = self.json(&["runs", "start", job]);
        run["run_id"].as_str().unwrap_or_else(|| panic!("no run id in {run}")).to_owned()
    }

    /// Waits until a run ends, whichever way.
    pub fn ended(&self, run: &str) -> Value {
        testbed::wait(&format!("the end of {run}"), RUN_BOUND, || {
            let shown = self.show(run);
            (!matches!(shown["state"].as_str(), Some("ACTIVE" | "PENDING"))).then_some(shown)
        })
    }

    /// Waits until a run completes.
    pub fn completed(&self, run: &str) -> Value {
        let shown = self.ended(run);
        assert_eq!(shown["state"], "COMPLETED", "{shown:#}");
        shown
    }

    /// Exports a volume of a run's image to a raw file.
    pub fn export(&self, run: &Value, volume: usize, to: &Path) {
        let image = run["image_id"].as_str().unwrap_or_else(|| panic!("no image in {run:#}"));
        let to = to.display().to_string();
        self.cli(&["images", "export", image, "--volume", &volume.to_string(), "--format", "raw", "--output", &to]);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A figure of the only or the given volume of a run.
pub fn figure(run: &Value, volume: usize, name: &str) -> u64 {
    run["volumes"][volume][name].as_u64().unwrap_or_else(|| panic!("no {name} in {run:#}"))
}
