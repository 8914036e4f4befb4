//! Many machines: a cluster is [founded](found) by the first (`up --address`), [joined](join) by the others, and known to
//! each of them by its [membership] and its certificates, which the supervisor [renews](renew) unattended.

mod credentials;
pub mod found;
pub mod join;
mod membership;
mod others;
mod outside;
pub mod removal;
pub mod renew;
pub mod state;

pub use credentials::{make_seal_key, registry_key, seal_key_path};
pub use membership::{Membership, Others, make_directory};
pub use outside::etcd_user;

use lifecycle::Stop;
use std::path::PathBuf;

/// What a machine's supervisor does for as long as it runs: certificates, and the list of the others.
pub async fn upkeep(data: PathBuf, membership: Membership, stop: Stop) {
    let renewing = renew::run(&data, &membership);
    let following = others::run(&data, &membership);
    let granting = state::grant_rights(&data, &membership);
    stop.or(async { tokio::join!(renewing, following, granting) }).await;
}
