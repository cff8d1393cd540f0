//! The settings that the service works with: data that whoever starts it gives, and that is only told.

use super::Service;

/// Where a setting was set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
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

/// A setting. Holds no secret, not even where one is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// Section and name as in the settings file, or an option of the command line.
    pub name: String,
    /// What counts, as it would be written; `None`: nothing is set, or it is hidden.
    pub value: Option<String>,
    /// What counts if nothing is set.
    pub default: Option<String>,
    /// Whether that counts.
    pub is_default: bool,
    /// It has another value than the default, and that is not told: it says where a secret is kept, or whose it is.
    pub is_hidden: bool,
    /// Where it was set.
    pub set_in: SetIn,
    /// What it is, in a sentence.
    pub about: String,
}

/// All settings, and where they are changed.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct SettingsInForce {
    /// The settings file.
    pub file: String,
    /// Whether it is there.
    pub file_exists: bool,
    /// The settings, section by section.
    pub settings: Vec<Setting>,
}

impl Service {
    /// `DescribeSettings`: as they were read at the start.
    pub fn describe_settings(&self) -> &SettingsInForce {
        &self.line.settings
    }
}
