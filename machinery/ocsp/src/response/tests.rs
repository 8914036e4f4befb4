use super::*;
use crate::der::put;
use proptest::prelude::*;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SigningKey};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
/// ecdsa-with-SHA256.
const ALGORITHM: &[u8] = &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const GOOD: &[u8] = &[0x80, 0];

struct World {
    issuer: CertifiedIssuer<'static, KeyPair>,
    id: CertificateId,
    now: SystemTime,
}

/// What a response says.
struct Said<'a> {
    status: &'a [u8],
    from: SystemTime,
    until: Option<SystemTime>,
    signer: &'a KeyPair,
    /// Of the responder.
    key: &'a KeyPair,
    brings: Option<CertificateDer<'a>>,
}

fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl World {
    fn new() -> Self {
        let issuer = issuer();
        let leaf = CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let id = CertificateId::of(leaf.der(), issuer.der()).unwrap();
        Self { issuer, id, now: SystemTime::now() }
    }

    fn said(&self) -> Said<'_> {
        let (from, until) = (self.now - HOUR, Some(self.now + HOUR));
        Said { status: GOOD, from, until, signer: self.issuer.key(), key: self.issuer.key(), brings: None }
    }

    fn check(&self, bytes: &[u8]) -> Result<Answer, Unusable> {
        check(bytes, &self.id, self.issuer.der(), false, self.now)
    }

    fn answer(&self, said: &Said<'_>) -> Vec<u8> {
        let time = |at: SystemTime| {
            let at = jiff::Timestamp::try_from(at).unwrap();
            put(GENERALIZED_TIME, &[at.strftime("%Y%m%d%H%M%SZ").to_string().as_bytes()])
        };
        let CertificateId { issuer_name_hash, issuer_key_hash, serial } = &self.id;
        let hashes = [put(OCTET_STRING, &[issuer_name_hash]), put(OCTET_STRING, &[issuer_key_hash])].concat();
        let about = put(SEQUENCE, &[SHA1, &hashes, &put(INTEGER, &[serial])]);
        let until = said.until.map(|until| put(tagged(0), &[&time(until)])).unwrap_or_default();
        let one = put(SEQUENCE, &[&about, said.status, &time(said.from), &until]);
        let key = said.key.public_key_raw();
        let responder = put(tagged(2), &[&put(OCTET_STRING, &[&Sha1::digest(key)])]);
        let data = put(SEQUENCE, &[&responder, &time(self.now), &put(SEQUENCE, &[&one])]);
        let signature = put(BIT_STRING, &[&[0], &said.signer.sign(&data).unwrap()]);
        let brings = said.brings.as_ref().map(|der| put(tagged(0), &[&put(SEQUENCE, &[der])])).unwrap_or_default();
        let basic = put(SEQUENCE, &[&data, ALGORITHM, &signature, &brings]);
        let inner = put(SEQUENCE, &[&put(OBJECT, &[BASIC]), &put(OCTET_STRING, &[&basic])]);
        put(SEQUENCE, &[&put(ENUMERATED, &[&[0]]), &put(tagged(0), &[&inner])])
    }
}

/// Of somebody who may sign for the issuer, or may not.
fn delegate(
    issuer: &CertifiedIssuer<'static, KeyPair>,
    usages: Vec<ExtendedKeyUsagePurpose>,
) -> (KeyPair, rcgen::Certificate) {
    let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::new(Vec::new()).unwrap());
    params.extended_key_usages = usages;
    let certificate = params.signed_by(&key, issuer).unwrap();
    (key, certificate)
}

#[test]
fn an_answer_of_the_issuer_is_believed_while_it_holds() {
    let world = World::new();
    let answer = world.check(&world.answer(&world.said())).unwrap();
    assert!(!answer.is_revoked && answer.until > world.now);
    let revoked = put(tagged(1), &[&put(GENERALIZED_TIME, &[b"20200101000000Z"])]);
    assert!(world.check(&world.answer(&Said { status: &revoked, ..world.said() })).unwrap().is_revoked);
    let endless = world.check(&world.answer(&Said { until: None, ..world.said() })).unwrap();
    assert_eq!(endless.until, endless.this_update + ANSWER_LIFETIME);

    let wrong = |said: Said<'_>| world.check(&world.answer(&said)).unwrap_err();
    assert_eq!(wrong(Said { status: &[0x82, 0], ..world.said() }), Unusable::Unknown);
    assert_eq!(wrong(Said { from: world.now + HOUR, ..world.said() }), Unusable::NotYet);
    assert_eq!(wrong(Said { until: Some(world.now - HOUR / 2), ..world.said() }), Unusable::Over);
    assert_eq!(world.check(&[0x30, 3, 0x0a, 1, 3]), Err(Unusable::Failed(3)));
    let other = World { id: CertificateId { serial: vec![1, 2, 3], ..world.id.clone() }, ..World::new() };
    assert_eq!(world.check(&other.answer(&other.said())), Err(Unusable::OtherCertificate));
}

#[test]
fn nobody_signs_but_the_issuer_and_whom_it_named() {
    let (world, usage) = (World::new(), ExtendedKeyUsagePurpose::OcspSigning);
    let stranger = KeyPair::generate().unwrap();
    let forged = Said { signer: &stranger, ..world.said() };
    assert_eq!(world.check(&world.answer(&forged)), Err(Unusable::Signature));
    let unskipped = world.answer(&Said { signer: &stranger, key: &stranger, ..world.said() });
    assert_eq!(world.check(&unskipped), Err(Unusable::Signer));
    assert!(check(&unskipped, &world.id, world.issuer.der(), true, world.now).is_ok());

    let by = |issuer, usages| {
        let (key, certificate) = delegate(issuer, usages);
        let brings = Some(certificate.der().clone());
        world.check(&world.answer(&Said { signer: &key, key: &key, brings, ..world.said() }))
    };
    assert!(by(&world.issuer, vec![usage.clone()]).is_ok());
    assert_eq!(by(&world.issuer, vec![ExtendedKeyUsagePurpose::ServerAuth]), Err(Unusable::Signer));
    assert_eq!(by(&issuer(), vec![usage]), Err(Unusable::Signer));
}

#[test]
fn a_request_names_the_certificate_in_hashes() {
    let world = World::new();
    let request = world.id.request();
    let mut inner = Reader::new(&request);
    for _ in 0..5 {
        inner = inner.inside(SEQUENCE).unwrap();
    }
    assert_eq!(inner.next().unwrap().whole, SHA1);
    assert_eq!(inner.next().unwrap().content, world.id.issuer_name_hash);
}

proptest! {
    #[test]
    fn a_spoiled_answer_is_not_believed_and_does_no_harm(place in any::<prop::sample::Index>(), bit in 0u8..8, cut in any::<bool>()) {
        let world = World::new();
        let whole = world.answer(&world.said());
        let mut bytes = whole.clone();
        let place = place.index(bytes.len());
        if cut { bytes.truncate(place) } else { bytes[place] ^= 1 << bit }
        prop_assert!(world.check(&bytes).is_err());
    }
}
