//! What certificate authorities are answered.

use crate::harness::{Edge, Server, eventually, name};
use http::Method;

const PATH: &str = "/.well-known/acme-challenge/t";
const KEY: &str = "/roadstead/acme/challenges/http/t";

#[tokio::test]
async fn a_challenge_is_answered_before_any_route_and_only_while_it_is_known() {
    let edge = Edge::start().await;
    let server = Server::named("app").await;
    edge.route("r", "a.example", &[&server]).await;
    assert_eq!(name(&edge.get("a.example", PATH).await), "app", "a token that is not known is the app's path");

    edge.store.change(&[(KEY, Some("t.thumb"))]).await;
    let answered = eventually("the challenge is answered", || async {
        let answer = edge.get("a.example", PATH).await;
        (answer.body().as_ref() == b"t.thumb").then_some(answer)
    });
    assert_eq!(answered.await.status(), 200);
    // Whatever name it is asked under: the authority's is not in any route yet.
    assert_eq!(edge.get("nobody.example", PATH).await.body().as_ref(), b"t.thumb");
    let head = edge.call(Method::HEAD, "a.example", PATH, "").await;
    assert_eq!((head.status().as_u16(), head.body().len()), (200, 0));
    assert_eq!(name(&edge.call(Method::POST, "a.example", PATH, "body").await), "app");
    assert_eq!(name(&edge.get("a.example", "/.well-known/acme-challenge/other").await), "app");

    edge.store.change(&[(KEY, None)]).await;
    eventually("it is the app's path again", || async {
        (edge.get("a.example", PATH).await.body().as_ref() != b"t.thumb").then_some(())
    })
    .await;
}
