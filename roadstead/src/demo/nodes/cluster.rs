//! All nodes: built, asked, found whole, ended.

use super::super::kill::tasks_of;
use super::super::narrator::Telling;
use super::super::stage::{APP_HOST, Public, Stage, until};
use super::inside::Inside;
use super::machine::{self, ADDRESS, Machine, Settings};
use super::views;
use anyhow::{Context, bail, ensure};
use http::{Method, Request, StatusCode};
use netlab::{Lab, Node};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

/// The article's number.
const NODES: u8 = 3;
/// Patience with a start, a join, and with a cluster that becomes whole again; reports tell how long it really took.
const START_TIMEOUT: Duration = Duration::from_secs(60);
const WHOLE_TIMEOUT: Duration = Duration::from_secs(90);
/// A node that does not answer a look within this time is not well.
pub const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// A change waits for the store and for the leader's election.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(15);
/// Port of the edge, the field's usual one (vulcand's).
const EDGE_PORT: u16 = 8181;
/// Threads of the load, where the clients are.
const CLIENT_THREADS: usize = 2;

pub struct Cluster {
    machines: Vec<Machine>,
    /// The same order: what each node's interfaces tell; complete once the cluster has begun.
    stages: Vec<Stage>,
    public: Public,
    client: Node,
    // Last: the stages' work goes on in here.
    _at_client: Inside,
}

impl Cluster {
    /// The nodes and the clients' one, on one switch; nothing runs yet.
    pub async fn empty(lab: &Lab, settings: Settings, answer_within: Duration) -> anyhow::Result<Self> {
        let client = machine::client(lab).await?;
        let at_client = Inside::of(&client, CLIENT_THREADS).await?;
        let edge = SocketAddr::new(ADDRESS, EDGE_PORT);
        let public = Public { runtime: at_client.handle(), edge, answer_within };
        let mut machines = Vec::new();
        for number in 1..=NODES {
            machines.push(Machine::new(lab, number, &settings).await?);
        }
        Ok(Self { machines, stages: Vec::new(), public, client, _at_client: at_client })
    }

    /// The first node founds the cluster, the others join it one after another by its token.
    pub async fn begin(&mut self, telling: &Telling) -> anyhow::Result<()> {
        for index in 0..self.machines.len() {
            telling.says(format!("{} starts", self.machines[index].name()));
            match index {
                0 => self.machines[0].found()?,
                _ => {
                    let token = join_token(&self.machines[0]).await?;
                    self.machines[index].join(&token)?;
                }
            }
            self.answers(index).await?;
            let machine = &self.machines[index];
            let (addresses, authority) = machine.interfaces()?;
            self.stages.push(Stage::new(addresses, authority, machine.inside().handle(), self.public.clone()));
        }
        Stage::share_public(&mut self.stages);
        Ok(())
    }

    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    pub fn machine(&mut self, index: usize) -> &mut Machine {
        &mut self.machines[index]
    }

    pub fn stage(&self, index: usize) -> &Stage {
        &self.stages[index]
    }

    /// The namespace of the clients.
    pub fn client(&self) -> &str {
        self.client.namespace()
    }

    pub fn public_edge(&self) -> SocketAddr {
        self.public.edge
    }

    pub fn index_of(&self, name: &str) -> anyhow::Result<usize> {
        let found = self.machines.iter().position(|machine| machine.name() == name);
        found.with_context(|| format!("there is no node {name}"))
    }

    /// Every node but this one.
    pub fn others(&self, index: usize) -> impl Iterator<Item = usize> {
        (0..self.machines.len()).filter(move |other| *other != index)
    }

    /// `GET` of the first node that answers it; nodes that are away cost a moment each.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.first_answer(0..self.machines.len(), path).await
    }

    /// `GET` of one of the other nodes.
    pub async fn get_elsewhere(&self, than: usize, path: &str) -> anyhow::Result<Value> {
        self.first_answer(self.others(than), path).await
    }

    async fn first_answer(&self, nodes: impl Iterator<Item = usize>, path: &str) -> anyhow::Result<Value> {
        let mut refused = None;
        for index in nodes {
            match get(&self.machines[index], path).await {
                Ok(answer) => return Ok(answer),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.context("there is a node to ask")?)
    }

    /// `POST /v1/nodes/<name>/drain` and `restore`, as `roadstead node` does it.
    pub async fn set_draining(&self, index: usize, draining: bool) -> anyhow::Result<()> {
        let verb = if draining { "drain" } else { "restore" };
        let path = format!("/v1/nodes/{}/{verb}", self.machines[index].name());
        // Another node is asked: this one may be about to stop.
        let asked = self.others(index).next().context("there is another node")?;
        post(&self.machines[asked], &path, &json!({})).await.map(drop)
    }

    /// The index of the node that holds the address, as the kernels tell.
    pub async fn holder(&self) -> anyhow::Result<usize> {
        match *self.holders().await?.as_slice() {
            [only] => Ok(only),
            [] => bail!("no node holds {ADDRESS}"),
            ref several => bail!("{} nodes hold {ADDRESS}", several.len()),
        }
    }

    pub async fn holders(&self) -> anyhow::Result<Vec<usize>> {
        let mut holders = Vec::new();
        for (index, machine) in self.machines.iter().enumerate() {
            if machine.node().addresses().await?.contains(&ADDRESS) {
                holders.push(index);
            }
        }
        Ok(holders)
    }

    /// How many of the app's tasks run on a node.
    pub async fn tasks_on(&self, index: usize) -> anyhow::Result<usize> {
        let node = self.machines[index].node();
        let app = self.get("/v2/apps/s3pics").await?;
        let tasks = views::healthy_tasks(&app["app"]);
        let address = node.address().to_string();
        Ok(tasks.values().filter(|host| **host == address || *host == node.name()).count())
    }

    /// Tasks of the lab's nodes that have a process, by the kernel's word. (What outlived its platform is no descendant of
    /// the node any more, and has a network of its own: it is not seen here.)
    fn tasks_alive(&self) -> anyhow::Result<BTreeSet<String>> {
        let mut tasks = BTreeSet::new();
        for machine in &self.machines {
            tasks.append(&mut tasks_of(&machine.node().pids()?));
        }
        Ok(tasks)
    }

    /// Waits until everything is as it should be: every node and every member of etcd, one holder of the address and,
    /// with the app deployed, each of its tasks healthy and alive exactly once, and in every edge's route.
    pub async fn whole(&mut self, instances: Option<u64>, telling: &Telling) -> anyhow::Result<()> {
        until("the cluster is whole", WHOLE_TIMEOUT, async || {
            for machine in &mut self.machines {
                if let Err(ended) = machine.check() {
                    return Ok(Some(Err(ended)));
                }
            }
            let amiss = self.first_amiss(instances).await;
            telling.says(amiss.as_ref().map_or_else(|error| format!("not whole yet: {error}"), |()| String::new()));
            amiss.map(|()| Some(Ok(())))
        })
        .await?
    }

    async fn first_amiss(&self, instances: Option<u64>) -> anyhow::Result<()> {
        let names: Vec<&str> = self.machines.iter().map(Machine::name).collect();
        for machine in &self.machines {
            let asked = || format!("as {} tells it", machine.name());
            views::cluster_is_well(&get(machine, "/v1/cluster").await?, &names).with_context(asked)?;
            views::nodes_are_well(&get(machine, "/v1/nodes").await?, &names).with_context(asked)?;
        }
        self.holder().await?;
        let Some(instances) = instances else { return Ok(()) };
        let app = self.get("/v2/apps/s3pics").await?;
        views::app_is_well(&app["app"], instances)?;
        let healthy: BTreeSet<String> = views::healthy_tasks(&app["app"]).into_keys().collect();
        let with_process = tasks_of(&every_process()?);
        let dead: Vec<&String> = healthy.difference(&with_process).collect();
        ensure!(dead.is_empty(), "healthy, yet without a process: {dead:?}");
        let beside: Vec<String> = self.tasks_alive()?.difference(&healthy).cloned().collect();
        ensure!(beside.is_empty(), "alive beside the healthy: {beside:?}");
        for (stage, machine) in self.stages.iter().zip(&self.machines) {
            let routed = timeout(LOOK_TIMEOUT, stage.routed()).await.context("the edge does not answer")??;
            ensure!(routed == instances, "the edge of {} has {routed} servers", machine.name());
        }
        let page = self.stages[0].visit(APP_HOST, Request::get("/").body(web::empty_body())?);
        let page = timeout(LOOK_TIMEOUT, page).await.context("no answer on the address")??;
        ensure!(page.status() == StatusCode::OK, "the address answers {}", page.status());
        Ok(())
    }

    /// Waits until a node that was started is heard.
    pub async fn answers(&mut self, index: usize) -> anyhow::Result<()> {
        answers(&mut self.machines[index]).await
    }

    /// The process that leads etcd, and the index of its node.
    pub async fn etcd_leader(&self) -> anyhow::Result<(usize, i32)> {
        let cluster = self.get("/v1/cluster").await?;
        let index = self.index_of(views::etcd_leader(&cluster)?)?;
        let is_etcd = |pid: &i32| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            name.trim() == "etcd"
        };
        let pid = self.machines[index].node().pids()?.into_iter().find(is_etcd);
        Ok((index, pid.with_context(|| format!("no etcd runs on {}", self.machines[index].name()))?))
    }

    /// Whatever state the nodes are in: links healed, no app, no process; what is left is the network.
    pub async fn end(&mut self) -> anyhow::Result<()> {
        for machine in &mut self.machines {
            machine.node().resume()?;
            machine.node().heal().await?;
        }
        let removed = self.remove_apps().await;
        for machine in &mut self.machines {
            machine.stop().await?;
        }
        removed
    }

    async fn remove_apps(&self) -> anyhow::Result<()> {
        for (machine, stage) in self.machines.iter().zip(&self.stages) {
            if get(machine, "/v2/apps").await.is_ok() {
                return stage.remove_apps().await;
            }
        }
        ensure!(self.stages.is_empty(), "no node answers");
        Ok(())
    }
}

async fn answers(machine: &mut Machine) -> anyhow::Result<()> {
    let condition = format!("{} is a node that is heard", machine.name());
    until(&condition, START_TIMEOUT, async || {
        if let Err(ended) = machine.check() {
            return Ok(Some(Err(ended)));
        }
        let nodes = get(machine, "/v1/nodes").await?;
        let own = nodes.as_array().into_iter().flatten().find(|node| node["id"] == machine.name());
        ensure!(own.is_some_and(|own| own["state"] == "connected"), "its agent has no session");
        // Written when its last part listens.
        machine.interfaces()?;
        Ok(Some(Ok(())))
    })
    .await?
}

fn every_process() -> anyhow::Result<Vec<i32>> {
    let entries = std::fs::read_dir("/proc").context("list the processes")?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
}

async fn join_token(founder: &Machine) -> anyhow::Result<String> {
    until("a join token is made", START_TIMEOUT, async || {
        let made = post(founder, "/v1/join-tokens", &json!({ "ttl_seconds": START_TIMEOUT.as_secs() * 10 })).await?;
        Ok(Some(made["token"].as_str().context("a join token is text")?.to_owned()))
    })
    .await
}

async fn get(machine: &Machine, path: &str) -> anyhow::Result<Value> {
    let uri = format!("http://localhost{path}");
    let asked = timeout(LOOK_TIMEOUT, machine.api().get_json(&uri)).await;
    Ok(asked.with_context(|| format!("{} does not answer {path}", machine.name()))??)
}

/// A change asked of one node.
pub async fn post(machine: &Machine, path: &str, body: &Value) -> anyhow::Result<Value> {
    let uri = format!("http://localhost{path}");
    let asked = timeout(CHANGE_TIMEOUT, machine.api().send_json(Method::POST, &uri, body)).await;
    Ok(asked.with_context(|| format!("{} does not answer {path}", machine.name()))??)
}
