//! Signature Version 4 written plainly from its description, to hold the verifier against: no code is shared.

use aws_lc_rs::{digest, hmac};
use http::{HeaderMap, HeaderValue, header};

/// The literal key of the recorded requests.
pub const SECRET: &str = "secret";
/// Its id.
pub const ACCESS_KEY: &str = "AKIDEXAMPLE";

/// A request that is to be signed.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Method.
    pub method: String,
    /// Header names in lower case, and values; a name may come twice.
    pub headers: Vec<(String, String)>,
    /// Names of the headers to sign.
    pub signed: Vec<String>,
    /// Body.
    pub body: Vec<u8>,
    /// `YYYYMMDDTHHMMSSZ`
    pub time: String,
    /// Region.
    pub region: String,
    /// Service.
    pub service: String,
}

impl Draft {
    /// A request as the aws cli makes it.
    pub fn new(target: &str, time: &str, body: &[u8]) -> Draft {
        let headers = [
            ("host", "127.0.0.1:18081"),
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-date", time),
            ("x-amz-target", target),
        ];
        Draft {
            method: "POST".to_owned(),
            headers: headers.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(),
            signed: headers.iter().map(|(n, _)| n.to_string()).collect(),
            body: body.to_vec(),
            time: time.to_owned(),
            region: "us-east-1".to_owned(),
            service: "sms".to_owned(),
        }
    }

    /// The signature with this secret.
    pub fn signature(&self, secret: &str) -> String {
        let mut names = self.signed.clone();
        names.sort();
        let mut canonical = format!("{}\n/\n\n", self.method);
        for name in &names {
            let values: Vec<String> = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| squeeze(v)).collect();
            canonical += &format!("{name}:{}\n", values.join(","));
        }
        canonical += &format!("\n{}\n{}", names.join(";"), sha256(&self.body));
        let scope = format!("{}/{}/{}/aws4_request", &self.time[..8], self.region, self.service);
        let text = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{}", self.time, sha256(canonical.as_bytes()));
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [&self.time[..8], &self.region, &self.service, "aws4_request"] {
            key = mac(&key, part.as_bytes());
        }
        hex(&mac(&key, text.as_bytes()))
    }

    /// All headers, `Authorization` with this signature among them.
    pub fn headers_with(&self, signature: &str) -> HeaderMap {
        let mut names = self.signed.clone();
        names.sort();
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{}/{}/{}/aws4_request, SignedHeaders={}, Signature={signature}",
            &self.time[..8],
            self.region,
            self.service,
            names.join(";")
        );
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: http::HeaderName = name.parse().expect("a header name");
            map.append(name, HeaderValue::from_str(value).expect("a header value"));
        }
        map.insert(header::AUTHORIZATION, HeaderValue::from_str(&authorization).expect("a header value"));
        map
    }

    /// All headers, rightly signed.
    pub fn sign(&self) -> HeaderMap {
        self.headers_with(&self.signature(SECRET))
    }
}

fn squeeze(value: &str) -> String {
    value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
