use super::*;
use crate::{AppStatus, TaskCounts};
use model::*;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use serde_json::json;
use std::collections::BTreeMap;

fn app_of(document: Value) -> App {
    crate::app(&document, None).unwrap()
}

fn bridged() -> App {
    app_of(json!({ "id": "/shop/web", "instances": 2, "healthChecks": [{ "protocol": "HTTP" }],
        "container": { "docker": { "image": "i", "network": "BRIDGE",
            "portMappings": [{ "containerPort": 80, "servicePort": 10_000 }, { "containerPort": 81, "servicePort": 10_001 }] } } }))
}

fn task_of(app: &App) -> Task {
    Task {
        id: TaskId::of(&app.id, "3eb4f9ff-9987-11e4-b40a-0242ac110003"),
        app: app.id.clone(),
        version: app.version,
        node: NodeId::new("n1"),
        host: "coreos1.ad.forest".into(),
        address: "127.0.0.1".into(),
        ports: vec![31000, 31001],
        staged_at: Timestamp::from_millis(1_420_980_279_120),
        container_name: "web-1".into(),
        intent: Intent::Run,
    }
}

fn running(checks: Vec<CheckResult>) -> Observation {
    let at = Timestamp::from_millis(1_420_980_280_000);
    let seen = Observation::staging(at);
    Observation { state: TaskState::Running, started_at: Some(at), checks, ..seen }
}

#[test]
fn every_key_of_0_8_is_written_also_when_there_is_nothing_to_say() {
    let written = app(&app_of(json!({ "id": "a", "cmd": "c", "ports": [] })));
    let expected = json!({
        "id": "/a", "cmd": "c", "args": null, "user": null, "env": {}, "instances": 1, "cpus": 1.0, "mem": 128.0,
        "disk": 0.0, "executor": "", "constraints": [], "uris": [], "storeUrls": [], "ports": [],
        "requirePorts": false, "backoffSeconds": 1, "backoffFactor": 1.15, "maxLaunchDelaySeconds": 3600,
        "container": null, "healthChecks": [], "dependencies": [],
        "upgradeStrategy": { "minimumHealthCapacity": 1.0, "maximumOverCapacity": 1.0 }, "labels": {},
        "acceptedResourceRoles": null, "taskKillGracePeriodSeconds": 5, "killSelection": "YOUNGEST_FIRST",
        "version": "1970-01-01T00:00:00.000Z",
    });
    assert_eq!(written, expected);
}

#[test]
fn an_app_is_shown_with_what_has_become_of_it() {
    let app = bridged();
    let mut counts = TaskCounts::default();
    let alive = CheckResult { alive: true, last_success: Some(Timestamp::EPOCH), ..CheckResult::default() };
    let failing = CheckResult { last_failure: Some(Timestamp::EPOCH), ..CheckResult::default() };
    counts.add(&running(vec![alive]), 1);
    counts.add(&running(vec![failing]), 1);
    counts.add(&running(vec![CheckResult::default()]), 1);
    counts.add(&Observation::staging(Timestamp::EPOCH), 1);
    let status = AppStatus { counts, deployments: vec![DeploymentId::new("d1")], ..AppStatus::default() };
    let written = app_with(&app, status);
    let numbers = ["tasksStaged", "tasksRunning", "tasksHealthy", "tasksUnhealthy"].map(|name| written[name].clone());
    assert_eq!(numbers, [json!(1), json!(3), json!(1), json!(1)]);
    assert_eq!(written["deployments"], json!([{ "id": "d1" }]));
    assert_eq!(written["ports"], json!([10_000, 10_001]));
    assert_eq!(written["container"]["docker"]["network"], "BRIDGE");
    assert_eq!(written.get("tasks"), None);
}

#[test]
fn a_task_is_shown_as_marathon_shows_it() {
    let app = bridged();
    let alive = CheckResult {
        alive: true,
        first_success: Some(Timestamp::from_millis(1_420_980_281_000)),
        last_success: Some(Timestamp::from_millis(1_420_980_282_000)),
        ..CheckResult::default()
    };
    let written = task(&task_of(&app), &running(vec![alive]), Some(&app));
    assert_eq!(written["id"], "shop_web.3eb4f9ff-9987-11e4-b40a-0242ac110003");
    assert_eq!((&written["appId"], &written["host"]), (&json!("/shop/web"), &json!("coreos1.ad.forest")));
    assert_eq!((&written["ports"], &written["servicePorts"]), (&json!([31000, 31001]), &json!([10_000, 10_001])));
    assert_eq!((&written["state"], &written["stagedAt"]), (&json!("TASK_RUNNING"), &json!("2015-01-11T12:44:39.120Z")));
    let [result] = written["healthCheckResults"].as_array().unwrap().as_slice() else { panic!("one result") };
    assert_eq!((&result["alive"], &result["firstSuccess"]), (&json!(true), &json!("2015-01-11T12:44:41.000Z")));
    assert_eq!((&result["lastFailure"], &result["consecutiveFailures"]), (&Value::Null, &json!(0)));
    let staged = task(&task_of(&app), &Observation::staging(Timestamp::EPOCH), Some(&app));
    assert_eq!((&staged["startedAt"], &staged["healthCheckResults"]), (&Value::Null, &json!([])));
}

#[test]
fn endpoints_are_listed_as_text() {
    let app = bridged();
    let (one, two) = (task_of(&app), Task { ports: vec![31002, 31003], ..task_of(&app) });
    let (up, staging) = (running(vec![]), Observation::staging(Timestamp::EPOCH));
    let text = tasks_as_text(&app, [(&one, &up), (&two, &up), (&two, &staging)].into_iter());
    let expected = "shop_web\t10000\tcoreos1.ad.forest:31000\tcoreos1.ad.forest:31002\t\n\
                    shop_web\t10001\tcoreos1.ad.forest:31001\tcoreos1.ad.forest:31003\t\n";
    assert_eq!(text, expected);
    let portless = app_of(json!({ "id": "a", "cmd": "c", "ports": [] }));
    assert_eq!(tasks_as_text(&portless, [(&one, &up)].into_iter()), "a\t \tcoreos1.ad.forest\t\n");
}

#[test]
fn a_deployment_counts_its_steps_from_one() {
    let app = bridged();
    let step = |kind| Step { actions: vec![Action { kind, app: app.id.clone() }] };
    let running = Deployment {
        id: DeploymentId::new("d1"),
        version: Timestamp::EPOCH,
        original: BTreeMap::from([(app.id.clone(), None)]),
        target: BTreeMap::from([(app.id.clone(), Some(app.clone()))]),
        steps: vec![step(ActionKind::StartApplication), step(ActionKind::ScaleApplication)],
        current_step: 1,
    };
    let written = deployment(&running);
    assert_eq!((&written["currentStep"], &written["totalSteps"]), (&json!(2), &json!(2)));
    assert_eq!(written["affectedApps"], json!(["/shop/web"]));
    assert_eq!(written["steps"][0]["actions"], json!([{ "action": "StartApplication", "app": "/shop/web" }]));
    assert_eq!(written["currentActions"][0]["action"], "ScaleApplication");

    let event = deployment_info(Timestamp::EPOCH, &running, 1);
    assert_eq!(
        (&event["eventType"], &event["timestamp"]),
        (&json!("deployment_info"), &json!("1970-01-01T00:00:00.000Z"))
    );
    assert_eq!(event["plan"]["original"]["apps"], json!([]));
    assert_eq!(event["plan"]["target"]["apps"][0]["id"], "/shop/web");
    assert_eq!(event["currentStep"]["actions"][0]["type"], "ScaleApplication");
    let accepted = group_change_success(Timestamp::EPOCH, &running);
    assert_eq!((&accepted["eventType"], &accepted["groupId"]), (&json!("group_change_success"), &json!("/")));
    assert_eq!(deployment_success(Timestamp::EPOCH, &running)["id"], "d1");
}

#[test]
fn events_of_tasks_name_task_and_app() {
    let app = bridged();
    let (task, at) = (task_of(&app), Timestamp::EPOCH);
    let update = status_update(at, &task, &running(vec![]));
    for (key, expected) in [
        ("eventType", json!("status_update_event")),
        ("slaveId", json!("n1")),
        ("taskId", json!(task.id.as_str())),
        ("taskStatus", json!("TASK_RUNNING")),
        ("appId", json!("/shop/web")),
        ("ports", json!([31000, 31001])),
    ] {
        assert_eq!(update[key], expected, "{key}");
    }
    assert_eq!(health_status_changed(at, &task, true)["alive"], true);
    assert_eq!(unhealthy_task_kill(at, &task, "gave up")["reason"], "gave up");
    assert_eq!(app_terminated(at, &app.id)["appId"], "/shop/web");
    assert_eq!(post_event(at, "::1", "/v2/apps", &app)["appDefinition"]["id"], "/shop/web");
}

#[test]
fn an_answer_without_a_deployment_names_none() {
    let result = deployment_result(Timestamp::EPOCH, None);
    assert_eq!(result["deploymentId"], "00000000-0000-0000-0000-000000000000");
}

fn port() -> impl Strategy<Value = PortMapping> {
    let labels = btree_map("[a-z]{1,3}", ".{0,4}", 0..2);
    let protocol = prop::sample::select(vec!["tcp", "udp", "udp,tcp"]);
    (any::<u16>(), any::<u16>(), any::<u16>(), protocol, option::of("[a-z]([-a-z0-9]{0,3}[a-z])?"), labels).prop_map(
        |(container_port, host_port, service_port, protocol, name, labels)| {
            let protocol = protocol.to_owned();
            PortMapping { container_port, host_port, service_port, protocol, name, labels }
        },
    )
}

prop_compose! {
    /// A document of the newest dialect with most fields set.
    fn documents()(
        bridge in any::<bool>(),
        image in option::of("[a-z]{1,8}(:[0-9.]{1,3})?"),
        ports in vec(port(), 0..4),
        cmd in "[ -~]{1,20}",
        env in btree_map("[A-Z]{1,4}", ".{0,6}", 0..3),
        labels in btree_map("[a-z]{1,4}", ".{0,6}", 0..3),
        instances in 0_u32..1000,
        cpus_milli in 0_u32..100_000,
        mem in 0_u32..1_000_000,
        capacity in (0_u32..=100, 0_u32..=100),
        require_ports in any::<bool>(),
        grace_millis in 0_u32..10_000_000,
        checks in vec((0_usize..4, "(HTTP|TCP|COMMAND)", "[!-~]{0,5}"), 0..3),
        volumes in vec(("/[a-z]{1,4}", "/[a-z]{1,4}", "R[OW]"), 0..2),
        executor in "(|//cmd)",
    ) -> Value {
        let mappings: Vec<Value> = ports.iter().map(|port| json!({ "containerPort": port.container_port,
            "hostPort": port.host_port, "servicePort": port.service_port, "protocol": port.protocol,
            "name": port.name, "labels": port.labels })).collect();
        let definitions: Vec<Value> = ports.iter().map(|port| json!({ "port": port.service_port,
            "protocol": port.protocol, "name": port.name, "labels": port.labels })).collect();
        let checks: Vec<Value> = checks.iter().map(|(index, protocol, text)| json!({ "protocol": protocol,
            "portIndex": index, "path": text, "command": { "value": format!("x{text}") },
            "gracePeriodSeconds": f64::from(grace_millis) / 1000.0 })).collect();
        let volumes: Vec<Value> = volumes.iter().map(|(inside, outside, mode)| json!({ "containerPath": inside,
            "hostPath": outside, "mode": mode })).collect();
        let docker = image.map(|image| json!({ "image": image, "parameters": [{ "key": "k", "value": "v" }] }));
        let kind = if docker.is_some() { "DOCKER" } else { "MESOS" };
        let mut document = json!({ "id": "/a/b", "cmd": cmd, "env": env, "labels": labels, "instances": instances,
            "cpus": f64::from(cpus_milli) / 1000.0, "mem": mem, "requirePorts": require_ports, "healthChecks": checks,
            "executor": executor, "backoffFactor": 1.0 + f64::from(capacity.0) / 100.0,
            "upgradeStrategy": { "minimumHealthCapacity": f64::from(capacity.0) / 100.0,
                "maximumOverCapacity": f64::from(capacity.1) / 100.0 },
            "container": { "type": kind, "docker": docker, "volumes": volumes } });
        if bridge {
            document["networks"] = json!([{ "mode": "container/bridge" }]);
            document["container"]["portMappings"] = mappings.into();
        } else {
            document["portDefinitions"] = definitions.into();
        }
        document
    }
}

/// Any JSON, with the names of fields where names go.
fn noise() -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "id",
        "cmd",
        "args",
        "env",
        "container",
        "docker",
        "image",
        "portMappings",
        "networks",
        "mode",
        "ports",
        "portDefinitions",
        "healthChecks",
        "protocol",
        "portIndex",
        "constraints",
        "upgradeStrategy",
        "dependencies",
        "volumes",
        "parameters",
        "version",
        "instances",
        "cpus",
        "backoffSeconds",
        "labels",
        "requirePorts",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "(.{0,6}|HTTP|BRIDGE|UNIQUE|/a|container/bridge)".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, move |inner| {
        let names = names.clone();
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names, inner), 0..6).prop_map(|fields| Value::Object(
                fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_written_is_read_back_as_the_same_app(document in documents()) {
        if let Ok(first) = crate::app(&document, None) {
            let text = app(&first).to_string();
            let again = crate::app(&crate::document(text.as_bytes()).unwrap(), None);
            prop_assert_eq!(again.as_ref(), Ok(&first), "{}", text);
            let mut shown = app_with(&first, AppStatus::default());
            shown.as_object_mut().unwrap().remove("version");
            let updated = crate::change(&shown, None).unwrap().onto(Some(&first));
            prop_assert_eq!(updated, Ok(first), "sent back whole: {}", shown);
        }
    }

    #[test]
    fn no_document_panics(document in noise()) {
        let _app = crate::app(&document, None);
        let existing = bridged();
        if let Ok(change) = crate::change(&document, Some(&existing.id)) {
            let _changed = change.onto(Some(&existing));
        }
        let _changes = crate::changes(&document);
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..64)) {
        let _document = crate::document(&bytes);
    }
}
