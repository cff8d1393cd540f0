//! Connectors: tested, associated, changed, in use; how an import goes through them.

use crate::changes::Kind;
use crate::service::*;
use crate::testing::{Act, Harness, until};
use godwit_model::catalog::CatalogStatus;
use godwit_model::connector::{ConnectorConfig, ConnectorStatus};
use godwit_model::failure::Code;
use godwit_model::id::ConnectorId;
use godwit_model::job::JobState;
use godwit_model::run::RunState;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

fn at(socket: &str) -> ConnectorConfig {
    ConnectorConfig::Qmp { socket: socket.into() }
}

fn moved(socket: &str) -> ConnectorChanges {
    ConnectorChanges { socket: Some(socket.into()), ..ConnectorChanges::default() }
}

fn named(name: &str) -> ConnectorChanges {
    ConnectorChanges { name: Some(name.into()), ..ConnectorChanges::default() }
}

async fn connector(service: &Service, id: &ConnectorId) -> Connector {
    let ids = [id.to_string()];
    service.describe_connectors(Some(&ids), &Page::default()).await.unwrap().items.remove(0)
}

async fn associated(h: &Harness, service: &Service, name: &str, socket: &str) -> ConnectorId {
    service.associate_connector(NewConnector { name: name.into(), config: at(socket) }, h.now()).await.unwrap()
}

#[tokio::test]
async fn connectors_that_do_not_answer_are_not_associated() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let associate = async |name: &str, socket: &str| {
        let config = ConnectorConfig::Qmp { socket: socket.into() };
        service.associate_connector(NewConnector { name: name.into(), config }, h.now()).await
    };
    for (code, expected) in [
        (Code::SourceUnreachable, ErrorCode::InvalidParameter),
        (Code::SourceProtocol, ErrorCode::InvalidParameter),
        (Code::Internal, ErrorCode::Internal),
    ] {
        h.world.script("discover", [Act::Fail(code)]);
        assert_eq!(associate("here", "/run/qmp").await.unwrap_err().code, expected);
    }
    assert!(associate("here", "relative").await.unwrap_err().message.contains("absolute"));
    assert!(associate(" ", "/run/qmp").await.unwrap_err().message.contains("name"));
    let id = associate("here", "/run/qmp").await.unwrap();
    assert!(associate("again", "/run/qmp").await.unwrap_err().message.contains(id.as_str()));
    assert_eq!(service.describe_connectors(None, &Page::default()).await.unwrap().items.len(), 1);
    control.shutdown().await;
}

#[tokio::test]
async fn a_test_of_a_connection_tells_what_is_there_and_changes_nothing() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let heard = service.changes().listen();
    let revision = heard.borrow().last;
    h.world.look().warnings = vec!["/run/qmp/old.sock does not answer".into()];
    let test = service.test_connector(&at("/run/qmp")).await.unwrap();
    assert_eq!((test.found.manager_id.as_str(), test.found.servers.len(), test.connector), ("manager-1", 1, None));
    assert_eq!(test.found.warnings, ["/run/qmp/old.sock does not answer"]);
    assert_eq!(service.describe_connectors(None, &Page::default()).await.unwrap().items, []);
    let changed = heard.borrow().since(revision);
    let theirs = [Kind::Connectors, Kind::Servers, Kind::Catalog];
    assert!(!changed.iter().any(|kind| theirs.contains(kind)), "{changed:?}");

    let id = associated(&h, &service, "here", "/run/qmp").await;
    let test = service.test_connector(&at("/run/another/way")).await.unwrap();
    assert_eq!(test.connector.map(|c| (c.id, c.name)), Some((id, "here".into())));
    control.shutdown().await;
}

#[tokio::test]
async fn what_a_test_finds_wrong_is_told_as_at_an_association() {
    let mut h = Harness::new();
    h.options.discover = Duration::from_millis(50);
    let (control, service) = h.serve().await;
    for (act, socket) in [
        (Some(Act::Fail(Code::SourceUnreachable)), "/run/qmp"),
        (Some(Act::Fail(Code::SourceProtocol)), "/run/qmp"),
        (Some(Act::Fail(Code::Internal)), "/run/qmp"),
        // It has a bound, too.
        (Some(Act::Hang), "/run/qmp"),
        (None, "relative"),
    ] {
        h.world.script("discover", act.iter().flat_map(|act| [act.clone(), act.clone()]));
        let tested = service.test_connector(&at(socket)).await.unwrap_err();
        let new = NewConnector { name: "here".into(), config: at(socket) };
        assert_eq!(tested, service.associate_connector(new, h.now()).await.unwrap_err(), "{act:?}");
        let is_internal = tested.code == ErrorCode::Internal;
        assert!(is_internal || tested.message.starts_with(&format!("socket '{socket}'")), "{tested}");
    }
    control.shutdown().await;
}

#[tokio::test]
async fn what_is_sent_of_a_connector_changes_and_nothing_else() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.one_server(&service).await;
    let mut wanted = h.connector(&service).await;
    let asked = h.world.calls("discover");
    let id = wanted.id.to_string();
    let update = async |changes| service.update_connector(&id, changes, h.now()).await;

    update(ConnectorChanges::default()).await.unwrap();
    assert_eq!(h.connector(&service).await, wanted, "nothing was sent");
    update(named("  rack 1 ")).await.unwrap();
    wanted.name = "rack 1".into();
    assert_eq!(h.connector(&service).await, wanted);
    update(ConnectorChanges { cap: Some("1MB/s".into()), ..ConnectorChanges::default() }).await.unwrap();
    wanted.cap = Some("1MB/s".parse().unwrap());
    assert_eq!(h.connector(&service).await, wanted);
    // The socket that it has is no change: nobody is asked.
    update(moved("/run/qmp")).await.unwrap();
    assert_eq!((h.connector(&service).await, h.world.calls("discover")), (wanted.clone(), asked));
    update(moved("/srv/qmp")).await.unwrap();
    wanted.config = at("/srv/qmp");
    assert_eq!((h.connector(&service).await, h.world.calls("discover")), (wanted.clone(), asked + 1));
    let told = h.world.look().rates.last().cloned().unwrap();
    assert_eq!(told.connectors.iter().map(|(config, _)| config).collect::<Vec<_>>(), [&at("/srv/qmp")]);
    update(ConnectorChanges { cap: Some("none".into()), ..ConnectorChanges::default() }).await.unwrap();
    wanted.cap = None;
    assert_eq!(h.connector(&service).await, wanted);

    let too_long = "x".repeat(129);
    for (changes, words) in
        [(named(" "), "name: give 1 to 128"), (named(&too_long), "name: give 1 to 128"), (moved("srv"), "absolute")]
    {
        let both = ConnectorChanges { cap: Some("2MB/s".into()), ..changes };
        let refused = update(both).await.unwrap_err();
        assert!(refused.code == ErrorCode::InvalidParameter && refused.message.contains(words), "{refused}");
    }
    let unknown = "c-00000000000000000";
    for changes in [ConnectorChanges::default(), named("x"), moved("/run/qmp")] {
        let refused = service.update_connector(unknown, changes, h.now()).await.unwrap_err();
        assert!(refused.code == ErrorCode::InvalidParameter && refused.message.contains(unknown), "{refused}");
    }
    assert_eq!(h.connector(&service).await, wanted, "what is refused changes nothing");
    control.shutdown().await;
}

#[tokio::test]
async fn a_connector_stays_with_its_vm_manager() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    let here = h.connector(&service).await;
    h.world.look().manager_at.insert(at("/run/other"), "manager-2".into());
    h.world.look().silent_at.insert(at("/run/dead"), Code::SourceUnreachable);
    let update = async |changes| service.update_connector(here.id.as_str(), changes, h.now()).await.unwrap_err();

    let refused = update(ConnectorChanges { name: Some("new".into()), ..moved("/run/other") }).await;
    assert_eq!(refused.code, ErrorCode::InvalidParameter);
    for words in ["socket '/run/other' leads to another VM manager", "manager-2", "manager-1", "connector of its own"] {
        assert!(refused.message.contains(words), "{words}: {refused}");
    }
    let other = associated(&h, &service, "there", "/run/other").await;
    let refused = update(moved("/run/other")).await;
    assert!(refused.message.contains(&format!("associated already, as {other}")), "{refused}");
    let refused = update(moved("/run/dead")).await;
    assert!(refused.message.starts_with("socket '/run/dead': nobody answers"), "{refused}");
    assert_eq!(connector(&service, &here.id).await, here);

    // By the other way it is well at once, whatever it was before, and its servers are replicated by it.
    h.world.look().silent_at.insert(at("/run/qmp"), Code::SourceUnreachable);
    h.import(&service).await;
    assert_eq!(connector(&service, &here.id).await.status, ConnectorStatus::Unhealthy);
    service.update_connector(here.id.as_str(), moved("/srv/qmp"), h.now()).await.unwrap();
    let now = connector(&service, &here.id).await;
    assert_eq!((now.status, now.status_reason, now.manager_id), (ConnectorStatus::Healthy, None, here.manager_id));
    let job = h.once_of(&service, &server).await;
    h.until_job(&service, &job, JobState::Completed).await;
    control.shutdown().await;
}

#[tokio::test]
async fn while_a_run_uses_a_connector_its_name_and_cap_change_and_its_socket_does_not() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let go_on = Arc::new(Notify::new());
    h.world.script("send", [Act::Wait(go_on.clone())]);
    let job = h.hourly(&service).await;
    h.until_calls("send", 1).await;
    let run = h.runs(&service, &job).await[0].id.clone();
    let before = h.connector(&service).await;
    let id = before.id.to_string();

    let all = ConnectorChanges { name: Some("rack 2".into()), cap: Some("1MB/s".into()), ..moved("/srv/qmp") };
    let refused = service.update_connector(&id, all, h.now()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::OperationNotPermitted);
    assert!(refused.message.contains(run.as_str()) && refused.message.contains("socket"), "{refused}");
    assert_eq!(h.connector(&service).await, before, "all of it or nothing");
    let both = ConnectorChanges { name: Some("rack 2".into()), cap: Some("1MB/s".into()), socket: None };
    service.update_connector(&id, both, h.now()).await.unwrap();
    let changed = h.connector(&service).await;
    assert_eq!((changed.name.as_str(), changed.cap.is_some(), changed.config), ("rack 2", true, at("/run/qmp")));

    go_on.notify_one();
    h.until_runs(&service, &job, 1, RunState::Completed).await;
    service.update_connector(&id, moved("/srv/qmp"), h.now()).await.unwrap();
    assert_eq!(h.connector(&service).await.config, at("/srv/qmp"));
    control.shutdown().await;
}

#[tokio::test]
async fn an_answer_from_where_a_connector_was_says_nothing_of_where_it_is() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.one_server(&service).await;
    let here = h.connector(&service).await;
    let answer = Arc::new(Notify::new());
    h.world.look().waits_at.insert(at("/run/qmp"), answer.clone());
    h.world.look().silent_at.insert(at("/run/qmp"), Code::SourceUnreachable);
    let asked = h.world.calls("discover");
    service.import_server_catalog(h.now()).await.unwrap();
    h.until_calls("discover", asked + 1).await;
    service.update_connector(here.id.as_str(), moved("/srv/qmp"), h.now()).await.unwrap();
    answer.notify_one();
    let import = async || service.describe_servers(None, &Page::default()).await.unwrap().import;
    until("the end of the import", async || import().await.is_some_and(|i| i.ended_at.is_some())).await;
    assert_eq!(import().await.map(|import| import.failed), Some(1));
    assert_eq!(h.connector(&service).await.status, ConnectorStatus::Healthy);
    control.shutdown().await;
}

#[tokio::test]
async fn a_connector_in_use_stays_and_servers_find_theirs_again() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    h.world.script("send", [Act::Hang]);
    let job = h.hourly(&service).await;
    let connector = h.connector(&service).await.id;
    h.until_calls("send", 1).await;
    let refused = service.disassociate_connector(connector.as_str(), h.now()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::OperationNotPermitted);

    service.delete_replication_job(job.as_str(), h.now()).await.unwrap();
    h.until_job(&service, &job, godwit_model::job::JobState::Deleted).await;
    service.disassociate_connector(connector.as_str(), h.now()).await.unwrap();
    let id = h.servers(&service).await.remove(0).id;
    let new = NewJob { run_once: Some(true), ..NewJob::new(id.as_str(), h.now()) };
    let refused = service.create_replication_job(new.clone(), h.now()).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NoConnectorsAvailable);
    assert_eq!(h.catalog(&service).await[0].id, id, "the same server, the same id");
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    h.until_job(&service, &job, godwit_model::job::JobState::Completed).await;
    control.shutdown().await;
}

#[tokio::test]
async fn an_import_runs_in_the_background_and_a_second_request_means_the_first() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let before = h.catalog(&service).await;
    let answer = Arc::new(Notify::new());
    let asked = h.world.calls("discover");
    h.world.script("discover", [Act::Wait(answer.clone())]);
    service.import_server_catalog(h.now()).await.unwrap();
    h.until_calls("discover", asked + 1).await;
    for _ in 0..2 {
        let page = service.get_servers(None, &Page::default()).await.unwrap();
        assert_eq!(page.status, CatalogStatus::Importing);
        assert_eq!(page.servers.items, before, "what is known stays listed meanwhile");
        service.import_server_catalog(h.now()).await.unwrap();
    }
    answer.notify_one();
    let status = async || service.get_servers(None, &Page::default()).await.unwrap().status;
    until("the end of the import", async || status().await == CatalogStatus::Available).await;
    assert_eq!(h.world.calls("discover"), asked + 1, "it was one import");
    control.shutdown().await;
}

#[tokio::test]
async fn an_import_says_who_has_answered_and_why_others_did_not_and_its_result_stays() {
    let h = Harness::new();
    let (control, service) = h.serve().await;
    let of = async || service.describe_servers(None, &Page::default()).await.unwrap().import;
    assert_eq!(of().await, None, "there was none");
    for (name, socket) in [("one", "/run/1"), ("two", "/run/2"), ("three", "/run/3")] {
        h.world.look().manager_at.insert(at(socket), format!("manager of {name}"));
        associated(&h, &service, name, socket).await;
    }
    let (answer, fall_silent) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    h.world.look().waits_at = [(at("/run/2"), answer.clone()), (at("/run/3"), fall_silent.clone())].into();
    h.world.look().silent_at.insert(at("/run/3"), Code::SourceUnreachable);
    service.import_server_catalog(h.now()).await.unwrap();
    let counts = async || of().await.map(|i| (i.connectors, i.answered, i.failed, i.servers));
    until("the first answer", async || counts().await == Some((3, 1, 0, 1))).await;
    assert_eq!(of().await.unwrap().ended_at, None);
    fall_silent.notify_one();
    until("the failure", async || counts().await == Some((3, 1, 1, 1))).await;
    answer.notify_one();
    until("the end", async || of().await.is_some_and(|i| i.ended_at.is_some())).await;
    assert_eq!(counts().await, Some((3, 2, 1, 2)));
    let last = of().await.unwrap();
    assert_eq!((last.failures.len(), last.failures[0].name.as_str()), (1, "three"));
    let reason = &last.failures[0].reason;
    assert!(reason.contains("nobody answers at the socket /run/3") && reason.contains("Next step"), "{reason}");
    assert_eq!(service.get_servers(None, &Page::default()).await.unwrap().import, Some(last), "it stays");

    // The next one is told from its own beginning on: nothing of the last one shows between.
    h.world.look().waits_at.insert(at("/run/1"), Arc::new(Notify::new()));
    service.import_server_catalog(h.now()).await.unwrap();
    assert!(of().await.is_none_or(|import| import.failed == 0 && import.ended_at.is_none()));
    service.delete_server_catalog(h.now()).await.unwrap();
    assert_eq!(of().await, None, "what was cleared is of no interest");
    control.shutdown().await;
}
