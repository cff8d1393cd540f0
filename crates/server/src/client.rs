//! Calls the service as any AWS client would: AWS JSON 1.1, signed, with the very shapes that the service uses.

use crate::credentials::AccessKey;
use crate::outside;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use godwit_api::shapes::answers::{
    DeleteReplicationJobResponse, DeleteServerCatalogResponse, DisassociateConnectorResponse,
    ImportServerCatalogResponse, StartOnDemandReplicationRunResponse,
};
use godwit_api::shapes::godwit::{
    self, AssociateConnectorRequest, AssociateConnectorResponse, CreateAliasRequest, CreateJobRequest,
    CreateJobResponse, CreateKeyRequest, CreateKeyResponse, DeleteAliasRequest, DescribeAuditRecordsRequest,
    DescribeAuditRecordsResponse, DescribeConnectorsRequest, DescribeConnectorsResponse, DescribeImagesRequest,
    DescribeImagesResponse, DescribeJobsRequest, DescribeJobsResponse, DescribeKeysRequest, DescribeKeysResponse,
    DescribeLimitsRequest, DescribeLimitsResponse, DescribeNotificationsRequest, DescribeNotificationsResponse,
    DescribeReplicationRunsRequest, DescribeReplicationRunsResponse, DescribeServersRequest, DescribeServersResponse,
    DescribeStoreRequest, DescribeStoreResponse, DescribeSweepsRequest, DescribeSweepsResponse, ImageRequest,
    KeyRequest, ListImageChangesRequest, ListImageChangesResponse, ListImageExtentsRequest, ListImageExtentsResponse,
    NoAnswer, OwnOperation, PreviewSweepRequest, PreviewSweepResponse, ReadImageRequest, RedeliverNotificationRequest,
    ResumeJobRequest, RotateKeyResponse, SendTestNotificationRequest, SendTestNotificationResponse, StartSweepRequest,
    StartSweepResponse, UpdateConnectorRequest, UpdateJobRequest, UpdateKeyRequest, UpdateLimitsRequest,
    UpdateRunRequest, VerifyAuditTrailRequest, VerifyAuditTrailResponse,
};
use godwit_api::shapes::operations::{self, Operation};
use godwit_api::shapes::requests::{
    DeleteReplicationJobRequest, DeleteServerCatalogRequest, DisassociateConnectorRequest, ImportServerCatalogRequest,
    StartOnDemandReplicationRunRequest,
};
use godwit_blocks::buffers::Buffers;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

/// How long a connection may take to be made: the service is on the same machine.
const CONNECT_BOUND: Duration = Duration::from_secs(5);
/// How long an answer may take: as long as the service's own bounds of a call and of its answer's way to us.
const ANSWER_BOUND: Duration = Duration::from_secs(300);
/// Pauses before the second, third … attempt of a call that only reads.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(600), Duration::from_millis(1500)];
/// Pages of one list at most: a service that never ends a list must not keep us for ever.
const MOST_PAGES: usize = 10_000;

/// Why a call brought no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error("the service at {endpoint} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        endpoint: String,
        /// The system's words.
        reason: String,
    },
    /// The service refused.
    #[error("{message}")]
    Refused {
        /// Code as AWS clients know it.
        code: String,
        /// For people.
        message: String,
        /// Whether the fault is the service's.
        by_server: bool,
    },
    /// Something answers that is not the service.
    #[error("what answers at {endpoint} is not a Godwit service: {seen}")]
    NotTheService {
        /// Where.
        endpoint: String,
        /// What came.
        seen: String,
    },
    /// The request could not be made.
    #[error("the request could not be signed: {0}")]
    Signing(String),
}

impl ClientError {
    /// Whether the same call may succeed in a moment.
    pub fn is_passing(&self) -> bool {
        matches!(self, ClientError::Unreachable { .. } | ClientError::Refused { by_server: true, .. })
    }
}

/// An operation as it is called.
#[derive(Clone, Copy)]
struct Call {
    prefix: &'static str,
    name: &'static str,
    /// Whether it may be tried again.
    reads: bool,
}

/// Calls one service with one key pair.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    endpoint: Url,
    key: AccessKey,
    region: String,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({})", self.endpoint)
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident: $target:ident $operation:ident $kind:ident ($request:ty) -> $answer:ty;)*) => {
        impl Client {
            $(
                $(#[$doc])*
                pub async fn $name(&self, request: &$request) -> Result<$answer, ClientError> {
                    self.json(calls!(@call $target $operation $kind), request).await
                }
            )*
        }
    };
    (@call sms $operation:ident $kind:ident) => {
        Call { prefix: operations::TARGET_PREFIX, name: Operation::$operation.name(), reads: calls!(@$kind) }
    };
    (@call own $operation:ident $kind:ident) => {
        Call { prefix: godwit::TARGET_PREFIX, name: OwnOperation::$operation.name(), reads: calls!(@$kind) }
    };
    (@reads) => { true };
    (@changes) => { false };
}

calls! {
    /// `AssociateConnector`.
    associate_connector: own AssociateConnector changes (AssociateConnectorRequest) -> AssociateConnectorResponse;
    /// `DescribeConnectors`.
    describe_connectors: own DescribeConnectors reads (DescribeConnectorsRequest) -> DescribeConnectorsResponse;
    /// `UpdateConnector`.
    update_connector: own UpdateConnector changes (UpdateConnectorRequest) -> NoAnswer;
    /// `TestConnector`.
    test_connector: own TestConnector changes (godwit::TestConnectorRequest) -> godwit::TestConnectorResponse;
    /// `DisassociateConnector`.
    disassociate_connector: sms DisassociateConnector changes (DisassociateConnectorRequest) -> DisassociateConnectorResponse;
    /// `ImportServerCatalog`.
    import_server_catalog: sms ImportServerCatalog changes (ImportServerCatalogRequest) -> ImportServerCatalogResponse;
    /// `DeleteServerCatalog`.
    delete_server_catalog: sms DeleteServerCatalog changes (DeleteServerCatalogRequest) -> DeleteServerCatalogResponse;
    /// `DescribeServers`.
    describe_servers: own DescribeServers reads (DescribeServersRequest) -> DescribeServersResponse;
    /// `DescribeReplicationJobs`.
    describe_jobs: own DescribeReplicationJobs reads (DescribeJobsRequest) -> DescribeJobsResponse;
    /// Our own `CreateReplicationJob`.
    create_job: own CreateReplicationJob changes (CreateJobRequest) -> CreateJobResponse;
    /// Our own `UpdateReplicationJob`.
    update_job: own UpdateReplicationJob changes (UpdateJobRequest) -> NoAnswer;
    /// `ResumeReplicationJob`.
    resume_job: own ResumeReplicationJob changes (ResumeJobRequest) -> NoAnswer;
    /// `DeleteReplicationJob`.
    delete_replication_job: sms DeleteReplicationJob changes (DeleteReplicationJobRequest) -> DeleteReplicationJobResponse;
    /// `StartOnDemandReplicationRun`.
    start_run: sms StartOnDemandReplicationRun changes (StartOnDemandReplicationRunRequest) -> StartOnDemandReplicationRunResponse;
    /// `DescribeReplicationRuns`.
    describe_runs: own DescribeReplicationRuns reads (DescribeReplicationRunsRequest) -> DescribeReplicationRunsResponse;
    /// `UpdateReplicationRun`.
    update_run: own UpdateReplicationRun changes (UpdateRunRequest) -> NoAnswer;
    /// `DescribeLimits`.
    describe_limits: own DescribeLimits reads (DescribeLimitsRequest) -> DescribeLimitsResponse;
    /// `UpdateLimits`.
    update_limits: own UpdateLimits changes (UpdateLimitsRequest) -> NoAnswer;
    /// `GetForecast`.
    get_forecast: own GetForecast reads (godwit::GetForecastRequest) -> godwit::GetForecastResponse;
    /// `DescribeImages`.
    describe_images: own DescribeImages reads (DescribeImagesRequest) -> DescribeImagesResponse;
    /// `StartImageVerification`.
    start_image_verification: own StartImageVerification changes (ImageRequest) -> NoAnswer;
    /// `ListImageExtents`.
    list_image_extents: own ListImageExtents reads (ListImageExtentsRequest) -> ListImageExtentsResponse;
    /// `ListImageChanges`.
    list_image_changes: own ListImageChanges reads (ListImageChangesRequest) -> ListImageChangesResponse;
    /// `CreateKey`.
    create_key: own CreateKey changes (CreateKeyRequest) -> CreateKeyResponse;
    /// `DescribeKeys`.
    describe_keys: own DescribeKeys reads (DescribeKeysRequest) -> DescribeKeysResponse;
    /// `UpdateKey`.
    update_key: own UpdateKey changes (UpdateKeyRequest) -> NoAnswer;
    /// `RotateKey`.
    rotate_key: own RotateKey changes (KeyRequest) -> RotateKeyResponse;
    /// `EnableKey`.
    enable_key: own EnableKey changes (KeyRequest) -> NoAnswer;
    /// `DisableKey`.
    disable_key: own DisableKey changes (KeyRequest) -> NoAnswer;
    /// `SetDefaultKey`.
    set_default_key: own SetDefaultKey changes (KeyRequest) -> NoAnswer;
    /// `CreateAlias`.
    create_alias: own CreateAlias changes (CreateAliasRequest) -> NoAnswer;
    /// `DeleteAlias`.
    delete_alias: own DeleteAlias changes (DeleteAliasRequest) -> NoAnswer;
    /// `DeleteImage`.
    delete_image: own DeleteImage changes (ImageRequest) -> NoAnswer;
    /// `DescribeNotifications`.
    describe_notifications: own DescribeNotifications reads (DescribeNotificationsRequest) -> DescribeNotificationsResponse;
    /// `RedeliverNotification`.
    redeliver_notification: own RedeliverNotification changes (RedeliverNotificationRequest) -> NoAnswer;
    /// `SendTestNotification`.
    send_test_notification: own SendTestNotification changes (SendTestNotificationRequest) -> SendTestNotificationResponse;
    /// `DescribeStore`.
    describe_store: own DescribeStore reads (DescribeStoreRequest) -> DescribeStoreResponse;
    /// `DescribeStoreUse`.
    describe_store_use: own DescribeStoreUse reads (godwit::DescribeStoreUseRequest) -> godwit::DescribeStoreUseResponse;
    /// `DescribeSettings`.
    describe_settings: own DescribeSettings reads (godwit::DescribeSettingsRequest) -> godwit::DescribeSettingsResponse;
    /// `PreviewSweep`.
    preview_sweep: own PreviewSweep reads (PreviewSweepRequest) -> PreviewSweepResponse;
    /// `StartSweep`.
    start_sweep: own StartSweep changes (StartSweepRequest) -> StartSweepResponse;
    /// `DescribeSweeps`.
    describe_sweeps: own DescribeSweeps reads (DescribeSweepsRequest) -> DescribeSweepsResponse;
    /// `StartScrub`.
    start_scrub: own StartScrub changes (godwit::StartScrubRequest) -> godwit::StartScrubResponse;
    /// `DescribeScrub`.
    describe_scrub: own DescribeScrub reads (godwit::DescribeScrubRequest) -> godwit::ScrubDescription;
    /// `DescribeAuditRecords`.
    describe_audit_records: own DescribeAuditRecords reads (DescribeAuditRecordsRequest) -> DescribeAuditRecordsResponse;
    /// `VerifyAuditTrail`.
    verify_audit_trail: own VerifyAuditTrail reads (VerifyAuditTrailRequest) -> VerifyAuditTrailResponse;
    /// `CreateUser`.
    create_user: own CreateUser changes (godwit::CreateUserRequest) -> NoAnswer;
    /// `DescribeUsers`.
    describe_users: own DescribeUsers reads (godwit::DescribeUsersRequest) -> godwit::DescribeUsersResponse;
    /// `EnableUser`.
    enable_user: own EnableUser changes (godwit::UserRequest) -> NoAnswer;
    /// `DisableUser`.
    disable_user: own DisableUser changes (godwit::UserRequest) -> NoAnswer;
    /// `DeleteUser`.
    delete_user: own DeleteUser changes (godwit::UserRequest) -> NoAnswer;
    /// `AttachPolicy`.
    attach_policy: own AttachPolicy changes (godwit::PolicyOfUserRequest) -> NoAnswer;
    /// `DetachPolicy`.
    detach_policy: own DetachPolicy changes (godwit::PolicyOfUserRequest) -> NoAnswer;
    /// `CreateAccessKey`.
    create_access_key: own CreateAccessKey changes (godwit::UserRequest) -> godwit::NewAccessKeyResponse;
    /// `RotateAccessKey`.
    rotate_access_key: own RotateAccessKey changes (godwit::RotateAccessKeyRequest) -> godwit::NewAccessKeyResponse;
    /// `EnableAccessKey`.
    enable_access_key: own EnableAccessKey changes (godwit::AccessKeyRequest) -> NoAnswer;
    /// `DisableAccessKey`.
    disable_access_key: own DisableAccessKey changes (godwit::AccessKeyRequest) -> NoAnswer;
    /// `DeleteAccessKey`.
    delete_access_key: own DeleteAccessKey changes (godwit::AccessKeyRequest) -> NoAnswer;
    /// `DescribeAccessKeys`.
    describe_access_keys: own DescribeAccessKeys reads (godwit::DescribeAccessKeysRequest) -> godwit::DescribeAccessKeysResponse;
    /// `SetPassword`.
    set_password: own SetPassword changes (godwit::SetPasswordRequest) -> NoAnswer;
    /// `DeletePassword`.
    delete_password: own DeletePassword changes (godwit::UserRequest) -> NoAnswer;
    /// `CreateSignInLink`.
    create_sign_in_link: own CreateSignInLink changes (godwit::UserRequest) -> godwit::CreateSignInLinkResponse;
    /// `CreatePolicy`.
    create_policy: own CreatePolicy changes (godwit::CreatePolicyRequest) -> NoAnswer;
    /// `UpdatePolicy`.
    update_policy: own UpdatePolicy changes (godwit::UpdatePolicyRequest) -> NoAnswer;
    /// `DeletePolicy`.
    delete_policy: own DeletePolicy changes (godwit::PolicyRequest) -> NoAnswer;
    /// `DescribePolicies`.
    describe_policies: own DescribePolicies reads (godwit::DescribePoliciesRequest) -> godwit::DescribePoliciesResponse;
    /// `CreateRole`.
    create_role: own CreateRole changes (godwit::CreateRoleRequest) -> NoAnswer;
    /// `UpdateRole`.
    update_role: own UpdateRole changes (godwit::UpdateRoleRequest) -> NoAnswer;
    /// `DeleteRole`.
    delete_role: own DeleteRole changes (godwit::RoleRequest) -> NoAnswer;
    /// `DescribeRoles`.
    describe_roles: own DescribeRoles reads (godwit::DescribeRolesRequest) -> godwit::DescribeRolesResponse;
}

impl Client {
    /// A client; nothing is contacted. If `trusted` certificates are given, the service's is checked against these alone.
    pub fn new(
        endpoint: Url,
        key: AccessKey,
        region: String,
        trusted: Option<Vec<Certificate>>,
    ) -> Result<Self, ClientError> {
        let unusable = |error: reqwest::Error| ClientError::Unreachable {
            endpoint: endpoint.to_string(),
            reason: innermost(&error),
        };
        let http = reqwest::Client::builder()
            // The service is on this machine: a proxy could only read along.
            .no_proxy()
            .connect_timeout(CONNECT_BOUND)
            .timeout(ANSWER_BOUND)
            .redirect(reqwest::redirect::Policy::none());
        // The system's certificates are read only where they are needed.
        let http = match trusted {
            Some(trusted) => http.tls_certs_only(trusted),
            None if endpoint.scheme() == "https" => http,
            None => http.tls_certs_only([]),
        };
        let http = http.build().map_err(unusable)?;
        Ok(Self { http, endpoint, key, region })
    }

    /// Where the service is.
    pub fn endpoint(&self) -> &Url {
        &self.endpoint
    }

    /// `ReadImage`: exactly the bytes that were asked for, in one of `buffers`.
    pub async fn read_image(&self, request: &ReadImageRequest, buffers: &Arc<Buffers>) -> Result<Bytes, ClientError> {
        let call = Call { prefix: godwit::TARGET_PREFIX, name: OwnOperation::ReadImage.name(), reads: true };
        let body = body_of(request)?;
        let wanted = usize::try_from(request.length).map_err(|error| ClientError::Signing(error.to_string()))?;
        let mut buffer = buffers.take(wanted);
        let mut pauses = PAUSES.iter();
        loop {
            match self.fill(call, &body, buffer.bytes(wanted)).await {
                Ok(()) => return Ok(buffers.lend(buffer, 0..wanted)),
                Err(error) => wait_before_another(call, error, &mut pauses).await?,
            }
        }
    }

    /// Fills `into` with the answer, as it comes: put together first, it would be copied twice.
    async fn fill(&self, call: Call, body: &Bytes, into: &mut [u8]) -> Result<(), ClientError> {
        let mut answer = self.send(call, body).await?;
        let mut filled = 0;
        while let Some(part) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
            let Some(room) = into.get_mut(filled..filled + part.len()) else {
                return Err(self.strange(format!("more than the {} bytes that were asked for", into.len())));
            };
            room.copy_from_slice(&part);
            filled += part.len();
        }
        if filled == into.len() {
            return Ok(());
        }
        Err(self.strange(format!("{filled} bytes where {} were asked for", into.len())))
    }

    async fn json<A: DeserializeOwned>(&self, call: Call, request: &impl Serialize) -> Result<A, ClientError> {
        let bytes = self.answer(call, &body_of(request)?).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.strange(format!("its answer is not understood ({error})")))
    }

    async fn answer(&self, call: Call, body: &Bytes) -> Result<Bytes, ClientError> {
        let mut pauses = PAUSES.iter();
        loop {
            match self.once(call, body).await {
                Err(error) => wait_before_another(call, error, &mut pauses).await?,
                outcome => return outcome,
            }
        }
    }

    async fn once(&self, call: Call, body: &Bytes) -> Result<Bytes, ClientError> {
        let answer = self.send(call, body).await?;
        answer.bytes().await.map_err(|error| self.unreachable(&error))
    }

    /// Sends a call once; tells of its answer that it is none of a refusal.
    async fn send(&self, call: Call, body: &Bytes) -> Result<reqwest::Response, ClientError> {
        let headers = self.signed(call, body)?;
        let request = self.http.post(self.endpoint.clone()).headers(headers).body(body.clone());
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let bytes = answer.bytes().await.map_err(|error| self.unreachable(&error))?;
        Err(self.refused(status, &bytes))
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Unreachable {
            endpoint: self.endpoint.to_string(),
            reason: if error.is_timeout() { "it did not answer in time".to_owned() } else { innermost(error) },
        }
    }

    fn signed(&self, call: Call, body: &[u8]) -> Result<HeaderMap, ClientError> {
        let told = |error: &dyn Error| ClientError::Signing(error.to_string());
        let target = format!("{}.{}", call.prefix, call.name);
        let plain = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
        let token = self.key.session_token.as_ref().map(|token| token.to_string());
        let identity = Credentials::new(&self.key.id, self.key.secret.as_str(), token, None, "godwit").into();
        let now = UNIX_EPOCH + Duration::from_millis(outside::now().as_millis().unsigned_abs());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("sms")
            .time(now)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| told(&error))?
            .into();
        let body = SignableBody::Bytes(body);
        let request = SignableRequest::new("POST", self.endpoint.as_str(), plain.into_iter(), body);
        let request = request.map_err(|error| told(&error))?;
        let (instructions, _) = sign(request, &params).map_err(|error| told(&error))?.into_parts();
        let mut headers = HeaderMap::new();
        for (name, value) in plain.into_iter().chain(instructions.headers()) {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| told(&error))?;
            headers.insert(name, HeaderValue::from_str(value).map_err(|error| told(&error))?);
        }
        Ok(headers)
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        #[derive(serde::Deserialize)]
        struct Refusal {
            #[serde(rename = "__type")]
            code: String,
            #[serde(alias = "Message")]
            message: Option<String>,
        }
        match serde_json::from_slice::<Refusal>(body) {
            Ok(refusal) => {
                // Some services put a name space before the code.
                let code = refusal.code.rsplit('#').next().unwrap_or_default().to_owned();
                let message = refusal.message.unwrap_or_else(|| format!("the service refused with {code}"));
                ClientError::Refused { code, message, by_server: status.is_server_error() }
            }
            Err(_) => self.strange(format!("it answers with HTTP status {status}")),
        }
    }

    fn strange(&self, seen: String) -> ClientError {
        ClientError::NotTheService { endpoint: self.endpoint.to_string(), seen }
    }
}

/// Waits if the call is worth another attempt; else it failed with `error`.
async fn wait_before_another(
    call: Call,
    error: ClientError,
    pauses: &mut std::slice::Iter<'_, Duration>,
) -> Result<(), ClientError> {
    if !(call.reads && error.is_passing()) {
        return Err(error);
    }
    match pauses.next() {
        Some(pause) => {
            tokio::time::sleep(*pause).await;
            Ok(())
        }
        None => Err(error),
    }
}

/// All items of a list. `page` gives those of one page and the token of the next one.
pub async fn all_pages<T, F>(mut page: impl FnMut(Option<String>) -> F) -> Result<Vec<T>, ClientError>
where
    F: Future<Output = Result<(Vec<T>, Option<String>), ClientError>>,
{
    let mut all = Vec::new();
    let mut token = None;
    for _ in 0..MOST_PAGES {
        let (items, next) = page(token).await?;
        all.extend(items);
        match next {
            None => break,
            next => token = next,
        }
    }
    Ok(all)
}

fn body_of(request: &impl Serialize) -> Result<Bytes, ClientError> {
    let body = serde_json::to_vec(request).map_err(|error| ClientError::Signing(error.to_string()))?;
    Ok(body.into())
}

/// The cause that says most: the last of the chain.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::post;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use zeroize::Zeroizing;

    async fn service(router: Router) -> Client {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        client(&endpoint)
    }

    fn client(endpoint: &str) -> Client {
        let key = AccessKey { id: "GW1".into(), secret: Zeroizing::new("s".into()), session_token: None };
        Client::new(endpoint.parse().unwrap(), key, "eu-central-1".into(), None).unwrap()
    }

    #[tokio::test]
    async fn what_is_sent_is_signed_as_the_service_wants_it() {
        use godwit_api::sigv4::{Claim, SignedParts};
        const LIST: &str = r#""serverCatalogStatus":"AVAILABLE","lastModifiedOn":0,"servers":[]"#;
        let handler = |headers: http::HeaderMap, body: Bytes| async move {
            let parts = SignedParts { method: "POST", uri: "/", headers: &headers };
            let proven = Claim::read(parts, outside::now()).and_then(|claim| claim.prove("s", &body));
            assert_eq!(headers["x-amz-target"], "Godwit_V1.DescribeServers");
            match proven {
                Ok(()) => (StatusCode::OK, format!(r#"{{{LIST},"nextToken":"proven"}}"#)),
                Err(error) => (StatusCode::BAD_REQUEST, format!(r#"{{"__type":"X","message":"{error}"}}"#)),
            }
        };
        let client = service(Router::new().route("/", post(handler))).await;
        let answer = client.describe_servers(&DescribeServersRequest::default()).await.unwrap();
        assert_eq!(answer.next_token.as_deref(), Some("proven"));
    }

    #[tokio::test]
    async fn reads_are_tried_again_and_changes_are_not() {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let handler = move || async move {
            counted.fetch_add(1, Ordering::SeqCst);
            (StatusCode::SERVICE_UNAVAILABLE, r#"{"__type":"a#TemporarilyUnavailableException","message":"later"}"#)
        };
        let client = service(Router::new().route("/", post(handler))).await;
        let error = client.describe_servers(&DescribeServersRequest::default()).await.unwrap_err();
        let is_told = matches!(&error, ClientError::Refused { code, .. } if code == "TemporarilyUnavailableException");
        assert!(is_told && error.to_string() == "later", "{error:?}");
        assert_eq!(asked.swap(0, Ordering::SeqCst), 1 + PAUSES.len());
        client.import_server_catalog(&ImportServerCatalogRequest {}).await.unwrap_err();
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn who_is_not_the_service_is_told_apart() {
        let client = service(Router::new().route("/", post(|| async { "<html>" }))).await;
        let error = client.describe_servers(&DescribeServersRequest::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::NotTheService { .. }), "{error}");
        let request = ReadImageRequest { image_id: "ami-0".into(), volume: 0, offset: 0, length: 512 };
        let buffers = Arc::new(Buffers::new(1, 512));
        let error = client.read_image(&request, &buffers).await.unwrap_err();
        assert!(error.to_string().contains("6 bytes where 512"), "{error}");
        let error = client.read_image(&ReadImageRequest { length: 3, ..request }, &buffers).await.unwrap_err();
        assert!(error.to_string().contains("more than the 3 bytes"), "{error}");
    }

    #[tokio::test]
    async fn nobody_there_is_unreachable() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/", listener.local_addr().unwrap());
        drop(listener);
        let error = client(&endpoint).import_server_catalog(&ImportServerCatalogRequest {}).await.unwrap_err();
        assert!(matches!(error, ClientError::Unreachable { .. }), "{error}");
    }

    #[tokio::test]
    async fn pages_are_put_together() {
        let page = |token: Option<String>| async move {
            let at: usize = token.map_or(0, |token| token.parse().unwrap());
            Ok((vec![at, at + 1], (at < 4).then(|| (at + 2).to_string())))
        };
        assert_eq!(all_pages(page).await.unwrap(), [0, 1, 2, 3, 4, 5]);
    }
}
