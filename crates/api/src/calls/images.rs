//! Images.

use super::{Outcome, page, signed};
use crate::shapes::godwit::{
    self, DamagedRange, DataExtent, DescribeImagesRequest, DescribeImagesResponse, ImageDescription, ImageRequest,
    ImageVolumeDescription, ListImageChangesRequest, ListImageChangesResponse, ListImageExtentsRequest,
    ListImageExtentsResponse, NoAnswer, ReadImageRequest,
};
use bytes::Bytes;
use godwit_control::service::{Image, ImageVolume, ImagesFilter, Service, Verification, VerificationState};
use godwit_model::extent::Extent;
use godwit_model::time::Timestamp;

/// `DescribeImages`.
pub async fn describe(
    service: &Service,
    _now: Timestamp,
    request: DescribeImagesRequest,
) -> Outcome<DescribeImagesResponse> {
    let filter = ImagesFilter { image_ids: request.image_ids, job_id: request.replication_job_id };
    let page = page(request.next_token, request.max_results);
    let found = service.describe_images(&filter, &page).await?.map(description);
    Ok(DescribeImagesResponse { images: found.items, next_token: found.next })
}

/// `StartImageVerification`.
pub async fn start_verification(service: &Service, now: Timestamp, request: ImageRequest) -> Outcome<NoAnswer> {
    service.start_image_verification(&request.image_id, now).await?;
    Ok(NoAnswer {})
}

/// `DeleteImage`.
pub async fn delete(service: &Service, now: Timestamp, request: ImageRequest) -> Outcome<NoAnswer> {
    service.delete_image(&request.image_id, now).await?;
    Ok(NoAnswer {})
}

/// `ListImageExtents`.
pub async fn list_extents(
    service: &Service,
    _now: Timestamp,
    request: ListImageExtentsRequest,
) -> Outcome<ListImageExtentsResponse> {
    let (from, limit) = (request.from.map(signed), request.max_results.map(i64::from));
    let list = service.list_image_extents(&request.image_id, signed(request.volume), from, limit).await?;
    Ok(ListImageExtentsResponse { size: list.size, extents: extents(list.extents), next: list.next })
}

/// `ListImageChanges`.
pub async fn list_changes(
    service: &Service,
    _now: Timestamp,
    request: ListImageChangesRequest,
) -> Outcome<ListImageChangesResponse> {
    let (from, limit) = (request.from.map(signed), request.max_results.map(i64::from));
    let (base, volume) = (&request.base_image_id, signed(request.volume));
    let list = service.list_image_changes(base, &request.image_id, volume, from, limit).await?;
    Ok(ListImageChangesResponse { size: list.size, changes: extents(list.extents), next: list.next })
}

/// `ReadImage`.
pub async fn read(service: &Service, _now: Timestamp, request: ReadImageRequest) -> Outcome<Bytes> {
    let (volume, offset, length) = (signed(request.volume), signed(request.offset), signed(request.length));
    Ok(service.read_image(&request.image_id, volume, offset, length).await?)
}

fn extents(extents: Vec<Extent>) -> Vec<DataExtent> {
    extents.into_iter().map(|e| DataExtent { offset: e.offset, length: e.length }).collect()
}

fn description(image: Image) -> ImageDescription {
    ImageDescription {
        image_id: image.id.to_string(),
        description: image.description,
        replication_job_id: image.job.to_string(),
        replication_run_id: image.run.to_string(),
        server_id: image.server.to_string(),
        server_name: image.server_name,
        created_on: image.created_at.into(),
        size_bytes: image.size,
        key_id: Some(image.key.to_string()),
        key_version: Some(image.key_version),
        volumes: image.volumes.into_iter().map(volume).collect(),
        verification: verification(image.verification),
    }
}

fn volume(volume: ImageVolume) -> ImageVolumeDescription {
    ImageVolumeDescription {
        volume: volume.volume,
        device: volume.device,
        size: volume.size,
        snapshot_id: volume.snapshot.to_string(),
        root_digest: volume.root_digest,
    }
}

fn verification(verification: Verification) -> godwit::Verification {
    let range = |range: godwit_control::service::DamagedRange| DamagedRange {
        volume: range.volume,
        offset: range.extent.offset,
        length: range.extent.length,
    };
    godwit::Verification {
        state: match verification.state {
            VerificationState::Unverified => godwit::VerificationState::Unverified,
            VerificationState::Running => godwit::VerificationState::Running,
            VerificationState::Verified => godwit::VerificationState::Verified,
            VerificationState::Damaged => godwit::VerificationState::Damaged,
            VerificationState::Failed => godwit::VerificationState::Failed,
        },
        verified_on: verification.verified_at.map(Into::into),
        bytes_verified: verification.bytes_verified,
        bytes_total: verification.bytes_total,
        damaged: verification.damaged.into_iter().map(range).collect(),
        message: verification.message,
    }
}
