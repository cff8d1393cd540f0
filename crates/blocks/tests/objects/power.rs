//! What a power cut leaves of a store in a folder: on a real ext4, all that was said to be done.
//!
//! The file system lies in a file behind a loop device. What it still holds in memory is not in that file, as it would not be
//! on a disk without power. A copy of the file is mounted, which replays the journal, and is looked at.

use godwit_blocks::store::FolderStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use tempfile::TempDir;

/// An ext4 that writes nothing by itself for as long as a test lasts.
struct Disk {
    folder: TempDir,
}

/// Unmounted with the value.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn command(program: &str, arguments: &[&str]) {
    let done = Command::new(program).args(arguments).output().unwrap();
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

impl Disk {
    fn new() -> (Disk, Mounted) {
        let disk = Disk { folder: tempfile::tempdir().unwrap() };
        let image = disk.path("disk");
        fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
        command("/sbin/mkfs.ext4", &["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", image.to_str().unwrap()]);
        let mounted = disk.mount("disk", "live");
        (disk, mounted)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mount(&self, image: &str, at: &str) -> Mounted {
        let (image, at) = (self.path(image), self.path(at));
        fs::create_dir_all(&at).unwrap();
        command("mount", &["-o", "loop,commit=900", image.to_str().unwrap(), at.to_str().unwrap()]);
        Mounted(at)
    }

    /// What is there of a path if the power goes now.
    fn after_a_cut(&self, path: &str) -> Option<Vec<u8>> {
        fs::copy(self.path("disk"), self.path("copy")).unwrap();
        let cut = self.mount("copy", "cut");
        fs::read(cut.0.join(path)).ok()
    }
}

fn content(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|at| ((at + seed) % 251) as u8).collect()
}

/// This is how a file looks that nobody made durable: else the other test could not fail.
#[test]
fn what_was_not_synced_is_lost_in_a_power_cut() {
    let (disk, live) = Disk::new();
    fs::create_dir(live.0.join("new")).unwrap();
    fs::write(live.0.join("new/file"), content(100_000, 0)).unwrap();
    assert_eq!(disk.after_a_cut("new/file"), None);
    fs::File::open(live.0.join("new/file")).unwrap().sync_all().unwrap();
    fs::File::open(live.0.join("new")).unwrap().sync_all().unwrap();
    assert_eq!(disk.after_a_cut("new/file"), Some(content(100_000, 0)));
    fs::remove_file(live.0.join("new/file")).unwrap();
    assert!(disk.after_a_cut("new/file").is_some(), "nor is a deletion");
}

#[tokio::test]
async fn what_a_folder_says_is_done_survives_a_power_cut() {
    let (disk, live) = Disk::new();
    let root = live.0.join("store");
    fs::create_dir(&root).unwrap();
    let store = FolderStore::open(&root, 0).unwrap();
    let create = || PutOptions::from(PutMode::Create);
    // The first object in a folder and another one, small ones and those that are written around the cache.
    for (n, length) in [5, 100_000, 3 << 20, 5_000_001, 4096].into_iter().enumerate() {
        for folder in ["packs/00", "packs/01", "snapshots"] {
            let name = format!("{folder}/{n}");
            store.put_opts(&Path::from(&*name), content(length, n).into(), create()).await.unwrap();
            assert!(disk.after_a_cut(&format!("store/{name}")) == Some(content(length, n)), "{name} of {length} bytes");
        }
    }
    let replaced = Path::from("snapshots/0");
    let seen = store.head(&replaced).await.unwrap();
    let update = PutMode::Update(UpdateVersion { e_tag: seen.e_tag, version: seen.version });
    store.put_opts(&replaced, content(700, 9).into(), PutOptions::from(update)).await.unwrap();
    assert_eq!(disk.after_a_cut("store/snapshots/0"), Some(content(700, 9)));
    for name in ["packs/00/2", "snapshots/0"] {
        store.delete(&Path::from(name)).await.unwrap();
        assert_eq!(disk.after_a_cut(&format!("store/{name}")), None, "{name} is back");
    }
}
