//! `godwit images export`: the file that it writes, and what it does not touch.

use crate::stand_in::{BYTE, DATA, IMAGE, SIZE, StandIn};
use crate::{folder, godwit, told};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

fn export(folder: &Path, more: &[&str]) -> (i32, String, String) {
    let service = StandIn::start();
    let mut command = godwit(folder, &["images", "export", IMAGE, "--format", "raw", "--output", "e.raw"]);
    command.args(more).env("GODWIT_ENDPOINT", &service.endpoint);
    told(command.env("AWS_ACCESS_KEY_ID", "GW").env("AWS_SECRET_ACCESS_KEY", "s").output().unwrap())
}

fn assert_is_the_volume(file: &Path) {
    let bytes = std::fs::read(file).unwrap();
    assert_eq!(bytes.len() as u64, SIZE);
    let mut wanted = vec![0; bytes.len()];
    DATA.iter().for_each(|(offset, length)| wanted[*offset as usize..(offset + length) as usize].fill(BYTE));
    assert!(bytes == wanted, "the file differs from the volume");
}

#[test]
fn the_file_is_the_volume_with_its_holes_and_readable_by_its_owner_alone() {
    let folder = folder();
    let (status, out, err) = export(folder.path(), &["--json"]);
    assert_eq!((status, besides_progress(&err).as_str()), (0, ""));
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((told["size"].as_u64(), told["bytes_read"].as_u64()), (Some(SIZE), Some(6 << 20)));
    assert_is_the_volume(&folder.path().join("e.raw"));
    let found = std::fs::metadata(folder.path().join("e.raw")).unwrap();
    assert_eq!(found.mode() & 0o777, 0o600);
    assert!(found.blocks() * 512 < SIZE / 2, "holes take space: {} blocks", found.blocks());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_planted_link_is_not_followed() {
    let folder = folder();
    let [victim, partial] = ["victim", "e.raw.partial"].map(|name| folder.path().join(name));
    std::fs::write(&victim, "dear").unwrap();
    symlink(&victim, &partial).unwrap();
    for more in [&[][..], &["--force"]] {
        let (status, out, err) = export(folder.path(), more);
        assert_eq!((status, out.as_str()), (1, ""), "{err}");
        assert!(err.contains("e.raw.partial is a symbolic link") && err.contains("next: remove it"), "{err}");
        assert_eq!(std::fs::read(&victim).unwrap(), b"dear");
        assert!(std::fs::symlink_metadata(&partial).unwrap().is_symlink() && !folder.path().join("e.raw").exists());
    }
}

/// What was said but for the lines that tell people who wait how far it is: on a busy machine there are some.
fn besides_progress(err: &str) -> String {
    let is_progress = |line: &&str| line.contains("  Exporting ") || line.ends_with("  Writing to disk");
    err.lines().filter(|line| !is_progress(line)).collect()
}

#[test]
fn what_a_crash_left_is_replaced_and_private_whatever_it_was() {
    let folder = folder();
    let left = folder.path().join("e.raw.partial");
    std::fs::write(&left, vec![1; 100_000]).unwrap();
    std::fs::set_permissions(&left, Permissions::from_mode(0o666)).unwrap();
    let (status, _, err) = export(folder.path(), &[]);
    assert_eq!((status, besides_progress(&err).as_str()), (0, ""));
    assert_is_the_volume(&folder.path().join("e.raw"));
    assert_eq!(std::fs::metadata(folder.path().join("e.raw")).unwrap().mode() & 0o777, 0o600);
    assert!(!left.exists());
}

/// What `godwit images export` says to `args`, of the small image.
fn export_as(folder: &Path, args: &[&str]) -> (i32, String, String) {
    let service = StandIn::start();
    let mut command = godwit(folder, &["images", "export", IMAGE]);
    command.args(args).env("GODWIT_ENDPOINT", &service.endpoint);
    told(command.env("AWS_ACCESS_KEY_ID", "GW").env("AWS_SECRET_ACCESS_KEY", "s").output().unwrap())
}

#[test]
fn every_format_is_the_volume_and_is_what_the_name_says() {
    let folder = folder();
    assert_eq!(export(folder.path(), &[]).0, 0);
    for (name, more, info) in [
        ("e.img", None, "file format: raw"),
        ("e.qcow2", None, "compression type: zlib"),
        ("c.qcow2", Some("--compress"), "compression type: zstd"),
        ("e.vmdk", None, "create type: streamOptimized"),
        ("e.vhdx", None, "file format: vhdx"),
    ] {
        let args: Vec<_> = ["--json", "--output", name].into_iter().chain(more).collect();
        let (status, out, err) = export_as(folder.path(), &args);
        assert_eq!((status, besides_progress(&err).as_str()), (0, ""), "{name}");
        let told: serde_json::Value = serde_json::from_str(&out).unwrap();
        let qemu_img = |args: &[&str]| {
            let output = Command::new("qemu-img").args(args).current_dir(folder.path()).output().unwrap();
            assert!(output.status.success(), "{name}: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let format = told["format"].as_str().unwrap();
        assert_eq!(told["compressed"], more.is_some() || format == "vmdk", "{name}");
        let compared = qemu_img(&["compare", "-f", "raw", "-F", format, "e.raw", name]);
        assert!(compared.contains("identical"), "{name}: {compared}");
        let found = qemu_img(&["info", "-f", format, name]);
        assert!(found.contains(info), "{name}: {found}");
        assert_eq!(std::fs::metadata(folder.path().join(name)).unwrap().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 6);
}

#[test]
fn what_no_format_can_do_is_wrong_usage_and_writes_nothing() {
    let folder = folder();
    for (args, what) in [
        (&["--output", "e"][..], "does not say which format"),
        (&["--output", "e.vhd"], "does not say which format"),
        (&["--output", "e.raw", "--compress"], "knows no compression"),
        (&["--output", "e.qcow2", "--format", "vhdx", "--compress"], "knows no compression"),
    ] {
        let (status, out, err) = export_as(folder.path(), args);
        assert_eq!((status, out.as_str()), (2, ""), "{args:?}: {err}");
        assert!(err.contains(what) && err.contains("next: "), "{args:?}: {err}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
