//! Administrators: users, their access keys, policies and roles, changed at random. Somebody can always decide about them.

use super::actor::settle;
use super::life::Sim;
use crate::service::*;
use godwit_model::time::Timestamp;

const USERS: [&str; 3] = ["administrator", "ann", "ben"];
const POLICIES: [&str; 5] = ["administrator", "administrator", "operator", "read-only", "ours"];

/// Enough for everything, for runs, and for nothing; the last denies what others allow.
const DOCUMENTS: [&str; 4] = [
    r#"{"Statement": {"Effect": "Allow", "Action": "*"}}"#,
    r#"{"Statement": {"Effect": "Allow", "Action": "godwit:*"}}"#,
    r#"{"Statement": {"Effect": "Allow", "Action": "sms:Get*"}}"#,
    r#"{"Statement": {"Effect": "Deny", "Action": "*"}}"#,
];

const ACTIONS: [&str; 3] = ["sms:GetServers", "godwit:AttachPolicy", "godwit:ReadSource"];

/// One thing that somebody does.
pub(super) async fn act(sim: &mut Sim, service: &Service) {
    let now = sim.clock.now();
    if !sim.is_administered {
        // As a start does it.
        let secret = Secret::new("a secret of forty characters or so".to_owned());
        service.create_administrator("AKIAFIRST", &secret, now).await.unwrap();
        sim.is_administered = true;
    }
    let dice = &mut sim.access_dice;
    let (user, policy, document) = (*dice.pick(&USERS), *dice.pick(&POLICIES), *dice.pick(&DOCUMENTS));
    let changes = PolicyChanges { document: Some(document.to_owned()), description: None };
    match dice.below(16) {
        0 | 1 => settle("create a user", service.create_user(user, &[policy.to_owned()], now).await),
        2 => settle("delete a user", service.delete_user(user).await),
        3 => settle("disable a user", service.set_user_enabled(user, false).await),
        4 => settle("enable a user", service.set_user_enabled(user, true).await),
        5 | 6 => settle("attach", service.attach_policy(user, policy).await),
        7 => settle("detach", service.detach_policy(user, policy).await),
        8 => settle("create a policy", service.create_policy("ours", document, None, &ACTIONS, now).await),
        9 => settle("update a policy", service.update_policy("ours", &changes, &ACTIONS, now).await),
        10 => settle("delete a policy", service.delete_policy("ours").await),
        11 => settle("create a role", service.create_role("ours", document, None, &ACTIONS, now).await),
        12 => settle("update a role", service.update_role("ours", &changes, &ACTIONS, now).await),
        13 => settle("delete a role", service.delete_role("ours").await),
        _ => change_access_key(sim, service, user, now).await,
    }
    assert!(is_administered(service, now).await, "nobody can decide about users any more");
}

async fn change_access_key(sim: &mut Sim, service: &Service, user: &str, now: Timestamp) {
    let dice = &mut sim.access_dice;
    let keys = service.describe_access_keys(None, &Page::default(), now).await.unwrap().items;
    let key = &dice.pick(&keys).id;
    match dice.below(7) {
        0 | 1 => settle("create an access key", service.create_access_key(user, now).await),
        2 | 3 => {
            let grace = *dice.pick(&[None, Some(0), Some(60)]);
            settle("rotate an access key", service.rotate_access_key(key, grace, now).await);
        }
        4 => settle("disable an access key", service.set_access_key_enabled(key, false, now).await),
        5 => settle("enable an access key", service.set_access_key_enabled(key, true, now).await),
        _ => settle("delete an access key", service.delete_access_key(key).await),
    }
}

/// Whether some key that does not end by itself lets its user decide about users.
async fn is_administered(service: &Service, now: Timestamp) -> bool {
    for key in service.describe_access_keys(None, &Page::default(), now).await.unwrap().items {
        let is_good = key.ends_at.is_none() && service.signer(&key.id).await.unwrap().is_some();
        if is_good && service.authorize(&key.id, "godwit:AttachPolicy", now).await.is_ok() {
            return true;
        }
    }
    false
}
