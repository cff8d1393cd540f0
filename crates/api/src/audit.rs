//! What of a call goes on record: who, what, parameters without secrets, outcome. Pure.
//!
//! Parameters are taken by what is known of them and not by what is known to be secret: only members that the operation
//! has a rule for are shown at all, and of these not the ones whose name says that they hold a secret. Of URLs only
//! scheme and host are shown: web hooks carry their secret in the path. Long values are cut.

use crate::errors::ApiError;
use crate::operations::Entry;
use crate::shapes::rule::{ECHO, Rule, Structure};
use godwit_control::audit::{Caller, NewAuditRecord, OK};
use godwit_model::time::Timestamp;
use http::request::Parts;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;

/// Stands for a value that is not shown.
const HIDDEN: &str = "(secret)";

/// Characters of a text that are shown: a policy is to be seen whole.
const LONGEST_TEXT: usize = 1_500;

/// The same if all together are too long.
const SHORT_TEXT: usize = 32;

/// Elements of a list that are shown.
const LONGEST_LIST: usize = 32;

/// Bytes of all parameters: an export reads thousands of times, so that records are many and must be small.
const LONGEST_PARAMETERS: usize = 4_096;

/// Characters of the name of an operation that does not exist.
const LONGEST_TARGET: usize = 128;

/// Characters of an error's message.
const LONGEST_MESSAGE: usize = 512;

/// What a name has in it if its value is not to be shown. In small letters.
const SECRET_NAMES: [&str; 11] = [
    "secret",
    "password",
    "passphrase",
    "token",
    "credential",
    "privatekey",
    "plaintext",
    "material",
    "signature",
    "authorization",
    "command",
];

/// The address that a connection came from. Put into a request's extensions by whoever accepts connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer(pub SocketAddr);

/// What is known of a call so far.
#[derive(Default)]
pub(crate) struct Note {
    /// Who, once that is proven.
    pub caller: Option<Caller>,
    /// The access key that the request names, proven or not.
    pub claimed_key: Option<String>,
    /// Which operation, once it is known to exist.
    pub entry: Option<&'static Entry>,
    /// Address that it came from.
    pub source: String,
    /// Whether its begin is on record.
    pub begun: bool,
    /// Of an operation that answers with bytes: which volume of which image they are of.
    pub volume: String,
    at: Option<Timestamp>,
    unknown_target: Option<String>,
    shown: Shown,
}

/// Parameters as they may be shown, and what may not.
#[derive(Default)]
struct Shown {
    /// Characters of a text.
    longest: usize,
    parameters: Option<Value>,
    /// Texts that no message may repeat.
    hidden: Vec<String>,
}

impl Note {
    /// A call comes in.
    pub fn of(head: &Parts, now: Timestamp) -> Note {
        let source = head.extensions.get::<Peer>().map(|peer| peer.0.to_string()).unwrap_or_default();
        Note { at: Some(now), source, ..Note::default() }
    }

    /// The operation's name.
    pub fn operation(&self) -> Option<&'static str> {
        self.entry.map(|entry| entry.name)
    }

    /// It names an operation that does not exist.
    pub fn unknown(&mut self, target: &[u8]) {
        self.unknown_target = Some(String::from_utf8_lossy(target).chars().take(LONGEST_TARGET).collect());
    }

    /// These are its parameters.
    pub fn parameters(&mut self, entry: &Entry, request: &Map<String, Value>) {
        let mut shown = Shown { longest: LONGEST_TEXT, ..Shown::default() };
        let mut value = shown.object(request, entry.rules());
        if value.to_string().len() > LONGEST_PARAMETERS {
            value = Shown { longest: SHORT_TEXT, ..Shown::default() }.object(request, entry.rules());
        }
        if value.to_string().len() > LONGEST_PARAMETERS {
            value = json!({ "(cut)": format!("{} members", request.len()) });
        }
        self.shown = Shown { parameters: Some(value), ..shown };
        if entry.answers_bytes() {
            self.volume = json!(["imageId", "volume"].map(|name| request.get(name))).to_string();
        }
    }

    /// The record of a call whose caller is proven; without an outcome it is only about to begin.
    pub fn record(&self, outcome: Option<Result<(), &ApiError>>, request_id: &str) -> Option<NewAuditRecord> {
        let caller = self.caller.clone()?;
        let (outcome, message) = match outcome {
            None => (String::new(), String::new()),
            Some(Ok(())) => (OK.to_owned(), String::new()),
            Some(Err(error)) => (error.code().as_str().to_owned(), self.shown.message(error.message())),
        };
        let parameters = match (&self.shown.parameters, &self.unknown_target) {
            (Some(parameters), _) => parameters.clone(),
            (None, Some(target)) => json!({ "target": target }),
            (None, None) => json!({}),
        };
        Some(NewAuditRecord {
            at: self.at.unwrap_or(Timestamp(0)),
            caller,
            action: self.entry.map_or("unknown", |entry| entry.permission).to_owned(),
            parameters: parameters.to_string(),
            outcome,
            message,
            request_id: request_id.to_owned(),
            source: self.source.clone(),
        })
    }
}

impl Shown {
    fn object(&mut self, object: &Map<String, Value>, structure: &Structure) -> Value {
        let mut shown = Map::new();
        let mut unknown = 0;
        for (name, value) in object {
            match structure.0.iter().find(|member| member.name == name) {
                // Whatever it is, it does nothing; it may be a secret that was put into the wrong place.
                None => {
                    unknown += 1;
                    self.hide(value);
                }
                Some(_) if is_secret(name) => {
                    self.hide(value);
                    shown.insert(name.clone(), HIDDEN.into());
                }
                Some(member) => {
                    shown.insert(name.clone(), self.value(value, &member.rule));
                }
            }
        }
        if unknown > 0 {
            shown.insert("(unknown members)".to_owned(), unknown.into());
        }
        shown.into()
    }

    fn value(&mut self, value: &Value, rule: &Rule) -> Value {
        match (value, rule) {
            (Value::String(text), _) => self.text(text).into(),
            (Value::Array(list), Rule::List(element)) => {
                let mut shown: Vec<Value> =
                    list.iter().take(LONGEST_LIST).map(|value| self.value(value, element)).collect();
                if list.len() > LONGEST_LIST {
                    shown.push(format!("… {} in all", list.len()).into());
                }
                shown.into()
            }
            (Value::Object(object), Rule::Structure(structure)) => self.object(object, structure),
            (Value::Array(_) | Value::Object(_), _) => {
                self.hide(value);
                "(of another type)".into()
            }
            (value, _) => value.clone(),
        }
    }

    fn text(&mut self, text: &str) -> String {
        let text = match text.split_once("://") {
            Some((scheme, rest)) => {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let host = authority.rsplit('@').next().unwrap_or_default();
                let shown = format!("{scheme}://{host}");
                if shown == text {
                    shown
                } else {
                    self.hidden.push(text.to_owned());
                    format!("{shown}/…")
                }
            }
            None => text.to_owned(),
        };
        cut(&text, self.longest)
    }

    /// Remembers every text in a value that is not shown.
    fn hide(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.hidden.push(text.clone()),
            Value::Array(list) => list.iter().for_each(|value| self.hide(value)),
            Value::Object(object) => object.values().for_each(|value| self.hide(value)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A message may repeat what the caller sent, or its beginning.
    fn message(&self, message: &str) -> String {
        let mut message = message.to_owned();
        for text in &self.hidden {
            let beginning: String = text.chars().take(ECHO).collect();
            for hidden in [text.as_str(), &beginning] {
                if !hidden.is_empty() {
                    message = message.replace(hidden, HIDDEN);
                }
            }
        }
        cut(&message, LONGEST_MESSAGE)
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|part| name.contains(part))
}

fn cut(text: &str, longest: usize) -> String {
    let mut shown: String = text.chars().take(longest).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::ErrorCode;
    use crate::operations;
    use crate::shapes::rule::{TEXT, optional};
    use proptest::prelude::*;

    static INNER: Structure = Structure(&[optional("hookSecret", TEXT), optional("name", TEXT)]);
    static RULES: Structure = Structure(&[
        optional("userPassword", TEXT),
        optional("description", TEXT),
        optional("recipients", Rule::List(&TEXT)),
        optional("inner", Rule::Structure(&INNER)),
    ]);

    fn shown(request: Value) -> (Value, Shown) {
        let mut shown = Shown { longest: LONGEST_TEXT, ..Shown::default() };
        let value = shown.object(request.as_object().unwrap(), &RULES);
        (value, shown)
    }

    #[test]
    fn secrets_are_hidden_by_the_name_of_their_member() {
        let (value, _) = shown(json!({"userPassword": "hunter2", "inner": {"hookSecret": 7, "name": "n"}}));
        assert_eq!(value, json!({"userPassword": HIDDEN, "inner": {"hookSecret": HIDDEN, "name": "n"}}));
    }

    #[test]
    fn what_no_rule_knows_is_counted_and_not_shown() {
        let (value, _) = shown(json!({"pasword": "hunter2", "x": {"y": 1}, "description": {"hunter2": 1}}));
        assert_eq!(value, json!({"(unknown members)": 2, "description": "(of another type)"}));
    }

    #[test]
    fn of_addresses_only_the_host_is_shown() {
        let hooks = ["https://hooks.example.org/T0/hunter2", "https://u:hunter2@h.example.org", "ops@example.org"];
        let (value, _) = shown(json!({"recipients": hooks}));
        assert_eq!(
            value,
            json!({"recipients": ["https://hooks.example.org/…", "https://h.example.org/…", "ops@example.org"]})
        );
    }

    #[test]
    fn long_values_are_cut() {
        let (value, _) = shown(json!({"description": "é".repeat(2_000), "recipients": vec!["x"; 1_000]}));
        assert_eq!(value["description"].as_str().unwrap().chars().count(), LONGEST_TEXT + 1);
        assert_eq!(value["recipients"].as_array().unwrap().len(), LONGEST_LIST + 1);
        let entry = operations::find("Godwit_V1.CreateReplicationJob").unwrap();
        let mut note = Note { caller: Some(Caller::default()), entry: Some(entry), ..Note::default() };
        let mut shown = |request: Value| {
            note.parameters(entry, request.as_object().unwrap());
            note.record(Some(Ok(())), "r").unwrap().parameters
        };
        let policy = "p".repeat(1_400);
        assert!(shown(json!({"description": policy})).contains(&policy));
        let all = shown(json!({"serverId": "s-1", "recipients": vec!["x".repeat(300); 30]}));
        assert!(all.contains(r#""serverId":"s-1""#) && all.len() < LONGEST_PARAMETERS, "{all}");
        let wide = "\u{1}".repeat(1_000);
        let members: Map<String, Value> =
            entry.rules().0.iter().map(|m| (m.name.to_owned(), json!(vec![wide.clone(); 32]))).collect();
        assert!(shown(members.into()).len() < LONGEST_PARAMETERS);
    }

    #[test]
    fn messages_repeat_nothing_that_is_hidden() {
        let long = "s".repeat(100);
        let (_, shown) = shown(json!({"userPassword": "hunter2", "typo": long}));
        let message = format!("'hunter2' is not allowed, nor is '{}'", &long[..ECHO]);
        assert_eq!(shown.message(&message), format!("'{HIDDEN}' is not allowed, nor is '{HIDDEN}'"));
    }

    #[test]
    fn nobody_is_on_record_before_it_is_proven_who_it_is() {
        let error = ApiError::new(ErrorCode::InvalidSignatureException, "m");
        let note = Note { claimed_key: Some("GW1".into()), ..Note::default() };
        assert_eq!(note.record(Some(Err(&error)), "r"), None);
    }

    proptest! {
        #[test]
        fn no_secret_gets_through(secret in "[a-zA-Z0-9]{12,80}", n in 0usize..5) {
            let request = match n {
                0 => json!({"userPassword": secret}),
                1 => json!({"userPassword": {"a": [secret]}}),
                2 => json!({"inner": {"hookSecret": secret, "other": secret}}),
                3 => json!({"recipients": [format!("https://example.org/{secret}")]}),
                _ => json!({"recipients": [{"a": secret}], "unknown": [[secret]]}),
            };
            let (value, shown) = shown(request);
            let message = shown.message(&format!("x {secret} y"));
            let is_there = value.to_string().contains(&secret) || (n != 3 && message.contains(&secret));
            prop_assert!(!is_there, "{} {}", value, message);
        }
    }
}
