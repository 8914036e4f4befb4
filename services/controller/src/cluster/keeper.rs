//! What the leader keeps in order as long as it leads: that the cluster's founder and settings are written down, that
//! exactly the machines that should be are members of the state, and that old join tokens are forgotten. A full pass when the
//! machines have changed, every second while there is something to do, and now and then.

use super::etcd::{self, Leaving, Progress};
use super::registrar::{Refusal, Registrar, put};
use super::{Member, join};
use crate::api::now;
use crate::keys;
use ::etcd::Worth;
use lifecycle::{ErrorChain, Stop};
use std::sync::Arc;
use std::time::Duration;
use store::Compare;
use tokio::time::{sleep, timeout};

/// While a member has not started, caught up or left.
const UNDER_WAY_INTERVAL: Duration = Duration::from_secs(1);
/// When all is in order: others may change the members, too.
const IN_ORDER_INTERVAL: Duration = Duration::from_secs(10);
/// Old join tokens are looked for this often.
const TOKENS_INTERVAL: Duration = Duration::from_secs(600);
/// Free pages of the state's files are looked for this often.
const DEFRAGMENT_INTERVAL: Duration = Duration::from_secs(3600);

pub(crate) async fn keep(registrar: Arc<Registrar>, stop: Stop) {
    let keeping = async { tokio::join!(keep_members(&registrar), forget_tokens(&registrar), defragment(&registrar)) };
    stop.or(keeping).await;
}

async fn keep_members(registrar: &Registrar) {
    let mut machines = registrar.shared.roster.subscribe();
    let mut leaving = Leaving::new();
    let mut last_error = String::new();
    loop {
        // What this pass reads, or what comes later, is the next one's matter.
        machines.mark_unchanged();
        let (progress, error) = match keep_once(registrar, &mut leaving).await {
            Ok(progress) => (progress, String::new()),
            Err(error) => (Progress::Waits, ErrorChain(&error).to_string()),
        };
        if error != last_error && !error.is_empty() {
            tracing::warn!(error, "the cluster is not in order");
        }
        last_error = error;
        let pause = if progress == Progress::InOrder { IN_ORDER_INTERVAL } else { UNDER_WAY_INTERVAL };
        let _changed_or_not = timeout(pause, machines.changed()).await;
    }
}

async fn keep_once(registrar: &Registrar, leaving: &mut Leaving) -> Result<Progress, Refusal> {
    // A machine that joins takes its own steps.
    let Ok(_nobody_joins) = registrar.joining.try_lock() else { return Ok(Progress::Waits) };
    let mut machines = registrar.machines().await?;
    if machines.is_empty() {
        found(registrar).await?;
        machines = registrar.machines().await?;
    }
    let cluster = &registrar.shared.cluster;
    if !cluster.manages_etcd() {
        return Ok(Progress::InOrder);
    }
    let wanted = join::wanted_peers(&machines);
    Ok(etcd::step(cluster.members.as_ref(), &wanted, &cluster.etcd_peer_url, Some(leaving)).await?)
}

async fn forget_tokens(registrar: &Registrar) {
    loop {
        registrar.forget_tokens(now()).await;
        sleep(TOKENS_INTERVAL).await;
    }
}

async fn defragment(registrar: &Registrar) {
    let cluster = &registrar.shared.cluster;
    while cluster.manages_etcd() {
        sleep(DEFRAGMENT_INTERVAL).await;
        let _nobody_joins = registrar.joining.lock().await;
        match ::etcd::defragment_if_worthwhile(cluster.members.as_ref(), Worth::default()).await {
            Ok(Some(member)) => tracing::info!(member, "a member of the state gave its free pages back"),
            Ok(None) => {}
            Err(error) => tracing::warn!(error = %ErrorChain(&error), "the state's free pages"),
        }
    }
}

/// The first machine of a new cluster.
async fn found(registrar: &Registrar) -> Result<(), Refusal> {
    let shared = &registrar.shared;
    let cluster = &shared.cluster;
    let founder = Member {
        name: cluster.node.clone(),
        address: cluster.address,
        peers: shared.advertise.clone(),
        state: true,
        etcd_peer_url: cluster.etcd_peer_url.clone(),
        etcd_client_url: cluster.etcd_client_url.clone(),
        joined_at: now().to_string(),
        version: cluster.version.clone(),
        join_token: String::new(),
        node_key: String::new(),
    };
    let key = keys::member(&founder.name);
    if registrar.write(vec![Compare::absent(key.clone())], vec![put(key, &founder)]).await? {
        tracing::info!(name = founder.name, "the cluster's first machine");
    }
    let absent = vec![Compare::absent(keys::CLUSTER)];
    registrar.write(absent, vec![put(keys::CLUSTER.to_owned(), &cluster.settings)]).await?;
    Ok(())
}
