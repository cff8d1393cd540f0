//! A guest boots from an image that nobody exported: `godwit images serve` with a real service behind it.

use crate::daemon::Daemon;
use crate::service::{GODWIT, Service};
use crate::testbed::{self, Random};
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const MIB: u64 = 1 << 20;

/// A running `godwit images serve`; killed with the value.
struct Serving {
    child: Child,
    uri: String,
}

impl Serving {
    fn start(service: &Service, args: &[&str]) -> Serving {
        let mut command = Command::new(GODWIT);
        command.args(["images", "serve", "--json"]).args(args).envs(service.environment());
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY").env_remove("AWS_PROFILE");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start godwit");
        let stdout = child.stdout.take().expect("piped");
        let told = serde_json::Deserializer::from_reader(stdout).into_iter::<Value>().next();
        let told = told.and_then(Result::ok).expect("it says where it serves");
        Serving { child, uri: told["uri"].as_str().expect("an address").to_owned() }
    }

    /// Whether these bytes can be read.
    fn reads(&self, offset: u64, length: u64) -> bool {
        let command = format!("read {offset} {length}");
        let output = Command::new("qemu-io").args(["-r", "-f", "raw", &self.uri, "-c", &command]).output();
        let output = output.expect("qemu-io of qemu-utils");
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        match (said.contains(&format!("read {length}/{length} bytes")), said.contains("Input/output error")) {
            (true, false) => true,
            (false, true) => false,
            _ => panic!("neither read nor refused: {said}"),
        }
    }

    /// Ends it in order; gives what it said on standard error.
    fn end(mut self) -> String {
        testbed::run("kill", &["-INT", &self.child.id().to_string()]);
        let child = &mut self.child;
        let status = testbed::wait("the end of it", Duration::from_secs(30), || child.try_wait().expect("wait"));
        let mut said = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut said).expect("UTF-8");
        assert!(status.success(), "{status}: {said}");
        said
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Boots a guest; gives which boot of its disk it says that it is.
fn boot(uri: &str, more: &[&str]) -> u32 {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testbed/boot-image");
    let console = testbed::run(tool, &[&[uri, "--format", "raw"], more].concat());
    assert!(console.contains("GODWIT-CHECK ok"), "{console}");
    let boots = console.split("boot=").nth(1).and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    boots.unwrap_or_else(|| panic!("it does not say which boot it is: {console}"))
}

#[test]
fn an_image_boots_at_once_and_what_the_guest_wrote_over_it_survives_a_kill() {
    let folder = testbed::folder();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let disk = testbed::prepared("GODWIT_TESTBED").join("small.raw").display().to_string();
    testbed::run("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", &disk, &path("disk0.qcow2")]);
    let daemon = Daemon::over(folder.path(), 1);
    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());
    let run = service.completed(&service.newest_run(&service.create_job(&service.only_server())));
    let image = run["image_id"].as_str().expect("an image");

    let (socket, overlay) = (path("s"), path("o"));
    let serving = Serving::start(&service, &[image, "--socket", &socket]);
    let first = boot(&serving.uri, &[]);
    testbed::run("nbdcopy", &[&serving.uri, &path("copy.raw")]);
    testbed::assert_same_bytes(Path::new(&path("copy.raw")), Path::new(&disk));
    assert_eq!(serving.end(), "");

    let kept = [image, "--socket", &socket, "--copy-on-write", "--overlay", &overlay];
    let serving = Serving::start(&service, &kept);
    assert_eq!(boot(&serving.uri, &["--write"]), first);
    assert_eq!(boot(&serving.uri, &["--write"]), first + 1);
    // Kill -9: what the guest flushed is in the overlay.
    drop(serving);
    let serving = Serving::start(&service, &kept);
    assert_eq!(boot(&serving.uri, &["--write"]), first + 2);
    assert_eq!(serving.end(), "");

    let serving = Serving::start(&service, &[image, "--socket", &socket, "--copy-on-write"]);
    assert_eq!(boot(&serving.uri, &["--write"]), first, "the image itself did not change");
}

#[test]
fn what_keeps_an_image_from_being_read_is_an_error_of_the_request_and_told() {
    let folder = testbed::folder();
    let daemon = Daemon::start(folder.path(), &[64 * MIB, 16 * MIB]);
    let mut random = Random::new(61);
    daemon.write_bytes(0, 0, &random.bytes(60 << 20));
    daemon.write_bytes(1, 0, &random.bytes(1 << 20));
    let truth = folder.path().join("truth.raw");
    daemon.reference(1, &truth);
    let service = Service::start(&folder.path().join("data"));
    service.associate(&daemon.qmp_socket());
    let key = service.json(&["keys", "create", "--alias", "alias/k"]);
    let server = service.only_server();
    let job = service.json(&["jobs", "create", "--server", &server, "--every", "12h", "--key", "alias/k"]);
    let run = service.completed(&service.newest_run(job["job_id"].as_str().expect("an id")));
    let image = run["image_id"].as_str().expect("an image");

    let socket = folder.path().join("s").display().to_string();
    let serving = Serving::start(&service, &[image, "--socket", &socket]);
    let second = serving.uri.replace(":///", ":///1");
    testbed::run("qemu-img", &["compare", "-f", "raw", "-F", "raw", &second, &truth.display().to_string()]);
    assert!(serving.reads(0, 65536));
    service.cli(&["keys", "disable", "alias/k"]);
    assert!(!serving.reads(20 * MIB, 65536));
    assert!(serving.reads(0, 65536), "what is at hand is still read");
    service.cli(&["keys", "enable", "alias/k"]);
    assert!(serving.reads(20 * MIB, 65536));
    service.cli(&["images", "delete", image]);
    assert!(!serving.reads(40 * MIB, 65536));
    let said = serving.end();
    let id = key["key_id"].as_str().expect("an id");
    assert!(said.contains("volume 0") && said.contains("KeyDisabled") && said.contains(id), "{said}");
    assert!(said.contains(&format!("there is no image {image}")), "{said}");
}
