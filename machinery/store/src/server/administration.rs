//! `Auth.Authenticate`, `Cluster.MemberList` and `Maintenance.Status`: enough for `etcdctl --user`, `member list` and
//! `endpoint status`.

use super::{ETCD_VERSION, Face, RAFT_TERM, Refusal, pb};
use identity::Verifier;
use pb::auth_server::Auth;
use pb::cluster_server::Cluster;
use pb::maintenance_server::Maintenance;
use tonic::{Request, Response, Status};

/// The one member's name.
const MEMBER_NAME: &str = "roadstead";

impl Face {
    /// The password is a token already; it is given back when it is valid. The name says nothing.
    pub fn authenticate_as(&self, request: &pb::AuthenticateRequest) -> Result<pb::AuthenticateResponse, Refusal> {
        if matches!(self.verifier, Verifier::Open) {
            return Err(Refusal::AuthenticationNotEnabled);
        }
        if request.name.is_empty() {
            return Err(Refusal::UserEmpty);
        }
        match self.verifier.role_of(&request.password) {
            Some(_) => Ok(pb::AuthenticateResponse { header: self.header_now(), token: request.password.clone() }),
            None => Err(Refusal::AuthenticationFailed),
        }
    }
}

#[tonic::async_trait]
impl Auth for Face {
    async fn authenticate(
        &self,
        request: Request<pb::AuthenticateRequest>,
    ) -> Result<Response<pb::AuthenticateResponse>, Status> {
        Ok(Response::new(self.authenticate_as(request.get_ref())?))
    }
}

#[tonic::async_trait]
impl Cluster for Face {
    async fn member_list(
        &self,
        request: Request<pb::MemberListRequest>,
    ) -> Result<Response<pb::MemberListResponse>, Status> {
        self.caller(request.metadata())?;
        let member = pb::Member {
            id: self.store.identity().member_id,
            name: MEMBER_NAME.into(),
            peer_ur_ls: Vec::new(), // it has no peers
            client_ur_ls: vec![format!("http://{}", self.address)],
            is_learner: false,
        };
        Ok(Response::new(pb::MemberListResponse { header: self.header_now(), members: vec![member] }))
    }
}

#[tonic::async_trait]
impl Maintenance for Face {
    async fn status(&self, request: Request<pb::StatusRequest>) -> Result<Response<pb::StatusResponse>, Status> {
        self.caller(request.metadata())?;
        let status = self.store.status();
        let bytes = i64::try_from(status.bytes).unwrap_or(i64::MAX);
        // Without a consensus log the revision is the index.
        let index = u64::try_from(status.revision).unwrap_or(0);
        Ok(Response::new(pb::StatusResponse {
            header: Some(self.header(status.revision)),
            version: ETCD_VERSION.into(),
            db_size: bytes,
            db_size_in_use: bytes,
            leader: status.member_id,
            raft_index: index,
            raft_term: RAFT_TERM,
            raft_applied_index: index,
            errors: status.failure.into_iter().collect(),
            is_learner: false,
        }))
    }
}
