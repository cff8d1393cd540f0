//! `godwit serve`.

use crate::cli::error::CliError;
use crate::cli::{Global, connection, output};
use crate::outside;
use crate::serve::allocator;
use crate::serve::config::{Config, DEFAULT_PORT};
use crate::serve::master::MasterSource;
use crate::serve::remote;
use crate::serve::settings::OnCommandLine;
use crate::serve::{Ready, serve as serve_until_stopped};
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command};
use godwit_control::service::SetIn;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What is logged if nothing else is said.
const DEFAULT_LOG: &str = "info";

const EXAMPLES: &str = "\
The first start creates the data folder and writes DIR/credentials, the keys of
the administrator, readable by you alone. SIGINT or SIGTERM stop the service;
runs that were at work go on at the next start, also after a crash.

Examples:
  godwit serve --data /var/lib/godwit
  godwit serve --data /tmp/try --listen 127.0.0.1:0   # a free port
  godwit serve --data /var/lib/godwit --master-key file:/etc/godwit/master.key
  godwit serve --data /var/lib/godwit --check-config     # all settings, with their values
  godwit serve --data /var/lib/godwit --log godwit_sources=debug,info";

/// Options of `godwit serve`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ServeArgs {
    /// Folder of state, keys and images; created if it is not there
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Address to listen on; port 0 takes a free one. What others can reach is encrypted
    #[arg(long, value_name = "IP:PORT", default_value_t = format!("127.0.0.1:{DEFAULT_PORT}"))]
    listen: String,
    /// Folder for QEMU's scratch files: they take what a guest overwrites during a run [default: DIR/scratch]
    #[arg(long, value_name = "DIR")]
    scratch_dir: Option<PathBuf>,
    /// Where the master key is: a file that you alone can read, or a variable of the environment; 64 hexadecimal
    /// digits or base64 [default: file:DIR/master.key, made at the first start]
    #[arg(long, value_name = "file:PATH|env:NAME")]
    master_key: Option<MasterSource>,
    /// Settings file [default: DIR/godwit.toml if it is there]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check everything, print all settings with their values, and end
    #[arg(long)]
    check_config: bool,
    /// What to log on standard error: a level, or levels of modules
    #[arg(long, value_name = "FILTER", env = "GODWIT_LOG", default_value = DEFAULT_LOG)]
    log: String,
}

/// Serves until it is told to stop.
pub fn serve(args: &ServeArgs, global: &Global, matches: &ArgMatches) -> Result<(), CliError> {
    let region = connection::region_of_option(global)?;
    let (scratch, file) = (args.scratch_dir.as_deref(), args.config.as_deref());
    let mut config = Config::new(&args.data, &args.listen, &region, scratch, file)?;
    config.master = args.master_key.clone().unwrap_or_default();
    config.options = options(args, &config, matches);
    if args.check_config {
        config.master.read().map_err(anyhow::Error::from)?;
        remote::options(&config.settings.store, "").map_err(anyhow::Error::from)?;
        return output::line(config.settings.to_string());
    }
    log_to_stderr(&args.log)?;
    allocator::return_freed_memory();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("the runtime could not be started: {error}")))?;
    let outcome = runtime.block_on(serve_until_stopped(&config, announce));
    // What is left is not needed to end: every step can be repeated.
    runtime.shutdown_background();
    Ok(outcome?)
}

/// What the command line says, as it is told to whoever asks for the settings.
fn options(args: &ServeArgs, config: &Config, matches: &ArgMatches) -> Vec<OnCommandLine> {
    // Named one by one: of a new option somebody decides whether it is told.
    let ServeArgs { data: _, listen: _, scratch_dir: _, master_key, config: _, check_config: _, log } = args;
    let shown = |path: PathBuf| path.display().to_string();
    let in_data = |name: &str| shown(config.data.join(name));
    let own_key = format!("file:{}", in_data("master.key"));
    let master = match master_key {
        None => own_key.clone(),
        Some(_) => "elsewhere".to_owned(),
    };
    let log = if log.is_empty() { DEFAULT_LOG } else { log };
    let all = [
        ("data", shown(config.data.clone()), None),
        ("listen", config.listen.to_string(), Some(format!("127.0.0.1:{DEFAULT_PORT}"))),
        ("scratch_dir", shown(config.scratch.clone()), Some(in_data("scratch"))),
        ("master_key", master, Some(own_key)),
        ("config", shown(config.file.path.clone()), Some(in_data("godwit.toml"))),
        ("log", log.to_owned(), Some(DEFAULT_LOG.to_owned())),
        ("region", config.region.clone(), Some(connection::DEFAULT_REGION.to_owned())),
    ];
    let command = Global::augment_args(ServeArgs::augment_args(Command::new("serve")));
    let told = |(id, value, default): (&str, String, Option<String>)| {
        let arg = command.get_arguments().find(|arg| arg.get_id() == id);
        let about = arg.and_then(|arg| arg.get_help()).map(ToString::to_string).unwrap_or_default();
        // What stands in brackets at the end is told apart.
        let about = about.split(" [").next().unwrap_or_default().to_owned();
        let set_in = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => SetIn::CommandLine,
            Some(ValueSource::EnvVariable) if !(id == "log" && value == DEFAULT_LOG) => SetIn::Environment,
            _ => SetIn::Default,
        };
        OnCommandLine {
            name: format!("--{}", id.replace('_', "-")),
            value,
            default,
            is_hidden: id == "master_key",
            set_in,
            about,
        }
    };
    all.into_iter().map(told).collect()
}

/// Lines that people and scripts read: where it listens and, the first time, where the keys are and how a person comes
/// into the console.
fn announce(ready: Ready<'_>) -> anyhow::Result<()> {
    let scheme = if ready.certificate.is_some() { "https" } else { "http" };
    let mut lines = vec![format!("godwit listening on {scheme}://{}", ready.address)];
    if let Some(certificate) = ready.certificate.filter(|certificate| certificate.is_own) {
        lines.push(format!("own certificate: {}", certificate.file().display()));
        lines.push(format!("its SHA-256 fingerprint: {}", certificate.fingerprint()));
    }
    if let Some(file) = ready.new_credentials {
        lines.push(format!("credentials of the administrator: {}", file.display()));
    }
    if let Some(link) = ready.sign_in_link {
        let (address, link) = (shown(ready.address), link.expose());
        lines.push(format!("first sign-in, once within an hour: {scheme}://{address}/console/#link={link}"));
    }
    // All at once: whoever reads the first line may be gone before the last.
    Ok(output::line(lines.join("\n"))?)
}

/// An address that a browser can be given.
fn shown(address: SocketAddr) -> String {
    match outside::host_name() {
        Some(name) if address.ip().is_unspecified() => format!("{name}:{}", address.port()),
        _ => address.to_string(),
    }
}

fn log_to_stderr(filter: &str) -> Result<(), CliError> {
    // An empty variable counts as absent.
    let filter = if filter.is_empty() { DEFAULT_LOG } else { filter };
    let filter = EnvFilter::try_new(filter)
        .map_err(|error| CliError::usage(format!("'{filter}' is not a log filter: {error}")).next("try --log info"))?;
    let colours = io::stderr().is_terminal() && outside::variable("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colours);
    // Apart from the filter: whatever that says of single modules, this holds.
    tracing_subscriber::registry().with(lines).with(filter).with(filter_fn(holds_no_secret)).init();
    Ok(())
}

/// Below INFO the signing crate tells whole requests, session tokens with them.
fn holds_no_secret(what: &Metadata<'_>) -> bool {
    *what.level() <= Level::INFO || !what.target().starts_with("aws_sigv4")
}
