//! Replication runs.

use super::{Outcome, forecasts, jobs, page};
use crate::shapes::answers::{GetReplicationRunsResponse, StartOnDemandReplicationRunResponse};
use crate::shapes::enums::{ReplicationRunState, ReplicationRunType};
use crate::shapes::godwit::{
    DescribeReplicationRunsRequest, DescribeReplicationRunsResponse, FailureDescription, NoAnswer, RunDescription,
    RunVolumeDescription, UpdateRunRequest,
};
use crate::shapes::requests::{GetReplicationRunsRequest, StartOnDemandReplicationRunRequest};
use crate::shapes::structures::{ReplicationRun, ReplicationRunStageDetails};
use godwit_control::service::{Run, RunVolume, RunsFilter, Service};
use godwit_model::failure::Failure;
use godwit_model::run::{RunState, RunType, Stage};
use godwit_model::time::Timestamp;

/// `GetReplicationRuns`.
pub async fn get(
    service: &Service,
    _now: Timestamp,
    request: GetReplicationRunsRequest,
) -> Outcome<GetReplicationRunsResponse> {
    let page = page(request.next_token, request.max_results);
    let (job, found) = service.get_replication_runs(&request.replication_job_id, &page).await?;
    let found = found.map(run);
    Ok(GetReplicationRunsResponse {
        replication_job: Some(jobs::job(job)),
        replication_run_list: Some(found.items),
        next_token: found.next,
    })
}

/// `StartOnDemandReplicationRun`.
pub async fn start(
    service: &Service,
    now: Timestamp,
    request: StartOnDemandReplicationRunRequest,
) -> Outcome<StartOnDemandReplicationRunResponse> {
    let job = &request.replication_job_id;
    let id = service.start_on_demand_replication_run(job, request.description, now).await?;
    Ok(StartOnDemandReplicationRunResponse { replication_run_id: Some(id.to_string()) })
}

/// `DescribeReplicationRuns`.
pub async fn describe(
    service: &Service,
    _now: Timestamp,
    request: DescribeReplicationRunsRequest,
) -> Outcome<DescribeReplicationRunsResponse> {
    let filter = RunsFilter { run_ids: request.replication_run_ids, job_id: request.replication_job_id };
    let page = page(request.next_token, request.max_results);
    let found = service.describe_replication_runs(&filter, &page).await?.map(description);
    Ok(DescribeReplicationRunsResponse { runs: found.items, next_token: found.next })
}

/// `UpdateReplicationRun`.
pub async fn update(service: &Service, _now: Timestamp, request: UpdateRunRequest) -> Outcome<NoAnswer> {
    service.update_replication_run(&request.replication_run_id, &request.bandwidth_cap).await?;
    Ok(NoAnswer {})
}

/// A run as the seed service shows it.
pub fn run(run: Run) -> ReplicationRun {
    let stage_details = run.stage.map(|stage| ReplicationRunStageDetails {
        stage: Some(stage_name(stage).to_owned()),
        stage_progress: Some(format!("{}%", run.percent.clamp(0.0, 100.0).floor())),
    });
    ReplicationRun {
        replication_run_id: Some(run.id.to_string()),
        state: Some(state(run.state)),
        r#type: Some(kind(run.kind)),
        stage_details,
        status_message: run.status_message,
        ami_id: run.image.map(|id| id.to_string()),
        scheduled_start_time: Some(run.scheduled_at.into()),
        completed_time: run.completed_at.map(Into::into),
        description: run.description,
        encrypted: run.encrypted,
        kms_key_id: run.kms_key_id,
    }
}

/// A run with its figures.
pub fn description(run: Run) -> RunDescription {
    let consistency = run.consistency.map(|consistency| consistency.as_str().to_owned());
    RunDescription {
        replication_run_id: run.id.to_string(),
        replication_job_id: run.job.to_string(),
        state: state(run.state),
        r#type: kind(run.kind),
        description: run.description,
        stage: run.stage.map(|stage| stage_name(stage).to_owned()),
        stage_started_on: run.stage_started_at.map(Into::into),
        percent: run.percent,
        bytes_per_second: run.bytes_per_second,
        seconds_left: run.seconds_left,
        scheduled_start_time: run.scheduled_at.into(),
        started_on: run.started_at.map(Into::into),
        completed_time: run.completed_at.map(Into::into),
        image_id: run.image.map(|id| id.to_string()),
        point_in_time: run.point_at.map(Into::into),
        key_id: run.key.map(|key| key.to_string()),
        key_version: run.key_version,
        notes: run.notes,
        retrying_after: run.retrying_after,
        failure: run.failure.map(failure),
        bandwidth_cap: run.cap.map(|cap| cap.to_string()),
        held_back_by: run.held_back.map(|by| by.as_str().to_owned()),
        forecast: run.forecast.map(forecasts::of_run),
        volumes: run.volumes.into_iter().map(|of| volume(of, consistency.as_deref())).collect(),
        consistency,
    }
}

fn volume(volume: RunVolume, consistency: Option<&str>) -> RunVolumeDescription {
    let figures = volume.figures;
    RunVolumeDescription {
        device: volume.device,
        snapshot_id: volume.snapshot.map(|id| id.to_string()),
        bytes_total: figures.bytes_total,
        bytes_done: figures.bytes_done,
        bytes_read: figures.bytes_read,
        bytes_sent: figures.bytes_sent,
        bytes_stored: figures.bytes_stored,
        bytes_resent: figures.bytes_resent,
        bytes_verified: figures.bytes_verified,
        root_digest: volume.root_digest,
        consistency: consistency.map(str::to_owned),
        tracked: volume.tracked,
        notes: volume.notes,
    }
}

fn failure(failure: Failure) -> FailureDescription {
    FailureDescription {
        code: failure.code.as_str().to_owned(),
        cause: failure.code.meaning().trim_end_matches('.').to_owned(),
        next_step: failure.code.next_step().to_owned(),
        evidence: failure.evidence,
    }
}

fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Validating => "Validating",
        Stage::Snapshotting => "Snapshotting",
        Stage::Transferring => "Transferring",
        Stage::Verifying => "Verifying",
        Stage::Registering => "Registering",
        Stage::Cleaning => "Cleaning",
    }
}

fn state(state: RunState) -> ReplicationRunState {
    match state {
        RunState::Pending => ReplicationRunState::Pending,
        RunState::Missed => ReplicationRunState::Missed,
        RunState::Active => ReplicationRunState::Active,
        RunState::Failed => ReplicationRunState::Failed,
        RunState::Completed => ReplicationRunState::Completed,
        RunState::Deleting => ReplicationRunState::Deleting,
        RunState::Deleted => ReplicationRunState::Deleted,
    }
}

fn kind(kind: RunType) -> ReplicationRunType {
    match kind {
        RunType::OnDemand => ReplicationRunType::OnDemand,
        RunType::Automatic => ReplicationRunType::Automatic,
    }
}
