//! `godwit users`: users, their policies and their access keys.

use crate::cli::error::CliError;
use crate::cli::output::Tone;
use crate::cli::table::{Field, table};
use crate::cli::{human, output, passwords};
use crate::client::{Client, all_pages};
use crate::outside;
use crate::serve::folder::write_private;
use clap::{Args, Subcommand};
use godwit_api::shapes::godwit::{
    AccessKeyRequest, CreateUserRequest, DescribeAccessKeysRequest, DescribeUsersRequest, NewAccessKeyResponse,
    PolicyOfUserRequest, RotateAccessKeyRequest, UserRequest,
};
use serde_json::json;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const CREATE_EXAMPLES: &str = "\
Examples:
  godwit users create ann --policy operator --credentials-file ann.credentials
  godwit users create monitor --policy read-only";

const PASSWORD_EXAMPLES: &str = "\
A password has at least 12 characters. All sessions of the user end.

Examples:
  godwit users set-password ann
  pass show godwit/ann | godwit users set-password ann --password-stdin";

/// What to do with users.
#[derive(Subcommand, Debug)]
pub enum UsersCommand {
    /// List users with their policies
    List,
    /// Create a user
    #[command(after_help = CREATE_EXAMPLES)]
    Create {
        /// Name of the user
        user: String,
        /// Policy that it has from the start; may be given several times
        #[arg(long = "policy", value_name = "POLICY")]
        policies: Vec<String>,
        /// Create an access key too, and write it to this file, readable by you alone
        #[arg(long, value_name = "FILE")]
        credentials_file: Option<PathBuf>,
    },
    /// Give a policy to a user
    #[command(after_help = "Example:\n  godwit users attach ann operator")]
    Attach {
        /// Name of the user
        user: String,
        /// Name of the policy
        policy: String,
    },
    /// Take a policy from a user
    Detach {
        /// Name of the user
        user: String,
        /// Name of the policy
        policy: String,
    },
    /// Take a user's access keys no more
    Disable {
        /// Name of the user
        user: String,
    },
    /// Take a user's access keys again
    Enable {
        /// Name of the user
        user: String,
    },
    /// Delete a user and its access keys
    Delete {
        /// Name of the user
        user: String,
    },
    /// Set the password that a user signs in to the console with; it is asked for
    #[command(after_help = PASSWORD_EXAMPLES)]
    SetPassword {
        /// Name of the user
        user: String,
        /// Read it from standard input instead of asking for it
        #[arg(long)]
        password_stdin: bool,
    },
    /// Let a user sign in to the console with a password no more
    RemovePassword {
        /// Name of the user
        user: String,
    },
    /// Make a link that signs a user in to the console once, within an hour
    SignInLink {
        /// Name of the user
        #[arg(default_value = "administrator")]
        user: String,
    },
    /// Access keys of users
    #[command(subcommand, visible_alias = "key")]
    Keys(KeysCommand),
}

const ROTATE_EXAMPLES: &str = "\
The old key goes on for a while, so that its holders can change over.

Examples:
  godwit users keys rotate GWABCDEFGHIJKLMNOPQR --credentials-file ann.new
  godwit users keys rotate GWABCDEFGHIJKLMNOPQR --grace-minutes 0";

/// What to do with access keys.
#[derive(Subcommand, Debug)]
pub enum KeysCommand {
    /// List access keys, without their secrets
    List {
        /// Only of this user
        user: Option<String>,
    },
    /// Create an access key: its secret is shown once
    #[command(after_help = "Example:\n  godwit users keys create ann --credentials-file ann.credentials")]
    Create {
        /// Name of the user
        user: String,
        #[command(flatten)]
        target: Target,
    },
    /// Create an access key in place of another one
    #[command(after_help = ROTATE_EXAMPLES)]
    Rotate {
        /// Id of the key that is replaced
        key: String,
        /// Minutes that the old key goes on, at most 43200 [default: a day]
        #[arg(long, value_name = "MINUTES", value_parser = clap::value_parser!(i32).range(0..=43_200))]
        grace_minutes: Option<i32>,
        #[command(flatten)]
        target: Target,
    },
    /// Take an access key no more
    Disable {
        /// Id of the key
        key: String,
    },
    /// Take an access key again
    Enable {
        /// Id of the key
        key: String,
    },
    /// Delete an access key
    Delete {
        /// Id of the key
        key: String,
    },
}

/// Where a new secret goes.
#[derive(Args, Debug)]
pub struct Target {
    /// Write the key to this file, readable by you alone, instead of showing its secret
    #[arg(long, value_name = "FILE")]
    credentials_file: Option<PathBuf>,
}

/// Does it.
pub async fn run(command: UsersCommand, client: &Client, json: bool) -> Result<(), CliError> {
    let of = |user: &str| UserRequest { user_name: user.to_owned() };
    match command {
        UsersCommand::List => list(client, json).await,
        UsersCommand::Create { user, policies, credentials_file } => {
            create(client, json, &user, policies, credentials_file.as_deref()).await
        }
        UsersCommand::Attach { user, policy } => {
            let request = PolicyOfUserRequest { user_name: user.clone(), policy_name: policy.clone() };
            client.attach_policy(&request).await?;
            done(json, json!({"userName": user, "policyName": policy}), format!("{user} has the policy {policy} now."))
        }
        UsersCommand::Detach { user, policy } => {
            let request = PolicyOfUserRequest { user_name: user.clone(), policy_name: policy.clone() };
            client.detach_policy(&request).await?;
            let text = format!("{user} does not have the policy {policy} any more.");
            done(json, json!({"userName": user, "policyName": policy}), text)
        }
        UsersCommand::Disable { user } => {
            client.disable_user(&of(&user)).await?;
            done(json, json!({"userName": user}), format!("Disabled {user}: its access keys are not taken any more."))
        }
        UsersCommand::Enable { user } => {
            client.enable_user(&of(&user)).await?;
            done(json, json!({"userName": user}), format!("Enabled {user}."))
        }
        UsersCommand::Delete { user } => {
            client.delete_user(&of(&user)).await?;
            done(json, json!({"userName": user}), format!("Deleted {user} and its access keys."))
        }
        UsersCommand::SetPassword { user, password_stdin } => passwords::set(client, json, user, password_stdin).await,
        UsersCommand::RemovePassword { user } => passwords::remove(client, json, user).await,
        UsersCommand::SignInLink { user } => passwords::link(client, json, user).await,
        UsersCommand::Keys(command) => keys(command, client, json).await,
    }
}

async fn keys(command: KeysCommand, client: &Client, json: bool) -> Result<(), CliError> {
    let of = |key: &str| AccessKeyRequest { access_key_id: key.to_owned() };
    match command {
        KeysCommand::List { user } => list_keys(client, json, user).await,
        KeysCommand::Create { user, target } => {
            refuse_existing(target.credentials_file.as_deref())?;
            let key = client.create_access_key(&UserRequest { user_name: user }).await?;
            hand_over(json, key, target.credentials_file.as_deref())
        }
        KeysCommand::Rotate { key, grace_minutes, target } => {
            refuse_existing(target.credentials_file.as_deref())?;
            let request = RotateAccessKeyRequest { access_key_id: key, grace_minutes };
            hand_over(json, client.rotate_access_key(&request).await?, target.credentials_file.as_deref())
        }
        KeysCommand::Disable { key } => {
            client.disable_access_key(&of(&key)).await?;
            done(json, json!({"accessKeyId": key}), format!("Disabled {key}."))
        }
        KeysCommand::Enable { key } => {
            client.enable_access_key(&of(&key)).await?;
            done(json, json!({"accessKeyId": key}), format!("Enabled {key}."))
        }
        KeysCommand::Delete { key } => {
            client.delete_access_key(&of(&key)).await?;
            done(json, json!({"accessKeyId": key}), format!("Deleted {key}."))
        }
    }
}

async fn list(client: &Client, json: bool) -> Result<(), CliError> {
    let users = all_pages(|next_token| async {
        let request = DescribeUsersRequest { next_token, ..DescribeUsersRequest::default() };
        let answer = client.describe_users(&request).await?;
        Ok((answer.users, answer.next_token))
    })
    .await?;
    if json {
        return output::json(&users);
    }
    let now = outside::now();
    let rows = users.iter().map(|user| {
        let policies = if user.policy_names.is_empty() { "-".to_owned() } else { user.policy_names.join(", ") };
        [
            user.user_name.as_str().into(),
            enabled(user.enabled),
            policies.into(),
            human::moment(user.created_on.into(), now).into(),
        ]
    });
    table(["user", "state", "policies", "created"], &["created"], &rows.collect::<Vec<_>>())
}

async fn create(
    client: &Client,
    json: bool,
    user: &str,
    policies: Vec<String>,
    file: Option<&Path>,
) -> Result<(), CliError> {
    refuse_existing(file)?;
    let request = CreateUserRequest { user_name: user.to_owned(), policy_names: Some(policies) };
    client.create_user(&request).await?;
    if file.is_some() {
        let key = client.create_access_key(&UserRequest { user_name: user.to_owned() }).await?;
        return hand_over(json, key, file);
    }
    let text = format!("Created {user}. Give it an access key: godwit users keys create {user}");
    done(json, json!({"userName": user}), text)
}

async fn list_keys(client: &Client, json: bool, user: Option<String>) -> Result<(), CliError> {
    let keys = all_pages(|next_token| async {
        let user_name = user.clone();
        let request = DescribeAccessKeysRequest { user_name, next_token, ..DescribeAccessKeysRequest::default() };
        let answer = client.describe_access_keys(&request).await?;
        Ok((answer.access_keys, answer.next_token))
    })
    .await?;
    if json {
        return output::json(&keys);
    }
    if keys.is_empty() {
        return output::line("No access keys yet. Create one: godwit users keys create USER --credentials-file FILE");
    }
    let now = outside::now();
    let rows = keys.iter().map(|key| {
        [
            key.access_key_id.as_str().into(),
            key.user_name.as_str().into(),
            enabled(key.enabled),
            human::moment(key.created_on.into(), now).into(),
            key.last_used_on.map_or_else(|| "never".to_owned(), |at| human::ago(at.into(), now)).into(),
            key.ends_on.map_or_else(|| "-".to_owned(), |at| human::moment(at.into(), now)).into(),
        ]
    });
    table(["access key", "user", "state", "created", "last used", "ends"], &["created"], &rows.collect::<Vec<_>>())
}

/// Before a secret exists that could not be written anywhere.
fn refuse_existing(file: Option<&Path>) -> Result<(), CliError> {
    match file.filter(|file| file.symlink_metadata().is_ok()) {
        None => Ok(()),
        Some(file) => Err(CliError::usage(format!("{} exists already", file.display()))
            .next("name another file: keys that are still needed may be in this one")),
    }
}

/// Gives a new key to its holder: in a file, or else on standard output, once.
fn hand_over(json: bool, key: NewAccessKeyResponse, file: Option<&Path>) -> Result<(), CliError> {
    let secret = Zeroizing::new(key.secret_access_key);
    let (id, user) = (key.access_key_id, key.user_name);
    if let Some(file) = file {
        let text = Zeroizing::new(format!(
            "# Access key of the Godwit user {user}. Use it with: export AWS_SHARED_CREDENTIALS_FILE=<this file>\n\
             [default]\naws_access_key_id = {id}\naws_secret_access_key = {}\nregion = us-east-1\n",
            secret.as_str()
        ));
        let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
        write_private(&absolute, text.as_bytes()).map_err(|error| {
            CliError::failed(format!("{error}; the key {id} was made, but its secret is lost"))
                .next(format!("delete it: godwit users keys delete {id}"))
        })?;
        let answer = json!({"accessKeyId": id, "userName": user, "oldKeyEndsOn": key.old_key_ends_on, "file": file});
        return done(json, answer, format!("Access key {id} of {user} is in {}.", file.display()));
    }
    let answer = json!({
        "accessKeyId": id, "userName": user, "secretAccessKey": secret.as_str(), "oldKeyEndsOn": key.old_key_ends_on,
    });
    let text = format!("access key  {id}\nsecret      {}\nThe secret is not shown again.", secret.as_str());
    done(json, answer, text)
}

fn enabled(is: bool) -> Field {
    if is { Field::from("enabled").tone(Tone::Good) } else { Field::from("disabled").tone(Tone::Warning) }
}

/// Says that it is done.
pub(super) fn done(json: bool, answer: serde_json::Value, text: String) -> Result<(), CliError> {
    if json { output::json(&answer) } else { output::line(text) }
}
