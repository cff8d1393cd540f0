//! The catalog of servers.

use super::Record;
use crate::service::Service;
use crate::sim::journal::{CatalogRow, Step};
use godwit_model::catalog::CatalogStatus;
use godwit_model::time::Timestamp;

impl Record {
    pub(super) fn take_catalog(&mut self, step: Step<CatalogRow>, latest: Timestamp) {
        let (Some(was), Some(is)) = (step.was, step.is) else { panic!("there is one catalog") };
        if was.status == is.status {
            // Cleared again, or dated when the data folder is new.
            let is_cleared = is.status == CatalogStatus::Deleted && is.import_number == was.import_number + 1;
            let is_dated = was.modified_at == Timestamp(0) && is.import_number == was.import_number;
            assert!(is_cleared || is_dated, "{was:?} became {is:?}");
            return;
        }
        self.catalog_went(was.status, is.status);
        let imported = is.import_number - was.import_number;
        match (was.status, is.status) {
            (_, CatalogStatus::Importing) => {
                assert_eq!((imported, is.status_before), (1, was.status), "{was:?} became {is:?}");
            }
            // Whatever is at work for it now is void.
            (_, CatalogStatus::Deleted) if imported == 1 => {}
            (CatalogStatus::Importing, CatalogStatus::Available) => assert_eq!(imported, 0, "{was:?} became {is:?}"),
            (CatalogStatus::Importing, before) => {
                assert_eq!((imported, before), (0, was.status_before), "an import in vain: {was:?} became {is:?}");
            }
            (CatalogStatus::Available, CatalogStatus::Expired) => {
                let age = self.options.retention.catalog;
                let is_old = age.is_some_and(|age| was.modified_at + age <= latest);
                assert!(is_old && imported == 0, "expired, {latest:?}: {was:?} became {is:?}");
            }
            _ => panic!("{was:?} became {is:?}"),
        }
    }
}

/// Servers are listed only while the catalog says that they are there.
pub(super) async fn look(service: &Service) {
    let listed = "SELECT server_id FROM server WHERE listed = 1 AND \
                  (SELECT status FROM catalog) IN ('NOT_IMPORTED', 'DELETED', 'EXPIRED')";
    let listed = super::rows(service, listed).await;
    assert!(listed.is_empty(), "{} servers are listed in a catalog without any", listed.len());
}
