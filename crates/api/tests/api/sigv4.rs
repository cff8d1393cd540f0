//! Signatures: recorded requests of real clients, any set of signed headers, and everything that must be refused.

use crate::oracle::{ACCESS_KEY, Draft, SECRET};
use godwit_api::errors::ErrorCode;
use godwit_api::sigv4::{Claim, LARGEST_SKEW, SignedParts};
use godwit_model::time::{Millis, Timestamp};
use http::{HeaderMap, HeaderValue};
use proptest::prelude::*;

/// 2026-11-23T04:12:44Z, when the aws cli's request was recorded.
const RECORDED: Timestamp = Timestamp(1_795_407_164_000);
const TIME: &str = "20261123T041244Z";
const CREATE: &str = "AWSServerMigrationService_V2016_10_24.CreateReplicationJob";

fn check(headers: &HeaderMap, method: &str, body: &[u8], now: Timestamp) -> Result<String, ErrorCode> {
    let claim = Claim::read(SignedParts { method, uri: "/", headers }, now).map_err(|e| e.code())?;
    claim.prove(SECRET, body).map_err(|e| e.code())?;
    Ok(claim.access_key().to_owned())
}

fn check_draft(draft: &Draft, headers: &HeaderMap) -> Result<String, ErrorCode> {
    check(headers, &draft.method, &draft.body, RECORDED)
}

#[test]
fn the_request_of_the_aws_cli_is_accepted() {
    let body = br#"{"serverId": "s-12345678", "seedReplicationTime": 1477348200, "frequency": 12, "roleName": "AWSServiceRoleForSMS"}"#;
    assert_eq!(body.len(), 114);
    let draft = Draft::new(CREATE, TIME, body);
    let recorded = "865b24318f56f4d265386eb4a8ce8beed7bf50a0692c5771df338202afa0ff2c";
    assert_eq!(draft.signature(SECRET), recorded, "the oracle agrees with the recording");
    assert_eq!(check_draft(&draft, &draft.headers_with(recorded)), Ok(ACCESS_KEY.to_owned()));
}

#[test]
fn the_request_of_boto3_with_a_session_token_is_accepted() {
    let body = br#"{"serverId": "s-12345678", "seedReplicationTime": 1767323045, "frequency": 12, "roleName": "sms", "licenseType": "BYOL", "description": "d \u00e9", "numberOfRecentAmisToKeep": 3, "encrypted": true, "kmsKeyId": "alias/x"}"#;
    assert_eq!(body.len(), 220);
    let mut draft = Draft::new(CREATE, "20261123T040951Z", body);
    draft.headers[0].1 = "127.0.0.1:18080".to_owned();
    draft.headers.push(("x-amz-security-token".to_owned(), "tok".to_owned()));
    draft.signed.push("x-amz-security-token".to_owned());
    let recorded = "3c7fe7fd956bd6ce9e360ea44e26e1738d76df872c65ce3c37efcfb3488a0a68";
    assert_eq!(draft.signature(SECRET), recorded, "the oracle agrees with the recording");
    assert_eq!(check_draft(&draft, &draft.headers_with(recorded)), Ok(ACCESS_KEY.to_owned()));
}

#[test]
fn the_headers_that_the_javascript_clients_sign_are_accepted() {
    let mut draft = Draft::new(CREATE, TIME, b"{}");
    let digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    for (name, value) in [
        ("amz-sdk-invocation-id", "500427a2-fee7-44f1-8793-69b8048caa69"),
        ("amz-sdk-request", "attempt=1; max=3"),
        ("content-length", "2"),
        ("x-amz-content-sha256", digest),
        ("x-amz-user-agent", "aws-sdk-js/3.523.0"),
    ] {
        draft.headers.push((name.to_owned(), value.to_owned()));
        draft.signed.push(name.to_owned());
    }
    assert!(check_draft(&draft, &draft.sign()).is_ok());
    draft.signed.retain(|name| name != "content-type");
    assert!(check_draft(&draft, &draft.sign()).is_ok(), "version 2 does not sign content-type");
    let mut unsigned = draft.clone();
    unsigned.headers.iter_mut().find(|(n, _)| n == "x-amz-content-sha256").unwrap().1 = "UNSIGNED-PAYLOAD".to_owned();
    let good = check_draft(&unsigned, &unsigned.sign());
    assert!(good.is_ok(), "the header is only a header: what counts is the digest of the body");
}

#[test]
fn the_date_header_will_do_for_the_time() {
    let mut draft = Draft::new(CREATE, TIME, b"{}");
    draft.headers.retain(|(name, _)| name != "x-amz-date");
    draft.headers.push(("date".to_owned(), "Mon, 23 Nov 2026 04:12:44 GMT".to_owned()));
    draft.signed.retain(|name| name != "x-amz-date");
    draft.signed.push("date".to_owned());
    assert!(check_draft(&draft, &draft.sign()).is_ok());
    draft.headers.last_mut().unwrap().1 = "2026-11-23 04:12:44".to_owned();
    assert_eq!(check_draft(&draft, &draft.sign()), Err(ErrorCode::IncompleteSignatureException));
}

#[test]
fn what_is_wrong_has_its_own_code() {
    let draft = Draft::new(CREATE, TIME, b"{}");
    let good = draft.sign();
    let authorization = good["authorization"].to_str().unwrap().to_owned();
    let with = |text: &str| {
        let mut headers = good.clone();
        headers.insert("authorization", HeaderValue::from_str(text).unwrap());
        check_draft(&draft, &headers)
    };
    assert!(with(&authorization).is_ok());
    assert!(with(&authorization.replace(", ", ",")).is_ok(), "blanks behind commas do not matter");

    let mut unsigned = good.clone();
    unsigned.remove("authorization");
    assert_eq!(check_draft(&draft, &unsigned), Err(ErrorCode::MissingAuthenticationTokenException));

    for wrong in [
        "",
        "Bearer x",
        "AWS4-HMAC-SHA256",
        &authorization.replace("AWS4-HMAC-SHA256 ", "AWS4-ECDSA-P256-SHA256 "),
        &authorization.replace("Signature=", "Sig="),
        &authorization.replace("/aws4_request", ""),
        &authorization.replace(ACCESS_KEY, ""),
        &authorization.replace("host;", ""),
        &authorization.replace("x-amz-date;", ""),
        &authorization.replace("content-type;host", "host;content-type"),
        &authorization.replace("host;", "host;host;"),
        &authorization.replace("host;", "host;not-there;"),
        &authorization.replace("SignedHeaders=", "SignedHeaders=authorization;"),
        &format!("{authorization}, Signature=00"),
    ] {
        assert_eq!(with(wrong), Err(ErrorCode::IncompleteSignatureException), "{wrong}");
    }
    for wrong in [
        authorization.replace("/sms/", "/ec2/"),
        authorization.replace("/20261123/", "/20261122/"),
        authorization.replace("us-east-1", "us-east-2"),
        authorization[..authorization.len() - 1].to_owned(),
        format!("{authorization}0"),
    ] {
        assert_eq!(with(&wrong), Err(ErrorCode::InvalidSignatureException), "{wrong}");
    }
    let wrong_key = draft.headers_with(&draft.signature("Secret"));
    assert_eq!(check_draft(&draft, &wrong_key), Err(ErrorCode::InvalidSignatureException));

    let mut twice = good.clone();
    twice.append("authorization", HeaderValue::from_str(&authorization).unwrap());
    assert_eq!(check_draft(&draft, &twice), Err(ErrorCode::IncompleteSignatureException));
}

#[test]
fn every_amz_header_must_be_signed() {
    let mut draft = Draft::new(CREATE, TIME, b"{}");
    draft.headers.push(("x-amz-security-token".to_owned(), "tok".to_owned()));
    draft.headers.push(("x-amzn-trace-id".to_owned(), "Root=1".to_owned()));
    draft.headers.push(("date".to_owned(), "Mon, 23 Nov 2026 04:12:44 GMT".to_owned()));
    draft.signed.extend(["x-amz-security-token", "date"].map(str::to_owned));
    assert!(check_draft(&draft, &draft.sign()).is_ok(), "x-amzn- is not x-amz-: no client signs it");
    for name in ["x-amz-target", "x-amz-date", "x-amz-security-token"] {
        let mut hole = draft.clone();
        hole.signed.retain(|signed| signed != name);
        let headers = hole.sign();
        let error = Claim::read(SignedParts { method: "POST", uri: "/", headers: &headers }, RECORDED).unwrap_err();
        assert_eq!(error.code(), ErrorCode::IncompleteSignatureException, "{name}");
        assert!(error.message().contains(&format!("'{name}'")), "{}", error.message());
    }
}

#[test]
fn any_region_will_do() {
    let mut draft = Draft::new(CREATE, TIME, b"{}");
    for region in ["eu-central-1", "local", "x"] {
        draft.region = region.to_owned();
        assert!(check_draft(&draft, &draft.sign()).is_ok(), "{region}");
    }
}

#[test]
fn the_time_may_differ_by_fifteen_minutes() {
    let draft = Draft::new(CREATE, TIME, b"{}");
    let headers = draft.sign();
    let at = |now| check(&headers, "POST", b"{}", now);
    for edge in [RECORDED - LARGEST_SKEW, RECORDED, RECORDED + LARGEST_SKEW] {
        assert!(at(edge).is_ok(), "{edge:?}");
    }
    for far in [RECORDED - LARGEST_SKEW - Millis(1), RECORDED + LARGEST_SKEW + Millis(1), Timestamp(0)] {
        assert_eq!(at(far), Err(ErrorCode::RequestTimeTooSkewed), "{far:?}");
    }
    for time in ["20261123T04124Z", "20261323T041244Z", "20261123 041244Z", "+0261123T041244Z", "20261123T041244z"] {
        let mut wrong = draft.clone();
        wrong.headers.iter_mut().find(|(n, _)| n == "x-amz-date").unwrap().1 = time.to_owned();
        let refused = check_draft(&wrong, &wrong.sign());
        assert_eq!(refused, Err(ErrorCode::IncompleteSignatureException), "{time}");
    }
}

#[test]
fn secrets_show_up_in_no_debug_text() {
    let draft = Draft::new(CREATE, TIME, b"{}");
    let headers = draft.sign();
    let parts = SignedParts { method: "POST", uri: "/", headers: &headers };
    let claim = Claim::read(parts, RECORDED).unwrap();
    let error = claim.prove("wJalrXUtnFEMI", b"{}").unwrap_err();
    assert!(!format!("{claim:?} {error:?} {error}").contains("wJalrXUtnFEMI"));
}

/// Requests with any additional headers, some of them signed, some twice, with blanks of all sorts.
fn drafts() -> impl Strategy<Value = Draft> {
    let names = prop_oneof![
        Just("user-agent".to_owned()),
        Just("x-amz-security-token".to_owned()),
        Just("x-amz-content-sha256".to_owned()),
        Just("x-amzn-trace-id".to_owned()),
        Just("content-length".to_owned()),
        Just("date".to_owned()),
        "[a-z]{1,8}(-[a-z0-9]{1,8}){0,2}",
    ];
    // Values as they arrive: a server's HTTP layer has cut the blanks at both ends.
    let values = "[!-~]([ -~]{0,30}[!-~])?";
    let extra = proptest::collection::vec((names, values, any::<bool>()), 0..8);
    let fixed = (any::<bool>(), "[a-z0-9-]{1,20}");
    (extra, proptest::collection::vec(any::<u8>(), 0..300), fixed).prop_map(|(extra, body, (content, region))| {
        let mut draft = Draft::new(CREATE, TIME, &body);
        draft.region = region;
        draft.signed.retain(|n| content || n != "content-type");
        for (name, value, signed) in extra {
            if name == "authorization" {
                continue;
            }
            if (signed || name.starts_with("x-amz-")) && !draft.signed.contains(&name) {
                draft.signed.push(name.clone());
            }
            if !["host", "x-amz-date", "x-amz-target"].contains(&name.as_str()) {
                draft.headers.push((name, value));
            }
        }
        draft
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_headers_are_signed_the_oracle_and_the_verifier_agree(draft in drafts()) {
        prop_assert_eq!(check_draft(&draft, &draft.sign()), Ok(ACCESS_KEY.to_owned()));
    }

    #[test]
    fn no_amz_header_can_be_left_out(draft in drafts(), which in any::<prop::sample::Index>()) {
        let amz: Vec<_> = draft.signed.iter().filter(|name| name.starts_with("x-amz-")).cloned().collect();
        let mut hole = draft.clone();
        hole.signed.retain(|name| name != which.get(&amz));
        prop_assert_eq!(check_draft(&hole, &hole.sign()), Err(ErrorCode::IncompleteSignatureException));
    }

    #[test]
    fn no_change_goes_unnoticed(draft in drafts(), which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>()) {
        let headers = draft.sign();
        let mut body = draft.body.clone();
        if body.is_empty() {
            body.push(0);
        } else {
            let at = at.index(body.len());
            body[at] ^= 1;
        }
        let refused = Err(ErrorCode::InvalidSignatureException);
        prop_assert_eq!(check(&headers, &draft.method, &body, RECORDED), refused.clone());
        prop_assert_eq!(check(&headers, "GET", &draft.body, RECORDED), refused.clone());

        let signed: Vec<_> = draft.signed.iter().filter(|n| *n != "x-amz-date" && *n != "date").collect();
        let name = signed[which.index(signed.len())].as_str();
        let mut changed = headers.clone();
        let value = format!("{}~", changed[name].to_str().unwrap());
        changed.insert(http::HeaderName::try_from(name).unwrap(), HeaderValue::from_str(&value).unwrap());
        prop_assert_eq!(check(&changed, &draft.method, &draft.body, RECORDED), refused);
    }

    #[test]
    fn no_authorization_makes_the_verifier_panic(text in "[ -~]{0,120}", tail in "[A-Za-z0-9/=;, -]{0,80}") {
        let draft = Draft::new(CREATE, TIME, b"{}");
        for text in [text, format!("AWS4-HMAC-SHA256 {tail}"), format!("AWS4-HMAC-SHA256 Credential={tail}, SignedHeaders=host;x-amz-date, Signature={tail}")] {
            let mut headers = draft.sign();
            headers.insert("authorization", HeaderValue::from_str(&text).unwrap());
            prop_assert!(check_draft(&draft, &headers).is_err());
        }
    }
}
