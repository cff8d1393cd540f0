//! What an unfinished file holds, written beside it, so that an export can be gone on with.
//!
//! # Crash consistency
//! The state is replaced by a rename once the content that it speaks of is durable. What is written to the file later
//! does not touch that content, so a state stays true until the next one takes its place.
//! # Trust
//! File and state are believed only if both are ours and nobody else may write to them. Whatever is odd about a state
//! means that there is none. The state is a line with the BLAKE3 digest of what follows, and JSON: a bit that rots on the
//! disk must not tell that more is in the file than was written.

use super::partial::{MODE, Partial, foreign, sync_folder};
use crate::cli::error::CliError;
use godwit_api::shapes::godwit::ImageVolumeDescription;
use godwit_blocks::export::{Checkpoint, Format};
use rustix::fs::OFlags;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Of the state's layout, and of what the writers make of a checkpoint.
const VERSION: u32 = 2;
/// Bytes of the longest state that is read: several times what the largest volume can need.
const LONGEST: u64 = 128 << 20;

/// What is exported, as what.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Origin {
    /// Id of the image.
    pub image: String,
    /// Which of its volumes.
    pub volume: u32,
    /// Bytes of the volume.
    pub size: u64,
    /// The volume's content: its snapshot.
    pub snapshot: String,
    /// The volume's content: its digest.
    pub root_digest: String,
    /// Format of the file.
    pub format: Format,
}

impl Origin {
    /// A volume of an image in a format.
    pub fn new(image: &str, volume: &ImageVolumeDescription, format: Format) -> Self {
        Self {
            image: image.to_owned(),
            volume: volume.volume,
            size: volume.size,
            snapshot: volume.snapshot_id.clone(),
            root_digest: volume.root_digest.clone(),
            format,
        }
    }
}

/// How far an export came.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub origin: Origin,
    /// Bytes of data that are in the file.
    pub data: u64,
    pub checkpoint: Checkpoint,
}

impl State {
    /// The export of `origin` came to `checkpoint`.
    pub fn new(origin: Origin, data: u64, checkpoint: Checkpoint) -> Self {
        Self { version: VERSION, origin, data, checkpoint }
    }

    /// What was saved of the unfinished file; `None` if it has to begin anew.
    pub fn load(partial: &Partial) -> Option<State> {
        let content = partial.file.metadata().ok().filter(|file| file.mode() & 0o7777 == MODE)?;
        let mut options = OpenOptions::new();
        // Neither a link is followed nor somebody's pipe waited for.
        options.read(true).custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
        let file = options.open(partial.state_path()).ok()?;
        let found = file.metadata().ok()?;
        if foreign(&found, geteuid().as_raw()).is_some() || found.mode() & 0o7777 != MODE {
            return None;
        }
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text).ok()?;
        let state: State = serde_json::from_slice(unsealed(&text)?).ok()?;
        (state.version == VERSION && state.checkpoint.length <= content.len()).then_some(state)
    }

    /// Writes it to `path`, once what `content` holds is durable.
    pub fn save(&self, content: &File, path: &Path) -> io::Result<()> {
        content.sync_data()?;
        let new = path.with_added_extension("new");
        // A crash may have left one.
        let _ = std::fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&new)?;
        let written = serde_json::to_vec(self).map_err(io::Error::from).and_then(|text| file.write_all(&sealed(&text)));
        let saved = written.and_then(|()| file.sync_all()).and_then(|()| std::fs::rename(&new, path));
        if saved.is_err() {
            let _ = std::fs::remove_file(&new);
        }
        saved?;
        sync_folder(path)
    }

    /// Refuses to go on if it is not `wanted` that is in the file.
    pub fn check(&self, partial: &Partial, wanted: &Origin) -> Result<(), CliError> {
        if self.origin == *wanted {
            return Ok(());
        }
        let Origin { image, volume, format, .. } = &self.origin;
        let path = partial.path().display();
        let what =
            format!("{path} holds an unfinished export of something else: volume {volume} of {image} as {format}");
        Err(CliError::failed(what).next("finish that one first, give another name, or --restart to begin anew"))
    }
}

/// The text behind a line with its digest.
fn sealed(text: &[u8]) -> Vec<u8> {
    [blake3::hash(text).to_hex().as_bytes(), b"\n", text].concat()
}

/// The text, if it is the one that the digest is of.
fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    let (digest, text) = bytes.split_at_checked(blake3::OUT_LEN * 2)?;
    let text = text.strip_prefix(b"\n")?;
    (blake3::hash(text).to_hex().as_bytes() == digest).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn origin() -> Origin {
        let text = |text: &str| text.to_owned();
        Origin {
            image: text("ami-1"),
            volume: 0,
            size: 1 << 20,
            snapshot: text("snap-1"),
            root_digest: text("00"),
            format: Format::Raw,
        }
    }

    /// An unfinished file of 4,096 bytes with its state.
    fn left(output: &Path) -> State {
        let mut partial = Partial::open(output).unwrap();
        partial.empty().unwrap();
        let file = partial.file.try_clone().unwrap();
        let mut writer = godwit_blocks::export::open(Format::Raw, file, 1 << 20, 1, None).unwrap();
        writer.write(0, &[1; 4096]).unwrap();
        let state = State::new(origin(), 4096, writer.checkpoint().unwrap());
        state.save(&partial.file, &partial.state_path()).unwrap();
        partial.keep();
        state
    }

    #[test]
    fn what_was_saved_is_found_and_nothing_else_is_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("e");
        let state = left(&output);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        let mut partial = Partial::open(&output).unwrap();
        assert_eq!(State::load(&partial), Some(state.clone()));
        assert!(state.check(&partial, &origin()).is_ok());
        for other in [
            Origin { root_digest: "01".to_owned(), ..origin() },
            Origin { format: Format::Qcow2, ..origin() },
            Origin { image: "ami-2".to_owned(), ..origin() },
        ] {
            let error = state.check(&partial, &other).unwrap_err();
            assert!(error.what.contains("volume 0 of ami-1 as raw") && error.next.is_some(), "{error:?}");
        }
        partial.empty().unwrap();
        drop(partial);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_state_that_rotted_anywhere_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("e");
        left(&output);
        let partial = Partial::open(&output).unwrap();
        let path = partial.state_path();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut rotten = whole.clone();
            rotten[at] ^= 1;
            std::fs::write(&path, &rotten).unwrap();
            assert_eq!(State::load(&partial), None, "byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert_eq!(State::load(&partial), None, "cut at {at}");
        }
        std::fs::write(&path, &whole).unwrap();
        assert!(State::load(&partial).is_some());
    }

    #[test]
    fn what_is_odd_is_no_state() {
        let folder = tempfile::tempdir().unwrap();
        let [output, content, state] = ["e", "e.partial", "e.partial.state"].map(|name| folder.path().join(name));
        let mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let change: [&dyn Fn(); 7] = [
            &|| mode(&content, 0o666),
            &|| mode(&state, 0o666),
            &|| std::fs::write(&state, "{").unwrap(),
            &|| std::fs::remove_file(&state).unwrap(),
            &|| File::options().write(true).open(&content).unwrap().set_len(4095).unwrap(),
            &|| {
                let text = String::from_utf8(unsealed(&std::fs::read(&state).unwrap()).unwrap().to_vec()).unwrap();
                let older = text.replace("\"version\":2", "\"version\":1");
                assert_ne!(older, text);
                std::fs::write(&state, sealed(older.as_bytes())).unwrap();
            },
            &|| {
                std::fs::rename(&state, folder.path().join("moved")).unwrap();
                symlink(folder.path().join("moved"), &state).unwrap();
            },
        ];
        for (nth, change) in change.iter().enumerate() {
            left(&output);
            change();
            let mut partial = Partial::open(&output).unwrap();
            assert_eq!(State::load(&partial), None, "change {nth}");
            partial.empty().unwrap();
        }
    }
}
