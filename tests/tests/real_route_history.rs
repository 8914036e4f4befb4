//! Routes over Debian's etcd: written, served, changed and taken back.

#[path = "../../machinery/store/tests/support/etcd.rs"]
mod etcd;
#[path = "vulcands_api/platform.rs"]
mod platform;

use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_into_etcd_is_served_changed_and_taken_back() {
    let etcd = etcd::Etcd::start().await;
    platform::changed_and_taken_back(Arc::new(etcd.client())).await;
}
