//! Certificates that are not accepted, in either direction.

use crate::cluster::{Cluster, Face, ask, client, good_today};
use identity::{
    CertificateFiles, ClientCertificates, LATE_RENEWAL_MAX, Role, Tls, TlsError, Validity, Verifier, pinned_client,
};
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, SanType};
use std::time::{Duration, SystemTime};
use web::Client;

fn ended_an_hour_ago() -> Validity {
    ended(Duration::from_secs(3600))
}

fn ended(ago: Duration) -> Validity {
    let not_after = SystemTime::now() - ago;
    Validity { not_before: not_after - Duration::from_secs(3600), not_after }
}

fn begins_in_an_hour() -> Validity {
    let now = SystemTime::now();
    Validity { not_before: now + Duration::from_secs(3600), not_after: now + Duration::from_secs(7200) }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused_where_one_is_required() {
    let cluster = Cluster::new("one");
    let face = Face::start(&cluster.tls(Role::Controller, "a"), ClientCertificates::Required).await;
    let nobody = Client::default().with_tls(pinned_client(&cluster.ca.fingerprint()));
    let refused = ask(&nobody, &face.url()).await.unwrap_err();
    assert!(refused.contains("CertificateRequired"), "{refused}");
}

#[tokio::test]
async fn certificates_out_of_their_time_are_refused_on_both_sides() {
    let cluster = Cluster::new("one");
    let face = Face::start(&cluster.tls(Role::Controller, "a"), ClientCertificates::Required).await;
    let expired = client(&cluster.tls_within(Role::Edge, "b", ended_an_hour_ago()), Role::Controller);
    let refused = ask(&expired, &face.url()).await.unwrap_err();
    assert!(refused.contains("CertificateExpired"), "{refused}");
    let early = client(&cluster.tls_within(Role::Edge, "c", begins_in_an_hour()), Role::Controller);
    ask(&early, &face.url()).await.unwrap_err();

    let expired = cluster.tls_within(Role::Controller, "d", ended_an_hour_ago());
    let face = Face::start(&expired, ClientCertificates::Required).await;
    let edge = client(&cluster.tls(Role::Edge, "e"), Role::Controller);
    let refused = ask(&edge, &face.url()).await.unwrap_err();
    assert!(refused.contains("expired"), "{refused}");
}

#[tokio::test]
async fn a_machine_that_was_off_may_renew_for_a_while_and_no_other_role_may() {
    let [cluster, other] = ["one", "one"].map(Cluster::new);
    let face = Face::start(&cluster.tls(Role::Controller, "a"), ClientCertificates::Required).await;
    let a_while = LATE_RENEWAL_MAX - Duration::from_secs(60);
    let ask_as = async |role, validity| {
        let tls = cluster.tls_within(role, "b", validity);
        ask(&client(&tls, Role::Controller), &face.url()).await
    };
    assert_eq!(ask_as(Role::Node, ended(a_while)).await.unwrap(), "b/node");
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Node) {
        let refused = ask_as(role, ended_an_hour_ago()).await.unwrap_err();
        assert!(refused.contains("CertificateExpired"), "{role}: {refused}");
    }
    let too_late = ended(LATE_RENEWAL_MAX + Duration::from_secs(60));
    assert!(ask_as(Role::Node, too_late).await.unwrap_err().contains("CertificateExpired"));
    ask_as(Role::Node, begins_in_an_hour()).await.unwrap_err();

    // Shows the other cluster's late certificate, and trusts this one.
    let mixed = other.certify(Role::Node, "b", ended(a_while));
    std::fs::write(&mixed.ca, cluster.ca.certificate_pem()).unwrap();
    let stranger = client(&Tls::open(&other.identity_dir("b"), Role::Node).unwrap(), Role::Controller);
    ask(&stranger, &face.url()).await.unwrap_err();

    let late_server = cluster.tls_within(Role::Node, "c", ended_an_hour_ago());
    let face = Face::start(&late_server, ClientCertificates::Required).await;
    let refused = ask(&client(&cluster.tls(Role::Edge, "d"), Role::Node), &face.url()).await.unwrap_err();
    assert!(refused.contains("expired"), "{refused}");
}

#[tokio::test]
async fn another_clusters_certificates_are_refused_on_both_sides() {
    let [cluster, other] = ["one", "one"].map(Cluster::new);
    let face = Face::start(&cluster.tls(Role::Controller, "a"), ClientCertificates::Optional).await;
    // Shows the other cluster's certificate, and trusts this one.
    let mixed = other.certify(Role::Edge, "b", good_today());
    std::fs::write(&mixed.ca, cluster.ca.certificate_pem()).unwrap();
    let stranger = client(&Tls::open(&other.identity_dir("b"), Role::Edge).unwrap(), Role::Controller);
    ask(&stranger, &face.url()).await.unwrap_err();

    let distrustful = client(&other.tls(Role::Edge, "c"), Role::Controller);
    let refused = ask(&distrustful, &face.url()).await.unwrap_err();
    assert!(refused.contains("invalid peer certificate"), "{refused}");
}

#[tokio::test]
async fn an_edge_cannot_pose_as_a_controller() {
    let cluster = Cluster::new("one");
    let face = Face::start(&cluster.tls(Role::Edge, "a"), ClientCertificates::Required).await;
    let agent = cluster.tls(Role::Agent, "b");
    let refused = ask(&client(&agent, Role::Controller), &face.url()).await.unwrap_err();
    assert!(refused.contains("the server is a/edge, not a controller"), "{refused}");
    let any_role = Client::default().with_tls(agent.client(None));
    assert_eq!(ask(&any_role, &face.url()).await.unwrap(), "b/agent");
}

#[tokio::test]
async fn a_server_at_an_address_its_certificate_does_not_bear_is_refused() {
    let cluster = Cluster::new("one");
    let verifier = Verifier::Tokens(Vec::new());
    let tls = cluster.tls(Role::Controller, "a");
    let face = Face::with(&tls, ClientCertificates::Required, verifier, "127.0.0.2:0").await;
    let agent = client(&cluster.tls(Role::Agent, "b"), Role::Controller);
    let refused = ask(&agent, &face.url()).await.unwrap_err();
    assert!(refused.contains("not valid for name"), "{refused}");
}

#[tokio::test]
async fn the_gate_refuses_a_certificate_that_names_no_known_role() {
    let cluster = Cluster::new("one");
    let face = Face::start(&cluster.tls(Role::Controller, "a"), ClientCertificates::Required).await;
    let files = CertificateFiles::of(&cluster.identity_dir("b"), Role::Agent);
    let agent = cluster.tls(Role::Agent, "b");
    for (name, uris) in [
        ("wizard", &["roadstead://b/wizard"][..]),
        ("agent", &[]),
        ("admin", &["roadstead://b/agent"]),
        ("agent", &["roadstead://b/agent", "roadstead://b/admin"]),
    ] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        let ca_key = KeyPair::from_pem(cluster.ca.key_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(cluster.ca.certificate_pem(), ca_key).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        // A role's own file must name the role: such a certificate is used by hand only.
        files.install(cluster.ca.certificate_pem(), &certificate.pem(), &key.serialize_pem()).unwrap();
        assert!(matches!(Tls::open(&cluster.identity_dir("b"), Role::Agent), Err(TlsError::Name { .. })));
        let config = rustls_client(&certificate, &key, &cluster);
        let refused = ask(&Client::default().with_tls(config), &face.url()).await.unwrap_err();
        assert!(refused.contains("403"), "{name} {uris:?}: {refused}");
    }
    assert_eq!(
        ask(&client(&agent, Role::Controller), &face.url()).await.unwrap(),
        "b/agent",
        "the old one stays in use"
    );
}

#[test]
fn a_role_does_not_take_anothers_certificate_for_its_own() {
    let cluster = Cluster::new("one");
    let edge = cluster.certify(Role::Edge, "a", good_today());
    let controller = CertificateFiles::of(&cluster.identity_dir("a"), Role::Controller);
    std::fs::copy(&edge.certificate, &controller.certificate).unwrap();
    std::fs::copy(&edge.key, &controller.key).unwrap();
    let refused = Tls::open(&cluster.identity_dir("a"), Role::Controller);
    assert!(matches!(refused, Err(TlsError::WrongRole { .. })), "{refused:?}");
}

/// A client that shows any certificate and trusts the cluster's authority.
fn rustls_client(
    certificate: &rcgen::Certificate,
    key: &KeyPair,
    cluster: &Cluster,
) -> std::sync::Arc<rustls::ClientConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(cluster.ca.certificate_pem().as_bytes()).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = config.with_root_certificates(roots).with_client_auth_cert(vec![certificate.der().clone()], key);
    std::sync::Arc::new(config.unwrap())
}
