//! The unfinished file of an export, and how it gets its name.
//!
//! The folder may be one that others write to, `/tmp` for example: what lies under the partial file's name may have been
//! put there by somebody else, and another export to the same name may begin, end or be killed at any time.

use crate::cli::error::CliError;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use rustix::process::geteuid;
use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Readable by its owner alone: it holds the disk unencrypted.
pub(super) const MODE: u32 = 0o600;
/// How often a file that is taken away while it is opened is opened anew: each time another export has come or gone.
const ATTEMPTS: usize = 16;

/// The unfinished file, locked. What nothing can be made of any more is removed when this is dropped.
pub(super) struct Partial {
    /// Writes into it.
    pub file: File,
    path: PathBuf,
    is_kept: bool,
}

impl Partial {
    /// Opens the unfinished file of `output` as an earlier export left it, or creates it.
    pub fn open(output: &Path) -> Result<Self, CliError> {
        let path = output.with_added_extension("partial");
        for _ in 0..ATTEMPTS {
            let Some(file) = lock(open(&path)?, &path)? else { continue };
            let length = file.metadata().map_err(|error| cannot_create(&path, &error))?.len();
            return Ok(Self { file, path, is_kept: length > 0 });
        }
        Err(busy(&path))
    }

    /// Forgets what was in it.
    pub fn empty(&mut self) -> Result<(), CliError> {
        // First what names the content, so that it is never taken for what the state says.
        remove(&self.state_path()).map_err(|error| cannot_create(&self.state_path(), &error))?;
        self.is_kept = false;
        let emptied = self.file.set_permissions(Permissions::from_mode(MODE)).and_then(|()| self.file.set_len(0));
        emptied.map_err(|error| self.failed(&error))
    }

    /// It stays if this ends before it is published.
    pub fn keep(&mut self) {
        self.is_kept = true;
    }

    /// It goes if this ends before it is published.
    pub fn discard(&mut self) {
        self.is_kept = false;
    }

    /// Whether it stays.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it is written what it holds.
    pub fn state_path(&self) -> PathBuf {
        self.path.with_added_extension("state")
    }

    /// Makes it durable and gives it its name. Tells the bytes that it takes on disk.
    pub fn publish(mut self, output: &Path) -> Result<u64, CliError> {
        let published = self.named(output);
        published.map_err(|error| self.failed(&error))
    }

    fn named(&mut self, output: &Path) -> io::Result<u64> {
        self.file.sync_all()?;
        let on_disk = self.file.metadata()?.blocks() * 512;
        std::fs::rename(&self.path, output)?;
        // Before the lock goes: afterwards it may be another export's. What is left by a crash here names nothing.
        let removed = remove(&self.state_path());
        // The old name may be another export's, too.
        self.is_kept = true;
        removed?;
        sync_folder(output)?;
        Ok(on_disk)
    }

    /// What to say if it cannot be written.
    pub fn failed(&self, error: &io::Error) -> CliError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                CliError::failed(format!("no space left for {}; the unfinished file was removed", self.path.display()))
                    .next("free space there, or give a path on another disk")
            }
            io::ErrorKind::FileTooLarge => {
                CliError::failed(format!("{}: its file system cannot hold a file of this size", self.path.display()))
                    .next("give a path on another disk")
            }
            _ => CliError::failed(format!("{} cannot be written: {error}", self.path.display())),
        }
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.is_kept {
            // Still locked, so they are ours. If they cannot be removed, their names say what they are.
            let _ = remove(&self.state_path());
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the name of `file` durable.
pub(super) fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// Refuses to write where something is already, unless it may be replaced.
pub(super) fn refuse_existing(file: &Path, force: bool) -> Result<(), CliError> {
    match std::fs::symlink_metadata(file) {
        Ok(found) if found.is_dir() => {
            Err(CliError::failed(format!("{} is a folder", file.display())).next("give the name of a file in it"))
        }
        Ok(_) if !force => Err(CliError::failed(format!("{} is there already", file.display()))
            .next("give another name, or --force to replace it")),
        _ => Ok(()),
    }
}

fn open(path: &Path) -> Result<File, CliError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(MODE);
    // A link would lead what is written to wherever its maker wants it.
    options.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(path).map_err(|error| cannot_create(path, &error))
}

/// The same file, locked; `None` if it lost its name before it was: then it is what another export has published or
/// removed, and not to be touched.
fn lock(file: File, path: &Path) -> Result<Option<File>, CliError> {
    let failed = |error: io::Error| cannot_create(path, &error);
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(busy(path)),
        Err(error) => return Err(failed(error.into())),
    }
    let locked = file.metadata().map_err(failed)?;
    let has_name = match std::fs::symlink_metadata(path) {
        Ok(named) => (named.dev(), named.ino()) == (locked.dev(), locked.ino()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(failed(error)),
    };
    if !has_name {
        return Ok(None);
    }
    match foreign(&locked, geteuid().as_raw()) {
        Some(why) => Err(refused(path, why)),
        None => Ok(Some(file)),
    }
}

/// Why a file is none that an export of `user` left.
pub(super) fn foreign(file: &Metadata, user: u32) -> Option<&'static str> {
    if !file.is_file() {
        return Some("is not a regular file");
    }
    if file.uid() != user {
        return Some("belongs to another user");
    }
    // What is written to it would appear there, too.
    (file.nlink() > 1).then_some("has a second name elsewhere")
}

fn refused(path: &Path, why: &str) -> CliError {
    CliError::failed(format!("{} {why}: no export left it there", path.display()))
        .next("remove it, or give another name for the output")
}

fn busy(path: &Path) -> CliError {
    CliError::failed(format!("{} is being written by another export", path.display()))
        .next("wait for it, or give another name")
}

fn cannot_create(path: &Path, error: &io::Error) -> CliError {
    if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) {
        return refused(path, "is a symbolic link");
    }
    let next = match error.kind() {
        io::ErrorKind::NotFound => "create the folder first, or give another path",
        io::ErrorKind::PermissionDenied => "give a path that you may write to",
        _ => "give another path",
    };
    CliError::failed(format!("{} cannot be created: {error}", path.display())).next(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    use std::os::unix::fs::symlink;

    fn anew(output: &Path) -> Result<Partial, CliError> {
        let mut partial = Partial::open(output)?;
        partial.empty()?;
        Ok(partial)
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn an_unfinished_file_leaves_nothing_and_a_finished_one_only_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("disk.raw");
        let partial = anew(&output).unwrap();
        assert!(anew(&output).err().unwrap().what.contains("another export"));
        drop(partial);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);

        std::fs::write(folder.path().join("disk.raw.partial"), "left by a crash").unwrap();
        anew(&output).unwrap().publish(&output).unwrap();
        assert_eq!(std::fs::read(&output).unwrap(), b"");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(refuse_existing(&output, false).is_err() && refuse_existing(&output, true).is_ok());
        assert!(refuse_existing(folder.path(), true).is_err());
    }

    #[test]
    fn what_no_export_left_is_refused_and_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let [output, victim, partial] = ["e", "victim", "e.partial"].map(|name| folder.path().join(name));
        std::fs::write(&victim, "dear").unwrap();
        let refused = |why: &str| {
            let error = anew(&output).err().unwrap();
            assert!(error.what.contains(why) && error.next.is_some(), "{error:?}");
            assert_eq!(std::fs::read(&victim).unwrap(), b"dear");
            std::fs::remove_file(&partial).unwrap();
        };
        symlink(&victim, &partial).unwrap();
        refused("is a symbolic link");
        symlink(folder.path().join("nowhere"), &partial).unwrap();
        refused("is a symbolic link");
        std::fs::hard_link(&victim, &partial).unwrap();
        refused("has a second name");
        mknodat(CWD, &partial, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        refused("is not a regular file");
        assert!(!folder.path().join("nowhere").exists());
        let found = std::fs::metadata(&victim).unwrap();
        assert_eq!(foreign(&found, found.uid()), None);
        assert_eq!(foreign(&found, found.uid() + 1), Some("belongs to another user"));
    }

    #[test]
    fn a_file_that_others_may_read_is_so_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let [output, left] = ["e", "e.partial"].map(|name| folder.path().join(name));
        std::fs::write(&left, "left by a crash").unwrap();
        std::fs::set_permissions(&left, Permissions::from_mode(0o666)).unwrap();
        let partial = anew(&output).unwrap();
        assert_eq!((mode(&left), std::fs::read(&left).unwrap().len()), (MODE, 0));
        partial.publish(&output).unwrap();
        assert_eq!(mode(&output), MODE);
    }

    #[test]
    fn a_file_that_was_published_before_it_was_locked_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [output, path] = ["e", "e.partial"].map(|name| folder.path().join(name));
        let first = anew(&output).unwrap();
        std::fs::write(&path, "whole").unwrap();
        let [late, later] = [open(&path).unwrap(), open(&path).unwrap()];
        first.publish(&output).unwrap();
        assert!(lock(late, &path).unwrap().is_none());
        let second = anew(&output).unwrap();
        assert!(lock(later, &path).unwrap().is_none());
        drop(second);
        assert_eq!(std::fs::read(&output).unwrap(), b"whole");
        assert!(!path.exists());
    }

    #[test]
    fn a_full_disk_is_told_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let partial = anew(&folder.path().join("x")).unwrap();
        let error = partial.failed(&io::Error::from(io::ErrorKind::StorageFull));
        assert!(error.what.starts_with("no space left for") && error.next.is_some());
    }
}
