//! Answers that go on: events and logs.

use super::harness::{ARTICLE, Face, LOG};
use crate::desk::{EVENTS_QUEUED_MAX, EventKind};
use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use http::header::ACCEPT;
use http::{Method, Request, StatusCode};
use model::AppId;
use serde_json::Value;
use tower::ServiceExt;

async fn listen(face: &Face, query: &str) -> BodyDataStream {
    let request = Request::get(format!("/v2/events{query}")).header(ACCEPT, "text/event-stream");
    let response = face.router.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    response.into_body().into_data_stream()
}

/// The next event: its name and its JSON.
async fn next(stream: &mut BodyDataStream) -> (String, Value) {
    let chunk = String::from_utf8(stream.next().await.unwrap().unwrap().to_vec()).unwrap();
    let rest = chunk.strip_prefix("event: ").unwrap().strip_suffix("\n\n").unwrap();
    let (name, data) = rest.split_once("\ndata: ").unwrap();
    (name.to_owned(), serde_json::from_str(data).unwrap())
}

#[tokio::test]
async fn events_are_told_in_marathons_form() {
    let face = Face::with_article(1).await;
    let mut stream = listen(&face, "").await;
    assert_eq!(next(&mut stream).await.0, "event_stream_attached");
    let record = face.view().tasks.values().next().unwrap().clone();
    // The record is in the event: a task that has been forgotten since is still told of.
    face.forget_task(record.task.id.as_str());
    face.tell(EventKind::TaskStatus { task: record.task.clone(), seen: record.seen.clone() });
    let (name, event) = next(&mut stream).await;
    assert_eq!((name.as_str(), &event["taskId"]), ("status_update_event", &record.task.id.as_str().into()));
    assert_eq!((&event["taskStatus"], &event["ports"][0]), (&"TASK_RUNNING".into(), &31_000.into()));
    face.tell(EventKind::TaskHealth { task: record.task.clone(), alive: false });
    assert_eq!(next(&mut stream).await.0, "health_status_changed_event");
    face.send(Method::PUT, "/v2/apps/s3pics", Some("{\"instances\":2}")).await;
    let (name, event) = next(&mut stream).await;
    assert_eq!((name.as_str(), &event["appDefinition"]["instances"]), ("api_post_event", &2.into()));
}

#[tokio::test]
async fn a_deployment_is_told_from_its_acceptance_to_its_end() {
    let face = Face::empty();
    let mut stream = listen(&face, "").await;
    assert_eq!(next(&mut stream).await.0, "event_stream_attached");
    face.send(Method::POST, "/v2/apps", Some(ARTICLE)).await;
    assert_eq!(next(&mut stream).await.0, "api_post_event");
    let deployment = face.view().deployments.values().next().unwrap().clone();
    face.tell(EventKind::DeploymentStarted { deployment: deployment.clone() });
    for done in [false, true] {
        face.tell(EventKind::DeploymentStep { deployment: deployment.clone(), step: 0, done });
    }
    face.tell(EventKind::DeploymentSucceeded { deployment: deployment.clone() });
    face.tell(EventKind::DeploymentFailed { deployment: deployment.clone(), reason: "cancelled".into() });
    assert_eq!(next(&mut stream).await.0, "group_change_success");
    for name in ["deployment_info", "deployment_step_success"] {
        let (told, event) = next(&mut stream).await;
        assert_eq!((told.as_str(), &event["plan"]["id"]), (name, &deployment.id.as_str().into()));
        assert_eq!(event["currentStep"]["actions"][0]["app"], "/s3pics");
    }
    for name in ["deployment_success", "deployment_failed"] {
        let (told, event) = next(&mut stream).await;
        assert_eq!((told.as_str(), &event["id"]), (name, &deployment.id.as_str().into()));
    }
}

#[tokio::test]
async fn a_listener_hears_what_it_asked_for_until_the_service_stops() {
    let face = Face::empty();
    let mut stream = listen(&face, "?event_type=app_terminated_event&event_type=deployment_success").await;
    face.send(Method::POST, "/v2/apps", Some(ARTICLE)).await;
    face.tell(EventKind::AppTerminated { app: AppId::parse("/s3pics").unwrap() });
    assert_eq!(next(&mut stream).await.0, "app_terminated_event");
    face.context.stop.request();
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_slow_listener_is_cut() {
    let face = Face::empty();
    let mut stream = listen(&face, "?event_type=none").await;
    for _ in 0..=EVENTS_QUEUED_MAX {
        face.tell(EventKind::AppTerminated { app: AppId::parse("/a").unwrap() });
    }
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn events_are_for_those_who_accept_a_stream() {
    let face = Face::empty();
    assert_eq!(face.get("/v2/events").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(face.get_accepting("/v2/events", "*/*").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_log_is_read_whole_in_part_and_followed() {
    let face = Face::with_article(1).await;
    let id = face.view().tasks.keys().next().unwrap().to_string();
    let path = format!("/v1/tasks/{id}/logs");
    let whole = face.get(&path).await;
    assert_eq!((whole.text().as_bytes(), whole.header("x-log-offset")), (LOG, "0"));
    assert_eq!(face.get(&format!("{path}?offset=5&length=3")).await.text(), "one");
    let tail = face.get(&format!("{path}?offset=-1&length=9")).await;
    assert_eq!((tail.text().as_str(), tail.header("x-log-offset")), ("line two\n", "9"));
    assert_eq!(face.get(&format!("{path}?stream=stderr")).await.text(), "");
    assert_eq!(face.get(&format!("{path}?stream=both")).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(face.get(&format!("{path}?offset=x")).await.status, StatusCode::BAD_REQUEST);
    let missing = face.get("/v1/tasks/none.1/logs").await;
    assert_eq!(
        (missing.status, &missing.json()["message"]),
        (StatusCode::NOT_FOUND, &"Task 'none.1' does not exist".into())
    );

    // A followed log stays open while the task lives, and ends when it is gone.
    let request = Request::get(format!("{path}?follow=true")).body(Body::empty()).unwrap();
    let response = face.router.clone().oneshot(request).await.unwrap();
    let mut stream = response.into_body().into_data_stream();
    let mut seen = Vec::new();
    while seen.len() < LOG.len() {
        seen.extend(stream.next().await.unwrap().unwrap());
    }
    assert_eq!(seen, LOG);
    face.forget_task(&id);
    assert!(stream.next().await.is_none());
}
