//! Which format an export is to have: as said, or as the file's name says.

use crate::cli::error::CliError;
use crate::cli::human;
use clap::ValueEnum;
use godwit_blocks::export;
use std::path::Path;

/// Formats of disks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Format {
    /// The bytes as they are, with holes
    Raw,
    /// QEMU, Proxmox, OpenStack
    Qcow2,
    /// VMware and VirtualBox; streamOptimized, always compressed
    Vmdk,
    /// Hyper-V; dynamic
    Vhdx,
}

/// The format of `output`.
pub(super) fn choose(format: Option<Format>, compress: bool, output: &Path) -> Result<export::Format, CliError> {
    let format = format.or_else(|| named(output)).ok_or_else(|| {
        CliError::usage(format!("the name {} does not say which format it is to have", output.display()))
            .next("give --format raw, qcow2, vmdk or vhdx, or a name that ends so")
    })?;
    match (format, compress) {
        (Format::Raw | Format::Vhdx, true) => Err(CliError::usage("this format knows no compression")
            .next("leave out --compress, or give --format qcow2 or vmdk")),
        (Format::Raw, false) => Ok(export::Format::Raw),
        (Format::Qcow2, false) => Ok(export::Format::Qcow2),
        (Format::Qcow2, true) => Ok(export::Format::CompressedQcow2),
        (Format::Vmdk, _) => Ok(export::Format::Vmdk),
        (Format::Vhdx, false) => Ok(export::Format::Vhdx),
    }
}

fn named(output: &Path) -> Option<Format> {
    match output.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "raw" | "img" => Some(Format::Raw),
        "qcow2" => Some(Format::Qcow2),
        "vmdk" => Some(Format::Vmdk),
        "vhdx" => Some(Format::Vhdx),
        _ => None,
    }
}

/// Refuses a volume that is larger than the format allows.
pub(super) fn check_size(format: export::Format, size: u64) -> Result<(), CliError> {
    if size <= format.limit() {
        return Ok(());
    }
    let (size, limit) = (human::size(size), human::size(format.limit()));
    Err(CliError::failed(format!("a volume of {size} does not fit into {format}, which holds {limit} at most"))
        .next("give --format raw or qcow2"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_the_format_unless_it_is_given() {
        let choose = |format, compress, name: &str| choose(format, compress, Path::new(name)).ok();
        for (name, format) in [
            ("a.raw", export::Format::Raw),
            ("a.img", export::Format::Raw),
            ("a.qcow2", export::Format::Qcow2),
            ("a.b.VMDK", export::Format::Vmdk),
            ("a.vhdx", export::Format::Vhdx),
        ] {
            assert_eq!(choose(None, false, name), Some(format), "{name}");
            assert_eq!(choose(Some(Format::Raw), false, name), Some(export::Format::Raw));
        }
        assert_eq!(choose(None, true, "a.qcow2"), Some(export::Format::CompressedQcow2));
        assert_eq!(choose(None, true, "a.vmdk"), Some(export::Format::Vmdk));
        for (compress, name) in [(true, "a.raw"), (true, "a.vhdx"), (false, "a"), (false, "a.vhd"), (false, "vmdk")] {
            assert_eq!(choose(None, compress, name), None, "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_limit() {
        assert!(check_size(export::Format::Vhdx, 64 << 40).is_ok());
        let error = check_size(export::Format::Vhdx, (64 << 40) + 512).unwrap_err();
        assert!(error.what.contains("vhdx, which holds 64 TiB") && error.next.is_some(), "{error:?}");
        assert!(check_size(export::Format::Vmdk, 63 << 40).is_err());
    }
}
