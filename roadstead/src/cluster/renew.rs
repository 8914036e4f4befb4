//! Certificates live for a day; half-way through, the supervisor replaces them: a machine that keeps the state signs its own,
//! any other asks a controller, as its `node`. The processes read them when they are there: nothing is restarted.

use super::{Membership, Others, credentials};
use anyhow::bail;
use controller::cluster::{CertificatesAnswer, CertificatesRequest};
use http::Method;
use identity::{Ca, Renewal, Role, Subject, Tls};
use lifecycle::ErrorChain;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime};
use web::{Client, Credentials};

/// Whether it is time is looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);

pub async fn run(data: &Path, membership: &Membership) {
    loop {
        match renew_if_due(data, membership).await {
            Ok(false) => {}
            Ok(true) => tracing::info!("the certificates of this machine are renewed"),
            Err(error) => tracing::warn!(error = %ErrorChain(error.as_ref()), "renew the certificates of this machine"),
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

async fn renew_if_due(data: &Path, membership: &Membership) -> anyhow::Result<bool> {
    if !is_due(data)? {
        return Ok(false);
    }
    if membership.keeps_state {
        sign_own(data, membership)?;
        return Ok(true);
    }
    ask_for_new(data).await?;
    Ok(true)
}

fn is_due(data: &Path) -> anyhow::Result<bool> {
    let validity = credentials::files(data, Role::Node).validity()?;
    Ok(!matches!(validity.renewal(SystemTime::now()), Renewal::At(_)))
}

/// A machine that has the authority's key asks nobody. Before anything is started: where every machine was off for longer
/// than certificates live, nobody would be there to ask.
pub fn before_start(data: &Path, membership: &Membership) -> anyhow::Result<()> {
    if membership.keeps_state && is_due(data)? {
        sign_own(data, membership)?;
    }
    Ok(())
}

/// The machine's own certificate last: it says whether all are done.
fn sign_own(data: &Path, membership: &Membership) -> anyhow::Result<()> {
    let ca = Ca::load(&credentials::directory(data))?;
    for role in credentials::roles(true).filter(|role| *role != Role::Node).chain([Role::Node]) {
        let subject = Subject { role, node: membership.name.clone(), addresses: vec![membership.address] };
        credentials::files(data, role).renew_by(&ca, &subject)?;
    }
    Ok(())
}

async fn ask_for_new(data: &Path) -> anyhow::Result<()> {
    let mut csrs = BTreeMap::new();
    for role in credentials::roles(false) {
        csrs.insert(role, credentials::files(data, role).renewal_request()?.csr_pem);
    }
    let request = CertificatesRequest { csrs };
    let tls = Tls::open(&credentials::directory(data), Role::Node)?;
    let client = Client::new(Credentials::None).with_tls(tls.client(Some(Role::Controller)));
    let mut refused = Vec::new();
    for controller in Others::read(&Others::path(data))?.controllers {
        let url = format!("{controller}/v1/certificates");
        match client.send_json::<CertificatesAnswer>(Method::POST, &url, &request).await {
            Ok(answer) => {
                let own_last = answer.certificates.iter().filter(|(role, _)| **role != Role::Node);
                for (role, certificate) in own_last.chain(answer.certificates.get_key_value(&Role::Node)) {
                    credentials::files(data, *role).renew(certificate)?;
                }
                return Ok(());
            }
            Err(error) => refused.push(format!("{controller}: {}", ErrorChain(&error))),
        }
    }
    bail!("no controller renews them: {}", refused.join("; "))
}
