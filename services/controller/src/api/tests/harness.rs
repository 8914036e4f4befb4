//! A face in front of a world that follows the scheduler's rules at once.

use crate::api::{Context, router};
use crate::desk::{Answer, Ask, Desk, Event, EventKind, Inbox, LogPiece, LogRefusal, LogStream, Refusal};
use crate::test_world;
use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use lifecycle::Stop;
use lifecycle::metrics::Registry;
use model::{App, Node, NodeId, PortRange, Resources, TaskId, Timestamp};
use scheduler::submit::{self, Refused, Submitted};
use scheduler::{Change, NodeRecord, Policy, World};
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::broadcast;
use tower::ServiceExt;

pub const ARTICLE: &str = r#"{
  "id": "s3pics", "cmd": "cd /s3pics; ./s3pics -AccessKey=denis@ad.forest", "cpus": 0.1, "mem": 64.0, "instances": 1,
  "container": { "type": "DOCKER", "docker": { "image": "10.64.231.45:5000/s3pics:2.0", "network": "BRIDGE",
    "portMappings": [ { "containerPort": 8080, "hostPort": 0, "protocol": "tcp" } ] } },
  "healthChecks": [ { "protocol": "HTTP", "portIndex": 0, "path": "/", "gracePeriodSeconds": 10,
    "intervalSeconds": 20, "maxConsecutiveFailures": 3 } ]
}"#;

/// The log every task has written.
pub const LOG: &[u8] = b"line one\nline two\n";

pub struct Face {
    pub context: Context,
    pub router: Router,
    view: Arc<ArcSwap<World>>,
    events: broadcast::Sender<Arc<Event>>,
}

pub struct Got {
    pub status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Got {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Face {
    pub fn empty() -> Self {
        let context = Context {
            leader: "127.0.0.1:8080".into(),
            hostname: "node.example".into(),
            http_port: 8080,
            framework_id: "framework".into(),
            domain: "localhost".into(),
            edge_port: Some(8000),
            registry: Arc::new(Registry::default()),
            registrar: None,
            history: None,
            vulcand: None,
            vault: None,
            stop: Stop::new(),
        };
        let (desk, inbox) = Desk::open(world_with_node());
        let (view, events) = (inbox.view.clone(), inbox.events.clone());
        tokio::spawn(serve(inbox));
        Self { router: router(desk, context.clone()), context, view, events }
    }

    /// The article's app, with its instances running.
    pub async fn with_article(instances: u32) -> Self {
        let face = Self::empty();
        assert_eq!(face.send(Method::POST, "/v2/apps", Some(ARTICLE)).await.status, StatusCode::CREATED);
        let body = format!("{{\"instances\":{instances}}}");
        face.send(Method::PUT, "/v2/apps/s3pics?force=true", Some(&body)).await;
        let mut world = World::clone(&face.view.load());
        // As if it had been posted so: one version.
        let newest = world.apps.values().next().unwrap().app.version;
        world.versions.values_mut().for_each(|versions| versions.retain(|version, _| *version == newest));
        face.view.store(Arc::new(world));
        face.settle();
        face
    }

    /// Deployments end: every app has the tasks it asks for, healthy, and no others.
    pub fn settle(&self) {
        let mut world = World::clone(&self.view.load());
        world.deployments.clear();
        let apps: Vec<Arc<App>> = world.apps.values().map(|record| record.app.clone()).collect();
        world.tasks.clear();
        let mut port = 31_000;
        for app in apps {
            for _ in 0..app.instances {
                let mut one = World::default();
                test_world::insert(&mut one, &app, &[port]);
                one.tasks.values_mut().for_each(healthy);
                world.tasks.extend(one.tasks);
                port += 1;
            }
        }
        self.view.store(Arc::new(world));
    }

    pub fn forget_task(&self, id: &str) {
        let mut world = World::clone(&self.view.load());
        world.tasks.remove(&TaskId::new(id));
        self.view.store(Arc::new(world));
    }

    pub fn view(&self) -> Arc<World> {
        self.view.load_full()
    }

    pub fn tell(&self, kind: EventKind) {
        self.events.send(Arc::new(Event { at: Timestamp::EPOCH, kind })).expect("someone listens");
    }

    pub async fn get(&self, path: &str) -> Got {
        self.send(Method::GET, path, None).await
    }

    pub async fn get_accepting(&self, path: &str, accept: &str) -> Got {
        let request = Request::get(path).header(ACCEPT, accept).body(Body::empty()).unwrap();
        self.call(request).await
    }

    pub async fn send(&self, method: Method, path: &str, body: Option<&str>) -> Got {
        self.send_as(method, path, body, body.map(|_| "application/json")).await
    }

    pub async fn send_as(&self, method: Method, path: &str, body: Option<&str>, kind: Option<&str>) -> Got {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        self.call(request.body(Body::from(body.unwrap_or_default().to_owned())).unwrap()).await
    }

    async fn call(&self, request: Request<Body>) -> Got {
        let (head, body) = self.router.clone().oneshot(request).await.unwrap().into_parts();
        Got { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() }
    }
}

fn healthy(record: &mut scheduler::TaskRecord) {
    test_world::healthy(record);
    record.seen.checks.iter_mut().for_each(|check| check.last_success = check.first_success);
}

fn world_with_node() -> World {
    let ports = vec![PortRange { begin: 31_000, end: 32_000 }];
    let node = Node {
        id: NodeId::new("node"),
        hostname: "node.example".into(),
        address: "127.0.0.1".into(),
        resources: Resources { cpus_milli: 8000, mem_bytes: 8 << 30, disk_bytes: 0, ports },
        attributes: Default::default(),
        runtime: "process".into(),
        limits: vec!["no outbound network".into()],
        draining: false,
    };
    let record = NodeRecord { connected: true, generation: 1, ..NodeRecord::new(Arc::new(node), Timestamp::EPOCH) };
    World { nodes: [(record.node.id.clone(), record)].into(), ..World::default() }
}

/// Answers asks by the scheduler's rules, without a store.
async fn serve(mut inbox: Inbox) {
    let mut count = 0;
    loop {
        tokio::select! {
            request = inbox.requests.recv() => {
                let Some(request) = request else { return };
                let mut world = World::clone(&inbox.view.load());
                let answer = carry_out(&mut world, request.ask, &mut count);
                inbox.view.store(Arc::new(world));
                let _gone = request.reply.send(answer);
            }
            request = inbox.logs.recv() => {
                let Some(request) = request else { return };
                let piece = if inbox.view.load().tasks.contains_key(&request.task) {
                    Ok(piece(request.stream, request.offset, request.length_bytes))
                } else {
                    Err(LogRefusal::NoTask(request.task))
                };
                let _gone = request.reply.send(piece);
            }
        }
    }
}

fn carry_out(world: &mut World, ask: Ask, count: &mut u64) -> Result<Answer, Refusal> {
    let now = crate::api::now();
    let mut make_uuid = || {
        *count += 1;
        format!("00000000-0000-4000-8000-{count:012}")
    };
    let submitted = match &ask {
        Ask::Create { app, force } => submit::create(world, App::clone(app), *force, now, &mut make_uuid),
        Ask::Put { apps, force } => submit::put(world, apps.clone(), *force, now, &mut make_uuid),
        Ask::Remove { app, force } => submit::remove(world, app, *force, now, &mut make_uuid),
        Ask::Restart { app, force } => submit::restart(world, app, *force, now, &mut make_uuid),
        Ask::KillTasks { tasks, scale, force } => {
            submit::kill(world, tasks, *scale, *force, now, &Policy::default(), &mut make_uuid)
        }
        Ask::CancelDeployment { id, force } => submit::cancel(world, id, *force, now, &mut make_uuid),
        Ask::ResetDelay { app } => submit::reset_delay(world, app, now),
        Ask::DrainNode { node, on } => submit::drain_node(world, node, *on, now),
        Ask::RemoveNode { node } => submit::remove_node(world, node, now),
    };
    let Submitted { changes, version, deployment } = submitted.map_err(refusal)?;
    changes.iter().for_each(|change: &Change| world.apply(change));
    Ok(Answer { version, deployment: deployment.map(|deployment| deployment.id.clone()) })
}

fn refusal(refused: Refused) -> Refusal {
    match refused {
        Refused::NoApp(id) => Refusal::NoApp(id),
        Refused::Exists(id) => Refusal::Exists(id),
        Refused::NoTask(id) => Refusal::NoTask(id),
        Refused::NoDeployment(id) => Refusal::NoDeployment(id),
        Refused::NoNode(id) => Refusal::NoNode(id),
        Refused::Locked(ids) => Refusal::Locked(ids),
        other => Refusal::Invalid(other.to_string()),
    }
}

/// A few bytes at a time, so that a reader has to go on.
fn piece(stream: LogStream, offset: i64, length_bytes: u64) -> LogPiece {
    let log = if stream == LogStream::Stdout { LOG } else { b"" };
    let length = usize::try_from(length_bytes).unwrap_or(usize::MAX);
    let start = usize::try_from(offset).unwrap_or_else(|_| log.len().saturating_sub(length)).min(log.len());
    let end = start.saturating_add(length.min(7)).min(log.len());
    LogPiece { offset: start as i64, data: log[start..end].to_vec() }
}
