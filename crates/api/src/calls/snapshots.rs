//! Snapshots.

use super::{Outcome, page};
use crate::shapes::godwit::{DescribeSnapshotsRequest, DescribeSnapshotsResponse, SnapshotDescription};
use godwit_control::service::{Service, Snapshot, SnapshotsFilter};
use godwit_model::time::Timestamp;

/// `DescribeSnapshots`.
pub async fn describe(
    service: &Service,
    _now: Timestamp,
    request: DescribeSnapshotsRequest,
) -> Outcome<DescribeSnapshotsResponse> {
    let filter = SnapshotsFilter { snapshot_ids: request.snapshot_ids, image_id: request.image_id };
    let page = page(request.next_token, request.max_results);
    let found = service.describe_snapshots(&filter, &page).await?.map(description);
    Ok(DescribeSnapshotsResponse { snapshots: found.items, next_token: found.next })
}

fn description(snapshot: Snapshot) -> SnapshotDescription {
    SnapshotDescription {
        snapshot_id: snapshot.id.to_string(),
        image_id: snapshot.image.map(|id| id.to_string()),
        replication_run_id: snapshot.run.to_string(),
        server_id: snapshot.server.to_string(),
        device: snapshot.device,
        size: snapshot.size,
        root_digest: snapshot.root_digest,
        parent_snapshot_id: snapshot.parent.map(|id| id.to_string()),
        created_on: snapshot.created_at.into(),
        bytes_stored: snapshot.bytes_stored,
        key_id: Some(snapshot.key.to_string()),
    }
}
