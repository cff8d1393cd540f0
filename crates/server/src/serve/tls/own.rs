//! The service's own certificate: made when there is none, or when it is to have other names.
//!
//! It vouches for itself, so that browsers ask once, and other clients are given the file. It is good for ten years:
//! whoever trusts this very file gains nothing from another one.

use crate::outside;
use crate::serve::folder::{create_private, write_private};
use anyhow::Context;
use godwit_model::time::{Millis, Timestamp};
use jiff::tz::TimeZone;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const LIFE: Millis = Millis::DAY.times(3_650);

/// Clocks of clients may be behind.
const EARLIER: Millis = Millis::DAY;

/// What the certificate is to be for: what people and programs on this machine call it, the address that it listens on,
/// and what the settings say.
pub fn names(settings: &[String], listen: SocketAddr) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if !listen.ip().is_unspecified() {
        names.insert(listen.ip().to_canonical().to_string());
    }
    names.extend(outside::host_name());
    names.extend(settings.iter().cloned());
    names
}

/// Makes sure that there is one for these names. Gives certificate and key.
pub fn ensure(data: &Path, names: &BTreeSet<String>) -> anyhow::Result<(PathBuf, PathBuf)> {
    let folder = data.join("tls");
    create_private(&folder)?;
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    let first_line =
        format!("# Godwit's own certificate for: {}\n", names.iter().cloned().collect::<Vec<_>>().join(", "));
    let is_there =
        std::fs::read_to_string(&certificate).is_ok_and(|text| text.starts_with(&first_line)) && key.is_file();
    if !is_there {
        let (certificate_text, key_text) = make(names, outside::now())?;
        // The key first: a crash between leaves a certificate that is for nothing yet, and the next start makes both.
        let _ = std::fs::remove_file(&certificate);
        write_private(&key, key_text.as_bytes())?;
        write_private(&certificate, format!("{first_line}{certificate_text}").as_bytes())?;
        tracing::info!(file = %certificate.display(), "an own certificate was made");
    }
    Ok((certificate, key))
}

fn make(names: &BTreeSet<String>, now: Timestamp) -> anyhow::Result<(String, Zeroizing<String>)> {
    let key = KeyPair::generate().context("make a key for TLS")?;
    let names: Vec<String> = names.iter().cloned().collect();
    let mut params =
        CertificateParams::new(names).context("make a certificate: a name of [server] names cannot be one")?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Godwit");
    let day = |at: Timestamp| -> anyhow::Result<_> {
        let date = jiff::Timestamp::from_millisecond(at.0).context("read the clock")?.to_zoned(TimeZone::UTC).date();
        Ok(date_time_ymd(date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs()))
    };
    params.not_before = day(now + Millis(-EARLIER.0))?;
    params.not_after = day(now + LIFE)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key).context("make a certificate")?;
    Ok((certificate.pem(), Zeroizing::new(key.serialize_pem())))
}
