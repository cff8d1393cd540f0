//! Who may do what: policies of allow and deny statements, and the decision that follows from them.
//!
//! An action is named `sms:CreateReplicationJob` or `godwit:DeleteImage`: the API's target in short, and the operation.
//! What no statement allows is not allowed, and what one denies is denied whatever else allows it. So the order of
//! statements and policies never matters.

mod builtin;
mod document;

pub use builtin::{ADMINISTRATORS, BuiltIn, OPERATORS, is_reading};
pub use document::{LONGEST_DOCUMENT, MOST_STATEMENTS, NotAPolicy};

/// Characters of a name's difference up to which another name is offered as the one that was meant.
const NEAR: usize = 4;

/// A policy: what its holders may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    statements: Vec<Statement>,
}

/// What a statement does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It allows.
    Allow,
    /// It denies, whatever else allows.
    Deny,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Statement {
    effect: Effect,
    actions: Actions,
}

/// Which actions a statement is about.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Actions {
    Of(Vec<Pattern>),
    AllBut(Vec<Pattern>),
}

/// An action's name with `*` for any characters and `?` for one; capitals do not matter.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Pattern(String);

/// What policies say about an action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// A statement allows it, none denies it.
    Allowed,
    /// A statement denies it.
    Denied,
    /// No statement is about it.
    NotAllowed,
}

/// A pattern that no action matches: a slip, which would allow or deny nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("no action matches '{pattern}'{}", meant(nearest.as_deref()))]
pub struct UnknownAction {
    /// As it was written.
    pub pattern: String,
    /// The action that is written most alike.
    pub nearest: Option<String>,
}

fn meant(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(": is '{name}' meant?")).unwrap_or_default()
}

impl Policy {
    /// Refuses a pattern that matches none of the actions that there are.
    pub fn check(&self, known: &[&str]) -> Result<(), UnknownAction> {
        let patterns = self.statements.iter().flat_map(|statement| statement.actions.patterns());
        for pattern in patterns {
            if !known.iter().any(|action| pattern.matches(action)) {
                return Err(UnknownAction { pattern: pattern.0.clone(), nearest: nearest(&pattern.0, known) });
            }
        }
        Ok(())
    }
}

impl Actions {
    fn patterns(&self) -> &[Pattern] {
        let (Actions::Of(patterns) | Actions::AllBut(patterns)) = self;
        patterns
    }

    fn hold(&self, action: &str) -> bool {
        match self {
            Actions::Of(patterns) => patterns.iter().any(|pattern| pattern.matches(action)),
            Actions::AllBut(patterns) => !patterns.iter().any(|pattern| pattern.matches(action)),
        }
    }
}

impl Pattern {
    /// Takes time proportional to the lengths' product at most: on a mismatch only the last star is widened.
    fn matches(&self, action: &str) -> bool {
        let (pattern, action) = (self.0.as_bytes(), action.as_bytes());
        let (mut p, mut a) = (0, 0);
        let mut star = None;
        while a < action.len() {
            match pattern.get(p) {
                Some(b'*') => {
                    star = Some((p, a));
                    p += 1;
                }
                Some(letter) if *letter == b'?' || letter.eq_ignore_ascii_case(&action[a]) => {
                    p += 1;
                    a += 1;
                }
                _ => {
                    let Some((at, from)) = star else { return false };
                    star = Some((at, from + 1));
                    (p, a) = (at + 1, from + 1);
                }
            }
        }
        pattern[p..].iter().all(|letter| *letter == b'*')
    }
}

/// What these policies together say about an action.
pub fn evaluate<'p>(policies: impl IntoIterator<Item = &'p Policy>, action: &str) -> Verdict {
    let mut verdict = Verdict::NotAllowed;
    for statement in policies.into_iter().flat_map(|policy| &policy.statements) {
        match statement.effect {
            Effect::Deny if statement.actions.hold(action) => return Verdict::Denied,
            Effect::Allow if statement.actions.hold(action) => verdict = Verdict::Allowed,
            _ => {}
        }
    }
    verdict
}

/// Whether the holder of these policies can put everything about users right again, whatever is wrong with it.
pub fn administers<'p>(policies: impl IntoIterator<Item = &'p Policy>) -> bool {
    let policies: Vec<&Policy> = policies.into_iter().collect();
    ADMINISTRATORS.iter().all(|action| evaluate(policies.iter().copied(), action) == Verdict::Allowed)
}

/// The known name that is written most like `text`, if any is near.
fn nearest(text: &str, known: &[&str]) -> Option<String> {
    let found = known.iter().map(|name| (distance(text, name), *name)).min()?;
    (found.0 <= NEAR).then(|| found.1.to_owned())
}

/// Letters to insert, remove or replace, capitals aside, to make one text of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, letter) in one.to_lowercase().chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, wanted) in other.iter().enumerate() {
            let replaced = corner + usize::from(letter != *wanted);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: &[&str] =
        &["sms:GetServers", "sms:DeleteReplicationJob", "godwit:DeleteImage", "godwit:DescribeImages"];

    fn policy(text: &str) -> Policy {
        Policy::parse(text).unwrap()
    }

    fn says(text: &str, action: &str) -> Verdict {
        evaluate([&policy(text)], action)
    }

    #[test]
    fn wildcards_match_as_in_iam() {
        for (pattern, action, wanted) in [
            ("*", "sms:GetServers", true),
            ("sms:*", "sms:GetServers", true),
            ("sms:*", "godwit:DeleteImage", false),
            ("SMS:getservers", "sms:GetServers", true),
            ("sms:Get?ervers", "sms:GetServers", true),
            ("sms:GetServer", "sms:GetServers", false),
            ("sms:GetServers?", "sms:GetServers", false),
            ("*:*Image*", "godwit:DescribeImages", true),
            ("*Job*Run", "sms:DeleteReplicationJob", false),
            ("**s", "sms:GetServers", true),
        ] {
            assert_eq!(Pattern(pattern.to_owned()).matches(action), wanted, "{pattern} {action}");
        }
    }

    #[test]
    fn a_denial_wins_and_what_nobody_allows_is_not_allowed() {
        let text = r#"{"Statement": [{"Effect": "Allow", "Action": "*"}, {"Effect": "Deny", "Action": "*:Delete*"}]}"#;
        assert_eq!(says(text, "sms:GetServers"), Verdict::Allowed);
        assert_eq!(says(text, "godwit:DeleteImage"), Verdict::Denied);
        let text = r#"{"Statement": {"Effect": "Allow", "NotAction": ["godwit:*"]}}"#;
        assert_eq!(says(text, "sms:GetServers"), Verdict::Allowed);
        assert_eq!(says(text, "godwit:DeleteImage"), Verdict::NotAllowed);
        assert_eq!(evaluate([], "sms:GetServers"), Verdict::NotAllowed);
    }

    #[test]
    fn a_slip_is_refused_with_the_name_that_was_meant() {
        let slip = policy(r#"{"Statement": {"Effect": "Allow", "Action": ["sms:*", "godwit:DeletImages"]}}"#);
        let error = slip.check(KNOWN).unwrap_err();
        assert_eq!(error.to_string(), "no action matches 'godwit:DeletImages': is 'godwit:DeleteImage' meant?");
        let far = policy(r#"{"Statement": {"Effect": "Deny", "NotAction": "ec2:RunInstances"}}"#);
        assert_eq!(far.check(KNOWN).unwrap_err().to_string(), "no action matches 'ec2:RunInstances'");
        assert_eq!(policy(r#"{"Statement": {"Effect": "Allow", "Action": "*"}}"#).check(KNOWN), Ok(()));
    }

    #[test]
    fn who_is_denied_one_thing_about_users_administers_nothing() {
        let all = BuiltIn::Administrator.policy();
        let deny = policy(r#"{"Statement": {"Effect": "Deny", "Action": "godwit:AttachPolicy"}}"#);
        assert!(administers([&all]) && !administers([&all, &deny]));
        assert!(!administers([&BuiltIn::Operator.policy(), &BuiltIn::ReadOnly.policy()]));
    }

    fn any_policy() -> impl Strategy<Value = Policy> {
        let pattern = prop::sample::select(vec!["*", "sms:*", "*:De*", "godwit:DeleteImage", "sms:Get*", "g*s"]);
        let patterns = prop::collection::vec(pattern.prop_map(|p| Pattern(p.to_owned())), 1..3);
        let statement = (any::<bool>(), any::<bool>(), patterns).prop_map(|(allows, of, patterns)| Statement {
            effect: if allows { Effect::Allow } else { Effect::Deny },
            actions: if of { Actions::Of(patterns) } else { Actions::AllBut(patterns) },
        });
        prop::collection::vec(statement, 1..4).prop_map(|statements| Policy { statements })
    }

    fn any_action() -> impl Strategy<Value = &'static str> {
        prop::sample::select(KNOWN.to_vec())
    }

    proptest! {
        #[test]
        fn a_denial_always_wins(policies in prop::collection::vec(any_policy(), 0..4), action in any_action()) {
            let deny = Policy {
                statements: vec![Statement { effect: Effect::Deny, actions: Actions::Of(vec![Pattern(action.into())]) }],
            };
            prop_assert_eq!(evaluate(policies.iter().chain([&deny]), action), Verdict::Denied);
        }

        #[test]
        fn a_further_allowance_never_takes_anything_away(
            policies in prop::collection::vec(any_policy(), 0..4),
            mut more in any_policy(),
            action in any_action(),
        ) {
            more.statements.iter_mut().for_each(|statement| statement.effect = Effect::Allow);
            if evaluate(&policies, action) == Verdict::Allowed {
                prop_assert_eq!(evaluate(policies.iter().chain([&more]), action), Verdict::Allowed);
            }
        }

        #[test]
        fn order_does_not_matter(policies in prop::collection::vec(any_policy(), 0..4), action in any_action()) {
            prop_assert_eq!(evaluate(&policies, action), evaluate(policies.iter().rev(), action));
            let statements = policies.iter().rev().flat_map(|p| p.statements.clone()).rev().collect();
            prop_assert_eq!(evaluate([&Policy { statements }], action), evaluate(&policies, action));
        }

        #[test]
        fn stars_match_what_was_left_out(action in any_action(), from in 0usize..30, to in 0usize..30) {
            let (from, to) = (from.min(action.len()), to.min(action.len()));
            let pattern = Pattern(format!("{}*{}", &action[..from.min(to)], &action[from.max(to)..]));
            prop_assert!(pattern.matches(action), "{:?} {}", pattern, action);
        }
    }
}
