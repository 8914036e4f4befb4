//! Who may ask.

use super::{behind, field, get, nobody, one, serve, status, text};
use crate::harness::{Edge, Server, exchange, received};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::extract::Request;
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

fn basic(credentials: &str) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

#[tokio::test]
async fn passwords_of_every_kind_are_asked_for() {
    let bcrypt = format!("ann:{}", bcrypt::hash("secret", 4).unwrap());
    let users = [bcrypt.as_str(), "bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", "cy:{PLAIN}secret"];
    let settings = json!({ "Users": users, "Realm": "here", "UserHeader": "X-User", "RemoveCredentials": true });
    let (edge, _server) = behind(one("basicauth", settings)).await;
    let refused = get(&edge, "/", &[("X-User", "root")]).await;
    assert_eq!(refused.status(), 401);
    assert_eq!(field(&refused, "www-authenticate"), "Basic realm=\"here\", charset=\"UTF-8\"");
    for user in ["ann", "bob", "cy"] {
        // The second time a bcrypt password is remembered.
        for _ in 0..2 {
            let right = basic(&format!("{user}:secret"));
            let response = get(&edge, "/", &[("Authorization", &right), ("X-User", "root")]).await;
            assert_eq!(received(&response, "x-user"), [user]);
            assert!(received(&response, "authorization").is_empty());
        }
        for wrong in [format!("{user}:Secret"), format!("{user}:"), format!("{user}x:secret")] {
            assert_eq!(status(&edge, &[("Authorization", &basic(&wrong))]).await, 401, "{wrong}");
        }
    }
}

/// A body that follows a refused head is not taken for the next request.
#[tokio::test]
async fn a_connection_goes_on_after_a_refusal() {
    let (edge, _server) = behind(one("basicauth", json!({ "Users": ["cy:{PLAIN}a"] }))).await;
    let right = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nConnection: close\r\n\r\n", basic("cy:a"));
    let wrong = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    let answers = exchange(edge.address, &format!("{wrong}{right}")).await;
    assert!(answers.starts_with("HTTP/1.1 401 "), "{answers}");
    assert_eq!((answers.matches("HTTP/1.1 ").count(), answers.matches("HTTP/1.1 200 OK").count()), (2, 1), "{answers}");
    let head = exchange(edge.address, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 401 ") && head.ends_with("\r\n\r\n"), "{head}");
}

fn token(head: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(head), part(claims));
    let signature = sign(message.as_bytes());
    format!("Bearer {message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn tokens_pass_while_they_are_right_and_not_expired() {
    let secret = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = pair.public_key().as_der().unwrap();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----", STANDARD.encode(der.as_ref()));
    let keys = json!([
        { "Algorithm": "HS256", "Secret": STANDARD.encode([7; 32]) },
        { "Kid": "e", "Algorithm": "ES256", "PublicKey": pem },
    ]);
    let settings = json!({ "Keys": keys, "Issuers": ["us"], "ClaimHeaders": { "X-User": "sub" } });
    let (edge, _server) = behind(one("jwt", settings)).await;
    let hs = |message: &[u8]| hmac::sign(&secret, message).as_ref().to_vec();
    let es = |message: &[u8]| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let claims = |expires: u64| json!({ "iss": "us", "sub": "ann", "exp": expires });
    let (hs256, es256) = (json!({ "alg": "HS256" }), json!({ "alg": "ES256", "kid": "e" }));

    for good in [token(&hs256, &claims(now + 60), hs), token(&es256, &claims(now + 60), es)] {
        let response = get(&edge, "/", &[("Authorization", &good), ("X-User", "root")]).await;
        assert_eq!(received(&response, "x-user"), ["ann"]);
    }
    for (bad, reason) in [
        (token(&hs256, &claims(now + 60), es), "signature"),
        (token(&es256, &claims(now + 60), hs), "signature"),
        (token(&hs256, &claims(now - 60), hs), "expired"),
        (token(&json!({ "alg": "none" }), &claims(now + 60), |_| Vec::new()), "signature"),
        ("Bearer nonsense".to_owned(), "cannot be read"),
    ] {
        let refused = get(&edge, "/", &[("Authorization", &bad)]).await;
        assert_eq!(refused.status(), 401, "{bad}");
        assert!(field(&refused, "www-authenticate").contains(reason), "{reason}: {refused:?}");
    }
    assert_eq!(field(&get(&edge, "/", &[]).await, "www-authenticate"), "Bearer");
}

/// Lets those pass who say `please`, and tells who they are.
async fn authority() -> Server {
    let router = axum::Router::new().fallback(|request: Request| async move {
        let field = |name: &str| request.headers().get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        let asked = format!("{} {}", field("x-forwarded-method"), field("x-forwarded-uri"));
        match field("x-word").as_str() {
            "please" => ([("x-user", "ann"), ("x-asked", &asked)], "").into_response(),
            _ => (http::StatusCode::FORBIDDEN, [("x-why", "say please")], "no").into_response(),
        }
    });
    Server::routing(router).await
}

#[tokio::test]
async fn another_service_says_who_may_pass() {
    let authority = authority().await;
    let settings = |address: String| {
        one("forwardauth", json!({ "Address": address, "Timeout": "2s", "AuthResponseHeaders": ["X-User", "X-Asked"] }))
    };
    let (edge, server) = behind(settings(format!("{}/check", authority.url()))).await;
    let allowed = super::ask(&edge, Method::PUT, "/x?y", &[("X-Word", "please"), ("X-User", "root")]).await;
    assert_eq!(received(&allowed, "x-user"), ["ann"]);
    assert_eq!(received(&allowed, "x-asked"), ["PUT /x?y"]);
    let denied = get(&edge, "/", &[("X-User", "root")]).await;
    assert_eq!((denied.status().as_u16(), field(&denied, "x-why"), text(&denied)), (403, "say please", "no"));

    serve(&edge, &[&server], &settings(format!("http://{}/", nobody().await))).await;
    assert_eq!(status(&edge, &[("X-Word", "please")]).await, 503);
    let insecure = settings(authority.url().replace("http://", "https://"));
    serve(&edge, &[&server], &insecure).await;
    assert_eq!(status(&edge, &[("X-Word", "please")]).await, 503, "it is not who it should be");
    serve(&edge, &[&server], &settings(Server::black_hole().await.url())).await;
    assert_eq!(status(&edge, &[("X-Word", "please")]).await, 503);
}

#[tokio::test]
async fn addresses_are_let_in_or_kept_out() {
    let (edge, server) = behind(one("iplist", json!({ "Deny": ["127.0.0.0/8"] }))).await;
    assert_eq!(status(&edge, &[("X-Forwarded-For", "10.0.0.1")]).await, 403, "hearsay does not count");
    serve(&edge, &[&server], &one("iplist", json!({ "Allow": ["127.0.0.1"] }))).await;
    assert_eq!(status(&edge, &[]).await, 200);
}

#[tokio::test]
async fn vulcands_auth_answers_403() {
    let (edge, _server) = behind(one("auth", json!({ "Username": "ann", "Password": "secret" }))).await;
    assert_eq!(status(&edge, &[]).await, 403);
    assert_eq!(status(&edge, &[("Authorization", &basic("ann:secret"))]).await, 200);
}

/// A redirect, an authentication or a limit needs no server.
#[tokio::test]
async fn middlewares_are_asked_before_there_is_a_server() {
    let edge = Edge::start().await;
    serve(&edge, &[], &one("auth", json!({ "Username": "ann", "Password": "secret" }))).await;
    assert_eq!(status(&edge, &[]).await, 403);
    assert_eq!(status(&edge, &[("Authorization", &basic("ann:secret"))]).await, 503);
}
