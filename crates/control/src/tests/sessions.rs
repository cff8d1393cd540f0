//! How long sessions and links live, across restarts and at the same moment.

use crate::service::*;
use crate::testing::Harness;
use godwit_model::time::{Millis, Timestamp};

const PASSWORD: &str = "correct horse battery";

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

async fn ann(h: &Harness, service: &Service) {
    service.create_user("ann", &[], h.now()).await.unwrap();
    service.set_password("ann", secret(PASSWORD), h.now()).await.unwrap();
}

async fn signed_in(service: &Service, now: Timestamp) -> Secret {
    let with = SignIn::Password("ann".to_owned(), secret(PASSWORD));
    let proof = service.prove(with, "here", now).await.unwrap();
    service.begin_session(&proof, now).await.unwrap().unwrap().0
}

#[tokio::test]
async fn a_session_lives_as_long_as_it_is_used_and_not_for_ever() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    ann(&h, &service).await;
    let begun = h.now();
    let session = signed_in(&service, begun).await;
    let at = |minutes: i64| begun + Millis::MINUTE.times(minutes);
    let is_there = async |used, minutes| service.session(&session, used, at(minutes)).await.unwrap();
    assert!(is_there(false, 59).await.is_some());
    assert!(is_there(false, 60).await.is_none(), "idle for an hour");
    assert_eq!(is_there(true, 59).await.unwrap().expires_at, at(119), "its end is put off");
    assert!(is_there(false, 118).await.is_some(), "a page that fetches by itself does not put it off");
    assert!(is_there(false, 119).await.is_none());
    for minutes in (100..720).step_by(50) {
        assert!(is_there(true, minutes).await.is_some(), "{minutes}");
    }
    assert_eq!(is_there(true, 719).await.unwrap().expires_at, at(720), "not beyond its end");
    assert!(is_there(true, 720).await.is_none(), "twelve hours at most");
    control.shutdown().await;
}

#[tokio::test]
async fn a_session_outlives_the_process() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    ann(&h, &service).await;
    let session = signed_in(&service, h.now()).await;
    control.shutdown().await;
    let (control, service) = h.serve().await;
    let found = service.session(&session, true, h.now()).await.unwrap().unwrap();
    assert_eq!((found.user.as_str(), found.with), ("ann", SignedInWith::Password));
    assert!(service.session(&secret("something else"), true, h.now()).await.unwrap().is_none());
    control.shutdown().await;
}

#[tokio::test]
async fn a_link_is_good_for_one_of_two_who_use_it_at_once_and_for_an_hour() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    ann(&h, &service).await;
    let link = service.create_sign_in_link("ann", h.now()).await.unwrap();
    let prove = async || service.prove(SignIn::Link(link.token.clone()), "here", h.now()).await;
    let (first, second) = (prove().await.unwrap(), prove().await.unwrap());
    assert!(service.begin_session(&first, h.now()).await.unwrap().is_some());
    assert!(service.begin_session(&second, h.now()).await.unwrap().is_none());
    assert!(matches!(prove().await, Err(NotSignedIn::Wrong)));
    let late = service.create_sign_in_link("ann", h.now()).await.unwrap();
    let proof = service.prove(SignIn::Link(late.token), "here", h.now() + Millis::HOUR).await;
    assert!(matches!(proof, Err(NotSignedIn::Wrong)), "{proof:?}");
    let refused = service.create_sign_in_link("nobody", h.now()).await.unwrap_err();
    assert!(refused.message.contains("no user 'nobody'"), "{refused}");
    control.shutdown().await;
}

#[tokio::test]
async fn a_password_that_is_set_meanwhile_lets_nobody_in() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    ann(&h, &service).await;
    let with = SignIn::Password("ann".to_owned(), secret(PASSWORD));
    let proof = service.prove(with, "here", h.now()).await.unwrap();
    service.set_password("ann", secret("another horse battery"), h.now()).await.unwrap();
    assert!(service.begin_session(&proof, h.now()).await.unwrap().is_none());
    assert!(!format!("{proof:?}").contains("battery"));
    control.shutdown().await;
}

#[tokio::test]
async fn a_session_of_a_rotated_key_ends_with_the_key() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    ann(&h, &service).await;
    let key = service.create_access_key("ann", h.now()).await.unwrap();
    let with = SignIn::AccessKey(key.id.clone(), key.secret.clone());
    let proof = service.prove(with, "here", h.now()).await.unwrap();
    let (session, _) = service.begin_session(&proof, h.now()).await.unwrap().unwrap();
    service.rotate_access_key(&key.id, Some(10), h.now()).await.unwrap();
    let is_there = async |minutes| {
        service.session(&session, false, h.now() + Millis::MINUTE.times(minutes)).await.unwrap().is_some()
    };
    assert!(is_there(9).await && !is_there(10).await);
    control.shutdown().await;
}

#[tokio::test]
async fn the_oldest_sessions_of_a_user_make_room() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    ann(&h, &service).await;
    let mut sessions = vec![];
    for n in 0..40 {
        sessions.push(signed_in(&service, h.now() + Millis(n)).await);
    }
    let mut left = vec![];
    for session in &sessions {
        left.push(service.session(session, false, h.now()).await.unwrap().is_some());
    }
    assert_eq!(left.iter().position(|there| *there), Some(8), "32 are left, the newest: {left:?}");
    assert!(left[8..].iter().all(|there| *there));
    control.shutdown().await;
}
