//! Certificates that are revoked before their time.

use crate::cluster::{Cluster, DEADLINE, Face, ask, client, good_today};
use crate::tunnel::{Tunnel, exchange, listener, pass, reverser};
use axum::Router;
use axum::routing::get;
use identity::{ClientCertificates, RevocationError, Role, Tls};
use std::time::SystemTime;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn a_removed_machines_certificates_are_refused_by_a_face_at_once_and_by_clients() {
    let cluster = Cluster::new("one");
    let server = cluster.tls(Role::Controller, "a");
    let (removed, stays) = (cluster.tls(Role::Agent, "b"), cluster.tls(Role::Agent, "c"));
    let face = Face::start(&server, ClientCertificates::Optional).await;
    for (tls, name) in [(&removed, "b/agent"), (&stays, "c/agent")] {
        assert_eq!(ask(&client(tls, Role::Controller), &face.url()).await.unwrap(), name);
    }
    cluster.revoke(&server, &[removed.files()]);
    let refused = ask(&client(&removed, Role::Controller), &face.url()).await.unwrap_err();
    assert!(refused.contains("Revoked"), "{refused}");
    assert_eq!(ask(&client(&stays, Role::Controller), &face.url()).await.unwrap(), "c/agent");
    // A new certificate of the same machine was given after it came again.
    let again = cluster.tls(Role::Agent, "b");
    assert_eq!(ask(&client(&again, Role::Controller), &face.url()).await.unwrap(), "b/agent");

    // It cannot pose as a server, either.
    cluster.revoke(&stays, &[server.files()]);
    let refused = ask(&client(&stays, Role::Controller), &face.url()).await.unwrap_err();
    assert!(refused.contains("Revoked"), "{refused}");
}

#[tokio::test]
async fn an_open_connection_of_a_removed_machine_ends() {
    let cluster = Cluster::new("one");
    let (server, removed) = (cluster.tls(Role::Controller, "a"), cluster.tls(Role::Agent, "b"));
    let begun = std::sync::Arc::new(tokio::sync::Notify::new());
    let waiting = begun.clone();
    let handler = get(move || {
        waiting.notify_one();
        std::future::pending::<()>()
    });
    let router = Router::new().route("/", handler);
    let face = Face::serving(&server, ClientCertificates::Required, router, "127.0.0.1:0").await;
    let (asking, url) = (client(&removed, Role::Controller), face.url());
    // It would be asked in vain for ever.
    let asked = tokio::spawn(async move { ask(&asking, &url).await });
    tokio::time::timeout(DEADLINE, begun.notified()).await.expect("the request is under way");
    cluster.revoke(&server, &[removed.files()]);
    tokio::time::timeout(DEADLINE, asked).await.expect("it ends in time").unwrap().unwrap_err();
}

#[tokio::test]
async fn a_removed_machine_gets_nothing_through_the_tunnel_and_open_streams_are_cut() {
    let cluster = Cluster::new("one");
    let server = cluster.tls(Role::Node, "a");
    let (removed, stays) = (cluster.tls(Role::Registry, "b"), cluster.tls(Role::Registry, "c"));
    let target = listener().await;
    let open = Tunnel::open(&server, &removed, Role::Node, target.local_addr().unwrap()).await;
    let mut stream = TcpStream::connect(open.entrance).await.unwrap();
    let (mut inner, _) = target.accept().await.unwrap();
    pass(&mut stream, &mut inner).await;

    cluster.revoke(&server, &[removed.files()]);
    for end in [&mut stream, &mut inner] {
        let end = tokio::time::timeout(DEADLINE, end.read(&mut [0])).await.expect("cut in time");
        end.expect_err("a cut stream does not look complete");
    }
    let target = reverser().await;
    let refused = Tunnel::open(&server, &removed, Role::Node, target).await;
    exchange(refused.entrance, b"abc").await.unwrap_err();
    let allowed = Tunnel::open(&server, &stays, Role::Node, target).await;
    assert_eq!(exchange(allowed.entrance, b"abc").await.unwrap(), b"cba");
}

#[tokio::test]
async fn the_last_known_list_holds_after_a_restart_and_past_its_date() {
    let cluster = Cluster::new("one");
    let (server, removed) = (cluster.tls(Role::Controller, "a"), cluster.tls(Role::Agent, "b"));
    let pem = std::fs::read_to_string(&removed.files().certificate).unwrap();
    let long_ago = SystemTime::now() - 2 * identity::LIST_LIFETIME;
    let list = cluster.ca.revoke(&[identity::Issued::of_pem(&pem).unwrap()], 1, long_ago).unwrap();
    server.install_revoked(&list).unwrap();
    assert!(!server.install_revoked(&list).unwrap(), "it is there already");
    drop(server);
    let server = Tls::open(&cluster.identity_dir("a"), Role::Controller).unwrap();
    let face = Face::start(&server, ClientCertificates::Required).await;
    let refused = ask(&client(&removed, Role::Controller), &face.url()).await.unwrap_err();
    assert!(refused.contains("Revoked"), "{refused}");
    assert_eq!(ask(&client(&cluster.tls(Role::Edge, "c"), Role::Controller), &face.url()).await.unwrap(), "c/edge");
}

#[tokio::test]
async fn another_authoritys_list_revokes_nobody_and_is_not_installed() {
    let [cluster, other] = ["one", "one"].map(Cluster::new);
    let (server, agent) = (cluster.tls(Role::Controller, "a"), cluster.tls(Role::Agent, "b"));
    let pem = std::fs::read_to_string(&cluster.certify(Role::Agent, "b", good_today()).certificate).unwrap();
    for foreign in [&other, &Cluster::new("two")] {
        let list = foreign.ca.revoke(&[identity::Issued::of_pem(&pem).unwrap()], 9, SystemTime::now()).unwrap();
        assert!(matches!(server.install_revoked(&list), Err(RevocationError::Authority)));
        // One that lies there, left by another cluster or torn, shuts nobody out.
        for bytes in [list.der(), &list.der()[..40]] {
            std::fs::write(&server.files().revoked, bytes).unwrap();
            let server = Tls::open(&cluster.identity_dir("a"), Role::Controller).unwrap();
            let face = Face::start(&server, ClientCertificates::Required).await;
            assert_eq!(ask(&client(&agent, Role::Controller), &face.url()).await.unwrap(), "b/agent");
        }
    }
}
