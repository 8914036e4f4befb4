//! Table tests over the router, with the scheduler's own rules behind the desk and no store.

mod clients;
mod harness;
mod streams;

use harness::{ARTICLE, Face};
use http::{Method, StatusCode};
use identity::Role;
use serde_json::{Value, json};

#[tokio::test]
async fn the_articles_post_is_answered_like_marathon_answers() {
    let face = Face::empty();
    let answer = face.send(Method::POST, "/v2/apps", Some(ARTICLE)).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(answer.header("location"), "/s3pics");
    let app = answer.json();
    assert_eq!((&app["id"], &app["instances"], &app["tasks"]), (&json!("/s3pics"), &json!(1), &json!([])));
    assert_eq!(app["ports"], json!([10_000]), "a service port was given out");
    assert_eq!(answer.header("marathon-deployment-id"), app["deployments"][0]["id"].as_str().unwrap());
    let again = face.send(Method::POST, "/v2/apps?force=true", Some(ARTICLE)).await;
    assert_eq!(again.status, StatusCode::CONFLICT);
    assert_eq!(again.json(), json!({ "message": "An app with id [/s3pics] already exists." }));
}

#[tokio::test]
async fn of_two_posts_of_one_new_id_the_leader_refuses_the_second() {
    let face = Face::empty();
    // Each face has looked before the other has asked; forced, since the first one's deployment would lock out the second.
    let post = || face.send(Method::POST, "/v2/apps?force=true", Some(ARTICLE));
    let (first, second) = tokio::join!(post(), post());
    assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::CONFLICT));
    assert_eq!(second.json(), json!({ "message": "An app with id [/s3pics] already exists." }));
    assert_eq!(face.view().versions.values().map(|versions| versions.len()).sum::<usize>(), 1);
}

#[tokio::test]
async fn slashes_never_redirect_nor_miss() {
    let face = Face::with_article(2).await;
    for path in
        ["/v2/apps/s3pics", "/v2/apps//s3pics", "//v2/apps///s3pics/", "/v2/apps/%2Fs3pics", "/v2//apps/s3pics//"]
    {
        let answer = face.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.json()["app"]["id"], "/s3pics", "{path}");
    }
    for path in ["/v2/apps", "/v2/apps/", "/v2/apps//"] {
        assert_eq!(face.get(path).await.json()["apps"][0]["id"], "/s3pics", "{path}");
    }
}

#[tokio::test]
async fn every_error_has_marathons_status_and_words() {
    let face = Face::with_article(1).await;
    let message = |text: &str| json!({ "message": text });
    for (method, path, body, status, expected) in [
        (Method::GET, "/v2/apps/none", None, 404, message("App '/none' does not exist")),
        (Method::GET, "/v2/apps/No", None, 404, message("App '/No' does not exist")),
        (Method::GET, "/v2/apps/none/tasks", None, 404, message("App '/none' does not exist")),
        (Method::GET, "/v2/apps/none/versions", None, 404, message("App '/none' does not exist")),
        (Method::DELETE, "/v2/apps/none", None, 404, message("App '/none' does not exist")),
        (Method::POST, "/v2/apps/none/restart", None, 404, message("App '/none' does not exist")),
        (Method::PATCH, "/v2/apps/none", Some("{}"), 404, message("App '/none' does not exist")),
        (
            Method::PUT,
            "/v2/apps/s3pics",
            Some(r#"{"version":"2014-01-01T00:00:00.000Z"}"#),
            404,
            message("App '/s3pics' does not exist in version 2014-01-01T00:00:00.000Z"),
        ),
        (
            Method::GET,
            "/v2/apps/s3pics/versions/yesterday",
            None,
            422,
            message("Invalid timestamp provided 'yesterday'. Expecting ISO-8601 datetime string."),
        ),
        (Method::DELETE, "/v2/apps/s3pics/tasks/s3pics.1", None, 404, message("Task 's3pics.1' does not exist")),
        (Method::DELETE, "/v2/deployments/x", None, 404, message("DeploymentPlan x does not exist")),
        (Method::GET, "/v2/nowhere", None, 404, message("URI not found: /v2/nowhere")),
        (Method::GET, "/v2//nowhere/", None, 404, message("URI not found: /v2//nowhere/")),
        (Method::DELETE, "/v2/queue/none/delay", None, 404, message("Application /none not found in tasks queue.")),
        (Method::POST, "/v2/tasks/delete", Some(r#"{"ids":["nodot"]}"#), 400, message("Invalid task id 'nodot'.")),
        (
            Method::POST,
            "/v2/apps",
            Some(r#"{"id":"/s3pics/inner","cmd":"c"}"#),
            422,
            message("Groups and Applications may not have the same identifier: /s3pics"),
        ),
        (
            Method::PUT,
            "/v2/apps/s3pics",
            Some(r#"{"cpus":"x"}"#),
            400,
            json!({ "message": "Invalid JSON", "details": [{ "path": "/cpus", "errors": ["error.expected.jsnumber"] }] }),
        ),
        (
            Method::POST,
            "/v2/apps",
            Some(r#"{"id":"a","cmd":"c","upgradeStrategy":{"minimumHealthCapacity":2}}"#),
            422,
            json!({ "message": "Object is not valid", "details": [
                { "path": "/upgradeStrategy/minimumHealthCapacity", "errors": ["is greater than 1"] }] }),
        ),
    ] {
        let answer = face.send(method.clone(), path, body).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (status, expected), "{method} {path}");
    }
    let answer = face.send(Method::POST, "/v2/apps", Some("{")).await;
    assert_eq!((answer.status, &answer.json()["message"]), (StatusCode::BAD_REQUEST, &json!("Invalid JSON")));
    let answer = face.send(Method::POST, "/v2/apps/s3pics", None).await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.header("allow"), "GET, PUT, PATCH, DELETE");
}

#[tokio::test]
async fn a_locked_app_is_refused_with_the_deployments_unless_forced() {
    let face = Face::empty();
    face.send(Method::POST, "/v2/apps", Some(ARTICLE)).await;
    let deployment = face.get("/v2/deployments").await.json()[0]["id"].clone();
    let refused = face.send(Method::PUT, "/v2/apps//s3pics", Some(r#"{"instances":3}"#)).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    let body = refused.json();
    assert_eq!(body["deployments"], json!([{ "id": deployment }]));
    assert_eq!(
        body["message"],
        "App is locked by one or more deployments. Override with the option '?force=true'. \
         View details at '/v2/deployments/<DEPLOYMENT_ID>'."
    );
    for force in ["force=true", "force=True", "force"] {
        let forced = face.send(Method::PUT, &format!("/v2/apps//s3pics?{force}"), Some(r#"{"instances":3}"#)).await;
        assert_eq!(forced.status, StatusCode::OK, "{force}");
        assert!(forced.json()["deploymentId"].is_string());
    }
}

#[tokio::test]
async fn an_app_is_scaled_rolled_back_restarted_and_removed() {
    let face = Face::with_article(2).await;
    let first = face.get("/v2/apps/s3pics").await.json()["app"]["version"].clone();
    let scaled = face.send(Method::PUT, "/v2/apps/s3pics", Some(r#"{"instances":5}"#)).await;
    assert_eq!(scaled.json()["version"], face.get("/v2/apps/s3pics").await.json()["app"]["version"]);
    face.settle();
    let versions = face.get("/v2/apps/s3pics/versions").await.json()["versions"].clone();
    assert_eq!(versions.as_array().unwrap().len(), 2);
    assert_eq!(versions[1], first, "the newest comes first");
    let old = face.get(&format!("/v2/apps/s3pics/versions/{}", first.as_str().unwrap())).await.json();
    assert_eq!((&old["id"], &old["instances"]), (&json!("/s3pics"), &json!(2)));

    let body = json!({ "version": first }).to_string();
    assert_eq!(face.send(Method::PUT, "/v2/apps/s3pics", Some(&body)).await.status, StatusCode::OK);
    face.settle();
    assert_eq!(face.get("/v2/apps/s3pics").await.json()["app"]["instances"], 2);

    let restarted = face.send(Method::POST, "/v2/apps/s3pics/restart", None).await;
    assert_eq!(restarted.status, StatusCode::OK);
    let removed = face.send(Method::DELETE, "/v2/apps/s3pics", None).await;
    assert_eq!(removed.status, StatusCode::OK, "a removal is forced unless told otherwise");
    assert_eq!(face.get("/v2/apps/s3pics").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn put_creates_and_merges_and_takes_a_list() {
    let face = Face::empty();
    let created = face.send(Method::PUT, "/v2/apps/a/b", Some(r#"{"cmd":"c","mem":32}"#)).await;
    assert_eq!((created.status, &created.json()["id"]), (StatusCode::CREATED, &json!("/a/b")));
    face.settle();
    let list = r#"[{"id":"/a/b","instances":2},{"id":"/a/c","cmd":"d"}]"#;
    let answer = face.send(Method::PUT, "/v2/apps", Some(list)).await;
    assert_eq!(answer.status, StatusCode::OK);
    let id = answer.json()["deploymentId"].clone();
    let deployments = face.get("/v2/deployments").await.json();
    assert_eq!((deployments.as_array().unwrap().len(), &deployments[0]["id"]), (1, &id));
    assert_eq!(deployments[0]["affectedApps"], json!(["/a/b", "/a/c"]));
    face.settle();
    let merged = face.get("/v2/apps/a/b").await.json()["app"].clone();
    assert_eq!((&merged["mem"], &merged["instances"], &merged["cmd"]), (&json!(32.0), &json!(2), &json!("c")));
    let below = face.get("/v2/apps/a/*").await.json();
    assert_eq!(below["*"].as_array().unwrap().len(), 2);
    let whole = face.send(Method::PUT, "/v2/apps/a/c?partialUpdate=false", Some(r#"{"cmd":"e"}"#)).await;
    assert_eq!(whole.status, StatusCode::OK);
    assert_eq!(face.get("/v2/apps/a/c").await.json()["app"]["cmd"], "e");
}

#[tokio::test]
async fn lists_are_filtered_and_embed_what_is_asked() {
    let face = Face::with_article(1).await;
    let other = r#"{"id":"/other","cmd":"SLEEP 5","labels":{"tier":"db"}}"#;
    face.send(Method::POST, "/v2/apps", Some(other)).await;
    face.settle();
    for (query, expected) in [
        ("", vec!["/other", "/s3pics"]),
        ("?cmd=sleep", vec!["/other"]),
        ("?id=S3", vec!["/s3pics"]),
        ("?label=tier%3D%3Ddb", vec!["/other"]),
        ("?label=tier%20notin%20(db)", vec!["/s3pics"]),
        ("?id=s3&cmd=sleep", vec![]),
    ] {
        let apps = face.get(&format!("/v2/apps{query}")).await.json()["apps"].clone();
        let ids: Vec<&str> = apps.as_array().unwrap().iter().map(|app| app["id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{query}");
    }
    assert_eq!(face.get("/v2/apps?label=a%20b").await.status, StatusCode::BAD_REQUEST);
    let plain = face.get("/v2/apps?id=s3").await.json()["apps"][0].clone();
    assert_eq!((&plain["tasksRunning"], plain.get("tasks")), (&json!(1), None));
    let embedded = face.get("/v2/apps?id=s3&embed=apps.tasks").await.json()["apps"][0].clone();
    assert_eq!(embedded["tasks"][0]["host"], "node.example");
}

#[tokio::test]
async fn tasks_are_listed_and_killed() {
    let face = Face::with_article(3).await;
    let tasks = face.get("/v2/apps/s3pics/tasks").await.json()["tasks"].clone();
    assert_eq!(tasks.as_array().unwrap().len(), 3);
    assert_eq!((&tasks[0]["ports"], &tasks[0]["servicePorts"]), (&json!([31000]), &json!([10_000])));
    assert_eq!(face.get("/v2/tasks?status=staging").await.json()["tasks"], json!([]));
    assert_eq!(face.get("/v2/tasks?status=running").await.json()["tasks"].as_array().unwrap().len(), 3);
    assert_eq!(face.get("/v2/apps/*/tasks").await.json()["tasks"].as_array().unwrap().len(), 3);
    assert_eq!(face.get("/v2/apps/none/*/tasks").await.json(), json!({ "tasks": [] }));
    let text = face.get_accepting("/v2/apps/s3pics/tasks", "text/plain").await;
    assert_eq!(text.text(), "s3pics\t10000\tnode.example:31000\tnode.example:31001\tnode.example:31002\t\n");
    assert_eq!(face.get_accepting("/v2/tasks", "text/plain").await.text(), text.text());

    let id = tasks[0]["id"].as_str().unwrap();
    let killed = face.send(Method::DELETE, &format!("/v2/apps/s3pics/tasks/{id}"), None).await;
    assert_eq!(killed.json()["task"]["id"], id);
    face.settle();
    let id = tasks[1]["id"].as_str().unwrap();
    let scaled = face.send(Method::DELETE, &format!("/v2/apps//s3pics/tasks/{id}?scale=True"), None).await.json();
    assert_eq!(scaled["task"]["id"], id);
    assert!(scaled["deploymentId"].is_string());
    face.settle();
    assert_eq!(face.get("/v2/apps/s3pics").await.json()["app"]["instances"], 2);

    let elsewhere = face.send(Method::DELETE, "/v2/apps/s3pics/tasks?host=elsewhere", None).await;
    assert_eq!(elsewhere.json(), json!({ "tasks": [] }));
    let ids: Vec<Value> = face.get("/v2/tasks").await.json()["tasks"].as_array().unwrap().clone();
    let body = json!({ "ids": [ids[0]["id"], "gone.1"] }).to_string();
    let listed = face.send(Method::POST, "/v2/tasks/delete", Some(&body)).await;
    assert_eq!((listed.status, listed.json()["tasks"].as_array().unwrap().len()), (StatusCode::OK, 1));
    let all = face.send(Method::DELETE, "/v2/apps/s3pics/tasks?host=*", None).await;
    assert_eq!(all.json()["tasks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn deployments_are_cancelled_or_forgotten() {
    let face = Face::empty();
    face.send(Method::POST, "/v2/apps", Some(ARTICLE)).await;
    let id = face.get("/v2/deployments").await.json()[0]["id"].as_str().unwrap().to_owned();
    let inverse = face.send(Method::DELETE, &format!("/v2/deployments/{id}"), None).await;
    assert_eq!(inverse.status, StatusCode::OK);
    let inverse = inverse.json()["deploymentId"].as_str().unwrap().to_owned();
    assert_ne!(inverse, id);
    let forced = face.send(Method::DELETE, &format!("/v2/deployments/{inverse}?force=True"), None).await;
    assert_eq!((forced.status, forced.text().as_str()), (StatusCode::ACCEPTED, ""));
    assert_eq!(face.get("/v2/deployments").await.json(), json!([]));
}

#[tokio::test]
async fn the_queue_tells_what_waits() {
    let face = Face::empty();
    face.send(Method::POST, "/v2/apps", Some(ARTICLE)).await;
    let queue = face.get("/v2/queue").await.json()["queue"].clone();
    assert_eq!((&queue[0]["app"]["id"], &queue[0]["count"]), (&json!("/s3pics"), &json!(1)));
    assert_eq!(queue[0]["delay"], json!({ "timeLeftSeconds": 0, "overdue": true }));
    assert_eq!(face.send(Method::DELETE, "/v2/queue//s3pics/delay", None).await.status, StatusCode::NO_CONTENT);
    face.settle();
    assert_eq!(face.get("/v2/queue").await.json(), json!({ "queue": [] }));
}

#[tokio::test]
async fn a_browsers_form_is_refused_and_a_body_is_bounded() {
    let face = Face::empty();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "TEXT/PLAIN;a=b"]
    {
        let answer = face.send_as(Method::POST, "/v2/apps", Some(ARTICLE), Some(kind)).await;
        assert_eq!(answer.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let long = " ".repeat(super::BODY_BYTES_MAX + 1);
    let answer = face.send_as(Method::POST, "/v2/apps", Some(&long), None).await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    let answer = face.send_as(Method::POST, "/v2/apps", Some(ARTICLE), Some("application/json; charset=utf-8")).await;
    assert_eq!(answer.status, StatusCode::CREATED);
}

#[tokio::test]
async fn the_service_tells_of_itself() {
    let face = Face::with_article(2).await;
    assert_eq!(face.get("/ping").await.text(), "pong");
    assert_eq!(face.get("/v2/leader").await.json(), json!({ "leader": "127.0.0.1:8080" }));
    let info = face.get("/v2/info").await.json();
    assert_eq!(
        (&info["name"], &info["elected"], &info["leader"]),
        (&json!("marathon"), &json!(true), &json!("127.0.0.1:8080"))
    );
    assert!(face.get("/metrics").await.header("content-type").starts_with("application/openmetrics-text"));
    let metrics = face.get_accepting("/metrics", "application/json").await.json();
    assert_eq!(metrics["gauges"]["service.mesosphere.marathon.task.running.count"]["value"], 2);
    let nodes = face.get("/v1/nodes").await.json();
    assert_eq!(
        (&nodes[0]["state"], &nodes[0]["tasks"], &nodes[0]["used"]["cpus"]),
        (&json!("connected"), &json!(2), &json!(0.2))
    );
    assert_eq!(nodes[0]["resources"]["ports"], json!([[31000, 32000]]));
    let details = face.get("/v1/apps/s3pics").await.json();
    assert_eq!(details["url"], "http://s3pics.localhost:8000/");
    assert_eq!(details["runtimes"]["process"], json!(["no outbound network"]));
    assert_eq!(face.get("/v1/apps/s3pics/explain").await.json(), json!({ "app": "/s3pics", "reasons": [] }));
    assert!(!face.context.stop.is_requested());
    assert_eq!(face.send(Method::DELETE, "/v2/leader", None).await.json(), json!({ "message": "Leadership abdicted" }));
    assert!(face.context.stop.is_requested());
}

#[tokio::test]
async fn the_address_shown_is_the_one_its_labels_name() {
    let face = Face::empty();
    for (body, expected) in [
        (r#"{"id":"/shop/web","cmd":"c"}"#, json!("http://web.shop.localhost:8000/")),
        (r#"{"id":"/b","cmd":"c","labels":{"HAPROXY_0_VHOST":"Shop.example,x"}}"#, json!("http://shop.example:8000/")),
        (r#"{"id":"/c","cmd":"c","labels":{"roadstead.rule":"PathPrefix(`/c`)"}}"#, Value::Null),
        (r#"{"id":"/d","cmd":"c","ports":[]}"#, Value::Null),
    ] {
        let id = face.send(Method::POST, "/v2/apps", Some(body)).await.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(face.get(&format!("/v1/apps{id}")).await.json()["url"], expected, "{id}");
    }
}

#[tokio::test]
async fn a_label_that_asks_the_edge_for_nonsense_is_refused_by_name() {
    let face = Face::empty();
    let app = |label: &str| json!({ "id": "/a", "cmd": "c", "labels": { "roadstead.middlewares": label } }).to_string();
    let refused = face.send(Method::POST, "/v2/apps", Some(&app(r#"[{"Id":"a","Type":"iplist"}]"#))).await;
    assert_eq!(refused.status, 422);
    let detail = &refused.json()["details"][0];
    assert_eq!(detail["path"], "/labels/roadstead.middlewares");
    assert!(detail["errors"][0].as_str().unwrap().starts_with("middleware 1 of the list: Allow"), "{detail}");

    let balance = json!({ "id": "/a", "cmd": "c", "labels": { "roadstead.balance": "fastest" } }).to_string();
    let refused = face.send(Method::POST, "/v2/apps", Some(&balance)).await;
    assert_eq!(refused.status, 422);
    assert_eq!(refused.json()["details"][0]["path"], "/labels/roadstead.balance");

    let right = r#"[{"Id":"a","Type":"iplist","Middleware":{"Allow":["10.0.0.0/8"]}}]"#;
    assert_eq!(face.send(Method::POST, "/v2/apps", Some(&app(right))).await.status, 201);
    let changed = face.send(Method::PUT, "/v2/apps/a", Some(&app("nonsense"))).await;
    assert_eq!(changed.status, 422);
}

#[test]
fn each_role_may_do_what_its_duties_need() {
    let may = |role, method: &Method, path| super::allowed(role, method, path);
    for role in [Role::Viewer, Role::Console, Role::Edge] {
        assert!(may(role, &Method::GET, "/v2/apps") && may(role, &Method::HEAD, "/v2/apps"));
        for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            assert!(!may(role, &method, "/v2/apps"), "{role} {method}");
        }
    }
    for secret in ["/v1/routes/history/7", "/v1/routes/documents", "/v1/join-tokens"] {
        assert!(may(Role::Admin, &Method::GET, secret) && !may(Role::Viewer, &Method::GET, secret), "{secret}");
    }
    assert!(may(Role::Viewer, &Method::GET, "/v1/routes/history"));
    assert!(may(Role::Admin, &Method::DELETE, "/v2/apps/a"));
    for role in [Role::Agent, Role::Registry] {
        assert!(may(role, &Method::GET, "//ping/") && !may(role, &Method::GET, "/v2/apps"));
        assert!(!may(role, &Method::POST, "/ping"));
    }
}
