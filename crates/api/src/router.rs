//! Receives requests, finds out who asks, lets the table do the work, and writes one line of log per call.

use crate::bounds::{Bounds, Turns};
use crate::errors::{ApiError, ErrorCode};
use crate::operations::Entry;
use crate::sigv4::{self, Claim, SignedParts};
use crate::wire::{self, Answer};
use axum::Router;
use axum::body::BodyDataStream;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use bytes::Bytes;
use godwit_control::service::Service;
use godwit_control::{Clock, Draw};
use godwit_model::time::Timestamp;
use http::StatusCode;
use http::request::Parts;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

const ABOUT: &str = "This is Godwit, a server migration service with the API of AWS SMS.\n\
    Requests of AWS clients go to POST / here, for instance: aws sms get-servers --endpoint-url ...\n";
const NOWHERE: &str = "There is nothing at this path. Requests of AWS clients go to POST /\n";
const NOT_THIS_WAY: &str = "Requests of AWS clients are POST requests.\n";

/// What the API works with.
#[derive(Clone)]
pub struct ApiState {
    /// The operations.
    pub service: Service,
    /// Tells the time.
    pub clock: Clock,
    /// Draws the ids of requests.
    pub draw: Draw,
}

struct Shared {
    state: ApiState,
    turns: Turns,
}

/// What the log says about a call.
#[derive(Default)]
struct Note {
    operation: Option<&'static str>,
    caller: Option<String>,
}

/// A request that is from whom it says.
struct Proven {
    caller: String,
    body: Bytes,
    /// The memory of the body, and of what it is parsed into.
    _room: OwnedSemaphorePermit,
}

/// The API: AWS JSON 1.1 at `POST /`.
pub fn router(state: ApiState, bounds: Bounds) -> Router {
    let shared = Arc::new(Shared { state, turns: Turns::new(bounds) });
    let about = |State(shared): State<Arc<Shared>>| async move { wire::plain(StatusCode::OK, ABOUT, &shared.new_id()) };
    let nowhere = |State(shared): State<Arc<Shared>>| async move {
        wire::plain(StatusCode::NOT_FOUND, NOWHERE, &shared.new_id())
    };
    let not_this_way = |State(shared): State<Arc<Shared>>| async move {
        wire::plain(StatusCode::METHOD_NOT_ALLOWED, NOT_THIS_WAY, &shared.new_id())
    };
    Router::new()
        .route("/", post(receive).get(about))
        .method_not_allowed_fallback(not_this_way)
        .fallback(nowhere)
        .with_state(shared)
}

impl Shared {
    /// A new id in the form that AWS clients know: 32 digits in five groups.
    fn new_id(&self) -> String {
        let hex = format!("{:032x}", (self.state.draw)());
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let started = Instant::now();
    let id = shared.new_id();
    // A task of its own: a panic ends this call only, and a client that goes away does not stop a call half-way.
    let task = tokio::spawn(async move {
        let mut note = Note::default();
        let outcome = timeout(shared.turns.bounds.call_time, handle(&shared, request, &mut note)).await;
        let outcome = outcome.unwrap_or_else(|_| {
            tracing::error!(operation = note.operation, "call took longer than its bound");
            Err(ApiError::new(ErrorCode::InternalError, "The operation took too long and was given up."))
        });
        (note, outcome)
    });
    let (note, outcome) = task.await.unwrap_or_else(|error| {
        tracing::error!(request_id = id, %error, "call ended by a panic");
        let message = format!("Godwit broke one of its own rules. Its log says more about the request {id}.");
        (Note::default(), Err(ApiError::new(ErrorCode::InternalError, message)))
    });
    log(&note, &outcome, started, &id);
    wire::response(outcome, &id)
}

async fn handle(shared: &Shared, request: Request, note: &mut Note) -> Result<Answer, ApiError> {
    let (head, body) = request.into_parts();
    let now = (shared.state.clock)();
    let mut body = body.into_data_stream();
    let proven = match prove(shared, &head, &mut body, now).await {
        Ok(proven) => proven,
        Err(error) => {
            // Beside the answer: who has sent all gets it, who sends slowly keeps nobody waiting.
            tokio::spawn(timeout(shared.turns.bounds.body_time, wire::discard(body)));
            return Err(error);
        }
    };
    note.caller = Some(proven.caller.clone());

    let entry: &'static Entry = wire::target(&head.headers)?;
    note.operation = Some(entry.name);
    shared.state.service.authorize(&proven.caller, entry.permission, now).await?;
    let turn = shared.turns.call(entry).await;
    let request = wire::members(&proven.body)?;
    let answer = entry.call(shared.state.service.clone(), now, request).await?;
    Ok(answer.keeping(turn))
}

/// Finds out who asks. The body is read last, by whoever names a key that exists and the present time, and when there
/// is memory for it: before that, a request costs no more than its head.
async fn prove(shared: &Shared, head: &Parts, body: &mut BodyDataStream, now: Timestamp) -> Result<Proven, ApiError> {
    let uri = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let claim = Claim::read(SignedParts { method: head.method.as_str(), uri, headers: &head.headers }, now)?;
    let secret = shared.state.service.secret_of(claim.access_key()).await?.ok_or_else(sigv4::unknown_key)?;
    let size = wire::largest(body)?;
    let room = shared.turns.body(size).await;
    let bound = shared.turns.bounds.body_time;
    let body = timeout(bound, wire::body(body, size)).await.unwrap_or_else(|_| {
        let message = format!("The body did not arrive within {} s.", bound.as_secs());
        Err(ApiError::new(ErrorCode::SerializationException, message))
    })?;
    claim.prove(secret.expose(), &body)?;
    Ok(Proven { caller: claim.access_key().to_owned(), body, _room: room })
}

/// One line per call; of reads that went well only for whoever looks closely. Parameters are never in it: some of them may be secret.
fn log(note: &Note, outcome: &Result<Answer, ApiError>, started: Instant, id: &str) {
    let operation = note.operation.unwrap_or("-");
    let caller = note.caller.as_deref().unwrap_or("-");
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let code = outcome.as_ref().map_or_else(|error| error.code().as_str(), |_| "OK");
    // People and consoles ask again and again; what they are told is only worth a line if something is wrong.
    let is_read = ["Get", "Describe", "List", "Read"].iter().any(|verb| operation.starts_with(verb));
    if is_read && outcome.is_ok() {
        tracing::debug!(operation, caller, outcome = code, ms, request_id = id, "call");
    } else {
        tracing::info!(operation, caller, outcome = code, ms, request_id = id, "call");
    }
    if let Err(error) = outcome
        && error.code().status().is_server_error()
    {
        tracing::warn!(operation, request_id = id, message = error.message(), "call could not be answered");
    }
}
