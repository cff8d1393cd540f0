//! Replication jobs.

use super::{Outcome, page, runs, servers};
use crate::shapes::answers::{
    CreateReplicationJobResponse, DeleteReplicationJobResponse, GetReplicationJobsResponse,
    UpdateReplicationJobResponse,
};
use crate::shapes::enums::{self, ReplicationJobState, ServerType};
use crate::shapes::godwit::{
    CreateJobRequest, CreateJobResponse, DescribeJobsRequest, DescribeJobsResponse, JobDescription, LicenseWish,
    NoAnswer, ResumeJobRequest, UpdateJobRequest,
};
use crate::shapes::requests::{
    CreateReplicationJobRequest, DeleteReplicationJobRequest, GetReplicationJobsRequest, UpdateReplicationJobRequest,
};
use crate::shapes::structures::ReplicationJob;
use godwit_control::service::{Job, JobChanges, LicenseChange, NewJob, Service};
use godwit_model::job::{Interval, JobState};
use godwit_model::licence::LicenseType;
use godwit_model::time::Timestamp;

/// `CreateReplicationJob`.
pub async fn create(
    service: &Service,
    now: Timestamp,
    request: CreateReplicationJobRequest,
) -> Outcome<CreateReplicationJobResponse> {
    let new = NewJob {
        frequency_hours: request.frequency.map(i64::from),
        run_once: request.run_once,
        license: request.license_type.map(license),
        role_name: request.role_name,
        description: request.description,
        keep_images: request.number_of_recent_amis_to_keep.map(i64::from),
        encrypted: request.encrypted,
        kms_key_id: request.kms_key_id,
        ..NewJob::new(request.server_id, request.seed_replication_time.into())
    };
    let id = service.create_replication_job(new, now).await?;
    Ok(CreateReplicationJobResponse { replication_job_id: Some(id.to_string()) })
}

/// `UpdateReplicationJob`.
pub async fn update(
    service: &Service,
    now: Timestamp,
    request: UpdateReplicationJobRequest,
) -> Outcome<UpdateReplicationJobResponse> {
    let changes = JobChanges {
        frequency_hours: request.frequency.map(i64::from),
        next_start: request.next_replication_run_start_time.map(Timestamp::from),
        license: request.license_type.map(|asked| LicenseChange::To(license(asked))),
        role_name: request.role_name,
        description: request.description,
        keep_images: request.number_of_recent_amis_to_keep.map(i64::from),
        encrypted: request.encrypted,
        kms_key_id: request.kms_key_id,
        ..JobChanges::default()
    };
    service.update_replication_job(&request.replication_job_id, changes, now).await?;
    Ok(UpdateReplicationJobResponse {})
}

/// Our own `CreateReplicationJob`.
pub async fn create_own(service: &Service, now: Timestamp, request: CreateJobRequest) -> Outcome<CreateJobResponse> {
    let new = NewJob {
        server_id: request.server_id,
        start: request.seed_replication_time.map_or(now, Into::into),
        frequency_hours: request.frequency.map(i64::from),
        interval_minutes: request.interval_minutes.map(i64::from),
        run_once: request.run_once,
        license: request.license_type.and_then(wished),
        role_name: request.role_name,
        description: request.description,
        keep_images: request.number_of_recent_amis_to_keep.map(i64::from),
        encrypted: request.encrypted,
        kms_key_id: request.kms_key_id,
        recipients: request.recipients.unwrap_or_default(),
        pause_on_failure: request.pause_on_failure,
        pause_after: request.pause_after_failures.map(i64::from),
        cap: request.bandwidth_cap,
    };
    let id = service.create_replication_job(new, now).await?;
    Ok(CreateJobResponse { replication_job_id: id.to_string() })
}

/// Our own `UpdateReplicationJob`.
pub async fn update_own(service: &Service, now: Timestamp, request: UpdateJobRequest) -> Outcome<NoAnswer> {
    let changes = JobChanges {
        frequency_hours: request.frequency.map(i64::from),
        interval_minutes: request.interval_minutes.map(i64::from),
        next_start: request.next_replication_run_start_time.map(Timestamp::from),
        license: request.license_type.map(|wish| wished(wish).map_or(LicenseChange::Automatic, LicenseChange::To)),
        role_name: request.role_name,
        description: request.description,
        keep_images: request.number_of_recent_amis_to_keep.map(i64::from),
        encrypted: request.encrypted,
        kms_key_id: request.kms_key_id,
        recipients: request.recipients,
        pause_on_failure: request.pause_on_failure,
        pause_after: request.pause_after_failures.map(i64::from),
        cap: request.bandwidth_cap,
    };
    service.update_replication_job(&request.replication_job_id, changes, now).await?;
    Ok(NoAnswer {})
}

/// `ResumeReplicationJob`.
pub async fn resume(service: &Service, now: Timestamp, request: ResumeJobRequest) -> Outcome<NoAnswer> {
    let at = request.next_replication_run_start_time.map(Timestamp::from);
    service.resume_replication_job(&request.replication_job_id, at, now).await?;
    Ok(NoAnswer {})
}

/// `DescribeReplicationJobs`.
pub async fn describe(
    service: &Service,
    _now: Timestamp,
    request: DescribeJobsRequest,
) -> Outcome<DescribeJobsResponse> {
    let page = page(request.next_token, request.max_results);
    let found = service.describe_replication_jobs(request.replication_job_ids.as_deref(), &page).await?;
    let found = found.map(description);
    Ok(DescribeJobsResponse { jobs: found.items, next_token: found.next })
}

/// `DeleteReplicationJob`.
pub async fn delete(
    service: &Service,
    now: Timestamp,
    request: DeleteReplicationJobRequest,
) -> Outcome<DeleteReplicationJobResponse> {
    service.delete_replication_job(&request.replication_job_id, now).await?;
    Ok(DeleteReplicationJobResponse {})
}

/// `GetReplicationJobs`.
pub async fn get(
    service: &Service,
    _now: Timestamp,
    request: GetReplicationJobsRequest,
) -> Outcome<GetReplicationJobsResponse> {
    let page = page(request.next_token, request.max_results);
    let found = service.get_replication_jobs(request.replication_job_id.as_deref(), &page).await?.map(job);
    Ok(GetReplicationJobsResponse { replication_job_list: Some(found.items), next_token: found.next })
}

/// A job.
pub fn job(job: Job) -> ReplicationJob {
    ReplicationJob {
        replication_job_id: Some(job.id.to_string()),
        server_id: Some(job.server.id.to_string()),
        server_type: Some(ServerType::VirtualMachine),
        seed_replication_time: Some(job.seed.into()),
        frequency: job.frequency_hours().and_then(|hours| i32::try_from(hours).ok()),
        run_once: Some(job.interval == Interval::Once),
        next_replication_run_start_time: job.next_start.map(Into::into),
        license_type: job.license.map(license_on_wire),
        role_name: Some(job.role_name),
        latest_ami_id: job.latest_image.map(|id| id.to_string()),
        state: Some(state(job.state)),
        status_message: job.status_message,
        description: job.description,
        number_of_recent_amis_to_keep: job.keep_images.and_then(|n| i32::try_from(n).ok()),
        encrypted: job.encrypted,
        kms_key_id: job.kms_key_id,
        replication_run_list: Some(job.latest_runs.into_iter().map(runs::run).collect()),
        vm_server: Some(servers::vm_server(job.server)),
    }
}

fn description(mut job: Job) -> JobDescription {
    let interval_minutes = match job.interval {
        Interval::Once => None,
        Interval::EveryMinutes(minutes) => Some(minutes),
    };
    JobDescription {
        replication_job_id: job.id.to_string(),
        server_id: job.server.id.to_string(),
        server_name: job.server.name,
        state: state(job.state),
        state_since: job.state_since.into(),
        status_message: job.status_message,
        seed_replication_time: job.seed.into(),
        interval_minutes,
        run_once: job.interval == Interval::Once,
        next_replication_run_start_time: job.next_start.map(Into::into),
        license_type: job.license.map(license_on_wire),
        license_chosen: !job.license_asked,
        role_name: job.role_name,
        description: job.description,
        number_of_recent_amis_to_keep: job.keep_images,
        encrypted: job.encrypted,
        kms_key_id: job.kms_key_id,
        recipients: job.recipients,
        pause_on_failure: job.pause_on_failure,
        pause_after_failures: job.pause_after,
        failures: job.failures,
        bandwidth_cap: job.cap.map(|cap| cap.to_string()),
        latest_image_id: job.latest_image.map(|id| id.to_string()),
        created_on: job.created_at.into(),
        latest_run: job.latest_runs.pop().map(runs::description),
    }
}

fn license(license: enums::LicenseType) -> LicenseType {
    match license {
        enums::LicenseType::Aws => LicenseType::Aws,
        enums::LicenseType::Byol => LicenseType::Byol,
    }
}

/// `None`: Godwit chooses.
fn wished(wish: LicenseWish) -> Option<LicenseType> {
    match wish {
        LicenseWish::Aws => Some(LicenseType::Aws),
        LicenseWish::Byol => Some(LicenseType::Byol),
        LicenseWish::Auto => None,
    }
}

fn license_on_wire(license: LicenseType) -> enums::LicenseType {
    match license {
        LicenseType::Aws => enums::LicenseType::Aws,
        LicenseType::Byol => enums::LicenseType::Byol,
    }
}

fn state(state: JobState) -> ReplicationJobState {
    match state {
        JobState::Pending => ReplicationJobState::Pending,
        JobState::Active => ReplicationJobState::Active,
        JobState::Failing => ReplicationJobState::Failing,
        JobState::Failed => ReplicationJobState::Failed,
        JobState::Deleting => ReplicationJobState::Deleting,
        JobState::Deleted => ReplicationJobState::Deleted,
        JobState::Completed => ReplicationJobState::Completed,
        JobState::PausedOnFailure => ReplicationJobState::PausedOnFailure,
    }
}
