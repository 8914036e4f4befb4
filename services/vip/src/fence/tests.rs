use super::*;
use std::time::Instant;
use store::Embedded;

/// More than a store on a busy machine needs, less than the lease's lifetime.
const WITHIN: Duration = Duration::from_secs(2);
const KEY: &str = "/roadstead/vip/51";

/// One node's part of the fence.
struct Node {
    shared: Arc<Shared>,
    watching: JoinHandle<()>,
    stop: Stop,
}

impl Node {
    async fn new(store: &Arc<Embedded>, name: &str, priority: u8, preempts: bool) -> Self {
        let vitals = Arc::<Vitals>::default();
        vitals.priority.store(priority, Relaxed);
        let routers = vec![Fenced { key: KEY.to_owned(), preempts, wanted: AtomicBool::new(false), vitals }];
        let (lease, changes) = (Arc::default(), watch::Sender::default());
        let shared = Arc::new(Shared { store: store.clone(), node: name.to_owned(), lease, changes, routers });
        let stop = Stop::new();
        tokio::spawn(lease::keep(shared.clone(), stop.clone()));
        let watching = tokio::spawn(watcher::watch(shared.clone(), stop.clone()));
        let node = Self { shared, watching, stop };
        until("a lease and a watch", || node.shared.lease.get().is_some() && store.status().watchers > 0).await;
        node
    }

    async fn ask(&self) -> Fence {
        let priority = self.shared.routers[0].vitals.priority.load(Relaxed);
        self.shared.ask(0, WITHIN, priority).await
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.request();
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn store() -> (Arc<Embedded>, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Arc::new(Embedded::open(directory.path().to_owned()).await.unwrap()), directory)
}

fn refused_by(holder: &str) -> Fence {
    Fence::Refused { holder: holder.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_lives_keeps_the_record() {
    let (store, _directory) = store().await;
    let a = Node::new(&store, "a", 200, true).await;
    let b = Node::new(&store, "b", 100, true).await;
    assert_eq!(a.ask().await, Fence::Granted);
    assert_eq!(a.ask().await, Fence::Granted, "it is asked again and again");
    let asked_at = Instant::now();
    assert_eq!(b.ask().await, refused_by("a"));
    assert!(asked_at.elapsed() < CHALLENGE_MAX, "the holder affirms itself at once: {:?}", asked_at.elapsed());
    assert_eq!(a.ask().await, Fence::Granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_holder_that_does_not_answer_is_replaced_though_its_lease_lives() {
    let (store, _directory) = store().await;
    let a = Node::new(&store, "a", 200, true).await;
    let b = Node::new(&store, "b", 100, true).await;
    assert_eq!(a.ask().await, Fence::Granted);
    a.watching.abort();
    let asked_at = Instant::now();
    assert_eq!(b.ask().await, Fence::Granted);
    assert!(asked_at.elapsed() < WITHIN);
    // The old holder asks, but b is worse and nobody answers for it: a is given the record. With b alive it would be
    // refused, or handed over, by priority.
    b.watching.abort();
    assert_eq!(a.ask().await, Fence::Granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_better_node_is_handed_the_record() {
    let (store, _directory) = store().await;
    let a = Node::new(&store, "a", 100, true).await;
    let b = Node::new(&store, "b", 200, true).await;
    assert_eq!(a.ask().await, Fence::Granted);
    assert_eq!(b.ask().await, Fence::Granted);
    assert_eq!(a.ask().await, refused_by("b"));
    // Health is what counts, not what is configured.
    b.shared.routers[0].vitals.priority.store(20, Relaxed);
    assert_eq!(a.ask().await, Fence::Granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_preemption_a_better_node_is_refused() {
    let (store, _directory) = store().await;
    let a = Node::new(&store, "a", 100, false).await;
    let b = Node::new(&store, "b", 200, false).await;
    assert_eq!(a.ask().await, Fence::Granted);
    assert_eq!(b.ask().await, refused_by("a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_given_back_is_free() {
    let (store, _directory) = store().await;
    let a = Node::new(&store, "a", 200, true).await;
    let b = Node::new(&store, "b", 100, true).await;
    assert_eq!(a.ask().await, Fence::Granted);
    b.shared.release(0).await;
    assert!(store.get(KEY).await.unwrap().is_some(), "only its own is given back");
    a.shared.release(0).await;
    assert_eq!(store.get(KEY).await.unwrap(), None);
    assert_eq!(b.ask().await, Fence::Granted);
    // With its lease everything of a node goes.
    b.stop.request();
    let gone = async || store.get_prefix(record::PREFIX).await.unwrap().kvs.is_empty();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !gone().await {
        assert!(Instant::now() < deadline, "the record outlives its node");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_could_not_be_given_back_is_handed_over() {
    let (store, _directory) = store().await;
    let a = Node::new(&store, "a", 200, true).await;
    let b = Node::new(&store, "b", 100, true).await;
    assert_eq!(a.ask().await, Fence::Granted);
    a.shared.routers[0].wanted.store(false, Relaxed);
    assert_eq!(b.ask().await, Fence::Granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_node_takes_over_from_its_dead_self() {
    let (store, _directory) = store().await;
    let before = Node::new(&store, "a", 100, true).await;
    assert_eq!(before.ask().await, Fence::Granted);
    let after = Node::new(&store, "a", 100, true).await;
    assert_eq!(after.ask().await, Fence::Granted);
    let kv = store.get(KEY).await.unwrap().unwrap();
    assert_eq!(Some(kv.lease), after.shared.lease.get());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_read_is_nobodys() {
    let (store, _directory) = store().await;
    Store::put(&*store, KEY, "nonsense".into()).await.unwrap();
    let a = Node::new(&store, "a", 100, true).await;
    assert_eq!(a.ask().await, Fence::Granted);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_lease_nobody_may_say() {
    let (store, _directory) = store().await;
    let a = Node::new(&store, "a", 100, true).await;
    a.stop.request();
    until("the lease is gone", || a.shared.lease.get().is_none()).await;
    assert_eq!(a.ask().await, Fence::Unknown);
}
