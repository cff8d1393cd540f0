//! `godwit policies`.

use crate::cli::error::CliError;
use crate::cli::table::table;
use crate::cli::users::done;
use crate::cli::{documents, human, output};
use crate::client::{Client, all_pages};
use crate::outside;
use clap::Subcommand;
use godwit_api::shapes::godwit::{CreatePolicyRequest, DescribePoliciesRequest, PolicyRequest, UpdatePolicyRequest};
use serde_json::json;
use std::path::PathBuf;

const EXAMPLES: &str = "\
A policy is written as for AWS IAM, without Resource and Condition:
  {\"Statement\": [{\"Effect\": \"Allow\", \"Action\": [\"sms:Get*\", \"godwit:DeleteImage\"]}]}

Examples:
  godwit policies create cleaner --document cleaner.json
  godwit policies show operator";

/// What to do with policies.
#[derive(Subcommand, Debug)]
pub enum PoliciesCommand {
    /// List policies
    List,
    /// Show what a policy says
    Show {
        /// Name of the policy
        policy: String,
    },
    /// Create a policy from a file
    #[command(after_help = EXAMPLES)]
    Create {
        /// Name of the policy
        policy: String,
        /// JSON with Statement, Effect and Action; - is standard input
        #[arg(long, value_name = "FILE")]
        document: PathBuf,
        /// For people
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Change a policy, for all who have it
    #[command(group = clap::ArgGroup::new("changes").required(true).multiple(true).args(["document", "description"]))]
    Update {
        /// Name of the policy
        policy: String,
        /// JSON with Statement, Effect and Action; - is standard input
        #[arg(long, value_name = "FILE")]
        document: Option<PathBuf>,
        /// For people; an empty one removes it
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Delete a policy that is not in use
    Delete {
        /// Name of the policy
        policy: String,
    },
}

/// Does it.
pub async fn run(command: PoliciesCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        PoliciesCommand::List => list(client, json).await,
        PoliciesCommand::Show { policy } => show(client, json, policy).await,
        PoliciesCommand::Create { policy, document, description } => {
            let policy_document = documents::read(&document)?;
            let request = CreatePolicyRequest { policy_name: policy.clone(), policy_document, description };
            client.create_policy(&request).await?;
            done(json, json!({"policyName": policy}), format!("Created the policy {policy}."))
        }
        PoliciesCommand::Update { policy, document, description } => {
            let policy_document = document.map(|file| documents::read(&file)).transpose()?;
            let request = UpdatePolicyRequest { policy_name: policy.clone(), policy_document, description };
            client.update_policy(&request).await?;
            done(json, json!({"policyName": policy}), format!("Changed the policy {policy}."))
        }
        PoliciesCommand::Delete { policy } => {
            client.delete_policy(&PolicyRequest { policy_name: policy.clone() }).await?;
            done(json, json!({"policyName": policy}), format!("Deleted the policy {policy}."))
        }
    }
}

async fn list(client: &Client, json: bool) -> Result<(), CliError> {
    let policies = all_pages(|next_token| async {
        let request = DescribePoliciesRequest { next_token, ..DescribePoliciesRequest::default() };
        let answer = client.describe_policies(&request).await?;
        Ok((answer.policies, answer.next_token))
    })
    .await?;
    if json {
        return output::json(&policies);
    }
    let now = outside::now();
    let rows = policies.iter().map(|policy| {
        let changed = policy.changed_on.map_or_else(|| "built in".to_owned(), |at| human::moment(at.into(), now));
        [policy.policy_name.as_str().into(), changed.into(), policy.description.as_deref().unwrap_or("-").into()]
    });
    table(["policy", "changed", "description"], &[], &rows.collect::<Vec<_>>())
}

async fn show(client: &Client, json: bool, policy: String) -> Result<(), CliError> {
    let request = DescribePoliciesRequest { policy_names: Some(vec![policy]), ..DescribePoliciesRequest::default() };
    let found = client.describe_policies(&request).await?.policies;
    match found.first() {
        Some(policy) if json => output::json(policy),
        Some(policy) => output::line(documents::pretty(&policy.policy_document)),
        None => Err(CliError::failed("the service gave no policy")),
    }
}
