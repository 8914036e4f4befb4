use super::*;
use crate::{Request, Validity};
use proptest::prelude::*;
use std::os::unix::fs::PermissionsExt;
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;
use x509_parser::extensions::GeneralName;

static CA: LazyLock<Ca> = LazyLock::new(|| Ca::create("test").unwrap());

fn subject(role: Role, node: &str) -> Subject {
    Subject { role, node: node.to_owned(), addresses: vec!["10.1.2.3".parse().unwrap(), "fd00::3".parse().unwrap()] }
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()
}

#[test]
fn a_certificate_names_its_role_its_node_and_its_addresses() {
    let request = Request::generate().unwrap();
    let certificate = der(&CA.sign(&request.csr_pem, &subject(Role::Edge, "node-3")).unwrap());
    assert_eq!(Peer::of(&certificate), Ok(Peer { role: Role::Edge, node: "node-3".into() }));

    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    let names = &parsed.subject_alternative_name().unwrap().unwrap().value.general_names;
    for name in ["node-3", "localhost"] {
        assert!(names.contains(&GeneralName::DNSName(name)), "{name}");
    }
    for address in ["10.1.2.3", "127.0.0.1", "fd00::3", "::1"] {
        let bytes = match address.parse().unwrap() {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        assert!(names.contains(&GeneralName::IPAddress(&bytes)), "{address}");
    }
    assert!(!parsed.is_ca());
}

#[test]
fn a_certificate_is_good_for_a_day_and_counts_from_a_little_before() {
    let request = Request::generate().unwrap();
    let validity = Validity::of_pem(&CA.sign(&request.csr_pem, &subject(Role::Node, "n")).unwrap()).unwrap();
    let now = SystemTime::now();
    let left = validity.not_after.duration_since(now).unwrap();
    assert!(left <= CERTIFICATE_LIFETIME && left > CERTIFICATE_LIFETIME - Duration::from_secs(60), "{left:?}");
    assert!(validity.not_before < now - Duration::from_secs(60));
    assert_ne!(validity.not_before, UNIX_EPOCH);
}

#[test]
fn the_authority_decides_the_names_whatever_the_request_asks_for() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut asked = CertificateParams::new(vec!["controller.example".to_owned()]).unwrap();
    asked.distinguished_name.push(DnType::CommonName, "admin");
    asked.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let csr = asked.serialize_request(&key).unwrap().pem().unwrap();
    let certificate = der(&CA.sign(&csr, &subject(Role::Edge, "n")).unwrap());
    assert_eq!(Peer::of(&certificate).unwrap().role, Role::Edge);
    let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
    assert!(!parsed.is_ca());
    assert!(!parsed.subject().to_string().contains("admin"));
}

#[test]
fn two_certificates_of_one_key_have_different_serial_numbers() {
    let request = Request::generate().unwrap();
    let again = Request::renewing(&request.key_pem).unwrap();
    let serial = |csr: &str| {
        let certificate = der(&CA.sign(csr, &subject(Role::Node, "n")).unwrap());
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).unwrap();
        parsed.raw_serial_as_string()
    };
    assert_ne!(serial(&request.csr_pem), serial(&again.csr_pem));
}

#[test]
fn what_is_not_a_request_for_a_p256_key_is_refused() {
    let edge = subject(Role::Edge, "n");
    let request = Request::generate().unwrap();
    for (bad, what) in [
        ("", "empty"),
        (CA.certificate_pem(), "a certificate"),
        (&request.key_pem, "a key"),
        (&request.csr_pem[..200], "cut"),
        (&format!("{}{}", request.csr_pem, "\n".repeat(CSR_BYTES_MAX)), "too long"),
    ] {
        assert!(matches!(CA.sign(bad, &edge), Err(CaError::Request)), "{what}");
    }
    let p384 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let csr = CertificateParams::default().serialize_request(&p384).unwrap().pem().unwrap();
    assert!(matches!(CA.sign(&csr, &edge), Err(CaError::KeyKind)));
    for name in ["", "a/controller", "../n", "a\0"] {
        let refused = CA.sign(&request.csr_pem, &subject(Role::Edge, name));
        assert!(matches!(refused, Err(CaError::NodeName { .. })), "{name:?}");
    }
}

#[test]
fn an_authority_is_kept_and_handed_on_with_its_key() {
    let directory = tempfile::tempdir().unwrap();
    CA.save(directory.path()).unwrap();
    let mode = std::fs::metadata(directory.path().join("ca.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept = Ca::load(directory.path()).unwrap();
    assert_eq!(kept.fingerprint(), CA.fingerprint());
    let handed = Ca::from_pem(kept.certificate_pem(), kept.key_pem()).unwrap();
    let request = Request::generate().unwrap();
    handed.sign(&request.csr_pem, &subject(Role::Store, "n")).unwrap();
    assert!(!format!("{kept:?}").contains("PRIVATE"));

    let other = Ca::create("other").unwrap();
    assert!(matches!(Ca::from_pem(CA.certificate_pem(), other.key_pem()), Err(CaError::Mismatch)));
    let leaf = CA.sign(&request.csr_pem, &subject(Role::Store, "n")).unwrap();
    assert!(matches!(Ca::from_pem(&leaf, &request.key_pem), Err(CaError::Certificate)));
    assert!(matches!(Ca::create(""), Err(CaError::ClusterName { .. })));
    assert!(matches!(Ca::create(&"n".repeat(65)), Err(CaError::ClusterName { .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Requests come over the network from whoever has a join token.
    #[test]
    fn no_damaged_request_panics(at in 0usize..1000, to in any::<u8>()) {
        let good = pem_bytes(&Request::generate().unwrap().csr_pem);
        let mut bad = good.clone();
        let at = at % bad.len();
        bad[at] = to;
        if let Ok(signed) = CA.sign(&pem_text(&bad), &subject(Role::Edge, "n")) {
            let key = p256_key(&good).unwrap();
            prop_assert!(contains(&der(&signed), key), "only the key that signed the request is certified");
        }
    }

    /// Certificates come over the network from whoever completes a handshake.
    #[test]
    fn no_damaged_certificate_panics(at in 0usize..1000, to in any::<u8>()) {
        let request = Request::generate().unwrap();
        let mut bytes = der(&CA.sign(&request.csr_pem, &subject(Role::Edge, "n")).unwrap()).to_vec();
        let at = at % bytes.len();
        bytes[at] = to;
        let certificate = CertificateDer::from(bytes);
        let _named = Peer::of(&certificate);
        let _dated = Validity::of(&certificate);
    }
}

/// The uncompressed point in a request (SEC 1, section 2.3.3).
fn p256_key(request: &[u8]) -> Option<&[u8]> {
    let begin = request.windows(4).position(|bytes| bytes == [0x03, 0x42, 0x00, 0x04])?;
    request.get(begin + 3..begin + 3 + 65)
}

fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

fn pem_bytes(pem: &str) -> Vec<u8> {
    use base64::Engine;
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

fn pem_text(bytes: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(bytes);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
}
