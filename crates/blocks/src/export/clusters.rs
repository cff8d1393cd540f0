//! Cuts what is pushed into whole clusters, for formats that store a volume in such.

use super::{Checkpoint, Tables, VolumeWriter, check_order};
use crate::block::is_zero;
use std::io;
use std::mem::take;

/// Bytes of a cluster. VMDK calls it a grain.
pub(super) const CLUSTER: u64 = 1 << 16;
/// Clusters that wait to be compressed together: enough work for a thread each, few enough to hold.
const BATCH: usize = 32;

/// A cluster of the volume: its number, and what is in it.
pub(super) type Cluster = (u64, Vec<u8>);

/// Lays out a file of a format that stores a volume in clusters.
pub(super) trait ClusterWriter {
    /// The clusters that are not in the file yet.
    fn clusters(&mut self) -> &mut Clusters;

    /// Puts clusters into the file.
    fn put(&mut self, clusters: Vec<Cluster>) -> io::Result<()>;

    /// Hands what was put to the file. Gives how long that is, and what names the clusters.
    fn settle(&mut self) -> io::Result<(u64, Tables)>;

    /// Puts what names the clusters into the file, behind the last of them.
    fn end(&mut self) -> io::Result<()>;
}

impl<T: ClusterWriter> VolumeWriter for T {
    fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        for (at, bytes) in (offset..).step_by(CLUSTER as usize).zip(bytes.chunks(CLUSTER as usize)) {
            let full = self.clusters().write(at, bytes)?;
            self.put(full)?;
        }
        Ok(())
    }

    fn checkpoint(&mut self) -> io::Result<Checkpoint> {
        let full = self.clusters().take();
        self.put(full)?;
        let (length, tables) = self.settle()?;
        Ok(Checkpoint { position: self.clusters().settled(), length, tables })
    }

    fn finish(&mut self) -> io::Result<()> {
        self.clusters().close();
        let last = self.clusters().take();
        self.put(last)?;
        self.end()
    }
}

/// The clusters that are not in the file yet.
pub(super) struct Clusters {
    size: u64,
    position: u64,
    /// The one that is being filled.
    open: Option<Cluster>,
    /// Filled ones, without those of zeros.
    waiting: Vec<Cluster>,
}

impl Clusters {
    /// None yet, of a volume of `size` bytes that is written from `position` on.
    pub fn new(size: u64, position: u64) -> Self {
        Self { size, position, open: None, waiting: Vec::new() }
    }

    /// Takes the data at `offset`, at most a cluster of it. Tells what waits once that is enough, else nothing.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<Vec<Cluster>> {
        check_order(offset, bytes, self.position, self.size)?;
        self.position = offset + bytes.len() as u64;
        let (mut at, mut rest) = (offset, bytes);
        while !rest.is_empty() {
            let cluster = at / CLUSTER;
            let within = (at % CLUSTER) as usize;
            let (piece, behind) = rest.split_at(rest.len().min(CLUSTER as usize - within));
            if self.open.as_ref().is_some_and(|(open, _)| *open != cluster) {
                self.close();
            }
            let (_, content) = self.open.get_or_insert_with(|| (cluster, vec![0; CLUSTER as usize]));
            content[within..within + piece.len()].copy_from_slice(piece);
            at += piece.len() as u64;
            rest = behind;
        }
        Ok(if self.waiting.len() >= BATCH { self.take() } else { Vec::new() })
    }

    /// The open cluster gets nothing more.
    pub fn close(&mut self) {
        self.waiting.extend(self.open.take().filter(|(_, content)| !is_zero(content)));
    }

    /// Those that wait.
    pub fn take(&mut self) -> Vec<Cluster> {
        take(&mut self.waiting)
    }

    /// Where the volume goes on once those that wait are in the file: the open one has to come again.
    pub fn settled(&self) -> u64 {
        self.open.as_ref().map_or(self.position, |(open, _)| open * CLUSTER)
    }
}
