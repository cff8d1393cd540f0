//! Large objects, written and read around the page cache.
//!
//! A pack is written once and read back at once by the verification; then nobody wants it for hours. Through the cache
//! each of its pages would be allocated, copied and pushed out again, for more processor time than digesting and
//! encrypting it takes; and a verification that is answered by the cache proves nothing about the disk.
//!
//! A new object is a file without a name until it is whole and durable, and is then linked to its name: whatever ends
//! the process leaves nothing behind. Not every file system can do that ([`Ability::No`]): then it is done the usual way.

use crate::buffers::{ALIGNMENT, Buffers};
use bytes::Bytes;
use object_store::PutPayload;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// From this length on it is worth it: below, a page in the cache costs less than a request to the disk.
pub(super) const DIRECT_FROM: u64 = 256 << 10;

/// Bytes that one request moves: disks are at their full speed from here on.
const PIECE: usize = 1 << 20;

/// Buffers for what goes around the cache: as many as there are reads of the store at a time, each of the longest read of
/// a pack with what its ends are rounded by.
pub(super) fn buffers() -> Arc<Buffers> {
    Arc::new(Buffers::new(4, (2 << 20) + 2 * ALIGNMENT))
}

/// Whether the file system can do without its cache.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Ability<T> {
    /// It did.
    Yes(T),
    /// It cannot; nothing has happened.
    No,
}

/// Creates the file `path` in a folder that exists, durable but for its name. Fails with `AlreadyExists` if there is one.
pub(super) fn create(path: &Path, payload: &PutPayload, buffers: &Buffers) -> io::Result<Ability<()>> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    let file = match rustix::fs::open(folder, flags, Mode::from_raw_mode(0o666)) {
        Ok(file) => File::from(file),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL | rustix::io::Errno::ISDIR) => {
            return Ok(Ability::No);
        }
        Err(error) => return Err(error.into()),
    };
    write(&file, payload, buffers)?;
    file.sync_all()?;
    link(&file, path)?;
    Ok(Ability::Yes(()))
}

/// Gives a name to a file that has none.
fn link(file: &File, path: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(rustix::fs::linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

fn write(file: &File, payload: &PutPayload, buffers: &Buffers) -> io::Result<()> {
    let mut buffer = buffers.take(PIECE);
    let piece = buffer.bytes(PIECE);
    let (mut filled, mut at) = (0, 0);
    for mut part in payload.iter().map(|part| &part[..]) {
        while !part.is_empty() {
            let n = part.len().min(PIECE - filled);
            piece[filled..filled + n].copy_from_slice(&part[..n]);
            (filled, part) = (filled + n, &part[n..]);
            if filled == PIECE {
                file.write_all_at(piece, at)?;
                (filled, at) = (0, at + PIECE as u64);
            }
        }
    }
    // The last sectors are written whole, and the file is cut to what it is to hold.
    let rest = filled.next_multiple_of(ALIGNMENT);
    piece[filled..rest].fill(0);
    file.write_all_at(&piece[..rest], at)?;
    buffers.give_back(buffer);
    file.set_len(at + filled as u64)
}

/// The bytes `range` of `file`, or fewer if it ends before.
pub(super) fn read(file: &File, range: Range<u64>, buffers: &Arc<Buffers>) -> io::Result<Ability<Bytes>> {
    match rustix::fs::fcntl_getfl(file).and_then(|flags| rustix::fs::fcntl_setfl(file, flags | OFlags::DIRECT)) {
        Ok(()) => {}
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::INVAL) => return Ok(Ability::No),
        Err(error) => return Err(error.into()),
    }
    let start = range.start - range.start % ALIGNMENT as u64;
    let length = usize::try_from(range.end - start).map_err(io::Error::other)?.next_multiple_of(ALIGNMENT);
    let mut buffer = buffers.take(length);
    let bytes = buffer.bytes(length);
    let mut filled = 0;
    while filled < length {
        match file.read_at(&mut bytes[filled..], start + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        // Only the end of a file is no multiple, and nothing comes behind it.
        if !filled.is_multiple_of(ALIGNMENT) {
            break;
        }
    }
    let from = (range.start - start) as usize;
    let to = filled.min((range.end - start) as usize).max(from);
    Ok(Ability::Yes(buffers.lend(buffer, from..to)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::PathBuf;
    use std::sync::LazyLock;
    use tempfile::{TempDir, tempdir_in};

    /// Where these tests can show something. Beside their own program a build has just written; the folder for temporary
    /// files is memory on many machines.
    static ABLE: LazyLock<PathBuf> = LazyLock::new(|| {
        let program = std::env::current_exe().unwrap();
        let places = [program.parent().unwrap().to_owned(), std::env::temp_dir(), "/var/tmp".into()];
        let Some(able) = places.iter().find(|place| is_able(place)) else {
            let tried: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
            panic!(
                "files without a name (O_TMPFILE) around the cache (O_DIRECT) are possible in none of {}: \
                 set TMPDIR to a folder whose file system has both, as ext4, XFS and Btrfs do",
                tried.join(", ")
            )
        };
        able.clone()
    });

    fn is_able(place: &Path) -> bool {
        let Ok(folder) = tempdir_in(place) else { return false };
        let path = folder.path().join("object");
        let is_made = create(&path, &PutPayload::from(content(5000)), &buffers());
        is_made.is_ok_and(|ability| ability == Ability::Yes(()))
            && read(&File::open(&path).unwrap(), 0..5000, &buffers()).is_ok_and(|ability| ability != Ability::No)
    }

    fn folder() -> TempDir {
        tempdir_in(&*ABLE).unwrap()
    }

    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| (at * 31 % 251) as u8).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn what_is_written_is_read_whatever_its_length_and_pieces(
            length in prop_oneof![0usize..10_000, 1_040_000usize..1_060_000, 2_000_000usize..5_000_000],
            cut in any::<proptest::sample::Index>(), start in any::<proptest::sample::Index>(), more in 0u64..3_000_000,
        ) {
            let folder = folder();
            let path = folder.path().join("object");
            let whole = Bytes::from(content(length));
            let buffers = buffers();
            let cut = cut.index(length + 1);
            let payload: PutPayload = [whole.slice(..cut), whole.slice(cut..)].into_iter().collect();
            prop_assert_eq!(create(&path, &payload, &buffers).unwrap(), Ability::Yes(()));
            prop_assert_eq!(&std::fs::read(&path).unwrap(), &whole);
            let start = start.index(length + 1);
            let range = start as u64..(start as u64 + more);
            let read = read(&File::open(&path).unwrap(), range, &buffers).unwrap();
            prop_assert_eq!(read, Ability::Yes(whole.slice(start..length.min(start + more as usize))));
        }
    }

    #[test]
    fn an_object_that_exists_stays_as_it_is_and_nothing_is_left_beside_it() {
        let folder = folder();
        let path = folder.path().join("object");
        std::fs::write(&path, "first").unwrap();
        let refused = create(&path, &PutPayload::from(content(5000)), &buffers());
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"first");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
