//! The API over the store of a machine alone.

#[path = "contract/contract.rs"]
mod contract;

use std::sync::Arc;
use store::Embedded;

#[tokio::test]
async fn the_embedded_store_keeps_vulcands_api() {
    let directory = tempfile::tempdir().unwrap();
    let store = Embedded::open(directory.path().to_owned()).await.unwrap();
    contract::check(Arc::new(store)).await;
}
