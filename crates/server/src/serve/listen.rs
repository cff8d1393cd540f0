//! Accepts connections and serves HTTP on them: so many at once, each of them bounded in all it waits for.

use crate::serve::taken::Taken;
use axum::{Extension, Router};
use godwit_api::{Encrypted, Peer};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, getrlimit};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// What a connection may hold of the head of a request, and of its body at a time: ten times what clients send.
const BUFFER: usize = 16 << 10;
/// After the system could not give a connection: others that end may help.
const PAUSE: Duration = Duration::from_secs(1);

/// Bounds of connections.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open at the same time; more wait in the system's queue. Each holds two buffers and a descriptor.
    pub connections: usize,
    /// How long one may be idle or take to send the head of a request.
    pub head: Duration,
    /// How long its client may take to take an answer: a mebibyte, perhaps through a tunnel.
    pub answer: Duration,
    /// How long calls that are at work may take to end once the service is told to stop.
    pub drain: Duration,
}

impl Bounds {
    /// Those of the service, on this system.
    pub fn of_this_process() -> Self {
        // Sources, packs and the database need descriptors, too: connections get a quarter at most.
        let descriptors =
            getrlimit(Resource::Nofile).current.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
        Self {
            connections: (descriptors / 4).clamp(1, 128),
            head: Duration::from_secs(30),
            answer: Duration::from_secs(60),
            drain: Duration::from_secs(10),
        }
    }
}

/// Serves until it is told to stop, then waits for the calls that are at work. With an `acceptor`, connections are
/// encrypted.
pub async fn listen(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(bounds.connections));
    let watched = GracefulShutdown::new();
    while let Some((stream, place)) = stop.run_until_cancelled(next(&listener, &places)).await {
        let (watcher, router, acceptor, stop) = (watched.watcher(), router.clone(), acceptor.clone(), stop.clone());
        tokio::spawn(async move {
            // Answers are written whole: nothing is gained by waiting for more. Without it they are only slower.
            let _ = stream.set_nodelay(true);
            let router = match stream.peer_addr() {
                Ok(peer) => router.layer(Extension(Peer(peer))),
                // Gone already: whatever it asked for is not answered.
                Err(_) => router,
            };
            let Some(acceptor) = acceptor else {
                return served(watcher.watch(connection(stream, router, bounds)).await, place);
            };
            // Whoever has not finished greeting has asked for nothing yet.
            let greeted = stop.run_until_cancelled(timeout(bounds.head, acceptor.accept(stream))).await;
            match greeted {
                Some(Ok(Ok(stream))) => {
                    let router = router.layer(Extension(Encrypted));
                    served(watcher.watch(connection(stream, router, bounds)).await, place);
                }
                Some(Ok(Err(error))) => tracing::debug!(%error, "no encrypted connection came about"),
                Some(Err(_)) | None => {}
            }
        });
    }
    drop(listener);
    if timeout(bounds.drain, watched.shutdown()).await.is_err() {
        tracing::warn!("some calls did not end in time and were dropped");
    }
}

/// The next connection, once there is a place for it.
async fn next(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let place = places.clone().acquire_owned().await.expect("the semaphore is never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) if is_the_peers(&error) => {}
            Err(error) => {
                tracing::error!(%error, "no connection can be accepted");
                sleep(PAUSE).await;
            }
        }
    }
}

/// Whether only the connection that was to be accepted is broken.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

type Connection<S> = http1::Connection<TokioIo<Taken<S>>, TowerToHyperService<Router>>;

fn connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    bounds: Bounds,
) -> Connection<S> {
    let stream = TokioIo::new(Taken::new(stream, bounds.answer));
    http1::Builder::new()
        .timer(TokioTimer::new())
        // It runs while a connection is idle, too.
        .header_read_timeout(bounds.head)
        .max_buf_size(BUFFER)
        .serve_connection(stream, TowerToHyperService::new(router))
}

/// A connection has ended: its place is free.
fn served(outcome: Result<(), hyper::Error>, place: OwnedSemaphorePermit) {
    if let Err(error) = outcome {
        tracing::debug!(%error, "connection broken off");
    }
    drop(place);
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use bytes::Bytes;
    use std::net::SocketAddr;
    use std::sync::Mutex;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};
    use tokio::task::JoinHandle;

    /// How long something that must not happen is given to happen: too short could only hide a fault, never invent one.
    const NEVER: Duration = Duration::from_millis(200);
    /// Short enough to wait for.
    const SOON: Duration = Duration::from_millis(50);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    /// More than the system's buffers of a connection hold.
    const LARGE: usize = 64 << 20;

    fn patient() -> Bounds {
        let hour = Duration::from_secs(3_600);
        Bounds { connections: 8, head: hour, answer: hour, drain: hour }
    }

    struct Running {
        address: SocketAddr,
        stop: CancellationToken,
        task: JoinHandle<()>,
    }

    async fn run(router: Router, bounds: Bounds) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(listen(listener, None, router, bounds, stop.clone()));
        Running { address, stop, task }
    }

    fn hello() -> Router {
        Router::new().route("/", get(async || "hello"))
    }

    impl Running {
        async fn connect(&self, bytes: &[u8]) -> TcpStream {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream
        }
    }

    /// What comes until the end of the connection.
    async fn rest(mut stream: TcpStream) -> String {
        let mut text = Vec::new();
        stream.read_to_end(&mut text).await.unwrap();
        String::from_utf8(text).unwrap()
    }

    async fn answered(stream: &mut TcpStream) {
        let mut buffer = [0; 1_024];
        let read = stream.read(&mut buffer).await.unwrap();
        let text = String::from_utf8_lossy(&buffer[..read]);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
    }

    /// Tells by the end of its channel that its memory is free again.
    struct Large {
        bytes: Vec<u8>,
        _gone: oneshot::Sender<()>,
    }

    impl AsRef<[u8]> for Large {
        fn as_ref(&self) -> &[u8] {
            &self.bytes
        }
    }

    #[tokio::test]
    async fn connections_that_send_nothing_or_half_a_head_are_ended() {
        let running = run(hello(), Bounds { head: SOON, ..patient() }).await;
        for sent in [&b""[..], &REQUEST[..20]] {
            assert_eq!(rest(running.connect(sent).await).await, "", "{sent:?}");
        }
        let after_an_answer = rest(running.connect(REQUEST).await).await;
        assert!(after_an_answer.ends_with("hello"), "{after_an_answer}");
    }

    #[tokio::test]
    async fn heads_beyond_all_measure_are_refused() {
        let running = run(hello(), patient()).await;
        let head = [&REQUEST[..REQUEST.len() - 2], b"x: ", &[b'a'; BUFFER]].concat();
        assert!(rest(running.connect(&head[..BUFFER]).await).await.starts_with("HTTP/1.1 431"));
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_wait_for_a_place() {
        let running = run(hello(), Bounds { connections: 1, ..patient() }).await;
        let mut first = running.connect(REQUEST).await;
        answered(&mut first).await;
        let mut second = running.connect(REQUEST).await;
        assert!(timeout(NEVER, answered(&mut second)).await.is_err());
        drop(first);
        answered(&mut second).await;
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_is_given_up() {
        let (gone, when_gone) = oneshot::channel();
        let answer = Bytes::from_owner(Large { bytes: vec![0; LARGE], _gone: gone });
        let answer = Arc::new(Mutex::new(Some(answer)));
        let router = Router::new().route("/", get(async move || answer.lock().unwrap().take().unwrap()));
        let running = run(router, Bounds { answer: SOON, ..patient() }).await;
        let mut lazy = running.connect(REQUEST).await;
        when_gone.await.unwrap_err();
        let mut taken = 0;
        let mut buffer = vec![0; 1 << 16];
        while let Ok(read @ 1..) = lazy.read(&mut buffer).await {
            taken += read;
        }
        assert!(taken < LARGE, "the connection ended before its answer");
    }

    #[tokio::test]
    async fn an_answer_may_take_longer_than_its_bound_if_it_is_awaited() {
        let router = Router::new().route("/", get(async || sleep(2 * SOON).await));
        let running = run(router, Bounds { answer: SOON, ..patient() }).await;
        answered(&mut running.connect(REQUEST).await).await;
    }

    #[tokio::test]
    async fn a_stop_ends_idle_connections_and_lets_calls_end() {
        let begun = Arc::new(Notify::new());
        let go_on = Arc::new(Notify::new());
        let (at_work, told) = (begun.clone(), go_on.clone());
        let router = Router::new().route(
            "/",
            get(async move || {
                at_work.notify_one();
                told.notified().await;
            }),
        );
        let running = run(router, patient()).await;
        let idle = running.connect(b"").await;
        let mut busy = running.connect(REQUEST).await;
        begun.notified().await;
        running.stop.cancel();
        assert_eq!(rest(idle).await, "");
        go_on.notify_one();
        answered(&mut busy).await;
        running.task.await.unwrap();
        assert!(TcpStream::connect(running.address).await.is_err(), "nobody listens any more");
    }

    #[tokio::test]
    async fn a_call_that_does_not_end_is_not_waited_for() {
        let begun = Arc::new(Notify::new());
        let at_work = begun.clone();
        let router = Router::new().route(
            "/",
            get(async move || {
                at_work.notify_one();
                std::future::pending::<()>().await;
            }),
        );
        let running = run(router, Bounds { drain: SOON, ..patient() }).await;
        let _busy = running.connect(REQUEST).await;
        begun.notified().await;
        running.stop.cancel();
        running.task.await.unwrap();
    }
}
