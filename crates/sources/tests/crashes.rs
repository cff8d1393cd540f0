//! The line to QMP is cut after every single command, and nothing may be lost or left behind.

#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::proxy::Proxy;
use common::*;
use godwit_blocks::source::{Settle, Source, View};
use godwit_model::id::RunId;
use godwit_sources::qmp::source::QmpSource;

/// As many opens follow each other, the disks are small.
const SMALL: u64 = 4 << 20;

/// A daemon behind a proxy, with a committed baseline.
struct Scene {
    daemon: Daemon,
    proxy: Proxy,
    vm: String,
    base: RunId,
    /// The disks' bytes at the baseline.
    before: Vec<Vec<u8>>,
    runs: u128,
}

impl Scene {
    async fn new() -> Scene {
        let daemon = Daemon::start(&[("qcow2", SMALL), ("raw", SMALL)]).await;
        let proxy = Proxy::start(daemon.path("q.sock"), daemon.path("p.sock"));
        let mut scene = Scene { daemon, proxy, vm: String::new(), base: run_id(0), before: vec![], runs: 1 };
        scene.vm = vm_id(&scene.source()).await;
        drop(open(&scene.source(), &first(&scene.vm, &scene.base)).await);
        scene.commit(scene.base.clone()).await;
        scene
    }

    /// A new process, as far as the source can tell.
    fn source(&self) -> QmpSource {
        let mut options = self.daemon.options();
        options.socket = self.proxy.path.clone();
        options.nbd_socket = Some(self.daemon.path("g.sock"));
        QmpSource::new(options)
    }

    async fn write(&mut self, salt: u64) {
        let pattern = (salt % 251) as u8 + 1;
        for disk in 0..2 {
            self.daemon.write(disk, pattern, (salt * 7 + disk as u64) % 64 * BLOCK + 512, 512).await;
        }
    }

    fn next_run(&mut self) -> RunId {
        self.runs += 1;
        run_id(self.runs)
    }

    async fn open(&self, run: &RunId) -> View {
        open(&self.source(), &next(&self.daemon, &self.vm, run, &self.base)).await
    }

    /// Opens with a line that is cut after `commands`. Gives whether it was.
    async fn cut_open(&self, run: &RunId, commands: i64) -> bool {
        self.proxy.allow(commands);
        let cut = self.source().open(&next(&self.daemon, &self.vm, run, &self.base)).await.is_err();
        self.proxy.allow(i64::MAX);
        cut
    }

    async fn cut_settle(&self, run: &RunId, end: Settle, commands: i64) -> bool {
        self.proxy.allow(commands);
        let cut = self.source().settle(&self.vm, run, end).await.is_err();
        self.proxy.allow(i64::MAX);
        cut
    }

    /// The view is whole, tracked, and tells every change since the baseline. `then` are the bytes at its point.
    async fn check(&self, view: &View, then: &[Vec<u8>], what: &str) {
        for (disk, volume) in view.volumes.iter().enumerate() {
            assert!(volume.tracked, "{what}: {:?}", volume.note);
            assert_same(&all_bytes(volume).await, &then[disk], &format!("{what}, all bytes"));
            assert_same(&content(volume, Some(&self.before[disk])).await, &then[disk], &format!("{what}, increment"));
        }
    }

    fn now(&self) -> Vec<Vec<u8>> {
        self.daemon.disks.iter().map(|disk| disk.bytes.clone()).collect()
    }

    async fn commit(&mut self, run: RunId) {
        self.source().settle(&self.vm, &run, Settle::Committed).await.unwrap();
        self.before = self.now();
        self.base = run;
    }

    async fn nothing_is_left(&self, what: &str) {
        assert_eq!(self.daemon.leftovers().await, [""; 0], "{what}");
        for disk in 0..2 {
            assert_eq!(self.daemon.bitmaps(disk).await, [(self.daemon.bitmap(disk, &self.base), true)], "{what}");
        }
    }
}

/// How it goes on after an open that was cut.
#[derive(Clone, Copy, Debug)]
enum GoOn {
    SameRun,
    Abandon,
    Sweep,
    NextRun,
}

async fn every_cut_of_an_open(go_on: GoOn) {
    let mut scene = Scene::new().await;
    for commands in 0.. {
        assert!(commands < 400, "it never comes to an end");
        let what = format!("{go_on:?} after {commands} commands");
        let run = scene.next_run();
        scene.write(commands).await;
        let cut = scene.cut_open(&run, commands as i64).await;
        scene.write(commands + 1000).await;
        let run = match go_on {
            GoOn::SameRun => run,
            GoOn::NextRun => scene.next_run(),
            GoOn::Abandon => {
                scene.source().settle(&scene.vm, &run, Settle::Abandoned).await.unwrap();
                scene.nothing_is_left(&what).await;
                scene.next_run()
            }
            GoOn::Sweep => {
                sweep(&scene.source(), &[], std::slice::from_ref(&scene.base)).await.unwrap();
                scene.nothing_is_left(&what).await;
                scene.next_run()
            }
        };
        let view = scene.open(&run).await;
        if !view.resumed {
            let then = scene.now();
            scene.write(commands + 2000).await;
            scene.check(&view, &then, &what).await;
        }
        drop(view);
        if commands % 6 == 0 {
            // The writes after the point belong to the next increment: the new baseline is the view's moment, so it
            // is taken anew to know its bytes.
            scene.source().settle(&scene.vm, &run, Settle::Abandoned).await.unwrap();
            let last = scene.next_run();
            drop(scene.open(&last).await);
            scene.commit(last).await;
        } else {
            scene.source().settle(&scene.vm, &run, Settle::Abandoned).await.unwrap();
        }
        scene.nothing_is_left(&what).await;
        if !cut {
            assert!(commands > 20, "an open takes more commands than that");
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_open_is_repeated_by_the_same_run() {
    every_cut_of_an_open(GoOn::SameRun).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_open_is_given_up() {
    every_cut_of_an_open(GoOn::Abandon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_open_is_swept() {
    every_cut_of_an_open(GoOn::Sweep).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_open_is_followed_by_another_run() {
    every_cut_of_an_open(GoOn::NextRun).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resumed_point_after_a_cut_holds_its_moment() {
    let mut scene = Scene::new().await;
    let mut resumed = 0;
    for commands in 0.. {
        assert!(commands < 400, "it never comes to an end");
        let run = scene.next_run();
        scene.write(commands).await;
        let then = scene.now();
        let cut = scene.cut_open(&run, commands as i64).await;
        scene.write(commands + 1000).await;
        let view = scene.open(&run).await;
        if view.resumed {
            resumed += 1;
            scene.check(&view, &then, &format!("resumed after {commands} commands")).await;
        }
        drop(view);
        scene.source().settle(&scene.vm, &run, Settle::Abandoned).await.unwrap();
        if !cut {
            break;
        }
    }
    assert!(resumed >= 3, "the transaction, two exports: {resumed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_settle_is_repeated() {
    let mut scene = Scene::new().await;
    for end in [Settle::Committed, Settle::Abandoned] {
        for commands in 0.. {
            assert!(commands < 400, "it never comes to an end");
            let what = format!("{end:?} cut after {commands} commands");
            let run = scene.next_run();
            scene.write(commands).await;
            drop(scene.open(&run).await);
            let then = scene.now();
            scene.write(commands + 1000).await;
            let cut = scene.cut_settle(&run, end, commands as i64).await;
            scene.source().settle(&scene.vm, &run, end).await.unwrap();
            if end == Settle::Committed {
                (scene.base, scene.before) = (run, then);
            }
            scene.nothing_is_left(&what).await;
            let run = scene.next_run();
            let view = scene.open(&run).await;
            scene.check(&view, &scene.now(), &what).await;
            drop(view);
            scene.source().settle(&scene.vm, &run, Settle::Abandoned).await.unwrap();
            if !cut {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settle_that_never_came_is_made_good_by_the_next_run() {
    let mut scene = Scene::new().await;
    for round in 0..4 {
        let run = scene.next_run();
        scene.write(round).await;
        drop(scene.open(&run).await);
        let then = scene.now();
        scene.write(round + 50).await;
        if round % 2 == 0 {
            // It committed, and the process died before it told QEMU.
            (scene.base, scene.before) = (run, then);
        }
    }
    let run = scene.next_run();
    let view = scene.open(&run).await;
    scene.check(&view, &scene.now(), "after four runs that were never settled").await;
    drop(view);
    scene.commit(run).await;
    scene.nothing_is_left("all settled").await;
}
