//! Against a real HTTP server in this process.

use super::*;
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::post;
use godwit_model::event::test_id;
use godwit_model::time::Timestamp;
use std::sync::Mutex;

type Arrived = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

struct Receiver {
    port: u16,
    arrived: Arrived,
}

/// `/hook` takes everything, `/moved` sends elsewhere, `/NUMBER` answers with that status.
async fn receiver() -> Receiver {
    let arrived = Arrived::default();
    let taken = async |State(arrived): State<Arrived>, headers: HeaderMap, body: Bytes| {
        arrived.lock().unwrap().push((headers, body));
    };
    let status = async |axum::extract::Path(status): axum::extract::Path<u16>| -> Response {
        StatusCode::from_u16(status).unwrap().into_response()
    };
    let router = Router::new()
        .route("/hook", post(taken))
        .route("/moved", post(async || Redirect::temporary("/hook")))
        .route("/status/{status}", post(status))
        .with_state(arrived.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    Receiver { port, arrived }
}

fn webhooks(allow_private: bool) -> Webhooks {
    let origin = Origin { region: "us-east-1".into(), account: "123456789012".into() };
    let secret = Secret::new("0123456789abcdef".to_owned());
    Webhooks::new(secret, allow_private, None, origin, Arc::new(|| Timestamp(1_700_000_000_999))).unwrap()
}

fn test() -> Message {
    Message::Test { id: test_id(Timestamp(1_000), 7), at: Timestamp(1_000) }
}

/// What Python's `hmac.new(b"0123456789abcdef", b"1700000000." + body, "sha256").hexdigest()` gives.
#[test]
fn signatures_are_those_of_other_implementations() {
    let secret = Secret::new("0123456789abcdef".to_owned());
    let wanted = "v1=9eb18f493f8ec135d9eb2dad817c369bb4e9cbfa818657897a7437c1cd8c3a23";
    assert_eq!(signature(&secret, "1700000000", b"{\"a\":1}"), wanted);
}

#[tokio::test]
async fn an_event_arrives_signed_and_named() {
    let receiver = receiver().await;
    let url = format!("http://127.0.0.1:{}/hook", receiver.port);
    webhooks(true).deliver(&test(), &url).await.unwrap();
    let (headers, body) = receiver.arrived.lock().unwrap().remove(0);
    assert_eq!(headers["godwit-event-id"], test().id().as_str());
    assert_eq!(
        (headers["godwit-timestamp"].as_bytes(), &headers["content-type"]),
        (&b"1700000000"[..], &"application/json".parse().unwrap())
    );
    let secret = Secret::new("0123456789abcdef".to_owned());
    assert_eq!(headers["godwit-signature"], signature(&secret, "1700000000", &body));
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&value["source"], &value["account"]), (&"godwit".into(), &"123456789012".into()));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let receiver = receiver().await;
    let url = format!("http://127.0.0.1:{}/moved", receiver.port);
    let failure = webhooks(true).deliver(&test(), &url).await.unwrap_err();
    assert_eq!(failure.code, Code::RecipientRefused);
    assert!(failure.evidence.contains("redirects are not followed"), "{failure}");
    assert!(receiver.arrived.lock().unwrap().is_empty());
}

#[tokio::test]
async fn whoever_only_we_can_reach_is_not_called() {
    let receiver = receiver().await;
    // Written as an address in every spelling, and behind a name.
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0x7f.1", "2130706433", "0.0.0.0", "[::]"] {
        let url = format!("http://{host}:{}/hook", receiver.port);
        let failure = webhooks(false).deliver(&test(), &url).await.unwrap_err();
        assert_eq!(failure.code, Code::RecipientNotAllowed, "{host}: {failure}");
        assert!(failure.evidence.contains("public network"), "{host}: {failure}");
    }
    let failure = webhooks(false).deliver(&test(), "http://169.254.169.254/latest/meta-data").await.unwrap_err();
    assert_eq!(failure.code, Code::RecipientNotAllowed);
    assert!(receiver.arrived.lock().unwrap().is_empty());
    webhooks(true).deliver(&test(), &format!("http://localhost:{}/hook", receiver.port)).await.unwrap();
}

#[tokio::test]
async fn only_what_was_said_for_good_is_not_tried_again() {
    let receiver = receiver().await;
    for (status, code) in [
        (400, Code::RecipientUnreachable),
        (404, Code::RecipientUnreachable),
        (408, Code::RecipientUnreachable),
        (410, Code::RecipientRefused),
        (429, Code::RecipientUnreachable),
        (503, Code::RecipientUnreachable),
    ] {
        let url = format!("http://127.0.0.1:{}/status/{status}", receiver.port);
        let failure = webhooks(true).deliver(&test(), &url).await.unwrap_err();
        assert_eq!(failure.code, code, "{status}");
        assert!(failure.evidence.contains(&status.to_string()), "{failure}");
    }
}

#[tokio::test]
async fn what_is_said_of_an_address_does_not_hold_its_secrets() {
    let url = "http://127.0.0.1:9/services/T0SECRET";
    let failure = webhooks(true).deliver(&test(), url).await.unwrap_err();
    assert_eq!(failure.code, Code::RecipientUnreachable);
    assert!(!failure.to_string().contains("SECRET"), "{failure}");
}
