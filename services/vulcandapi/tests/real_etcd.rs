//! The API over Debian's etcd.

#[path = "contract/contract.rs"]
mod contract;
#[path = "../../../machinery/store/tests/support/etcd.rs"]
mod etcd;

use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn real_etcd_keeps_vulcands_api() {
    let etcd = etcd::Etcd::start().await;
    contract::check(Arc::new(etcd.client())).await;
}
