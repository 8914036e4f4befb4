//! Debian's etcd as a cluster of three under our guards: what the client and the guard promise.

mod support;

use identity::{LIST_LIFETIME, Role};
use nix::sys::signal::{Signal, kill};
use std::time::{Duration, Instant, SystemTime};
use store::dump::Existing;
use store::{Member, Members, Operation, PutRequest, RefusalCode, Store, StoreError, TxnRequest, contract};
use support::{Cluster, DEADLINE, gone};

/// etcd's floor of a lease with our election timeout.
const LEASE_MIN: Duration = Duration::from_secs(1);

async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn denied<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    match result {
        Err(StoreError::Refused { code: RefusalCode::PermissionDenied, .. }) => {}
        other => panic!("permission must be denied: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_members_with_certificates_keep_the_contract() {
    let cluster = Cluster::start().await;
    contract::check_with(&cluster.client(Role::Admin), LEASE_MIN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_opens_its_roles_keys_only() {
    let cluster = Cluster::start().await;
    let admin = cluster.client(Role::Admin);
    admin.put("/roadstead/routes/a", "x".into()).await.unwrap();
    admin.put("/roadstead/apps/a", "x".into()).await.unwrap();

    let edge = cluster.client(Role::Edge);
    assert_eq!(edge.get_prefix("/roadstead/routes/").await.unwrap().count, 1);
    drop(edge.watch_prefix("/roadstead/routes/", 0).await.unwrap());
    denied(edge.put("/roadstead/apps/a", "mine".into()).await);
    denied(edge.put("/roadstead/routes/a", "mine".into()).await);
    denied(edge.get("/roadstead/apps/a").await);
    denied(edge.get_prefix("").await);
    denied(edge.member_remove(1).await);
    denied(edge.enable_auth().await);

    let registry = cluster.client(Role::Registry);
    registry.put("/roadstead/registry/tags/a", "x".into()).await.unwrap();
    denied(registry.put("/roadstead/apps/a", "mine".into()).await);
    let controller = cluster.client(Role::Controller);
    controller.put("/roadstead/apps/a", "y".into()).await.unwrap();
    denied(controller.get("/roadstead/registry/tags/a").await);
    // The member's own certificate makes it a peer and opens no keys.
    denied(cluster.client(Role::Store).get("/roadstead/apps/a").await);
    // Again changes nothing, and does not fail.
    admin.enable_auth().await.unwrap();
    assert_eq!(admin.get("/roadstead/apps/a").await.unwrap().unwrap().value, "y");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_opens_nothing() {
    let cluster = Cluster::start().await;
    let forged = cluster.forged(Role::Admin);
    let refused = forged.get("/roadstead/apps/a").await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_members_certificate_makes_a_peer() {
    let cluster = Cluster::start().await;
    let answer = cluster.ask_as_peer(Role::Store).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("etcdserver"), "{answer:?}");
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Store) {
        assert!(cluster.ask_as_peer(role).await.is_err(), "{role} is no member");
    }
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    assert!(matches!(result, Err(StoreError::Unavailable { .. })), "it must not come in: {result:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_machines_certificate_opens_nothing_from_then_on() {
    use futures::StreamExt;
    let cluster = Cluster::start().await;
    cluster.client(Role::Admin).put("/roadstead/routes/a", "x".into()).await.unwrap();
    let key = "/roadstead/routes/a";
    let ((removed, its), (stays, _)) = (cluster.worker("removed", Role::Edge), cluster.worker("stays", Role::Edge));
    for worker in [&removed, &stays] {
        assert_eq!(worker.get(key).await.unwrap().unwrap().value, "x");
    }
    let mut watches = Vec::new();
    for worker in [&removed, &stays] {
        watches.push(worker.watch_prefix(key, 0).await.unwrap());
    }
    cluster.revoke(std::slice::from_ref(&its), SystemTime::now());
    unavailable(cluster.worker_again("removed", Role::Edge).get(key).await);
    cluster.worker_again("stays", Role::Edge).get(key).await.unwrap();
    // Neither reads a date: with a list whose next one was due long ago the same are refused, and nobody else.
    cluster.revoke(&[its], SystemTime::now() - 2 * LIST_LIFETIME);
    unavailable(cluster.worker_again("removed", Role::Edge).get(key).await);
    cluster.worker_again("stays", Role::Edge).get(key).await.unwrap();
    // What was open has ended, for good or for a moment.
    for watch in &mut watches {
        let ended = tokio::time::timeout(DEADLINE, watch.next()).await.expect("the watch ends").unwrap();
        assert!(matches!(ended, Err(StoreError::Unavailable { .. })), "{ended:?}");
    }
    unavailable(removed.get(key).await);
    stays.get(key).await.unwrap();
    // Why there is a list from the first start on.
    cluster.lose_lists();
    unavailable(cluster.worker_again("stays", Role::Edge).get(key).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_certificate_needs_no_restart() {
    let mut cluster = Cluster::of(3).await;
    let lifetime = Duration::from_secs(10);
    cluster.certify_members(lifetime);
    let signed = Instant::now();
    cluster.found().await;
    cluster.client(Role::Admin).put("/a", "1".into()).await.unwrap();
    cluster.certify_members(Duration::from_secs(3600));
    until("the first certificates have ended", async || (lifetime < signed.elapsed()).then_some(())).await;
    // Everyone connects anew: this client, and the members, one of which begins anew.
    cluster.members[0].stop().await;
    cluster.members[0].restart().await;
    for endpoint in cluster.endpoints() {
        let client = cluster.client_of(Role::Admin, &[endpoint]);
        assert_eq!(client.get("/a").await.unwrap().unwrap().value, "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_does_not_outlive_a_guard_that_was_killed() {
    let mut cluster = Cluster::start().await;
    // It waits until both are gone, and would fail if etcd stayed.
    cluster.members[0].kill().await;
    // The address and the directory are free again.
    cluster.members[0].restart().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_dies_ends_its_guard_with_an_error() {
    let mut cluster = Cluster::start().await;
    let etcd = cluster.members[1].etcd();
    kill(etcd, Signal::SIGKILL).unwrap();
    let complaint = cluster.members[1].ended().await;
    assert!(complaint.contains("etcd ended (signal: 9"), "{complaint}");
    gone(etcd).await;
}

/// One put; how long it took until one was acknowledged, trying at once after each failure, as a controller would.
async fn first_acknowledged_put(store: &dyn Store, key: &str) -> Duration {
    let began = Instant::now();
    until("a put is acknowledged", async || store.put(key, "v".into()).await.ok()).await;
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_acknowledged_soon_after_the_leaders_death() {
    let mut cluster = Cluster::start().await;
    let mut taken = Vec::new();
    for round in 0..5 {
        let leader = cluster.leader().await;
        // The client's favourite is a follower, which forwards to the leader that dies.
        let mut endpoints = cluster.endpoints();
        endpoints.rotate_left((leader + 1) % 3);
        let client = cluster.client_of(Role::Admin, &endpoints);
        client.put("/before", round.to_string().into()).await.unwrap();
        kill(cluster.members[leader].etcd(), Signal::SIGKILL).unwrap();
        taken.push(first_acknowledged_put(&client, "/after").await);
        assert_eq!(client.get("/before").await.unwrap().unwrap().value, round.to_string());
        cluster.members[leader].ended().await;
        cluster.members[leader].restart().await;
    }
    println!("leader killed, first acknowledged write after: {taken:?}");
    assert!(taken.iter().all(|taken| *taken < Duration::from_secs(4)), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_stopped_in_order_is_hardly_missed() {
    let mut cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    let mut endpoints = cluster.endpoints();
    endpoints.rotate_left((leader + 1) % 3);
    let client = cluster.client_of(Role::Admin, &endpoints);
    client.put("/before", "v".into()).await.unwrap();
    let writing = async {
        let mut longest = Duration::ZERO;
        for _ in 0..200 {
            longest = longest.max(first_acknowledged_put(&client, "/during").await);
        }
        longest
    };
    let ((), longest) = tokio::join!(cluster.members[leader].stop(), writing);
    println!("leader stopped, longest write: {longest:?}");
    assert!(longest < Duration::from_millis(1000), "{longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_member_costs_a_call_about_a_second_once() {
    let cluster = Cluster::start().await;
    let silent = (cluster.leader().await + 1) % 3;
    let mut endpoints = cluster.endpoints();
    endpoints.rotate_left(silent);
    let [fresh, reader, writer] = [(); 3].map(|()| cluster.client_of(Role::Admin, &endpoints));
    // Two have a connection to it, one will have to connect.
    reader.put("/a", "1".into()).await.unwrap();
    writer.get("/a").await.unwrap();
    cluster.members[silent].pause();

    let began = Instant::now();
    fresh.put("/a", "2".into()).await.unwrap();
    let connecting = began.elapsed();
    // Connecting failed, so the put was surely not done and went on by itself.
    assert!(connecting < Duration::from_millis(1200), "{connecting:?}");

    let began = Instant::now();
    assert_eq!(reader.get("/a").await.unwrap().unwrap().value, "2");
    let read = began.elapsed();
    assert!(read < Duration::from_millis(1700), "{read:?}");
    let began = Instant::now();
    reader.get("/a").await.unwrap();
    assert!(began.elapsed() < Duration::from_millis(500), "the member that answered is asked first");

    let began = Instant::now();
    // Sent and not answered: its fate is unknown, which is said soon.
    assert!(matches!(writer.put("/a", "3".into()).await, Err(StoreError::Unavailable { .. })));
    let unknown = began.elapsed();
    assert!(unknown < Duration::from_millis(2200), "{unknown:?}");
    writer.put("/a", "4".into()).await.unwrap();
    println!("silent member: connecting {connecting:?}, read {read:?}, write of unknown fate {unknown:?}");
    cluster.members[silent].resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_at_a_silent_member_ends_soon_and_the_next_is_elsewhere() {
    use futures::StreamExt;
    let cluster = Cluster::start().await;
    let silent = (cluster.leader().await + 1) % 3;
    let mut endpoints = cluster.endpoints();
    endpoints.rotate_left(silent);
    let client = cluster.client_of(Role::Admin, &endpoints);
    let mut watch = client.watch_prefix("/a", 0).await.unwrap();
    cluster.members[silent].pause();
    let began = Instant::now();
    let ended = tokio::time::timeout(DEADLINE, watch.next()).await.expect("the watch ends").unwrap();
    let taken = began.elapsed();
    assert!(matches!(ended, Err(StoreError::Unavailable { .. })), "{ended:?}");
    assert!(taken < Duration::from_secs(4), "{taken:?}");
    let mut watch = client.watch_prefix("/a", 0).await.unwrap();
    client.put("/a", "1".into()).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().events.len(), 1);
    println!("silent member: the watch ended after {taken:?}");
    cluster.members[silent].resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_watch_lives_on() {
    use futures::StreamExt;
    let cluster = Cluster::start().await;
    let client = cluster.client(Role::Admin);
    let mut watch = client.watch_prefix("/quiet", 0).await.unwrap();
    // Longer than a watch may be silent before it is probed, and than it may leave the probe unanswered.
    let silence = tokio::time::timeout(Duration::from_secs(5), watch.next()).await;
    assert!(silence.is_err(), "nothing was to be told: {silence:?}");
    let revision = client.put("/quiet", "1".into()).await.unwrap();
    let batch = watch.next().await.unwrap().unwrap();
    assert_eq!((batch.revision, batch.events.len()), (revision, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_leader_ends_watches_and_refuses_at_once() {
    use futures::StreamExt;
    let cluster = Cluster::start().await;
    let client = cluster.client_of(Role::Admin, &cluster.endpoints()[..1]);
    let mut watch = client.watch_prefix("/a", 0).await.unwrap();
    // It is as a member that the network has cut off from the others, but not from us.
    cluster.members[1].pause();
    cluster.members[2].pause();
    let began = Instant::now();
    let ended = tokio::time::timeout(DEADLINE, watch.next()).await.expect("the watch ends").unwrap();
    let taken = began.elapsed();
    assert!(matches!(ended, Err(StoreError::Unavailable { .. })), "{ended:?}");
    assert!(taken < Duration::from_secs(5), "{taken:?}");
    let began = Instant::now();
    let refused = client.put("/a", "1".into()).await;
    assert!(
        matches!(&refused, Err(StoreError::Unavailable { message }) if message.contains("no leader")),
        "{refused:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(3));
    println!("member without a leader: the watch ended after {taken:?}");
    cluster.members[1].resume();
    cluster.members[2].resume();
    until("the cluster is well again", async || client.put("/a", "2".into()).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_of_one_second_is_granted_and_ends_within_two() {
    let cluster = Cluster::start().await;
    let client = cluster.client(Role::Admin);
    let lease = client.lease_grant(Duration::from_secs(1)).await.unwrap();
    assert_eq!(lease.ttl, Duration::from_secs(1));
    let put = PutRequest { key: "/lease".into(), value: "v".into(), lease: lease.id, prev_kv: false };
    client.txn(TxnRequest { success: vec![Operation::Put(put)], ..TxnRequest::default() }).await.unwrap();
    // Kept alive, it lives.
    let alive = Instant::now();
    while alive.elapsed() < Duration::from_secs(3) {
        assert_eq!(client.lease_keep_alive(lease.id).await.unwrap(), Some(Duration::from_secs(1)));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let last = Instant::now();
    assert!(client.lease_keep_alive(lease.id).await.unwrap().is_some());
    until("the lease ends", async || client.get("/lease").await.unwrap().is_none().then_some(())).await;
    let taken = last.elapsed();
    println!("lease of 1 s: gone {taken:?} after its last renewal");
    assert!(Duration::from_millis(900) < taken && taken < Duration::from_secs(2), "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_come_as_learners_vote_and_go() {
    let mut cluster = Cluster::of(3).await;
    let initial = cluster.initial(&[0]);
    cluster.members[0].spawn(&initial, false);
    cluster.members[0].ready().await;
    let client = cluster.client_of(Role::Admin, &[cluster.members[0].endpoint()]);
    client.enable_auth().await.unwrap();
    client.put("/kept", "1".into()).await.unwrap();
    for index in [1, 2] {
        let peer_url = cluster.members[index].peer_url();
        // etcd changes its members only when they have been connected for five seconds.
        let added = until("a member is added", async || client.member_add_learner(&peer_url).await.ok()).await;
        assert!(added.is_learner);
        let initial = cluster.initial(&(0..=index).collect::<Vec<_>>());
        cluster.members[index].spawn(&initial, true);
        // A learner answers for itself, and so is ready.
        cluster.members[index].ready().await;
        assert!(client.status(&cluster.members[index].endpoint()).await.unwrap().is_learner);
        // It answers nothing else yet: a client that asks it first is answered by another.
        let both = [cluster.members[index].endpoint(), cluster.members[0].endpoint()];
        let asking = cluster.client_of(Role::Admin, &both);
        asking.put("/kept", "1".into()).await.unwrap();
        drop(asking.watch_prefix("/kept", 0).await.unwrap());
        until("the learner may vote", async || client.member_promote(added.id).await.ok()).await;
    }
    let members = client.member_list().await.unwrap();
    assert!(members.len() == 3 && members.iter().all(|member: &Member| !member.is_learner), "{members:?}");
    client.set_endpoints(&cluster.endpoints()).unwrap();

    // The first one goes, and leads no more.
    let (first, heir) = (cluster.id(0).await, cluster.id(1).await);
    client.move_leader(heir).await.unwrap();
    assert_eq!(cluster.leader().await, 1);
    until("the first is removed", async || client.member_remove(first).await.ok()).await;
    let complaint = cluster.members[0].ended().await;
    assert!(complaint.contains("permanently removed from the cluster"), "{complaint}");
    client.set_endpoints(&cluster.endpoints()[1..]).unwrap();
    until("the others go on", async || client.put("/kept", "2".into()).await.ok()).await;
    assert_eq!(client.member_list().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn free_pages_are_given_back_one_member_at_a_time() {
    let cluster = Cluster::start().await;
    let client = cluster.client(Role::Admin);
    for number in 0..24 {
        client.put(&format!("/bulk/{number}"), vec![0; 1 << 20].into()).await.unwrap();
    }
    for number in 0..24 {
        client.delete(&format!("/bulk/{number}")).await.unwrap();
    }
    let revision = client.get_prefix("/").await.unwrap().revision;
    client.compact(revision).await.unwrap();
    let worth = etcd::Worth { db_bytes_min: 16 << 20, in_use_percent_max: 50 };
    let mut done = Vec::new();
    until("every member has been rewritten", async || {
        // What a compaction has freed is free from the next write on.
        client.put("/write", "v".into()).await.unwrap();
        done.extend(etcd::defragment_if_worthwhile(&client, worth).await.unwrap());
        (done.len() == 3).then_some(())
    })
    .await;
    for endpoint in cluster.endpoints() {
        assert!(client.status(&endpoint).await.unwrap().db_bytes < 8 << 20);
    }
    assert_eq!(etcd::defragment_if_worthwhile(&client, worth).await.unwrap(), None);
    done.sort();
    assert_eq!(done, ["node1", "node2", "node3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_cluster_is_restored_from_its_backup() {
    let backup;
    let old_id;
    {
        let cluster = Cluster::start().await;
        let client = cluster.client(Role::Admin);
        for number in 0..700 {
            client.put(&format!("/roadstead/apps/{number}"), number.to_string().into()).await.unwrap();
        }
        old_id = client.cluster_id().await.unwrap();
        backup = tempfile::NamedTempFile::new().unwrap();
        let mut file = tokio::fs::File::create(backup.path()).await.unwrap();
        assert_eq!(store::dump::export(&client, &mut file).await.unwrap().keys, 700);
    }
    let cluster = Cluster::start().await;
    let client = cluster.client(Role::Admin);
    let mut file = tokio::fs::File::open(backup.path()).await.unwrap();
    let summary = store::dump::import(&client, &mut file, Existing::Refuse).await.unwrap();
    assert_eq!((summary.keys, summary.cluster_id), (700, old_id));
    let (_, kvs) = client.read_prefix("/roadstead/apps/", 0).await.unwrap();
    assert_eq!(kvs.len(), 700);
    assert!(kvs.iter().all(|kv| kv.key.ends_with(&kv.value)));
    assert_ne!(client.cluster_id().await.unwrap(), old_id, "a restored store is another one");
}
