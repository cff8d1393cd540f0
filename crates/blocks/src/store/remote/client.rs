//! The clients of one bucket: how they are made, whose keys they sign with, how long they try.

use super::RemoteError;
use async_trait::async_trait;
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential, S3ConditionalPut};
use object_store::client::{
    CredentialProvider, HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::{BackoffConfig, ClientOptions, HeaderMap, HeaderValue, Result, RetryConfig};
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use zeroize::Zeroizing;

/// How long a connection may take to come about: longer than any that is worth having.
const CONNECT: Duration = Duration::from_secs(15);

/// Where a store is, and how it is reached.
#[derive(Clone)]
pub struct RemoteOptions {
    /// The bucket, which must exist.
    pub bucket: String,
    /// What all names in it begin with, or nothing.
    pub prefix: String,
    /// Address of the server; AWS if there is none.
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The bucket's name is the first part of the path, not of the host's name.
    pub path_style: bool,
    /// Gives the keys that requests are signed with.
    pub keys: AskKeys,
    /// Whose store this is.
    pub owner: String,
    /// How long is tried.
    pub bounds: RemoteBounds,
}

/// Bounds of one call to a server. The defaults are right except for tests.
#[derive(Clone, Copy, Debug)]
pub struct RemoteBounds {
    /// How long one request may take, its content with it: a part at 70 KiB a second.
    pub request: Duration,
    /// How often a request is repeated at most.
    pub retries: usize,
    /// How long after the first one a request is still repeated.
    pub retry_for: Duration,
    /// The first pause; the next ones grow, at random, up to the longest.
    pub pause: Duration,
    /// The longest pause: servers that throttle ask for patience, not for silence.
    pub longest_pause: Duration,
}

impl Default for RemoteBounds {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(120),
            retries: 8,
            retry_for: Duration::from_secs(60),
            pause: Duration::from_millis(200),
            longest_pause: Duration::from_secs(10),
        }
    }
}

/// Keys as a server gives them out; they show nothing of themselves.
#[derive(Clone)]
pub struct RemoteKeys {
    /// Names the pair.
    pub id: String,
    /// Signs.
    pub secret: Zeroizing<String>,
    /// Of temporary keys.
    pub token: Option<Zeroizing<String>>,
}

impl fmt::Debug for RemoteKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RemoteKeys(hidden)")
    }
}

/// Gives the keys as they are now: asked before each request, so that they may change.
pub type AskKeys = Arc<dyn Fn() -> Result<RemoteKeys, Box<dyn Error + Send + Sync>> + Send + Sync>;

/// Counts the requests that were sent on behalf of one put. Goes with its options.
pub(super) type Attempts = Arc<AtomicU32>;

/// The clients of a bucket.
pub(super) struct Clients {
    pub s3: AmazonS3,
    /// The same, only to complete objects in parts: object_store has no way to ask for it by condition, so this client
    /// says so with each request.
    pub completing: AmazonS3,
    pub bounds: RemoteBounds,
}

impl Clients {
    pub fn new(options: &RemoteOptions) -> Result<Self, RemoteError> {
        let only_new = HeaderMap::from_iter([(http_name("if-none-match"), HeaderValue::from_static("*"))]);
        let made = client(options, HeaderMap::new()).and_then(|s3| Ok((s3, client(options, only_new)?)));
        let (s3, completing) = made.map_err(|error| RemoteError::Options(error.to_string()))?;
        Ok(Self { s3, completing, bounds: options.bounds })
    }
}

fn http_name(name: &'static str) -> http::HeaderName {
    http::HeaderName::from_static(name)
}

fn client(options: &RemoteOptions, headers: HeaderMap) -> Result<AmazonS3> {
    let bounds = options.bounds;
    let is_plain = options.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let client = ClientOptions::new()
        .with_timeout(bounds.request)
        .with_connect_timeout(CONNECT)
        .with_allow_http(is_plain)
        .with_default_headers(headers);
    let backoff = BackoffConfig { init_backoff: bounds.pause, max_backoff: bounds.longest_pause, base: 2.0 };
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&options.bucket)
        .with_region(&options.region)
        .with_virtual_hosted_style_request(!options.path_style)
        .with_credentials(Arc::new(Signer(options.keys.clone())))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // A request more for each object, of a kind that all servers know and that can be told apart when it fails.
        .with_disable_bulk_delete(true)
        .with_retry(RetryConfig { backoff, max_retries: bounds.retries, retry_timeout: bounds.retry_for })
        .with_client_options(client)
        .with_http_connector(Counting);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(of_bucket(endpoint, options));
    }
    builder.build()
}

/// The endpoint as object_store wants it: with the bucket in the host's name, if it is to be there.
fn of_bucket(endpoint: &str, options: &RemoteOptions) -> String {
    match endpoint.split_once("://") {
        Some((scheme, host)) if !options.path_style => format!("{scheme}://{}.{host}", options.bucket),
        _ => endpoint.to_owned(),
    }
}

struct Signer(AskKeys);

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(hidden)")
    }
}

#[async_trait]
impl CredentialProvider for Signer {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> Result<Arc<AwsCredential>> {
        let keys = (self.0)().map_err(|source| object_store::Error::Generic { store: "S3", source })?;
        let token = keys.token.map(|token| token.to_string());
        Ok(Arc::new(AwsCredential { key_id: keys.id, secret_key: keys.secret.to_string(), token }))
    }
}

/// Makes clients that count what they send.
#[derive(Debug)]
struct Counting;

impl HttpConnector for Counting {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        Ok(HttpClient::new(Counter(ReqwestConnector::default().connect(options)?)))
    }
}

#[derive(Debug)]
struct Counter(HttpClient);

#[async_trait]
impl HttpService for Counter {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        if let Some(attempts) = request.extensions().get::<Attempts>() {
            attempts.fetch_add(1, Ordering::Relaxed);
        }
        self.0.execute(request).await
    }
}
