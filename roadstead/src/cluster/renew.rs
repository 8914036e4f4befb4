//! Certificates live for a day; half-way through, the supervisor replaces them: a machine that keeps the state signs its own,
//! any other asks a controller, as its `node`. The processes read them when they are there: nothing is restarted. A machine
//! that knows that it was removed renews nothing.

use super::removal::{self, Removed};
use super::{Membership, Others, credentials};
use anyhow::{Context, bail};
use controller::cluster::{CertificatesAnswer, CertificatesRequest};
use http::Method;
use identity::{Ca, InstallError, Renewal, RevocationList, Role, Subject, Tls, private_file};
use lifecycle::ErrorChain;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use web::{Client, Credentials};

/// Whether it is time is looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// After certificates that could not be installed: a machine is given only so many a day.
const NOT_INSTALLED_PAUSE: Duration = Duration::from_secs(60 * 60);
/// The certificates of every role, with a margin.
const ROOM_BYTES: usize = 64 * 1024;

#[derive(Debug, thiserror::Error)]
#[error("install the certificates that a controller handed out")]
struct NotInstalled {
    source: InstallError,
}

pub async fn run(data: &Path, membership: &Membership) {
    loop {
        let mut pause = LOOK_INTERVAL;
        match renew_if_due(data, membership).await {
            Ok(false) => {}
            Ok(true) => tracing::info!("the certificates of this machine are renewed"),
            Err(error) if error.is::<Removed>() => return tracing::error!("{error}"),
            Err(error) => {
                tracing::warn!(error = %ErrorChain(error.as_ref()), "renew the certificates of this machine");
                if error.is::<NotInstalled>() {
                    pause = NOT_INSTALLED_PAUSE;
                }
            }
        }
        tokio::time::sleep(pause).await;
    }
}

async fn renew_if_due(data: &Path, membership: &Membership) -> anyhow::Result<bool> {
    if !is_due(data)? && !is_recordable(data) {
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

/// Marks certificates that the cluster has no record of, so that they would not be revoked with the machine: those of before
/// it had lists of revoked ones.
fn unrecorded(data: &Path) -> PathBuf {
    credentials::directory(data).join("unrecorded")
}

/// Whether they should be replaced by some that are on record, now that the cluster has lists.
fn is_recordable(data: &Path) -> bool {
    unrecorded(data).exists() && RevocationList::path(&credentials::directory(data)).exists()
}

/// A machine that has the authority's key asks nobody. Before anything is started: where every machine was off for longer
/// than certificates live, nobody would be there to ask.
pub fn before_start(data: &Path, membership: &Membership) -> anyhow::Result<()> {
    if membership.keeps_state && is_due(data)? {
        sign_own(data, membership)?;
    }
    // What a machine that keeps the state has, its controller writes down.
    if !membership.keeps_state && !RevocationList::path(&credentials::directory(data)).exists() {
        private_file::write(&unrecorded(data), "")?;
    }
    Ok(())
}

/// The machine's own certificate last: it says whether all are done.
fn sign_own(data: &Path, membership: &Membership) -> anyhow::Result<()> {
    removal::refuse(data)?;
    let ca = Ca::load(&credentials::directory(data))?;
    for role in credentials::roles(true).filter(|role| *role != Role::Node).chain([Role::Node]) {
        let subject = Subject { role, node: membership.name.clone(), addresses: vec![membership.address] };
        credentials::files(data, role).renew_by(&ca, &subject)?;
    }
    Ok(())
}

async fn ask_for_new(data: &Path) -> anyhow::Result<()> {
    removal::refuse(data)?;
    find_room(data).context("new certificates could not be kept, so none are asked for")?;
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
                    let installed = credentials::files(data, *role).renew(certificate);
                    installed.map_err(|source| NotInstalled { source })?;
                }
                let _there_or_not = std::fs::remove_file(unrecorded(data));
                return Ok(());
            }
            Err(error) => refused.push(format!("{controller}: {}", ErrorChain(&error))),
        }
    }
    bail!("no controller renews them: {}", refused.join("; "))
}

/// A full or read-only disk is found out before certificates are issued for nothing.
fn find_room(data: &Path) -> anyhow::Result<()> {
    let path = credentials::directory(data).join("room");
    private_file::write(&path, [0; ROOM_BYTES])?;
    Ok(std::fs::remove_file(&path)?)
}

#[cfg(test)]
mod tests {
    use super::super::credentials::Requests;
    use super::*;
    use identity::Issued;

    fn machine() -> (Ca, tempfile::TempDir) {
        let (ca, data) = (Ca::create("one").unwrap(), tempfile::tempdir().unwrap());
        let requests = Requests::generate(credentials::roles(false)).unwrap();
        let certificates = requests.sign(&ca, "a", [10, 0, 0, 1].into()).unwrap();
        requests.keep(data.path(), ca.certificate_pem(), &certificates).unwrap();
        (ca, data)
    }

    fn list(ca: &Ca, data: &Path, revoked: &[Issued]) {
        let list = ca.revoke(revoked, 1, SystemTime::now()).unwrap();
        private_file::write(&RevocationList::path(&credentials::directory(data)), list.der()).unwrap();
    }

    #[tokio::test]
    async fn a_machine_that_knows_that_it_was_removed_renews_nothing() {
        let (ca, data) = machine();
        let data = data.path();
        removal::refuse(data).unwrap();
        list(&ca, data, &[]);
        removal::refuse(data).unwrap();
        let own = std::fs::read_to_string(credentials::files(data, Role::Node).certificate).unwrap();
        list(&ca, data, &[Issued::of_pem(&own).unwrap()]);
        assert!(ask_for_new(data).await.unwrap_err().is::<Removed>());
        list(&ca, data, &[]);
        removal::note(data).unwrap();
        assert!(ask_for_new(data).await.unwrap_err().is::<Removed>(), "its member of the state heard so");
    }

    #[tokio::test]
    async fn nothing_is_asked_for_that_could_not_be_kept() {
        let (_ca, data) = machine();
        // Nobody can write where a directory is in the way, not even root.
        let in_the_way = credentials::directory(data.path()).join("room.new");
        std::fs::create_dir(&in_the_way).unwrap();
        let refused = format!("{:#}", ask_for_new(data.path()).await.unwrap_err());
        assert!(refused.contains("could not be kept"), "{refused}");
        std::fs::remove_dir(&in_the_way).unwrap();
        let refused = format!("{:#}", ask_for_new(data.path()).await.unwrap_err());
        assert!(refused.contains("others.toml"), "now the controllers are looked for: {refused}");
        assert!(!credentials::directory(data.path()).join("room").exists());
    }

    #[test]
    fn certificates_of_before_there_were_lists_are_replaced_once_there_is_one() {
        let (ca, data) = machine();
        let data = data.path();
        assert!(!is_recordable(data));
        private_file::write(&unrecorded(data), "").unwrap();
        assert!(!is_recordable(data), "nobody would write the next ones down, either");
        list(&ca, data, &[]);
        assert!(is_recordable(data) && !is_due(data).unwrap());
    }
}
