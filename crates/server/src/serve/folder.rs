//! The data folder: whose it is, of which version, and the few files in it that are neither state nor objects.
//!
//! ```text
//! DIR/lock         held while a process serves the folder; names that process
//! DIR/version      format of the folder
//! DIR/owner        eight digits that mark what we create at sources
//! DIR/master.key   wraps all other keys, unless the master key comes from elsewhere
//! DIR/credentials  the administrator's keys, for people
//! DIR/webhook.secret  signs notifications, unless another is configured
//! DIR/store        where the objects are, if not in the folder
//! DIR/state.db  DIR/objects/  DIR/scratch/  DIR/run/
//! ```
//!
//! # Consistency
//! One process at a time, by an advisory lock that the kernel releases when the process ends, however it ends.
//! # Retries
//! None: an error is told and the service does not start.
//! # Cancellation
//! Everything here is synchronous and short.
//! # Completion
//! A file that was written is durable when the call returns, and so is its name.
//! # Crash consistency
//! Files are written beside and renamed, so each is whole or absent; what is absent is made at the next start. Only the
//! master key is not made anew once there is something that needs it.

use crate::outside;
use crate::serve::master::{MasterBytes, MasterSource, from_hex};
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Format of the folder that this program writes and reads.
pub const VERSION: u32 = 1;

/// Why a folder is not served.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process serves it.
    #[error("the data folder {} is in use by another process{}", folder.display(), holder(*.pid))]
    InUse {
        /// Which folder.
        folder: PathBuf,
        /// Of whom, if it said so.
        pid: Option<u32>,
    },
    /// A newer program wrote it.
    #[error("the data folder {} has the format {found}; this godwit knows formats up to {VERSION}", folder.display())]
    Newer {
        /// Which folder.
        folder: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It holds something else.
    #[error("{} is not empty and not a data folder of godwit: it holds {found}", folder.display())]
    Foreign {
        /// Which folder.
        folder: PathBuf,
        /// One of the things in it.
        found: String,
    },
    /// A file of ours is not as we write it.
    #[error("{} is damaged: {problem}", file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// The key is gone, what needs it is not.
    #[error("{} is missing, and what the folder holds cannot be read without it", file.display())]
    KeyMissing {
        /// Which file.
        file: PathBuf,
    },
    /// The file that is to hold the master key is not there.
    #[error("there is no file {} to read the master key from", file.display())]
    NoMasterFile {
        /// Which file.
        file: PathBuf,
    },
    /// The variable that is to hold the master key does not.
    #[error("the variable {name} {problem}")]
    MasterVariable {
        /// Its name.
        name: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Others may read a secret.
    #[error("{} can be read by other users (mode {mode:03o})", file.display())]
    TooOpen {
        /// Which file.
        file: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The system refused.
    #[error("could not {verb} {}: {reason}", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's words.
        reason: io::Error,
    },
}

impl FolderError {
    /// What to do about it.
    pub fn next_step(&self) -> String {
        match self {
            FolderError::InUse { .. } => "stop that process, or give another folder with --data".to_owned(),
            FolderError::Newer { .. } => "use the godwit that wrote it, or a newer one; nothing was changed".to_owned(),
            FolderError::Foreign { .. } => "give an empty folder, or one that does not exist yet".to_owned(),
            FolderError::Damaged { file, .. } => format!("bring {} back from a backup", file.display()),
            FolderError::KeyMissing { file } => format!(
                "bring {} back from a backup; or, if the master key is elsewhere, say where with --master-key",
                file.display()
            ),
            FolderError::NoMasterFile { file } => format!(
                "check the path; for a new data folder, make a key: (umask 077 && openssl rand -hex 32 > {})",
                file.display()
            ),
            FolderError::MasterVariable { name, .. } => {
                format!(
                    "set {name} to 64 hexadecimal digits or to 32 bytes in base64, for example of: openssl rand -hex 32"
                )
            }
            FolderError::TooOpen { file, .. } => format!("chmod 600 {}", file.display()),
            FolderError::Io { reason, .. } if reason.kind() == io::ErrorKind::PermissionDenied => {
                "check who owns the folder, and as whom you run godwit".to_owned()
            }
            FolderError::Io { reason, .. } if reason.kind() == io::ErrorKind::StorageFull => {
                "free space on that disk".to_owned()
            }
            FolderError::Io { .. } => "check the path and the disk that it is on".to_owned(),
        }
    }
}

/// An open data folder. It is ours until this is dropped.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    owner: String,
    master: MasterBytes,
    _lock: File,
}

impl Folder {
    /// Opens the folder at `path`, which is created if it is not there. What a crash of an earlier first start left
    /// out is made up for.
    #[cfg(test)]
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        Self::open_with(path, &MasterSource::Folder)
    }

    /// The same, with the master key from elsewhere. It is read before anything is created.
    pub fn open_with(path: &Path, master: &MasterSource) -> Result<Self, FolderError> {
        let given = master.read()?;
        create_private(path)?;
        let lock = lock(path)?;
        check_version(path)?;
        let owner = owner(path)?;
        let master = given.map_or_else(|| master_key(path), Ok)?;
        for folder in ["objects", "run", "scratch"] {
            create_private(&path.join(folder))?;
        }
        sync_folder(path)?;
        Ok(Self { path: path.to_owned(), owner, master, _lock: lock })
    }

    /// Eight hexadecimal digits, drawn once.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The master key.
    pub fn master(&self) -> &MasterBytes {
        &self.master
    }

    /// Where the state is.
    pub fn state(&self) -> PathBuf {
        self.path.join("state.db")
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it stands which store the objects are in, if not in the folder.
    pub fn place(&self) -> PathBuf {
        self.path.join("store")
    }

    /// Where the objects are, unless they are in a store elsewhere.
    pub fn objects(&self) -> PathBuf {
        self.path.join("objects")
    }

    /// Where sockets and markers of freezes are.
    pub fn runtime(&self) -> PathBuf {
        self.path.join("run")
    }

    /// Where the administrator's keys are.
    pub fn credentials(&self) -> PathBuf {
        self.path.join("credentials")
    }
}

/// Writes a file that only its owner may read: beside, durable, then renamed.
pub fn write_private(file: &Path, content: &[u8]) -> Result<(), FolderError> {
    let beside = file.with_added_extension("new");
    let written = || -> io::Result<()> {
        // What a crash left there may have other permissions.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        open.write_all(content)?;
        open.sync_all()?;
        std::fs::rename(&beside, file)
    };
    written().map_err(|reason| FolderError::Io { verb: "write", path: file.to_owned(), reason })?;
    file.parent().map_or(Ok(()), sync_folder)
}

/// Refuses a file with a secret that others than its owner may read or write.
pub fn refuse_open(file: &Path) -> Result<(), FolderError> {
    let found = std::fs::metadata(file);
    let found = found.map_err(|reason| FolderError::Io { verb: "look at", path: file.to_owned(), reason })?;
    let mode = found.permissions().mode() & 0o777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(FolderError::TooOpen { file: file.to_owned(), mode }) }
}

/// Creates a folder, and those above it, that only their owner may enter. What is new is durable in the folder above.
pub fn create_private(path: &Path) -> Result<(), FolderError> {
    let failed = |reason| FolderError::Io { verb: "create", path: path.to_owned(), reason };
    let absolute = std::path::absolute(path).map_err(failed)?;
    let new: Vec<&Path> = absolute.ancestors().take_while(|folder| !folder.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(&absolute).map_err(failed)?;
    new.into_iter().filter_map(Path::parent).try_for_each(sync_folder)
}

fn sync_folder(path: &Path) -> Result<(), FolderError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|reason| FolderError::Io { verb: "sync", path: path.to_owned(), reason })
}

fn lock(folder: &Path) -> Result<File, FolderError> {
    let path = folder.join("lock");
    let failed = |verb| {
        let path = path.clone();
        move |reason| FolderError::Io { verb, path, reason }
    };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed("open"))?;
    if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(failed("lock")(error.into()));
        }
        let mut text = String::new();
        let _ = file.read_to_string(&mut text);
        return Err(FolderError::InUse { folder: folder.to_owned(), pid: text.trim().parse().ok() });
    }
    let mut named = || -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    named().map_err(failed("write"))?;
    Ok(file)
}

/// Comes before everything that writes more than the lock.
fn check_version(folder: &Path) -> Result<(), FolderError> {
    let file = folder.join("version");
    let Some(text) = read(&file)? else {
        only_ours(folder)?;
        return write_private(&file, format!("{VERSION}\n").as_bytes());
    };
    match text.trim().parse::<u32>() {
        Ok(found) if found > VERSION => Err(FolderError::Newer { folder: folder.to_owned(), found }),
        Ok(1..) => Ok(()),
        _ => Err(FolderError::Damaged { file, problem: "it should hold a number" }),
    }
}

/// Whether a folder without version holds nothing but what a crash of the first start can leave.
fn only_ours(folder: &Path) -> Result<(), FolderError> {
    let failed = |reason| FolderError::Io { verb: "list", path: folder.to_owned(), reason };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if !["lock", "version.new", "lost+found"].iter().any(|ours| name == *ours) {
            let found = name.to_string_lossy().into_owned();
            return Err(FolderError::Foreign { folder: folder.to_owned(), found });
        }
    }
    Ok(())
}

fn owner(folder: &Path) -> Result<String, FolderError> {
    let file = folder.join("owner");
    if let Some(text) = read(&file)? {
        let owner = text.trim();
        let whole = owner.len() == 8 && owner.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let damaged = FolderError::Damaged { file, problem: "it should hold eight hexadecimal digits" };
        return if whole { Ok(owner.to_owned()) } else { Err(damaged) };
    }
    let owner = format!("{:08x}", outside::random_bits() as u32);
    write_private(&file, format!("{owner}\n").as_bytes())?;
    Ok(owner)
}

fn master_key(folder: &Path) -> Result<MasterBytes, FolderError> {
    let file = folder.join("master.key");
    let Some(text) = read(&file)?.map(Zeroizing::new) else {
        let needed = ["state.db", "objects"].iter().any(|name| folder.join(name).exists());
        if needed {
            return Err(FolderError::KeyMissing { file });
        }
        let mut bytes = Zeroizing::new([0; 32]);
        outside::fill_random(&mut *bytes);
        write_private(&file, to_hex(&bytes).as_bytes())?;
        return Ok(MasterBytes(bytes));
    };
    refuse_open(&file)?;
    let damaged = FolderError::Damaged { file, problem: "it should hold 64 hexadecimal digits" };
    from_hex(text.trim()).map(MasterBytes).ok_or(damaged)
}

/// The master key of a folder that is only looked at: nothing is created, and the lock is left alone.
pub fn master_of(folder: &Path, source: &MasterSource) -> Result<MasterBytes, FolderError> {
    let file = folder.join("master.key");
    match source.read()? {
        Some(given) => Ok(given),
        None if file.exists() => master_key(folder),
        None => Err(FolderError::KeyMissing { file }),
    }
}

fn read(file: &Path) -> Result<Option<String>, FolderError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(FolderError::Damaged { file: file.to_owned(), problem: "it should hold text" })
        }
        Err(reason) => Err(FolderError::Io { verb: "read", path: file.to_owned(), reason }),
    }
}

fn to_hex(bytes: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in bytes {
        text.push_str(&format!("{byte:02x}"));
    }
    text.push('\n');
    text
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (process {pid})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn listing(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut all: Vec<_> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), std::fs::read(&path).unwrap_or_default()))
            .collect();
        all.sort();
        all
    }

    #[test]
    fn the_first_start_makes_a_private_folder_and_the_second_finds_the_same() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("a/data");
        let first = Folder::open(&path).unwrap();
        let (owner, key) = (first.owner().to_owned(), *first.master().expose());
        assert_eq!((mode(&path), mode(&path.join("master.key"))), (0o700, 0o600));
        assert_eq!(mode(&first.objects()), 0o700);
        drop(first);
        let again = Folder::open(&path).unwrap();
        assert_eq!((again.owner(), again.master().expose()), (owner.as_str(), &key));
        assert!(!format!("{again:?}").contains(&format!("{:02x}{:02x}{:02x}", key[0], key[1], key[2])));
    }

    #[test]
    fn a_folder_in_use_names_the_process() {
        let parent = tempfile::tempdir().unwrap();
        let held = Folder::open(parent.path()).unwrap();
        let error = Folder::open(parent.path()).unwrap_err();
        let pid = std::process::id();
        assert!(matches!(error, FolderError::InUse { pid: Some(p), .. } if p == pid), "{error}");
        assert!(error.to_string().contains(&parent.path().display().to_string()));
        drop(held);
        assert!(Folder::open(parent.path()).is_ok());
    }

    #[test]
    fn a_newer_folder_is_refused_and_untouched() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("version"), "2\n").unwrap();
        std::fs::write(parent.path().join("lock"), "").unwrap();
        let error = Folder::open(parent.path()).unwrap_err();
        assert!(matches!(error, FolderError::Newer { found: 2, .. }), "{error}");
        let names: Vec<_> = listing(parent.path()).into_iter().map(|(path, _)| path).collect();
        assert_eq!(names, [parent.path().join("lock"), parent.path().join("version")]);
        assert_eq!(std::fs::read_to_string(parent.path().join("version")).unwrap(), "2\n");
    }

    #[test]
    fn a_folder_with_other_things_in_it_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("thesis.odt"), "x").unwrap();
        let error = Folder::open(parent.path()).unwrap_err();
        assert!(matches!(&error, FolderError::Foreign { found, .. } if found == "thesis.odt"), "{error}");
        assert!(!parent.path().join("master.key").exists());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        drop(Folder::open(parent.path()).unwrap());
        let file = parent.path().join("master.key");
        for bits in [0o640, 0o604, 0o644] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(bits)).unwrap();
            let error = Folder::open(parent.path()).unwrap_err();
            assert!(matches!(error, FolderError::TooOpen { mode, .. } if mode == bits), "{error}");
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert!(Folder::open(parent.path()).is_ok());
    }

    #[test]
    fn a_lost_key_is_not_replaced_and_a_damaged_one_is_told() {
        let parent = tempfile::tempdir().unwrap();
        drop(Folder::open(parent.path()).unwrap());
        let file = parent.path().join("master.key");
        for damaged in ["", "00", &"g".repeat(64), &"é".repeat(32)] {
            write_private(&file, damaged.as_bytes()).unwrap();
            assert!(matches!(Folder::open(parent.path()), Err(FolderError::Damaged { .. })), "{damaged}");
        }
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(Folder::open(parent.path()), Err(FolderError::KeyMissing { .. })));
        assert!(!file.exists());
    }

    #[test]
    fn a_first_start_that_crashed_anywhere_is_made_up_for() {
        // Files appear in this order, each whole; what a crash leaves is a beginning of it and a file half written.
        for left in
            [&[][..], &["lock"], &["lock", "version.new"], &["lock", "version"], &["lock", "version", "owner.new"]]
        {
            let parent = tempfile::tempdir().unwrap();
            for name in left {
                let content = if *name == "version" { "1\n" } else { "" };
                std::fs::write(parent.path().join(name), content).unwrap();
            }
            let folder = Folder::open(parent.path()).unwrap();
            assert_eq!(folder.owner().len(), 8, "{left:?}");
        }
    }

    #[test]
    fn private_files_are_private_also_when_they_replace_others() {
        let parent = tempfile::tempdir().unwrap();
        let file = parent.path().join("credentials");
        std::fs::write(&file, "old").unwrap();
        std::fs::write(parent.path().join("credentials.new"), "left by a crash").unwrap();
        write_private(&file, b"new").unwrap();
        assert_eq!((mode(&file), std::fs::read(&file).unwrap().as_slice()), (0o600, &b"new"[..]));
        assert_eq!(listing(parent.path()).len(), 1);
    }
}
