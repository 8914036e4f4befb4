//! Whether a call that is not answered still may be.
//!
//! A follower passes a write on to the leader and says nothing when that leader dies or steps down meanwhile: the write is
//! lost, or done, and never answered. So whoever waits asks the follower now and then who leads. A write that is merely slow
//! is waited for.

use super::RESPONSE_BYTES_MAX;
use crate::wire::administration as admin;
use crate::wire::etcdserverpb as pb;
use pb::maintenance_client::MaintenanceClient;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tonic::transport::Channel;

/// A call that takes longer is doubted, again and again.
const DOUBT_INTERVAL: Duration = Duration::from_millis(200);
/// Who leads is answered from memory.
const ANSWER_MAX: Duration = Duration::from_millis(500);

/// Why nothing will come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHope {
    #[error("the store's member fell silent")]
    Silent,
    #[error("the store's member lost its leader")]
    Leaderless,
    #[error("the store's leader changed")]
    OtherLeader,
}

/// The newest term of office that any answer told of; 0: none yet.
#[derive(Default)]
pub struct Term(AtomicU64);

impl Term {
    pub fn heard(&self, term: u64) {
        self.0.fetch_max(term, Ordering::Relaxed);
    }

    /// Resolves when there is no hope any more for a call that this member was sent a moment ago.
    pub async fn lost_hope(&self, channel: Channel) -> NoHope {
        let mut term = self.0.load(Ordering::Relaxed);
        loop {
            tokio::time::sleep(DOUBT_INTERVAL).await;
            let mut member = MaintenanceClient::new(channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX);
            let status = match tokio::time::timeout(ANSWER_MAX, member.status(pb::StatusRequest {})).await {
                Ok(Ok(status)) => status.into_inner(),
                // Newer ones tell this only to those with credentials: then there is nothing to be learned.
                Ok(Err(_)) => return std::future::pending().await,
                Err(_) => return NoHope::Silent,
            };
            if status.leader == 0 {
                return NoHope::Leaderless;
            }
            if term != 0 && term < status.raft_term {
                return NoHope::OtherLeader;
            }
            term = status.raft_term;
            self.heard(term);
        }
    }
}

/// An answer that may say in which term it was given.
pub trait Answer {
    fn term(&self) -> Option<u64>;
}

/// A keep-alive's answer, which may be missing.
impl<A: Answer> Answer for Option<A> {
    fn term(&self) -> Option<u64> {
        self.as_ref().and_then(Answer::term)
    }
}

/// A watch: the answer to its creation, and what belongs to it.
impl<A: Answer, S, R> Answer for (A, S, R) {
    fn term(&self) -> Option<u64> {
        self.0.term()
    }
}

macro_rules! with_header {
    ($($message:ident),*) => {
        $(impl Answer for pb::$message {
            fn term(&self) -> Option<u64> {
                self.header.as_ref().map(|header| header.raft_term)
            }
        })*
    };
}
with_header!(
    RangeResponse,
    TxnResponse,
    CompactionResponse,
    LeaseGrantResponse,
    LeaseRevokeResponse,
    LeaseKeepAliveResponse,
    MemberListResponse,
    StatusResponse,
    WatchResponse
);

macro_rules! without_header {
    ($($message:ident),*) => {
        $(impl Answer for admin::$message {
            fn term(&self) -> Option<u64> {
                None
            }
        })*
    };
}
without_header!(
    MemberAddResponse,
    MemberRemoveResponse,
    MemberPromoteResponse,
    AuthEnableResponse,
    AuthUserAddResponse,
    AuthUserGrantRoleResponse,
    AuthRoleAddResponse,
    AuthRoleGetResponse,
    AuthRoleGrantPermissionResponse,
    AuthRoleRevokePermissionResponse
);
