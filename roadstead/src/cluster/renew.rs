//! Certificates live for a day; half-way through, the supervisor asks a controller for new ones, as this machine's `node`.
//! The processes read them when they are there: nothing is restarted.

use super::{Membership, Others, credentials};
use anyhow::bail;
use controller::cluster::{CertificatesAnswer, CertificatesRequest};
use http::Method;
use identity::{Renewal, Role, Tls};
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
    let validity = credentials::files(data, Role::Node).validity()?;
    if matches!(validity.renewal(SystemTime::now()), Renewal::At(_)) {
        return Ok(false);
    }
    let mut csrs = BTreeMap::new();
    for role in credentials::roles(membership.keeps_state) {
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
                // The machine's own last: it says whether all are done.
                let own_last = answer.certificates.iter().filter(|(role, _)| **role != Role::Node);
                for (role, certificate) in own_last.chain(answer.certificates.get_key_value(&Role::Node)) {
                    credentials::files(data, *role).renew(certificate)?;
                }
                return Ok(true);
            }
            Err(error) => refused.push(format!("{controller}: {}", ErrorChain(&error))),
        }
    }
    bail!("no controller renews them: {}", refused.join("; "))
}
