use super::*;
use model::{ConstraintOperator, HealthProtocol, KillSelection, Network};
use serde_json::json;
use std::time::Duration;

/// What the article's author posted.
const ARTICLE: &str = r#"{
  "id": "s3pics",
  "cmd": "cd /s3pics; ./s3pics -AccessKey=denis@ad.forest -SecretKey=xxxx -EndPoint=http://denisnamespace.ns.viprds.ad.forest -Namespace=denisnamespace",
  "cpus": 0.1,
  "mem": 64.0,
  "instances": 1,
  "container": {
    "type": "DOCKER",
    "docker": {
      "image": "10.64.231.45:5000/s3pics:2.0",
      "network": "BRIDGE",
      "portMappings": [
        { "containerPort": 8080, "hostPort": 0, "protocol": "tcp" }
      ]
    }
  },
  "healthChecks": [
    {
      "protocol": "HTTP",
      "portIndex": 0,
      "path": "/",
      "gracePeriodSeconds": 10,
      "intervalSeconds": 20,
      "maxConsecutiveFailures": 3
    }
  ]
}"#;

fn read(document: Value) -> Result<App, Rejection> {
    app(&document, None)
}

fn change_onto(existing: &App, document: Value) -> Result<App, Rejection> {
    change(&document, Some(&existing.id))?.onto(Some(existing))
}

fn faults(result: Result<App, Rejection>) -> Vec<(u16, String, String)> {
    let rejection = result.expect_err("the document is not an app");
    let (Rejection::Json(details) | Rejection::Invalid(details)) = &rejection;
    let flat = |detail: &crate::Detail| {
        let one = |error: &String| (rejection.status(), detail.path.clone(), error.clone());
        detail.errors.iter().map(one).collect::<Vec<_>>()
    };
    details.iter().flat_map(flat).collect()
}

#[test]
fn the_articles_app_is_read_exactly() {
    let app = app(&document(ARTICLE.as_bytes()).unwrap(), None).unwrap();
    assert_eq!(app.id.as_str(), "/s3pics");
    assert!(app.cmd.as_deref().unwrap().starts_with("cd /s3pics; ./s3pics -AccessKey=denis@ad.forest"));
    assert_eq!((app.cpus_milli, app.mem_bytes, app.instances), (100, 64 << 20, 1));
    let image = app.image.unwrap();
    assert_eq!(image.reference, "10.64.231.45:5000/s3pics:2.0");
    assert!(!image.privileged && !image.force_pull);
    assert_eq!(app.network, Network::Bridge);
    let [port] = app.ports.as_slice() else { panic!("one port") };
    assert_eq!((port.container_port, port.host_port, port.service_port), (8080, 0, 0));
    assert_eq!(port.protocol, "tcp");
    let [check] = app.health_checks.as_slice() else { panic!("one check") };
    assert_eq!((check.protocol, check.path.as_str(), check.port_index), (HealthProtocol::Http, "/", 0));
    assert_eq!(check.grace, Duration::from_secs(10));
    assert_eq!(check.interval, Duration::from_secs(20));
    assert_eq!(check.timeout, Duration::from_secs(20), "not given: 20 s in every version");
    assert_eq!(check.consecutive_failures_max, 3);
    assert_eq!(app.upgrade_strategy.minimum_health_capacity, 1.0);
    assert_eq!(app.upgrade_strategy.maximum_over_capacity, 1.0);
}

#[test]
fn defaults_are_those_of_0_8() {
    let app = read(json!({ "id": "/a", "cmd": "sleep 1", "healthChecks": [{}] })).unwrap();
    assert_eq!((app.instances, app.cpus_milli, app.mem_bytes, app.disk_bytes), (1, 1000, 128 << 20, 0));
    assert_eq!((app.network, app.ports.len()), (Network::Host, 1));
    assert_eq!((app.backoff, app.backoff_factor), (Duration::from_secs(1), 1.15));
    assert_eq!(app.launch_delay_max, Duration::from_secs(3600));
    assert_eq!(app.kill_selection, KillSelection::YoungestFirst);
    let check = &app.health_checks[0];
    assert_eq!((check.protocol, check.path.as_str()), (HealthProtocol::Http, "/"));
    assert_eq!((check.grace, check.interval), (Duration::from_secs(300), Duration::from_secs(60)));
    assert_eq!((check.timeout, check.consecutive_failures_max), (Duration::from_secs(20), 3));
}

#[test]
fn each_age_of_port_mappings_says_the_same() {
    let mappings = json!([{ "containerPort": 80, "hostPort": 0, "servicePort": 9000, "protocol": "tcp" }]);
    let old = json!({ "id": "a", "container": { "docker": {
        "image": "i", "network": "BRIDGE", "portMappings": mappings } } });
    let new = json!({ "id": "a", "networks": [{ "mode": "container/bridge" }],
        "container": { "type": "DOCKER", "docker": { "image": "i" }, "portMappings": mappings } });
    assert_eq!(read(old).unwrap(), read(new).unwrap());
    let numbers = json!({ "id": "a", "cmd": "c", "ports": [9000, 9001] });
    let definitions = json!({ "id": "a", "cmd": "c", "portDefinitions": [{ "port": 9000 }, { "port": 9001 }] });
    assert_eq!(read(numbers).unwrap(), read(definitions).unwrap());
}

#[test]
fn mappings_count_only_with_a_bridge() {
    let host = json!({ "id": "a", "ports": [7], "container": { "docker": {
        "image": "i", "network": "HOST", "portMappings": [{ "containerPort": 80 }] } } });
    let app = read(host).unwrap();
    assert_eq!(app.network, Network::Host);
    assert_eq!((app.ports.len(), app.ports[0].container_port, app.ports[0].service_port), (1, 0, 7));
}

#[test]
fn required_ports_are_host_ports() {
    let app = read(json!({ "id": "a", "cmd": "c", "ports": [8080], "requirePorts": true })).unwrap();
    assert_eq!((app.ports[0].host_port, app.ports[0].service_port), (8080, 8080));
    let free = change_onto(&app, json!({ "requirePorts": false })).unwrap();
    assert_eq!((free.ports[0].host_port, free.ports[0].service_port), (0, 8080));
}

#[test]
fn docker_parameters_are_a_map_or_a_list() {
    let with =
        |parameters: Value| json!({ "id": "a", "container": { "docker": { "image": "i", "parameters": parameters } } });
    let map = read(with(json!({ "hostname": "h", "memory": 5 }))).unwrap();
    let list = read(with(json!([{ "key": "hostname", "value": "h" }, { "key": "memory", "value": "5" }]))).unwrap();
    assert_eq!(map.image, list.image);
    assert_eq!(map.image.unwrap().parameters, [("hostname".into(), "h".into()), ("memory".into(), "5".into())]);
}

#[test]
fn fields_without_a_meaning_are_kept_and_unknown_ones_ignored() {
    let app = read(json!({ "id": "a", "cmd": "c", "executor": "//cmd", "uris": ["http://x/y.tgz"], "storeUrls": [],
        "acceptedResourceRoles": null, "somethingElse": { "x": 1 }, "tasksRunning": 3 }))
    .unwrap();
    let kept: Vec<&str> = app.extra.keys().map(String::as_str).collect();
    assert_eq!(kept, ["executor", "uris"]);
    assert_eq!(app.extra["uris"], r#"["http://x/y.tgz"]"#);
}

#[test]
fn relative_ids_are_read_against_the_parent() {
    let app =
        read(json!({ "id": "//shop//web/", "cmd": "c", "dependencies": ["db", "../mail", "/shop/cache"] })).unwrap();
    assert_eq!(app.id.as_str(), "/shop/web");
    let ids: Vec<&str> = app.dependencies.iter().map(AppId::as_str).collect();
    assert_eq!(ids, ["/shop/db", "/mail", "/shop/cache"]);
    let with_id = super::app(&json!({ "cmd": "c" }), Some(&AppId::parse("x").unwrap())).unwrap();
    assert_eq!(with_id.id.as_str(), "/x");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let tell = |document: Value| faults(read(document));
    let one = |status: u16, path: &str, error: &str| vec![(status, path.to_owned(), error.to_owned())];
    assert_eq!(tell(json!([])), one(400, "/", "error.expected.jsobject"));
    assert_eq!(tell(json!({})), one(400, "/id", "error.path.missing"));
    assert_eq!(tell(json!({ "id": "a", "cmd": "c", "cpus": "1" })), one(400, "/cpus", "error.expected.jsnumber"));
    assert_eq!(tell(json!({ "id": "a", "cmd": 1 }))[0], one(400, "/cmd", "error.expected.jsstring")[0]);
    assert_eq!(
        tell(json!({ "id": "A" })),
        one(
            422,
            "/id",
            "path contains invalid characters (allowed: lowercase letters, digits, hyphens, \".\", \"..\")"
        )
    );
    assert_eq!(
        tell(json!({ "id": "a" })),
        one(422, "/", "AppDefinition must either contain one of 'cmd' or 'args', and/or a 'container'.")
    );
    assert_eq!(
        tell(
            json!({ "id": "a", "cmd": "c", "upgradeStrategy": { "minimumHealthCapacity": 1.1, "maximumOverCapacity": -1 } })
        ),
        [
            (422, "/upgradeStrategy/minimumHealthCapacity".to_owned(), "is greater than 1".to_owned()),
            (422, "/upgradeStrategy/maximumOverCapacity".to_owned(), "is less than 0".to_owned()),
        ]
    );
    for (document, path) in [
        (json!({ "id": "a", "cmd": "c", "args": ["d"] }), "/"),
        (json!({ "id": "a", "cmd": "c", "instances": -1 }), "/instances"),
        (json!({ "id": "a", "cmd": "c", "ports": [1, 1] }), "/ports"),
        (json!({ "id": "a", "cmd": "c", "ports": [70000] }), "/ports(0)"),
        (json!({ "id": "a", "cmd": "c", "ports": [], "healthChecks": [{}] }), "/healthChecks(0)/portIndex"),
        (json!({ "id": "a", "cmd": "c", "healthChecks": [{ "protocol": "HTTPS" }] }), "/healthChecks(0)/protocol"),
        (json!({ "id": "a", "cmd": "c", "healthChecks": [{ "protocol": "COMMAND" }] }), "/healthChecks(0)/command"),
        (json!({ "id": "a", "cmd": "c", "constraints": [["hostname", "LIKE", "("]] }), "/constraints(0)"),
        (json!({ "id": "a", "cmd": "c", "constraints": [["hostname", "NEAR"]] }), "/constraints(0)"),
        (json!({ "id": "a", "cmd": "c", "env": { "K": { "secret": "s" } } }), "/env/K"),
        (json!({ "id": "a", "cmd": "c", "gpus": 1 }), "/gpus"),
        (json!({ "id": "a", "cmd": "c", "backoffFactor": 0.5 }), "/backoffFactor"),
        (json!({ "id": "a", "cmd": "c", "ports": [1], "portDefinitions": [{ "port": 2 }] }), "/portDefinitions"),
        (json!({ "id": "a", "cmd": "c", "networks": [{ "mode": "container", "name": "n" }] }), "/networks(0)/mode"),
        (json!({ "id": "a", "container": { "type": "DOCKER" } }), "/container/docker"),
        (json!({ "id": "x/tasks", "cmd": "c" }), "/id"),
        (json!({ "id": "a", "cmd": "c", "dependencies": ["a"] }), "/dependencies(0)"),
    ] {
        let faults = faults(read(document.clone()));
        assert!(faults.iter().any(|(status, at, _)| *status == 422 && at == path), "{document}: {faults:?}");
    }
}

#[test]
fn malformed_json_is_told_as_such() {
    let rejection = document(b"{\"id\": ").unwrap_err();
    assert_eq!(rejection.status(), 400);
    assert_eq!(rejection.body()["message"], "Invalid JSON");
    assert!(rejection.body()["details"][0]["errors"][0].as_str().unwrap().contains("EOF"));
}

#[test]
fn an_update_changes_only_what_it_gives() {
    let article = app(&document(ARTICLE.as_bytes()).unwrap(), None).unwrap();
    let mut stored = article.clone();
    stored.ports[0].service_port = 10_000;
    let scaled = change_onto(&stored, json!({ "instances": 20, "cmd": null })).unwrap();
    assert!(scaled.is_scaled(&stored));
    assert_eq!(scaled.instances, 20);
    let container = json!({ "docker": { "image": "s3pics:2.1", "network": "BRIDGE",
        "portMappings": [{ "containerPort": 8080, "hostPort": 0 }] } });
    let rolled = change_onto(&stored, json!({ "container": container })).unwrap();
    assert_eq!(rolled.image.unwrap().reference, "s3pics:2.1");
    assert_eq!(rolled.ports[0].service_port, 10_000, "a service port that was given out stays");
    let with_args = change_onto(&stored, json!({ "args": ["-v"] })).unwrap();
    assert_eq!((with_args.cmd, with_args.args), (None, Some(vec!["-v".to_owned()])));
}

#[test]
fn a_version_alone_is_a_rollback() {
    let id = AppId::parse("/a").unwrap();
    let document = json!({ "version": "2015-01-11T12:44:39.120Z" });
    let Change::Rollback { version, .. } = change(&document, Some(&id)).unwrap() else { panic!("a rollback") };
    assert_eq!(version.to_string(), "2015-01-11T12:44:39.120Z");
    let mixed = json!({ "version": "2015-01-11T12:44:39.120Z", "instances": 2 });
    assert_eq!(change(&mixed, Some(&id)).unwrap_err().status(), 422);
    let other = json!({ "id": "/b", "instances": 2 });
    assert_eq!(change(&other, Some(&id)).unwrap().id().as_str(), "/b", "the id of the body wins");
    assert_eq!(change(&json!({ "version": "yesterday" }), Some(&id)).unwrap_err().status(), 422);
}

#[test]
fn constraints_are_read() {
    let constraints = json!([["hostname", "UNIQUE"], ["rack", "GROUP_BY", 2], ["rack", "LIKE", "r[12]"]]);
    let app = read(json!({ "id": "a", "cmd": "c", "constraints": constraints })).unwrap();
    let operators: Vec<ConstraintOperator> = app.constraints.iter().map(|constraint| constraint.operator).collect();
    assert_eq!(operators, [ConstraintOperator::Unique, ConstraintOperator::GroupBy, ConstraintOperator::Like]);
    assert_eq!(app.constraints[1].value.as_deref(), Some("2"));
}
