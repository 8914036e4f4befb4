//! The Members trait over gRPC.

use super::call::Kind;
use super::{EtcdClient, RESPONSE_BYTES_MAX};
use crate::wire::administration as admin;
use crate::wire::etcdserverpb as pb;
use crate::{Member, MemberId, MemberStatus, Members, RefusalCode, StoreError};
use async_trait::async_trait;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

/// What one member is asked about itself is answered from memory.
const STATUS_MAX: Duration = Duration::from_secs(1);
/// The leader waits for the other to catch up and to be elected (one election timeout at most).
const MOVE_LEADER_MAX: Duration = Duration::from_secs(5);
/// A database of the quota's 2 GiB is rewritten.
const DEFRAGMENT_MAX: Duration = Duration::from_secs(60);

/// What a member answers that is asked for what the leader alone can do.
const NOT_LEADER: &str = "etcdserver: not leader";

#[async_trait]
impl Members for EtcdClient {
    async fn member_list(&self) -> Result<Vec<Member>, StoreError> {
        let request = pb::MemberListRequest { linearizable: true };
        let sent = self.call(
            Kind::Read,
            || request,
            |channel, request| {
                Box::pin(async move { pb::cluster_client::ClusterClient::new(channel).member_list(request).await })
            },
        );
        let members = sent.await?.members;
        Ok(members.into_iter().map(member).collect())
    }

    async fn member_add_learner(&self, peer_url: &str) -> Result<Member, StoreError> {
        let request = admin::MemberAddRequest { peer_ur_ls: vec![peer_url.to_owned()], is_learner: true };
        let sent = self.call(
            Kind::Administration,
            || request.clone(),
            |channel, request| Box::pin(async move { cluster(channel).member_add(request).await }),
        );
        let added = sent.await?.member.ok_or_else(|| StoreError::Unavailable { message: "no member".into() })?;
        Ok(Member {
            id: added.id,
            name: added.name,
            peer_urls: added.peer_ur_ls,
            client_urls: added.client_ur_ls,
            is_learner: added.is_learner,
        })
    }

    async fn member_promote(&self, id: MemberId) -> Result<(), StoreError> {
        let sent = self.call(
            Kind::Administration,
            || admin::MemberPromoteRequest { id },
            |channel, request| Box::pin(async move { cluster(channel).member_promote(request).await }),
        );
        sent.await.map(drop)
    }

    async fn member_remove(&self, id: MemberId) -> Result<(), StoreError> {
        let sent = self.call(
            Kind::Administration,
            || admin::MemberRemoveRequest { id },
            |channel, request| Box::pin(async move { cluster(channel).member_remove(request).await }),
        );
        sent.await.map(drop)
    }

    async fn status(&self, endpoint: &str) -> Result<MemberStatus, StoreError> {
        let asked = async |channel, request| {
            let mut client =
                pb::maintenance_client::MaintenanceClient::new(channel).max_decoding_message_size(RESPONSE_BYTES_MAX);
            client.status(request).await
        };
        self.ask_one(endpoint, STATUS_MAX, pb::StatusRequest {}, asked).await.map(member_status)
    }

    async fn defragment(&self, endpoint: &str) -> Result<(), StoreError> {
        let asked = async |channel, request| maintenance(channel).defragment(request).await;
        self.ask_one(endpoint, DEFRAGMENT_MAX, admin::DefragmentRequest {}, asked).await.map(drop)
    }

    async fn move_leader(&self, to: MemberId) -> Result<(), StoreError> {
        let request = admin::MoveLeaderRequest { target_id: to };
        let mut refusal = StoreError::Unavailable { message: "no member says that it leads".into() };
        for url in self.member_list().await?.into_iter().flat_map(|member| member.client_urls) {
            let asked = async |channel, request| maintenance(channel).move_leader(request).await;
            match self.ask_one(&url, MOVE_LEADER_MAX, request, asked).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Refused { code: RefusalCode::FailedPrecondition, message })
                    if message == NOT_LEADER => {}
                Err(error) => refusal = error,
            }
        }
        Err(refusal)
    }
}

impl EtcdClient {
    /// The cluster that the endpoint belongs to which is asked now.
    pub(super) async fn read_cluster_id(&self) -> Result<u64, StoreError> {
        let sent = self.call(
            Kind::Read,
            || pb::StatusRequest {},
            |channel, request| {
                Box::pin(async move { pb::maintenance_client::MaintenanceClient::new(channel).status(request).await })
            },
        );
        let header = sent.await?.header;
        header.map(|header| header.cluster_id).ok_or_else(|| StoreError::Unavailable { message: "no header".into() })
    }

    /// Asks one member, and nobody else when it does not answer.
    async fn ask_one<Q, A>(
        &self,
        endpoint: &str,
        patience: Duration,
        request: Q,
        send: impl AsyncFnOnce(Channel, Request<Q>) -> Result<Response<A>, Status>,
    ) -> Result<A, StoreError> {
        let unusable = |error: super::ConnectError| StoreError::Unavailable { message: error.to_string() };
        let channel = self.endpoints.load().channel_to(endpoint, self.tls.as_ref()).map_err(unusable)?;
        let mut request = Request::new(request);
        let sent = async {
            self.token.attach(&channel, &mut request).await?;
            send(channel.clone(), request).await
        };
        match tokio::time::timeout(patience, sent).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(crate::refusal::error_of(&status)),
            Err(_) => {
                let message = format!("{endpoint} gave no answer within {patience:?}");
                Err(StoreError::Unavailable { message })
            }
        }
    }
}

fn cluster(channel: Channel) -> admin::cluster_client::ClusterClient<Channel> {
    admin::cluster_client::ClusterClient::new(channel)
}

fn maintenance(channel: Channel) -> admin::maintenance_client::MaintenanceClient<Channel> {
    admin::maintenance_client::MaintenanceClient::new(channel)
}

fn member(member: pb::Member) -> Member {
    Member {
        id: member.id,
        name: member.name,
        peer_urls: member.peer_ur_ls,
        client_urls: member.client_ur_ls,
        is_learner: member.is_learner,
    }
}

fn member_status(status: pb::StatusResponse) -> MemberStatus {
    let header = status.header.unwrap_or_default();
    MemberStatus {
        cluster_id: header.cluster_id,
        member_id: header.member_id,
        version: status.version,
        db_bytes: u64::try_from(status.db_size).unwrap_or(0),
        db_in_use_bytes: u64::try_from(status.db_size_in_use).unwrap_or(0),
        leader: status.leader,
        raft_index: status.raft_index,
        is_learner: status.is_learner,
        errors: status.errors,
    }
}
