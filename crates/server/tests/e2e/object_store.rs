//! A service whose objects are in a bucket of an S3 server.

use crate::daemon::Daemon;
use crate::seaweed::{BUCKET, KEY, READER, SECRET, Server};
use crate::service::{GODWIT, Service, figure};
use crate::testbed::{self, Random};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

const MIB: u64 = 1 << 20;

/// Settings for a store in the bucket, and the file with the keys to it.
fn settings(folder: &Path, endpoint: &str, bucket: &str, key: &str) -> PathBuf {
    let keys = folder.join(format!("{key}.keys"));
    std::fs::write(&keys, format!("[store]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n"))
        .expect("write the keys");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o600)).expect("make the keys private");
    let file = folder.join(format!("{key}-{bucket}.toml"));
    let keys = keys.display();
    let text = format!(
        "[store]\nurl = 's3://{bucket}/site-1'\n[store.s3]\nendpoint = '{endpoint}'\ncredentials = 'file:{keys}'\nprofile = 'store'\n"
    );
    std::fs::write(&file, text).expect("write the settings");
    file
}

#[test]
fn images_in_a_bucket_equal_their_source_and_no_secret_is_told() {
    let folder = testbed::folder();
    let server = Server::start();
    let daemon = Daemon::start(folder.path(), &[64 * MIB]);
    let mut random = Random::new(61);
    daemon.write_bytes(0, 3 * MIB, &random.bytes(40 << 20));
    let data = folder.path().join("data");
    let config = settings(folder.path(), &server.endpoint(), BUCKET, KEY).display().to_string();
    let chatty = ["--config", &config, "--log", "debug,object_store=trace,hyper_util=trace,reqwest=trace"];
    let service = Service::start_with(&data, &chatty);
    service.associate(&daemon.qmp_socket());
    let job = service.create_job(&service.only_server());
    service.completed(&service.newest_run(&job));

    let changed = daemon.scatter(0, 40, 64 * MIB, &mut random);
    let truth = folder.path().join("truth.raw");
    daemon.reference(0, &truth);
    let run = service.completed(&service.start_run(&job));
    assert_eq!(figure(&run, 0, "bytes_read"), changed * 65536, "{run:#}");

    // A service that starts again finds everything.
    service.stop();
    let service = Service::start_with(&data, &chatty);
    let image = run["image_id"].as_str().expect("an image").to_owned();
    service.cli(&["images", "verify", &image]);
    let copy = folder.path().join("copy.raw");
    service.export(&run, 0, &copy);
    testbed::assert_same_bytes(&copy, &truth);
    let swept = service.cli(&["store", "sweep"]);
    assert!(swept.contains("Swept"), "{swept}");
    service.cli(&["images", "verify", &image]);
    service.stop();

    let objects = std::fs::read_dir(data.join("objects")).expect("a folder").count();
    assert_eq!(objects, 0, "the objects are in the bucket");
    for file in [data.with_extension("log"), data.join("state.db"), data.join("store")] {
        let bytes = std::fs::read(&file).expect("what the service wrote");
        let holds = |secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!holds(SECRET), "{} tells the secret", file.display());
    }
    let log = std::fs::read_to_string(data.with_extension("log")).expect("a log");
    assert!(log.contains("DEBUG"), "a log that tells nothing shows nothing");
}

/// What `godwit serve` says when it does not start.
fn refusal(data: &Path, config: &Path, keys: &[(&str, &str)]) -> String {
    let output = Command::new(GODWIT)
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .arg("--config")
        .arg(config)
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY")
        .envs(keys.iter().copied())
        .output()
        .expect("start godwit serve");
    assert!(!output.status.success(), "it started: {output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!said.contains(SECRET), "{said}");
    said
}

#[test]
fn a_store_that_cannot_be_used_is_refused_at_the_start_with_cause_and_remedy() {
    let folder = testbed::folder();
    let server = Server::start();
    let data = folder.path().join("data");
    let of = |bucket: &str, key: &str| settings(folder.path(), &server.endpoint(), bucket, key);

    let said = refusal(&data, &of("no-such-bucket", KEY), &[]);
    assert!(said.contains("the bucket no-such-bucket does not exist") && said.contains("create the bucket"), "{said}");
    let said = refusal(&data, &of(BUCKET, READER), &[]);
    assert!(said.contains("AccessDenied") && said.contains("check the credentials"), "{said}");

    let by_environment = folder.path().join("environment.toml");
    let endpoint = server.endpoint();
    let text = format!("[store]\nurl = 's3://{BUCKET}/site-1'\n[store.s3]\nendpoint = '{endpoint}'\n");
    std::fs::write(&by_environment, text).expect("write the settings");
    let said = refusal(&data, &by_environment, &[("AWS_ACCESS_KEY_ID", KEY)]);
    assert!(said.contains("AWS_SECRET_ACCESS_KEY is not set"), "{said}");
    let keys = [("AWS_ACCESS_KEY_ID", KEY), ("AWS_SECRET_ACCESS_KEY", "wrong")];
    let said = refusal(&data, &by_environment, &keys);
    assert!(said.contains("SignatureDoesNotMatch"), "{said}");

    // A data folder that works with one store does not begin with another; nor does a store with another data folder.
    let config = of(BUCKET, KEY);
    Service::start_with(&data, &["--config", &config.display().to_string()]).stop();
    let none = folder.path().join("none.toml");
    std::fs::write(&none, "").expect("write the settings");
    let said = refusal(&data, &none, &[]);
    assert!(said.contains("works with the store s3://godwit-test/site-1"), "{said}");
    let said = refusal(&folder.path().join("other"), &config, &[]);
    assert!(said.contains("belongs to another data folder"), "{said}");
}
