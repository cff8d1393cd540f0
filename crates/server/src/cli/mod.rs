//! The command line: one file per noun.

mod audit;
mod compare;
mod connection;
mod connectors;
mod documents;
mod error;
mod export;
mod human;
mod images;
mod jobs;
mod keys;
mod limits;
mod nbd;
mod notifications;
mod output;
mod passwords;
mod policies;
mod progress;
mod ranges;
mod roles;
mod runs;
mod scrub;
mod serve;
mod servers;
mod settings;
mod store;
mod store_use;
mod table;
mod users;
mod verify;
mod watch;
mod when;

use crate::cli::connection::Connection;
use crate::cli::error::CliError;
use crate::client::Client;
use crate::serve::{THAW_GUARD, thaw_guard};
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;

/// How the service is reached, and how answers are shown.
#[derive(Args, Debug)]
pub struct Global {
    // clap would take an empty variable for an endpoint and show the value, which may hold a secret, in the help.
    /// Where the service is [env: GODWIT_ENDPOINT=] [default: http://127.0.0.1:8384]
    #[arg(long, global = true, value_name = "URL", help_heading = "Connection")]
    endpoint: Option<String>,
    /// Profile of the credentials and config files [env: AWS_PROFILE=] [default: default]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Connection")]
    profile: Option<String>,
    /// Region that requests are signed for [env: AWS_REGION=] [default: us-east-1]
    #[arg(long, global = true, value_name = "REGION", help_heading = "Connection")]
    region: Option<String>,
    /// Certificates that the service's is checked against, instead of the system's [env: AWS_CA_BUNDLE=]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Connection")]
    ca_certificate: Option<PathBuf>,
    /// Answer in JSON, for scripts
    #[arg(long, global = true)]
    json: bool,
}

const ABOUT: &str = "Moves servers: replicates live virtual machines into verified, bootable images";

const EXAMPLES: &str = "\
Examples:
  godwit serve --data /var/lib/godwit             start the service
  export AWS_SHARED_CREDENTIALS_FILE=/var/lib/godwit/credentials
  godwit connectors add qmp --name rack1 --socket /run/qemu
  godwit servers import                           what is there?
  godwit jobs create --server web01 --every 12h   replicate it, starting now
  godwit runs watch sms-job-1a2b3c4d              see it happen
  godwit images list

Access keys are found as AWS tools find them: AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY, else the profile in AWS_SHARED_CREDENTIALS_FILE or
~/.aws/credentials, else in AWS_CONFIG_FILE or ~/.aws/config. The first
'godwit serve' writes a credentials file. The region is that of AWS_REGION,
AWS_DEFAULT_REGION or the profile. AWS_ENDPOINT_URL_SMS and AWS_ENDPOINT_URL
say where the service is if neither --endpoint nor GODWIT_ENDPOINT does.
An empty variable counts as unset.

Exit status:
  0 success                 3 the service cannot be reached
  1 the operation failed    4 not authorised
  2 wrong usage";

#[derive(Parser, Debug)]
#[command(name = "godwit", version, about = ABOUT, after_help = EXAMPLES, max_term_width = 110)]
#[command(disable_help_subcommand = true, arg_required_else_help = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the service
    Serve(serve::ServeArgs),
    /// VM managers that servers are found at
    #[command(subcommand, visible_alias = "connector")]
    Connectors(connectors::ConnectorsCommand),
    /// The server catalog: what could be replicated
    #[command(subcommand, visible_alias = "server")]
    Servers(servers::ServersCommand),
    /// Replication jobs: which server, how often
    #[command(subcommand, visible_alias = "job")]
    Jobs(jobs::JobsCommand),
    /// Replication runs: each makes an image
    #[command(subcommand, visible_alias = "run")]
    Runs(runs::RunsCommand),
    /// Bootable images that runs made
    #[command(subcommand, visible_alias = "image")]
    Images(images::ImagesCommand),
    /// What was told to whom about jobs and runs
    #[command(subcommand, visible_alias = "notification")]
    Notifications(notifications::NotificationsCommand),
    /// How fast all runs together may read
    #[command(subcommand)]
    Limits(limits::LimitsCommand),
    /// Where packs, snapshots and images are kept
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// What the service works with: its settings file, its command line, its environment
    #[command(subcommand)]
    Settings(settings::SettingsCommand),
    /// The audit trail: who did what
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Who may use the service
    #[command(subcommand, visible_alias = "user")]
    Users(users::UsersCommand),
    /// What users may do
    #[command(subcommand, visible_alias = "policy")]
    Policies(policies::PoliciesCommand),
    /// What jobs run under
    #[command(subcommand, visible_alias = "role")]
    Roles(roles::RolesCommand),
    /// Keys that images are encrypted with
    #[command(subcommand, visible_alias = "key")]
    Keys(keys::KeysCommand),
    /// Print completions for a shell
    #[command(after_help = "Example:\n  godwit completions bash > /etc/bash_completion.d/godwit")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    #[command(name = THAW_GUARD, hide = true)]
    ThawGuard {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let matches = Cli::command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match dispatch(cli, &matches) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.tell(),
    }
}

fn dispatch(cli: Cli, matches: &ArgMatches) -> Result<(), CliError> {
    let global = &cli.global;
    match cli.command {
        // The matches of the command know besides which of its options were given.
        Command::Serve(args) => serve::serve(&args, global, matches.subcommand().map_or(matches, |(_, of)| of)),
        Command::ThawGuard { args } => guard(&args),
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "godwit", &mut text);
            output::line(String::from_utf8_lossy(&text).trim_end())
        }
        Command::Connectors(command) => {
            with_client(global, async |client| connectors::run(command, client, global.json).await)
        }
        Command::Servers(command) => {
            with_client(global, async |client| servers::run(command, client, global.json).await)
        }
        Command::Jobs(command) => with_client(global, async |client| jobs::run(command, client, global.json).await),
        Command::Runs(command) => with_client(global, async |client| runs::run(command, client, global.json).await),
        Command::Audit(audit::AuditCommand::Verify(args)) if args.data.is_some() => {
            runtime()?.block_on(audit::verify_offline(&args, global.json))
        }
        Command::Audit(command) => with_client(global, async |client| audit::run(command, client, global.json).await),
        Command::Users(command) => with_client(global, async |client| users::run(command, client, global.json).await),
        Command::Policies(command) => {
            with_client(global, async |client| policies::run(command, client, global.json).await)
        }
        Command::Roles(command) => with_client(global, async |client| roles::run(command, client, global.json).await),
        Command::Keys(command) => with_client(global, async |client| keys::run(command, client, global.json).await),
        Command::Images(images::ImagesCommand::Verify(args)) if args.is_offline() => {
            runtime()?.block_on(verify::verify_offline(&args, global.json))
        }
        Command::Images(command) => with_client(global, async |client| images::run(command, client, global.json).await),
        Command::Notifications(command) => {
            with_client(global, async |client| notifications::run(command, client, global.json).await)
        }
        Command::Limits(command) => with_client(global, async |client| limits::run(command, client, global.json).await),
        Command::Store(command) => with_client(global, async |client| store::run(command, client, global.json).await),
        Command::Settings(command) => {
            with_client(global, async |client| settings::run(command, client, global.json).await)
        }
    }
}

fn with_client(global: &Global, work: impl AsyncFnOnce(&Client) -> Result<(), CliError>) -> Result<(), CliError> {
    let client = Connection::find(global)?.client()?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(work(&client));
    // Nothing that is left matters: the answer is there.
    runtime.shutdown_background();
    outcome
}

fn guard(args: &[String]) -> Result<(), CliError> {
    let runtime = runtime()?;
    let outcome = runtime.block_on(thaw_guard(args));
    // Standard input may never end.
    runtime.shutdown_background();
    Ok(outcome?)
}

/// One thread is enough for a command.
fn runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::failed(format!("the runtime could not be started: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_names_that_scripts_rely_on_are_there() {
        for line in [
            "godwit connectors add qmp --name NAME --socket /x",
            "godwit images export ami-00000000000000000 --volume 0 --format raw --output f",
            "godwit images export ami-00000000000000000 --volume 0 --format qcow2 --output f --force",
            "godwit images serve ami-00000000000000000",
            "godwit images serve ami-00000000000000000 --volume 1 --socket /run/s --copy-on-write --overlay o",
            "godwit images serve ami-00000000000000000 --listen 127.0.0.1:0 --read-only --json",
            "godwit images verify ami-00000000000000000",
            "godwit images verify ami-00000000000000000 --data d",
            "godwit images verify --all --data d --json",
            "godwit images verify --all --data d --master-key env:KEY",
            "godwit images verify --all --store d --master-key file:/k",
            "godwit runs show sms-run-00000000 --json",
            "godwit --json runs show sms-run-00000000 --endpoint http://127.0.0.1:1",
            "godwit jobs create --server web01 --every 12h",
            "godwit jobs create --server web01 --once --start now --keep 3 --licence byol",
            "godwit jobs create --server web01 --every 12h --keep 270",
            "godwit jobs update sms-job-00000000 --keep 0",
            "godwit jobs update sms-job-00000000 --licence auto",
            "godwit jobs create --server web01 --every 12h --licence auto",
            "godwit jobs create --server w --every 90m --notify a@b.c --notify https://x.y/z --pause-after 5",
            "godwit jobs update sms-job-00000000 --notify-nobody --pause",
            "godwit jobs resume sms-job-00000000",
            "godwit jobs update sms-job-00000000 --cap 20MB/s",
            "godwit jobs create --server web01 --every 12h --cap 160Mbit/s",
            "godwit runs cap sms-run-00000000 5MB/s",
            "godwit runs cap sms-run-00000000 job",
            "godwit connectors update rack1 --cap none",
            "godwit limits show",
            "godwit limits set --cap 100MB/s",
            "godwit jobs forecast sms-job-00000000 --json",
            "godwit jobs resume sms-job-00000000 --start now",
            "godwit notifications list --job sms-job-00000000 --state given-up",
            "godwit notifications test ops@example.org",
            "godwit audit list",
            "godwit audit list --since 7d --until 1h --user ada --action CreateReplicationJob --outcome FAILED --limit 9",
            "godwit audit list --since 2026-01-31T22:00:00Z",
            "godwit audit verify",
            "godwit audit verify --data d --expect 7:0000000000000000000000000000000000000000000000000000000000000000",
            "godwit jobs create --server web01 --every 12h --key alias/payroll",
            "godwit jobs update sms-job-00000000 --key alias/payroll",
            "godwit jobs update sms-job-00000000 --default-key",
            "godwit keys create --alias alias/payroll --description d",
            "godwit keys rotate alias/payroll --json",
            "godwit keys default key-00000000000000000000000000000001",
            "godwit keys alias alias/hr --key alias/payroll",
            "godwit keys alias alias/hr --delete",
            "godwit serve --data d --master-key file:/etc/godwit/master.key",
            "godwit serve --data d --master-key env:GODWIT_MASTER_KEY",
            "godwit serve --data d --listen 127.0.0.1:0",
            "godwit store show",
            "godwit store sweep --plan",
            "godwit store sweep --detach --json",
            "godwit store sweeps",
            "godwit store use",
            "godwit store use --since 400d --until 2026-01-31T22:00:00Z --points 2000 --json",
            "godwit settings list",
            "godwit settings list --changed --json",
            "godwit store scrub",
            "godwit store scrub --detach --json",
            "godwit users set-password ann",
            "godwit users set-password ann --password-stdin",
            "godwit users remove-password ann",
            "godwit users sign-in-link",
            "godwit users sign-in-link ann --ca-certificate f",
            "godwit serve --data d",
        ] {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for line in [
            "godwit jobs create --server web01",
            "godwit jobs create --server web01 --every 12h --once",
            "godwit jobs create --every 12h",
            "godwit jobs create --server w --every 31d",
            "godwit jobs create --server w --every 1h --pause-after 0",
            "godwit jobs update sms-job-00000000 --pause --no-pause",
            "godwit jobs update sms-job-00000000 --notify a@b.c --notify-nobody",
            "godwit jobs create --server w --once --keep 271",
            "godwit jobs create --server w --once --keep -1",
            "godwit jobs update sms-job-00000000",
            "godwit store sweep --plan --detach",
            "godwit store use --points 1",
            "godwit store use --since yesterday",
            "godwit images verify",
            "godwit images verify --all",
            "godwit images verify ami-0 --all --data d",
            "godwit images verify --all --store d",
            "godwit images verify ami-0 --master-key file:/k",
            "godwit images verify --all --data d --store e --master-key file:/k",
            "godwit audit list --since yesterday",
            "godwit audit list --limit 0",
            "godwit audit verify --expect 7",
            "godwit images export ami-0 --volume 0 --format vdi --output f",
            "godwit images serve ami-0 --overlay o",
            "godwit images serve ami-0 --read-only --copy-on-write",
            "godwit images serve ami-0 --listen 127.0.0.1:0 --socket /run/s",
            "godwit images serve ami-0 --listen 10809",
            "godwit jobs update sms-job-00000000 --key alias/a --default-key",
            "godwit keys alias alias/hr",
            "godwit keys alias alias/hr --key alias/a --delete",
            "godwit serve --data d --master-key /etc/godwit/master.key",
            "godwit users set-password",
            "godwit users set-password ann secret",
            "godwit serve",
        ] {
            assert!(Cli::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }
}
