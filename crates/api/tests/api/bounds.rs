//! What callers can make the process hold, and for how long: raw requests over a socket that say more than they send,
//! and answers that nobody takes.

use crate::oracle::Draft;
use crate::scene::{DISK, OWN, SMS, Scene, TIME};
use axum::body::{Body, Bytes};
use axum::http::Request;
use axum::response::Response;
use futures::StreamExt;
use godwit_api::Bounds;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tower::ServiceExt;

/// How long something that must not happen is given to happen: too short could only hide a fault, never invent one.
const NEVER: Duration = Duration::from_millis(300);

/// The scene's router behind a socket.
async fn listen(scene: &Scene) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, scene.router.clone()).into_future());
    address
}

/// The bytes of a request: a head that says the whole body, and as much of it as is to be sent.
fn bytes(headers: &http::HeaderMap, body: &[u8], sent: usize) -> Vec<u8> {
    let mut text = b"POST / HTTP/1.1\r\n".to_vec();
    for (name, value) in headers {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend(format!("content-length: {}\r\n\r\n", body.len()).into_bytes());
    text.extend(&body[..sent]);
    text
}

async fn connect(to: std::net::SocketAddr, bytes: Vec<u8>) -> TcpStream {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    stream
}

/// The next answer: its head and body.
async fn answer(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() == length.parse::<usize>().unwrap() {
                return text;
            }
        }
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "the answer broke off: {text}");
        text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
}

fn padded(length: usize) -> Vec<u8> {
    format!("{{\"x\": \"{}\"}}", "a".repeat(length - 9)).into_bytes()
}

fn get_servers(body: &[u8]) -> Draft {
    Draft::new(&format!("{SMS}GetServers"), TIME, body)
}

#[tokio::test]
async fn nobody_unknown_makes_us_wait_for_a_body() {
    let scene = Scene::new().await;
    let address = listen(&scene).await;
    let body = padded(1 << 20);
    let good = get_servers(&body).sign();
    let with = |name: &'static str, value: String| {
        let mut headers = good.clone();
        headers.insert(name, value.parse().unwrap());
        headers
    };
    let authorization = good["authorization"].to_str().unwrap();
    let mut unsigned = good.clone();
    unsigned.remove("authorization");
    for (headers, code) in [
        (unsigned, "MissingAuthenticationTokenException"),
        (with("authorization", "Bearer x".to_owned()), "IncompleteSignatureException"),
        (with("x-amz-more", "1".to_owned()), "IncompleteSignatureException"),
        (with("authorization", authorization.replace("/sms/", "/ec2/")), "InvalidSignatureException"),
        (with("authorization", authorization.replace("AKIDEXAMPLE", "AKIDNOBODY")), "UnrecognizedClientException"),
        (with("x-amz-date", "20261123T044444Z".to_owned()), "RequestTimeTooSkewed"),
    ] {
        let mut stream = connect(address, bytes(&headers, &body, body.len() - 1)).await;
        let refused = answer(&mut stream).await;
        assert!(refused.starts_with("HTTP/1.1 400") && refused.contains(code), "{code}: {refused}");
    }
    let large = padded((1 << 20) + 1);
    let mut stream = connect(address, bytes(&get_servers(&large).sign(), &large, 0)).await;
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 413"), "what is too large by its head is not read at all");
    scene.end().await;
}

#[tokio::test]
async fn a_refused_client_may_go_on_once_it_has_sent_its_body() {
    let scene = Scene::new().await;
    let address = listen(&scene).await;
    let body = padded(300_000);
    let mut headers = get_servers(&body).sign();
    headers.insert("x-amz-more", "1".parse().unwrap());
    let mut stream = connect(address, bytes(&headers, &body, 1)).await;
    assert!(answer(&mut stream).await.contains("x-amz-more"));
    stream.write_all(&body[1..]).await.unwrap();
    stream.write_all(&bytes(&get_servers(b"{}").sign(), b"{}", 2)).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200"));
    scene.end().await;
}

#[tokio::test]
async fn bodies_wait_until_there_is_memory_for_them() {
    let scene = Scene::bounded(Bounds { body_bytes: 1_000, ..Bounds::default() }).await;
    let (first, first_is_read, arrive) = slow_request();
    let (second, mut second_is_read, arrive_too) = slow_request();
    let first = begin(&scene, first);
    first_is_read.await.unwrap();
    let mut second = begin(&scene, second);
    arrive_too.send(()).unwrap();
    assert!(timeout(NEVER, &mut second).await.is_err(), "the first body has all the memory");
    assert!(second_is_read.try_recv().is_err(), "nothing of it was read");
    arrive.send(()).unwrap();
    for answer in [first, second] {
        assert_eq!(answer.await.unwrap().status(), 200);
    }
    scene.end().await;
}

/// Sends a request without waiting for its answer.
fn begin(scene: &Scene, request: Request<Body>) -> JoinHandle<Response> {
    let router = scene.router.clone();
    tokio::spawn(async move { router.oneshot(request).await.unwrap() })
}

/// A signed request whose body tells when it is read, and arrives when it is told to.
fn slow_request() -> (Request<Body>, oneshot::Receiver<()>, oneshot::Sender<()>) {
    let (is_read, when_read) = oneshot::channel();
    let (arrive, when_told) = oneshot::channel::<()>();
    let body = futures::stream::once(async move {
        is_read.send(()).unwrap();
        when_told.await.map(|()| padded(800)).map_err(std::io::Error::other)
    });
    let mut request = Request::post("/").body(Body::from_stream(body)).unwrap();
    *request.headers_mut() = get_servers(&padded(800)).sign();
    (request, when_read, arrive)
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up_and_its_connection_with_it() {
    let scene = Scene::bounded(Bounds { body_time: Duration::from_millis(50), ..Bounds::default() }).await;
    let address = listen(&scene).await;
    let body = padded(100);
    let mut stream = connect(address, bytes(&get_servers(&body).sign(), &body, 99)).await;
    let refused = answer(&mut stream).await;
    assert!(refused.contains("SerializationException") && refused.contains("did not arrive"), "{refused}");
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "the end of the connection");
    scene.end().await;
}

#[tokio::test]
async fn a_read_waits_until_the_one_before_it_was_sent() {
    let scene = Scene::bounded(Bounds { reads: 1, ..Bounds::default() }).await;
    let request = read_request(&scene).await;
    let first = scene.send(request()).await;
    assert_eq!(first.status(), 200);
    let mut second = begin(&scene, request());
    assert!(timeout(NEVER, &mut second).await.is_err(), "the first answer was not taken yet");
    assert_eq!(scene.sms("GetConnectors", json!({})).await["connectorList"].as_array().unwrap().len(), 1);

    let mut body = first.into_body().into_data_stream();
    let on_its_way: Bytes = body.next().await.unwrap().unwrap();
    assert_eq!(on_its_way.len() as u64, DISK);
    drop(body);
    assert!(timeout(NEVER, &mut second).await.is_err(), "its bytes are in memory until they were sent");
    drop(on_its_way);
    assert_eq!(second.await.unwrap().status(), 200);
    scene.end().await;
}

/// Makes signed requests that read the whole volume of an image.
async fn read_request(scene: &Scene) -> impl Fn() -> Request<Body> + use<> {
    let image = scene.with_image().await;
    let read = json!({"imageId": image, "volume": 0, "offset": 0, "length": DISK}).to_string();
    move || {
        let draft = Draft::new(&format!("{OWN}ReadImage"), TIME, read.as_bytes());
        let mut request = Request::post("/").body(Body::from(read.clone())).unwrap();
        *request.headers_mut() = draft.sign();
        request
    }
}
