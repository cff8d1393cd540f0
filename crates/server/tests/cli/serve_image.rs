//! `godwit images serve`, driven by the NBD clients that people use.

use crate::stand_in::{BYTE, DATA, IMAGE, SIZE, StandIn};
use crate::{BOUND, folder, godwit, told};
use serde_json::Value;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running `godwit images serve`.
struct Serving {
    child: Child,
    told: Value,
    _service: StandIn,
}

impl Serving {
    fn start(folder: &Path, more: &[&str]) -> Serving {
        let service = StandIn::start();
        let mut command = command(folder, &service, more);
        let mut child = command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let told = serde_json::Deserializer::from_reader(stdout).into_iter().next();
        let told = told.and_then(Result::ok).unwrap_or_else(|| {
            let mut why = String::new();
            child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            panic!("it does not serve: {why}")
        });
        Serving { child, told, _service: service }
    }

    fn uri(&self) -> &str {
        self.told["uri"].as_str().unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.told["socket"].as_str().unwrap().into()
    }

    /// Ends it in order; gives what it said on standard error.
    fn end(mut self, signal: &str) -> String {
        tool("kill", &[signal, &self.child.id().to_string()]);
        let step = std::time::Duration::from_millis(20);
        let ended = (0..BOUND.as_millis() / step.as_millis()).find_map(|_| {
            std::thread::sleep(step);
            self.child.try_wait().unwrap()
        });
        let status = ended.expect("it does not end");
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(status.success(), "{status}: {said}");
        said
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(folder: &Path, service: &StandIn, more: &[&str]) -> Command {
    let mut command = godwit(folder, &["images", "serve", IMAGE]);
    command.args(more).env("GODWIT_ENDPOINT", &service.endpoint).env("TMPDIR", folder);
    command.env("AWS_ACCESS_KEY_ID", "GW").env("AWS_SECRET_ACCESS_KEY", "s");
    command
}

/// What a command says that does not come to serve.
fn refused(folder: &Path, more: &[&str]) -> (i32, String) {
    let (status, out, err) = told(command(folder, &StandIn::start(), more).output().unwrap());
    assert_eq!(out, "", "{err}");
    (status, err)
}

fn output(program: &str, args: &[&str]) -> (bool, String) {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

fn tool(program: &str, args: &[&str]) -> String {
    let (is_good, text) = output(program, args);
    assert!(is_good, "{program} {args:?}: {text}");
    text
}

/// `qemu-io` commands; what they say.
fn qemu_io(uri: &str, commands: &[&str]) -> String {
    let commands = commands.iter().flat_map(|command| ["-c", command]);
    output("qemu-io", &["-f", "raw", uri].into_iter().chain(commands).collect::<Vec<_>>()).1
}

/// The volume as a file.
fn truth(folder: &Path) -> String {
    let mut bytes = vec![0; SIZE as usize];
    DATA.iter().for_each(|(offset, length)| bytes[*offset as usize..(offset + length) as usize].fill(BYTE));
    let path = folder.join("truth.raw");
    std::fs::write(&path, bytes).unwrap();
    path.display().to_string()
}

#[test]
fn other_peoples_clients_see_the_volume_and_its_holes() {
    let folder = folder();
    let serving = Serving::start(folder.path(), &["--socket", "s", "--read-only"]);
    let truth = truth(folder.path());
    let mode = std::fs::metadata(serving.socket()).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600, "for its owner alone");

    let about: Value = serde_json::from_str(&tool("nbdinfo", &["--json", serving.uri()])).unwrap();
    let export = &about["exports"][0];
    assert_eq!(
        (export["export-size"].as_u64(), export["is_read_only"].as_bool()),
        (Some(SIZE), Some(true)),
        "{about:#}"
    );
    assert_eq!((export["can_multi_conn"].as_bool(), &about["structured"]), (Some(true), &Value::from(true)));
    let listed = tool("nbdinfo", &["--list", serving.uri()]);
    assert!(listed.contains("volume 0 (vda)"), "{listed}");
    let map: Value = serde_json::from_str(&tool("nbdinfo", &["--map", "--json", serving.uri()])).unwrap();
    let data: Vec<_> = map.as_array().unwrap().iter().filter(|part| part["type"] == 0).collect();
    let data: Vec<_> =
        data.iter().map(|part| (part["offset"].as_u64().unwrap(), part["length"].as_u64().unwrap())).collect();
    assert_eq!(data, DATA, "{map:#}");

    let by_device = serving.uri().replace(":///", ":///vda");
    tool("qemu-img", &["compare", "-f", "raw", "-F", "raw", &by_device, &truth]);
    let [copy, converted] = ["copy.raw", "converted.qcow2"].map(|name| folder.path().join(name).display().to_string());
    tool("nbdcopy", &[serving.uri(), &copy]);
    tool("cmp", &[&copy, &truth]);
    assert!(std::fs::metadata(&copy).unwrap().blocks() * 512 < SIZE / 4, "holes were copied as zeros");
    tool("qemu-img", &["convert", "-f", "raw", "-O", "qcow2", serving.uri(), &converted]);
    tool("qemu-img", &["compare", &converted, &truth]);
    let said = qemu_io(serving.uri(), &["write 0 4k"]);
    assert!(said.contains("Permission denied") && !said.contains("wrote"), "{said}");

    let absent = serving.uri().replace(":///", ":///vdz");
    assert!(output("qemu-img", &["info", &absent]).1.contains("there is no export 'vdz'; there are: '0' (vda)"));
    let socket = serving.socket();
    assert_eq!(serving.end("-INT"), "");
    assert!(!socket.exists(), "the socket goes with the command");
}

#[test]
fn what_is_written_is_read_back_and_gone_in_the_end() {
    let folder = folder();
    let serving = Serving::start(folder.path(), &["--socket", "s", "--copy-on-write"]);
    let said = qemu_io(
        serving.uri(),
        &[
            "write -P 1 0 64k",
            "write -P 2 100000 1000",
            "write -f -P 3 9437184 4096",
            "write -z 512k 256k",
            "write -z -u 10M 1M",
            "discard 11M 1M",
            "flush",
            "read -P 1 0 64k",
            "read -P 2 100000 1000",
            "read -P 0xa7 101000 1000",
            "read -P 3 9437184 4096",
            "read -P 0 512k 256k",
            "read -P 0 10M 1M",
            "read -P 0 11M 1M",
            "read -P 0xa7 12M 1M",
            "write 67108864 512",
        ],
    );
    assert!(!said.contains("verification failed") && said.matches("wrote").count() == 5, "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "the socket alone: the overlay has no name");
    drop(serving);
    let again = Serving::start(folder.path(), &["--socket", "s", "--copy-on-write"]);
    tool("qemu-img", &["compare", "-f", "raw", "-F", "raw", again.uri(), &truth(folder.path())]);
}

/// What `nbdinfo` tells of a volume: each range with what it is.
fn map(uri: &str) -> Vec<(u64, u64, String)> {
    let map: Value = serde_json::from_str(&tool("nbdinfo", &["--map", "--json", uri])).unwrap();
    let part = |part: &Value| {
        let number = |name: &str| part[name].as_u64().unwrap();
        (number("offset"), number("length"), part["description"].as_str().unwrap().to_owned())
    };
    map.as_array().unwrap().iter().map(part).collect()
}

#[test]
fn what_a_client_discards_or_makes_zeros_is_told_as_a_hole() {
    const MIB: u64 = 1 << 20;
    let folder = folder();
    let args = ["--socket", "s", "--copy-on-write", "--overlay", "kept"];
    let serving = Serving::start(folder.path(), &args);
    let before = map(serving.uri());
    assert!(before.contains(&(9 * MIB, 5 * MIB, "data".into())), "{before:?}");
    let done = qemu_io(
        serving.uri(),
        // Also where the image holds nothing, and over what was just written.
        &["discard 10M 1M", "write -z -u 12M 1M", "write -P 5 20M 2M", "write -z -u 21M 512k", "flush"],
    );
    assert!(!done.contains("failed"), "{done}");
    let wanted = [
        (10 * MIB, MIB, "hole,zero"),
        (11 * MIB, MIB, "data"),
        (12 * MIB, MIB, "hole,zero"),
        (13 * MIB, MIB, "data"),
        (14 * MIB, 6 * MIB, "hole,zero"),
        (20 * MIB, MIB, "data"),
        (21 * MIB, MIB / 2, "hole,zero"),
        (21 * MIB + MIB / 2, MIB / 2, "data"),
        (22 * MIB, SIZE - 22 * MIB, "hole,zero"),
    ];
    let check = |serving: &Serving| {
        let found = map(serving.uri());
        // An answer may end where another part of the server knows what follows: neighbours of a kind are one.
        let mut ours: Vec<(u64, u64, &str)> = Vec::new();
        for (at, length, what) in found.iter().filter(|(at, ..)| *at >= 10 * MIB) {
            match ours.last_mut() {
                Some((_, before, last)) if last == what => *before += length,
                _ => ours.push((*at, *length, what)),
            }
        }
        assert_eq!(ours, wanted, "{found:#?}");
    };
    check(&serving);
    // What copies by what it is told copies the same bytes, and less.
    let copy = folder.path().join("copy.raw").display().to_string();
    tool("nbdcopy", &[serving.uri(), &copy]);
    tool("qemu-img", &["compare", "-f", "raw", "-F", "raw", serving.uri(), &copy]);
    serving.end("-TERM");
    check(&Serving::start(folder.path(), &args));
}

#[test]
fn an_overlay_is_not_made_through_a_link() {
    let folder = folder();
    std::os::unix::fs::symlink("elsewhere", folder.path().join("kept")).unwrap();
    let (status, err) = refused(folder.path(), &["--socket", "s", "--copy-on-write", "--overlay", "kept"]);
    assert!(status == 1 && err.contains("kept is a symbolic link") && err.contains("next: give the path"), "{err}");
    assert!(!folder.path().join("elsewhere").exists(), "made through the link");
}

#[test]
fn an_overlay_keeps_what_was_flushed_though_the_command_is_killed() {
    let folder = folder();
    let args = ["--socket", "s", "--copy-on-write", "--overlay", "kept"];
    let serving = Serving::start(folder.path(), &args);
    assert_eq!(serving.told["overlay_continued"], false);
    qemu_io(serving.uri(), &["write -P 9 1000 100000", "write -P 8 30M 64k", "flush"]);
    let overlay = folder.path().join("kept");
    let kept = std::fs::metadata(&overlay).unwrap();
    assert_eq!(kept.mode() & 0o777, 0o600, "it holds the disk unencrypted");
    assert!(kept.blocks() * 512 < 4 << 20, "it takes what was written: {}", kept.blocks() * 512);
    let (status, err) = refused(folder.path(), &["--socket", "s2", "--copy-on-write", "--overlay", "kept"]);
    assert!(status == 1 && err.contains("in use by another"), "{err}");
    // Kill -9: the dead socket stays, and the next one takes its place.
    drop(serving);
    assert!(folder.path().join("s").exists());
    let again = Serving::start(folder.path(), &args);
    assert_eq!(again.told["overlay_continued"], true);
    let said = qemu_io(again.uri(), &["read -P 9 1000 100000", "read -P 8 30M 64k", "read -P 0xa7 10M 1M"]);
    assert!(said.matches("read ").count() == 3 && !said.contains("failed"), "{said}");
    qemu_io(again.uri(), &["write -P 7 31M 4k"]);
    again.end("-TERM");
    let last = Serving::start(folder.path(), &args);
    assert!(!qemu_io(last.uri(), &["read -P 7 31M 4k"]).contains("failed"), "an orderly end keeps all");
    drop(last);
    std::fs::write(&overlay, "dear").unwrap();
    let (status, err) = refused(folder.path(), &args);
    assert!(status == 1 && err.contains("kept is not an overlay of Godwit's") && err.contains("next:"), "{err}");
}

#[test]
fn it_listens_where_nobody_else_does_and_for_this_machine_alone() {
    let folder = folder();
    let serving = Serving::start(folder.path(), &["--socket", "s"]);
    let (status, err) = refused(folder.path(), &["--socket", "s"]);
    assert!(status == 1 && err.contains("in use: something listens there") && err.contains("next:"), "{err}");
    tool("nbdinfo", &["--size", serving.uri()]);
    for address in ["0.0.0.0:0", "[::]:10809"] {
        let (status, err) = refused(folder.path(), &["--listen", address]);
        assert!(status == 2 && err.contains("other machines") && err.contains("--listen 127.0.0.1:0"), "{err}");
    }
    let (status, err) = refused(folder.path(), &["--socket", "t", "--volume", "7"]);
    assert!(status == 1 && err.contains("has no volume 7") && err.contains("0 (vda)"), "{err}");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (status, err) = refused(folder.path(), &["--listen", &taken.local_addr().unwrap().to_string()]);
    assert!(status == 1 && err.contains("cannot be listened on"), "{err}");
    let by_port = Serving::start(folder.path(), &["--listen", "127.0.0.1:0"]);
    assert_eq!(tool("nbdinfo", &["--size", by_port.uri()]).trim(), SIZE.to_string());
    let port: std::net::SocketAddr = by_port.uri()[6..].trim_end_matches('/').parse().unwrap();
    drop(TcpStream::connect(port).unwrap());
    by_port.end("-INT");
}

#[test]
fn who_speaks_something_else_is_hung_up_on_and_others_are_served() {
    let folder = folder();
    let serving = Serving::start(folder.path(), &["--socket", "s"]);
    let mut stranger = UnixStream::connect(serving.socket()).unwrap();
    stranger.set_read_timeout(Some(BOUND)).unwrap();
    std::io::Write::write_all(&mut stranger, b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut greeting = vec![];
    // It ends, whichever way.
    let _ = stranger.read_to_end(&mut greeting);
    assert!(greeting.starts_with(b"NBDMAGICIHAVEOPT"), "{greeting:?}");
    tool("nbdinfo", &["--size", serving.uri()]);
    let said = serving.end("-INT");
    assert!(said.contains("an NBD client sent") && said.contains("its connection was ended"), "{said}");
}

#[test]
fn people_are_told_how_to_boot_it() {
    let folder = folder();
    let service = StandIn::start();
    let mut child = command(folder.path(), &service, &["--socket", "a b.sock"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let said: Vec<String> = lines.by_ref().map_while(Result::ok).take(5).collect();
    assert!(said[0].contains(IMAGE) && said[0].contains("read-only"), "{said:#?}");
    let socket = format!("{}/a%20b.sock", folder.path().canonicalize().unwrap().display());
    assert!(said[1].contains(&format!("0 (vda, 64 MiB): nbd+unix:///0?socket={socket}")), "{said:#?}");
    let drive = format!("-drive 'file=nbd+unix:///0?socket={socket},format=raw,if=virtio,snapshot=on'");
    assert!(said[3].contains("qemu-system-x86_64") && said[3].contains(&drive), "{said:#?}");
    tool("kill", &["-INT", &child.id().to_string()]);
    assert!(child.wait().unwrap().success());
}
