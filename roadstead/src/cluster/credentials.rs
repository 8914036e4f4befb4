//! What a machine shows to others: a certificate for each of its roles, signed by the cluster's authority.

use anyhow::Context;
use identity::{AccessKey, Authority, Ca, CertificateFiles, Request, Role, SealKey, Subject, private_file};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The roles every machine has.
const EVERYWHERE: [Role; 6] = [Role::Node, Role::Console, Role::Agent, Role::Edge, Role::Registry, Role::Vip];
/// Those of a machine that keeps the state, besides.
const WITH_STATE: [Role; 3] = [Role::Controller, Role::Store, Role::Admin];

/// Keys that stay here, and the requests to sign their certificates.
pub struct Requests(BTreeMap<Role, Request>);

pub fn directory(data: &Path) -> PathBuf {
    data.join("identity")
}

pub fn files(data: &Path, role: Role) -> CertificateFiles {
    CertificateFiles::of(&directory(data), role)
}

/// What opens the private keys in the state, for edges and controllers. Made by whoever founds, and the same on every machine:
/// a machine that joined before there was one has none, and reads none of them.
pub fn seal_key_path(data: &Path) -> PathBuf {
    directory(data).join("seal.key")
}

/// One that is there, also of a restored backup, is kept.
pub fn make_seal_key(data: &Path) -> anyhow::Result<()> {
    let path = seal_key_path(data);
    if SealKey::read_if_there(&path)?.is_none() {
        SealKey::generate()?.write(&path)?;
    }
    Ok(())
}

/// Every role a machine may have.
pub fn roles(keeps_state: bool) -> impl Iterator<Item = Role> {
    EVERYWHERE.into_iter().chain(WITH_STATE.into_iter().filter(move |_| keeps_state))
}

impl Requests {
    pub fn generate(roles: impl Iterator<Item = Role>) -> anyhow::Result<Self> {
        let mut requests = BTreeMap::new();
        for role in roles {
            requests.insert(role, Request::generate().context("make a key")?);
        }
        Ok(Self(requests))
    }

    pub fn with_node(mut self, request: Request) -> Self {
        self.0.insert(Role::Node, request);
        self
    }

    /// The requests as they are sent.
    pub fn by_role(&self) -> BTreeMap<Role, String> {
        self.0.iter().map(|(role, request)| (*role, request.csr_pem.clone())).collect()
    }

    /// Signed here, by the machine that has the authority's key.
    pub fn sign(&self, ca: &Ca, node: &str, address: IpAddr) -> anyhow::Result<BTreeMap<Role, String>> {
        let mut certificates = BTreeMap::new();
        for (role, request) in &self.0 {
            let subject = Subject { role: *role, node: node.to_owned(), addresses: vec![address] };
            certificates.insert(*role, ca.sign(&request.csr_pem, &subject)?);
        }
        Ok(certificates)
    }

    /// Keeps each certificate that came, with its key.
    pub fn keep(&self, data: &Path, ca_pem: &str, certificates: &BTreeMap<Role, String>) -> anyhow::Result<()> {
        for (role, certificate) in certificates {
            let request = self.0.get(role).with_context(|| format!("a certificate for {role} was not asked for"))?;
            files(data, *role).install(ca_pem, certificate, &request.key_pem)?;
        }
        Ok(())
    }
}

/// The registry's keys to object storage, on a machine that has no authority.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HandedKeys {
    registry: AccessKey,
}

fn handed_path(data: &Path) -> PathBuf {
    directory(data).join("s3.toml")
}

pub fn keep_registry_key(data: &Path, key: &AccessKey) -> anyhow::Result<()> {
    let text = toml::to_string(&HandedKeys { registry: key.clone() })?;
    Ok(private_file::write(&handed_path(data), &text)?)
}

/// The registry's keys to object storage: the authority's, or those that were handed to this machine.
pub fn registry_key(data: &Path) -> anyhow::Result<AccessKey> {
    if Authority::path(data).exists() {
        let authority = Authority::load(data)?;
        return authority.access_key("registry").cloned().context("the authority has no keys for registry");
    }
    let path = handed_path(data);
    let text = private_file::read(&path)?;
    let keys: HandedKeys = toml::from_str(&text).with_context(|| format!("{} is not valid", path.display()))?;
    Ok(keys.registry)
}
