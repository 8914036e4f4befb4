//! Who calls, and which keys they may touch.

use super::{Face, Refusal, pb};
use identity::{Access, Role};
use pb::request_op::Request;
use tonic::metadata::MetadataMap;

/// Where a token is looked for, in this order: etcd's own name, then HTTP's.
const TOKEN_METADATA: [&str; 2] = ["token", "authorization"];

impl Face {
    /// The caller of a gRPC method.
    pub fn caller(&self, metadata: &MetadataMap) -> Result<Role, Refusal> {
        let value = TOKEN_METADATA.iter().find_map(|name| metadata.get(*name));
        match value.map(|value| value.to_str()) {
            None => self.verifier.anonymous().ok_or(Refusal::UserEmpty),
            Some(Err(_)) => Err(Refusal::InvalidAuthToken),
            Some(Ok(text)) => {
                let token = match text.split_once(' ') {
                    Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
                    _ => text,
                };
                self.verifier.role_of(token).ok_or(Refusal::InvalidAuthToken)
            }
        }
    }
}

fn allow(is_allowed: bool) -> Result<(), Refusal> {
    if is_allowed { Ok(()) } else { Err(Refusal::PermissionDenied) }
}

pub fn range(role: Role, request: &pb::RangeRequest) -> Result<(), Refusal> {
    allow(role.may_touch(&request.key, &request.range_end, Access::Read))
}

pub fn put(role: Role, request: &pb::PutRequest) -> Result<(), Refusal> {
    allow(role.may_touch(&request.key, b"", Access::Write))
}

pub fn delete_range(role: Role, request: &pb::DeleteRangeRequest) -> Result<(), Refusal> {
    allow(role.may_touch(&request.key, &request.range_end, Access::Write))
}

/// Every condition and every operation of both branches.
pub fn txn(role: Role, request: &pb::TxnRequest) -> Result<(), Refusal> {
    for compare in &request.compare {
        allow(role.may_touch(&compare.key, &compare.range_end, Access::Read))?;
    }
    for operation in request.success.iter().chain(&request.failure) {
        match &operation.request {
            Some(Request::RequestRange(request)) => range(role, request)?,
            Some(Request::RequestPut(request)) => put(role, request)?,
            Some(Request::RequestDeleteRange(request)) => delete_range(role, request)?,
            Some(Request::RequestTxn(request)) => txn(role, request)?,
            None => {}
        }
    }
    Ok(())
}

pub fn watch(role: Role, key: &[u8], range_end: &[u8]) -> Result<(), Refusal> {
    allow(role.may_touch(key, range_end, Access::Read))
}

/// Leases are for those who write; compaction forgets for everyone, so it is for those who write most.
pub fn write_somewhere(role: Role) -> Result<(), Refusal> {
    allow(role.store_rights().iter().any(|right| right.access == Access::Write))
}

pub fn compact(role: Role) -> Result<(), Refusal> {
    allow(matches!(role, Role::Admin | Role::Controller))
}

/// All keys of a lease: whoever revokes it deletes them.
pub fn keys<'a>(role: Role, keys: impl IntoIterator<Item = &'a bytes::Bytes>, access: Access) -> Result<(), Refusal> {
    allow(keys.into_iter().all(|key| role.may_touch(key, b"", access)))
}
