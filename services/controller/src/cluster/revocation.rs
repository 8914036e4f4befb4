//! How a machine that was removed loses its certificates at once, not when they end.
//!
//! ```text
//! /roadstead/issued/<node>/<serial>   what was handed to a machine, written before it is handed out
//! /roadstead/revoked                  which of it is refused, and the number of the list
//! /roadstead/revoked.crl              the list, signed by the authority
//! ```
//!
//! The leader removes a machine and signs the next list in one transaction. Every machine's controller follows the list and
//! puts it beside the certificates, where TLS and etcd read it: while the store is away the last known list holds. What is on
//! it leaves it when its own dates refuse it. A machine that keeps the state signs for itself and writes down what it has.

use super::registrar::{Refusal, Registrar, Shared, put, value};
use crate::keys;
use futures::StreamExt;
use identity::{Issued, LIST_LIFETIME, RevocationList, Role};
use lifecycle::{ErrorChain, Stop};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::{Compare, KeyValue, Operation, StoreError};
use tokio::time::timeout;

/// Issues to one machine that have not ended; two a day are usual. Each names up to as many certificates as there are roles.
pub(crate) const ISSUES_MAX: usize = 16;
/// Certificates on the list. With 70 bytes of JSON for each it stays below etcd's 1.5 MB for a request.
const REVOKED_MAX: usize = 8192;
/// Issues that one transaction forgets; etcd takes 128 operations.
const FORGOTTEN_MAX: usize = 64;
/// A certificate stays on the list past its end: the clocks of two machines may differ.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);
/// A list that is missing, and certificates that this machine signed for itself, are looked for this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// What has ended is looked for this often. What nobody should have is looked for whenever something was issued.
const SETTLE_INTERVAL: Duration = Duration::from_secs(600);
/// The store is asked again after this pause.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What the list is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// Of the list; the greater is the later.
    number: u64,
    /// The SHA-256 of the authority that signed it: a restored state may have another.
    authority: String,
    signed_at_s: u64,
    revoked: BTreeSet<Issued>,
}

/// By machine: the keys, and what was issued under each.
type Issues = BTreeMap<String, Vec<(String, Vec<Issued>)>>;

/// What changes, given who stays.
#[derive(Debug, Default, PartialEq, Eq)]
struct Settled {
    /// `None`: the list is right as it is.
    record: Option<Record>,
    /// Keys of issues that are of no use any more.
    forgotten: Vec<String>,
    /// There are more of them than one transaction takes.
    goes_on: bool,
}

/// The write that goes before certificates are handed out.
pub(crate) fn issued(node: &str, certificates: &BTreeMap<Role, String>) -> Option<Operation> {
    let issued: Vec<Issued> = certificates.values().filter_map(|pem| Issued::of_pem(pem).ok()).collect();
    let first = issued.first()?;
    Some(put(keys::issued(node, &first.serial), &issued))
}

/// What was issued to machines that do not stay is revoked, what has ended is forgotten, and a list that is of another
/// authority or half-way to its end is signed anew.
fn settle(before: &Record, issues: &Issues, stays: impl Fn(&str) -> bool, authority: &str, now: SystemTime) -> Settled {
    let past = now.checked_sub(REMEMBERED).unwrap_or(UNIX_EPOCH);
    let (mut revoked, mut forgotten) = (before.revoked.clone(), Vec::new());
    for (node, issues) in issues {
        let stays = stays(node);
        for (key, issued) in issues {
            if !stays {
                revoked.extend(issued.iter().cloned());
            }
            if !stays || issued.iter().all(|issued| issued.has_ended(past)) {
                forgotten.push(key.clone());
            }
        }
    }
    let goes_on = forgotten.len() > FORGOTTEN_MAX;
    forgotten.truncate(FORGOTTEN_MAX);
    revoked.retain(|issued| !issued.has_ended(past));
    let now_s = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let is_due = now_s.saturating_sub(before.signed_at_s) > LIST_LIFETIME.as_secs() / 2;
    let is_right = revoked == before.revoked && authority == before.authority && !is_due;
    let next = || Record { number: before.number + 1, authority: authority.to_owned(), signed_at_s: now_s, revoked };
    Settled { record: (!is_right).then(next), forgotten, goes_on }
}

impl Registrar {
    /// How many issues to a machine have not ended.
    pub(crate) async fn issues_of(&self, node: &str) -> Result<usize, StoreError> {
        let (_, kvs) = self.store().read_prefix(&keys::issued(node, ""), 0).await?;
        let now = SystemTime::now();
        let lasts = |kv: &&KeyValue| {
            value::<Vec<Issued>>(&kv.value).is_some_and(|all| !all.iter().all(|one| one.has_ended(now)))
        };
        Ok(kvs.iter().filter(lasts).count())
    }

    /// Revokes what was issued to whoever is no machine of the cluster. `leaving` is one no more: what makes it so is written
    /// in the same transaction. The caller holds `issuing`. Whether that was all: old issues may be left to forget.
    pub(crate) async fn revoke_strangers(&self, leaving: Option<&str>, with: Vec<Operation>) -> Result<bool, Refusal> {
        let ca = self.ca()?;
        // Before the machines are: what is issued to one that joins in this moment is not seen.
        let issues = self.issues().await?;
        let stored = self.store().get(keys::REVOKED).await?;
        let before: Record = stored.as_ref().and_then(|kv| value(&kv.value)).unwrap_or_default();
        // Who is a machine is told by the keys alone: one that this version cannot read is not shut out for that.
        let (_, members) = self.store().read_prefix(keys::MEMBERS_PREFIX, 0).await?;
        let members: BTreeSet<String> = members.iter().filter_map(|kv| rest(kv, keys::MEMBERS_PREFIX)).collect();
        if members.is_empty() {
            return Err(Refusal::NotNow("the cluster is being founded".to_owned()));
        }
        let stays = |node: &str| members.contains(node) && Some(node) != leaving;

        let settled = settle(&before, &issues, stays, &ca.fingerprint(), SystemTime::now());
        let unchanged = match &stored {
            Some(kv) => Compare::unchanged(keys::REVOKED, kv.mod_revision),
            None => Compare::absent(keys::REVOKED),
        };
        let mut writes = with;
        writes.extend(settled.forgotten.into_iter().map(Operation::delete));
        if let Some(record) = &settled.record {
            if record.revoked.len() > REVOKED_MAX {
                let message =
                    format!("more than {REVOKED_MAX} certificates would be revoked: wait until some have ended");
                return Err(Refusal::NotNow(message));
            }
            let revoked: Vec<Issued> = record.revoked.iter().cloned().collect();
            let signed = ca.revoke(&revoked, record.number, SystemTime::now());
            let list = signed.map_err(|error| Refusal::NotNow(ErrorChain(&error).to_string()))?;
            writes.push(put(keys::REVOKED.to_owned(), record));
            writes.push(Operation::put(keys::REVOKED_LIST, list.der().to_vec()));
        }
        if writes.is_empty() || self.write(vec![unchanged], writes).await? {
            return Ok(!settled.goes_on);
        }
        Err(Refusal::NotNow("the list of revoked certificates changed in this moment; try again".to_owned()))
    }

    async fn issues(&self) -> Result<Issues, StoreError> {
        let (_, kvs) = self.store().read_prefix(keys::ISSUED_PREFIX, 0).await?;
        let mut issues = Issues::new();
        for kv in kvs {
            let Some((node, _)) = rest(&kv, keys::ISSUED_PREFIX)
                .and_then(|rest| rest.split_once('/').map(|(node, serial)| (node.to_owned(), serial.to_owned())))
            else {
                continue;
            };
            let key = String::from_utf8_lossy(&kv.key).into_owned();
            issues.entry(node).or_default().push((key, value(&kv.value).unwrap_or_default()));
        }
        Ok(issues)
    }
}

fn rest(kv: &KeyValue, prefix: &str) -> Option<String> {
    std::str::from_utf8(&kv.key).ok()?.strip_prefix(prefix).map(str::to_owned)
}

/// Revokes what strangers have as soon as it is written down, and signs the list anew whenever that is due, for as long as
/// this controller leads.
pub(crate) async fn keep(registrar: Arc<Registrar>, stop: Stop) {
    let keeping = async {
        loop {
            if let Err(error) = keep_once(&registrar).await {
                tracing::debug!(error = %ErrorChain(&error), "the list of revoked certificates is not kept yet");
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
    };
    stop.or(keeping).await.unwrap_or(())
}

/// Until the watch ends.
async fn keep_once(registrar: &Registrar) -> Result<(), Refusal> {
    // Before anything is read: what is issued meanwhile wakes us.
    let mut issued = registrar.store().watch_prefix(keys::ISSUED_PREFIX, 0).await?;
    loop {
        let is_all = {
            let _nothing_is_issued = registrar.issuing.lock().await;
            registrar.revoke_strangers(None, Vec::new()).await?
        };
        match timeout(if is_all { SETTLE_INTERVAL } else { RETRY_INTERVAL }, issued.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(error.into()),
            Ok(Some(Ok(_))) | Err(_) => {}
        }
    }
}

/// Keeps this machine's list, until `stop`.
pub(crate) async fn follow(shared: Arc<Shared>, stop: Stop) {
    let mut own = None;
    while let Some(followed) = stop.or(follow_once(&shared, &mut own)).await {
        if let Err(error) = followed {
            tracing::debug!(error = %ErrorChain(&error), "the list of revoked certificates cannot be followed");
        }
        if stop.or(tokio::time::sleep(RETRY_INTERVAL)).await.is_none() {
            return;
        }
    }
}

/// Until the watch ends.
async fn follow_once(shared: &Shared, own: &mut Option<Operation>) -> Result<(), StoreError> {
    let mut watch = shared.store.watch_prefix(keys::REVOKED_LIST, 0).await?;
    loop {
        if let Some(kv) = shared.store.get(keys::REVOKED_LIST).await? {
            install(shared, kv.value.to_vec()).await;
        }
        if shared.cluster.candidate {
            write_down_own(shared, own).await?;
        }
        match timeout(LOOK_INTERVAL, watch.next()).await {
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(error),
            Ok(Some(Ok(_))) | Err(_) => {}
        }
    }
}

async fn install(shared: &Shared, der: Vec<u8>) {
    let tls = shared.cluster.tls.clone();
    let installing = move || tls.install_revoked(&RevocationList::from_der(der)?);
    // Files are flushed.
    match tokio::task::spawn_blocking(installing).await {
        Ok(Ok(true)) => tracing::info!("the list of revoked certificates is another one"),
        Ok(Ok(false)) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = %ErrorChain(&error), "the list of revoked certificates that is known stays")
        }
        Err(error) => tracing::warn!(%error, "the list of revoked certificates that is known stays"),
    }
}

/// A machine with the authority's key signs its own certificates, whoever leads or does not.
async fn write_down_own(shared: &Shared, last: &mut Option<Operation>) -> Result<(), StoreError> {
    let Some(identity) = shared.cluster.tls.files().certificate.parent() else { return Ok(()) };
    let now = issued(&shared.cluster.node, &certificates(identity));
    if let Some(operation) = now.clone().filter(|_| now != *last) {
        shared.store.txn(store::TxnRequest { success: vec![operation], ..store::TxnRequest::default() }).await?;
        *last = now;
    }
    Ok(())
}

fn certificates(identity: &Path) -> BTreeMap<Role, String> {
    let read = |role| {
        let files = identity::CertificateFiles::of(identity, role);
        Some((role, std::fs::read_to_string(files.certificate).ok()?))
    };
    Role::ALL.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
    }

    fn one(serial: &str, not_after: SystemTime) -> Issued {
        Issued { serial: serial.into(), not_after_s: not_after.duration_since(UNIX_EPOCH).unwrap().as_secs() }
    }

    fn issues(of: &[(&str, &str, SystemTime)]) -> Issues {
        let mut issues = Issues::new();
        for (node, serial, end) in of {
            issues.entry((*node).into()).or_default().push((keys::issued(node, serial), vec![one(serial, *end)]));
        }
        issues
    }

    fn serials(record: &Record) -> Vec<&str> {
        record.revoked.iter().map(|issued| issued.serial.as_str()).collect()
    }

    #[test]
    fn everything_that_was_issued_to_a_machine_that_leaves_is_revoked_and_nothing_else() {
        let issues = issues(&[("a", "a1", at(9)), ("b", "b1", at(5)), ("b", "b2", at(9)), ("c", "c1", at(9))]);
        let settled = settle(&Record::default(), &issues, |node| node != "b", "ca", at(0));
        let record = settled.record.unwrap();
        assert_eq!((serials(&record), record.number), (vec!["b1", "b2"], 1));
        assert_eq!(
            settled.forgotten,
            ["/roadstead/issued/b/b1", "/roadstead/issued/b/b2"],
            "what was read, not the prefix"
        );
        // Once more, with nothing issued meanwhile, changes nothing.
        let again = settle(&record, &self::issues(&[("a", "a1", at(9))]), |_| true, "ca", at(1));
        assert_eq!(again, Settled::default());
    }

    #[test]
    fn what_has_ended_leaves_the_list_a_while_later() {
        let before = settle(&Record::default(), &issues(&[("b", "b1", at(0))]), |_| false, "ca", at(0)).record.unwrap();
        let remembered = settle(&before, &Issues::new(), |_| true, "ca", at(0) + REMEMBERED);
        assert_eq!(remembered, Settled::default());
        let later = settle(&before, &Issues::new(), |_| true, "ca", at(1) + REMEMBERED).record.unwrap();
        assert!(later.revoked.is_empty() && later.number == before.number + 1);
        // And so do the issues of machines that stay.
        let ended = issues(&[("a", "a1", at(0)), ("a", "a2", at(0) + DAY)]);
        let settled = settle(&later, &ended, |_| true, "ca", at(1) + REMEMBERED);
        assert_eq!((settled.record, settled.forgotten), (None, vec!["/roadstead/issued/a/a1".to_owned()]));
    }

    #[test]
    fn a_list_is_signed_anew_half_way_to_its_end_and_by_another_authority() {
        let first = settle(&Record::default(), &Issues::new(), |_| true, "ca", at(0)).record.unwrap();
        assert_eq!(first.number, 1, "an empty list is a list");
        let settled = |authority, now| settle(&first, &Issues::new(), |_| true, authority, now).record;
        assert_eq!(settled("ca", at(0) + LIST_LIFETIME / 2), None);
        assert_eq!(settled("ca", at(1) + LIST_LIFETIME / 2).unwrap().number, 2);
        assert_eq!(settled("another", at(1)).unwrap().authority, "another");
    }

    #[test]
    fn one_transaction_takes_no_more_than_etcd_does_and_revokes_all_the_same() {
        let names: Vec<String> = (0..300).map(|number| format!("n{number:03}")).collect();
        let old: Vec<_> = names.iter().map(|name| (name.as_str(), "1", at(0))).collect();
        for stays in [true, false] {
            let settled = settle(&Record::default(), &issues(&old), |_| stays, "ca", at(0) + DAY);
            assert_eq!((settled.forgotten.len(), settled.goes_on), (FORGOTTEN_MAX, true));
        }
        // Whoever leaves now comes after all that is forgotten.
        let with_leaving = [old, vec![("z", "z1", at(0) + 2 * DAY)]].concat();
        let settled = settle(&Record::default(), &issues(&with_leaving), |node| node != "z", "ca", at(0) + DAY);
        assert_eq!(serials(&settled.record.unwrap()), ["z1"]);
        assert!(settled.goes_on);
    }
}
