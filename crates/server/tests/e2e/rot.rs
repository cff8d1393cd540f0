//! Rot on the store's disk: found, told by image and place, and repaired by the next run from the source.

use crate::daemon::Daemon;
use crate::service::{GODWIT, Service, figure};
use crate::testbed::{self, Random};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const MIB: u64 = 1 << 20;
const SIZE: u64 = 256 * MIB;
const BLOCK: u64 = 65536;

fn packs(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        if entry.file_type().expect("a kind").is_dir() {
            found.extend(packs(&entry.path()));
        } else if entry.file_name().to_string_lossy().starts_with("pack-") {
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

fn flip(file: &Path, at: u64) {
    let mut bytes = std::fs::read(file).expect("a pack");
    bytes[at as usize] ^= 1;
    // In place, as rot does it.
    std::fs::write(file, bytes).expect("write the pack");
}

fn image_of(run: &Value) -> String {
    run["image_id"].as_str().unwrap_or_else(|| panic!("no image in {run:#}")).to_owned()
}

/// `godwit ARGS` with nothing that would lead to a service.
fn alone(args: &[&str]) -> Output {
    Command::new(GODWIT).args(args).env_clear().output().expect("start godwit")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Names, sizes and times of everything in a folder.
fn traces(folder: &Path) -> String {
    let found = Command::new("find").arg(folder).args(["-printf", "%p %s %T@ %C@\n"]).output().expect("find");
    let mut lines: Vec<_> = String::from_utf8_lossy(&found.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    lines.join("\n")
}

struct Scene {
    folder: tempfile::TempDir,
    daemon: Daemon,
    service: Service,
    job: String,
    first: Value,
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let folder = testbed::folder();
        let daemon = Daemon::start(folder.path(), &[SIZE]);
        daemon.write_bytes(0, 0, &Random::new(seed).bytes(40 << 20));
        let service = Service::start(&folder.path().join("data"));
        service.associate(&daemon.qmp_socket());
        let job = service.create_job(&service.only_server());
        let first = service.completed(&service.newest_run(&job));
        Scene { folder, daemon, service, job, first }
    }

    fn objects(&self) -> PathBuf {
        self.service.data.join("objects")
    }

    /// One more run, whose image equals the disk as it is now and verifies wholly.
    fn run_and_compare(&self) -> Value {
        let truth = self.folder.path().join("truth.raw");
        self.daemon.reference(0, &truth);
        let run = self.service.completed(&self.service.start_run(&self.job));
        let copy = self.folder.path().join("copy.raw");
        let _ = std::fs::remove_file(&copy);
        self.service.export(&run, 0, &copy);
        testbed::assert_same_bytes(&copy, &truth);
        self.service.cli(&["images", "verify", &image_of(&run)]);
        run
    }

    fn verification(&self, image: &str) -> Value {
        self.service.json(&["images", "show", image])["verification"].clone()
    }
}

#[test]
fn a_scrub_finds_a_flipped_bit_and_the_next_run_repairs_it() {
    let scene = Scene::new(31);
    let (service, first) = (&scene.service, image_of(&scene.first));
    assert!(service.cli(&["store", "scrub"]).contains("all as written"));
    assert!(service.cli(&["store", "show"]).contains("read as a whole"));
    // A change, so that there are two images that share most.
    scene.daemon.write(0, &[(200 * MIB, 5, BLOCK)]);
    let second = scene.run_and_compare();

    // In the first record of a pack of the first copy: a block that both images have, unless it is the changed one.
    let rotten = packs(&scene.objects()).into_iter().max_by_key(|file| file.metadata().expect("a pack").len());
    let rotten = rotten.expect("packs");
    flip(&rotten, 5000);
    let name = rotten.file_name().expect("a name").to_string_lossy().into_owned();

    let scrub = service.command(&["store", "scrub"]);
    assert_eq!(scrub.status.code(), Some(1), "{}", said(&scrub));
    assert!(said(&scrub).contains(&name) && said(&scrub).contains("1 damaged pack"), "{}", said(&scrub));
    let shown = service.cli(&["store", "show"]);
    assert!(shown.contains("damaged") && shown.contains(&name), "{shown}");
    let damaged = scene.verification(&first)["damaged"].clone();
    assert_eq!(damaged.as_array().map(Vec::len), Some(1), "{damaged:#}");
    assert_eq!((&damaged[0]["length"], damaged[0]["offset"].as_u64().map(|at| at % BLOCK)), (&BLOCK.into(), Some(0)));
    assert!(service.cli(&["images", "list"]).to_lowercase().contains("damaged"));
    assert_eq!(scene.verification(&image_of(&second))["damaged"], damaged, "both share the block");

    let third = scene.run_and_compare();
    assert_eq!(third["volumes"][0]["tracked"], true, "{third:#}");
    assert_eq!(figure(&third, 0, "bytes_read"), BLOCK, "only what is damaged is read: {third:#}");
    assert!(third["volumes"][0]["notes"].to_string().contains("damaged in the parent"), "{third:#}");
    for old in [&first, &image_of(&second)] {
        assert_eq!(scene.verification(old)["state"], "DAMAGED");
        let verified = service.command(&["images", "verify", old]);
        assert_eq!(verified.status.code(), Some(1), "the old one stays what it is: {}", said(&verified));
    }
}

#[test]
fn damaged_pages_are_found_by_a_verification_and_stored_anew() {
    let scene = Scene::new(32);
    let (service, first) = (&scene.service, image_of(&scene.first));
    // The last pack ends with the pages: the byte before its index is of the root page. A run counts its packs in the
    // last digits of their names; it may put them in another order.
    let all = packs(&scene.objects());
    let last = all.iter().max_by_key(|file| file.file_name()).expect("packs");
    let bytes = std::fs::read(last).expect("a pack");
    let footer = bytes.len() - 80;
    let index = u64::from_le_bytes(bytes[footer + 16..footer + 24].try_into().expect("eight bytes"));
    flip(last, index - 20);
    let verified = service.command(&["images", "verify", &first]);
    assert_eq!(verified.status.code(), Some(1), "{}", said(&verified));
    let damaged = scene.verification(&first)["damaged"].clone();
    assert!(damaged[0]["length"].as_u64().is_some_and(|length| length > BLOCK), "a page covers many: {damaged:#}");
    scene.run_and_compare();
    let next = scene.run_and_compare();
    assert_eq!(figure(&next, 0, "bytes_read"), 0, "{next:#}");
}

#[test]
fn images_are_verified_with_the_store_alone_beside_a_service_and_without_it() {
    let scene = Scene::new(33);
    scene.daemon.write(0, &[(200 * MIB, 5, BLOCK)]);
    let second = scene.run_and_compare();
    let (first, second) = (image_of(&scene.first), image_of(&second));
    let data = scene.service.data.display().to_string();
    let beside = alone(&["images", "verify", &first, "--data", &data]);
    assert!(beside.status.success() && said(&beside).contains("verified"), "{}", said(&beside));
    let digest = scene.first["volumes"][0]["root_digest"].as_str().expect("a digest");
    assert!(said(&beside).contains(digest), "{}", said(&beside));
    let objects = scene.objects();
    let Scene { folder, daemon, service, .. } = scene;
    service.stop();
    drop(daemon);

    let before = traces(&folder.path().join("data"));
    let (store, key) = (objects.display().to_string(), format!("file:{data}/master.key"));
    let all = alone(&["images", "verify", "--all", "--store", &store, "--master-key", &key, "--json"]);
    assert!(all.status.success(), "{}", said(&all));
    let reports: Value = serde_json::from_slice(&all.stdout).expect("JSON");
    let states: Vec<_> = reports.as_array().expect("a list").iter().map(|r| (&r["image_id"], &r["state"])).collect();
    assert_eq!(states.len(), 2);
    for (image, state) in states {
        assert!(state == "VERIFIED" && (image == &first || image == &second), "{reports:#}");
    }

    let rotten = packs(&objects).into_iter().max_by_key(|file| file.metadata().expect("a pack").len());
    flip(&rotten.expect("packs"), 5000);
    let found = alone(&["images", "verify", "--all", "--data", &data, "--json"]);
    assert_eq!(found.status.code(), Some(1), "{}", said(&found));
    let reports: Value = serde_json::from_slice(&found.stdout).expect("JSON");
    for report in reports.as_array().expect("a list") {
        assert_eq!(report["state"], "DAMAGED", "{reports:#}");
        let damaged = &report["volumes"][0]["damaged"];
        assert_eq!((damaged.as_array().map(Vec::len), &damaged[0]["length"]), (Some(1), &BLOCK.into()), "{reports:#}");
    }
    let told = said(&alone(&["images", "verify", &first, "--data", &data]));
    assert!(told.contains("damaged: 65536 bytes at") && told.contains("next:"), "{told}");
    let unknown = alone(&["images", "verify", "ami-00000000000000000", "--data", &data]);
    assert!(unknown.status.code() == Some(1) && said(&unknown).contains("there is no image"), "{}", said(&unknown));
    let mtime =
        |text: &str| text.lines().filter(|line| !line.contains("/pack-")).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(mtime(&traces(&folder.path().join("data"))), mtime(&before), "nothing was written");

    let elsewhere = folder.path().join("master.key");
    std::fs::rename(folder.path().join("data/master.key"), &elsewhere).expect("move the key");
    let keyless = alone(&["images", "verify", "--all", "--data", &data]);
    assert!(keyless.status.code() == Some(1) && said(&keyless).contains("master.key is missing"), "{}", said(&keyless));
    assert!(!folder.path().join("data/master.key").exists(), "no key is made");
}
