use super::*;
use axum::Router;
use axum::extract::{Request as Incoming, State};
use axum::response::{IntoResponse, Response as Answer};
use http::header::AUTHORIZATION;
use lifecycle::Stop;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

/// Status, `Location`, body.
type Queued = (u16, String, &'static str);

/// Answers what the test has queued, and keeps what it was asked.
#[derive(Clone, Default)]
struct Fake {
    answers: Arc<Mutex<VecDeque<Queued>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Returns its `/v2` endpoint.
    async fn start(&self, stop: &Stop) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/v2", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(self.clone());
        tokio::spawn(web::serve(listener, router, web::Bounds::default(), stop.clone()));
        endpoint
    }

    fn will_answer(&self, status: u16, location: &str, body: &'static str) {
        self.answers.lock().unwrap().push_back((status, location.to_owned(), body));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

async fn answer(State(fake): State<Fake>, request: Incoming) -> Answer {
    let token = request.headers().get(AUTHORIZATION).is_some();
    let (method, target) = (request.method().to_string(), request.uri().to_string());
    let body = axum::body::to_bytes(request.into_body(), 4096).await.unwrap();
    let body = String::from_utf8_lossy(&body).into_owned();
    fake.asked.lock().unwrap().push(format!("{method} {target} token={token} {body}").trim_end().to_owned());
    let (status, location, body) = fake.answers.lock().unwrap().pop_front().expect("an answer is queued");
    let status = StatusCode::from_u16(status).unwrap();
    if location.is_empty() {
        (status, body).into_response()
    } else {
        (status, [(LOCATION, location)], body).into_response()
    }
}

const SET: &str = r#"{"action":"set","node":{"key":"/a"}}"#;

#[tokio::test]
async fn redirects_keep_method_and_body_and_strangers_get_no_token() {
    let (stop, leader, follower) = (Stop::new(), Fake::default(), Fake::default());
    let (leader_endpoint, endpoint) = (leader.start(&stop).await, follower.start(&stop).await);
    let keys = V2::new(&endpoint, Credentials::Bearer("secret".into()));
    follower.will_answer(301, "/v2/keys/a", "");
    follower.will_answer(307, &format!("{leader_endpoint}/keys/a"), "");
    leader.will_answer(201, "", SET);
    let change = KeyChange::Put { key: "//a".into(), value: r#"{"Id":"x"}"#.into() };
    keys.change(&[change]).await.pop().unwrap().unwrap();
    let body = "value=%7B%22Id%22%3A%22x%22%7D";
    assert_eq!(
        follower.asked(),
        [format!("PUT /v2/keys//a token=true {body}"), format!("PUT /v2/keys/a token=true {body}")]
    );
    assert_eq!(leader.asked(), [format!("PUT /v2/keys/a token=false {body}")]);

    for _ in 0..=REDIRECTS_MAX {
        follower.will_answer(307, "/v2/keys/a", "");
    }
    let circle = keys.change(&[KeyChange::Delete { key: "/a".into() }]).await.pop().unwrap();
    assert!(matches!(circle, Err(KeysError::Redirects { .. })));
    stop.request();
}

#[tokio::test]
async fn only_etcds_own_not_found_counts_as_empty() {
    let (stop, fake) = (Stop::new(), Fake::default());
    let keys = V2::new(&fake.start(&stop).await, Credentials::None);
    fake.will_answer(404, "", r#"{"errorCode":100,"message":"Key not found","cause":"/x","index":5}"#);
    assert_eq!(keys.list("/x").await.unwrap(), []);
    for (status, body) in [(404, "404 page not found"), (500, SET), (200, "<html>"), (404, r#"{"message":"no"}"#)] {
        fake.will_answer(status, "", body);
        assert!(keys.list("/x").await.is_err(), "{status} {body}");
    }
    fake.will_answer(404, "", r#"{"errorCode":100}"#);
    fake.will_answer(403, "", r#"{"errorCode":102,"message":"Not a file"}"#);
    let delete = || KeyChange::Delete { key: "/x y".into() };
    let outcomes = keys.change(&[delete(), delete()]).await;
    assert!(outcomes[0].is_ok() && outcomes[1].is_err(), "already gone is as good as deleted");
    assert!(fake.asked().last().unwrap().starts_with("DELETE /v2/keys/x%20y"));
    stop.request();
}

#[tokio::test]
async fn a_tree_is_read_to_its_leaves() {
    let (stop, fake) = (Stop::new(), Fake::default());
    let keys = V2::new(&fake.start(&stop).await, Credentials::None);
    fake.will_answer(
        200,
        "",
        r#"{"action":"get","node":{"key":"/r","dir":true,"nodes":[{"key":"/r/a","dir":true,"nodes":[
            {"key":"/r/a/backend","value":"b1"}]},{"key":"/r/empty","dir":true}]}}"#,
    );
    let entry = |key: &str, value: Option<&str>| Entry { key: key.into(), value: value.map(str::to_owned) };
    assert_eq!(keys.list("/r").await.unwrap(), [entry("/r/a/backend", Some("b1")), entry("/r/empty", None)]);
    assert_eq!(fake.asked(), ["GET /v2/keys/r?recursive=true token=false"]);
    stop.request();
}
