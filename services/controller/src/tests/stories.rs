//! Deploying, scaling, rolling, killing.

use super::trial::{FakeAgent, Trial, until};
use crate::desk::{Ask, EventKind, LogStream, Refusal};
use crate::test_world::app;
use model::{App, AppId, DeploymentId};
use protocol::TaskState;
use routing::document::RouteDocument;
use std::collections::BTreeSet;

fn x() -> AppId {
    AppId::parse("x").unwrap()
}

#[tokio::test]
async fn an_app_is_deployed_and_routed() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    let mut events = trial.desk.events();
    let answer = trial.put(app("x", 1)).await;
    assert!(answer.deployment.is_some());
    trial.until_deployed().await;

    let specs = agent.running();
    assert_eq!(specs.len(), 1);
    let spec = &specs[0];
    assert_eq!((spec.ports[0].host_port, spec.ports[0].container_port), (31000, 8080));
    assert_eq!(spec.env["PORT_8080"], "31000");
    assert_eq!(spec.env["MARATHON_APP_ID"], "/x");
    assert!(spec.task_id.starts_with("x.") && spec.task_id.len() == 38, "{}", spec.task_id);
    assert_eq!((&spec.container_name, spec.checks[0].host_port), (&spec.task_id, 31000));

    let route = trial.route("app.x").await.unwrap();
    assert_eq!(route.rule, "Host(`x.localhost`)");
    assert_eq!(route.servers[0].url, "http://127.0.0.1:31000");

    let mut seen = BTreeSet::new();
    while let Ok(event) = events.try_recv() {
        seen.insert(match &event.kind {
            EventKind::DeploymentStarted { .. } => "started",
            EventKind::DeploymentStep { .. } => "step",
            EventKind::DeploymentSucceeded { .. } => "succeeded",
            EventKind::TaskStatus { .. } => "status",
            EventKind::TaskHealth { .. } => "health",
            _ => "other",
        });
    }
    assert_eq!(seen, BTreeSet::from(["started", "step", "succeeded", "status", "health"]));
}

#[tokio::test]
async fn twenty_are_there_after_a_scale_and_none_of_the_first_is_lost() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 1)).await;
    trial.until_deployed().await;
    let first = agent.running()[0].task_id.clone();
    trial.put(app("x", 20)).await;
    trial.until_deployed().await;
    assert_eq!(trial.route("app.x").await.unwrap().servers.len(), 20);
    let ports: BTreeSet<u32> = agent.running().iter().map(|spec| spec.ports[0].host_port).collect();
    assert_eq!(ports, (31000..31020).collect());
    let names: BTreeSet<String> = agent.running().into_iter().map(|spec| spec.container_name).collect();
    assert_eq!(names.len(), 20);
    assert!(agent.running().iter().any(|spec| spec.task_id == first));
    trial.put(app("x", 1)).await;
    trial.until_deployed().await;
    assert_eq!(agent.running().len(), 1);
    assert_eq!(agent.running()[0].task_id, first);
    let generations = agent.generations();
    assert!(generations.is_sorted(), "{generations:?}");
}

#[tokio::test]
async fn a_roll_replaces_every_task_and_the_route_is_never_empty() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 5)).await;
    trial.until_deployed().await;
    let before: BTreeSet<String> = agent.running().into_iter().map(|spec| spec.task_id).collect();
    let mut routes = trial.store.watch_prefix(routing::document::ROUTES_PREFIX, 0).await.unwrap();
    trial.put(App { cmd: Some("other".into()), ..app("x", 5) }).await;
    trial.until_deployed().await;
    let after: BTreeSet<String> = agent.running().into_iter().map(|spec| spec.task_id).collect();
    assert_eq!((after.len(), before.intersection(&after).count()), (5, 0));
    // The route was written whenever its servers changed; it always had five at the least.
    let last = trial.route("app.x").await.unwrap();
    loop {
        let batch = futures::StreamExt::next(&mut routes).await.unwrap().unwrap();
        let mut documents = batch.events.iter().filter_map(|event| match event {
            store::Event::Put { kv, .. } => serde_json::from_slice::<RouteDocument>(&kv.value).ok(),
            store::Event::Delete { .. } => None,
        });
        if documents.any(|document| {
            assert!(document.servers.len() >= 5, "{document:?}");
            document == last
        }) {
            break;
        }
    }
}

#[tokio::test]
async fn a_failed_task_leaves_the_route_and_is_replaced() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 2)).await;
    trial.until_deployed().await;
    let victim = trial.desk.view().tasks.keys().next().unwrap().clone();
    agent.fail(&victim, TaskState::TaskFailed).await;
    trial.until("the failed task is forgotten", |world| !world.tasks.contains_key(&victim)).await;
    trial.until("the failure is told", |world| world.apps[&x()].last_failure.is_some()).await;
    assert_eq!(trial.route("app.x").await.unwrap().servers.len(), 1);
    until("it is replaced once the delay is over", || agent.running().len() == 2).await;
}

#[tokio::test]
async fn a_removed_app_leaves_nothing() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 3)).await;
    trial.until_deployed().await;
    trial.remove("x").await.unwrap();
    assert!(trial.desk.view().apps.is_empty());
    trial.until_deployed().await;
    until("the agent has nothing left", || agent.running().is_empty()).await;
    trial.until("its versions are gone", |world| world.versions.is_empty() && world.tasks.is_empty()).await;
    let left = trial.store.get_prefix("/roadstead/").await.unwrap();
    let keys = left.kvs.iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned());
    // That its route was there is told for a while.
    let keys: Vec<_> = keys.filter(|key| !key.starts_with("/roadstead/history/")).collect();
    assert_eq!(keys, ["/roadstead/controller", "/roadstead/controller/framework", "/roadstead/nodes/one"]);
    assert!(matches!(trial.remove("x").await, Err(Refusal::NoApp(_))));
}

#[tokio::test]
async fn a_locked_app_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let deployment = trial.put(app("x", 1)).await.deployment.unwrap();
    let again = trial.desk.ask(Ask::Put { apps: vec![app("x", 2)], force: false }).await;
    assert!(matches!(again, Err(Refusal::Locked(deployments)) if deployments == [deployment]));
    let unknown = Ask::CancelDeployment { id: DeploymentId::new("none"), force: true };
    assert!(matches!(trial.desk.ask(unknown).await, Err(Refusal::NoDeployment(_))));
}

#[tokio::test]
async fn of_two_creations_of_one_app_the_second_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let create = |instances| trial.desk.ask(Ask::Create { app: Box::new(app("x", instances)), force: true });
    let (first, second) = tokio::join!(create(1), create(2));
    assert!(first.is_ok());
    assert!(matches!(second, Err(Refusal::Exists(id)) if id == app("x", 1).id));
    assert_eq!(trial.desk.view().apps.values().next().unwrap().app.instances, 1);
}

#[tokio::test]
async fn a_request_of_two_hundred_apps_is_split_over_transactions() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let agent = FakeAgent::join(&trial, "one").await;
    let apps: Vec<App> =
        (0..200).map(|index| App { cpus_milli: 1, mem_bytes: 1 << 20, ..app(&format!("x{index}"), 1) }).collect();
    trial.desk.ask(Ask::Put { apps, force: false }).await.unwrap();
    trial.until("all are deployed", |world| world.deployments.is_empty() && world.tasks.len() == 200).await;
    assert_eq!(agent.running().len(), 200);
}

#[tokio::test]
async fn a_piece_of_a_log_is_fetched_from_the_agent() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let _agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 1)).await;
    trial.until_deployed().await;
    let task = trial.desk.view().tasks.keys().next().unwrap().clone();
    let piece = trial.desk.logs(task.clone(), LogStream::Stdout, -1, 100).await.unwrap();
    assert_eq!(piece.data, format!("stdout of {task}").into_bytes());
    let unknown = model::TaskId::new("none");
    assert!(trial.desk.logs(unknown, LogStream::Stderr, 0, 1).await.is_err());
}

#[tokio::test]
async fn sessions_and_the_api_ask_for_credentials() {
    let data = tempfile::tempdir().unwrap();
    let trial = Trial::start(data.path()).await;
    let nothing = tokio_stream::iter(Vec::<protocol::FromAgent>::new());
    let refused = trial.client().await.agent(nothing).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let mut request = tonic::Request::new(tokio_stream::iter(Vec::<protocol::FromAgent>::new()));
    let edge = format!("Bearer {}", trial.edge_token.reveal());
    request.metadata_mut().insert("authorization", edge.parse().unwrap());
    let refused = trial.client().await.agent(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn a_session_is_opened_on_the_apis_address_too() {
    let data = tempfile::tempdir().unwrap();
    let mut trial = Trial::start(data.path()).await;
    trial.sessions = trial.api;
    let nothing = tokio_stream::iter(Vec::<protocol::FromAgent>::new());
    let refused = trial.client().await.agent(nothing).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    let agent = FakeAgent::join(&trial, "one").await;
    trial.put(app("x", 1)).await;
    trial.until_deployed().await;
    assert_eq!(agent.running().len(), 1);
}

#[tokio::test]
async fn an_app_is_posted_to_the_api_by_whoever_may() {
    let data = tempfile::tempdir().unwrap();
    let socket = data.path().join("api.sock");
    let trial = Trial::start_with(&data.path().join("store"), |config| config.socket = Some(socket.clone())).await;
    let agent = FakeAgent::join(&trial, "one").await;
    let posted = serde_json::json!({
        "id": "s3pics", "cmd": "serve", "cpus": 0.1, "mem": 64.0, "instances": 1,
        "container": { "type": "DOCKER", "docker": {
            "image": "s3pics:2.0", "network": "BRIDGE",
            "portMappings": [{ "containerPort": 8080, "hostPort": 0, "protocol": "tcp" }],
        } },
    });
    let uri = format!("http://{}/v2/apps", trial.api);
    for (token, status) in [(None, 401), (Some(&trial.edge_token), 403), (Some(&trial.admin_token), 201)] {
        let credentials = match token {
            Some(token) => web::Credentials::Bearer(token.reveal().to_owned()),
            None => web::Credentials::None,
        };
        let body = bytes::Bytes::from(posted.to_string());
        let client = web::Client::new(credentials);
        let answer = client.call(http::Method::POST, &uri, Some("application/json"), web::full_body(body)).await;
        assert_eq!(answer.unwrap().status(), status);
    }
    trial.until_deployed().await;
    assert_eq!(agent.running()[0].image, "s3pics:2.0");
    // The socket's owner needs no token.
    let client = web::Client::unix(socket, web::Credentials::None);
    let apps: serde_json::Value = client.get_json("http://controller/v2/apps").await.unwrap();
    assert_eq!(apps["apps"][0]["tasksRunning"], 1);
}
