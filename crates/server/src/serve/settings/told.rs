//! The settings in force, as they are told to whoever may read: each with its value, its default and where it was set.
//!
//! What says where a secret is kept, or whose it is, is told only as far as that it is set.

use super::{INNER, Member, OUTER, Settings, SettingsFile};
use crate::notify::settings::Smtp;
use crate::serve::remote::S3;
use godwit_control::service::{SetIn, Setting, SettingsInForce};
use std::collections::{BTreeMap, BTreeSet};
use toml::{Table, Value};

/// Settings whose values are nobody's business but the operator's: places of secrets, and names that go with them.
const HIDDEN: [&str; 7] = [
    "notifications.webhook_secret_file",
    "notifications.webhook_secret_variable",
    "notifications.smtp.user",
    "notifications.smtp.password_file",
    "notifications.smtp.password_variable",
    "store.s3.credentials",
    "store.s3.profile",
];

/// An option of the command line, with what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OnCommandLine {
    /// As it is written: `--listen`.
    pub name: String,
    /// What counts.
    pub value: String,
    /// What counts if it is left out; `None`: it cannot be.
    pub default: Option<String>,
    /// Its value is not told.
    pub is_hidden: bool,
    /// Where it was set, if it was.
    pub set_in: SetIn,
    /// What it is, in a sentence.
    pub about: String,
}

/// All settings, with those of the command line at the end.
pub fn in_force(settings: &Settings, file: &SettingsFile, options: &[OnCommandLine]) -> SettingsInForce {
    let (values, defaults) = (flat(settings), defaults());
    let of_file = members().map(|member| {
        let name = member.full_name();
        let default = defaults.get(&name).cloned();
        let value = values.get(&name).cloned().or_else(|| default.clone());
        let is_hidden = HIDDEN.contains(&name.as_str());
        let set_in = if file.names.contains(&name) { SetIn::File } else { SetIn::Default };
        setting(name, value, default, is_hidden, set_in, member.about)
    });
    let of_options = options.iter().map(|option| {
        let OnCommandLine { name, value, default, is_hidden, set_in, about } = option.clone();
        setting(name, Some(value), default, is_hidden, set_in, &about)
    });
    SettingsInForce {
        file: file.path.display().to_string(),
        file_exists: file.exists,
        settings: of_file.chain(of_options).collect(),
    }
}

fn setting(
    name: String,
    value: Option<String>,
    default: Option<String>,
    is_hidden: bool,
    set_in: SetIn,
    about: &str,
) -> Setting {
    let is_default = value == default;
    // What is as it always is tells nothing.
    let is_hidden = is_hidden && !is_default;
    let value = value.filter(|_| !is_hidden);
    let about = about.trim();
    let about = if about.ends_with('.') { about.to_owned() } else { format!("{about}.") };
    Setting { name, value, default, is_default, is_hidden, set_in, about }
}

/// Every name that the settings file may hold, in the order in which people read them.
fn members() -> impl Iterator<Item = Member> {
    OUTER.iter().flat_map(|section| section.iter()).flat_map(|member| {
        let inner = INNER.iter().find(|(name, _)| *name == member.full_name());
        inner.map_or(std::slice::from_ref(member), |(_, members)| *members).iter().copied()
    })
}

/// What a settings file sets, by full name. It was parsed before, so it is in order.
pub(super) fn names_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeMap::new();
    flatten("", &text.parse::<Table>().unwrap_or_default(), &mut found);
    found.into_keys().collect()
}

/// What counts where nothing is said, also in sections that are left out as a whole.
fn defaults() -> BTreeMap<String, String> {
    let mut settings = Settings::default();
    settings.store.s3 = Some(S3::default());
    // There is no default of these two, so what stands for them is no value.
    settings.notifications.smtp = toml::from_str::<Smtp>("host = ''\nfrom = ''").ok();
    flat(&settings)
}

/// All that has a value, as it would be written.
fn flat(settings: &Settings) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    flatten("", &Table::try_from(settings).unwrap_or_default(), &mut found);
    found.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn flatten(section: &str, table: &Table, found: &mut BTreeMap<String, String>) {
    for (name, value) in table {
        let name = if section.is_empty() { name.clone() } else { format!("{section}.{name}") };
        match value {
            Value::Table(table) => flatten(&name, table, found),
            value => {
                found.insert(name, text(value));
            }
        }
    }
}

/// A value without the marks around texts; lists with commas.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn told(text: &str) -> SettingsInForce {
        let file = SettingsFile { path: PathBuf::from("/data/godwit.toml"), exists: true, names: names_in(text) };
        in_force(&Settings::parse(text).unwrap(), &file, &[])
    }

    fn of(told: &SettingsInForce, name: &str) -> Setting {
        told.settings.iter().find(|setting| setting.name == name).unwrap_or_else(|| panic!("no {name}")).clone()
    }

    /// What the parser says that it would take in a section, if that is one.
    fn parsed_in(section: &str) -> Option<Vec<String>> {
        let text = if section.is_empty() { "zzz = 1".to_owned() } else { format!("[{section}]\nzzz = 1") };
        let error = Settings::parse(&text).unwrap_err();
        let (_, expected) = error.split_once("unknown field `zzz`, expected ")?;
        Some(expected.split('`').skip(1).step_by(2).map(str::to_owned).collect())
    }

    fn all_parsed(section: &str, found: &mut BTreeSet<String>) {
        for name in parsed_in(section).expect("it is a section") {
            let name = if section.is_empty() { name } else { format!("{section}.{name}") };
            match parsed_in(&name) {
                Some(_) => all_parsed(&name, found),
                None => {
                    found.insert(name);
                }
            }
        }
    }

    /// Names in the blocks of settings on a page, those that are commented out too.
    fn documented(page: &str, found: &mut BTreeSet<String>) {
        let (mut is_block, mut section) = (false, String::new());
        for line in page.lines() {
            match line.trim() {
                "```toml" => (is_block, section) = (true, String::new()),
                "```" => is_block = false,
                line if is_block => {
                    let line = line.trim_start_matches("# ");
                    if let Some((name, _)) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                        section = name.to_owned();
                    } else if let Some((name, _)) = line.split_once(" = ") {
                        let is_name = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
                        found.extend(is_name.then(|| format!("{section}.{name}")));
                    }
                }
                _ => {}
            }
        }
    }

    #[test]
    fn every_setting_of_the_parser_and_of_the_documentation_is_told_with_what_it_is() {
        let all = told("");
        let names: BTreeSet<String> = all.settings.iter().map(|setting| setting.name.clone()).collect();
        assert_eq!(names.len(), all.settings.len(), "one is told twice");
        let mut parsed = BTreeSet::new();
        all_parsed("", &mut parsed);
        assert!(parsed.len() > 30, "{parsed:?}");
        assert_eq!(names, parsed, "told, and taken by the parser");
        let mut read = BTreeSet::new();
        for page in [
            include_str!("../../../../../docs/settings.md"),
            include_str!("../../../../../docs/notifications.md"),
            include_str!("../../../../../docs/object-stores.md"),
        ] {
            documented(page, &mut read);
        }
        assert_eq!(names, read, "told, and documented");
        for setting in &all.settings {
            let about = &setting.about;
            assert!(about.len() > 20 && about.ends_with('.') && !about.contains('`'), "{}: {about}", setting.name);
            assert!(setting.is_default && setting.set_in == SetIn::Default && !setting.is_hidden, "{setting:?}");
        }
    }

    #[test]
    fn values_defaults_and_where_they_were_set_are_told() {
        let told = told(
            "[audit]\nkeep = '30d'\nmax_records = 10000000\n[server]\nnames = ['a.example.org', 'b.example.org']\n\
             [notifications.smtp]\nhost = 'mail.example.org'\nfrom = 'godwit@example.org'",
        );
        let shown = |name: &str| {
            let Setting { value, default, is_default, set_in, .. } = of(&told, name);
            (value, default, is_default, set_in)
        };
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(shown("audit.keep"), (text("30d"), text("365d"), false, SetIn::File));
        assert_eq!(shown("audit.max_records"), (text("10000000"), text("10000000"), true, SetIn::File), "set as it is");
        assert_eq!(shown("jobs.keep_paused"), (text("forever"), text("forever"), true, SetIn::Default));
        assert_eq!(shown("server.names"), (text("a.example.org, b.example.org"), None, false, SetIn::File));
        assert_eq!(shown("server.tls"), (text("auto"), text("auto"), true, SetIn::Default));
        assert_eq!(shown("notifications.smtp.host"), (text("mail.example.org"), None, false, SetIn::File));
        assert_eq!(shown("notifications.smtp.tls"), (text("starttls"), text("starttls"), true, SetIn::Default));
        assert_eq!(shown("store.s3.region"), (text("us-east-1"), text("us-east-1"), true, SetIn::Default));
        assert_eq!(shown("store.url"), (None, None, true, SetIn::Default));
        assert_eq!((told.file.as_str(), told.file_exists), ("/data/godwit.toml", true));
    }

    #[test]
    fn where_secrets_are_and_whose_they_are_is_not_told() {
        let told = told(
            "[notifications]\nwebhook_secret_file = '/geheim/1'\n[notifications.smtp]\nhost = 'mail.example.org'\n\
             from = 'godwit@example.org'\nuser = 'geheim-2'\npassword_variable = 'GEHEIM_3'\n\
             [store]\nurl = 's3://bucket'\n[store.s3]\ncredentials = 'file:/geheim/4'\nprofile = 'geheim-5'",
        );
        let all = format!("{told:?}").to_lowercase();
        assert!(!all.contains("geheim"), "{all}");
        for name in ["notifications.webhook_secret_file", "notifications.smtp.user", "store.s3.credentials"] {
            let setting = of(&told, name);
            assert!(setting.is_hidden && !setting.is_default && setting.value.is_none(), "{setting:?}");
        }
        // Of everything whose name speaks of a secret somebody has decided.
        const TOLD: [&str; 2] = ["access.key_grace", "server.key"];
        for setting in &told.settings {
            let speaks = ["secret", "password", "credential", "token", "key", "user", "profile"];
            let is_delicate = speaks.iter().any(|word| setting.name.contains(word));
            let is_decided = HIDDEN.contains(&setting.name.as_str()) || TOLD.contains(&setting.name.as_str());
            assert!(!is_delicate || is_decided, "{}: is its value to be told?", setting.name);
        }
        assert!(HIDDEN.iter().all(|name| told.settings.iter().any(|setting| setting.name == *name)));
    }

    #[test]
    fn what_the_command_line_says_comes_behind() {
        let option = OnCommandLine {
            name: "--master-key".to_owned(),
            value: "env:GEHEIM".to_owned(),
            default: Some("file:/data/master.key".to_owned()),
            is_hidden: true,
            set_in: SetIn::CommandLine,
            about: "Where the master key is".to_owned(),
        };
        let file = SettingsFile { path: PathBuf::from("x"), exists: false, names: BTreeSet::new() };
        let told = in_force(&Settings::default(), &file, &[option]);
        let last = told.settings.last().unwrap();
        assert_eq!((last.name.as_str(), &last.value, last.is_hidden), ("--master-key", &None, true));
        assert_eq!((last.set_in, last.about.as_str()), (SetIn::CommandLine, "Where the master key is."));
    }
}
