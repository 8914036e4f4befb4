//! How a machine comes into the cluster: it shows a join token and what it wants to be called, and is handed the
//! authority's certificate, certificates of its own, and where everybody is.

use super::certificates::may_bear;
use super::registrar::{Refusal, Registrar, put};
use super::revocation;
use super::roster::Machines;
use super::tokens::{Record, TokenRefusal};
use super::{
    ETCD_CLIENT_PORT_DEFAULT, ETCD_PEER_PORT_DEFAULT, MEMBERS_MAX, Member, PEERS_PORT_DEFAULT, Settings, etcd,
    host_port,
};
use crate::keys;
use identity::{AccessKey, Role, SealKey, Token, is_node_name};
use lifecycle::ErrorChain;
use model::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use store::{Compare, Operation, Revision};
use tokio::time::Instant;

/// A machine whose answer was lost may ask once more within this time, without another use of its token.
const REPEAT_MAX: Duration = Duration::from_secs(120);
/// The state takes a new member within this time, or the machine is told to try again: the member before it may have to
/// catch up first.
const STATE_MEMBER_MAX: Duration = Duration::from_secs(15);
const STATE_MEMBER_INTERVAL: Duration = Duration::from_millis(250);
/// S3 users whose keys every machine needs: its registry is the objects' client.
const S3_USERS: [&str; 1] = ["registry"];

/// What `POST /v1/join` is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinRequest {
    pub token: JoinCredential,
    pub name: String,
    pub address: IpAddr,
    /// A request for a certificate (PEM) for each role the machine will have.
    pub csrs: BTreeMap<Role, String>,
    /// `host:port`; absent: the usual port of the address. So the next two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd_peer_url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etcd_client_url: Option<String>,
    /// Of the binary.
    #[serde(default)]
    pub version: String,
}

/// The two parts of a join token that the cluster knows it by.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JoinCredential {
    pub id: String,
    pub secret: Token,
}

/// What a machine needs to be one of the cluster; its secrets are not for logs.
#[derive(Clone, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// The authority's certificate, PEM.
    pub ca: String,
    /// PEM, by role.
    pub certificates: BTreeMap<Role, String>,
    pub settings: Settings,
    /// Whether it keeps the state and may lead.
    pub state: bool,
    /// How its member of the state starts; `None` where it has none.
    pub etcd: Option<EtcdStart>,
    /// URLs of the members of the state that answer; none where the state is in an etcd of the user's.
    pub etcd_endpoints: Vec<String>,
    /// `host:port` of the controllers, the leader's first.
    pub controllers: Vec<String>,
    /// `identity::Identity` as TOML, by role.
    pub identities: BTreeMap<Role, String>,
    /// By user.
    pub access_keys: BTreeMap<String, AccessKey>,
    /// `identity::Authority` as TOML; for machines that keep the state.
    pub authority: Option<String>,
    /// The authority's key, PEM; for machines that keep the state.
    pub ca_key: Option<String>,
    /// What opens the private keys in the state, in hexadecimal; `None` where there is none yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EtcdStart {
    pub name: String,
    /// Name and peer URL of every member, this one among them.
    pub initial_cluster: Vec<(String, String)>,
}

impl fmt::Debug for JoinAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinAnswer")
            .field("state", &self.state)
            .field("etcd", &self.etcd)
            .field("etcd_endpoints", &self.etcd_endpoints)
            .field("controllers", &self.controllers)
            .finish_non_exhaustive()
    }
}

impl Registrar {
    pub(crate) async fn join(&self, request: JoinRequest, now: Timestamp) -> Result<JoinAnswer, Refusal> {
        let (ca, authority) = (self.ca()?.clone(), self.authority()?.clone());
        let wanted = candidate(&request, now)?;
        // Whoever has no token does not wait among those who have one; and while those wait, theirs may be taken back.
        self.admitted(&request.token, now).await?;
        let _one_at_a_time = self.joining.lock().await;

        let id = &request.token.id;
        let (token, token_revision) = self.admitted(&request.token, now).await?;
        let machines = self.machines().await?;
        let settings = self.settings().await?;
        let known = machines.get(&wanted.name).filter(|known| is_repetition(known, &wanted, now));
        let member = match known {
            Some(known) => known.clone(),
            None => {
                refuse_taken(&machines, &wanted)?;
                let state = machines.values().filter(|member| member.state).count() < settings.state_nodes;
                let (etcd_peer_url, etcd_client_url) = match state && self.shared.cluster.manages_etcd() {
                    true => (wanted.etcd_peer_url.clone(), wanted.etcd_client_url.clone()),
                    false => (String::new(), String::new()),
                };
                Member { state, etcd_peer_url, etcd_client_url, ..wanted }
            }
        };
        let certificates = self.sign(&ca, &request.csrs, &member, member.state)?;
        let issued = revocation::issued(&member.name, &certificates);
        if known.is_none() {
            if token.uses_left == 0 {
                return Err(TokenRefusal::Used.into());
            }
            let used = Record { uses_left: token.uses_left - 1, ..token };
            let unchanged = Compare::unchanged(keys::join_token(id), token_revision);
            let key = keys::member(&member.name);
            let mut writes = vec![put(keys::join_token(id), &used), put(key.clone(), &member)];
            writes.extend(issued);
            if !self.write(vec![unchanged, Compare::absent(key)], writes).await? {
                return Err(Refusal::NotNow("the join token or the name changed in this moment; try again".to_owned()));
            }
            tracing::info!(name = member.name, address = %member.address, state = member.state, "a machine joins");
        } else {
            self.write(Vec::new(), issued.into_iter().collect()).await?;
        }
        let machines = self.machines().await?;
        let etcd = match member.state && !member.etcd_peer_url.is_empty() {
            true => match self.state_member(&machines, &member).await {
                Ok(start) => Some(start),
                Err(refusal) => {
                    if known.is_none() {
                        self.undo(&member, id).await;
                    }
                    return Err(refusal);
                }
            },
            false => None,
        };
        let roles = Role::ALL.into_iter().filter(|role| may_bear(*role, member.state));
        let mut identities = BTreeMap::new();
        for role in roles {
            identities.insert(role, authority.identity(role).to_toml().map_err(encoding)?);
        }
        let access_key = |user: &str| Some((user.to_owned(), authority.access_key(user)?.clone()));
        Ok(JoinAnswer {
            ca: ca.certificate_pem().to_owned(),
            certificates,
            settings,
            state: member.state,
            etcd,
            etcd_endpoints: self.etcd_endpoints(&machines).await?,
            controllers: self.shared.roster.controllers(&self.shared.advertise),
            identities,
            access_keys: S3_USERS.into_iter().filter_map(access_key).collect(),
            authority: member.state.then(|| authority.to_toml()).transpose().map_err(encoding)?,
            ca_key: member.state.then(|| ca.key_pem().to_owned()),
            seal_key: self.shared.seal_key.as_ref().map(SealKey::reveal),
        })
    }

    async fn admitted(&self, shown: &JoinCredential, now: Timestamp) -> Result<(Record, Revision), Refusal> {
        let (token, revision) = self.token(&shown.id).await?.ok_or(TokenRefusal::Unknown)?;
        token.admit(&shown.secret, now)?;
        Ok((token, revision))
    }

    /// Waits until the state lists the machine's member, which may be started then.
    async fn state_member(&self, machines: &Machines, member: &Member) -> Result<EtcdStart, Refusal> {
        let members = self.shared.cluster.members.as_ref();
        let wanted = wanted_peers(machines);
        let deadline = Instant::now() + STATE_MEMBER_MAX;
        loop {
            let stepped = etcd::step(members, &wanted, &self.shared.cluster.etcd_peer_url, None).await;
            let listed = members.member_list().await;
            if let Ok(listed) = &listed
                && listed.iter().any(|one| one.peer_urls.contains(&member.etcd_peer_url))
            {
                let of_url = |url: &String| machines.values().find(|machine| machine.etcd_peer_url == *url);
                let named = |one: &store::Member| {
                    let url = one.peer_urls.first()?;
                    let name = of_url(url).map_or(&one.name, |machine| &machine.name);
                    Some((name.clone(), url.clone()))
                };
                let initial_cluster = listed.iter().filter_map(named).collect();
                return Ok(EtcdStart { name: member.name.clone(), initial_cluster });
            }
            if Instant::now() >= deadline {
                stepped?;
                let message = "the state's newest member has not caught up yet: try again when it runs";
                return Err(Refusal::NotNow(message.to_owned()));
            }
            tokio::time::sleep(STATE_MEMBER_INTERVAL).await;
        }
    }

    /// A machine that could not be taken in may come again under its name.
    async fn undo(&self, member: &Member, token_id: &str) {
        let unlisted = vec![Operation::delete(keys::member(&member.name))];
        if let Err(error) = self.write(Vec::new(), unlisted).await {
            tracing::warn!(error = %ErrorChain(&error), name = member.name, "a machine that could not join stays listed");
        }
        // A token that was revoked in this moment stays so.
        let Ok(Some((token, revision))) = self.token(token_id).await else { return };
        let given_back = Record { uses_left: token.uses_left.saturating_add(1), ..token };
        let unchanged = Compare::unchanged(keys::join_token(token_id), revision);
        if !matches!(self.write(vec![unchanged], vec![put(keys::join_token(token_id), &given_back)]).await, Ok(true)) {
            tracing::debug!(id = token_id, "a join token is not given its use back");
        }
    }

    /// Of the members that vote: a learner answers no requests.
    pub(crate) async fn etcd_endpoints(&self, machines: &Machines) -> Result<Vec<String>, Refusal> {
        if !self.shared.cluster.manages_etcd() {
            return Ok(Vec::new());
        }
        let listed = self.shared.cluster.members.member_list().await?;
        let votes = |url: &String| listed.iter().any(|one| !one.is_learner && one.peer_urls.contains(url));
        let voters = machines.values().filter(|machine| machine.state && votes(&machine.etcd_peer_url));
        Ok(voters.map(|machine| machine.etcd_client_url.clone()).collect())
    }
}

fn encoding(error: identity::AuthorityError) -> Refusal {
    Refusal::NotNow(ErrorChain(&error).to_string())
}

/// The peer URLs of those who should be members of the state.
pub(crate) fn wanted_peers(machines: &Machines) -> BTreeSet<String> {
    let state = machines.values().filter(|member| member.state && !member.etcd_peer_url.is_empty());
    state.map(|member| member.etcd_peer_url.clone()).collect()
}

/// Of the request for the machine's own certificate, if there is one.
pub(crate) fn node_key(csrs: &BTreeMap<Role, String>) -> Result<Option<String>, Refusal> {
    let invalid = |error| Refusal::Invalid(format!("the request for node's certificate: {}", ErrorChain(&error)));
    csrs.get(&Role::Node).map(|csr| identity::request_key_sha256(csr)).transpose().map_err(invalid)
}

/// The machine as it describes itself, checked.
fn candidate(request: &JoinRequest, now: Timestamp) -> Result<Member, Refusal> {
    if !is_node_name(&request.name) {
        let message =
            format!("{:?} is no machine's name: letters, digits, '-', '_' and single dots, up to 63", request.name);
        return Err(Refusal::Invalid(message));
    }
    let address = request.address;
    if address.is_unspecified() || address.is_multicast() {
        return Err(Refusal::Invalid(format!("{address} is no machine's address")));
    }
    if request.csrs.len() > Role::ALL.len() {
        return Err(Refusal::Invalid("there are more requests for certificates than roles".to_owned()));
    }
    let peers = request.peers.clone().unwrap_or_else(|| host_port(address, PEERS_PORT_DEFAULT));
    let url =
        |given: &Option<String>, port| given.clone().unwrap_or_else(|| format!("https://{}", host_port(address, port)));
    let is_bounded = |text: &String| text.len() <= 256 && text.bytes().all(|byte| byte.is_ascii_graphic());
    let (etcd_peer_url, etcd_client_url) =
        (url(&request.etcd_peer_url, ETCD_PEER_PORT_DEFAULT), url(&request.etcd_client_url, ETCD_CLIENT_PORT_DEFAULT));
    if ![&peers, &etcd_peer_url, &etcd_client_url, &request.version].into_iter().all(is_bounded) {
        return Err(Refusal::Invalid("an address or the version is too long, or has strange characters".to_owned()));
    }
    Ok(Member {
        name: request.name.clone(),
        address,
        peers,
        state: false,
        etcd_peer_url,
        etcd_client_url,
        joined_at: now.to_string(),
        version: request.version.clone(),
        join_token: request.token.id.clone(),
        node_key: node_key(&request.csrs)?.unwrap_or_default(),
    })
}

/// The same machine with the same token, whose answer was lost.
fn is_repetition(known: &Member, wanted: &Member, now: Timestamp) -> bool {
    let joined_at: Timestamp = known.joined_at.parse().unwrap_or(Timestamp::EPOCH);
    let is_recent = now.since(joined_at) <= REPEAT_MAX;
    // The same key: whoever else has the token is not handed what is this machine's.
    let is_same = (&known.join_token, known.address, &known.peers, &known.node_key)
        == (&wanted.join_token, wanted.address, &wanted.peers, &wanted.node_key);
    is_recent && is_same
}

fn refuse_taken(machines: &Machines, wanted: &Member) -> Result<(), Refusal> {
    if machines.len() >= MEMBERS_MAX {
        return Err(Refusal::Taken(format!("the cluster has {MEMBERS_MAX} machines, the most there may be")));
    }
    if machines.contains_key(&wanted.name) {
        let message = format!(
            "there is a machine named '{}' already; choose another --name, or remove it first (roadstead node remove {})",
            wanted.name, wanted.name
        );
        return Err(Refusal::Taken(message));
    }
    if let Some(other) = machines.values().find(|other| other.peers == wanted.peers) {
        let message = format!("the machine '{}' has the address {} already", other.name, wanted.peers);
        return Err(Refusal::Taken(message));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_machine_is_given_is_not_told_to_a_log() {
        let key = AccessKey { access_key: "hidden-id".into(), secret_key: Token::from_text("hidden-s3") };
        let answer = JoinAnswer {
            ca: String::new(),
            certificates: BTreeMap::new(),
            settings: Settings::default(),
            state: true,
            etcd: None,
            etcd_endpoints: Vec::new(),
            controllers: vec!["10.0.0.1:7000".into()],
            identities: [(Role::Edge, "token = \"hidden-token\"".to_owned())].into(),
            access_keys: [("registry".to_owned(), key)].into(),
            authority: Some("hidden-authority".into()),
            ca_key: Some("hidden-ca-key".into()),
            seal_key: Some("hidden-seal-key".into()),
        };
        let told = format!("{answer:?} {answer:#?}");
        assert!(told.contains("10.0.0.1:7000") && !told.contains("hidden"), "{told}");
    }
}
