//! `godwit connectors`.

use crate::cli::error::CliError;
use crate::cli::table::{Field, facts, table};
use crate::cli::{human, limits, output};
use crate::client::{Client, ClientError, all_pages};
use crate::outside;
use clap::{ArgGroup, Subcommand};
use godwit_api::shapes::godwit::{
    AssociateConnectorRequest, ConnectorDescription, ConnectorType, DescribeConnectorsRequest, TestConnectorRequest,
    TestConnectorResponse, UpdateConnectorRequest,
};
use godwit_api::shapes::requests::DisassociateConnectorRequest;
use godwit_model::id::ConnectorId;
use serde_json::json;
use std::path::{Path, PathBuf};

/// What to do with connectors.
#[derive(Subcommand, Debug)]
pub enum ConnectorsCommand {
    /// List connectors with their status
    List,
    /// Associate a VM manager
    #[command(subcommand)]
    Add(AddCommand),
    /// Ask a VM manager who it is and what it offers; associates nothing
    #[command(after_help = TEST_EXAMPLES)]
    Test {
        /// QMP socket, or a folder of them, on the service's machine
        #[arg(long, value_name = "PATH-OR-FOLDER")]
        socket: PathBuf,
    },
    /// Change a connector: its name, its socket, its cap
    #[command(after_help = UPDATE_EXAMPLES)]
    #[command(group = ArgGroup::new("change").required(true).multiple(true).args(["name", "socket", "cap"]))]
    Update {
        /// Id or name of the connector
        connector: String,
        /// What you call it from now on
        #[arg(long)]
        name: Option<String>,
        /// Another way to the same VM manager, on the service's machine; only while no run uses the connector
        #[arg(long, value_name = "PATH-OR-FOLDER")]
        socket: Option<PathBuf>,
        /// How fast all runs together may read by it
        #[arg(long, value_name = "CAP", value_parser = limits::cap)]
        cap: Option<String>,
    },
    /// Disassociate a connector
    #[command(after_help = "Example:\n  godwit connectors remove c-415fef98f4c66c487")]
    Remove {
        /// Id or name of the connector
        connector: String,
    },
}

const TEST_EXAMPLES: &str = "\
What keeps it from answering is told as 'connectors add' tells it. Nothing is
changed, neither here nor there.

Examples:
  godwit connectors test --socket /run/qemu
  godwit connectors test --socket /run/qemu/web01.qmp --json";

const UPDATE_EXAMPLES: &str = "\
A new socket is asked who it is first: it must lead to the same VM manager, for
another one has other servers. It is changed only while no run uses the
connector; name and cap can be changed at any time.

A cap is a rate (20MB/s, 160Mbit/s), 0 (nothing is read) or none; or hours of
days with a rate each, by the clock of a time zone. It counts at once, also
for runs at work.

Examples:
  godwit connectors update rack1 --name rack-1
  godwit connectors update rack1 --socket /srv/qemu
  godwit connectors update rack1 --cap 50MB/s
  godwit connectors update rack1 --cap 'Mon-Fri 08:00-18:00 0; otherwise none; in Europe/Berlin'";

const QMP_EXAMPLES: &str = "\
A folder stands for all QMP sockets in it, also those that appear later.
The service must be able to open them.

Examples:
  godwit connectors add qmp --name rack1 --socket /run/qemu
  godwit connectors add qmp --name web01 --socket /run/qemu/web01.qmp";

/// Kinds of connectors.
#[derive(Subcommand, Debug)]
pub enum AddCommand {
    /// QEMU guests and storage daemons, by their QMP sockets
    #[command(after_help = QMP_EXAMPLES)]
    Qmp {
        /// What you call it
        #[arg(long)]
        name: String,
        /// QMP socket, or a folder of them, on the service's machine
        #[arg(long, value_name = "PATH-OR-FOLDER")]
        socket: PathBuf,
    },
}

/// What is to change of a connector.
struct Changes {
    name: Option<String>,
    socket: Option<PathBuf>,
    cap: Option<String>,
}

/// Does it.
pub async fn run(command: ConnectorsCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        ConnectorsCommand::List => list(client, json).await,
        ConnectorsCommand::Add(AddCommand::Qmp { name, socket }) => add(client, json, name, absolute(&socket)?).await,
        ConnectorsCommand::Test { socket } => test(client, json, absolute(&socket)?).await,
        ConnectorsCommand::Update { connector, name, socket, cap } => {
            update(client, json, &connector, Changes { name, socket, cap }).await
        }
        ConnectorsCommand::Remove { connector } => remove(client, json, &connector).await,
    }
}

/// The path as the service is to take it: that may have another working folder.
fn absolute(path: &Path) -> Result<String, CliError> {
    let whole = std::path::absolute(path)
        .map_err(|error| CliError::usage(format!("'{}' is not a path: {error}", path.display())))?;
    Ok(whole.to_string_lossy().into_owned())
}

/// All connectors.
pub async fn all(client: &Client) -> Result<Vec<ConnectorDescription>, ClientError> {
    all_pages(|next_token| async {
        let request = DescribeConnectorsRequest { next_token, ..DescribeConnectorsRequest::default() };
        let answer = client.describe_connectors(&request).await?;
        Ok((answer.connectors, answer.next_token))
    })
    .await
}

async fn list(client: &Client, json: bool) -> Result<(), CliError> {
    let connectors = all(client).await?;
    if json {
        return output::json(&connectors);
    }
    if connectors.is_empty() {
        return output::line(
            "No connectors yet. Add one: godwit connectors add qmp --name NAME --socket PATH-OR-FOLDER",
        );
    }
    let now = outside::now();
    let rows = connectors.iter().map(|c| {
        [
            c.connector_id.as_str().into(),
            c.name.as_str().into(),
            Field::state(c.status.as_str()),
            c.socket.as_str().into(),
            c.manager_version.as_str().into(),
            c.bandwidth_cap.as_deref().unwrap_or("none").into(),
            human::ago(c.last_contact_on.into(), now).into(),
        ]
    });
    let header = ["connector", "name", "status", "socket", "version", "cap", "last contact"];
    table(header, &["last contact", "version", "cap"], &rows.collect::<Vec<_>>())?;
    for connector in &connectors {
        if let Some(reason) = &connector.status_reason {
            output::line(format!("\n{} ({}): {reason}", connector.name, connector.connector_id))?;
        }
    }
    Ok(())
}

async fn add(client: &Client, json: bool, name: String, socket: String) -> Result<(), CliError> {
    let request = AssociateConnectorRequest { name: name.clone(), r#type: ConnectorType::Qmp, socket };
    let id = client.associate_connector(&request).await?.connector_id;
    if json {
        return output::json(&json!({ "connector_id": id }));
    }
    output::line(format!("Associated {name} as {id}. See what it offers: godwit servers import"))
}

async fn test(client: &Client, json: bool, socket: String) -> Result<(), CliError> {
    let found = client.test_connector(&TestConnectorRequest { r#type: ConnectorType::Qmp, socket }).await?;
    for warning in &found.warnings {
        output::aside(format!("{} {warning}", output::paint_aside("warning:", output::Tone::Warning)));
    }
    if json {
        return output::json(&found);
    }
    let associated = match (&found.connector_id, &found.connector_name) {
        (Some(id), Some(name)) => format!("already, as {name} ({id})"),
        _ => "not yet".to_owned(),
    };
    let version = Some(found.manager_version.as_str()).filter(|version| !version.is_empty()).unwrap_or("–");
    facts(&[
        (
            "vm manager",
            Field::from(format!("{} ({})", found.manager_name, found.manager_id)).tone(output::Tone::Strong),
        ),
        ("version", version.into()),
        ("servers", servers(&found).into()),
        ("associated", associated.into()),
    ])
}

/// How many servers were found, and what the first are called.
fn servers(found: &TestConnectorResponse) -> String {
    let (count, named) = (found.servers, found.server_names.len() as u64);
    match (found.server_names.join(", "), count.saturating_sub(named)) {
        (names, _) if names.is_empty() => count.to_string(),
        (names, 0) => format!("{count}: {names}"),
        (names, more) => format!("{count}: {names} and {more} more"),
    }
}

async fn update(client: &Client, json: bool, connector: &str, changes: Changes) -> Result<(), CliError> {
    let socket = changes.socket.as_deref().map(absolute).transpose()?;
    let id = id_of(client, connector).await?;
    let request =
        UpdateConnectorRequest { connector_id: id.clone(), name: changes.name, socket, bandwidth_cap: changes.cap };
    client.update_connector(&request).await?;
    if json {
        return output::json(&request);
    }
    if let Some(name) = &request.name {
        output::line(format!("{id} is called {} now.", name.trim()))?;
    }
    if let Some(socket) = &request.socket {
        output::line(format!("{id} is reached through {socket} now."))?;
    }
    if let Some(cap) = &request.bandwidth_cap {
        output::line(format!("All runs by {id} together: {cap}."))?;
    }
    Ok(())
}

async fn id_of(client: &Client, connector: &str) -> Result<String, CliError> {
    match connector.parse::<ConnectorId>() {
        Ok(id) => Ok(id.to_string()),
        Err(_) => by_name(client, connector).await,
    }
}

async fn remove(client: &Client, json: bool, connector: &str) -> Result<(), CliError> {
    let id = id_of(client, connector).await?;
    client.disassociate_connector(&DisassociateConnectorRequest { connector_id: id.clone() }).await?;
    if json {
        return output::json(&json!({ "connector_id": id }));
    }
    output::line(format!("Disassociated {id}."))
}

async fn by_name(client: &Client, name: &str) -> Result<String, CliError> {
    let mut found = all(client).await?.into_iter().filter(|c| c.name == name).map(|c| c.connector_id);
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (None, _) => Err(CliError::failed(format!("there is no connector named '{name}'"))
            .next("see which there are: godwit connectors list")),
        (Some(first), Some(second)) => {
            Err(CliError::failed(format!("several connectors are named '{name}': {first}, {second} …"))
                .next("give an id"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_servers_are_named_and_the_rest_counted() {
        let found = |servers, names: &[&str]| TestConnectorResponse {
            manager_id: "m".into(),
            manager_name: "/run/qemu".into(),
            manager_version: String::new(),
            servers,
            server_names: names.iter().map(|name| (*name).to_owned()).collect(),
            warnings: vec![],
            connector_id: None,
            connector_name: None,
        };
        assert_eq!(servers(&found(0, &[])), "0");
        assert_eq!(servers(&found(2, &["a", "b"])), "2: a, b");
        assert_eq!(servers(&found(12, &["a", "b"])), "12: a, b and 10 more");
    }
}
