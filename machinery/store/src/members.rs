//! The members of a store of many machines, and what is done to them: etcd's Cluster and Maintenance services.

use crate::StoreError;
use async_trait::async_trait;

/// 0: none.
pub type MemberId = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub id: MemberId,
    /// Empty until the member has been started.
    pub name: String,
    pub peer_urls: Vec<String>,
    /// Empty until the member has been started.
    pub client_urls: Vec<String>,
    /// It follows, but does not vote and answers no requests yet.
    pub is_learner: bool,
}

/// What one member says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    pub cluster_id: u64,
    pub member_id: MemberId,
    pub version: String,
    /// Bytes of the file, free pages included.
    pub db_bytes: u64,
    pub db_in_use_bytes: u64,
    /// 0: it knows of no leader.
    pub leader: MemberId,
    pub raft_index: u64,
    pub is_learner: bool,
    /// Alarms, and that there is no leader.
    pub errors: Vec<String>,
}

/// For those whose role in the store is `root`: only they may change the members once the store asks for credentials.
///
/// etcd adds, promotes and removes only while enough members have been connected for five seconds; until then the answer is
/// [`StoreError::Unavailable`] ("unhealthy cluster"), nothing was done, and it may be asked again.
#[async_trait]
pub trait Members: Send + Sync + 'static {
    async fn member_list(&self) -> Result<Vec<Member>, StoreError>;
    /// It is listed from then on, and may be started as a member of an existing cluster.
    async fn member_add_learner(&self, peer_url: &str) -> Result<Member, StoreError>;
    /// Refused until the learner has caught up.
    async fn member_promote(&self, id: MemberId) -> Result<(), StoreError>;
    async fn member_remove(&self, id: MemberId) -> Result<(), StoreError>;
    /// Of the member behind one client URL.
    async fn status(&self, endpoint: &str) -> Result<MemberStatus, StoreError>;
    /// Gives free pages back to the disk. The member answers nothing meanwhile: one member at a time.
    async fn defragment(&self, endpoint: &str) -> Result<(), StoreError>;
    /// Asks the leader to give its place to another voter.
    async fn move_leader(&self, to: MemberId) -> Result<(), StoreError>;
}
