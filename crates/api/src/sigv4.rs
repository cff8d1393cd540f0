//! Verifies AWS Signature Version 4 by signing the same request again with AWS's own signer and comparing.
//!
//! Clients differ in what they sign (four to nine headers, with or without `content-type` and a digest of the body), so
//! whatever a request lists is what is signed again. Required are, as AWS has it, `host`, the time, and every `x-amz-*`
//! header that the request has: one of them names the operation. `content-type` is not: it decides nothing here, and not
//! all AWS SDKs sign it. The digest of the body is always that of the body received; what a client says about it counts
//! only as a header.
//!
//! Everything but the signature itself is checked without the body, so that nobody can make us read one who does not
//! name a key that exists, and the present time.

use crate::errors::{ApiError, ErrorCode};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SessionTokenMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use godwit_model::time::{Millis, Timestamp};
use http::HeaderMap;
use std::time::{Duration, UNIX_EPOCH};

/// How far a request's time may be from ours: as long as AWS allows.
pub const LARGEST_SKEW: Millis = Millis::MINUTE.times(15);

/// The service's name in credential scopes.
const SERVICE: &str = "sms";
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What of an HTTP request is signed, besides its body.
#[derive(Clone, Copy, Debug)]
pub struct SignedParts<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// Path and query as received.
    pub uri: &'a str,
    /// All headers as received.
    pub headers: &'a HeaderMap,
}

/// A signature that was read but not yet proven: it says whose secret key is needed. The body may still be on its way.
#[derive(Debug)]
pub struct Claim<'a> {
    request: SignedParts<'a>,
    authorization: Authorization<'a>,
    time: Timestamp,
}

impl<'a> Claim<'a> {
    /// Reads the signature of a request. Refuses what is incomplete, for another service, or for another time.
    pub fn read(request: SignedParts<'a>, now: Timestamp) -> Result<Self, ApiError> {
        let authorization = Authorization::of(request.headers)?;
        let time = signing_time(request.headers, &authorization)?;
        check_scope(&authorization.scope, time)?;
        check_skew(time, now)?;
        Ok(Self { request, authorization, time })
    }

    /// Id of the access key that the request claims to be signed with.
    pub fn access_key(&self) -> &'a str {
        self.authorization.scope.access_key
    }

    /// Refuses the request unless it was signed, with this body, with this secret.
    pub fn prove(&self, secret: &str, body: &[u8]) -> Result<(), ApiError> {
        let expected = signature(&self.request, body, &self.authorization, secret, self.time)?;
        let given = self.authorization.signature.as_bytes();
        aws_lc_rs::constant_time::verify_slices_are_equal(expected.as_bytes(), given).map_err(|_| {
            let message = "The signature of the request is not the one that the secret access key gives. \
                Check the secret key, and that nothing changes the request on its way.";
            ApiError::new(ErrorCode::InvalidSignatureException, message)
        })
    }
}

/// What is answered to a request whose access key is not ours.
pub fn unknown_key() -> ApiError {
    let message = "The access key of the request is unknown to this service.";
    ApiError::new(ErrorCode::UnrecognizedClientException, message)
}

/// The parts of an `Authorization` header.
#[derive(Debug)]
struct Authorization<'a> {
    scope: Scope<'a>,
    signed_headers: Vec<&'a str>,
    signature: &'a str,
}

/// The parts of a `Credential`.
#[derive(Debug)]
struct Scope<'a> {
    access_key: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
}

impl<'a> Authorization<'a> {
    fn of(headers: &'a HeaderMap) -> Result<Self, ApiError> {
        let Some(text) = single(headers, "authorization")? else {
            let message = "The request is not signed: it has no Authorization header.";
            return Err(ApiError::new(ErrorCode::MissingAuthenticationTokenException, message));
        };
        let parts = text.strip_prefix(ALGORITHM).filter(|rest| rest.starts_with(' '));
        let parts = parts.ok_or_else(|| incomplete(format!("Authorization must begin with {ALGORITHM}.")))?;
        let part = |name: &str| {
            let mut found = parts.split(',').filter_map(|p| p.trim().strip_prefix(name)?.strip_prefix('='));
            match (found.next(), found.next()) {
                (Some(value), None) if !value.is_empty() => Ok(value),
                _ => Err(incomplete(format!("Authorization must have {name} once, with a value."))),
            }
        };
        let signed_headers: Vec<&str> = part("SignedHeaders")?.split(';').collect();
        check_signed_headers(headers, &signed_headers)?;
        Ok(Self { scope: Scope::parse(part("Credential")?)?, signed_headers, signature: part("Signature")? })
    }

    fn signs(&self, header: &str) -> bool {
        self.signed_headers.contains(&header)
    }
}

impl<'a> Scope<'a> {
    fn parse(credential: &'a str) -> Result<Self, ApiError> {
        let parts: Vec<&str> = credential.split('/').collect();
        match parts[..] {
            [access_key, date, region, service, "aws4_request"] if !access_key.is_empty() && !region.is_empty() => {
                Ok(Self { access_key, date, region, service })
            }
            _ => Err(incomplete("Credential must be KEY/YYYYMMDD/REGION/SERVICE/aws4_request.".to_owned())),
        }
    }
}

fn check_signed_headers(headers: &HeaderMap, signed: &[&str]) -> Result<(), ApiError> {
    if !signed.windows(2).all(|pair| pair[0] < pair[1]) || signed.iter().any(|n| n.chars().any(|c| c.is_uppercase())) {
        return Err(incomplete("SignedHeaders must be sorted and in lower case, each once.".to_owned()));
    }
    if let Some(missing) = signed.iter().find(|name| !headers.contains_key(**name)) {
        let missing: String = missing.chars().take(64).collect();
        return Err(incomplete(format!("SignedHeaders names '{missing}', which the request does not have.")));
    }
    if !signed.contains(&"host") || signed.contains(&"authorization") {
        return Err(incomplete("SignedHeaders must name host and must not name authorization.".to_owned()));
    }
    let mut names = headers.keys().map(|name| name.as_str());
    if let Some(unsigned) = names.find(|name| name.starts_with("x-amz-") && !signed.contains(name)) {
        let unsigned: String = unsigned.chars().take(64).collect();
        let why = "every X-Amz- header of a request must be signed";
        return Err(incomplete(format!(
            "The request has the header '{unsigned}', which SignedHeaders does not name: {why}."
        )));
    }
    Ok(())
}

/// The time that the request was signed for: `x-amz-date`, or else `date`.
fn signing_time(headers: &HeaderMap, authorization: &Authorization<'_>) -> Result<Timestamp, ApiError> {
    let (name, format, digits) = if authorization.signs("x-amz-date") {
        ("x-amz-date", "%Y%m%dT%H%M%SZ", Some("00000000T000000Z"))
    } else if authorization.signs("date") {
        ("date", "%a, %d %b %Y %H:%M:%S GMT", None)
    } else {
        return Err(incomplete("SignedHeaders must name x-amz-date or date.".to_owned()));
    };
    let wrong = || incomplete(format!("The header {name} is not a time of the form {format}."));
    let text = single(headers, name)?.ok_or_else(wrong)?;
    if digits.is_some_and(|form| !has_form(text, form)) {
        return Err(wrong());
    }
    let time = jiff::civil::DateTime::strptime(format, text).map_err(|_| wrong())?;
    let time = time.to_zoned(jiff::tz::TimeZone::UTC).map_err(|_| wrong())?;
    if time.timestamp() < jiff::Timestamp::UNIX_EPOCH {
        return Err(wrong());
    }
    Ok(Timestamp(time.timestamp().as_millisecond()))
}

/// Whether `text` has digits where `form` has zeros, and else the same characters.
fn has_form(text: &str, form: &str) -> bool {
    text.len() == form.len()
        && text.bytes().zip(form.bytes()).all(|(b, f)| if f == b'0' { b.is_ascii_digit() } else { b == f })
}

fn check_scope(scope: &Scope<'_>, time: Timestamp) -> Result<(), ApiError> {
    let refuse = |message: String| Err(ApiError::new(ErrorCode::InvalidSignatureException, message));
    if scope.service != SERVICE {
        return refuse(format!("The credential must be scoped to the service '{SERVICE}'."));
    }
    let date = jiff::Timestamp::from_millisecond(time.as_millis()).map(|t| t.strftime("%Y%m%d").to_string());
    if !date.is_ok_and(|date| date == scope.date) {
        return refuse("The credential's date is not the date that the request is signed for.".to_owned());
    }
    Ok(())
}

fn check_skew(time: Timestamp, now: Timestamp) -> Result<(), ApiError> {
    let skew = Millis((now - time).0.saturating_abs());
    if skew <= LARGEST_SKEW {
        return Ok(());
    }
    let message = format!(
        "The request is signed for a time that is {} s away from the service's; at most {} s are allowed. Check the clock.",
        skew.0 / Millis::SECOND.0,
        LARGEST_SKEW.0 / Millis::SECOND.0
    );
    Err(ApiError::new(ErrorCode::RequestTimeTooSkewed, message))
}

/// The signature that the request should have.
fn signature(
    request: &SignedParts<'_>,
    body: &[u8],
    authorization: &Authorization<'_>,
    secret: &str,
    time: Timestamp,
) -> Result<String, ApiError> {
    let refuse = |_| incomplete("The request cannot be brought into the form that is signed.".to_owned());
    // The signer adds x-amz-date by itself, with the same text: its form was checked.
    let listed = authorization.signed_headers.iter().filter(|name| **name != "x-amz-date");
    let mut headers = Vec::new();
    for name in listed {
        for value in request.headers.get_all(*name) {
            let value =
                value.to_str().map_err(|_| incomplete(format!("The signed header {name} is not plain text.")))?;
            headers.push((*name, value));
        }
    }
    let body = SignableBody::Bytes(body);
    let signable = SignableRequest::new(request.method, request.uri, headers.into_iter(), body).map_err(refuse)?;

    let mut settings = SigningSettings::default();
    // Only what the client listed is given to the signer, so nothing is to be left out but the time that it adds.
    let excluded = if authorization.signs("x-amz-date") { vec![] } else { vec!["x-amz-date".into()] };
    settings.excluded_headers = Some(excluded);
    settings.payload_checksum_kind = PayloadChecksumKind::NoHeader;
    settings.session_token_mode = SessionTokenMode::Include;
    settings.percent_encoding_mode = PercentEncodingMode::Double;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Enabled;
    let identity = Credentials::new(authorization.scope.access_key, secret, None, None, "godwit").into();
    let since_epoch = Duration::from_millis(time.as_millis().unsigned_abs());
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(authorization.scope.region)
        .name(SERVICE)
        .time(UNIX_EPOCH + since_epoch)
        .settings(settings)
        .build()
        .expect("every parameter was given")
        .into();
    let (_, signature) = sign(signable, &params).map_err(refuse)?.into_parts();
    Ok(signature)
}

/// The only value of a header; several are not understood.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    match (first.to_str(), values.next()) {
        (Ok(text), None) => Ok(Some(text.trim())),
        _ => Err(incomplete(format!("The request must have one header {name}, of plain text."))),
    }
}

fn incomplete(message: String) -> ApiError {
    ApiError::new(ErrorCode::IncompleteSignatureException, message)
}
