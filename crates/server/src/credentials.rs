//! Access keys, found where AWS tools look for them, and the file in which they are written down.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A key pair.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKey {
    /// Names the pair.
    pub id: String,
    /// Signs.
    pub secret: Zeroizing<String>,
    /// Of temporary keys.
    pub session_token: Option<Zeroizing<String>>,
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Where keys may come from: environment and options, as values.
#[derive(Clone, Default)]
pub struct Places {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: Option<String>,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Option<Zeroizing<String>>,
    /// `AWS_SESSION_TOKEN`.
    pub session_token: Option<Zeroizing<String>>,
    /// `AWS_SHARED_CREDENTIALS_FILE`.
    pub file: Option<PathBuf>,
    /// `AWS_CONFIG_FILE`.
    pub config_file: Option<PathBuf>,
    /// The home folder.
    pub home: Option<PathBuf>,
    /// `--profile` or `AWS_PROFILE`.
    pub profile: Option<String>,
    /// Whether the profile was asked for by option: then it wins over keys of the environment.
    pub profile_by_option: bool,
}

impl Places {
    fn profile(&self) -> &str {
        self.profile.as_deref().unwrap_or("default")
    }

    /// The credentials file and the config file; the first one wins.
    fn files(&self) -> [PathBuf; 2] {
        let usual = |name: &str| self.home.as_deref().unwrap_or(Path::new("~")).join(".aws").join(name);
        [
            self.file.clone().unwrap_or_else(|| usual("credentials")),
            self.config_file.clone().unwrap_or_else(|| usual("config")),
        ]
    }
}

/// Why there are no keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Nothing anywhere.
    #[error("no access keys found: neither in the environment nor as profile '{profile}' in {}", either(files))]
    Nowhere {
        /// What was looked for.
        profile: String,
        /// Where.
        files: Vec<PathBuf>,
    },
    /// Half of a pair in the environment.
    #[error("{present} is set, but {missing} is not")]
    HalfPair {
        /// The variable that is there.
        present: &'static str,
        /// The variable that is not.
        missing: &'static str,
    },
    /// A file cannot be read.
    #[error("{}, where access keys may be, cannot be read: {reason}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// No file has such a profile.
    #[error("there is no profile '{profile}' in {} (there are: {there})", either(files))]
    NoProfile {
        /// What was looked for.
        profile: String,
        /// Where.
        files: Vec<PathBuf>,
        /// What is there.
        there: String,
    },
    /// The profile has no key pair.
    #[error("the profile '{profile}' in {} has no {missing}", file.display())]
    Incomplete {
        /// Which file.
        file: PathBuf,
        /// Which profile.
        profile: String,
        /// Which member.
        missing: &'static str,
    },
}

fn either(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" or ")
}

const ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
const TOKEN: &str = "aws_session_token";
const REGION: &str = "region";

/// What a profile has, by name.
type Members<'a> = BTreeMap<&'a str, &'a str>;

/// Finds the key pair: the environment first, then the profile in the credentials file, then in the config file.
pub fn find(places: &Places) -> Result<AccessKey, KeysError> {
    if !places.profile_by_option
        && let Some(key) = of_environment(places)?
    {
        return Ok(key);
    }
    let (profile, files) = (places.profile(), places.files());
    let mut there = BTreeSet::new();
    for file in &files {
        // Whoever names a credentials file wants its keys and no others.
        let must_exist = places.file.as_ref() == Some(file);
        let Some(text) = read(file, must_exist)? else { continue };
        let profiles = profiles(&text);
        match profiles.get(profile) {
            // Half a pair is a mistake to tell, not a reason to look elsewhere.
            Some(members) if [ID, SECRET].iter().any(|half| members.contains_key(half)) => {
                return key_of(members, file, profile);
            }
            _ => there.extend(profiles.keys().map(|name| (*name).to_owned())),
        }
    }
    let (files, profile) = (files.to_vec(), profile.to_owned());
    if there.is_empty() || there.contains(&profile) {
        return Err(KeysError::Nowhere { profile, files });
    }
    let there = there.into_iter().collect::<Vec<_>>().join(", ");
    Err(KeysError::NoProfile { profile, files, there })
}

/// The region of the profile, from the same files.
pub fn region(places: &Places) -> Option<String> {
    places.files().iter().find_map(|file| {
        let text = read(file, false).ok().flatten()?;
        Some((*profiles(&text).get(places.profile())?.get(REGION)?).to_owned())
    })
}

/// The key pair of a profile in the text of a credentials file.
pub fn from_text(text: &str, file: &Path, profile: &str) -> Result<AccessKey, KeysError> {
    let nowhere = || KeysError::Nowhere { profile: profile.to_owned(), files: vec![file.to_owned()] };
    key_of(profiles(text).get(profile).ok_or_else(nowhere)?, file, profile)
}

fn of_environment(places: &Places) -> Result<Option<AccessKey>, KeysError> {
    const ID: &str = "AWS_ACCESS_KEY_ID";
    const SECRET: &str = "AWS_SECRET_ACCESS_KEY";
    match (&places.access_key_id, &places.secret_access_key) {
        (Some(id), Some(secret)) => {
            let session_token = places.session_token.clone();
            Ok(Some(AccessKey { id: id.clone(), secret: secret.clone(), session_token }))
        }
        (Some(_), None) => Err(KeysError::HalfPair { present: ID, missing: SECRET }),
        (None, Some(_)) => Err(KeysError::HalfPair { present: SECRET, missing: ID }),
        (None, None) => Ok(None),
    }
}

fn key_of(members: &Members<'_>, file: &Path, profile: &str) -> Result<AccessKey, KeysError> {
    let member = |name: &'static str| {
        let incomplete = || KeysError::Incomplete { file: file.to_owned(), profile: profile.to_owned(), missing: name };
        members.get(name).copied().ok_or_else(incomplete)
    };
    Ok(AccessKey {
        id: member(ID)?.to_owned(),
        secret: Zeroizing::new(member(SECRET)?.to_owned()),
        session_token: members.get(TOKEN).map(|token| Zeroizing::new((*token).to_owned())),
    })
}

fn read(file: &Path, must_exist: bool) -> Result<Option<Zeroizing<String>>, KeysError> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_exist => Ok(None),
        Err(error) => Err(KeysError::Unreadable { file: file.to_owned(), reason: error.to_string() }),
    }
}

/// A credentials file with this one pair as its default profile.
pub fn to_text(key: &AccessKey, region: &str) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "# The administrator of this Godwit. Use it with: export AWS_SHARED_CREDENTIALS_FILE=<this file>\n\
         [default]\n{ID} = {}\n{SECRET} = {}\nregion = {region}\n",
        key.id,
        key.secret.as_str()
    ))
}

fn profiles(text: &str) -> BTreeMap<&str, Members<'_>> {
    let mut profiles: BTreeMap<&str, Members<'_>> = BTreeMap::new();
    let mut current = None;
    // What is further in than the member before it is a part of that member: `s3 =` has members of its own.
    let mut indent = usize::MAX;
    for line in text.lines() {
        let depth = line.len() - line.trim_start().len();
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) || depth > indent {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            (current, indent) = (profile_of(section), usize::MAX);
            current.map(|name| profiles.entry(name).or_default());
        } else if let (Some(profile), Some((name, value))) = (current, line.split_once('=')) {
            indent = depth;
            // As with variables, what is empty is absent.
            if !value.trim().is_empty() {
                profiles.entry(profile).or_default().insert(name.trim(), value.trim());
            }
        }
    }
    profiles
}

/// The profile that a section is of. The config file says `[profile NAME]`, the credentials file `[NAME]`; people mix
/// them up.
fn profile_of(section: &str) -> Option<&str> {
    match section.trim().split_once(char::is_whitespace) {
        None => Some(section.trim()),
        Some(("profile", name)) => Some(name.trim()),
        // `[sso-session …]`, `[services …]`.
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = "# comment\n[default]\naws_access_key_id = GW1\naws_secret_access_key=se=cret/+ \n\n\
        [profile other]\n; comment\naws_access_key_id=GW2\naws_secret_access_key=s2\naws_session_token=t\n[empty]\n";

    fn read(profile: &str) -> Result<AccessKey, KeysError> {
        from_text(FILE, Path::new("/c"), profile)
    }

    #[test]
    fn profiles_are_read_as_aws_tools_write_them() {
        let key = read("default").unwrap();
        assert_eq!((key.id.as_str(), key.secret.as_str(), key.session_token), ("GW1", "se=cret/+", None));
        let key = read("other").unwrap();
        assert_eq!((key.id.as_str(), key.session_token.unwrap().as_str()), ("GW2", "t"));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(read("empty").unwrap_err().to_string(), "the profile 'empty' in /c has no aws_access_key_id");
        let folder = tempfile::tempdir().unwrap();
        let (file, config) = (folder.path().join("c"), folder.path().join("d"));
        std::fs::write(&file, FILE).unwrap();
        std::fs::write(&config, "[profile more]\nregion = r\n[half]\naws_access_key_id = GW\n").unwrap();
        let of = |profile: &str| {
            let (file, config_file) = (Some(file.clone()), Some(config.clone()));
            find(&Places { file, config_file, profile: Some(profile.into()), ..Places::default() }).unwrap_err()
        };
        let nobody = of("nobody").to_string();
        assert!(nobody.starts_with("there is no profile 'nobody' in ") && nobody.contains("/c or "), "{nobody}");
        assert!(nobody.ends_with("/d (there are: default, empty, half, more, other)"), "{nobody}");
        assert!(matches!(of("more"), KeysError::Nowhere { .. }));
        assert!(matches!(of("half"), KeysError::Incomplete { missing: SECRET, .. }));
    }

    #[test]
    fn the_environment_wins_unless_a_profile_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("credentials");
        std::fs::write(&file, FILE).unwrap();
        let mut places = Places {
            access_key_id: Some("ENV".into()),
            secret_access_key: Some(Zeroizing::new("s".into())),
            file: Some(file),
            ..Places::default()
        };
        assert_eq!(find(&places).unwrap().id, "ENV");
        (places.profile, places.profile_by_option) = (Some("other".into()), true);
        assert_eq!(find(&places).unwrap().id, "GW2");
        (places.profile_by_option, places.access_key_id) = (false, None);
        assert!(matches!(find(&places), Err(KeysError::HalfPair { missing: "AWS_ACCESS_KEY_ID", .. })));
    }

    #[test]
    fn a_file_that_was_named_must_be_there_and_the_usual_one_need_not() {
        let folder = tempfile::tempdir().unwrap();
        let home = Places { home: Some(folder.path().to_owned()), ..Places::default() };
        let files = [".aws/credentials", ".aws/config"].map(|name| folder.path().join(name)).to_vec();
        assert_eq!(find(&home), Err(KeysError::Nowhere { profile: "default".into(), files }));
        let named = Places { file: Some(folder.path().join("no")), ..Places::default() };
        assert!(matches!(find(&named), Err(KeysError::Unreadable { .. })));
    }

    #[test]
    fn the_config_file_is_looked_into_after_the_credentials_file() {
        let folder = tempfile::tempdir().unwrap();
        let config = "[default]\nregion = eu-central-1\naws_access_key_id = GW3\naws_secret_access_key = s3\n\
            [profile both]\naws_access_key_id = GW4\naws_secret_access_key = s4\nregion = r4\n\
            [services both]\naws_access_key_id = GW5\n";
        std::fs::create_dir(folder.path().join(".aws")).unwrap();
        std::fs::write(folder.path().join(".aws/config"), config).unwrap();
        let mut places = Places { home: Some(folder.path().to_owned()), ..Places::default() };
        assert_eq!(find(&places).unwrap().id, "GW3");
        assert_eq!(region(&places).as_deref(), Some("eu-central-1"));
        let credentials = "[default]\nregion = r1\n[both]\naws_access_key_id=GW6\naws_secret_access_key=s6\n";
        std::fs::write(folder.path().join(".aws/credentials"), credentials).unwrap();
        assert_eq!((find(&places).unwrap().id, region(&places)), ("GW3".into(), Some("r1".into())));
        places.profile = Some("both".into());
        assert_eq!((find(&places).unwrap().id, region(&places)), ("GW6".into(), Some("r4".into())));
        places.profile = Some("services both".into());
        assert!(find(&places).is_err() && region(&places).is_none());
    }

    #[test]
    fn members_of_members_and_empty_ones_are_none_of_the_profile() {
        let text = "[default]\n  a = 1\n  s3 =\n    region = nested\n  aws_access_key_id =\n  b = 2\n[x]\nb = 3\n";
        let profiles = profiles(text);
        assert_eq!(profiles["default"], Members::from([("a", "1"), ("b", "2")]));
        assert_eq!(profiles["x"], Members::from([("b", "3")]));
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", read("default").unwrap()).contains("se=cret"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(id in "GW[A-Z0-9]{18}", secret in "[A-Za-z0-9+/]{40}") {
            let key = AccessKey { id, secret: Zeroizing::new(secret), session_token: None };
            let text = to_text(&key, "us-east-1");
            prop_assert_eq!(from_text(&text, Path::new("/c"), "default").unwrap(), key);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
            let _ = from_text(&text, Path::new("/c"), "default");
        }
    }
}
