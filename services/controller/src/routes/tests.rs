use super::*;
use crate::test_world;
use model::{Intent, TaskState, Timestamp};
use routing::BalanceSpec;

fn expressions(labels: &[(&str, &str)]) -> Vec<String> {
    let mut app = test_world::app("a/b", 1);
    app.labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    rules::rules(&app, "localhost").into_iter().map(|rule| rule.expression).collect()
}

#[test]
fn labels_override_the_name_below_the_domain() {
    assert_eq!(expressions(&[]), ["Host(`b.a.localhost`)"]);
    assert_eq!(expressions(&[("roadstead.host", "X.example")]), ["Host(`x.example`)"]);
    assert_eq!(expressions(&[("roadstead.rule", "Path(`/x`)")]), ["Path(`/x`)"]);
    assert_eq!(expressions(&[("HAPROXY_0_VHOST", "x.org, y.org")]), ["Host(`x.org`)", "Host(`y.org`)"]);
    assert_eq!(expressions(&[("HAPROXY_0_VHOST", "x`)")]), ["Host(`b.a.localhost`)"]);
    assert_eq!(expressions(&[("traefik.frontend.rule", "Host:x.org;Path:/y")]), ["Host(`x.org`) && Path(`/y`)"]);
    let rule = "Host(`x.org`) || Host(`y.org`)";
    assert_eq!(expressions(&[("traefik.http.routers.r.rule", rule)]), ["Host(`x.org`)", "Host(`y.org`)"]);
}

#[test]
fn what_a_label_asks_for_beyond_the_edge_is_kept_to_be_reported() {
    let mut app = test_world::app("x", 1);
    app.labels.insert("traefik.frontend.rule".into(), "Host:x.org;ReplacePath:/z".into());
    let rules = rules::rules(&app, "localhost");
    assert_eq!(rules[0].unknown[0]["value"], "ReplacePath:/z");
}

#[test]
fn a_route_follows_its_healthy_tasks_and_goes_with_its_app() {
    let mut world = World::default();
    let app = test_world::app("x", 2);
    test_world::insert(&mut world, &app, &[31000, 31001]);
    let mut routes = Routes::default();
    let changes = routes.plan(&world, "localhost", &[]);
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].id.as_str(), changes[0].document.as_ref().unwrap().servers.len()), ("app.x", 0));
    routes.apply(&changes[0], 5);
    assert!(routes.plan(&world, "localhost", &[]).is_empty());

    for record in world.tasks.values_mut() {
        test_world::healthy(record);
    }
    let changes = routes.plan(&world, "localhost", &[]);
    let urls: Vec<_> = changes[0].document.as_ref().unwrap().servers.iter().map(|server| server.url.clone()).collect();
    assert_eq!(urls, ["http://127.0.0.1:31000", "http://127.0.0.1:31001"]);
    routes.apply(&changes[0], 6);

    let first = world.tasks.values_mut().next().unwrap();
    let intent = Intent::Drain { since: Timestamp::EPOCH, reason: String::new() };
    first.task = std::sync::Arc::new(model::Task { intent, ..model::Task::clone(&first.task) });
    let changes = routes.plan(&world, "localhost", &[]);
    assert_eq!(changes[0].document.as_ref().unwrap().servers.len(), 1);
    routes.apply(&changes[0], 7);
    assert_eq!(routes.written_at[&app.id], 7);

    world.apps.clear();
    let changes = routes.plan(&world, "localhost", &[]);
    let deleted = RouteChange { id: "app.x".into(), app: Some(app.id.clone()), document: None };
    assert_eq!(changes, [deleted]);
}

#[test]
fn after_a_restart_a_server_stays_until_its_agent_has_spoken() {
    let mut world = World::default();
    let app = test_world::app("x", 1);
    test_world::insert(&mut world, &app, &[31000]);
    world.tasks.values_mut().for_each(test_world::healthy);
    let mut routes = Routes::default();
    for change in routes.plan(&world, "localhost", &[]) {
        routes.apply(&change, 2);
    }
    for record in world.tasks.values_mut() {
        *record = TaskRecord::unreported(record.task.clone(), None);
    }
    assert!(routes.plan(&world, "localhost", &[]).is_empty());
    let record = world.tasks.values_mut().next().unwrap();
    test_world::healthy(record);
    record.seen.state = TaskState::Failed;
    assert_eq!(routes.plan(&world, "localhost", &[])[0].document.as_ref().unwrap().servers.len(), 0);
}

#[test]
fn the_platforms_routes_are_kept() {
    let document = RouteDocument {
        v: 0,
        rule: "Host(`s3.localhost`)".into(),
        priority: None,
        servers: Vec::new(),
        pass_host_header: true,
        failover_predicate: String::new(),
        app: None,
        middlewares: Vec::new(),
        balance: BalanceSpec::default(),
        server_tls: routing::ServerTls::default(),
        tcp: None,
        send_proxy: None,
    };
    let platform = [("s3".to_owned(), document)];
    let mut routes = Routes::default();
    let changes = routes.plan(&World::default(), "localhost", &platform);
    assert_eq!(changes[0].id, "platform.s3");
    routes.apply(&changes[0], 1);
    assert!(routes.plan(&World::default(), "localhost", &platform).is_empty());
    assert_eq!(routes.plan(&World::default(), "localhost", &[])[0].document, None);
}
