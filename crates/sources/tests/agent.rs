//! A scripted guest agent, and a storage daemon that a proxy makes look like a machine with one.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::proxy::Proxy;
use common::*;
use godwit_blocks::source::{Settle, Source};
use godwit_model::figures::Consistency;
use godwit_model::server::Platform;
use godwit_sources::freeze::{FreezeLimits, FreezeOrder, FreezerCommand, Held, freeze, thaw_guard_main, thaw_leftover};
use godwit_sources::qmp::source::QmpSource;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// How the agent behaves.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Mood {
    Good,
    /// Says no to a freeze.
    Refuses,
    /// Carries out a freeze and never answers it, only what comes after.
    LosesTheFreeze,
    /// Connects and says nothing.
    Mute,
    /// Freezes nothing.
    NoFileSystems,
    /// Something in the guest thaws before it is asked to.
    ThawsByItself,
    /// Once frozen, says nothing more in a conversation in which it was asked to thaw, while it is `deaf`.
    LosesThaws,
}

#[derive(Default)]
struct State {
    frozen: bool,
    /// How many thaws are lost yet.
    deaf: usize,
    log: Vec<String>,
}

struct FakeAgent {
    path: PathBuf,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl FakeAgent {
    fn start(path: PathBuf, mood: Mood) -> Self {
        let listener = UnixListener::bind(&path).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = talk(stream, mood, &shared).await;
            }
        });
        Self { path, state, task }
    }

    fn is_frozen(&self) -> bool {
        self.state.lock().unwrap().frozen
    }

    fn log(&self) -> Vec<String> {
        self.state.lock().unwrap().log.clone()
    }

    fn lose_thaws(&self, n: usize) {
        self.state.lock().unwrap().deaf = n;
    }

    async fn until_thawed(&self) {
        for _ in 0..1000 {
            if !self.is_frozen() && self.log().contains(&"guest-fsfreeze-thaw".to_owned()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("still frozen: {:?}", self.log());
    }
}

impl Drop for FakeAgent {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn talk(stream: UnixStream, mood: Mood, state: &Mutex<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut deaf = false;
    // What an earlier client did not read.
    stream.write_all(b"{\"return\": {\"stale\": 1}}\n").await?;
    loop {
        let mut line = Vec::new();
        if stream.read_until(b'\n', &mut line).await? == 0 {
            return Ok(());
        }
        if deaf {
            // Until the client gives up: nobody else is served meanwhile.
            continue;
        }
        let is_sync = line.first() == Some(&0xff);
        let message: Value = serde_json::from_slice(if is_sync { &line[1..] } else { &line })?;
        let command = message["execute"].as_str().unwrap().to_owned();
        let answer = {
            let mut state = state.lock().unwrap();
            state.log.push(command.clone());
            match (command.as_str(), mood) {
                (_, Mood::Mute) => continue,
                ("guest-sync-delimited", _) => json!({ "return": message["arguments"]["id"] }),
                ("guest-fsfreeze-status", _) => json!({ "return": if state.frozen { "frozen" } else { "thawed" } }),
                ("guest-fsfreeze-freeze", Mood::Refuses) => {
                    json!({ "error": { "class": "GenericError", "desc": "no way" } })
                }
                ("guest-fsfreeze-freeze", Mood::NoFileSystems) => json!({ "return": 0 }),
                ("guest-fsfreeze-freeze", Mood::ThawsByItself) => json!({ "return": 2 }),
                ("guest-fsfreeze-freeze", _) => {
                    state.frozen = true;
                    if mood == Mood::LosesTheFreeze {
                        continue;
                    }
                    json!({ "return": 2 })
                }
                ("guest-fsfreeze-thaw", Mood::LosesThaws) if state.deaf > 0 => {
                    state.deaf -= 1;
                    deaf = true;
                    continue;
                }
                ("guest-fsfreeze-thaw", _) => {
                    let was_frozen = std::mem::take(&mut state.frozen);
                    json!({ "return": if was_frozen { 2 } else { 0 } })
                }
                ("guest-get-osinfo", Mood::Good) => json!({ "return": { "id": "debian", "version-id": "12" } }),
                _ => json!({ "error": { "class": "CommandNotFound", "desc": "unknown" } }),
            }
        };
        let delimiter: &[u8] = if is_sync { &[0xff] } else { &[] };
        stream.write_all(&[delimiter, answer.to_string().as_bytes(), b"\n"].concat()).await?;
    }
}

fn limits() -> FreezeLimits {
    let [sync, freeze] = [Duration::from_millis(400); 2];
    FreezeLimits { sync, freeze, hold: Duration::from_secs(20), thaw: Duration::from_secs(3) }
}

fn order(folder: &Path, agent: &FakeAgent) -> FreezeOrder {
    FreezeOrder {
        agent: agent.path.clone(),
        marker: folder.join("marker"),
        sync_id: 0xdead_beef_1234_5678,
        limits: limits(),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("gw").tempdir_in("/tmp").unwrap()
}

#[tokio::test]
async fn frozen_until_asked_to_let_go() {
    let folder = folder();
    let agent = FakeAgent::start(folder.path().join("a"), Mood::Good);
    let order = order(folder.path(), &agent);
    let frozen = freeze(order.clone(), None).await.unwrap();
    assert!(agent.is_frozen() && order.marker.exists() && frozen.file_systems == 2);
    assert_eq!(frozen.thaw().await, Held::Throughout);
    assert!(!agent.is_frozen() && !order.marker.exists());
    let expected = ["guest-sync-delimited", "guest-fsfreeze-status", "guest-fsfreeze-freeze", "guest-fsfreeze-thaw"];
    assert_eq!(agent.log(), expected);
}

#[tokio::test]
async fn a_hold_that_is_dropped_thaws() {
    let folder = folder();
    let agent = FakeAgent::start(folder.path().join("a"), Mood::Good);
    drop(freeze(order(folder.path(), &agent), None).await.unwrap());
    agent.until_thawed().await;

    // Cancelled while it waits for the answer.
    let slow = FakeAgent::start(folder.path().join("b"), Mood::LosesTheFreeze);
    let cancelled = tokio::time::timeout(Duration::from_millis(150), freeze(order(folder.path(), &slow), None)).await;
    assert!(cancelled.is_err());
    slow.until_thawed().await;
}

#[tokio::test]
async fn a_hold_has_a_bound_and_says_when_it_ran_out() {
    let folder = folder();
    let agent = FakeAgent::start(folder.path().join("a"), Mood::Good);
    let mut order = order(folder.path(), &agent);
    order.limits.hold = Duration::from_millis(50);
    let frozen = freeze(order, None).await.unwrap();
    agent.until_thawed().await;
    assert_eq!(frozen.thaw().await, Held::TooShort);
}

#[tokio::test]
async fn a_thaw_that_is_lost_is_tried_again_in_another_conversation() {
    let folder = folder();
    let agent = FakeAgent::start(folder.path().join("a"), Mood::LosesThaws);
    agent.lose_thaws(2);
    let order = order(folder.path(), &agent);
    let frozen = freeze(order.clone(), None).await.unwrap();
    // How many it thawed was in the answer that was lost: they may have been thawed long before.
    assert_eq!(frozen.thaw().await, Held::TooShort);
    assert!(!agent.is_frozen() && !order.marker.exists());
    let expected = ["guest-fsfreeze-thaw", "guest-sync-delimited", "guest-fsfreeze-thaw"];
    assert_eq!(agent.log()[agent.log().len() - 3..], expected);
}

#[tokio::test]
async fn what_something_else_has_thawed_was_not_frozen_throughout() {
    let folder = folder();
    let agent = FakeAgent::start(folder.path().join("a"), Mood::Good);
    let order = order(folder.path(), &agent);
    let frozen = freeze(order.clone(), None).await.unwrap();
    agent.state.lock().unwrap().frozen = false;
    assert_eq!(frozen.thaw().await, Held::TooShort);
    assert!(!order.marker.exists());
}

#[tokio::test]
async fn a_thaw_is_tried_until_it_is_confirmed_however_long_it_takes() {
    let folder = folder();
    let agent = FakeAgent::start(folder.path().join("a"), Mood::LosesThaws);
    agent.lose_thaws(usize::MAX);
    let mut order = order(folder.path(), &agent);
    order.limits.sync = Duration::from_millis(50);
    order.limits.thaw = Duration::from_millis(200);
    let frozen = freeze(order.clone(), None).await.unwrap();
    let Held::Stuck(why) = frozen.thaw().await else { panic!("nobody confirmed it") };
    assert!(why.contains("did not confirm") && agent.is_frozen() && order.marker.exists(), "{why}");
    let refused = freeze(order.clone(), None).await.err().unwrap();
    assert!(refused.contains("a thaw of ours is not confirmed yet"), "{refused}");
    // Nobody asks for it any more.
    agent.lose_thaws(0);
    agent.until_thawed().await;
    until("the marker to go", || !order.marker.exists()).await;
}

#[tokio::test]
async fn the_guard_process_stays_until_the_thaw_is_confirmed() {
    let folder = folder();
    let agent = FakeAgent::start(folder.path().join("a"), Mood::LosesThaws);
    agent.lose_thaws(usize::MAX);
    let mut order = order(folder.path(), &agent);
    order.limits.sync = Duration::from_millis(50);
    order.limits.thaw = Duration::from_millis(200);
    let marker = order.marker.clone();
    let (input, output) = (tokio::io::empty(), tokio::io::sink());
    // Whoever asked has ended at once.
    let guard = tokio::spawn(thaw_guard_main(order, input, output));
    until("the freeze", || agent.is_frozen()).await;
    until("a lost thaw", || agent.log().iter().filter(|said| *said == "guest-fsfreeze-thaw").count() > 3).await;
    assert!(!guard.is_finished() && marker.exists());
    agent.lose_thaws(0);
    guard.await.unwrap().unwrap();
    assert!(!agent.is_frozen() && !marker.exists());
}

#[tokio::test]
async fn a_thaw_of_a_machine_that_has_ended_is_given_up() {
    let folder = folder();
    let agent = FakeAgent::start(folder.path().join("a"), Mood::LosesThaws);
    agent.lose_thaws(usize::MAX);
    let mut order = order(folder.path(), &agent);
    order.limits.sync = Duration::from_millis(50);
    let marker = order.marker.clone();
    let guard = tokio::spawn(thaw_guard_main(order, tokio::io::empty(), tokio::io::sink()));
    until("the freeze", || agent.is_frozen()).await;
    drop(agent);
    guard.await.unwrap().unwrap();
    assert!(marker.exists(), "should it come back frozen, somebody looks");
}

/// Waits until something holds.
async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for {what}");
}

#[tokio::test]
async fn a_freeze_that_fails_is_followed_by_a_thaw() {
    let folder = folder();
    for (mood, words) in [
        (Mood::Refuses, "no way"),
        (Mood::LosesTheFreeze, "no guest agent answered guest-fsfreeze-freeze"),
        (Mood::NoFileSystems, "froze no file system"),
    ] {
        let agent = FakeAgent::start(folder.path().join(format!("{mood:?}")), mood);
        let order = order(folder.path(), &agent);
        let why = freeze(order.clone(), None).await.err().unwrap();
        assert!(why.contains(words), "{mood:?}: {why}");
        assert!(!agent.is_frozen() && !order.marker.exists(), "{mood:?}: {:?}", agent.log());
        assert_eq!(agent.log().last().unwrap(), "guest-fsfreeze-thaw", "{mood:?}");
    }
    let mute = FakeAgent::start(folder.path().join("mute"), Mood::Mute);
    let why = freeze(order(folder.path(), &mute), None).await.err().unwrap();
    assert!(why.contains("no guest agent answered"), "{why}");
    assert!(!mute.log().iter().any(|command| command.contains("freeze")), "nothing is asked of an agent that is mute");
}

#[tokio::test]
async fn only_what_carries_our_marker_is_thawed() {
    let folder = folder();
    let agent = FakeAgent::start(folder.path().join("a"), Mood::Good);
    let order = order(folder.path(), &agent);
    agent.state.lock().unwrap().frozen = true;
    assert!(!thaw_leftover(&order).await.unwrap());
    assert!(agent.is_frozen(), "somebody else's");
    let why = freeze(order.clone(), None).await.err().unwrap();
    assert!(why.contains("another program") && agent.is_frozen(), "{why}");
    std::fs::write(&order.marker, "").unwrap();
    assert!(thaw_leftover(&order).await.unwrap());
    assert!(!agent.is_frozen() && !order.marker.exists());
}

#[tokio::test]
async fn the_guard_process_thaws_when_its_input_ends() {
    let folder = folder();
    let agent = FakeAgent::start(folder.path().join("a"), Mood::Good);
    let order = order(folder.path(), &agent);
    let back = FreezeOrder::from_args(&order.to_args()).unwrap();
    assert_eq!((&back.agent, &back.marker, back.sync_id), (&order.agent, &order.marker, order.sync_id));
    let (input, guards_input) = tokio::io::duplex(64);
    let (output, guards_output) = tokio::io::duplex(64);
    let guard = tokio::spawn(thaw_guard_main(back, guards_input, guards_output));
    let mut lines = BufReader::new(output);
    let mut line = String::new();
    lines.read_line(&mut line).await.unwrap();
    assert!(line == "frozen 2\n" && agent.is_frozen());
    drop(input);
    line.clear();
    lines.read_to_string(&mut line).await.unwrap();
    assert!(line == "thawed\n" && !agent.is_frozen());
    guard.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_program_that_freezes_is_listened_to() {
    let folder = folder();
    let agent = FakeAgent::start(folder.path().join("a"), Mood::Good);
    let program = |script: &str| FreezerCommand { program: "sh".into(), args: vec!["-c".into(), script.into()] };
    let good = program("echo frozen 3; cat > /dev/null; echo thawed");
    let frozen = freeze(order(folder.path(), &agent), Some(&good)).await.unwrap();
    assert_eq!((frozen.file_systems, frozen.thaw().await), (3, Held::Throughout));
    let early = freeze(order(folder.path(), &agent), Some(&program("echo frozen 1; echo early"))).await.unwrap();
    assert_eq!(early.thaw().await, Held::TooShort);
    let stuck =
        freeze(order(folder.path(), &agent), Some(&program("echo frozen 1; cat; echo no answer"))).await.unwrap();
    assert_eq!(stuck.thaw().await, Held::Stuck("no answer".into()));
    for (script, words) in [("echo failed why not", "why not"), ("true", "ended"), ("echo 'x y'", "x y")] {
        let why = freeze(order(folder.path(), &agent), Some(&program(script))).await.err().unwrap();
        assert!(why.contains(words), "{script}: {why}");
    }
    let none = FreezerCommand { program: "/nonexistent/program".into(), args: vec![] };
    let why = freeze(order(folder.path(), &agent), Some(&none)).await.err().unwrap();
    assert!(why.contains("cannot be started"), "{why}");

    // Dropped: the program's input ends, so it goes its own way to the end.
    let sign = folder.path().join("thawed");
    let script = format!("echo frozen 1; cat > /dev/null; touch {}", sign.display());
    drop(freeze(order(folder.path(), &agent), Some(&program(&script))).await.unwrap());
    for _ in 0..500 {
        if sign.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(sign.exists());
}

/// A storage daemon behind a proxy that answers like a machine with an agent.
async fn machine(daemon: &Daemon, agent: &FakeAgent) -> (Proxy, QmpSource) {
    let channel = format!("disconnected:unix:{},server=on", agent.path.display());
    let drives = json!([{ "device": "", "qdev": "/machine/peripheral/vd0/virtio-backend", "removable": false,
        "inserted": { "node-name": "disk0", "ro": false } }]);
    let real = daemon.execute("query-commands", Value::Null).await;
    let mut commands = real.as_array().unwrap().clone();
    commands.push(json!({ "name": "query-name" }));
    let state = agent.state.clone();
    let answers = move |command: &str, arguments: &Value| {
        if command == "transaction" {
            state.lock().unwrap().log.push(command.to_owned());
        }
        let of = |key: &str| arguments[key].as_str().unwrap_or_default();
        Some(match (command, of("path"), of("property")) {
            ("query-commands", ..) => json!(commands),
            ("query-name", ..) => json!({ "name": "web server" }),
            ("query-uuid", ..) => json!({ "UUID": "f81d4fae-7dec-11d0-a765-00a0c91e6bf6" }),
            ("query-block", ..) => drives.clone(),
            ("query-chardev", ..) => json!([{ "label": "mon", "filename": "unix:/x,server=on" },
                { "label": "ch0", "filename": channel, "frontend-open": true }]),
            ("qom-list", "/machine/peripheral", _) => json!([{ "name": "vs0", "type": "child<virtio-serial-pci>" },
                { "name": "port0", "type": "child<virtserialport>" }]),
            ("qom-get", "/machine/peripheral/port0", "name") => json!("org.qemu.guest_agent.0"),
            ("qom-get", "/machine/peripheral/port0", "chardev") => json!("ch0"),
            ("qom-get", _, "bootindex") => json!(1),
            _ => return None,
        })
    };
    let proxy = Proxy::with_answers(daemon.path("q.sock"), daemon.path("p.sock"), Arc::new(answers));
    let mut options = daemon.options();
    options.socket = proxy.path.clone();
    options.nbd_socket = Some(daemon.path("g.sock"));
    options.limits.freeze = limits();
    (proxy, QmpSource::new(options))
}

const MACHINE: &str = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_is_frozen_around_the_transaction_only() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let agent = FakeAgent::start(daemon.path("a.sock"), Mood::Good);
    let (proxy, source) = machine(&daemon, &agent).await;
    let found = source.discover().await.unwrap().servers.remove(0);
    assert_eq!(found.platform, Some(Platform::Linux), "as the agent tells");
    assert_eq!(
        (found.vm_id.as_str(), found.name.as_str(), found.path.as_str()),
        (MACHINE, "web server", "/web server")
    );
    assert_eq!(found.volumes[0].device, "vd0");
    daemon.write(0, 7, 0, BLOCK).await;
    let view = open(&source, &first(MACHINE, &run_id(1))).await;
    assert_eq!((view.consistency, view.notes.len()), (Consistency::FileSystem, 0), "{:?}", view.notes);
    assert_same(&content(&view.volumes[0], None).await, &daemon.disks[0].bytes, "frozen view");
    assert!(!agent.is_frozen());
    let log = agent.log();
    let expected = ["guest-fsfreeze-status", "guest-fsfreeze-freeze", "transaction", "guest-fsfreeze-thaw"];
    assert_eq!(log[log.len() - 4..], expected);
    drop(proxy.commands.lock().unwrap().drain(..));
    let again = open(&source, &first(MACHINE, &run_id(1))).await;
    assert!(again.resumed && again.point == view.point && again.consistency == Consistency::FileSystem);
    assert_eq!(agent.log(), log, "a view that is found again freezes nobody");
    source.settle(MACHINE, &run_id(1), Settle::Forget).await.unwrap();
    assert_eq!(daemon.leftovers().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_willing_agent_it_is_crash_consistent_and_says_so() {
    for mood in [Mood::Mute, Mood::Refuses, Mood::LosesTheFreeze] {
        let daemon = Daemon::start(&[("qcow2", SIZE)]).await;
        let agent = FakeAgent::start(daemon.path("a.sock"), mood);
        let (_proxy, source) = machine(&daemon, &agent).await;
        let view = open(&source, &first(MACHINE, &run_id(1))).await;
        assert_eq!(view.consistency, Consistency::Crash, "{mood:?}");
        assert!(view.notes.len() == 1 && view.notes[0].contains("crash-consistent"), "{mood:?}: {:?}", view.notes);
        assert!(!agent.is_frozen(), "{mood:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_says_frozen_only_if_it_surely_was() {
    let mut daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    daemon.write(0, 1, 0, BLOCK).await;
    for (mood, deaf, words) in [
        (Mood::ThawsByItself, 0, "may not have been frozen all the time"),
        (Mood::LosesThaws, 1, "may not have been frozen all the time"),
        (Mood::LosesThaws, usize::MAX, "thawing the guest is in doubt"),
    ] {
        let _ = std::fs::remove_file(daemon.path("p.sock"));
        let agent = FakeAgent::start(daemon.path(&format!("{mood:?}{deaf}")), mood);
        agent.lose_thaws(deaf);
        let (_proxy, source) = machine(&daemon, &agent).await;
        let view = open(&source, &first(MACHINE, &run_id(1))).await;
        assert_eq!(view.consistency, Consistency::Crash, "{mood:?}");
        assert!(view.notes.len() == 1 && view.notes[0].contains(words), "{:?}", view.notes);
        assert_same(&all_bytes(&view.volumes[0]).await, &daemon.disks[0].bytes, "a point all the same");
        let again = open(&source, &first(MACHINE, &run_id(1))).await;
        assert!(again.resumed && again.consistency == Consistency::Crash);
        drop((view, again));
        agent.lose_thaws(0);
        agent.until_thawed().await;
        source.settle(MACHINE, &run_id(1), Settle::Forget).await.unwrap();
        assert_eq!(daemon.leftovers().await, [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_at_any_command_leaves_nobody_frozen() {
    let daemon = Daemon::start(&[("qcow2", SIZE)]).await;
    let agent = FakeAgent::start(daemon.path("a.sock"), Mood::Good);
    let (proxy, source) = machine(&daemon, &agent).await;
    for commands in 0.. {
        assert!(commands < 200, "it never comes to an end");
        let run = run_id(commands);
        proxy.allow(commands as i64);
        let cut = source.open(&first(MACHINE, &run)).await.is_err();
        proxy.allow(i64::MAX);
        assert!(!agent.is_frozen(), "after {commands} commands");
        source.settle(MACHINE, &run, Settle::Forget).await.unwrap();
        assert_eq!(daemon.leftovers().await, [""; 0], "after {commands} commands");
        if !cut {
            break;
        }
    }
    // A process that was killed while it held the freeze.
    let marker = daemon.path("").join(daemon.options().owner.frozen_marker(MACHINE));
    std::fs::write(&marker, "").unwrap();
    agent.state.lock().unwrap().frozen = true;
    let told = sweep(&source, &[], &[]).await.unwrap();
    assert!(told.iter().any(|sentence| sentence.contains("thawed")) && !agent.is_frozen(), "{told:?}");
    assert!(!marker.exists());
}
