//! `godwit servers`.

use crate::cli::connectors;
use crate::cli::error::CliError;
use crate::cli::progress::{Progress, Step};
use crate::cli::table::{Field, table};
use crate::cli::{human, output};
use crate::client::{Client, ClientError, all_pages};
use crate::outside;
use clap::{ArgAction, Subcommand};
use godwit_api::shapes::enums::ServerCatalogStatus;
use godwit_api::shapes::godwit::{CatalogImport, DescribeServersRequest, ServerDescription};
use godwit_api::shapes::requests::{DeleteServerCatalogRequest, ImportServerCatalogRequest};
use serde_json::json;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two looks at an import.
const LOOK: Duration = Duration::from_millis(300);
/// An import has a bound in the service; this one is beyond it.
const IMPORT_BOUND: Duration = Duration::from_secs(180);

/// What to do with the catalog.
#[derive(Subcommand, Debug)]
pub enum ServersCommand {
    /// List the servers of the catalog
    List {
        /// Those, too, that the last imports missed at their VM managers
        #[arg(long)]
        all: bool,
    },
    /// Ask all connectors what servers there are; known ones keep their ids
    Import {
        /// Wait until it is done (the default)
        #[arg(long, overrides_with = "no_wait", action = ArgAction::SetTrue)]
        wait: bool,
        /// Come back at once
        #[arg(long)]
        no_wait: bool,
    },
    /// Empty the catalog; jobs go on
    Clear,
}

/// The catalog.
pub struct Catalog {
    /// Its servers, those that vanished too.
    pub servers: Vec<ServerDescription>,
    /// Its status.
    pub status: Option<ServerCatalogStatus>,
}

/// Does it.
pub async fn run(command: ServersCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        ServersCommand::List { all } => list(client, json, all).await,
        ServersCommand::Import { wait: _, no_wait } => import(client, json, !no_wait).await,
        ServersCommand::Clear => {
            client.delete_server_catalog(&DeleteServerCatalogRequest {}).await?;
            if json {
                return output::json(&json!({}));
            }
            output::line("The catalog is empty. Fill it again: godwit servers import")
        }
    }
}

/// The whole catalog.
pub async fn catalog(client: &Client) -> Result<Catalog, ClientError> {
    let status = Cell::new(None);
    let servers = all_pages(|next_token| async {
        let request = DescribeServersRequest { next_token, ..DescribeServersRequest::default() };
        let answer = client.describe_servers(&request).await?;
        status.set(Some(answer.server_catalog_status));
        Ok((answer.servers, answer.next_token))
    })
    .await?;
    Ok(Catalog { servers, status: status.get() })
}

/// The id of a server that was named by its id or by its name.
pub async fn id_of(client: &Client, server: &str) -> Result<String, CliError> {
    let is_id = server.parse::<godwit_model::id::ServerId>().is_ok();
    if is_id {
        return Ok(server.to_owned());
    }
    let catalog = catalog(client).await?;
    let (there, gone): (Vec<_>, Vec<_>) =
        catalog.servers.into_iter().filter(|s| s.name == server).partition(|s| s.missing_since.is_none());
    match (there.as_slice(), gone.first()) {
        ([only], _) => Ok(only.server_id.clone()),
        ([], Some(gone)) => {
            let when = gone.missing_since.map_or_else(String::new, |at| human::ago(at.into(), outside::now()));
            Err(CliError::failed(format!("the server '{server}' vanished from {}, {when}", gone.manager_name))
                .next("start it at its VM manager, then: godwit servers import"))
        }
        ([], None) => Err(CliError::failed(format!("the catalog has no server named '{server}'"))
            .next("see which there are: godwit servers list; look again at the sources: godwit servers import")),
        (several, _) => {
            let ids: Vec<_> = several.iter().map(|s| s.server_id.as_str()).collect();
            Err(CliError::failed(format!("several servers are named '{server}': {}", ids.join(", ")))
                .next("give the id"))
        }
    }
}

async fn list(client: &Client, json: bool, all: bool) -> Result<(), CliError> {
    let mut catalog = catalog(client).await?;
    catalog.servers.retain(|server| all || server.missing_since.is_none());
    if json {
        return output::json(&catalog.servers);
    }
    if catalog.servers.is_empty() {
        return output::line(empty(client, catalog.status).await?);
    }
    let rows: Vec<_> = catalog.servers.iter().map(row).collect();
    table(["server", "name", "platform", "disks", "vm manager", "path", "job"], &["path", "vm manager", "disks"], &rows)
}

fn row(server: &ServerDescription) -> [Field; 7] {
    let now = outside::now();
    let job = match (&server.replication_job_id, server.replication_job_terminated) {
        (Some(job), Some(true)) => Field::from(format!("{job} (ended)")).tone(output::Tone::Faint),
        (Some(job), _) => Field::from(job.as_str()),
        (None, _) => "–".into(),
    };
    let name = match server.missing_since {
        Some(at) => {
            Field::from(format!("{} (gone {})", server.name, human::ago(at.into(), now))).tone(output::Tone::Faint)
        }
        None => server.name.as_str().into(),
    };
    let platform = server.platform.as_deref().map_or_else(|| "–".to_owned(), human::state);
    let sizes: Vec<_> = server.volumes.iter().map(|volume| human::size(volume.size)).collect();
    [
        server.server_id.as_str().into(),
        name,
        platform.into(),
        sizes.join(" + ").into(),
        server.manager_name.as_str().into(),
        server.path.as_str().into(),
        job,
    ]
}

/// What to do if there are no servers.
async fn empty(client: &Client, status: Option<ServerCatalogStatus>) -> Result<&'static str, CliError> {
    if connectors::all(client).await?.is_empty() {
        return Ok(
            "No servers: there is no connector to find them. Add one: godwit connectors add qmp --name NAME --socket PATH-OR-FOLDER",
        );
    }
    Ok(match status {
        Some(ServerCatalogStatus::Importing) => "An import is under way. Look again in a moment.",
        Some(ServerCatalogStatus::Available) => {
            "The connectors offer no servers. Start one at its VM manager, then: godwit servers import"
        }
        Some(ServerCatalogStatus::Expired) => {
            "The catalog is too old to rely on and has expired. Look again at the sources: godwit servers import"
        }
        _ => "The catalog is empty. Fill it: godwit servers import",
    })
}

async fn import(client: &Client, json: bool, wait: bool) -> Result<(), CliError> {
    client.import_server_catalog(&ImportServerCatalogRequest {}).await?;
    if !wait {
        if json {
            return output::json(&json!({ "server_catalog_status": "IMPORTING" }));
        }
        return output::line("The import has begun. See the result: godwit servers list");
    }
    let mut progress = Progress::new();
    let since = Instant::now();
    let (status, import) = loop {
        // One server is enough to learn the status.
        let request = DescribeServersRequest { max_results: Some(1), ..DescribeServersRequest::default() };
        let answer = client.describe_servers(&request).await?;
        match answer.server_catalog_status {
            ServerCatalogStatus::Importing if since.elapsed() < IMPORT_BOUND => {
                progress.show(&step(answer.catalog_import.as_ref()));
            }
            status => break (status, answer.catalog_import),
        }
        sleep(LOOK).await;
    };
    progress.end();
    for failure in import.iter().flat_map(|import| &import.failures) {
        let warning = output::paint_aside("warning:", output::Tone::Warning);
        output::aside(format!("{warning} {}: {}", failure.connector_name, failure.reason));
    }
    verdict(status, import.as_ref())?;
    imported(client, json, import.as_ref()).await
}

/// Where an import is: by the connectors that were heard of.
fn step(import: Option<&CatalogImport>) -> Step {
    let Some(import) = import.filter(|import| import.connectors > 0) else { return Step::named("Importing") };
    let heard = import.answered + import.failed;
    let servers = human::count(usize::try_from(import.servers).unwrap_or(usize::MAX), "server");
    Step {
        subject: format!("{heard} of {} connectors, {servers}", import.connectors),
        percent: Some(100.0 * heard as f64 / import.connectors as f64),
        ..Step::named("Importing")
    }
}

/// Whether an import brought anything.
fn verdict(status: ServerCatalogStatus, import: Option<&CatalogImport>) -> Result<(), CliError> {
    match (status, import) {
        (ServerCatalogStatus::Importing, _) => {
            Err(CliError::failed("the import is still under way").next("look again later: godwit servers list"))
        }
        (_, Some(import)) if import.answered == 0 => {
            Err(CliError::failed("no connector answered: the catalog is as it was before")
                .next("see why: godwit connectors list"))
        }
        (ServerCatalogStatus::Available, _) => Ok(()),
        _ => Err(CliError::failed("the catalog was cleared while it was imported")
            .next("import it again: godwit servers import")),
    }
}

async fn imported(client: &Client, json: bool, import: Option<&CatalogImport>) -> Result<(), CliError> {
    let mut catalog = catalog(client).await?;
    catalog.servers.retain(|server| server.missing_since.is_none());
    if json {
        return output::json(&catalog.servers);
    }
    let from = match import {
        Some(import) if import.failed > 0 => format!(" from {} of {} connectors", import.answered, import.connectors),
        _ => String::new(),
    };
    let next =
        if catalog.servers.is_empty() { "" } else { ". Replicate one: godwit jobs create --server NAME --every 12h" };
    output::line(format!("{} in the catalog{from}{next}", human::count(catalog.servers.len(), "server")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::error::Exit;
    use godwit_model::time::Timestamp;

    fn import(connectors: u64, answered: u64, failed: u64) -> CatalogImport {
        CatalogImport {
            began_on: Timestamp(0).into(),
            ended_on: None,
            connectors,
            answered,
            failed,
            failures: vec![],
            servers: 12,
        }
    }

    #[test]
    fn the_bar_shows_how_many_connectors_were_heard_of() {
        let at = step(Some(&import(5, 2, 1)));
        assert_eq!((at.subject.as_str(), at.percent), ("3 of 5 connectors, 12 servers", Some(60.0)));
        for import in [None, Some(import(0, 0, 0))] {
            assert_eq!(step(import.as_ref()), Step::named("Importing"));
        }
    }

    #[test]
    fn an_import_fails_if_nobody_answered_if_it_was_cleared_or_if_it_takes_too_long() {
        use ServerCatalogStatus::{Available, Deleted, Importing};
        let (some, none) = (import(2, 1, 1), import(2, 0, 2));
        for (status, import, words) in [
            (Available, Some(&some), None),
            // Another process of the service has seen it.
            (Available, None, None),
            (Available, Some(&none), Some("no connector answered")),
            (Deleted, None, Some("cleared")),
            (Importing, Some(&some), Some("still under way")),
        ] {
            let error = verdict(status, import).err();
            assert_eq!(error.is_some(), words.is_some(), "{status:?}");
            if let (Some(error), Some(words)) = (error, words) {
                assert!(
                    error.what.contains(words) && error.exit == Exit::Failed && error.next.is_some(),
                    "{}",
                    error.what
                );
            }
        }
    }
}
