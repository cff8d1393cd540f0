//! A conversation with one QEMU: who it is and what it has.

use crate::qmp::client::{QmpClient, QmpError, QmpLimits};
use crate::qmp::inventory::{self, Inventory};
use crate::qmp::names::hash;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;
use tokio::sync::OwnedMutexGuard;

/// From this version on NBD clients may come and go at disks that an iothread serves. Before, QEMU can end itself when
/// one goes (7.2.14 and later for certain: assertion in `nbd_blockdev_client_closed`).
const THREADS_ARE_SAFE: u32 = 9;

/// How often the end of something that QEMU does in its own time is looked for.
pub(super) const POLL: Duration = Duration::from_millis(5);

/// Who answers on a socket.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Identity {
    pub(super) vm_id: String,
    pub(super) name: String,
}

/// An open conversation; nobody else of this process talks to the same socket meanwhile.
pub(super) struct Session {
    client: QmpClient,
    commands: HashSet<String>,
    _turn: OwnedMutexGuard<()>,
}

impl Session {
    pub(super) async fn open(path: &Path, limits: QmpLimits, turn: OwnedMutexGuard<()>) -> Result<Self, QmpError> {
        let mut client = QmpClient::connect(path, limits).await?;
        let reply = client.execute("query-commands", Value::Null).await?;
        let names = reply.as_array().into_iter().flatten().filter_map(|command| command.get("name")?.as_str());
        let commands = names.map(str::to_owned).collect();
        Ok(Self { client, commands, _turn: turn })
    }

    pub(super) fn client(&self) -> &QmpClient {
        &self.client
    }

    /// Whether a guest runs in it: a storage daemon has none.
    pub(super) fn has_guest(&self) -> bool {
        self.commands.contains("query-name")
    }

    pub(super) async fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        self.client.execute(command, arguments).await
    }

    pub(super) async fn transaction(&mut self, actions: Vec<Value>) -> Result<(), QmpError> {
        if actions.is_empty() {
            return Ok(());
        }
        self.execute("transaction", json!({ "actions": actions })).await.map(|_| ())
    }

    /// The lasting identity: the machine's UUID, else its name, else where its socket is.
    pub(super) async fn identity(&mut self) -> Result<Identity, QmpError> {
        let path = self.client.path().to_owned();
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (mut name, mut uuid) = (None, None);
        if self.has_guest() {
            let text = |reply: Value, key: &str| reply.get(key).and_then(Value::as_str).map(str::to_owned);
            name = text(self.execute("query-name", Value::Null).await?, "name").filter(|name| !name.is_empty());
            uuid = text(self.execute("query-uuid", Value::Null).await?, "UUID");
            uuid = uuid.filter(|uuid| uuid.bytes().any(|b| b != b'0' && b != b'-'));
        }
        let by_name = name.as_ref().map(|name| format!("name-{name}"));
        let vm_id = uuid.or(by_name).unwrap_or_else(|| format!("socket-{:016x}", hash(&path.to_string_lossy())));
        Ok(Identity { vm_id, name: name.unwrap_or(stem) })
    }

    /// Everything it has, at one moment as far as QMP allows.
    pub(super) async fn inventory(&mut self) -> Result<Inventory, QmpError> {
        let nodes = self.execute("query-named-block-nodes", json!({ "flat": true })).await?;
        let nodes = inventory::nodes(nodes).map_err(|error| self.unexpected("query-named-block-nodes", &error))?;
        let graph = match self.execute("x-debug-query-block-graph", Value::Null).await {
            Ok(reply) => inventory::graph(&reply),
            Err(error) if error.is_unknown_command() => inventory::Graph::default(),
            Err(error) => return Err(error),
        };
        let exports: Vec<inventory::Export> = self.query("query-block-exports").await?;
        let jobs = self.query("query-jobs").await?;
        let (mut disks, warnings) = if self.has_guest() {
            let drives = self.execute("query-block", Value::Null).await?;
            let disks = inventory::system_disks(drives, &nodes, &graph);
            disks.map_err(|error| self.unexpected("query-block", &error))?
        } else {
            inventory::daemon_disks(&exports, &nodes, &graph)
        };
        if self.has_guest() {
            self.boot_order(&mut disks).await?;
        }
        Ok(Inventory { nodes, exports, jobs, disks, warnings })
    }

    /// Why no NBD client may be let near this QEMU: its guest might not survive it.
    pub(super) async fn danger(&mut self) -> Result<Option<String>, QmpError> {
        let major = self.client.version().split('.').next().and_then(|major| major.parse::<u32>().ok());
        if major.is_some_and(|major| major >= THREADS_ARE_SAFE) {
            return Ok(None);
        }
        let objects = match self.execute("qom-list", json!({ "path": "/objects" })).await {
            // A storage daemon that was given none.
            Err(QmpError::Refused { .. }) => return Ok(None),
            objects => objects?,
        };
        let is_thread = |object: &Value| object.get("type").and_then(Value::as_str) == Some("child<iothread>");
        let version = self.client.version();
        Ok(objects.as_array().into_iter().flatten().any(is_thread).then(|| {
            format!(
                "QEMU {version} has iothreads, and before version {THREADS_ARE_SAFE} QEMU can break down when an NBD client \
                 leaves a disk in an iothread: start the guest without iothreads or with a newer QEMU"
            )
        }))
    }

    pub(super) async fn exports(&mut self) -> Result<Vec<inventory::Export>, QmpError> {
        self.query("query-block-exports").await
    }

    pub(super) async fn jobs(&mut self) -> Result<Vec<inventory::Job>, QmpError> {
        self.query("query-jobs").await
    }

    /// Puts the disk that the machine boots from first, if it was told which one that is.
    async fn boot_order(&mut self, disks: &mut [inventory::Disk]) -> Result<(), QmpError> {
        let mut places = std::collections::HashMap::new();
        for disk in disks.iter() {
            let Some(path) = &disk.qom_path else { continue };
            let place = match self.execute("qom-get", json!({ "path": path, "property": "bootindex" })).await {
                Ok(place) => place.as_i64().filter(|place| *place >= 0),
                Err(QmpError::Refused { .. }) => None,
                Err(error) => return Err(error),
            };
            places.extend(place.map(|place| (disk.device.clone(), place)));
        }
        disks.sort_by_key(|disk| places.get(&disk.device).copied().unwrap_or(i64::MAX));
        Ok(())
    }

    async fn query<T: serde::de::DeserializeOwned>(&mut self, command: &str) -> Result<T, QmpError> {
        let reply = self.execute(command, Value::Null).await?;
        serde_json::from_value(reply).map_err(|error| self.unexpected(command, &error))
    }

    fn unexpected(&self, command: &str, error: &serde_json::Error) -> QmpError {
        QmpError::Broken { path: self.client.path().to_owned(), seen: format!("the answer to {command}: {error}") }
    }
}
