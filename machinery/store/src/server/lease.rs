//! The `Lease` service.

use super::{Face, access, pb};
use crate::refusal::status_of;
use futures::StreamExt;
use futures::stream::BoxStream;
use identity::Access;
use pb::lease_server::Lease;
use tonic::{Request, Response, Status, Streaming};

/// What etcd answers for a lease that is gone.
const GONE_SECONDS: i64 = -1;

#[tonic::async_trait]
impl Lease for Face {
    async fn lease_grant(
        &self,
        request: Request<pb::LeaseGrantRequest>,
    ) -> Result<Response<pb::LeaseGrantResponse>, Status> {
        access::write_somewhere(self.caller(request.metadata())?)?;
        let pb::LeaseGrantRequest { id, ttl } = *request.get_ref();
        let (id, ttl) = self.store.lease_grant(id, ttl).await.map_err(status_of)?;
        Ok(Response::new(pb::LeaseGrantResponse { header: self.header_now(), id, ttl, error: String::new() }))
    }

    async fn lease_revoke(
        &self,
        request: Request<pb::LeaseRevokeRequest>,
    ) -> Result<Response<pb::LeaseRevokeResponse>, Status> {
        let role = self.caller(request.metadata())?;
        let id = request.get_ref().id;
        access::write_somewhere(role)?;
        access::keys(role, &self.store.lease_keys(id), Access::Write)?;
        self.store.lease_revoke(id).await.map_err(status_of)?;
        Ok(Response::new(pb::LeaseRevokeResponse { header: self.header_now() }))
    }

    type LeaseKeepAliveStream = BoxStream<'static, Result<pb::LeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<pb::LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        access::write_somewhere(self.caller(request.metadata())?)?;
        let face = self.clone();
        let answers = futures::stream::unfold((face, request.into_inner()), |(face, mut requests)| async move {
            let request = match face.stop.or(requests.message()).await? {
                Ok(request) => request?,
                Err(status) => return Some((Err(status), (face, requests))),
            };
            let ttl = face.store.lease_keep_alive(request.id).unwrap_or(0);
            let answer = pb::LeaseKeepAliveResponse { header: face.header_now(), id: request.id, ttl };
            Some((Ok(answer), (face, requests)))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<pb::LeaseTimeToLiveRequest>,
    ) -> Result<Response<pb::LeaseTimeToLiveResponse>, Status> {
        let role = self.caller(request.metadata())?;
        let pb::LeaseTimeToLiveRequest { id, keys } = *request.get_ref();
        let lease_keys = if keys { self.store.lease_keys(id) } else { Vec::new() };
        access::keys(role, &lease_keys, Access::Read)?;
        let (ttl, granted_ttl) = self.store.lease_time_to_live(id).unwrap_or((GONE_SECONDS, 0));
        let header = self.header_now();
        Ok(Response::new(pb::LeaseTimeToLiveResponse { header, id, ttl, granted_ttl, keys: lease_keys }))
    }

    async fn lease_leases(
        &self,
        request: Request<pb::LeaseLeasesRequest>,
    ) -> Result<Response<pb::LeaseLeasesResponse>, Status> {
        self.caller(request.metadata())?;
        let leases = self.store.lease_ids().into_iter().map(|id| pb::LeaseStatus { id }).collect();
        Ok(Response::new(pb::LeaseLeasesResponse { header: self.header_now(), leases }))
    }
}
