//! Receives requests, finds out who asks, lets the table do the work, writes one line of log per call and puts
//! the call on record.

use crate::audit::Note;
use crate::bounds::{Bounds, Turns};
use crate::console::{self, Streams};
use crate::errors::{ApiError, ErrorCode};
use crate::operations::Entry;
use crate::sigv4::{self, Claim, SignedParts};
use crate::wire::{self, Answer};
use axum::Router;
use axum::body::BodyDataStream;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post, put};
use bytes::Bytes;
use godwit_control::audit::Caller;
use godwit_control::service::Service;
use godwit_control::{Clock, Draw};
use godwit_model::time::Timestamp;
use http::request::Parts;
use http::{HeaderMap, StatusCode, header};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

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
    /// Ends what would never end by itself.
    pub stop: CancellationToken,
}

pub(crate) struct Shared {
    pub state: ApiState,
    turns: Turns,
    /// Tells this process from others: revisions count from its beginning.
    pub boot: u32,
    pub streams: Streams,
}

/// A request that is from whom it says.
struct Proven {
    caller: Caller,
    /// Whether it is proven by a session.
    in_session: bool,
    body: Bytes,
    /// The memory of the body, and of what it is parsed into.
    _room: OwnedSemaphorePermit,
}

/// The API: AWS JSON 1.1 at `POST /`.
pub fn router(state: ApiState, bounds: Bounds) -> Router {
    let boot = (state.draw)() as u32;
    let shared = Arc::new(Shared { state, turns: Turns::new(bounds), boot, streams: Streams::default() });
    let about = |State(shared): State<Arc<Shared>>, headers: HeaderMap| async move {
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let id = shared.new_id();
        if accept.contains("text/html") { wire::to_console(&id) } else { wire::plain(StatusCode::OK, ABOUT, &id) }
    };
    let nowhere = |State(shared): State<Arc<Shared>>| async move {
        wire::plain(StatusCode::NOT_FOUND, NOWHERE, &shared.new_id())
    };
    let not_this_way = |State(shared): State<Arc<Shared>>| async move {
        wire::plain(StatusCode::METHOD_NOT_ALLOWED, NOT_THIS_WAY, &shared.new_id())
    };
    Router::new()
        .route("/", post(receive).get(about))
        .route("/session", post(console::sign_in).get(console::describe).delete(console::sign_out))
        .route("/session/password", put(console::change_password))
        .route("/events", get(console::events))
        .method_not_allowed_fallback(not_this_way)
        .fallback(nowhere)
        .with_state(shared)
}

impl Shared {
    /// A new id in the form that AWS clients know: 32 digits in five groups.
    pub fn new_id(&self) -> String {
        let hex = format!("{:032x}", (self.state.draw)());
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

async fn receive(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let id = shared.new_id();
    let told = id.clone();
    // A task of its own: a client that goes away does not stop a call half-way, nor keep it from being put on record.
    let outcome = tokio::spawn(async move { answer(&shared, request, &told).await }).await.unwrap_or_else(|error| {
        tracing::error!(request_id = id, %error, "call ended by a panic");
        Err(broken(&id))
    });
    wire::response(outcome, &id)
}

/// Carries a call out, logs it and puts it on record.
async fn answer(shared: &Arc<Shared>, request: Request, id: &str) -> Result<Answer, ApiError> {
    let started = Instant::now();
    let noted = Noted::default();
    let (at_work, seen, known) = (shared.clone(), noted.clone(), id.to_owned());
    // A task of its own: a panic ends this call only, and what was noted of it is still there.
    let task = tokio::spawn(async move {
        let call = handle(&at_work, request, &seen, &known);
        timeout(at_work.turns.bounds.call_time, call).await.unwrap_or_else(|_| {
            tracing::error!(operation = seen.lock().operation(), "call took longer than its bound");
            Err(ApiError::new(ErrorCode::InternalError, "The operation took too long and was given up."))
        })
    });
    let outcome = task.await.unwrap_or_else(|error| {
        tracing::error!(request_id = id, %error, "call ended by a panic");
        Err(broken(id))
    });
    log(&noted.lock(), &outcome, started, id);
    put_on_record(&shared.state.service, &noted, outcome, id).await
}

fn broken(id: &str) -> ApiError {
    let message = format!("Godwit broke one of its own rules. Its log says more about the request {id}.");
    ApiError::new(ErrorCode::InternalError, message)
}

/// One record for every call of a proven caller; the others are counted.
async fn put_on_record(
    service: &Service,
    noted: &Noted,
    outcome: Result<Answer, ApiError>,
    id: &str,
) -> Result<Answer, ApiError> {
    let (record, begun, volume) = {
        let note = noted.lock();
        let record = note.record(Some(outcome.as_ref().map(|_| ())), id);
        if let (None, Err(error)) = (&record, &outcome) {
            service.audit_refused(error.code().as_str(), note.claimed_key.as_deref());
        }
        (record, note.begun, matches!(outcome, Ok(Answer::Octets(_))).then(|| note.volume.clone()))
    };
    let recorded = match (record, volume) {
        (None, _) => Ok(()),
        (Some(record), _) if begun => {
            service.audit_end(record).await;
            Ok(())
        }
        (Some(record), Some(volume)) => service.audit_disclose(record, &volume).await,
        // What was refused tells nothing that a record could be wanted for before the reply.
        (Some(record), None) => service.audit_note(record).await,
    };
    match recorded {
        Ok(()) => outcome,
        Err(error) => outcome.and(Err(error.into())),
    }
}

/// What is known of a call, also to whoever has to tell that it broke.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Note>>);

impl Noted {
    fn lock(&self) -> MutexGuard<'_, Note> {
        self.0.lock().expect("no thread panics while it holds this")
    }
}

async fn handle(shared: &Shared, request: Request, noted: &Noted, id: &str) -> Result<Answer, ApiError> {
    let (head, body) = request.into_parts();
    let now = (shared.state.clock)();
    *noted.lock() = Note::of(&head, now);
    let mut body = body.into_data_stream();
    let proven = match prove(shared, &head, &mut body, noted, now).await {
        Ok(proven) => proven,
        Err(error) => {
            // Beside the answer: who has sent all gets it, who sends slowly keeps nobody waiting.
            tokio::spawn(timeout(shared.turns.bounds.body_time, wire::discard(body)));
            return Err(error);
        }
    };
    noted.lock().caller = Some(proven.caller.clone());

    let entry: &'static Entry = wire::target(&head.headers).inspect_err(|_| {
        let target = head.headers.get(wire::TARGET).map(|target| target.as_bytes());
        noted.lock().unknown(target.unwrap_or_default());
    })?;
    noted.lock().entry = Some(entry);
    let turn = shared.turns.call(entry).await;
    let request = wire::members(&proven.body)?;
    noted.lock().parameters(entry, &request);
    // Behind what is noted: a refusal is on record with what was wanted.
    authorize(&shared.state.service, &proven, entry, now).await?;
    if entry.works() && !entry.only_reads() {
        begin(&shared.state.service, noted, id).await?;
    }
    let answer = entry.call(shared.state.service.clone(), now, request).await?;
    Ok(answer.keeping(turn))
}

async fn authorize(service: &Service, proven: &Proven, entry: &Entry, now: Timestamp) -> Result<(), ApiError> {
    match &proven.caller.user {
        Some(user) if proven.in_session => service.authorize_user(user, entry.permission).await?,
        _ => service.authorize(&proven.caller.access_key_id, entry.permission, now).await.map(|_| ())?,
    }
    Ok(())
}

/// Before anything is changed: that somebody is about to.
async fn begin(service: &Service, noted: &Noted, id: &str) -> Result<(), ApiError> {
    let Some(record) = noted.lock().record(None, id) else { return Ok(()) };
    service.audit_begin(&record).await?;
    noted.lock().begun = true;
    Ok(())
}

/// Finds out who asks. The body is read last, by whoever names a key that exists and the present time, and when there
/// is memory for it: before that, a request costs no more than its head.
async fn prove(
    shared: &Shared,
    head: &Parts,
    body: &mut BodyDataStream,
    noted: &Noted,
    now: Timestamp,
) -> Result<Proven, ApiError> {
    if let Some(secret) = console::of_call(&head.headers)? {
        let session = console::session(&shared.state.service, &secret, &head.headers, now).await?;
        let (body, room) = whole(shared, body).await?;
        let caller = Caller { user: Some(session.user), access_key_id: session.id };
        return Ok(Proven { caller, in_session: true, body, _room: room });
    }
    let uri = head.uri.path_and_query().map_or("/", |path| path.as_str());
    let claim = Claim::read(SignedParts { method: head.method.as_str(), uri, headers: &head.headers }, now)?;
    noted.lock().claimed_key = Some(claim.access_key().to_owned());
    let signer = shared.state.service.signer(claim.access_key()).await?.ok_or_else(sigv4::unknown_key)?;
    let (body, room) = whole(shared, body).await?;
    claim.prove(signer.secret.expose(), &body)?;
    let caller = Caller { user: Some(signer.user), access_key_id: claim.access_key().to_owned() };
    Ok(Proven { caller, in_session: false, body, _room: room })
}

/// The whole body, and the memory that it takes.
async fn whole(shared: &Shared, body: &mut BodyDataStream) -> Result<(Bytes, OwnedSemaphorePermit), ApiError> {
    let size = wire::largest(body)?;
    let room = shared.turns.body(size).await;
    let bound = shared.turns.bounds.body_time;
    let body = timeout(bound, wire::body(body, size)).await.unwrap_or_else(|_| {
        let message = format!("The body did not arrive within {} s.", bound.as_secs());
        Err(ApiError::new(ErrorCode::SerializationException, message))
    })?;
    Ok((body, room))
}

/// One line per call; of reads that went well only for whoever looks closely. Parameters are never in it: some of them may be secret.
fn log(note: &Note, outcome: &Result<Answer, ApiError>, started: Instant, id: &str) {
    let operation = note.operation().unwrap_or("-");
    let caller = note.caller.as_ref().map_or("-", |caller| caller.access_key_id.as_str());
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let code = outcome.as_ref().map_or_else(|error| error.code().as_str(), |_| "OK");
    // People and consoles ask again and again; what they are told is only worth a line if something is wrong.
    if note.entry.is_some_and(Entry::only_reads) && outcome.is_ok() {
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
