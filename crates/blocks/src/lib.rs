//! The data line: source extents → blocks → packs → snapshot → image, and back to raw or qcow2.

pub mod source;
