//! What differs between two snapshots, in time that follows from how much that is: pages of equal digest hold equal
//! content and are skipped unread.
//!
//! Both must be of one key domain, for digests compare only there, and have blocks of one size. If one volume is larger,
//! zeros are supposed behind the end of the other.

use crate::block::{Digest, is_zero};
use crate::page::{Entry, FAN_OUT};
use crate::reader::{At, SnapshotReader};
use crate::tree::Geometry;
use crate::tree::walker::{Name, Tree};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};

/// Pages that one call of [`diff`] looks at, on either side: bounds its time where much differs.
const PAGES_PER_CALL: usize = 512;

/// How often a comparison begins anew because a repack moved what it was reading: a repack moves a snapshot once.
const MOVES: usize = 6;

/// A piece of the list of what differs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Differences {
    /// Whole blocks of which at least one byte differs: sorted, not touching. The last one ends with the larger volume.
    pub extents: Vec<Extent>,
    /// Where to go on; `None` at the end of the volumes.
    pub next: Option<u64>,
}

/// Where `new` differs from `old` at or behind `from`: at most `limit` extents, or fewer if that takes long to find out.
pub async fn diff(old: &SnapshotReader, new: &SnapshotReader, from: u64, limit: usize) -> Result<Differences, Failure> {
    let (was, is) = (old.manifest(), new.manifest());
    if (&was.key, was.block_size) != (&is.key, is.block_size) {
        let what = format!("{} and {} are of different keys or block sizes", was.snapshot, is.snapshot);
        return Err(Failure::new(Code::Internal, what));
    }
    let mut moves = 0;
    loop {
        let (old_at, new_at) = (old.at(), new.at());
        let sides = [Side::of(old, &old_at), Side::of(new, &new_at)];
        match Comparison::new(sides, from, limit).run().await {
            Err(failure)
                if moves < MOVES
                    && (old.has_moved(&old_at, &failure).await? || new.has_moved(&new_at, &failure).await?) =>
            {
                moves += 1;
            }
            outcome => return outcome,
        }
    }
}

/// One of the two snapshots.
struct Side<'a> {
    reader: &'a SnapshotReader,
    tree: &'a Tree,
    geometry: Geometry,
    root: Option<Entry>,
}

/// What a side has at a page's place.
#[derive(Clone, Copy)]
enum Node {
    /// Nothing but zeros, or nothing at all.
    Nothing,
    /// The place is above the root of a tree that is lower than the other one.
    AboveRoot,
    Page(Entry),
}

impl<'a> Side<'a> {
    fn of(reader: &'a SnapshotReader, at: &'a At) -> Self {
        let manifest = at.manifest();
        Self { reader, tree: at.tree(), geometry: manifest.geometry(), root: manifest.root_entry() }
    }

    fn top(&self) -> u8 {
        self.geometry.height() - 1
    }

    /// What stands at the beginning of `level`, which is the root's or above it.
    fn first_of(&self, level: u8) -> Node {
        match self.root {
            None => Node::Nothing,
            Some(_) if level > self.top() => Node::AboveRoot,
            Some(root) => Node::Page(root),
        }
    }

    /// The entries below a page.
    async fn below(&self, name: Name, node: Node) -> Result<Vec<Node>, Failure> {
        let mut nodes = vec![Node::Nothing; FAN_OUT as usize];
        match node {
            Node::Nothing => {}
            Node::AboveRoot => nodes[0] = self.first_of(name.0 - 1),
            Node::Page(entry) => {
                let page = self.tree.load(name, entry).await?;
                page.entries().for_each(|(slot, entry)| nodes[slot] = Node::Page(*entry));
            }
        }
        Ok(nodes)
    }
}

impl Node {
    /// Whether both surely hold the same.
    fn equals(&self, other: &Node) -> bool {
        let digest = |node: &Node| match node {
            Node::Nothing => Some(Digest::ZERO),
            Node::AboveRoot => None,
            Node::Page(entry) => Some(entry.digest),
        };
        digest(self).is_some_and(|own| Some(own) == digest(other))
    }
}

struct Comparison<'a> {
    sides: [Side<'a>; 2],
    /// Of the larger volume.
    geometry: Geometry,
    /// The block in which the smaller volume ends, if it does not end with it.
    seam: Option<u64>,
    wanted: Extent,
    limit: usize,
    extents: Vec<Extent>,
}

impl<'a> Comparison<'a> {
    fn new(sides: [Side<'a>; 2], from: u64, limit: usize) -> Self {
        let [a, b] = [sides[0].geometry, sides[1].geometry];
        let (smaller, geometry) = if a.size() < b.size() { (a, b) } else { (b, a) };
        let bytes = smaller.block().bytes();
        let is_split = smaller.size() != geometry.size() && !smaller.size().is_multiple_of(bytes);
        let seam = is_split.then(|| smaller.size() / bytes);
        let wanted = Extent::between(from.min(geometry.size()), geometry.size());
        Self { sides, geometry, seam, wanted, limit: limit.max(1), extents: Vec::new() }
    }

    async fn run(mut self) -> Result<Differences, Failure> {
        let top = self.geometry.height() - 1;
        let mut open = vec![((top, 0), [self.sides[0].first_of(top), self.sides[1].first_of(top)])];
        let mut n_pages = 0;
        while let Some(((level, index), nodes)) = open.pop() {
            let place = self.geometry.bytes_of(self.geometry.blocks_of(level, index));
            if nodes[0].equals(&nodes[1]) || place.end() <= self.wanted.offset {
                continue;
            }
            if n_pages >= PAGES_PER_CALL {
                return Ok(Differences { extents: self.extents, next: Some(place.offset.max(self.wanted.offset)) });
            }
            n_pages += 1;
            let name = (level, index);
            let below = [self.sides[0].below(name, nodes[0]).await?, self.sides[1].below(name, nodes[1]).await?];
            let pairs = below[0].iter().copied().zip(below[1].iter().copied()).enumerate();
            let differing = pairs.filter(|(_, (a, b))| !a.equals(b));
            if level > 0 {
                let children = differing.map(|(slot, (a, b))| ((level - 1, index * FAN_OUT + slot as u64), [a, b]));
                open.extend(children.collect::<Vec<_>>().into_iter().rev());
                continue;
            }
            for (slot, _) in differing {
                if let Some(next) = self.add(index * FAN_OUT + slot as u64).await? {
                    return Ok(Differences { extents: self.extents, next: Some(next) });
                }
            }
        }
        Ok(Differences { extents: self.extents, next: None })
    }

    /// Adds a block; if there is no room for it, where it begins.
    async fn add(&mut self, block: u64) -> Result<Option<u64>, Failure> {
        let extent = self.geometry.bytes_of(block..block + 1).intersect(self.wanted);
        if extent.is_empty() || self.seam == Some(block) && !self.differs_at_seam(block).await? {
            return Ok(None);
        }
        let n_extents = self.extents.len();
        match self.extents.last_mut() {
            Some(last) if last.end() == extent.offset => last.length += extent.length,
            _ if n_extents >= self.limit => return Ok(Some(extent.offset)),
            _ => self.extents.push(extent),
        }
        Ok(None)
    }

    /// Digests of blocks of different lengths say nothing: the bytes decide.
    async fn differs_at_seam(&self, block: u64) -> Result<bool, Failure> {
        let read = |side: usize| {
            let side = &self.sides[side];
            side.reader.read(side.geometry.bytes_of(block..block + 1))
        };
        let (a, b) = (read(0).await?, read(1).await?);
        let common = a.len().min(b.len());
        Ok(a[..common] != b[..common] || !is_zero(&a[common..]) || !is_zero(&b[common..]))
    }
}
