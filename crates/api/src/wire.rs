//! AWS JSON 1.1 as it travels: which operation is meant, the body in, the answer out.

use crate::errors::{ApiError, ErrorCode};
use crate::operations::{self, Entry};
use axum::body::{Body, BodyDataStream, HttpBody};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Map, Value};

/// Largest body of a request: a thousand times what the largest sensible one needs.
pub const BODY_LIMIT: usize = 1 << 20;

/// How much of a body that nobody wants is read all the same.
const DRAIN_LIMIT: usize = 16 << 20;

/// Header of the operation's name.
pub const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
/// Header of the answer's id.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

const AMZ_JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What a call answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// A JSON text.
    Json(Bytes),
    /// Bytes as they are.
    Octets(Bytes),
}

impl Answer {
    /// The JSON of a structure; one without members is `{}`, which every client accepts.
    pub fn json(value: &impl Serialize) -> Result<Answer, ApiError> {
        serde_json::to_vec(value).map(|text| Answer::Json(text.into())).map_err(|error| {
            tracing::error!(%error, "answer cannot be written as JSON");
            ApiError::new(ErrorCode::InternalError, "The answer cannot be written.")
        })
    }

    /// The same answer, which keeps something until its last byte was handed to the system or given up.
    pub fn keeping(self, kept: impl Send + 'static) -> Answer {
        match self {
            Answer::Json(text) => Answer::Json(Bytes::from_owner(Keeping { bytes: text, _kept: kept })),
            Answer::Octets(bytes) => Answer::Octets(Bytes::from_owner(Keeping { bytes, _kept: kept })),
        }
    }
}

/// Part of the bytes themselves, not of the body: that is gone when its last bytes are in a queue to the socket.
struct Keeping<T> {
    bytes: Bytes,
    _kept: T,
}

impl<T> AsRef<[u8]> for Keeping<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The operation that a request is for.
pub fn target(headers: &HeaderMap) -> Result<&'static Entry, ApiError> {
    let unknown = |message: String| ApiError::new(ErrorCode::UnknownOperationException, message);
    let mut values = headers.get_all(TARGET).iter();
    let (Some(target), None) = (values.next(), values.next()) else {
        return Err(unknown("The request must have one header X-Amz-Target that names the operation.".to_owned()));
    };
    let target = String::from_utf8_lossy(target.as_bytes());
    operations::find(&target).ok_or_else(|| {
        let echo: String = target.chars().take(128).collect();
        unknown(format!("There is no operation '{echo}'."))
    })
}

/// The members of a request. An empty body counts as `{}`.
pub fn members(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    let wrong = |message: String| ApiError::new(ErrorCode::SerializationException, message);
    if body.is_empty() {
        return Ok(Map::new());
    }
    match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err(wrong("The body must be a JSON object.".to_owned())),
        Err(error) => Err(wrong(format!("The body is not JSON: {error}."))),
    }
}

/// How many bytes a body may have: what its head says, or else [`BODY_LIMIT`].
pub fn largest(body: &BodyDataStream) -> Result<usize, ApiError> {
    let said = body.size_hint().exact().map_or(Ok(BODY_LIMIT), usize::try_from);
    said.ok().filter(|size| *size <= BODY_LIMIT).ok_or_else(too_large)
}

/// Reads a whole body of at most `largest` bytes.
pub async fn body(body: &mut BodyDataStream, largest: usize) -> Result<Bytes, ApiError> {
    let mut whole = BytesMut::with_capacity(largest);
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|error| {
            tracing::debug!(%error, "body of a request broke off");
            ApiError::new(ErrorCode::SerializationException, "The body broke off before its end.")
        })?;
        if whole.len() + chunk.len() > largest {
            return Err(too_large());
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.freeze())
}

/// Reads and forgets the rest of a body whose request was refused: clients that write all before they read get to see
/// why, and may go on with the connection.
pub async fn discard(mut body: BodyDataStream) {
    let mut seen = 0;
    while seen <= DRAIN_LIMIT
        && let Some(Ok(chunk)) = body.next().await
    {
        seen += chunk.len();
    }
}

fn too_large() -> ApiError {
    let message = format!("The body of a request may have at most {BODY_LIMIT} bytes.");
    ApiError::new(ErrorCode::RequestEntityTooLargeException, message)
}

/// The HTTP answer to a call.
pub fn response(outcome: Result<Answer, ApiError>, request_id: &str) -> Response {
    let (status, content_type, body) = match outcome {
        Ok(Answer::Json(text)) => (StatusCode::OK, AMZ_JSON, Body::from(text)),
        Ok(Answer::Octets(bytes)) => (StatusCode::OK, OCTETS, Body::from(bytes)),
        Err(error) => return refusal(&error, request_id),
    };
    finished(status, content_type, body, request_id)
}

/// Where people who came with a browser find the console.
pub fn to_console(request_id: &str) -> Response {
    let type_of_nothing = HeaderValue::from_static("text/plain; charset=utf-8");
    let mut response = finished(StatusCode::SEE_OTHER, type_of_nothing, Body::empty(), request_id);
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/console/"));
    response
}

/// A plain text answer, for people who look with a browser.
pub fn plain(status: StatusCode, text: &'static str, request_id: &str) -> Response {
    finished(status, HeaderValue::from_static("text/plain; charset=utf-8"), Body::from(text), request_id)
}

fn refusal(error: &ApiError, request_id: &str) -> Response {
    let code = error.code();
    let body = serde_json::json!({"__type": code.as_str(), "message": error.message()});
    let mut response = finished(code.status(), AMZ_JSON, Body::from(body.to_string()), request_id);
    // botocore reads the code from the body only, others from here first: both are sent.
    response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(code.as_str()));
    response
}

pub(crate) fn finished(status: StatusCode, content_type: HeaderValue, body: Body, request_id: &str) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refused(body: &[u8]) -> String {
        let error = members(body).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SerializationException);
        error.message().to_owned()
    }

    #[test]
    fn bodies_are_objects() {
        assert!(members(b"").unwrap().is_empty());
        assert!(members(b" {} ").unwrap().is_empty());
        assert_eq!(members(br#"{"a": 1, "a": 2}"#).unwrap()["a"], 2);
        for wrong in [&b"[]"[..], b"null", b"7", b"\"x\""] {
            assert!(refused(wrong).contains("must be a JSON object"), "{wrong:?}");
        }
        for wrong in [&b"{"[..], b"{'a': 1}", b"{} x", b"\xff{}", b"{\"a\": \"\xc3\"}"] {
            assert!(refused(wrong).contains("is not JSON"), "{wrong:?}");
        }
        let deep = "[".repeat(100_000);
        assert!(refused(format!("{{\"a\": {deep}").as_bytes()).contains("recursion"));
    }

    #[test]
    fn targets_are_exact() {
        let find = |texts: &[&str]| {
            let mut headers = HeaderMap::new();
            for text in texts {
                headers.append(TARGET, HeaderValue::from_str(text).unwrap());
            }
            target(&headers).map(|entry| entry.permission)
        };
        assert_eq!(find(&["AWSServerMigrationService_V2016_10_24.GetServers"]), Ok("sms:GetServers"));
        assert_eq!(find(&["Godwit_V1.DescribeImages"]), Ok("godwit:DescribeImages"));
        for wrong in [
            &[][..],
            &["AWSServerMigrationService_V2016_10_24.GetServer"],
            &["AWSServerMigrationService_V2016_10_24.DescribeImages"],
            &["Godwit_V1.GetServers"],
            &["GetServers"],
            &["."],
            &["Godwit_V1.DescribeImages", "Godwit_V1.DescribeImages"],
        ] {
            assert_eq!(find(wrong).unwrap_err().code(), ErrorCode::UnknownOperationException, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn bodies_beyond_the_limit_are_refused_and_read_only_so_far() {
        let chunk = Bytes::from(vec![b'x'; 1 << 16]);
        let chunks = |n: usize| {
            let chunk = chunk.clone();
            let chunks = futures::stream::iter((0..n).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
            Body::from_stream(chunks).into_data_stream()
        };
        let mut fits = chunks(16);
        assert_eq!(largest(&fits), Ok(BODY_LIMIT), "it says nothing");
        assert_eq!(body(&mut fits, BODY_LIMIT).await.unwrap().len(), BODY_LIMIT);
        let error = body(&mut chunks(17), BODY_LIMIT).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::RequestEntityTooLargeException);
        let endless = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
        discard(Body::from_stream(endless).into_data_stream()).await;
    }

    #[test]
    fn bodies_that_say_their_size_are_known_before_they_are_read() {
        let of = |bytes: usize| largest(&Body::from(vec![b'x'; bytes]).into_data_stream());
        assert_eq!((of(0), of(7), of(BODY_LIMIT)), (Ok(0), Ok(7), Ok(BODY_LIMIT)));
        assert_eq!(of(BODY_LIMIT + 1).unwrap_err().code(), ErrorCode::RequestEntityTooLargeException);
    }

    #[test]
    fn what_an_answer_keeps_goes_with_its_last_byte() {
        let kept = std::sync::Arc::new(());
        for answer in [Answer::json(&"text").unwrap(), Answer::Octets(Bytes::from_static(b"octets"))] {
            let (Answer::Json(mut bytes) | Answer::Octets(mut bytes)) = answer.keeping(kept.clone());
            let end = bytes.split_off(3);
            drop(bytes);
            assert_eq!(std::sync::Arc::strong_count(&kept), 2, "the end is still to be sent");
            drop(end);
            assert_eq!(std::sync::Arc::strong_count(&kept), 1);
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = members(&bytes);
        }
    }
}
