//! `godwit settings`.

use crate::cli::error::CliError;
use crate::cli::output;
use crate::cli::output::Tone;
use crate::cli::table::{Field, table};
use crate::client::Client;
use clap::Subcommand;
use godwit_api::shapes::godwit::{DescribeSettingsRequest, SetIn, SettingDescription};

const LIST_EXAMPLES: &str = "\
Settings are what 'godwit serve' reads when it starts: its settings file, its
command line and its environment. They are changed there, and count from the
next start on. Values that say where a secret is kept, or whose it is, are not
shown.

Examples:
  godwit settings list
  godwit settings list --changed       only what differs from the default
  godwit settings list --json | jq '.[] | select(.name == \"audit.keep\")'";

/// What the service works with.
#[derive(Subcommand, Debug)]
pub enum SettingsCommand {
    /// List the settings that the service works with
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Only what differs from the default
        #[arg(long)]
        changed: bool,
    },
}

/// Does it.
pub async fn run(command: SettingsCommand, client: &Client, json: bool) -> Result<(), CliError> {
    let SettingsCommand::List { changed } = command;
    let mut found = client.describe_settings(&DescribeSettingsRequest {}).await?;
    found.settings.retain(|setting| !changed || !setting.is_default);
    if json {
        return output::json(&found.settings);
    }
    if found.settings.is_empty() {
        output::line("All settings are the defaults.")?;
    } else {
        let rows: Vec<_> = found.settings.iter().map(row).collect();
        table(["setting", "value", "default", "set in", "what it is"], &["what it is", "set in"], &rows)?;
    }
    let there = if found.file_exists { "" } else { ", which is not there yet" };
    output::line(format!(
        "\nThe settings file is {}{there}. What is changed counts from the next start on.",
        found.file
    ))
}

fn row(setting: &SettingDescription) -> [Field; 5] {
    let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
    let value = if setting.is_hidden { "(set, not shown)".to_owned() } else { shown(&setting.value) };
    let value = Field::from(value);
    [
        setting.name.as_str().into(),
        if setting.is_default { value } else { value.tone(Tone::Strong) },
        Field::from(shown(&setting.default)).tone(Tone::Faint),
        set_in(setting.set_in).into(),
        setting.description.as_str().into(),
    ]
}

fn set_in(place: SetIn) -> &'static str {
    match place {
        SetIn::Default => "",
        SetIn::File => "file",
        SetIn::CommandLine => "command line",
        SetIn::Environment => "environment",
    }
}
