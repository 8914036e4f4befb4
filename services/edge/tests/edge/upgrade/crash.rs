//! A process that took over dies while the one before it still drains: what that one is busy with is reported all the same.

use super::{assert_echo, echo, pong, taking, tunnel};
use crate::harness::{DEADLINE, Edge, Server, eventually};
use crate::memory_store::MemoryStore;
use crate::session::Controller;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(3600);

/// An edge that can be killed: it says not a word more.
struct Mortal {
    runtime: Runtime,
    edge: Edge,
}

impl Mortal {
    async fn take_over(data: &Path, store: &Arc<MemoryStore>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let edge = runtime.spawn(Edge::of(taking(data, store, LONG), store.clone())).await.unwrap();
        Self { runtime, edge }
    }

    fn kill(self) {
        self.runtime.shutdown_background();
        // The threads that serve are not the runtime's.
        self.edge.stop.request();
    }
}

/// The first process, with two tunnels to a server.
async fn first(data: &Path, store: &Arc<MemoryStore>, server: &Server) -> (Edge, [TcpStream; 2]) {
    let first = Edge::of(taking(data, store, LONG), store.clone()).await;
    first.route("a", "a", &[server]).await;
    let tunnels = [tunnel(first.address, "a").await, tunnel(first.address, "a").await];
    (first, tunnels)
}

async fn draining(edge: &Edge) -> Option<Value> {
    Some(edge.status_if_told().await?["draining"].take())
}

fn busy(server: &Server, in_flight: u64) -> Value {
    json!([{ "url": server.url(), "in_flight": in_flight }])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_second_of_three_dies_the_third_still_reports_what_the_first_is_busy_with() {
    let (data, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()));
    let (server, other) = (echo().await, pong().await);
    let (first, [one, mut two]) = first(data.path(), &store, &server).await;
    let second = Mortal::take_over(data.path(), &store).await;
    second.edge.route("a", "a", &[&other]).await;
    let third = Edge::of(taking(data.path(), &store, DEADLINE), store.clone()).await;
    eventually("the third reports what the first is busy with", || async {
        (draining(&third).await? == busy(&server, 2)).then_some(())
    })
    .await;

    second.kill();
    drop(one);
    eventually("the first speaks to the third itself", || async {
        let draining = draining(&third).await?;
        assert_ne!(draining, json!([]), "it was never forgotten");
        (draining == busy(&server, 1)).then_some(())
    })
    .await;
    assert_echo(&mut two).await;
    drop(two);
    timeout(DEADLINE, first.started.finished()).await.expect("the first one ends with its last connection").unwrap();
    eventually("nothing is reported of it any more", || async { (draining(&third).await? == json!([])).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_starts_anew_is_told_by_those_that_drain_before_it_speaks_to_the_controller() {
    let (data, store) = (tempfile::tempdir().unwrap(), Arc::new(MemoryStore::default()));
    let (server, other) = (echo().await, pong().await);
    let (first, tunnels) = first(data.path(), &store, &server).await;
    let second = Mortal::take_over(data.path(), &store).await;
    let revision = second.edge.route("a", "a", &[&other]).await;
    second.kill();
    let socket = data.path().join("succession.sock");
    eventually("nobody serves", || async { UnixStream::connect(&socket).await.err() }).await;

    let controller = Controller::default();
    let controllers = vec![controller.clone().serve().await];
    let config = edge::Config { controllers, ..taking(data.path(), &store, DEADLINE) };
    let third = Edge::of(config, store.clone()).await;
    third.applied(revision).await;
    eventually("the controller hears of it", || async { controller.last() }).await;
    drop(tunnels);
    timeout(DEADLINE, first.started.finished()).await.expect("the first one ends with its last connection").unwrap();
    eventually("nothing is reported of it any more", || async {
        controller.last().filter(|state| state.busy.is_empty())
    })
    .await;
    let states = controller.states.lock().unwrap();
    let said = states.first().unwrap();
    assert_eq!((said.busy.len(), said.busy[0].in_flight), (1, 2), "from its first word on");
}
