//! A machine that has no certificate knows the cluster by its authority's digest.

use crate::cluster::{Cluster, Face, ask, bearer, good_today};
use identity::{ClientCertificates, JoinToken, Role, Tls, Token, Verifier, pinned_client};
use web::Client;

#[tokio::test]
async fn a_joining_machine_trusts_the_authority_its_token_pins_and_no_other() {
    let cluster = Cluster::new("one");
    let token = Token::generate().unwrap();
    let verifier = Verifier::Tokens(vec![token.accepted_as(Role::Node)]);
    let tls = cluster.tls(Role::Controller, "a");
    let face = Face::with(&tls, ClientCertificates::Optional, verifier, "127.0.0.1:0").await;
    let join = JoinToken::generate(cluster.ca.fingerprint(), vec![face.address.to_string()]).unwrap();
    let join: JoinToken = join.to_string().parse().unwrap();

    let joining = |fingerprint: &str| Client::new(bearer(&token)).with_tls(pinned_client(fingerprint));
    let url = format!("https://{}/", join.addresses[0]);
    assert_eq!(ask(&joining(&join.ca_fingerprint), &url).await.unwrap(), "node");
    assert_eq!(ask(&joining(&join.ca_fingerprint.to_uppercase()), &url).await.unwrap(), "node");
    for other in [&Cluster::new("one").ca.fingerprint(), "", "no digest"] {
        let refused = ask(&joining(other), &url).await.unwrap_err();
        assert!(refused.contains("authority is not the one"), "{refused}");
    }
}

#[tokio::test]
async fn showing_the_right_authority_is_not_enough() {
    let [cluster, impostor] = ["one", "one"].map(Cluster::new);
    let files = impostor.certify(Role::Controller, "a", good_today());
    // The authority's certificate is public: an impostor can show it beside a certificate it did not sign.
    std::fs::write(&files.ca, cluster.ca.certificate_pem()).unwrap();
    let tls = Tls::open(&impostor.identity_dir("a"), Role::Controller).unwrap();
    let face = Face::start(&tls, ClientCertificates::Optional).await;
    let joining = Client::default().with_tls(pinned_client(&cluster.ca.fingerprint()));
    let refused = ask(&joining, &face.url()).await.unwrap_err();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
}

#[tokio::test]
async fn a_joining_machine_speaks_to_controllers_only() {
    let cluster = Cluster::new("one");
    let face = Face::start(&cluster.tls(Role::Edge, "a"), ClientCertificates::Optional).await;
    let joining = Client::default().with_tls(pinned_client(&cluster.ca.fingerprint()));
    let refused = ask(&joining, &face.url()).await.unwrap_err();
    assert!(refused.contains("the server is a/edge, not a controller"), "{refused}");
}
