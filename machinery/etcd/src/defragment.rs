//! Free pages inside the members' files, given back to the disk.
//!
//! A member answers nothing while its file is rewritten, so it is done to one member at a time, while every other one is
//! well, and to a leader only after it has given its place away. Whoever calls this must be one: a cluster's leader.

use store::{Member, MemberStatus, Members, StoreError};

/// When rewriting a file is worth the pause.
#[derive(Clone, Copy, Debug)]
pub struct Worth {
    /// Smaller files are left alone.
    pub db_bytes_min: u64,
    /// Percent of the file that is in use, at most.
    pub in_use_percent_max: u64,
}

impl Default for Worth {
    fn default() -> Self {
        Self { db_bytes_min: 64 << 20, in_use_percent_max: 50 }
    }
}

impl Worth {
    fn has(&self, status: &MemberStatus) -> bool {
        let used = status.db_in_use_bytes.saturating_mul(100);
        self.db_bytes_min <= status.db_bytes && used <= status.db_bytes.saturating_mul(self.in_use_percent_max)
    }
}

/// Rewrites the file of at most one member; returns its name. Does nothing while any member is not well.
pub async fn defragment_if_worthwhile(members: &dyn Members, worth: Worth) -> Result<Option<String>, StoreError> {
    let mut well = Vec::new();
    for member in members.member_list().await? {
        // A member without a URL was added and not started yet.
        let Some(endpoint) = member.client_urls.first() else { return Ok(None) };
        match members.status(endpoint).await {
            Ok(status) if status.leader != 0 => well.push((member, status)),
            Ok(_) | Err(StoreError::Unavailable { .. }) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let Some((member, status)) = choose(&well, worth) else { return Ok(None) };
    if status.leader == member.id
        && let Some((heir, _)) = well.iter().find(|(other, _)| other.id != member.id && !other.is_learner)
    {
        members.move_leader(heir.id).await?;
    }
    tracing::info!(
        member = member.name,
        bytes = status.db_bytes,
        in_use_bytes = status.db_in_use_bytes,
        "the store's file is rewritten without its free pages"
    );
    members.defragment(&member.client_urls[0]).await?;
    Ok(Some(member.name.clone()))
}

/// Followers first: each that is done before the leader is a better heir.
fn choose(well: &[(Member, MemberStatus)], worth: Worth) -> Option<&(Member, MemberStatus)> {
    let worthy = well.iter().filter(|(_, status)| worth.has(status));
    worthy.min_by_key(|(member, status)| (status.leader == member.id, member.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, leader: u64, db_bytes: u64, db_in_use_bytes: u64) -> (Member, MemberStatus) {
        let member = Member {
            id,
            name: id.to_string(),
            peer_urls: Vec::new(),
            client_urls: vec![String::new()],
            is_learner: false,
        };
        let status = MemberStatus {
            cluster_id: 1,
            member_id: id,
            version: "3.4.23".into(),
            db_bytes,
            db_in_use_bytes,
            leader,
            raft_index: 1,
            is_learner: false,
            errors: Vec::new(),
        };
        (member, status)
    }

    fn chosen(well: &[(Member, MemberStatus)]) -> Option<u64> {
        choose(well, Worth { db_bytes_min: 100, in_use_percent_max: 50 }).map(|(member, _)| member.id)
    }

    #[test]
    fn a_file_is_rewritten_when_it_is_large_and_mostly_free() {
        assert_eq!(chosen(&[member(1, 2, 99, 0)]), None);
        assert_eq!(chosen(&[member(1, 2, 100, 51)]), None);
        assert_eq!(chosen(&[member(1, 2, 100, 50)]), Some(1));
    }

    #[test]
    fn the_leaders_file_is_rewritten_last() {
        let [leader, follower] = [member(1, 1, 100, 0), member(2, 1, 100, 0)];
        assert_eq!(chosen(&[leader.clone(), follower]), Some(2));
        assert_eq!(chosen(&[leader, member(2, 1, 100, 90)]), Some(1));
    }
}
