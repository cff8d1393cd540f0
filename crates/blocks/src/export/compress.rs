//! Compresses clusters on all cores.

use super::clusters::Cluster;
use std::io;
use std::num::NonZero;
use std::thread;

/// Threads at most: more have less than a MiB each to do, and beginning them costs, too.
const THREADS: usize = 8;

/// What becomes of each cluster, in their order. Every thread compresses with a tool of its own, which `begin` makes.
pub(super) fn compress<T, R: Send>(
    clusters: &[Cluster],
    begin: impl Fn() -> io::Result<T> + Sync,
    compress: impl Fn(&mut T, &[u8]) -> io::Result<R> + Sync,
) -> io::Result<Vec<R>> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get).min(THREADS);
    let share = clusters.len().div_ceil(threads).max(1);
    let work = |share: &[Cluster]| {
        let mut tool = begin()?;
        share.iter().map(|(_, content)| compress(&mut tool, content)).collect::<io::Result<Vec<R>>>()
    };
    thread::scope(|scope| {
        let tasks: Vec<_> = clusters.chunks(share).map(|share| scope.spawn(move || work(share))).collect();
        let mut all = Vec::with_capacity(clusters.len());
        for task in tasks {
            all.extend(task.join().map_err(|_| io::Error::other("a compression ended early"))??);
        }
        Ok(all)
    })
}
