//! What `/v1/cluster` shows, and what a machine's entry says of its part in the cluster.

use super::registrar::{Refusal, Registrar};
use super::roster::Machines;
use crate::keys;
use futures::future::join_all;
use lifecycle::ErrorChain;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use store::{Member, Operation};
use tokio::time::timeout;

/// A member of the state that does not answer within this time is away.
const STATUS_MAX: Duration = Duration::from_secs(1);

impl Registrar {
    pub(crate) async fn describe(&self) -> Result<Value, Refusal> {
        let machines = self.machines().await?;
        let (listed, settings) = (self.etcd_members().await, self.settings().await?);
        let etcd = join_all(listed.iter().map(|member| self.etcd_member(member))).await;
        let has_quorum = {
            let voters = etcd.iter().filter(|member| member["role"] == "voter");
            let healthy = voters.clone().filter(|member| member["healthy"] == true).count();
            // The machines were read just now: an etcd of the user's works.
            healthy * 2 > voters.count() || !self.shared.cluster.manages_etcd()
        };
        let member = |machine: &super::Member| {
            let mut value = json!(machine);
            value["leader"] = json!(machine.name == self.shared.cluster.node);
            value["etcd"] = json!(etcd_role(machine, &listed));
            if let Some(object) = value.as_object_mut() {
                object.remove("join_token");
                object.remove("node_key");
            }
            value
        };
        Ok(json!({
            "settings": settings,
            "leader": { "node": self.shared.cluster.node, "peers": self.shared.advertise },
            "members": machines.values().map(member).collect::<Vec<_>>(),
            "etcd": { "healthy": has_quorum, "members": etcd },
        }))
    }

    /// Empty when they cannot be asked, and where they are none of the cluster's machines.
    pub(crate) async fn etcd_members(&self) -> Vec<Member> {
        if !self.shared.cluster.manages_etcd() {
            return Vec::new();
        }
        match timeout(STATUS_MAX, self.shared.cluster.members.member_list()).await {
            Ok(Ok(members)) => members,
            Ok(Err(error)) => {
                tracing::debug!(error = %ErrorChain(&error), "the state's members cannot be listed");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    async fn etcd_member(&self, member: &Member) -> Value {
        let mut value = json!({
            "id": format!("{:x}", member.id),
            "name": member.name,
            "role": if member.is_learner { "learner" } else { "voter" },
            "peerUrls": member.peer_urls,
            "clientUrls": member.client_urls,
            "healthy": false,
        });
        let Some(endpoint) = member.client_urls.first() else {
            value["error"] = json!("it has not been started yet");
            return value;
        };
        match timeout(STATUS_MAX, self.shared.cluster.members.status(endpoint)).await {
            Ok(Ok(status)) => {
                value["healthy"] = json!(status.errors.is_empty() && status.leader != 0);
                value["leader"] = json!(status.leader == member.id);
                value["version"] = json!(status.version);
                value["dbBytes"] = json!(status.db_bytes);
                value["dbInUseBytes"] = json!(status.db_in_use_bytes);
                value["raftIndex"] = json!(status.raft_index);
                if !status.errors.is_empty() {
                    value["error"] = json!(status.errors.join("; "));
                }
            }
            Ok(Err(error)) => value["error"] = json!(ErrorChain(&error).to_string()),
            Err(_) => value["error"] = json!(format!("no answer within {STATUS_MAX:?}")),
        }
        value
    }

    /// Takes a machine out of the cluster; whether it was one of it. Its member of the state is removed by the keeper, and
    /// its certificates are on the next list of revoked ones. `forced`: even if the cluster's objects go with it.
    pub(crate) async fn remove(&self, name: &str, forced: bool) -> Result<bool, Refusal> {
        if name == self.shared.cluster.node {
            let message =
                format!("'{name}' leads: have another machine lead first (DELETE /v2/leader), then remove it");
            return Err(Refusal::Taken(message));
        }
        let _one_at_a_time = self.joining.lock().await;
        let _nothing_is_issued = self.issuing.lock().await;
        let machines: Machines = self.machines().await?;
        let Some(member) = machines.get(name) else { return Ok(false) };
        self.refuse_loss_of_quorum(member).await?;
        if !forced {
            self.refuse_loss_of_objects(member).await?;
        }
        self.revoke_strangers(Some(name), vec![Operation::delete(keys::member(name))]).await?;
        self.machines().await?;
        tracing::info!(name, "a machine was removed");
        Ok(true)
    }

    /// Whether an S3 elsewhere keeps the objects is known to each machine, not here.
    async fn refuse_loss_of_objects(&self, leaving: &super::Member) -> Result<(), Refusal> {
        let objects: Option<SocketAddr> = self.settings().await?.objects.parse().ok();
        if objects.is_none_or(|objects| objects.ip() != leaving.address) {
            return Ok(());
        }
        let message = format!(
            "'{0}' holds the cluster's objects, the registry's images among them: without it no machine has them. Where an \
             S3 elsewhere keeps them (--s3), or nobody needs them, use force (roadstead node remove {0} --force)",
            leaving.name
        );
        Err(Refusal::Taken(message))
    }

    /// A voter may go when those left, as they are now, still are a majority.
    async fn refuse_loss_of_quorum(&self, leaving: &super::Member) -> Result<(), Refusal> {
        let listed = self.etcd_members().await;
        let is_leaving = |one: &Member| one.peer_urls.contains(&leaving.etcd_peer_url);
        if !listed.iter().any(|one| is_leaving(one) && !one.is_learner) {
            return Ok(());
        }
        let left: Vec<&Member> = listed.iter().filter(|one| !one.is_learner && !is_leaving(one)).collect();
        let answers = join_all(left.iter().map(|member| self.etcd_member(member))).await;
        let healthy = answers.iter().filter(|member| member["healthy"] == true).count();
        if healthy * 2 > left.len() {
            return Ok(());
        }
        let message = format!(
            "without '{}' the state would lose its majority: {healthy} of the other {} members answer",
            leaving.name,
            left.len()
        );
        Err(Refusal::Taken(message))
    }
}

/// `voter`, `learner`, or none.
pub(crate) fn etcd_role(machine: &super::Member, listed: &[Member]) -> Option<&'static str> {
    let member = listed.iter().find(|member| member.peer_urls.contains(&machine.etcd_peer_url))?;
    Some(if member.is_learner { "learner" } else { "voter" })
}
