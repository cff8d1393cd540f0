//! Checks a request's JSON against the rules of its operation, before any structure is built from it.
//!
//! One interpreter instead of generated code: the tables in `rules` say what is allowed, and every refusal names the
//! member by its path. A wrong JSON type is a serialisation error, a missing member or a wrong value is an error that
//! the model lists.

use crate::errors::{ApiError, ErrorCode};
use serde_json::{Map, Value};

/// No upper bound for the length of a text, other than that of the body.
pub const ANY: usize = usize::MAX;
/// A text without constraints.
pub const TEXT: Rule = Rule::Text { min: 0, max: ANY, pattern: None };
/// An integer without constraints other than its 32 bits.
pub const INTEGER: Rule = Rule::Integer { min: i32::MIN as i64, max: i32::MAX as i64 };
/// `true` or `false`.
pub const BOOLEAN: Rule = Rule::Boolean;
/// A number of bytes or things.
pub const COUNT: Rule = Rule::Count { max: i64::MAX as u64 };

/// How much of a wrong value a message repeats.
pub const ECHO: usize = 64;

/// What a value must be.
pub enum Rule {
    /// A text of `min` to `max` characters that matches `pattern`.
    Text {
        /// Fewest characters.
        min: usize,
        /// Most characters.
        max: usize,
        /// What it must look like.
        pattern: Option<Pattern>,
    },
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// A whole number that fits 32 bits, within bounds.
    Integer {
        /// Smallest allowed.
        min: i64,
        /// Largest allowed.
        max: i64,
    },
    /// A whole number, not negative.
    Count {
        /// Largest allowed.
        max: u64,
    },
    /// `true` or `false`.
    Boolean,
    /// Seconds since the epoch, as a number.
    Timestamp,
    /// A list, each element of which obeys the rule.
    List(&'static Rule),
    /// An object.
    Structure(&'static Structure),
}

/// A text's form.
pub struct Pattern {
    /// As the model writes it.
    pub text: &'static str,
    /// The same in code.
    pub matches: fn(&str) -> bool,
}

/// The members of an object. Members that are not listed are ignored.
pub struct Structure(pub &'static [Member]);

/// A member of an object.
pub struct Member {
    /// Its name on the wire.
    pub name: &'static str,
    /// Whether it must be there.
    pub required: bool,
    /// What its value must be.
    pub rule: Rule,
}

/// A member that must be there.
pub const fn required(name: &'static str, rule: Rule) -> Member {
    Member { name, required: true, rule }
}

/// A member that may be absent; `null` is absent.
pub const fn optional(name: &'static str, rule: Rule) -> Member {
    Member { name, required: false, rule }
}

impl Structure {
    /// Checks a request. What is wrong first, in the order of the model, is what the error names.
    pub fn check(&self, request: &Map<String, Value>) -> Result<(), ApiError> {
        self.check_at(request, "")
    }

    fn check_at(&self, object: &Map<String, Value>, path: &str) -> Result<(), ApiError> {
        for member in self.0 {
            let at = if path.is_empty() { member.name.to_owned() } else { format!("{path}.{}", member.name) };
            match object.get(member.name) {
                Some(Value::Null) | None if member.required => {
                    let message = format!("The request lacks the required member {at}.");
                    return Err(ApiError::new(ErrorCode::MissingRequiredParameterException, message));
                }
                Some(Value::Null) | None => {}
                Some(value) => member.rule.check(value, &at)?,
            }
        }
        Ok(())
    }
}

impl Rule {
    fn check(&self, value: &Value, at: &str) -> Result<(), ApiError> {
        match (self, value) {
            (Rule::Text { min, max, pattern }, Value::String(text)) => {
                check_text(text, *min, *max, pattern.as_ref(), at)
            }
            (Rule::OneOf(allowed), Value::String(text)) => {
                if allowed.contains(&text.as_str()) {
                    return Ok(());
                }
                Err(invalid(at, format!("'{}' is not one of {}", echo(text), allowed.join(", "))))
            }
            (Rule::Integer { min, max }, Value::Number(number)) => {
                let Some(number) = number.as_i64().filter(|n| i32::try_from(*n).is_ok()) else {
                    return Err(self.wrong_type(at));
                };
                if (*min..=*max).contains(&number) {
                    return Ok(());
                }
                Err(invalid(at, format!("{number} is not between {min} and {max}")))
            }
            (Rule::Count { max }, Value::Number(number)) => {
                if !number.is_i64() && !number.is_u64() {
                    return Err(self.wrong_type(at));
                }
                if number.as_u64().is_some_and(|n| n <= *max) {
                    return Ok(());
                }
                Err(invalid(at, format!("{number} is not between 0 and {max}")))
            }
            (Rule::Boolean, Value::Bool(_)) | (Rule::Timestamp, Value::Number(_)) => Ok(()),
            (Rule::List(element), Value::Array(values)) => {
                values.iter().enumerate().try_for_each(|(n, value)| element.check(value, &format!("{at}[{n}]")))
            }
            (Rule::Structure(structure), Value::Object(object)) => structure.check_at(object, at),
            _ => Err(self.wrong_type(at)),
        }
    }

    fn wrong_type(&self, at: &str) -> ApiError {
        let wanted = match self {
            Rule::Text { .. } | Rule::OneOf(_) => "a string",
            Rule::Integer { .. } => "a whole number of 32 bits",
            Rule::Count { .. } => "a whole number",
            Rule::Boolean => "true or false",
            Rule::Timestamp => "a number of seconds since 1970-01-01T00:00:00Z",
            Rule::List(_) => "a list",
            Rule::Structure(_) => "an object",
        };
        ApiError::new(ErrorCode::SerializationException, format!("{at} must be {wanted}."))
    }
}

fn check_text(text: &str, min: usize, max: usize, pattern: Option<&Pattern>, at: &str) -> Result<(), ApiError> {
    let length = text.chars().count();
    if length < min {
        return Err(invalid(at, format!("it has {length} characters, at least {min} are needed")));
    }
    if length > max {
        return Err(invalid(at, format!("it has {length} characters, at most {max} are allowed")));
    }
    match pattern {
        Some(pattern) if !(pattern.matches)(text) => {
            Err(invalid(at, format!("'{}' does not match {}", echo(text), pattern.text)))
        }
        _ => Ok(()),
    }
}

fn invalid(at: &str, why: String) -> ApiError {
    ApiError::new(ErrorCode::InvalidParameterException, format!("{at}: {why}."))
}

/// The beginning of a value, fit for a message.
fn echo(text: &str) -> String {
    text.chars().take(ECHO).collect()
}

/// The forms of texts that the model knows.
pub mod pattern {
    use super::Pattern;

    /// An id of an application.
    pub const APP_ID: Pattern = Pattern { text: "^app-[0-9a-f]{17}$", matches: |text| hex_id(text, "app-") };
    /// An id of a validation.
    pub const VALIDATION_ID: Pattern = Pattern { text: "^val-[0-9a-f]{17}$", matches: |text| hex_id(text, "val-") };
    /// An id of an EC2 or a managed instance.
    pub const INSTANCE_ID: Pattern = Pattern { text: r"(^i-(\w{8}|\w{17})$)|(^mi-\w{17}$)", matches: instance_id };
    /// Something without white space.
    pub const NO_SPACE: Pattern =
        Pattern { text: r"^[\S]+$", matches: |text| !text.is_empty() && !text.contains(char::is_whitespace) };

    fn hex_id(text: &str, prefix: &str) -> bool {
        let is_hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        text.strip_prefix(prefix).is_some_and(|digits| digits.len() == 17 && digits.bytes().all(is_hex))
    }

    fn instance_id(text: &str) -> bool {
        let word = |text: &str, lengths: &[usize]| {
            lengths.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        text.strip_prefix("i-").is_some_and(|rest| word(rest, &[8, 17]))
            || text.strip_prefix("mi-").is_some_and(|rest| word(rest, &[17]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shapes::rules;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(structure: &Structure, request: Value) -> Result<(), (&'static str, String)> {
        let Value::Object(request) = request else { panic!("requests are objects") };
        structure.check(&request).map_err(|e| (e.code().as_str(), e.message().to_owned()))
    }

    fn refused(structure: &Structure, request: Value, code: &str, words: &str) {
        let (was, message) = check(structure, request.clone()).expect_err(&format!("{request} is wrong"));
        assert_eq!(was, code, "{request}: {message}");
        assert!(message.contains(words), "'{words}' is missing in: {message}");
    }

    fn create(more: Value) -> Value {
        let mut request = json!({"serverId": "s-12345678", "seedReplicationTime": 1767323045});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        request
    }

    #[test]
    fn good_requests_pass() {
        let rules = &rules::CREATE_REPLICATION_JOB_REQUEST;
        assert_eq!(check(rules, create(json!({}))), Ok(()));
        assert_eq!(check(rules, create(json!({"licenseType": "BYOL", "frequency": 12, "runOnce": null}))), Ok(()));
        assert_eq!(check(rules, create(json!({"unheardOf": [1, {"x": null}]}))), Ok(()));
        assert_eq!(check(rules, create(json!({"seedReplicationTime": 1767323045.678}))), Ok(()));
        assert_eq!(check(&rules::GET_SERVERS_REQUEST, json!({})), Ok(()));
    }

    #[test]
    fn wrong_types_name_the_member() {
        let rules = &rules::CREATE_REPLICATION_JOB_REQUEST;
        let code = "SerializationException";
        refused(rules, create(json!({"serverId": 7})), code, "serverId must be a string");
        refused(rules, create(json!({"frequency": "12"})), code, "frequency must be a whole number");
        refused(rules, create(json!({"frequency": 1.5})), code, "frequency must be a whole number");
        refused(rules, create(json!({"frequency": 3_000_000_000u64})), code, "frequency must be a whole number");
        refused(rules, create(json!({"runOnce": 1})), code, "runOnce must be true or false");
        refused(rules, create(json!({"seedReplicationTime": "2026-01-01"})), code, "seedReplicationTime must be");
        refused(&rules::GET_SERVERS_REQUEST, json!({"vmServerAddressList": {}}), code, "must be a list");
        refused(
            &rules::GET_SERVERS_REQUEST,
            json!({"vmServerAddressList": [{}, {"vmId": 5}]}),
            code,
            "vmServerAddressList[1].vmId must be a string",
        );
        refused(&rules::GET_SERVERS_REQUEST, json!({"vmServerAddressList": [null]}), code, "must be an object");
    }

    #[test]
    fn missing_members_are_named() {
        let code = "MissingRequiredParameterException";
        refused(&rules::CREATE_REPLICATION_JOB_REQUEST, json!({"serverId": "s-1"}), code, "seedReplicationTime");
        refused(&rules::CREATE_REPLICATION_JOB_REQUEST, json!({"serverId": null}), code, "serverId");
        refused(&rules::DISASSOCIATE_CONNECTOR_REQUEST, json!({}), code, "connectorId");
    }

    #[test]
    fn wrong_values_name_what_is_allowed() {
        let code = "InvalidParameterException";
        let rules = &rules::CREATE_REPLICATION_JOB_REQUEST;
        refused(rules, create(json!({"licenseType": "Auto"})), code, "licenseType: 'Auto' is not one of AWS, BYOL");
        let put = &rules::PUT_APP_VALIDATION_CONFIGURATION_REQUEST;
        let app = "app-0123456789abcdef0";
        refused(put, json!({"appId": "app-1"}), code, "appId: 'app-1' does not match ^app-[0-9a-f]{17}$");
        let ssm =
            |more: Value| json!({"appId": app, "appValidationConfigurations": [{"ssmValidationParameters": more}]});
        refused(put, ssm(json!({"executionTimeoutSeconds": 59})), code, "59 is not between 60 and 28800");
        refused(put, ssm(json!({"command": ""})), code, "at least 1");
        refused(put, ssm(json!({"command": "x".repeat(64_001)})), code, "at most 64000");
        refused(put, ssm(json!({"instanceId": "i-123"})), code, "instanceId: 'i-123' does not match");
        assert_eq!(check(put, ssm(json!({"instanceId": "i-12345678", "executionTimeoutSeconds": 60}))), Ok(()));
    }

    #[test]
    fn patterns_are_those_of_the_model() {
        for (pattern, good, bad) in [
            (pattern::APP_ID, "app-0123456789abcdef0", "app-0123456789ABCDEF0"),
            (pattern::VALIDATION_ID, "val-0123456789abcdef0", "val-0123456789abcdef"),
            (pattern::INSTANCE_ID, "mi-0123456789abcdefX", "mi-12345678"),
            (pattern::INSTANCE_ID, "i-_1234567", "i-é123456"),
            (pattern::NO_SPACE, "name", "two words"),
            (pattern::NO_SPACE, "é", ""),
        ] {
            assert!((pattern.matches)(good), "{good} matches {}", pattern.text);
            assert!(!(pattern.matches)(bad), "{bad} does not match {}", pattern.text);
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let name = prop_oneof![Just("vmId"), Just("vmManagerId"), Just("maxResults"), Just("x")];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((name, inner), 0..4).prop_map(|pairs| pairs
                    .into_iter()
                    .map(|(k, v)| (k.to_owned(), v))
                    .collect::<Map<_, _>>()
                    .into()),
            ]
        })
    }

    proptest! {
        /// The point of the rules: what they let pass can be turned into the structure.
        #[test]
        fn what_passes_deserialises(token in any_json(), max in any_json(), list in any_json()) {
            use crate::shapes::requests::GetServersRequest;
            let request = json!({"nextToken": token, "maxResults": max, "vmServerAddressList": list});
            if check(&rules::GET_SERVERS_REQUEST, request.clone()).is_ok() {
                prop_assert!(serde_json::from_value::<GetServersRequest>(request.clone()).is_ok(), "{}", request);
            }
        }
    }
}
