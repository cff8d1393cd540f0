//! What a QEMU has: nodes, bitmaps, jobs, exports, and which of its disks are to be replicated. Pure: replies in,
//! values out, members that are missing or unknown tolerated where versions differ.

use crate::qmp::names::is_any_godwit;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// A node of the block graph.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Name of the driver: `qcow2`, `file` …
    pub driver: String,
    /// Virtual size in bytes.
    pub size: u64,
    /// Bytes that its image takes, if that is told and all of it: of what lies on a device or in a chain it is not.
    pub allocated: Option<u64>,
    /// Whether it is opened read-only.
    pub read_only: bool,
    /// Whether bitmaps can be stored in the image.
    pub keeps_bitmaps: bool,
    /// Named bitmaps.
    pub bitmaps: Vec<Bitmap>,
}

/// A dirty bitmap with a name.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bitmap {
    /// Filters show bitmaps without a name: those are nobody's.
    #[serde(default)]
    pub name: String,
    /// Whether writes are recorded.
    #[serde(default)]
    pub recording: bool,
    /// Whether QEMU was killed while it was in use.
    #[serde(default)]
    pub inconsistent: bool,
    /// Bytes per bit.
    #[serde(default)]
    pub granularity: u64,
}

/// An export of a node.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Export {
    /// Its id.
    pub id: String,
    /// `nbd`, `vhost-user-blk` …
    #[serde(default)]
    pub r#type: String,
    /// What it exports.
    pub node_name: String,
    /// Whether it is going away.
    #[serde(default)]
    pub shutting_down: bool,
}

/// A job.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: String,
    /// `backup`, `create` …
    #[serde(default)]
    pub r#type: String,
    /// `running`, `concluded` …
    #[serde(default)]
    pub status: String,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<String>,
}

/// A disk of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Disk {
    /// Stable name.
    pub device: String,
    /// The node that holds the image's format and the bitmaps, below all filters.
    pub node: String,
    /// Virtual size in bytes.
    pub size: u64,
    /// Where the machine's device tree has the device that holds it.
    pub qom_path: Option<String>,
}

/// Everything at one moment.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// By name.
    pub nodes: BTreeMap<String, Node>,
    /// All exports.
    pub exports: Vec<Export>,
    /// All jobs.
    pub jobs: Vec<Job>,
    /// What is to be replicated.
    pub disks: Vec<Disk>,
    /// Disks that cannot be, one sentence each.
    pub warnings: Vec<String>,
}

/// Parents and children of the block graph.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    below_filter: HashMap<String, String>,
    written: HashSet<String>,
}

/// The nodes of `query-named-block-nodes`.
pub fn nodes(reply: Value) -> Result<BTreeMap<String, Node>, serde_json::Error> {
    let raw: Vec<RawNode> = serde_json::from_value(reply)?;
    Ok(raw.into_iter().map(|node| (node.node_name.clone(), node.into())).collect())
}

/// The graph of `x-debug-query-block-graph`: the only place where QEMU tells what lies below a filter. As it is meant
/// for debugging, whatever cannot be understood is left out.
pub fn graph(reply: &Value) -> Graph {
    let parse = || -> Option<Graph> {
        let mut names = HashMap::new();
        for node in reply.get("nodes")?.as_array()? {
            let is_node = node.get("type").and_then(Value::as_str) == Some("block-driver");
            let name = node.get("name").and_then(Value::as_str).unwrap_or_default();
            names.insert(node.get("id")?.as_u64()?, is_node.then_some(name));
        }
        let mut graph = Graph::default();
        for edge in reply.get("edges")?.as_array()? {
            let parent = names.get(&edge.get("parent")?.as_u64()?)?;
            let child = names.get(&edge.get("child")?.as_u64()?)?.unwrap_or_default().to_owned();
            match (parent, edge.get("name").and_then(Value::as_str)) {
                (Some(parent), Some("file")) => {
                    graph.below_filter.insert((*parent).to_owned(), child);
                }
                (Some(parent), Some("backing")) => {
                    graph.below_filter.entry((*parent).to_owned()).or_insert(child);
                }
                (None, _) => {
                    let writes = edge.get("perm").and_then(Value::as_array);
                    if writes.is_some_and(|perms| perms.iter().any(|p| p == "write")) {
                        graph.written.insert(child);
                    }
                }
                _ => {}
            }
        }
        Some(graph)
    };
    parse().unwrap_or_default()
}

/// The disks of a `qemu-system-*` by `query-block`, in its order.
pub fn system_disks(
    reply: Value,
    nodes: &BTreeMap<String, Node>,
    graph: &Graph,
) -> Result<(Vec<Disk>, Vec<String>), serde_json::Error> {
    let drives: Vec<RawDrive> = serde_json::from_value(reply)?;
    let mut list = DiskList::default();
    for drive in drives {
        let Some(inserted) = drive.inserted else { continue };
        // Firmware variables are no disk of the server.
        let is_flash = drive.qdev.contains("system.flash") || drive.device.starts_with("pflash");
        if drive.removable || is_flash {
            continue;
        }
        let node = inserted.node_name;
        let device = device_name(&drive.device, &drive.qdev, &node);
        if inserted.ro {
            list.warnings.push(format!("disk {device} is read-only and is not replicated"));
            continue;
        }
        list.add(device, &node, qom_path(&drive.qdev), nodes, graph);
    }
    Ok((list.disks, list.warnings))
}

/// The disks of a `qemu-storage-daemon`: what it exports writable. Sorted by name, as exports have no lasting order.
pub fn daemon_disks(exports: &[Export], nodes: &BTreeMap<String, Node>, graph: &Graph) -> (Vec<Disk>, Vec<String>) {
    let mut list = DiskList::default();
    for export in exports.iter().filter(|export| !export.shutting_down && !is_any_godwit(&export.id)) {
        // Whether an export is writable is told nowhere but in the permissions that it holds.
        let known = !graph.written.is_empty() || !graph.below_filter.is_empty();
        if known && !graph.written.contains(&export.node_name) {
            continue;
        }
        let base = base(&export.node_name, nodes, graph);
        if base.is_some_and(|node| node.read_only) {
            continue;
        }
        let named = base.filter(|node| !node.name.starts_with('#'));
        let device = named.map_or(export.id.clone(), |node| node.name.clone());
        list.add(device, &export.node_name, None, nodes, graph);
    }
    list.disks.sort_by(|a, b| a.device.cmp(&b.device));
    (list.disks, list.warnings)
}

#[derive(Default)]
struct DiskList {
    disks: Vec<Disk>,
    warnings: Vec<String>,
    devices: BTreeSet<String>,
}

impl DiskList {
    fn add(
        &mut self,
        device: String,
        top: &str,
        qom_path: Option<String>,
        nodes: &BTreeMap<String, Node>,
        graph: &Graph,
    ) {
        let Some(base) = base(top, nodes, graph) else {
            self.warnings
                .push(format!("disk {device} is not replicated: what lies below its filter {top} is not told"));
            return;
        };
        if base.size == 0 {
            self.warnings.push(format!("disk {device} is not replicated: it holds no byte"));
            return;
        }
        if self.disks.iter().any(|disk| disk.node == base.name) {
            return;
        }
        if !self.devices.insert(device.clone()) {
            self.warnings
                .push(format!("a second disk named {device} is not replicated: give each disk an id of its own"));
            return;
        }
        self.disks.push(Disk { device, node: base.name.clone(), size: base.size, qom_path });
    }
}

/// The node below all filters.
fn base<'a>(top: &str, nodes: &'a BTreeMap<String, Node>, graph: &Graph) -> Option<&'a Node> {
    let mut node = nodes.get(top)?;
    for _ in 0..nodes.len() {
        if !is_filter(&node.driver) {
            return Some(node);
        }
        node = nodes.get(graph.below_filter.get(&node.name)?)?;
    }
    None
}

fn is_filter(driver: &str) -> bool {
    const FILTERS: &[&str] = &[
        "blkdebug",
        "blklogwrites",
        "blkreplay",
        "blkverify",
        "commit_top",
        "compress",
        "copy-before-write",
        "copy-on-read",
        "mirror_top",
        "preallocate",
        "throttle",
    ];
    FILTERS.contains(&driver)
}

/// The most lasting name of a disk: the device's id, the drive's, the node's.
fn device_name(device: &str, qdev: &str, node: &str) -> String {
    let id = match qdev.strip_prefix("/machine/peripheral/") {
        Some(path) => path.split('/').next().unwrap_or_default(),
        None if qdev.starts_with('/') => "",
        None => qdev,
    };
    let named = [id, device, if node.starts_with('#') { "" } else { node }];
    let name = named.into_iter().find(|name| !name.is_empty());
    name.map_or_else(|| qdev.trim_start_matches('/').replace('/', "-"), str::to_owned)
}

/// The device's own place: drives of virtio hang on a part of it.
fn qom_path(qdev: &str) -> Option<String> {
    if qdev.is_empty() {
        return None;
    }
    if !qdev.starts_with('/') {
        return Some(format!("/machine/peripheral/{qdev}"));
    }
    Some(qdev.split('/').take(4).collect::<Vec<_>>().join("/"))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawNode {
    #[serde(default)]
    node_name: String,
    drv: String,
    #[serde(default)]
    ro: bool,
    image: RawImage,
    #[serde(default, rename = "backing_file_depth")]
    backing_file_depth: u64,
    #[serde(default)]
    dirty_bitmaps: Vec<Bitmap>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawImage {
    virtual_size: u64,
    actual_size: Option<u64>,
    #[serde(default)]
    format_specific: Value,
}

#[derive(Deserialize)]
struct RawDrive {
    #[serde(default)]
    device: String,
    #[serde(default)]
    qdev: String,
    #[serde(default)]
    removable: bool,
    inserted: Option<RawInserted>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RawInserted {
    #[serde(default)]
    node_name: String,
    #[serde(default)]
    ro: bool,
}

impl From<RawNode> for Node {
    fn from(raw: RawNode) -> Node {
        let compat = raw.image.format_specific.pointer("/data/compat").and_then(Value::as_str);
        let keeps_bitmaps = raw.drv == "qcow2" && compat != Some("0.10");
        let bitmaps = raw.dirty_bitmaps.into_iter().filter(|bitmap| !bitmap.name.is_empty()).collect();
        let allocated = raw.image.actual_size.filter(|bytes| *bytes > 0 && raw.backing_file_depth == 0);
        let (name, driver, size) = (raw.node_name, raw.drv, raw.image.virtual_size);
        Node { name, driver, size, allocated, read_only: raw.ro, keeps_bitmaps, bitmaps }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn some_nodes() -> BTreeMap<String, Node> {
        let node = |name: &str, driver: &str| json!({"node-name": name, "drv": driver, "image": {"virtual-size": 512}});
        let mut disk = node("disk0", "qcow2");
        disk["dirty-bitmaps"] = json!([{"recording": true}, {"name": "b", "recording": true, "granularity": 65536}]);
        let mut old = node("old", "qcow2");
        old["image"]["format-specific"] = json!({"type": "qcow2", "data": {"compat": "0.10"}});
        nodes(json!([disk, old, node("top", "throttle"), node("cbw", "copy-before-write"), node("raw", "raw")]))
            .expect("good nodes")
    }

    fn some_graph() -> Graph {
        graph(&json!({
            "nodes": [
                {"id": 1, "type": "block-driver", "name": "top"}, {"id": 2, "type": "block-driver", "name": "cbw"},
                {"id": 3, "type": "block-driver", "name": "disk0"}, {"id": 4, "type": "block-backend", "name": ""},
                {"id": 5, "type": "block-driver", "name": "raw"},
            ],
            "edges": [
                {"parent": 1, "child": 2, "name": "file", "perm": []}, {"parent": 2, "child": 3, "name": "file", "perm": []},
                {"parent": 4, "child": 1, "name": "root", "perm": ["write"]},
                {"parent": 4, "child": 5, "name": "root", "perm": ["consistent-read"]},
            ],
        }))
    }

    #[test]
    fn nodes_are_read_defensively() {
        let nodes = some_nodes();
        assert_eq!(nodes["disk0"].bitmaps.len(), 1, "a bitmap without a name is nobody's");
        assert!(nodes["disk0"].keeps_bitmaps && !nodes["old"].keeps_bitmaps && !nodes["raw"].keeps_bitmaps);
    }

    #[test]
    fn allocated_bytes_are_told_unless_they_are_only_a_part() {
        let node = |name: &str, actual: Value, depth: u64| {
            let image = json!({"virtual-size": 512, "actual-size": actual});
            json!({"node-name": name, "drv": "qcow2", "backing_file_depth": depth, "image": image})
        };
        let all = json!([
            node("whole", json!(196_624), 0),
            node("chain", json!(196_624), 1),
            node("device", json!(0), 0),
            node("untold", Value::Null, 0),
        ]);
        let nodes = nodes(all).expect("good nodes");
        let allocated = ["whole", "chain", "device", "untold"].map(|name| nodes[name].allocated);
        assert_eq!(allocated, [Some(196_624), None, None, None]);
    }

    #[test]
    fn the_disk_below_filters_is_found() {
        let drive = json!([
            {"device": "", "qdev": "/machine/peripheral/vd0/virtio-backend", "inserted": {"node-name": "top", "ro": false}},
            {"device": "ide1-cd0", "removable": true, "inserted": {"node-name": "raw", "ro": true}},
            {"device": "floppy0", "removable": true},
            {"device": "pflash1", "qdev": "/machine/system.flash1", "inserted": {"node-name": "raw", "ro": false}},
            {"device": "ro0", "inserted": {"node-name": "old", "ro": true}},
        ]);
        let (disks, warnings) = system_disks(drive, &some_nodes(), &some_graph()).expect("good drives");
        let qom_path = Some("/machine/peripheral/vd0".into());
        assert_eq!(disks, [Disk { device: "vd0".into(), node: "disk0".into(), size: 512, qom_path }]);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
    }

    #[test]
    fn a_filter_that_hides_its_disk_is_a_warning() {
        let drive = json!([{"device": "d", "inserted": {"node-name": "top"}}]);
        let (disks, warnings) = system_disks(drive, &some_nodes(), &graph(&Value::Null)).expect("good drives");
        assert!(disks.is_empty() && warnings[0].contains("top"), "{warnings:?}");
    }

    #[test]
    fn a_daemons_disks_are_its_writable_exports() {
        let export = |id: &str, node: &str| Export {
            id: id.into(),
            r#type: "nbd".into(),
            node_name: node.into(),
            shutting_down: false,
        };
        let exports = [export("guest", "top"), export("reader", "raw"), export("godwit-0a1b2c3d-x", "top")];
        let (disks, _) = daemon_disks(&exports, &some_nodes(), &some_graph());
        assert_eq!(disks, [Disk { device: "disk0".into(), node: "disk0".into(), size: 512, qom_path: None }]);
    }

    #[test]
    fn lasting_names_come_first() {
        assert_eq!(device_name("", "/machine/peripheral/vd0/virtio-backend", "#block1"), "vd0");
        assert_eq!(device_name("drive0", "sd0", "n"), "sd0");
        assert_eq!(device_name("virtio0", "/machine/peripheral-anon/device[0]/virtio-backend", "#block1"), "virtio0");
        assert_eq!(device_name("", "/machine/peripheral-anon/device[0]", "disk0"), "disk0");
        assert_eq!(
            device_name("", "/machine/peripheral-anon/device[0]", "#block1"),
            "machine-peripheral-anon-device[0]"
        );
    }
}
