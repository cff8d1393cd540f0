//! QEMU judges what the writers write.

use super::*;
use proptest::prelude::*;
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

const ALL: [(Format, &str); 5] = [
    (Format::Raw, "raw"),
    (Format::Qcow2, "qcow2"),
    (Format::CompressedQcow2, "qcow2"),
    (Format::Vmdk, "vmdk"),
    (Format::Vhdx, "vhdx"),
];
/// Identity of the disks.
const ID: u128 = 0x8899_aabb_ccdd_eeff;
const MIB: u64 = 1 << 20;

type Extents = [(u64, Vec<u8>)];

fn qemu_img(arguments: &[&str]) -> String {
    let output = Command::new("qemu-img").args(arguments).output().expect("qemu-img is installed by the set-up");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "qemu-img {arguments:?}: {text}");
    text
}

fn begin(path: &Path, format: Format, size: u64, from: Option<Checkpoint>) -> Box<dyn VolumeWriter + Send> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    open(format, file, size, ID, from).unwrap()
}

/// Pushes what lies at or behind `position`.
fn push(writer: &mut dyn VolumeWriter, extents: &Extents, position: u64) {
    for (offset, bytes) in extents {
        let skipped = position.saturating_sub(*offset).min(bytes.len() as u64);
        if skipped < bytes.len() as u64 {
            writer.write(offset + skipped, &bytes[skipped as usize..]).unwrap();
        }
    }
}

fn write_whole(path: &Path, format: Format, size: u64, extents: &Extents) {
    let mut writer = begin(path, format, size, None);
    push(writer.as_mut(), extents, 0);
    writer.finish().unwrap();
}

/// The same with two interruptions: one right behind its checkpoint, one that had written more. What is known is kept
/// as text meanwhile, as it is on disk.
fn write_in_parts(path: &Path, format: Format, size: u64, extents: &Extents, cuts: [usize; 2]) {
    let mut from: Option<Checkpoint> = None;
    for (nth, cut) in cuts.into_iter().enumerate() {
        let position = from.as_ref().map_or(0, |from| from.position);
        let mut writer = begin(path, format, size, from.take());
        push(writer.as_mut(), &extents[..cut], position);
        let text = serde_json::to_string(&writer.checkpoint().unwrap()).unwrap();
        if nth == 1 {
            push(writer.as_mut(), &extents[cut..], 0);
        }
        from = Some(serde_json::from_str(&text).unwrap());
    }
    let position = from.as_ref().map_or(0, |from| from.position);
    let mut writer = begin(path, format, size, from);
    push(writer.as_mut(), extents, position);
    writer.finish().unwrap();
}

fn check(raw: &Path, file: &Path, format: Format, name: &str) {
    let (raw, file) = (raw.to_str().unwrap(), file.to_str().unwrap());
    if format != Format::Raw {
        assert!(qemu_img(&["check", "-f", name, file]).contains("No errors"), "{format:?}");
    }
    assert!(qemu_img(&["compare", "-f", "raw", "-F", name, raw, file]).contains("identical"), "{format:?}");
}

/// Writes the extents in all formats, at once and in parts, and lets QEMU compare.
fn compare(folder: &Path, size: u64, extents: &Extents, cuts: [usize; 2]) {
    let raw = folder.join("whole.raw");
    for (format, name) in ALL {
        let whole = folder.join(format!("whole.{name}"));
        write_whole(&whole, format, size, extents);
        check(&raw, &whole, format, name);
        let parts = folder.join(format!("parts.{name}"));
        write_in_parts(&parts, format, size, extents, cuts);
        check(&raw, &parts, format, name);
        [whole, parts].iter().filter(|file| **file != raw).for_each(|file| std::fs::remove_file(file).unwrap());
    }
}

/// Bytes of one kind: zeros, the same, such that shrink and such that do not.
fn fill(kind: u8, length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    match kind {
        0 | 1 => vec![kind; length],
        2 => (0..length).map(|_| random() & 3).collect(),
        _ => (0..length).map(|_| random()).collect(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn qemu_finds_all_files_whole_and_equal(
        sectors in 1u64..6_000_000,
        pieces in proptest::collection::vec((any::<proptest::sample::Index>(), 1usize..600_000, 0u8..4), 0..16),
        cuts: [proptest::sample::Index; 2],
    ) {
        let size = sectors * 512;
        let mut starts: Vec<(u64, usize, u8)> =
            pieces.iter().map(|(at, l, kind)| (at.index(size as usize) as u64, *l, *kind)).collect();
        starts.sort_unstable();
        let mut end = 0;
        let mut extents = Vec::new();
        for (start, length, kind) in starts {
            let start = start.max(end);
            end = (start + length as u64).min(size);
            extents.push((start, fill(kind, (end - start) as usize, start)));
        }
        let mut cuts = cuts.map(|cut| cut.index(extents.len() + 1));
        cuts.sort_unstable();
        let folder = tempfile::tempdir().unwrap();
        compare(folder.path(), size, &extents, cuts);
    }
}

#[test]
fn an_empty_and_a_full_volume_are_images() {
    let folder = tempfile::tempdir().unwrap();
    compare(folder.path(), 512, &[], [0, 0]);
    // More than the clusters that are compressed together, and more than one table of each format.
    let full: Vec<_> = (0..80).map(|n| (n * MIB, fill((n % 4) as u8, MIB as usize, n))).collect();
    compare(folder.path(), 80 * MIB + 512, &full, [33, 71]);
}

#[test]
fn what_is_out_of_order_or_too_large_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (format, _) in ALL {
        let path = folder.path().join("a");
        let mut writer = begin(&path, format, MIB, None);
        writer.write(1000, b"abc").unwrap();
        assert!(writer.write(1002, b"d").is_err(), "{format:?}");
        assert!(writer.write(MIB - 1, b"de").is_err(), "{format:?}");
        let file = std::fs::File::create(&path).unwrap();
        assert!(open(format, file, format.limit() + 1, ID, None).is_err(), "{format:?}");
    }
}

#[test]
fn a_checkpoint_of_another_format_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let checkpoint = begin(&path, Format::Raw, MIB, None).checkpoint().unwrap();
    let file = std::fs::File::create(&path).unwrap();
    assert!(open(Format::Qcow2, file, MIB, ID, Some(checkpoint)).is_err());
}

/// A volume of 64 TiB with a little at its ends: the file and what is known of it stay small.
fn write_huge(folder: &Path, format: Format, size: u64, longest: u64) -> std::path::PathBuf {
    let path = folder.join("huge");
    let extents = [(5, b"near".to_vec()), (size - MIB - 5, b"far out".to_vec())];
    write_in_parts(&path, format, size, &extents, [1, 2]);
    let length = std::fs::metadata(&path).unwrap().len();
    assert!(length < longest, "{format:?}: {length} bytes");
    path
}

#[test]
fn a_huge_volume_is_a_small_qcow2_image() {
    let folder = tempfile::tempdir().unwrap();
    for format in [Format::Qcow2, Format::CompressedQcow2] {
        let path = write_huge(folder.path(), format, 64 << 40, 4 << 20);
        assert!(qemu_img(&["check", "-f", "qcow2", path.to_str().unwrap()]).contains("No errors"));
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn compressed_clusters_are_zstd_and_those_that_do_not_shrink_stay_plain() {
    let folder = tempfile::tempdir().unwrap();
    let [small, random] = ["small", "random"].map(|name| folder.path().join(name));
    for (path, kind) in [(&small, 2), (&random, 3)] {
        write_whole(path, Format::CompressedQcow2, 4 * MIB, &[(0, fill(kind, 4 << 20, 1))]);
        assert!(qemu_img(&["info", path.to_str().unwrap()]).contains("compression type: zstd"));
    }
    let length = |path: &Path| std::fs::metadata(path).unwrap().len();
    // Two bits of eight, and the tables.
    assert!(length(&small) < 2 * MIB, "{} bytes", length(&small));
    assert!(length(&random) > 4 * MIB && length(&random) < 5 * MIB, "{} bytes", length(&random));
    let entries = qemu_img(&["check", "-f", "qcow2", small.to_str().unwrap()]);
    assert!(entries.contains("100.00% compressed clusters"), "{entries}");
    let entries = qemu_img(&["check", "-f", "qcow2", random.to_str().unwrap()]);
    assert!(entries.contains("0.00% compressed clusters"), "{entries}");
}

#[test]
fn a_huge_volume_is_a_small_vmdk_and_a_small_vhdx() {
    let folder = tempfile::tempdir().unwrap();
    for (format, size, longest, name) in
        [(Format::Vmdk, 62 << 40, 9 << 20, "vmdk"), (Format::Vhdx, 64 << 40, 90 << 20, "vhdx")]
    {
        let path = write_huge(folder.path(), format, size, longest);
        let path = path.to_str().unwrap();
        // `check` would look at every grain that there might be.
        let read = |which: &str| {
            let part = folder.path().join("part").display().to_string();
            let [input, output] = [format!("if={path}"), format!("of={part}")];
            qemu_img(&["dd", "-f", name, "-O", "raw", "bs=1M", which, &input, &output]);
            std::fs::read(part).unwrap()
        };
        let is_alone = |bytes: &[u8], at: usize, what: &[u8]| {
            bytes.len() as u64 == 2 * MIB
                && bytes[at..at + what.len()] == *what
                && bytes.iter().filter(|byte| **byte != 0).count() == what.len()
        };
        assert!(is_alone(&read("count=2"), 5, b"near"), "{name}");
        assert!(is_alone(&read(&format!("skip={}", size / MIB - 2)), MIB as usize - 5, b"far out"), "{name}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_vmdk_says_that_it_is_stream_optimized_and_a_vhdx_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let [vmdk, vhdx] = ["a.vmdk", "a.vhdx"].map(|name| folder.path().join(name));
    write_whole(&vmdk, Format::Vmdk, 8 * MIB, &[(0, fill(2, 4 << 20, 1))]);
    let info = qemu_img(&["info", vmdk.to_str().unwrap()]);
    assert!(info.contains("create type: streamOptimized") && info.contains("compressed: true"), "{info}");
    assert!(std::fs::metadata(&vmdk).unwrap().len() < 2 * MIB);
    write_whole(&vhdx, Format::Vhdx, 8 * MIB, &[(0, fill(2, 4 << 20, 1))]);
    let info = qemu_img(&["info", vhdx.to_str().unwrap()]);
    assert!(info.contains("file format: vhdx") && info.contains("virtual size: 8 MiB (8388608 bytes)"), "{info}");
    // Four blocks of 1 MiB behind 4 MiB of tables.
    assert_eq!(std::fs::metadata(&vhdx).unwrap().len(), 8 * MIB);
}

/// A file that zeros are not written to.
struct Sparse(File);

impl Write for Sparse {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(4096)];
        if crate::block::is_zero(piece) {
            self.0.seek_relative(piece.len() as i64)?;
        } else {
            self.0.write_all(piece)?;
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Seek for Sparse {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

/// Clusters whose counts one block holds.
const COUNTED: u64 = clusters::CLUSTER / 2;

/// Writes a qcow2 image of `plain` clusters that hold little, and of 200 that are compressed or not, among which the
/// first counts are complete. Tells where those are.
fn write_beyond_counts(folder: &Path, plain: u64, is_compressed: bool) -> u64 {
    let [raw, path] = ["raw", "qcow2"].map(|name| folder.join(name));
    let open = |path: &Path| OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap();
    let size = (plain + 200) * clusters::CLUSTER;
    let little = (0..plain).map(|n| (n * clusters::CLUSTER, n.to_le_bytes().to_vec()));
    // Six random bits of eight: such clusters shrink, but not so far that they never lie across two of the file.
    let cluster = |n| fill(3, clusters::CLUSTER as usize, n).into_iter().map(|byte| byte & 63).collect();
    let content: Vec<_> = little.chain((plain..plain + 200).map(|n| (n * clusters::CLUSTER, cluster(n)))).collect();
    push(&mut RawWriter::new(open(&raw), size, 0).unwrap(), &content, 0);

    let tables = qcow2::Tables::new(size);
    let mut writer = Qcow2Writer::new(Sparse(open(&path)), size, false, 0, tables).unwrap();
    push(&mut writer, &content[..plain as usize], 0);
    let checkpoint = writer.checkpoint().unwrap();
    let Tables::Qcow2(tables) = checkpoint.tables else { panic!("another format") };
    let file = Sparse(open(&path));
    let mut writer = Qcow2Writer::new(file, size, is_compressed, checkpoint.position, tables).unwrap();
    push(&mut writer, &content, checkpoint.position);
    writer.finish().unwrap();
    let file = open(&path);
    file.set_len(file.metadata().unwrap().len().next_multiple_of(clusters::CLUSTER)).unwrap();
    check(&raw, &path, Format::Qcow2, "qcow2");
    let number = |at| {
        let mut number = [0; 8];
        file.read_exact_at(&mut number, at).unwrap();
        u64::from_be_bytes(number)
    };
    // The header says where the table of the counts is.
    number(number(48))
}

#[test]
fn reference_counts_amid_the_data_of_a_qcow2_image_are_right() {
    // The last ones differ in where the compressed cluster lies with which the counts are complete.
    for (less, is_compressed) in [(100, false), (100, true), (101, true), (102, true), (103, true)] {
        let folder = tempfile::tempdir().unwrap();
        let counts = write_beyond_counts(folder.path(), COUNTED - less, is_compressed);
        assert_eq!(counts, COUNTED * clusters::CLUSTER, "{less} {is_compressed}");
    }
}
