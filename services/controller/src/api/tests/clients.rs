//! The request sequences of clients that people have.

use super::harness::Face;
use http::{Method, StatusCode};
use serde_json::json;

/// mesos-vulcan, per run: the app without its slash, then the list with a slash at its end, then the app with two.
#[tokio::test]
async fn the_authors_tool_finds_apps_and_tasks() {
    let face = Face::with_article(2).await;
    let check = face.get("/v2/apps/s3pics").await.json();
    assert_eq!(check["app"]["tasks"].as_array().unwrap().len(), 2);
    let list = face.get("/v2/apps/").await.json();
    let id = list["apps"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(id, "/s3pics");
    let app = face.get(&format!("/v2/apps/{id}")).await.json();
    for (task, port) in app["app"]["tasks"].as_array().unwrap().iter().zip([31_000, 31_001]) {
        assert_eq!((&task["host"], &task["ports"][0]), (&json!("node.example"), &json!(port)));
    }
}

/// marathon-python, in the shapes it sends: `/v2/apps/` + `/s3pics`, `True` and `False`, whole apps sent back.
#[tokio::test]
async fn marathon_python_shapes_are_understood() {
    let face = Face::with_article(2).await;
    let mut app = face.get("/v2/apps//s3pics?embed=app.counts").await.json()["app"].clone();
    app["instances"] = json!(4);
    app.as_object_mut().unwrap().remove("version");
    let sent = app.to_string();
    let updated = face.send(Method::PUT, "/v2/apps//s3pics?force=False", Some(&sent)).await;
    assert_eq!(updated.status, StatusCode::OK, "{}", updated.text());
    face.settle();
    let app = face.get("/v2/apps//s3pics").await.json()["app"].clone();
    assert_eq!((&app["instances"], &app["tasksHealthy"]), (&json!(4), &json!(4)));
    let task = app["tasks"][0]["id"].as_str().unwrap();
    let killed =
        face.send(Method::DELETE, &format!("/v2/apps//s3pics/tasks/{task}?scale=False&wipe=False"), None).await;
    assert_eq!(killed.json()["task"]["appId"], "/s3pics");
    let removed = face.send(Method::DELETE, "/v2/apps//s3pics?force=False", None).await;
    assert_eq!(removed.status, StatusCode::OK);
}
