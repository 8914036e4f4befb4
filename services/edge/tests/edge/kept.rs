//! What an edge serves that starts while the store is away.

use crate::harness::{Edge, Server, eventually, name};
use crate::memory_store::MemoryStore;
use http::StatusCode;
use std::path::Path;
use std::sync::Arc;

/// What an edge reads of the store, each by itself.
const SOURCES: usize = 5;

/// Waits until the table on disk names all of these.
async fn written(data: &Path, texts: &[&str]) {
    eventually("the table is written", || async {
        let table = std::fs::read_to_string(data.join("table")).ok()?;
        texts.iter().all(|text| table.contains(text)).then_some(())
    })
    .await;
}

/// A store with one document and one frontend of vulcand's, served and kept by an edge that has ended.
async fn kept_by_another(data: &Path, store: &Arc<MemoryStore>, server: &Server) {
    let edge = Edge::keeping(data, store).await;
    let backend = serde_json::json!({ "URL": server.url() }).to_string();
    let frontend = r#"{"Type":"http","BackendId":"b1","Route":"Host(`v`)"}"#;
    store
        .change(&[
            ("/vulcand/backends/b1/servers/s1", Some(&backend)),
            ("/vulcand/frontends/f1/frontend", Some(frontend)),
        ])
        .await;
    edge.route("a", "a", &[server]).await;
    written(data, &["Host(`a`)", "Host(`v`)"]).await;
    edge.end().await;
}

#[tokio::test]
async fn an_edge_that_starts_without_the_store_serves_what_was_kept() {
    let (data, store, server) = (tempfile::tempdir().unwrap(), Arc::default(), Server::named("one").await);
    kept_by_another(data.path(), &store, &server).await;
    store.take_away();
    let edge = Edge::keeping(data.path(), &store).await;
    assert_eq!(name(&edge.get("a", "/").await), "one");
    assert_eq!(name(&edge.get("v", "/").await), "one");
    assert_eq!(edge.get("elsewhere", "/").await.status(), StatusCode::NOT_FOUND);
    let status = edge.status().await;
    assert_eq!((&status["stale"], &status["from_disk"]), (&true.into(), &true.into()));
    let expected = (200, serde_json::json!({ "ready": true, "stale": true }));
    eventually("it is ready", || async { (edge.ready().await == expected).then_some(()) }).await;

    // What changed meanwhile is served once the store answers.
    let other = Server::named("two").await;
    let document = crate::harness::document("Host(`a`)", &[&other], serde_json::json!({}));
    store.put_silently("/roadstead/routes/a", &document);
    store.give_back();
    eventually("the store's table serves", || async { (name(&edge.get("a", "/").await) == "two").then_some(()) }).await;
    assert_eq!(name(&edge.get("v", "/").await), "one");
    eventually("it is fresh", || async { (edge.status().await["stale"] == false).then_some(()) }).await;
    written(data.path(), &[&other.address.to_string()]).await;
}

#[tokio::test]
async fn a_store_that_comes_back_empty_is_asked_twice_before_what_was_kept_goes() {
    let (data, store, server) = (tempfile::tempdir().unwrap(), Arc::default(), Server::named("one").await);
    kept_by_another(data.path(), &store, &server).await;
    store.clear_silently();
    let before = store.reads();
    let edge = Edge::keeping(data.path(), &store).await;
    eventually("all sources were read", || async { (store.reads() >= before + SOURCES).then_some(()) }).await;
    let is_served = name(&edge.get("a", "/").await) == "one";
    assert!(is_served || store.reads() > before + SOURCES, "one empty answer is not believed");
    eventually("it is confirmed", || async {
        (edge.get("a", "/").await.status() == StatusCode::NOT_FOUND).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_torn_table_is_no_table() {
    let (data, store, server) = (tempfile::tempdir().unwrap(), Arc::default(), Server::named("one").await);
    kept_by_another(data.path(), &store, &server).await;
    let path = data.path().join("table");
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    store.take_away();
    let edge = Edge::keeping(data.path(), &store).await;
    assert_eq!(edge.get("a", "/").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    store.give_back();
    eventually("the store's table serves", || async { (name(&edge.get("a", "/").await) == "one").then_some(()) }).await;
}
