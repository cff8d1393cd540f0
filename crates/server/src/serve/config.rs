//! What `godwit serve` was asked for, checked. Nothing is created or bound here.

use crate::serve::master::MasterSource;
use crate::serve::settings::{OnCommandLine, Settings, SettingsError, SettingsFile, Tls};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Where the service listens if nothing else is said, and where the command line looks for it.
pub const DEFAULT_PORT: u16 = 8384;

/// A checked configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The data folder, absolute.
    pub data: PathBuf,
    /// Address to listen on: loopback, unless connections are encrypted.
    pub listen: SocketAddr,
    /// Region written beside the administrator's keys.
    pub region: String,
    /// Folder for QEMU's scratch files, absolute.
    pub scratch: PathBuf,
    /// Where the master key comes from.
    pub master: MasterSource,
    /// What the settings file says.
    pub settings: Settings,
    /// Where that was read from.
    pub file: SettingsFile,
    /// What the command line says, for whoever asks.
    pub options: Vec<OnCommandLine>,
}

/// Why a configuration is refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not an address.
    #[error("'{0}' is not an address to listen on: expected IP:PORT, for example 127.0.0.1:{DEFAULT_PORT}")]
    NotAnAddress(String),
    /// An address that others can reach.
    #[error(
        "refused to listen on {0}: without TLS, keys, passwords and disks would cross the network readable by anybody, \
         and the settings say [server] tls = \"off\""
    )]
    NotLoopback(SocketAddr),
    /// A path that cannot be made absolute.
    #[error("'{}' is not a usable folder: {reason}", path.display())]
    Folder {
        /// As given.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The settings file is not in order.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl ConfigError {
    /// What to do about it.
    pub fn next_step(&self) -> String {
        match self {
            ConfigError::NotAnAddress(_) => format!("give --listen 127.0.0.1:{DEFAULT_PORT}, or leave it out"),
            ConfigError::NotLoopback(address) => format!(
                "give --listen 127.0.0.1:{}, or leave [server] tls out of the settings: then an own certificate is made",
                address.port()
            ),
            ConfigError::Folder { .. } => "give another path".to_owned(),
            ConfigError::Settings(error) => error.next_step().to_owned(),
        }
    }
}

impl Config {
    /// Checks what was asked for. `file` is the settings file, if another than the data folder's is named.
    pub fn new(
        data: &Path,
        listen: &str,
        region: &str,
        scratch: Option<&Path>,
        file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let listen = address(listen)?;
        let data = absolute(data)?;
        let file = file.map(absolute).transpose()?;
        let scratch = scratch.map_or_else(|| Ok(data.join("scratch")), absolute)?;
        let (settings, file) = Settings::read(file.as_deref(), &data)?;
        if !listen.ip().is_loopback() && settings.server.tls == Tls::Off {
            return Err(ConfigError::NotLoopback(listen));
        }
        let (region, master, options) = (region.to_owned(), MasterSource::default(), Vec::new());
        Ok(Self { data, listen, region, scratch, master, settings, file, options })
    }
}

fn address(text: &str) -> Result<SocketAddr, ConfigError> {
    let refused = || ConfigError::NotAnAddress(text.to_owned());
    if let Some(port) = text.strip_prefix("localhost:") {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.parse().map_err(|_| refused())?));
    }
    text.parse().map_err(|_| refused())
}

fn absolute(path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|error| ConfigError::Folder { path: path.to_owned(), reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(text: &str) -> Result<SocketAddr, ConfigError> {
        Config::new(Path::new("/data"), text, "us-east-1", None, None).map(|config| config.listen)
    }

    #[test]
    fn loopback_in_all_its_forms_is_taken() {
        for text in ["127.0.0.1:0", "127.0.0.1:8384", "127.8.8.8:1", "[::1]:8384", "localhost:8384"] {
            assert!(listen(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_others_can_reach_is_refused_without_tls() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("godwit.toml");
        let listen_with = |settings: &str, text: &str| {
            std::fs::write(&file, settings).unwrap();
            Config::new(folder.path(), text, "us-east-1", None, None).map(|config| config.listen)
        };
        for text in ["0.0.0.0:8384", "192.168.1.1:80", "[::]:8384", "10.0.0.1:0", "[::ffff:10.0.0.1]:80"] {
            let refused = listen_with("[server]\ntls = 'off'", text);
            assert!(matches!(refused, Err(ConfigError::NotLoopback(_))), "{text}");
            assert!(listen_with("", text).is_ok(), "{text}: with an own certificate");
        }
        assert!(listen_with("[server]\ntls = 'off'", "127.0.0.1:0").is_ok());
    }

    #[test]
    fn what_is_no_address_is_told() {
        for text in ["", "8384", "127.0.0.1", "example.org:80", "localhost", "localhost:99999", "127.0.0.1:x"] {
            let error = listen(text).unwrap_err();
            assert!(error.to_string().contains("expected IP:PORT"), "{text}: {error}");
        }
    }

    #[test]
    fn folders_are_absolute_and_scratch_is_in_the_data_folder() {
        let config = Config::new(Path::new("x"), "127.0.0.1:0", "us-east-1", None, None).unwrap();
        assert!(config.data.is_absolute());
        assert_eq!(config.scratch, config.data.join("scratch"));
        let config = Config::new(Path::new("/d"), "127.0.0.1:0", "us-east-1", Some(Path::new("/s")), None).unwrap();
        assert_eq!(config.scratch, Path::new("/s"));
    }
}
