//! Every failure says what it is, what was seen and what to do, wherever a run and its job are shown.

use crate::service::*;
use crate::testing::{Act, Harness};
use godwit_model::failure::Code;
use godwit_model::job::JobState;
use godwit_model::run::RunState;

/// A one-time job whose run fails with `code` at `step`, again and again; gives the run and the job.
async fn failed(step: &'static str, code: Code) -> (Run, Job) {
    let h = Harness::new();
    h.world.script(step, vec![Act::Fail(code); 100]);
    let (control, service) = h.serve().await;
    let server = h.one_server(&service).await;
    let new = NewJob { run_once: Some(true), ..NewJob::new(server.as_str(), h.now()) };
    let job = service.create_replication_job(new, h.now()).await.unwrap();
    h.until_job(&service, &job, JobState::Failed).await;
    let run = h.runs(&service, &job).await.remove(0);
    let job = h.job(&service, &job).await;
    control.shutdown().await;
    (run, job)
}

#[tokio::test]
async fn every_code_comes_with_cause_evidence_and_next_step() {
    for code in Code::ALL.iter().copied() {
        let (run, job) = failed("register", code).await;
        assert_eq!(run.state, RunState::Failed, "{code}");
        let failure = run.failure.unwrap();
        assert_eq!((failure.code, failure.evidence.as_str()), (code, "scripted failure of register"));
        for message in [run.status_message.unwrap(), job.status_message.unwrap()] {
            let cause = code.meaning().trim_end_matches('.');
            for part in [code.as_str(), cause, "Seen: scripted failure of register", code.next_step()] {
                assert!(message.contains(part), "'{part}' is missing in: {message}");
            }
        }
    }
}

#[tokio::test]
async fn what_went_wrong_with_a_volume_names_the_volume() {
    for step in ["send", "verify"] {
        let (run, _) = failed(step, Code::SourceRefused).await;
        let evidence = run.failure.unwrap().evidence;
        let device = &run.volumes[0].device;
        assert_eq!(evidence, format!("volume {device}: scripted failure of {step}"));
    }
}
