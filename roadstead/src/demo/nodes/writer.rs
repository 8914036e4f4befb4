//! Small writes while nodes are lost: each node's API is asked, one write after another, to make an app that runs nothing.
//! What was acknowledged must be there afterwards, and the longest time without an acknowledgement tells how long the
//! platform took no writes.

use super::super::stage::until;
use super::machine::Machine;
use anyhow::Context;
use http::{Method, StatusCode};
use lifecycle::Stop;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::RwLock;
use tokio::task::JoinSet;
use tokio::time::Instant;
use web::Client;

/// Between two writes to one node.
const INTERVAL: Duration = Duration::from_millis(400);
/// A write that takes longer counts as not acknowledged.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Reading everything back waits for a platform that answers.
const CHECK_TIMEOUT: Duration = Duration::from_secs(60);
/// Where the apps are that only these writes make.
const FOLDER: &str = "/written";

#[derive(Debug, Default)]
struct Ledger {
    acknowledged: u64,
    lost: u64,
    /// Acknowledged and not yet looked for.
    unchecked: BTreeSet<String>,
    acknowledged_last: Option<Instant>,
    silence_max: Duration,
}

impl Ledger {
    fn acknowledge(&mut self, id: String, now: Instant) {
        self.acknowledged += 1;
        self.unchecked.insert(id);
        self.note_silence(now);
        self.acknowledged_last = Some(now);
    }

    fn note_silence(&mut self, now: Instant) {
        let silence = self.acknowledged_last.map_or(Duration::ZERO, |last| now.saturating_duration_since(last));
        self.silence_max = self.silence_max.max(silence);
    }

    /// What is acknowledged and not among `found` is lost.
    fn check(&mut self, found: &BTreeSet<String>) -> Vec<String> {
        let unchecked = std::mem::take(&mut self.unchecked);
        let lost: Vec<String> = unchecked.difference(found).cloned().collect();
        self.lost += lost.len() as u64;
        lost
    }
}

/// All writes together.
#[derive(Clone, Copy, Debug)]
pub struct Writes {
    pub acknowledged: u64,
    pub lost: u64,
}

pub struct Writer {
    ledger: Arc<Mutex<Ledger>>,
    /// One for each node.
    workers: JoinSet<()>,
    /// Taken for reading by each write; taken for writing, it holds them off.
    gate: Arc<RwLock<()>>,
    ending: Stop,
}

impl Writer {
    pub fn start(machines: &[Machine]) -> Self {
        let (ledger, gate, ending) = (Arc::<Mutex<Ledger>>::default(), Arc::<RwLock<()>>::default(), Stop::new());
        let mut workers = JoinSet::new();
        for machine in machines {
            let (name, api) = (machine.name().to_owned(), machine.api().clone());
            workers.spawn(write_forever(name, api, ledger.clone(), gate.clone(), ending.clone()));
        }
        Self { ledger, workers, gate, ending }
    }

    /// The longest time without an acknowledgement since this was last asked.
    pub fn take_silence(&self) -> Duration {
        let mut ledger = lock(&self.ledger);
        ledger.note_silence(Instant::now());
        std::mem::take(&mut ledger.silence_max)
    }

    /// Looks for everything that was acknowledged, in what `machine` answers, and removes it; what is lost, by name.
    pub async fn check(&self, machine: &Machine) -> anyhow::Result<Vec<String>> {
        let _held_off = self.gate.write().await;
        let apps: Value = until("the written apps can be listed", CHECK_TIMEOUT, async || {
            let apps = machine.api().get_json("http://localhost/v2/apps");
            Ok(Some(tokio::time::timeout(ANSWER_TIMEOUT, apps).await??))
        })
        .await?;
        let ids = apps["apps"].as_array().into_iter().flatten().filter_map(|app| app["id"].as_str());
        let found: BTreeSet<String> = ids.filter(|id| id.starts_with(FOLDER)).map(str::to_owned).collect();
        let lost = lock(&self.ledger).check(&found);
        for id in found {
            until(&format!("{id} is removed"), CHECK_TIMEOUT, async || {
                let uri = format!("http://localhost/v2/apps{id}?force=true");
                let removed = machine.api().call(Method::DELETE, &uri, None, web::empty_body());
                let status = tokio::time::timeout(ANSWER_TIMEOUT, removed).await??.status();
                Ok((status.is_success() || status == StatusCode::NOT_FOUND).then_some(()))
            })
            .await?;
        }
        // Nobody wrote meanwhile: that is no silence.
        lock(&self.ledger).acknowledged_last = None;
        Ok(lost)
    }

    pub async fn end(mut self) -> Writes {
        self.ending.request();
        while self.workers.join_next().await.is_some() {}
        let ledger = lock(&self.ledger);
        Writes { acknowledged: ledger.acknowledged, lost: ledger.lost }
    }
}

async fn write_forever(name: String, api: Client, ledger: Arc<Mutex<Ledger>>, gate: Arc<RwLock<()>>, ending: Stop) {
    for number in 0_u64.. {
        let id = format!("{FOLDER}/{name}-{number}");
        let write = async {
            let _open = gate.read().await;
            match tokio::time::timeout(ANSWER_TIMEOUT, write(&api, &id)).await {
                Ok(Ok(())) => lock(&ledger).acknowledge(id.clone(), Instant::now()),
                Ok(Err(error)) => tracing::debug!(id, error = %lifecycle::ErrorChain(error.as_ref()), "not written"),
                Err(_) => tracing::debug!(id, "no answer to a write"),
            }
        };
        write.await;
        if ending.or(tokio::time::sleep(INTERVAL)).await.is_none() {
            return;
        }
    }
}

async fn write(api: &Client, id: &str) -> anyhow::Result<()> {
    let app = json!({ "id": id, "cmd": "true", "cpus": 0.01, "mem": 1, "instances": 0, "ports": [] });
    let _made: Value = api.send_json(Method::POST, "http://localhost/v2/apps", &app).await.context("write")?;
    Ok(())
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().expect("nobody panics while holding the ledger")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_and_is_not_found_is_lost() {
        let now = Instant::now();
        let mut ledger = Ledger::default();
        for id in ["/written/a", "/written/b"] {
            ledger.acknowledge(id.to_owned(), now);
        }
        // An answer that did not arrive may still have been a write.
        let found = ["/written/b", "/written/unanswered"].map(str::to_owned).into();
        assert_eq!(ledger.check(&found), ["/written/a"]);
        assert_eq!(ledger.check(&BTreeSet::new()), Vec::<String>::new(), "each is looked for once");
        assert_eq!((ledger.acknowledged, ledger.lost), (2, 1));
    }

    #[test]
    fn the_longest_silence_is_kept() {
        let start = Instant::now();
        let mut ledger = Ledger::default();
        for seconds in [0, 1, 4, 5] {
            ledger.acknowledge(seconds.to_string(), start + Duration::from_secs(seconds));
        }
        assert_eq!(ledger.silence_max, Duration::from_secs(3));
    }
}
