//! vulcand's API, put together: neither the edge nor the controller knows of the other's, nor of the API's insides.

use ::store::Store;
use identity::SealKey;
use std::sync::Arc;
use vulcandapi::Config;

/// Writes what the edge's rights in the store let it write: it is asked to only without a controller.
pub fn of_edge(store: Arc<dyn Store>, seal_key: Option<SealKey>) -> ::edge::MakeApi {
    Box::new(move |statistics| {
        vulcandapi::router(Config { store, fence: None, seal_key, statistics: Some(statistics) })
    })
}

/// Writes while the controller leads.
pub fn of_controller(store: Arc<dyn Store>, seal_key: Option<SealKey>) -> ::controller::MakeVulcandApi {
    Arc::new(move |fence| {
        let (store, seal_key) = (store.clone(), seal_key.clone());
        vulcandapi::router(Config { store, fence: Some(fence), seal_key, statistics: None })
    })
}
