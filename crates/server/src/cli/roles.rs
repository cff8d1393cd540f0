//! `godwit roles`.

use crate::cli::error::CliError;
use crate::cli::table::table;
use crate::cli::users::done;
use crate::cli::{documents, human, output};
use crate::client::{Client, all_pages};
use crate::outside;
use clap::Subcommand;
use godwit_api::shapes::godwit::{CreateRoleRequest, DescribeRolesRequest, RoleRequest, UpdateRoleRequest};
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
What runs need: godwit:ReadSource, godwit:WriteStore, godwit:RegisterImage, and
godwit:UseKey for jobs with a named key.

Examples:
  godwit roles create mover --document mover.json
  godwit jobs create --server web01 --every 12h --role mover";

/// What to do with roles.
#[derive(Subcommand, Debug)]
pub enum RolesCommand {
    /// List roles
    List,
    /// Show what a role says
    Show {
        /// Name of the role
        role: String,
    },
    /// Create a role from a file
    #[command(after_help = EXAMPLES)]
    Create {
        /// Name of the role
        role: String,
        /// JSON with Statement, Effect and Action; - is standard input
        #[arg(long, value_name = "FILE")]
        document: PathBuf,
        /// For people
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Change a role, for all its jobs
    #[command(group = clap::ArgGroup::new("changes").required(true).multiple(true).args(["document", "description"]))]
    Update {
        /// Name of the role
        role: String,
        /// JSON with Statement, Effect and Action; - is standard input
        #[arg(long, value_name = "FILE")]
        document: Option<PathBuf>,
        /// For people; an empty one removes it
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Delete a role that is not in use
    Delete {
        /// Name of the role
        role: String,
    },
}

/// Does it.
pub async fn run(command: RolesCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        RolesCommand::List => list(client, json).await,
        RolesCommand::Show { role } => show(client, json, role).await,
        RolesCommand::Create { role, document, description } => {
            let policy_document = documents::read(&document)?;
            let request = CreateRoleRequest { role_name: role.clone(), policy_document, description };
            client.create_role(&request).await?;
            done(json, json!({"roleName": role}), format!("Created the role {role}."))
        }
        RolesCommand::Update { role, document, description } => {
            let policy_document = document.map(|file| documents::read(&file)).transpose()?;
            let request = UpdateRoleRequest { role_name: role.clone(), policy_document, description };
            client.update_role(&request).await?;
            done(json, json!({"roleName": role}), format!("Changed the role {role}."))
        }
        RolesCommand::Delete { role } => {
            client.delete_role(&RoleRequest { role_name: role.clone() }).await?;
            done(json, json!({"roleName": role}), format!("Deleted the role {role}."))
        }
    }
}

async fn list(client: &Client, json: bool) -> Result<(), CliError> {
    let roles = all_pages(|next_token| async {
        let request = DescribeRolesRequest { next_token, ..DescribeRolesRequest::default() };
        let answer = client.describe_roles(&request).await?;
        Ok((answer.roles, answer.next_token))
    })
    .await?;
    if json {
        return output::json(&roles);
    }
    if roles.is_empty() {
        return output::line("No roles yet. The default one is made with the first job that names none.");
    }
    let now = outside::now();
    let rows = roles.iter().map(|role| {
        let changed = human::moment(role.changed_on.into(), now);
        [role.role_name.as_str().into(), changed.into(), role.description.as_deref().unwrap_or("-").into()]
    });
    table(["role", "changed", "description"], &[], &rows.collect::<Vec<_>>())
}

async fn show(client: &Client, json: bool, role: String) -> Result<(), CliError> {
    let request = DescribeRolesRequest { role_names: Some(vec![role]), ..DescribeRolesRequest::default() };
    let found = client.describe_roles(&request).await?.roles;
    match found.first() {
        Some(role) if json => output::json(role),
        Some(role) => output::line(documents::pretty(&role.policy_document)),
        None => Err(CliError::failed("the service gave no role")),
    }
}
