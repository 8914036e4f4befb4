//! Measures, from the begin of a fault, when each of its consequences is seen: by the other nodes' edges, by the other
//! nodes' API, by the kernels.

use super::super::stage::until;
use super::cluster::{Cluster, LOOK_TIMEOUT};
use super::plan::Expected;
use super::views;
use anyhow::{Context, ensure};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// What was promised comes in seconds; what has not come after this time does not.
const SEEN_TIMEOUT: Duration = Duration::from_secs(45);

pub struct Watch<'a> {
    pub cluster: &'a Cluster,
    /// The node the fault happens to.
    pub node: usize,
    pub began: Instant,
    /// Tasks the app wants.
    pub instances: u64,
}

/// Seconds since the fault began; `None`: not expected, or not seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub endpoints_out_s: Option<f64>,
    pub tasks_elsewhere_s: Option<f64>,
    pub address_moved_s: Option<f64>,
    /// What was expected and not seen.
    pub missed: Vec<String>,
}

impl Watch<'_> {
    /// Waits for all that is expected, all at once.
    pub async fn see(&self, expected: Expected) -> Seen {
        let (endpoints, tasks, address) = tokio::join!(
            self.if_expected(expected.endpoints_out, self.endpoints_out()),
            self.if_expected(expected.tasks_elsewhere, self.tasks_elsewhere()),
            self.if_expected(expected.address_moved, self.address_moved()),
        );
        let mut seen = Seen::default();
        let mut keep = |result: anyhow::Result<Option<f64>>| {
            result.unwrap_or_else(|error| {
                seen.missed.push(lifecycle::ErrorChain(error.as_ref()).to_string());
                None
            })
        };
        let (endpoints, tasks, address) = (keep(endpoints), keep(tasks), keep(address));
        Seen { endpoints_out_s: endpoints, tasks_elsewhere_s: tasks, address_moved_s: address, ..seen }
    }

    async fn if_expected(
        &self,
        expected: bool,
        seeing: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<Option<f64>> {
        if !expected {
            return Ok(None);
        }
        seeing.await?;
        Ok(Some(self.began.elapsed().as_secs_f64()))
    }

    async fn endpoints_out(&self) -> anyhow::Result<()> {
        let host = self.cluster.machines()[self.node].node().address().to_string();
        for other in self.cluster.others(self.node) {
            let name = self.cluster.machines()[other].name();
            until(&format!("the node's servers leave the route of {name}'s edge"), SEEN_TIMEOUT, async || {
                let servers = timeout(LOOK_TIMEOUT, self.cluster.stage(other).servers()).await;
                let servers = servers.context("the edge does not answer")??;
                let left = views::servers_of(&servers, &host).len();
                ensure!(left == 0, "{left} servers are left");
                Ok(Some(()))
            })
            .await?;
        }
        Ok(())
    }

    async fn tasks_elsewhere(&self) -> anyhow::Result<()> {
        let machine = &self.cluster.machines()[self.node];
        let (name, address) = (machine.name(), machine.node().address().to_string());
        until("as many tasks as wanted run elsewhere", SEEN_TIMEOUT, async || {
            let app = self.cluster.get_elsewhere(self.node, "/v2/apps/s3pics").await?;
            let tasks = views::healthy_tasks(&app["app"]);
            let elsewhere = tasks.values().filter(|host| **host != name && **host != address).count();
            ensure!(elsewhere as u64 >= self.instances, "{elsewhere} of {} run elsewhere", self.instances);
            Ok(Some(()))
        })
        .await
    }

    async fn address_moved(&self) -> anyhow::Result<()> {
        until("another node holds the address", SEEN_TIMEOUT, async || {
            let holders = self.cluster.holders().await?;
            Ok(holders.iter().any(|holder| *holder != self.node).then_some(()))
        })
        .await
    }
}
