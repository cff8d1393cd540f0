//! A real `qemu-system-x86_64`, stopped before its first instruction: what it tells of its disks, name and agent.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::*;
use godwit_blocks::source::{Settle, Source};
use godwit_model::extent::Extent;
use godwit_model::figures::Consistency;
use godwit_sources::qmp::source::QmpSource;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

struct Machine {
    dir: tempfile::TempDir,
    child: Child,
}

impl Machine {
    fn start(more: &[&str]) -> Machine {
        let dir = tempfile::Builder::new().prefix("gw").tempdir_in("/tmp").unwrap();
        for (name, format) in [("a", "qcow2"), ("b", "raw"), ("c", "qcow2"), ("cd", "raw")] {
            run(Command::new("qemu-img").args(["create", "-q", "-f", format]).arg(dir.path().join(name)).arg("16M"));
        }
        let mut command = Command::new("qemu-system-x86_64");
        command.current_dir(dir.path()).stdin(Stdio::null());
        command.args(["-S", "-accel", "tcg", "-machine", "pc", "-m", "64", "-nodefaults", "-display", "none"]);
        command.args(["-qmp", "unix:q.sock,server=on,wait=off"]);
        command.args(["-blockdev", "driver=file,node-name=fa,filename=a"]);
        command.args(["-blockdev", "driver=qcow2,node-name=na,file=fa,discard=unmap"]);
        command.args(["-device", "virtio-blk-pci,drive=na,id=vd0,bootindex=2"]);
        command.args([
            "-drive",
            "file=b,format=raw,if=none,id=drive1",
            "-device",
            "virtio-blk-pci,drive=drive1,bootindex=1",
        ]);
        command.args(["-drive", "file=c,format=qcow2,if=virtio", "-drive", "file=cd,format=raw,if=ide,media=cdrom"]);
        command.args(["-device", "virtio-serial-pci", "-chardev", "socket,path=ga.sock,server=on,wait=off,id=ch0"]);
        command.args(["-device", "virtserialport,chardev=ch0,name=org.qemu.guest_agent.0"]);
        let child = command.args(more).spawn().expect("qemu-system-x86_64 is installed");
        Machine { dir, child }
    }

    fn source(&self, helper: &Daemon) -> QmpSource {
        let mut options = helper.options();
        options.socket = self.dir.path().join("q.sock");
        options.runtime_dir = self.dir.path().to_owned();
        options.limits.freeze.sync = Duration::from_millis(300);
        QmpSource::new(options)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_tells_its_disks_and_gives_its_points() {
    let helper = Daemon::start(&[("qcow2", SIZE)]).await;
    let machine = Machine::start(&["-name", "web", "-uuid", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"]);
    let source = machine.source(&helper);
    let mut found = source.discover().await;
    for _ in 0..1000 {
        if found.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        found = source.discover().await;
    }
    let found = found.unwrap();
    assert!(found.warnings.is_empty(), "{:?}", found.warnings);
    let server = &found.servers[0];
    assert_eq!((server.vm_id.as_str(), server.name.as_str()), ("f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "web"));
    let devices: Vec<&str> = server.volumes.iter().map(|volume| volume.device.as_str()).collect();
    assert_eq!(devices, ["drive1", "vd0", "virtio0"], "{server:?}");

    let view = source.open(&first(&server.vm_id, &run_id(1))).await.unwrap();
    assert_eq!(view.consistency, Consistency::Crash);
    assert!(view.notes[0].contains("no guest agent answered"), "{:?}", view.notes);
    assert_eq!(view.volumes.iter().map(|v| v.device.as_str()).collect::<Vec<_>>(), devices);
    for volume in &view.volumes {
        assert_eq!(volume.reader.read(Extent::between(0, BLOCK)).await.unwrap(), vec![0; BLOCK as usize]);
    }
    assert_eq!(source.discover().await.unwrap().servers, found.servers, "the same while a point in time is held");
    drop(view);
    source.settle(&server.vm_id, &run_id(1), Settle::Committed).await.unwrap();

    let mut order = first(&server.vm_id, &run_id(2));
    for device in devices {
        let (device, run, size) = (device.to_owned(), run_id(1), SIZE);
        order.baselines.push(godwit_blocks::source::Baseline { device, run, size });
    }
    let view = source.open(&order).await.unwrap();
    assert!(view.volumes.iter().all(|volume| volume.tracked));
    assert_eq!(bytes_to_read(&view.volumes[0]).await, 0);
    drop(view);
    source.settle(&server.vm_id, &run_id(2), Settle::Forget).await.unwrap();
    assert_eq!(sweep(&source, &[], &[]).await.unwrap(), [""; 0], "nothing was left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_uuid_goes_by_its_name() {
    let helper = Daemon::start(&[("qcow2", SIZE)]).await;
    let machine = Machine::start(&["-name", "db"]);
    let source = machine.source(&helper);
    for _ in 0..1000 {
        if source.discover().await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let server = source.discover().await.unwrap().servers.remove(0);
    assert_eq!((server.vm_id.as_str(), server.name.as_str()), ("name-db", "db"));
}
