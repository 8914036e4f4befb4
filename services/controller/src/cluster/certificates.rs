//! Who may have which certificate, and signing them.

use super::registrar::{Refusal, Registrar};
use super::revocation::{self, ISSUES_MAX};
use super::{Member, join};
use crate::keys;
use identity::{Authority, Ca, Peer, Role, Subject};
use lifecycle::ErrorChain;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use store::Compare;

/// What `POST /v1/certificates` is asked, and answers with PEM by role.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertificatesRequest {
    pub csrs: BTreeMap<Role, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CertificatesAnswer {
    pub certificates: BTreeMap<Role, String>,
}

/// Whether a machine may speak as a role. People have tokens; machines that keep the state have the authority's key, and
/// are denied nothing that they could not make themselves. A controller is believed for whom it asks, and writes the whole
/// state: elsewhere its process is a `console`, which reads.
pub(crate) fn may_bear(role: Role, keeps_state: bool) -> bool {
    match role {
        Role::Viewer => false,
        Role::Admin | Role::Store | Role::Controller => keeps_state,
        Role::Agent | Role::Edge | Role::Registry | Role::Console | Role::Node | Role::Vip => true,
    }
}

impl Registrar {
    /// New certificates for the machine that asks.
    pub(crate) async fn renew(
        &self,
        request: CertificatesRequest,
        peer: Option<&Peer>,
    ) -> Result<CertificatesAnswer, Refusal> {
        let Some(Peer { role: Role::Node, node }) = peer else {
            return Err(Refusal::Forbidden("certificates are renewed by a machine's own certificate only".to_owned()));
        };
        let _nobody_is_removed = self.issuing.lock().await;
        let machines = self.machines().await?;
        let none = || Refusal::Forbidden(format!("the machine '{node}' is none of this cluster (any more)"));
        let member = machines.get(node).ok_or_else(none)?;
        if !member.node_key.is_empty() && join::node_key(&request.csrs)?.as_ref() != Some(&member.node_key) {
            let message = format!("the machine '{node}' of today has another key: this one was removed");
            return Err(Refusal::Forbidden(message));
        }
        if self.issues_of(node).await? >= ISSUES_MAX {
            let message = format!("the machine '{node}' was given certificates {ISSUES_MAX} times within a day");
            return Err(Refusal::NotNow(message));
        }
        let certificates = self.sign(self.ca()?, &request.csrs, member, member.state)?;
        let issued = revocation::issued(node, &certificates).into_iter().collect();
        if !self.write(vec![Compare::exists(keys::member(node))], issued).await? {
            return Err(none());
        }
        tracing::info!(node, certificates = certificates.len(), "certificates were renewed");
        Ok(CertificatesAnswer { certificates })
    }

    pub(crate) fn sign(
        &self,
        ca: &Ca,
        csrs: &BTreeMap<Role, String>,
        member: &Member,
        keeps_state: bool,
    ) -> Result<BTreeMap<Role, String>, Refusal> {
        let mut certificates = BTreeMap::new();
        for (role, csr) in csrs {
            if !may_bear(*role, keeps_state) {
                // The rest is of use without it.
                tracing::debug!(%role, node = member.name, "no certificate for this role");
                continue;
            }
            let subject = Subject { role: *role, node: member.name.clone(), addresses: vec![member.address] };
            let signed = ca.sign(csr, &subject);
            let invalid =
                |error| Refusal::Invalid(format!("the request for {role}'s certificate: {}", ErrorChain(&error)));
            certificates.insert(*role, signed.map_err(invalid)?);
        }
        Ok(certificates)
    }

    pub(crate) fn ca(&self) -> Result<&Arc<Ca>, Refusal> {
        let none = || Refusal::NotNow("this controller does not have the authority's key".to_owned());
        self.shared.cluster.ca.as_ref().ok_or_else(none)
    }

    pub(crate) fn authority(&self) -> Result<&Authority, Refusal> {
        let none = || Refusal::NotNow("this controller does not have the platform's tokens".to_owned());
        self.shared.cluster.authority.as_ref().ok_or_else(none)
    }
}
