//! Members of a store for tests. The pages' tests read it by its path: the controller has no interface for tests.

use async_trait::async_trait;
use std::sync::Mutex;
use store::{Member, MemberId, MemberStatus, Members, StoreError};

/// etcd 3.4's members, as far as its rules matter here.
#[derive(Default)]
pub struct FakeMembers {
    pub members: Mutex<Vec<Member>>,
}

fn refused(message: &str) -> StoreError {
    StoreError::Refused { code: store::RefusalCode::FailedPrecondition, message: message.into() }
}

impl FakeMembers {
    pub fn of(peer_url: &str) -> Self {
        let fake = Self::default();
        fake.members.lock().unwrap().push(member(1, peer_url, false));
        fake
    }

    /// The machine's etcd has come up.
    pub fn start(&self, peer_url: &str) {
        let mut members = self.members.lock().unwrap();
        for member in members.iter_mut().filter(|member| member.peer_urls[0] == peer_url) {
            member.name = "started".into();
            member.client_urls = vec![peer_url.replace("2380", "2379")];
        }
    }

    pub fn voters(&self) -> usize {
        self.members.lock().unwrap().iter().filter(|member| !member.is_learner).count()
    }
}

pub fn member(id: MemberId, peer_url: &str, is_learner: bool) -> Member {
    let name = if is_learner { String::new() } else { "started".into() };
    Member { id, name, peer_urls: vec![peer_url.into()], client_urls: Vec::new(), is_learner }
}

#[async_trait]
impl Members for FakeMembers {
    async fn member_list(&self) -> Result<Vec<Member>, StoreError> {
        Ok(self.members.lock().unwrap().clone())
    }

    async fn member_add_learner(&self, peer_url: &str) -> Result<Member, StoreError> {
        let mut members = self.members.lock().unwrap();
        if members.iter().any(|member| member.is_learner) {
            return Err(refused("etcdserver: too many learner members in cluster"));
        }
        if members.iter().any(|member| member.peer_urls[0] == peer_url) {
            return Err(refused("etcdserver: Peer URLs already exists"));
        }
        let id = members.iter().map(|member| member.id).max().unwrap_or(0) + 1;
        members.push(member(id, peer_url, true));
        Ok(members[members.len() - 1].clone())
    }

    async fn member_promote(&self, id: MemberId) -> Result<(), StoreError> {
        let mut members = self.members.lock().unwrap();
        match members.iter_mut().find(|member| member.id == id) {
            Some(member) if member.name.is_empty() => {
                Err(refused("etcdserver: can only promote a learner member which is in sync with leader"))
            }
            Some(member) => {
                member.is_learner = false;
                Ok(())
            }
            None => Err(refused("etcdserver: member not found")),
        }
    }

    async fn member_remove(&self, id: MemberId) -> Result<(), StoreError> {
        self.members.lock().unwrap().retain(|member| member.id != id);
        Ok(())
    }

    async fn status(&self, _: &str) -> Result<MemberStatus, StoreError> {
        Ok(MemberStatus {
            cluster_id: 1,
            member_id: 1,
            version: "3.4.23".into(),
            db_bytes: 0,
            db_in_use_bytes: 0,
            leader: 1,
            raft_index: 0,
            is_learner: false,
            errors: Vec::new(),
        })
    }

    async fn defragment(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn move_leader(&self, _: MemberId) -> Result<(), StoreError> {
        Ok(())
    }
}
