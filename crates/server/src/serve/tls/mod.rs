//! TLS: which certificate is shown, and that a new one is shown without a restart.
//!
//! Either an operator names certificate and key in the settings, or the service makes its own at its first start:
//! [`own`]. The files are looked at every few seconds; when they have changed and are in order, new connections get the
//! new certificate. When they are not in order the old one stays, and the log says so: whoever replaces two files one
//! after the other is not punished for the moment between.

mod own;

use crate::serve::folder::refuse_open;
use crate::serve::settings::{Server, Tls};
use anyhow::{Context, bail};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, sign::any_supported_type};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Certificate and key, and what browsers are shown of them.
pub struct Certificate {
    files: Files,
    shown: Arc<Shown>,
    /// Whether the service made it.
    pub is_own: bool,
}

/// Where certificate and key are.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

/// What tells that a file was changed.
type Version = [Option<(SystemTime, u64)>; 2];

#[derive(Debug)]
struct Shown(RwLock<Arc<CertifiedKey>>);

impl Shown {
    fn now(&self) -> Arc<CertifiedKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.now())
    }
}

impl Certificate {
    /// What the settings say for this address: no TLS, given files, or an own certificate in `folder`, made if it is not
    /// there.
    pub fn open(settings: &Server, listen: SocketAddr, folder: &Path) -> anyhow::Result<Option<Certificate>> {
        let is_wanted = match settings.tls {
            Tls::On => true,
            Tls::Off => false,
            Tls::Auto => settings.certificate.is_some() || !listen.ip().is_loopback(),
        };
        if !is_wanted {
            return Ok(None);
        }
        let (files, is_own) = match (&settings.certificate, &settings.key) {
            (Some(certificate), Some(key)) => (Files { certificate: certificate.clone(), key: key.clone() }, false),
            _ => {
                let (certificate, key) = own::ensure(folder, &own::names(&settings.names, listen))?;
                (Files { certificate, key }, true)
            }
        };
        let key = files.read()?;
        Ok(Some(Certificate { files, shown: Arc::new(Shown(RwLock::new(Arc::new(key)))), is_own }))
    }

    /// What makes encrypted connections of plain ones.
    pub fn acceptor(&self) -> anyhow::Result<TlsAcceptor> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .context("prepare TLS")?
            .with_no_client_auth()
            .with_cert_resolver(self.shown.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// What people compare: the SHA-256 of the certificate that is shown now.
    pub fn fingerprint(&self) -> String {
        let key = self.shown.now();
        let bytes = key.cert.first().map(|certificate| certificate.as_ref()).unwrap_or_default();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
    }

    /// Where the certificate is.
    pub fn file(&self) -> &Path {
        &self.files.certificate
    }

    /// Shows what is in the files, whenever they change, until it is told to stop.
    pub async fn keep_fresh(self: Arc<Self>, stop: CancellationToken) {
        let mut seen = self.files.version();
        while stop.run_until_cancelled(sleep(LOOK_EVERY)).await.is_some() {
            self.look(&mut seen);
        }
    }

    /// Whether the files are others than those of the last look, and what follows.
    fn look(&self, seen: &mut Version) {
        let version = self.files.version();
        if version == *seen {
            return;
        }
        *seen = version;
        match self.files.read() {
            Ok(key) => {
                *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
                tracing::info!(file = %self.file().display(), fingerprint = self.fingerprint(), "new certificate");
            }
            Err(error) => tracing::warn!("the new certificate is not taken, the old one is shown on: {error:#}"),
        }
    }
}

impl Files {
    fn version(&self) -> Version {
        let of = |path: &Path| {
            let metadata = path.metadata().ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        [of(&self.certificate), of(&self.key)]
    }

    /// Certificate and key, which belong together.
    fn read(&self) -> anyhow::Result<CertifiedKey> {
        let shown = self.certificate.display();
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&self.certificate)
            .with_context(|| format!("read the certificate {shown}"))?
            .collect();
        let chain = chain.with_context(|| format!("read the certificate {shown}"))?;
        if chain.is_empty() {
            bail!("{shown} holds no certificate: give a PEM file with BEGIN CERTIFICATE, the server's own one first");
        }
        // A warning only: a key may be shared with other services of this machine through a group.
        if let Err(error) = refuse_open(&self.key) {
            tracing::warn!("{error}; next: {}", error.next_step());
        }
        let shown_key = self.key.display();
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|_| anyhow::anyhow!("{shown_key} holds no private key: give a PEM file with BEGIN PRIVATE KEY"))?;
        // What the cryptography says about a key is not repeated.
        let key = any_supported_type(&key).map_err(|_| {
            anyhow::anyhow!("the private key in {shown_key} is of a kind that is not known: RSA, ECDSA and Ed25519 are")
        })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(certified),
            Err(_) => bail!("the private key in {shown_key} is not that of the certificate in {shown}"),
        }
    }
}

/// The one cryptography of this program.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const ELSEWHERE: &str = "192.0.2.7:8384";
    const HERE: &str = "127.0.0.1:8384";

    fn open(settings: &Server, listen: &str, folder: &Path) -> Option<Certificate> {
        Certificate::open(settings, listen.parse().unwrap(), folder).unwrap()
    }

    #[test]
    fn who_can_be_reached_from_elsewhere_is_encrypted() {
        let folder = tempfile::tempdir().unwrap();
        let settings = Server::default();
        assert!(open(&settings, HERE, folder.path()).is_none());
        let made = open(&settings, ELSEWHERE, folder.path()).unwrap();
        assert!(made.is_own);
        let mode = made.files.key.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "the key is for us alone");
        let again = open(&settings, ELSEWHERE, folder.path()).unwrap();
        assert_eq!(again.fingerprint(), made.fingerprint(), "made once");
        assert!(open(&Server { tls: Tls::On, ..settings.clone() }, HERE, folder.path()).is_some());
        assert!(open(&Server { tls: Tls::Off, ..settings }, HERE, folder.path()).is_none());
    }

    #[test]
    fn other_names_need_another_certificate() {
        let folder = tempfile::tempdir().unwrap();
        let of = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            open(&Server { names, ..Server::default() }, ELSEWHERE, folder.path()).unwrap().fingerprint()
        };
        let first = of(&["godwit.example.org"]);
        assert_eq!(of(&["godwit.example.org"]), first);
        assert_ne!(of(&["other.example.org"]), first);
    }

    #[test]
    fn files_that_change_are_taken_when_they_are_in_order() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let shown = open(&Server::default(), ELSEWHERE, folder.path()).unwrap();
        let next = open(&Server::default(), ELSEWHERE, other.path()).unwrap();
        let (before, mut seen) = (shown.fingerprint(), shown.files.version());
        fs::write(&shown.files.certificate, fs::read(&next.files.certificate).unwrap()).unwrap();
        let first_line = "# touched\n".repeat(3);
        let longer = [first_line.as_bytes(), &fs::read(&next.files.certificate).unwrap()].concat();
        fs::write(&shown.files.certificate, longer).unwrap();
        shown.look(&mut seen);
        assert_eq!(shown.fingerprint(), before, "the key is not that of the certificate yet");
        let key = [first_line.as_bytes(), &fs::read(&next.files.key).unwrap()].concat();
        fs::write(&shown.files.key, key).unwrap();
        shown.look(&mut seen);
        assert_eq!(shown.fingerprint(), next.fingerprint());
    }

    #[test]
    fn what_is_wrong_with_given_files_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let made = open(&Server::default(), ELSEWHERE, folder.path()).unwrap();
        let refused = |certificate: &Path, key: &Path| {
            let settings =
                Server { certificate: Some(certificate.to_owned()), key: Some(key.to_owned()), ..Server::default() };
            let error = Certificate::open(&settings, HERE.parse().unwrap(), folder.path()).err().expect("refused");
            format!("{error:#}")
        };
        let said = refused(&path("none.pem"), &made.files.key);
        assert!(said.contains("read the certificate") && said.contains("none.pem"), "{said}");
        fs::write(path("empty.pem"), "").unwrap();
        let said = refused(&path("empty.pem"), &made.files.key);
        assert!(said.contains("holds no certificate"), "{said}");
        fs::write(path("key.pem"), "secret words").unwrap();
        fs::set_permissions(path("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
        let said = refused(&made.files.certificate, &path("key.pem"));
        assert!(said.contains("holds no private key") && !said.contains("secret words"), "{said}");
    }
}
