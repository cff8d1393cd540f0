//! Access keys, found where AWS tools look for them, and the file in which they are written down.

use std::collections::BTreeMap;
use std::fmt;
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
    /// The home folder.
    pub home: Option<PathBuf>,
    /// `--profile` or `AWS_PROFILE`.
    pub profile: Option<String>,
    /// Whether the profile was asked for by option: then it wins over keys of the environment.
    pub profile_by_option: bool,
}

/// Why there are no keys.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// Nothing anywhere.
    #[error("no access keys found: neither in the environment nor in {}", file.display())]
    Nowhere {
        /// Which file was looked for.
        file: PathBuf,
    },
    /// Half of a pair in the environment.
    #[error("{present} is set, but {missing} is not")]
    HalfPair {
        /// The variable that is there.
        present: &'static str,
        /// The variable that is not.
        missing: &'static str,
    },
    /// The file cannot be read.
    #[error("the credentials file {} cannot be read: {reason}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// The file has no such profile.
    #[error("the credentials file {} has no profile '{profile}' (it has: {there})", file.display())]
    NoProfile {
        /// Which file.
        file: PathBuf,
        /// What was looked for.
        profile: String,
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

const ID: &str = "aws_access_key_id";
const SECRET: &str = "aws_secret_access_key";
const TOKEN: &str = "aws_session_token";

/// Finds the key pair: the environment first, then the profile in the credentials file.
pub fn find(places: &Places) -> Result<AccessKey, KeysError> {
    if !places.profile_by_option {
        match (&places.access_key_id, &places.secret_access_key) {
            (Some(id), Some(secret)) => {
                let session_token = places.session_token.clone();
                return Ok(AccessKey { id: id.clone(), secret: secret.clone(), session_token });
            }
            (Some(_), None) => {
                return Err(KeysError::HalfPair { present: "AWS_ACCESS_KEY_ID", missing: "AWS_SECRET_ACCESS_KEY" });
            }
            (None, Some(_)) => {
                return Err(KeysError::HalfPair { present: "AWS_SECRET_ACCESS_KEY", missing: "AWS_ACCESS_KEY_ID" });
            }
            (None, None) => {}
        }
    }
    let (file, named) = match (&places.file, &places.home) {
        (Some(file), _) => (file.clone(), true),
        (None, Some(home)) => (home.join(".aws/credentials"), false),
        (None, None) => (PathBuf::from("~/.aws/credentials"), false),
    };
    match std::fs::read_to_string(&file) {
        Ok(text) => from_text(&Zeroizing::new(text), &file, places.profile.as_deref().unwrap_or("default")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => Err(KeysError::Nowhere { file }),
        Err(error) => Err(KeysError::Unreadable { file, reason: error.to_string() }),
    }
}

/// The key pair of a profile in the text of a credentials file.
pub fn from_text(text: &str, file: &Path, profile: &str) -> Result<AccessKey, KeysError> {
    let profiles = profiles(text);
    let Some(members) = profiles.get(profile) else {
        let there = profiles.keys().copied().collect::<Vec<_>>().join(", ");
        let there = if there.is_empty() { "none".to_owned() } else { there };
        return Err(KeysError::NoProfile { file: file.to_owned(), profile: profile.to_owned(), there });
    };
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

/// A credentials file with this one pair as its default profile.
pub fn to_text(key: &AccessKey, region: &str) -> Zeroizing<String> {
    Zeroizing::new(format!(
        "# The administrator of this Godwit. Use it with: export AWS_SHARED_CREDENTIALS_FILE=<this file>\n\
         [default]\n{ID} = {}\n{SECRET} = {}\nregion = {region}\n",
        key.id,
        key.secret.as_str()
    ))
}

fn profiles(text: &str) -> BTreeMap<&str, BTreeMap<&str, &str>> {
    let mut profiles: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    let mut current = None;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            // The other file of AWS tools says `[profile NAME]`; people mix them up.
            let name = name.trim();
            let name = name.strip_prefix("profile ").map_or(name, str::trim);
            profiles.entry(name).or_default();
            current = Some(name);
        } else if let (Some(profile), Some((name, value))) = (current, line.split_once('=')) {
            profiles.entry(profile).or_default().insert(name.trim(), value.trim());
        }
    }
    profiles
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
        assert_eq!(
            read("nobody").unwrap_err().to_string(),
            "the credentials file /c has no profile 'nobody' (it has: default, empty, other)"
        );
        assert_eq!(read("empty").unwrap_err().to_string(), "the profile 'empty' in /c has no aws_access_key_id");
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
        assert_eq!(find(&home), Err(KeysError::Nowhere { file: folder.path().join(".aws/credentials") }));
        let named = Places { file: Some(folder.path().join("no")), ..Places::default() };
        assert!(matches!(find(&named), Err(KeysError::Unreadable { .. })));
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
