//! A policy as people write it: the JSON of IAM, as far as it means something here.

use super::{Actions, Effect, Pattern, Policy, Statement};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Characters of a document at most: as much as IAM takes.
pub const LONGEST_DOCUMENT: usize = 6_144;

/// Statements of a policy at most: every call looks at all of its caller's.
pub const MOST_STATEMENTS: usize = 100;

/// The versions of the language that IAM knows. They differ in nothing that we take.
const VERSIONS: [&str; 2] = ["2012-10-17", "2008-10-17"];

/// A text that is no policy: what is wrong, where, and what to do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NotAPolicy {
    /// Not the JSON of a policy.
    #[error("it is not understood: {0}")]
    Json(String),
    /// Too much of it.
    #[error("it has {0} characters, at most {LONGEST_DOCUMENT} are allowed: split it into several policies")]
    TooLong(usize),
    /// Too many statements.
    #[error("it has {0} statements: give 1 to {MOST_STATEMENTS}")]
    Statements(usize),
    /// A version of the language that does not exist.
    #[error("Version '{0}' does not exist: write 2012-10-17 or leave it out")]
    Version(String),
    /// A statement that is not understood.
    #[error("statement {number}: {problem}")]
    Statement {
        /// Which one, counted from 1.
        number: usize,
        /// What is wrong and what to write instead.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", expecting = "an object with Version and Statement")]
struct WrittenPolicy {
    version: Option<String>,
    #[serde(rename = "Id")]
    _id: Option<String>,
    statement: OneOrMany<WrittenStatement>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "PascalCase", expecting = "an object with Effect and Action")]
struct WrittenStatement {
    #[serde(rename = "Sid")]
    _sid: Option<String>,
    effect: String,
    action: Option<OneOrMany<String>>,
    not_action: Option<OneOrMany<String>>,
    resource: Option<OneOrMany<String>>,
    not_resource: Option<IgnoredAny>,
    condition: Option<IgnoredAny>,
    principal: Option<IgnoredAny>,
    not_principal: Option<IgnoredAny>,
}

/// What IAM lets people write alone or in a list.
struct OneOrMany<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one, or a list of them")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vec<T>, E> {
                T::deserialize(StrDeserializer::new(text)).map(|one| vec![one])
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Vec<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| vec![one])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = seq.next_element()? {
                    all.push(one);
                }
                Ok(all)
            }
        }
        deserializer.deserialize_any(Either(PhantomData)).map(OneOrMany)
    }
}

impl Policy {
    /// Reads a policy as people write it. Whether its actions exist is said by [`Policy::check`].
    pub fn parse(text: &str) -> Result<Policy, NotAPolicy> {
        let length = text.chars().count();
        if length > LONGEST_DOCUMENT {
            return Err(NotAPolicy::TooLong(length));
        }
        let written: WrittenPolicy = serde_json::from_str(text).map_err(|error| NotAPolicy::Json(error.to_string()))?;
        if let Some(version) = written.version
            && !VERSIONS.contains(&version.as_str())
        {
            return Err(NotAPolicy::Version(version.chars().take(64).collect()));
        }
        let statements = written.statement.0;
        if statements.is_empty() || statements.len() > MOST_STATEMENTS {
            return Err(NotAPolicy::Statements(statements.len()));
        }
        let numbered = statements.into_iter().enumerate();
        let read = numbered.map(|(n, statement)| {
            Statement::read(statement).map_err(|problem| NotAPolicy::Statement { number: n + 1, problem })
        });
        Ok(Policy { statements: read.collect::<Result<_, _>>()? })
    }
}

impl Statement {
    fn read(written: WrittenStatement) -> Result<Statement, String> {
        let effect = match written.effect.as_str() {
            "Allow" => Effect::Allow,
            "Deny" => Effect::Deny,
            other => return Err(format!("Effect '{}' is neither Allow nor Deny", cut(other))),
        };
        if written.principal.is_some() || written.not_principal.is_some() {
            return Err("it has a Principal: leave it out, a policy is for the users that it is attached to".into());
        }
        if written.condition.is_some() {
            return Err("it has a Condition: there are none here, and one that is ignored would allow too much".into());
        }
        let everything = written.resource.is_none_or(|resource| resource.0 == ["*"]);
        if !everything || written.not_resource.is_some() {
            return Err("it names a Resource: there are no permissions for single resources; leave Resource out, or \
                        write \"*\""
                .into());
        }
        let actions = match (written.action, written.not_action) {
            (Some(actions), None) => Actions::Of(patterns(actions.0)?),
            (None, Some(actions)) => Actions::AllBut(patterns(actions.0)?),
            _ => return Err("give either Action or NotAction".into()),
        };
        Ok(Statement { effect, actions })
    }
}

fn patterns(written: Vec<String>) -> Result<Vec<Pattern>, String> {
    if written.is_empty() {
        return Err("its list of actions is empty".into());
    }
    let read = |text: String| {
        let is_one =
            text == "*" || (text.contains(':') || text.contains('*')) && text.bytes().all(|b| b.is_ascii_graphic());
        match is_one {
            true => Ok(Pattern(text)),
            false => Err(format!("'{}' is no action: write sms:GetServers, sms:* or *", cut(&text))),
        }
    };
    written.into_iter().map(read).collect()
}

/// The beginning of a text, fit for a message.
fn cut(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_iam_tools_write_is_read() {
        let text = r#"{"Version": "2012-10-17", "Id": "i", "Statement": [{"Sid": "all", "Effect": "Allow",
            "Action": ["sms:*", "godwit:Describe*"], "Resource": "*"}, {"Effect": "Deny", "NotAction": "sms:*",
            "Resource": ["*"]}]}"#;
        assert_eq!(Policy::parse(text).unwrap().statements.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let statement = |more: &str| format!(r#"{{"Statement": [{{"Effect": "Allow", "Action": "*"}}, {{{more}}}]}}"#);
        for (text, words) in [
            ("".to_owned(), "not understood: EOF"),
            ("[]".to_owned(), "an object with Version and Statement"),
            (r#"{"Statement": []}"#.to_owned(), "0 statements"),
            (r#"{"statement": []}"#.to_owned(), "unknown field `statement`"),
            (
                r#"{"Version": "2030-01-01", "Statement": {"Effect": "Allow", "Action": "*"}}"#.to_owned(),
                "does not exist",
            ),
            (r#"{"Statement": 7}"#.to_owned(), "one, or a list of them"),
            (statement(r#""Effect": "allow", "Action": "*""#), "statement 2: Effect 'allow'"),
            (statement(r#""Effect": "Allow""#), "either Action or NotAction"),
            (statement(r#""Effect": "Allow", "Action": "*", "NotAction": "*""#), "either Action or NotAction"),
            (statement(r#""Effect": "Allow", "Action": []"#), "empty"),
            (statement(r#""Effect": "Allow", "Action": "GetServers""#), "'GetServers' is no action"),
            (
                statement(r#""Effect": "Allow", "Action": "sms:*", "Resource": "arn:aws:x""#),
                "no permissions for single",
            ),
            (statement(r#""Effect": "Allow", "Action": "sms:*", "NotResource": "x""#), "no permissions for single"),
            (statement(r#""Effect": "Allow", "Action": "sms:*", "Condition": {}"#), "Condition"),
            (statement(r#""Effect": "Allow", "Action": "sms:*", "Principal": "*""#), "Principal"),
            (statement(r#""Effect": "Allow", "Effect": "Deny", "Action": "sms:*""#), "duplicate field"),
            ("x".repeat(LONGEST_DOCUMENT + 1), "6145 characters"),
        ] {
            let error = Policy::parse(&text).unwrap_err().to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,200}") {
            let _ = Policy::parse(&text);
        }
    }
}
