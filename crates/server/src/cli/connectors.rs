//! `godwit connectors`.

use crate::cli::error::CliError;
use crate::cli::table::{Field, table};
use crate::cli::{human, limits, output};
use crate::client::{Client, ClientError, all_pages};
use crate::outside;
use clap::Subcommand;
use godwit_api::shapes::godwit::{
    AssociateConnectorRequest, ConnectorDescription, ConnectorType, DescribeConnectorsRequest, UpdateConnectorRequest,
};
use godwit_api::shapes::requests::DisassociateConnectorRequest;
use godwit_model::id::ConnectorId;
use serde_json::json;

/// What to do with connectors.
#[derive(Subcommand, Debug)]
pub enum ConnectorsCommand {
    /// List connectors with their status
    List,
    /// Associate a VM manager
    #[command(subcommand)]
    Add(AddCommand),
    /// Change a connector
    #[command(after_help = UPDATE_EXAMPLES)]
    Update {
        /// Id or name of the connector
        connector: String,
        /// How fast all runs together may read by it
        #[arg(long, value_name = "CAP", value_parser = limits::cap)]
        cap: String,
    },
    /// Disassociate a connector
    #[command(after_help = "Example:\n  godwit connectors remove c-415fef98f4c66c487")]
    Remove {
        /// Id or name of the connector
        connector: String,
    },
}

const UPDATE_EXAMPLES: &str = "\
A cap is a rate (20MB/s, 160Mbit/s), 0 (nothing is read) or none; or hours of
days with a rate each, by the clock of a time zone. It counts at once, also
for runs at work.

Examples:
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
        socket: std::path::PathBuf,
    },
}

/// Does it.
pub async fn run(command: ConnectorsCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        ConnectorsCommand::List => list(client, json).await,
        ConnectorsCommand::Add(AddCommand::Qmp { name, socket }) => {
            // The service may have another working folder.
            let socket = std::path::absolute(&socket)
                .map_err(|error| CliError::usage(format!("'{}' is not a path: {error}", socket.display())))?;
            add(client, json, name, socket.to_string_lossy().into_owned()).await
        }
        ConnectorsCommand::Update { connector, cap } => update(client, json, &connector, cap).await,
        ConnectorsCommand::Remove { connector } => remove(client, json, &connector).await,
    }
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

async fn update(client: &Client, json: bool, connector: &str, cap: String) -> Result<(), CliError> {
    let id = id_of(client, connector).await?;
    let request = UpdateConnectorRequest { connector_id: id.clone(), bandwidth_cap: cap.clone() };
    client.update_connector(&request).await?;
    if json {
        return output::json(&json!({ "connector_id": id, "bandwidth_cap": cap }));
    }
    output::line(format!("All runs by {id} together: {cap}."))
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
