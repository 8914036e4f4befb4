use super::*;
use crate::contract;

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_keeps_the_contract() {
    let data = tempfile::tempdir().unwrap();
    let store = Embedded::open(data.path().to_owned()).await.unwrap();
    contract::check(&store).await;
    store.close().await;
}

mod faults;
