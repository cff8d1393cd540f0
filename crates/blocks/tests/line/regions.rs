//! Every region of every format, by its name in docs/formats.md: a flipped bit, a cut or something appended is told as
//! exactly what it is, and nothing else is amiss.

use crate::stage::{Book, Volume, content, noise, open, request, run, snapshot_id};
use crate::sweep::copied;
use godwit_blocks::block::BlockSize;
use godwit_blocks::crypt::MasterKey;
use godwit_blocks::image::{self, ImageManifest, ImageVolume};
use godwit_blocks::pack::pack_is_complete;
use godwit_blocks::reader::SnapshotReader;
use godwit_blocks::replicate::Request;
use godwit_blocks::snapshot;
use godwit_blocks::store::BlockStore;
use godwit_blocks::verify::{Scope, verify};
use godwit_model::extent::Extent;
use godwit_model::failure::{Code, Failure};
use godwit_model::id::{ImageId, JobId, PackId, RunId};
use godwit_model::key::first_key;
use godwit_model::time::Timestamp;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

const BLOCK: usize = 4096;
const TAG: usize = 16;
const SIZE: usize = 4_500_000;
const LEAF: usize = 1024 * BLOCK;
const N_BLOCKS: usize = 6;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Block(usize),
    Leaf(usize),
    Root,
}

/// A record of one of the packs.
#[derive(Clone, Debug)]
struct Record {
    pack: usize,
    range: Range<usize>,
    what: What,
}

/// Two snapshots of a volume of two leaves. The first holds blocks of the second leaf, the second one adds blocks of the
/// first leaf; each stored one pack: a compressed block, others that are not, a leaf, the root.
struct Scene {
    objects: Arc<dyn ObjectStore>,
    models: [Vec<u8>; 2],
    packs: [Path; 2],
    lengths: [usize; 2],
    records: Vec<Record>,
}

impl Scene {
    async fn new(key_version: u32) -> Scene {
        let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let store = open(objects.clone(), 1, 1 << 20).await;
        for version in 2..=key_version {
            store.make_key(&first_key(), version).await.unwrap();
        }
        let store = open(objects.clone(), 2, 1 << 20).await;
        let starts = [1030, 7];
        let mut models = [vec![0; SIZE], vec![]];
        fill(&mut models[0], starts[0]);
        models[1] = models[0].clone();
        fill(&mut models[1], starts[1]);
        let first = request(1, SIZE as u64, BlockSize::MIN);
        run(&store, &first, &Arc::new(Volume::new(models[0].clone())), &Book::default()).await.unwrap();
        let second = Request { parent: Some(snapshot_id(1)), ..request(2, SIZE as u64, BlockSize::MIN) };
        let volume = Volume::since(models[1].clone(), &models[0]);
        run(&store, &second, &Arc::new(volume), &Book::default()).await.unwrap();
        let volumes = vec![ImageVolume { device: "vda".to_owned(), snapshot: snapshot_id(1) }];
        let (image, job, run) = (ImageId::from_bits(1), JobId::from_bits(1), RunId::from_bits(1));
        let server_name = "web-1".to_owned();
        let image = ImageManifest { image, job, run, server_name, volumes, created_at: Timestamp(1) };
        image::register(&store, &image).await.unwrap();
        let mut scene = Scene { objects, models, packs: Default::default(), lengths: [0; 2], records: Vec::new() };
        for (pack, start) in starts.into_iter().enumerate() {
            scene.lay_out(pack, start).await;
        }
        scene
    }

    /// Finds out where the records of a pack are: the manifest tells where the root page is, the rest follows from what
    /// was stored in which order.
    async fn lay_out(&mut self, pack: usize, start: usize) {
        let manifest = self.bytes(&Path::from(format!("snapshots/{}", snapshot_id(pack as u128 + 1)))).await;
        let body: Value = serde_json::from_slice(&manifest[28..manifest.len() - 32]).unwrap();
        let id = body["root"]["pack"].as_str().unwrap();
        self.packs[pack] = Path::from(format!("packs/{}/{id}", &id[id.len() - 2..]));
        self.lengths[pack] = self.bytes(&self.packs[pack]).await.len();
        let text = &self.models[pack][start * BLOCK..][..BLOCK];
        let mut at = 40;
        for n in 0..N_BLOCKS {
            let stored = if n == 0 { zstd::bulk::compress(text, 1).unwrap().len() } else { BLOCK };
            self.records.push(Record { pack, range: at..at + stored + TAG, what: What::Block(start + n) });
            at += stored + TAG;
        }
        let root = body["root"]["offset"].as_u64().unwrap() as usize;
        let end = root + body["root"]["stored"].as_u64().unwrap() as usize;
        self.records.push(Record { pack, range: at..root, what: What::Leaf(start / 1024) });
        self.records.push(Record { pack, range: root..end, what: What::Root });
        assert_eq!(end, self.lengths[pack] - 80 - TAG - 52 * (N_BLOCKS + 2), "the index follows");
    }

    async fn bytes(&self, path: &Path) -> Vec<u8> {
        self.objects.get(path).await.unwrap().bytes().await.unwrap().to_vec()
    }

    /// What is damaged of snapshot `n` (0 or 1) if the records are that `is_hit` says so of.
    fn damage(&self, n: usize, is_hit: &dyn Fn(&Record) -> bool) -> Vec<Extent> {
        // The second snapshot's own root is in its own pack; all else it shares.
        let is_of = |record: &Record| record.pack == n || n == 1 && record.what != What::Root;
        let mut hit: Vec<Extent> = Vec::new();
        for record in self.records.iter().filter(|record| is_of(record) && is_hit(record)) {
            let (start, end) = match record.what {
                What::Block(block) => (block * BLOCK, (block + 1) * BLOCK),
                What::Leaf(leaf) => (leaf * LEAF, ((leaf + 1) * LEAF).min(SIZE)),
                What::Root => (0, SIZE),
            };
            hit.push(Extent::between(start as u64, end as u64));
        }
        hit.sort_by_key(|extent| extent.offset);
        let mut merged: Vec<Extent> = Vec::new();
        for extent in hit {
            match merged.last_mut() {
                Some(last) if extent.offset <= last.end() => last.length = last.end().max(extent.end()) - last.offset,
                _ => merged.push(extent),
            }
        }
        merged
    }

    /// Checks both snapshots in a store in which these records are damaged.
    async fn check(&self, objects: &Arc<dyn ObjectStore>, pack: usize, is_hit: &dyn Fn(&Record) -> bool, when: &str) {
        let store = open(objects.clone(), 9, 1 << 20).await;
        for n in 0..2 {
            let id = snapshot_id(n as u128 + 1);
            let expected = self.damage(n, is_hit);
            let found = verify(&store, &id, Scope::Everything, &|_, _| {}, &CancellationToken::new()).await.unwrap();
            assert_eq!(found.damaged, expected, "{when}: {id}");
            let is_named = |problem: &String| problem.contains(self.packs[pack].as_ref());
            assert_eq!(found.first_problem.as_ref().is_some_and(is_named), !expected.is_empty(), "{when}: {found:?}");
            let reader = SnapshotReader::open(&store, &id).await.unwrap();
            // A piece before, one in, one behind each edge of what is damaged; and all where nothing is.
            let edges = expected.iter().flat_map(|extent| [extent.offset, extent.end()]);
            let around = edges.flat_map(|edge| [edge.saturating_sub(BLOCK as u64), edge]);
            let pieces = around.map(|at| Extent::between(at, (at + BLOCK as u64).min(SIZE as u64)));
            for piece in pieces.filter(|piece| !piece.is_empty()) {
                let is_damaged = expected.iter().any(|extent| !extent.intersect(piece).is_empty());
                let model = &self.models[n][piece.offset as usize..piece.end() as usize];
                match reader.read(piece).await {
                    Ok(bytes) => assert!(!is_damaged && bytes == model, "{when}: {id} at {piece:?}"),
                    Err(failure) => {
                        assert!(is_damaged, "{when}: {id} at {piece:?}: {failure}");
                        self.is_told(&failure, &self.packs[pack], when);
                    }
                }
            }
            if expected.is_empty() {
                assert!(content(&store, &id).await.unwrap() == self.models[n], "{when}");
            }
        }
    }

    fn is_told(&self, failure: &Failure, path: &Path, when: &str) {
        assert_eq!(failure.code, Code::StoreCorrupt, "{when}: {failure}");
        assert!(failure.evidence.contains(path.as_ref()), "{when}: {failure}");
    }
}

/// A compressible block and others that are not.
fn fill(model: &mut [u8], start: usize) {
    model[start * BLOCK..][..BLOCK].fill(start as u8 + 1);
    let rest = &mut model[(start + 1) * BLOCK..][..(N_BLOCKS - 1) * BLOCK];
    rest.copy_from_slice(&noise(start as u64, rest.len()));
}

/// The object with one bit flipped.
async fn flip(objects: &Arc<dyn ObjectStore>, path: &Path, whole: &[u8], at: usize) {
    let mut bytes = whole.to_vec();
    bytes[at] ^= 1 << (at % 8);
    objects.put(path, bytes.into()).await.unwrap();
}

/// First and last byte of a range, and some between.
fn samples(range: Range<usize>) -> impl Iterator<Item = usize> {
    range.clone().step_by(389).chain([range.end - TAG - 1, range.end - TAG, range.end - 1])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_of_a_record_damages_its_block_its_leaf_or_all_and_nothing_else() {
    for key_version in [1, 2] {
        let scene = Scene::new(key_version).await;
        let objects = copied(&*scene.objects).await;
        for hit in &scene.records {
            let path = &scene.packs[hit.pack];
            let whole = scene.bytes(path).await;
            for at in samples(hit.range.clone()) {
                flip(&objects, path, &whole, at).await;
                let is_hit = |record: &Record| (record.pack, record.what) == (hit.pack, hit.what);
                scene.check(&objects, hit.pack, &is_hit, &format!("byte {at} of {hit:?}")).await;
            }
            objects.put(path, whole.into()).await.unwrap();
        }
        scene.check(&objects, 0, &|_| false, "restored").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bit_of_a_packs_framing_makes_it_incomplete_and_no_snapshot_worse() {
    /// Of the footer: name and length of each field.
    const FOOTER: [(&str, usize); 10] = [
        ("pack id", 16),
        ("offset of the index", 4),
        ("version of the key", 4),
        ("length of the index", 4),
        ("number of records", 4),
        ("lowest block", 8),
        ("highest block", 8),
        ("checksum", 24),
        ("mark of the end", 7),
        ("version at the end", 1),
    ];
    for key_version in [1, 2] {
        let scene = Scene::new(key_version).await;
        let objects = copied(&*scene.objects).await;
        let (path, length) = (&scene.packs[0], scene.lengths[0]);
        let whole = scene.bytes(path).await;
        let mut regions = vec![("mark", 0..7), ("version", 7..8), ("key id", 8..24), ("pack id", 24..40)];
        let mut at = length - 80;
        for (name, size) in FOOTER {
            regions.push((name, at..at + size));
            at += size;
        }
        assert_eq!(at, length);
        let pack: PackId = path.filename().unwrap().parse().unwrap();
        for (name, at) in regions.into_iter().flat_map(|(name, range)| range.map(move |at| (name, at))) {
            flip(&objects, path, &whole, at).await;
            let store = open(objects.clone(), 9, 1 << 20).await;
            assert!(!pack_is_complete(&store, &pack).await.unwrap(), "{name}, byte {at}");
            if at % 5 == 0 {
                scene.check(&objects, 0, &|_| false, name).await;
            }
        }
        // The index is read by nobody but a run that goes on, which tells and does without: see `resume`.
        for at in samples(length - 80 - TAG - 52 * (N_BLOCKS + 2)..length - 80) {
            flip(&objects, path, &whole, at).await;
            let store = open(objects.clone(), 9, 1 << 20).await;
            assert!(pack_is_complete(&store, &pack).await.unwrap(), "byte {at} of the index");
            scene.check(&objects, 0, &|_| false, "the index").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pack_that_is_cut_loses_what_was_behind_and_one_that_is_longer_nothing() {
    let scene = Scene::new(1).await;
    let objects = copied(&*scene.objects).await;
    for (pack, path) in scene.packs.iter().enumerate() {
        let whole = scene.bytes(path).await;
        let id: PackId = path.filename().unwrap().parse().unwrap();
        let edges = scene
            .records
            .iter()
            .filter(|record| record.pack == pack)
            .flat_map(|record| [record.range.start, record.range.start + 1, record.range.end - 1]);
        for cut in edges.chain([0, 39, whole.len() - 80, whole.len() - 1]) {
            objects.put(path, whole[..cut].to_vec().into()).await.unwrap();
            let is_hit = |record: &Record| record.pack == pack && record.range.end > cut;
            scene.check(&objects, pack, &is_hit, &format!("cut at {cut}")).await;
            let store = open(objects.clone(), 9, 1 << 20).await;
            assert!(!pack_is_complete(&store, &id).await.unwrap(), "cut at {cut}");
        }
        for more in [1, 16, 80, 5000] {
            let longer = [&whole[..], &noise(more as u64, more)].concat();
            objects.put(path, longer.into()).await.unwrap();
            scene.check(&objects, pack, &|_| false, "appended").await;
            let store = open(objects.clone(), 9, 1 << 20).await;
            assert!(!pack_is_complete(&store, &id).await.unwrap(), "{more} bytes appended");
        }
        objects.delete(path).await.unwrap();
        scene.check(&objects, pack, &|record| record.pack == pack, "gone").await;
        objects.put(path, whole.into()).await.unwrap();
    }
}

/// Every way to spoil a small object: each byte flipped, cuts, something appended.
fn spoilt(whole: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let flips = (0..whole.len()).map(|at| {
        let mut bytes = whole.to_vec();
        bytes[at] ^= 1 << (at % 8);
        (format!("byte {at}"), bytes)
    });
    let cuts = (0..whole.len()).step_by(13).chain([whole.len() - 1]);
    let cuts = cuts.map(|cut| (format!("cut at {cut}"), whole[..cut].to_vec()));
    let longer = [1, 32].map(|more| (format!("{more} appended"), [whole, &noise(3, more)].concat()));
    flips.chain(cuts).chain(longer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_and_keys_that_are_spoilt_anywhere_are_corrupt_by_name() {
    for key_version in [1, 2] {
        let scene = Scene::new(key_version).await;
        let objects = copied(&*scene.objects).await;
        let store = open(objects.clone(), 9, 1 << 20).await;
        let path = Path::from(format!("snapshots/{}", snapshot_id(2)));
        let whole = scene.bytes(&path).await;
        for (how, bytes) in spoilt(&whole) {
            objects.put(&path, bytes.into()).await.unwrap();
            let opened = SnapshotReader::open(&store, &snapshot_id(2)).await.err().unwrap();
            scene.is_told(&opened, &path, &how);
            let verified =
                verify(&store, &snapshot_id(2), Scope::OwnBlocks, &|_, _| {}, &CancellationToken::new()).await;
            scene.is_told(&verified.unwrap_err(), &path, &how);
        }
        objects.put(&path, whole.into()).await.unwrap();

        let image = ImageId::from_bits(1);
        let path = Path::from(format!("images/{image}"));
        let whole = scene.bytes(&path).await;
        for (how, bytes) in spoilt(&whole) {
            objects.put(&path, bytes.into()).await.unwrap();
            scene.is_told(&image::load(&store, &image).await.unwrap_err(), &path, &how);
        }
        objects.put(&path, whole.into()).await.unwrap();
        assert!(image::load(&store, &image).await.unwrap().is_some());

        let name = if key_version == 1 { String::new() } else { format!(".{key_version}") };
        let path = Path::from(format!("keys/{}{name}", first_key()));
        let whole = scene.bytes(&path).await;
        for (how, bytes) in spoilt(&whole) {
            objects.put(&path, bytes.into()).await.unwrap();
            let opened = BlockStore::open(objects.clone(), &MasterKey::new([7; 32]), crate::stage::entropy(5)).await;
            scene.is_told(&opened.err().unwrap(), &path, &how);
        }
        objects.put(&path, whole.into()).await.unwrap();
        scene.check(&objects, 0, &|_| false, "restored").await;
        assert!(snapshot::load(&store, &snapshot_id(2)).await.unwrap().is_some());
    }
}
