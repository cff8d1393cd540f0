//! Overlays come and go: a temporary one that nobody else sees, or one that is kept.

use crate::cli::nbd::overlay::Layer;
use crate::cli::nbd::overlay::layout::{self, HEADER_BYTES, Identity};
use crate::outside;
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Readable by its owner alone: it holds what the guest wrote, unencrypted.
const MODE: u32 = 0o600;

/// Why there is no overlay.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// The file is something else, or not whole.
    #[error("{} {why}", file.display())]
    Refused {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
        /// What to do.
        next: &'static str,
    },
    /// The system does not let us.
    #[error("{} cannot be used as an overlay: {error}", file.display())]
    Unusable {
        /// Which file.
        file: PathBuf,
        /// Its words.
        error: io::Error,
    },
}

impl OverlayError {
    /// What to do.
    pub fn next_step(&self) -> &'static str {
        match self {
            OverlayError::Refused { next, .. } => next,
            OverlayError::Unusable { error, .. } => match error.kind() {
                io::ErrorKind::FileTooLarge => {
                    "its file system cannot hold a file of this size: give a path on another one"
                }
                _ => "give a path where you can write",
            },
        }
    }
}

/// An open overlay of an image, locked.
pub struct Overlay {
    /// A layer for each volume, in the image's order.
    pub layers: Vec<Arc<Layer>>,
    /// Whether there was something in it.
    pub is_continued: bool,
}

impl Overlay {
    /// One that goes when the process ends, however it ends. Its file has no name.
    pub fn temporary(folder: &Path, identity: &Identity) -> Result<Self, OverlayError> {
        let path = folder.join(format!("godwit-{:032x}.overlay", outside::random_bits()));
        let unusable = |error| OverlayError::Unusable { file: folder.to_owned(), error };
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(MODE).open(&path);
        let file = file.map_err(unusable)?;
        std::fs::remove_file(&path).map_err(unusable)?;
        create(file, &path, identity)
    }

    /// The one in this file, made if it is not there. Symbolic links are not followed.
    pub fn kept(path: &Path, identity: &Identity) -> Result<Self, OverlayError> {
        let unusable = |error| OverlayError::Unusable { file: path.to_owned(), error };
        let file = open_or_make(path)?;
        lock(&file, path)?;
        let found = file.metadata().map_err(unusable)?;
        if !found.is_file() {
            return Err(refused(path, "is not a regular file", "give the name of a file"));
        }
        if found.len() > 0 {
            return go_on(file, path, identity, found.len());
        }
        let overlay = create(file, path, identity)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(unusable)?;
        Ok(overlay)
    }

    fn new(file: File, places: Vec<layout::Place>, is_continued: bool) -> Self {
        let file = Arc::new(file);
        let layers = places.into_iter().map(|place| Arc::new(Layer::new(file.clone(), place))).collect();
        Self { layers, is_continued }
    }
}

/// Opens a file, or makes one where there was nothing at all. A link that somebody else put there in a folder that others
/// write to would lead what the guest writes, unencrypted, to where they want it.
fn open_or_make(path: &Path) -> Result<File, OverlayError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(MODE).custom_flags(OFlags::NOFOLLOW.bits() as i32);
    let opened = match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => options.create_new(true).open(path),
        opened => opened,
    };
    opened.map_err(|error| match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::LOOP) => refused(
            path,
            "is a symbolic link, which is not followed: what the guest writes would come to be somewhere else",
            "give the path of the file itself, or another name",
        ),
        _ => OverlayError::Unusable { file: path.to_owned(), error },
    })
}

/// The header last: a file without one was never used.
fn create(file: File, path: &Path, identity: &Identity) -> Result<Overlay, OverlayError> {
    let unusable = |error| OverlayError::Unusable { file: path.to_owned(), error };
    let too_large = || unusable(io::ErrorKind::FileTooLarge.into());
    let (places, length) = layout::places(identity).ok_or_else(too_large)?;
    let header = layout::header(identity).ok_or_else(too_large)?;
    file.set_len(length).and_then(|()| file.sync_all()).map_err(unusable)?;
    file.write_all_at(&header, 0).and_then(|()| file.sync_all()).map_err(unusable)?;
    Ok(Overlay::new(file, places, false))
}

fn go_on(file: File, path: &Path, identity: &Identity, length: u64) -> Result<Overlay, OverlayError> {
    const REMOVE: &str = "give another name, or remove it if nothing in it is needed";
    let mut header = vec![0; HEADER_BYTES.min(length as usize)];
    file.read_exact_at(&mut header, 0).map_err(|error| OverlayError::Unusable { file: path.to_owned(), error })?;
    let found = layout::identity(&header).map_err(|why| refused(path, why, REMOVE))?;
    if found.image != identity.image {
        let why = format!("is the overlay of another image, {}", found.image);
        return Err(refused(path, &why, "serve that image, or give another name"));
    }
    let (places, wanted) = layout::places(&found).filter(|_| found == *identity).ok_or_else(|| {
        let why = format!("was made over another content of {} than the image has now", found.image);
        refused(path, &why, REMOVE)
    })?;
    if length < wanted {
        let why = format!("is not whole: it has {length} bytes instead of {wanted}");
        return Err(refused(path, &why, "get it back from where it was copied, or remove it"));
    }
    Ok(Overlay::new(file, places, true))
}

fn lock(file: &File, path: &Path) -> Result<(), OverlayError> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => {
            Err(refused(path, "is in use by another 'godwit images serve'", "end that one, or give another name"))
        }
        Err(error) => Err(OverlayError::Unusable { file: path.to_owned(), error: error.into() }),
    }
}

fn refused(file: &Path, why: &str, next: &'static str) -> OverlayError {
    OverlayError::Refused { file: file.to_owned(), why: why.to_owned(), next }
}
