//! The settings that the service works with.

use super::Absent;
use serde::{Deserialize, Serialize};

/// Where a setting was set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SetIn {
    /// Nowhere: the default counts.
    Default,
    /// In the settings file.
    File,
    /// On the command line of the service.
    CommandLine,
    /// In its environment.
    Environment,
}

impl SetIn {
    /// As it is on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            SetIn::Default => "DEFAULT",
            SetIn::File => "FILE",
            SetIn::CommandLine => "COMMAND_LINE",
            SetIn::Environment => "ENVIRONMENT",
        }
    }
}

shapes! {
    /// Request of `DescribeSettings`.
    #[derive(Default)]
    DescribeSettingsRequest {}

    /// Answer of `DescribeSettings`: the settings as they were read when the service started.
    DescribeSettingsResponse {
        /// The settings file.
        file: String,
        /// Whether it was there.
        file_exists: bool,
        /// The settings, section by section.
        settings: Vec<SettingDescription>,
    }

    /// A setting. Never a secret, nor where one is kept.
    SettingDescription {
        /// Section and name as in the settings file, or an option of the command line.
        name: String,
        /// What counts, as it would be written; absent if nothing is set, or if it is hidden.
        value: Option<String>,
        /// What counts if nothing is set.
        default: Option<String>,
        /// Whether that counts.
        is_default: bool,
        /// It differs from the default, and how is not told: it says where a secret is kept, or whose it is.
        is_hidden: bool,
        /// Where it was set.
        set_in: SetIn,
        /// What it is, in a sentence.
        description: String,
    }
}
