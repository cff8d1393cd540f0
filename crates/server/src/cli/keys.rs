//! `godwit keys`.

use crate::cli::error::CliError;
use crate::cli::output::Tone;
use crate::cli::table::{Field, facts, table};
use crate::cli::{human, output};
use crate::client::{Client, ClientError, all_pages};
use crate::outside;
use clap::{ArgGroup, Args, Subcommand};
use godwit_api::shapes::godwit::{
    CreateAliasRequest, CreateKeyRequest, DeleteAliasRequest, DescribeKeysRequest, KeyDescription, KeyRequest,
    KeyState, UpdateKeyRequest,
};
use serde_json::json;

const EXAMPLES: &str = "\
A KEY is named by its id, an alias, or the ARN of either. Keys are not deleted:
what is encrypted with them could never be read again. Disable them instead.

Examples:
  godwit keys create --alias alias/payroll --description 'HR servers'
  godwit jobs create --server hr01 --every 12h --key alias/payroll
  godwit keys rotate alias/payroll      # from now on, a new version encrypts
  godwit keys disable alias/payroll     # nothing of it can be read or made";

/// What to do with keys.
#[derive(Subcommand, Debug)]
#[command(after_help = EXAMPLES)]
pub enum KeysCommand {
    /// List keys, oldest first
    List,
    /// Show a key
    Show {
        /// Its id, an alias, or the ARN of either
        key: String,
    },
    /// Create a key
    #[command(after_help = "Example:\n  godwit keys create --alias alias/payroll --description 'HR servers'")]
    Create {
        /// What it is called: alias/ and a name
        #[arg(long, value_name = "ALIAS")]
        alias: Option<String>,
        /// For people
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// Change a key's description
    #[command(after_help = "Example:\n  godwit keys update alias/payroll --description 'HR, until 2027'")]
    Update {
        /// Its id, an alias, or the ARN of either
        key: String,
        /// For people; an empty one removes it
        #[arg(long, value_name = "TEXT")]
        description: String,
    },
    /// Make a new version: everything is encrypted under it from now on, what is older stays readable
    #[command(after_help = "Example:\n  godwit keys rotate alias/payroll")]
    Rotate {
        /// Its id, an alias, or the ARN of either
        key: String,
    },
    /// Let nobody use a key: runs with it fail, its images cannot be read, until it is enabled
    #[command(after_help = "Example:\n  godwit keys disable alias/payroll")]
    Disable {
        /// Its id, an alias, or the ARN of either
        key: String,
    },
    /// Let a key be used again
    #[command(after_help = "Example:\n  godwit keys enable alias/payroll")]
    Enable {
        /// Its id, an alias, or the ARN of either
        key: String,
    },
    /// Make a key the default: the one of all jobs that name none, from their next run on
    #[command(after_help = "Example:\n  godwit keys default alias/payroll")]
    Default {
        /// Its id, an alias, or the ARN of either
        key: String,
    },
    /// Give a key another alias, or take one away
    Alias(AliasArgs),
}

const ALIAS_EXAMPLES: &str = "\
Examples:
  godwit keys alias alias/hr --key alias/payroll
  godwit keys alias alias/hr --delete";

/// An alias to give or to take.
#[derive(Args, Debug)]
#[command(after_help = ALIAS_EXAMPLES, group(ArgGroup::new("what").required(true).args(["key", "delete"])))]
pub struct AliasArgs {
    /// alias/ and a name
    alias: String,
    /// Which key gets it
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Take it from its key
    #[arg(long)]
    delete: bool,
}

/// Does it.
pub async fn run(command: KeysCommand, client: &Client, json: bool) -> Result<(), CliError> {
    match command {
        KeysCommand::List => list(client, json).await,
        KeysCommand::Show { key } => {
            let key = get(client, &key).await?;
            if json { output::json(&key) } else { show(&key) }
        }
        KeysCommand::Create { alias, description } => create(client, json, alias, description).await,
        KeysCommand::Update { key, description } => {
            let request = UpdateKeyRequest { key_id: key.clone(), description: Some(description) };
            client.update_key(&request).await?;
            done(client, json, &key, "Changed").await
        }
        KeysCommand::Rotate { key } => {
            let version = client.rotate_key(&request(&key)).await?.version;
            done(client, json, &key, &format!("New data is encrypted under version {version} of")).await
        }
        KeysCommand::Disable { key } => {
            client.disable_key(&request(&key)).await?;
            done(client, json, &key, "Disabled").await
        }
        KeysCommand::Enable { key } => {
            client.enable_key(&request(&key)).await?;
            done(client, json, &key, "Enabled").await
        }
        KeysCommand::Default { key } => {
            client.set_default_key(&request(&key)).await?;
            done(client, json, &key, "Jobs that name no key are from their next run on encrypted with").await
        }
        KeysCommand::Alias(args) => alias(client, json, args).await,
    }
}

fn request(key: &str) -> KeyRequest {
    KeyRequest { key_id: key.to_owned() }
}

async fn get(client: &Client, key: &str) -> Result<KeyDescription, CliError> {
    let request = DescribeKeysRequest { key_ids: Some(vec![key.to_owned()]), ..DescribeKeysRequest::default() };
    let found = client.describe_keys(&request).await?.keys.into_iter().next();
    found
        .ok_or_else(|| CliError::failed(format!("there is no key {key}")).next("see which there are: godwit keys list"))
}

async fn all(client: &Client) -> Result<Vec<KeyDescription>, ClientError> {
    all_pages(|next_token| async {
        let request = DescribeKeysRequest { next_token, ..DescribeKeysRequest::default() };
        let answer = client.describe_keys(&request).await?;
        Ok((answer.keys, answer.next_token))
    })
    .await
}

async fn list(client: &Client, json: bool) -> Result<(), CliError> {
    let keys = all(client).await?;
    if json {
        return output::json(&keys);
    }
    let now = outside::now();
    let row = |key: &KeyDescription| {
        [
            key.key_id.as_str().into(),
            names(key).into(),
            state(key),
            Field::number(key.version.to_string()),
            key.rotated_on.map_or_else(|| "–".to_owned(), |time| human::ago(time.into(), now)).into(),
            key.description.as_deref().unwrap_or("–").into(),
        ]
    };
    let header = ["key", "aliases", "state", "version", "rotated", "description"];
    table(header, &["rotated", "description"], &keys.iter().map(row).collect::<Vec<_>>())
}

fn names(key: &KeyDescription) -> String {
    if key.aliases.is_empty() { "–".to_owned() } else { key.aliases.join(", ") }
}

fn state(key: &KeyDescription) -> Field {
    match (key.state, key.default) {
        (KeyState::Enabled, true) => Field::from("default").tone(Tone::Good),
        (KeyState::Enabled, false) => Field::from("enabled").tone(Tone::Good),
        (KeyState::Disabled, _) => Field::from("disabled").tone(Tone::Warning),
    }
}

fn show(key: &KeyDescription) -> Result<(), CliError> {
    let now = outside::now();
    let mut about = vec![
        ("key", Field::from(key.key_id.as_str()).tone(Tone::Strong)),
        ("arn", key.arn.as_str().into()),
        ("aliases", names(key).into()),
        ("state", state(key)),
        ("since", human::moment(key.state_since.into(), now).into()),
        ("version", key.version.to_string().into()),
        ("created", human::moment(key.created_on.into(), now).into()),
    ];
    about.extend(key.rotated_on.map(|time| ("rotated", human::moment(time.into(), now).into())));
    about.extend(key.description.as_deref().map(|description| ("description", description.into())));
    facts(&about)
}

async fn create(
    client: &Client,
    json: bool,
    alias: Option<String>,
    description: Option<String>,
) -> Result<(), CliError> {
    let key = client.create_key(&CreateKeyRequest { description, alias }).await?.key;
    if json {
        return output::json(&key);
    }
    let name = key.aliases.first().unwrap_or(&key.key_id);
    output::line(format!("Created {}. Use it: godwit jobs create --server NAME --every 12h --key {name}", key.key_id))
}

/// The key as it is after a change.
async fn done(client: &Client, json: bool, key: &str, what: &str) -> Result<(), CliError> {
    let key = get(client, key).await?;
    if json { output::json(&key) } else { output::line(format!("{what} {}.", key.key_id)) }
}

async fn alias(client: &Client, json: bool, args: AliasArgs) -> Result<(), CliError> {
    let alias = args.alias;
    let Some(key) = args.key.filter(|_| !args.delete) else {
        client.delete_alias(&DeleteAliasRequest { alias: alias.clone() }).await?;
        if json {
            return output::json(&json!({ "alias": alias }));
        }
        return output::line(format!("Deleted {alias}; its key stays."));
    };
    client.create_alias(&CreateAliasRequest { alias: alias.clone(), key_id: key }).await?;
    done(client, json, &alias, &format!("{alias} stands for")).await
}
