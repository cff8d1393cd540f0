//! Gives memory back that a run does not need any more.
//!
//! The system's allocator keeps what was freed, for each thread apart, and learns from the first large buffer that large
//! ones are better kept too. With packs of 12 MiB that grows to more than what is in use: a service that replicates would
//! stay above 100 MiB for ever. Told to keep two pools, and to map large buffers on their own, it peaks below 90 MiB and
//! falls to a tenth of that afterwards, for a twentieth more of processor time.

use crate::outside;

/// What the allocator reads when a process starts: pools, and from how many bytes on a buffer is mapped on its own.
/// Reads of a source (1 MiB) are below: mapping each of them would cost more than it gains.
const SETTINGS: [(&str, &str); 2] = [("MALLOC_ARENA_MAX", "2"), ("MALLOC_MMAP_THRESHOLD_", "2097152")];

/// Starts this program again in the same process with the settings, unless somebody has chosen them already. If that is
/// not possible nothing is lost but memory.
pub fn return_freed_memory() {
    if SETTINGS.iter().any(|(name, _)| outside::variable(name).is_some()) {
        return;
    }
    let error = outside::start_again(&SETTINGS);
    tracing::debug!(%error, "could not start again with settings for the allocator");
}
