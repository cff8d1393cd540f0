//! Stands between a client and the service and passes on what they say, byte for byte: what was said is kept, and a test
//! may act on it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Told of each piece of a reply, before the client gets it.
type Watch = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// A relay; it ends with the process.
pub struct Relay {
    /// Where clients find it. Signatures cover that name, which the service gets to see unchanged.
    pub endpoint: String,
    /// What was said on each connection: `N.request` and `N.reply`. A client has no byte that is not in them.
    pub recording: PathBuf,
}

impl Relay {
    /// In front of the service at `endpoint`; the recording is kept in `folder`.
    pub fn start(endpoint: &str, folder: &Path) -> Relay {
        Relay::watched(endpoint, folder, |_| ())
    }

    /// The same; `watch` is told of each piece of a reply before the client gets it.
    pub fn watched(endpoint: &str, folder: &Path, watch: impl Fn(&[u8]) + Send + Sync + 'static) -> Relay {
        let recording = folder.join("recording");
        std::fs::create_dir(&recording).expect("a folder in our folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let relay = Relay {
            endpoint: format!("http://{}", listener.local_addr().expect("it listens")),
            recording: recording.clone(),
        };
        let service = endpoint.strip_prefix("http://").expect("the service speaks HTTP").to_owned();
        let watch: Watch = Arc::new(watch);
        std::thread::spawn(move || {
            for (n, client) in listener.incoming().map_while(Result::ok).enumerate() {
                // A service that is gone: the client sees its connection end.
                let Ok(service) = TcpStream::connect(&service) else { continue };
                let file = |kind| File::create(recording.join(format!("{n:06}.{kind}"))).expect("a new file");
                let no_watch: Watch = Arc::new(|_| ());
                pass(&client, &service, file("request"), no_watch);
                pass(&service, &client, file("reply"), watch.clone());
            }
        });
        relay
    }
}

/// Passes on what one side says, until it or the other one is gone.
fn pass(from: &TcpStream, to: &TcpStream, mut record: File, watch: Watch) {
    let copy = |stream: &TcpStream| stream.try_clone().expect("a second descriptor");
    let (mut from, mut to) = (copy(from), copy(to));
    std::thread::spawn(move || {
        let mut piece = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut piece) {
            record.write_all(&piece[..length]).expect("the recording has room");
            watch(&piece[..length]);
            if to.write_all(&piece[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    });
}
