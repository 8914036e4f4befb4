//! The `KV` service.

use super::{Face, access, pb};
use crate::refusal::status_of;
use identity::Role;
use pb::kv_server::Kv;
use tonic::{Request, Response, Status};

/// The operations as any face has them: gRPC and JSON differ in how they name the caller.
impl Face {
    pub fn range_as(&self, role: Role, request: &pb::RangeRequest) -> Result<pb::RangeResponse, Status> {
        access::range(role, request)?;
        let mut response = self.store.range(request).map_err(status_of)?;
        response.header = self.whole(response.header);
        Ok(response)
    }

    pub async fn put_as(&self, role: Role, request: &pb::PutRequest) -> Result<pb::PutResponse, Status> {
        access::put(role, request)?;
        let mut response = self.store.put(request).await.map_err(status_of)?;
        response.header = self.whole(response.header);
        Ok(response)
    }

    pub async fn delete_range_as(
        &self,
        role: Role,
        request: &pb::DeleteRangeRequest,
    ) -> Result<pb::DeleteRangeResponse, Status> {
        access::delete_range(role, request)?;
        let mut response = self.store.delete_range(request).await.map_err(status_of)?;
        response.header = self.whole(response.header);
        Ok(response)
    }

    pub async fn txn_as(&self, role: Role, request: &pb::TxnRequest) -> Result<pb::TxnResponse, Status> {
        access::txn(role, request)?;
        let mut response = self.store.txn(request).await.map_err(status_of)?;
        response.header = self.whole(response.header);
        Ok(response)
    }
}

#[tonic::async_trait]
impl Kv for Face {
    async fn range(&self, request: Request<pb::RangeRequest>) -> Result<Response<pb::RangeResponse>, Status> {
        let role = self.caller(request.metadata())?;
        self.range_as(role, request.get_ref()).map(Response::new)
    }

    async fn put(&self, request: Request<pb::PutRequest>) -> Result<Response<pb::PutResponse>, Status> {
        let role = self.caller(request.metadata())?;
        self.put_as(role, request.get_ref()).await.map(Response::new)
    }

    async fn delete_range(
        &self,
        request: Request<pb::DeleteRangeRequest>,
    ) -> Result<Response<pb::DeleteRangeResponse>, Status> {
        let role = self.caller(request.metadata())?;
        self.delete_range_as(role, request.get_ref()).await.map(Response::new)
    }

    async fn txn(&self, request: Request<pb::TxnRequest>) -> Result<Response<pb::TxnResponse>, Status> {
        let role = self.caller(request.metadata())?;
        self.txn_as(role, request.get_ref()).await.map(Response::new)
    }

    async fn compact(
        &self,
        request: Request<pb::CompactionRequest>,
    ) -> Result<Response<pb::CompactionResponse>, Status> {
        access::compact(self.caller(request.metadata())?)?;
        // The memory is freed when this returns, so `physical` asks for nothing more.
        self.store.compact(request.get_ref().revision).await.map_err(status_of)?;
        Ok(Response::new(pb::CompactionResponse { header: self.header_now() }))
    }
}
