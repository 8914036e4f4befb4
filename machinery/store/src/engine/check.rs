//! What is wrong with a request in itself, whatever the store holds (etcd 3.4, etcdserver/api/v3rpc/key.go).

use super::span::Span;
use crate::TXN_OPERATIONS_MAX;
use crate::refusal::Refusal;
use crate::wire::etcdserverpb as pb;
use pb::range_request::{SortOrder, SortTarget};
use pb::request_op::Request;
use std::collections::BTreeSet;

pub fn range(request: &pb::RangeRequest) -> Result<(), Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    if SortOrder::try_from(request.sort_order).is_err() || SortTarget::try_from(request.sort_target).is_err() {
        return Err(Refusal::InvalidSortOption);
    }
    Ok(())
}

pub fn put(request: &pb::PutRequest) -> Result<(), Refusal> {
    if request.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    if request.ignore_value && !request.value.is_empty() {
        return Err(Refusal::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(Refusal::LeaseProvided);
    }
    Ok(())
}

pub fn delete_range(request: &pb::DeleteRangeRequest) -> Result<(), Refusal> {
    if request.key.is_empty() { Err(Refusal::EmptyKey) } else { Ok(()) }
}

pub fn txn(request: &pb::TxnRequest) -> Result<(), Refusal> {
    operations(request, TXN_OPERATIONS_MAX)?;
    Touched::by(&request.success)?;
    Touched::by(&request.failure)?;
    Ok(())
}

/// A nested transaction has the budget that its parent leaves. So recursion is bounded by the budget too, except through
/// lists of length one, whose depth the decoder bounds (prost: 100).
fn operations(request: &pb::TxnRequest, budget: usize) -> Result<(), Refusal> {
    let used = request.compare.len().max(request.success.len()).max(request.failure.len());
    let rest = budget.checked_sub(used).ok_or(Refusal::TooManyOperations)?;
    if request.compare.iter().any(|compare| compare.key.is_empty()) {
        return Err(Refusal::EmptyKey);
    }
    for operation in request.success.iter().chain(&request.failure) {
        match &operation.request {
            Some(Request::RequestRange(request)) => range(request)?,
            Some(Request::RequestPut(request)) => put(request)?,
            Some(Request::RequestDeleteRange(request)) => delete_range(request)?,
            Some(Request::RequestTxn(request)) => operations(request, rest)?,
            None => return Err(Refusal::KeyNotFound),
        }
    }
    Ok(())
}

/// Keys that a list of operations puts, and spans that it deletes: a key is put at most once, and not deleted as well.
#[derive(Default)]
struct Touched<'a> {
    puts: BTreeSet<&'a [u8]>,
    deletes: Vec<Span<'a>>,
}

impl<'a> Touched<'a> {
    fn by(operations: &'a [pb::RequestOp]) -> Result<Self, Refusal> {
        let mut touched = Self::default();
        for operation in operations {
            if let Some(Request::RequestDeleteRange(request)) = &operation.request {
                touched.deletes.push(Span::of(&request.key, &request.range_end));
            }
        }
        for operation in operations {
            if let Some(Request::RequestTxn(request)) = &operation.request {
                let then = Self::by(&request.success)?;
                let otherwise = Self::by(&request.failure)?;
                // Only one of the two branches is taken, so they may put the same key.
                let puts: BTreeSet<&[u8]> = then.puts.union(&otherwise.puts).copied().collect();
                for key in puts {
                    touched.put(key)?;
                }
                touched.deletes.extend(then.deletes);
                touched.deletes.extend(otherwise.deletes);
            }
        }
        for operation in operations {
            if let Some(Request::RequestPut(request)) = &operation.request {
                touched.put(&request.key)?;
            }
        }
        Ok(touched)
    }

    fn put(&mut self, key: &'a [u8]) -> Result<(), Refusal> {
        let is_new = self.puts.insert(key);
        let is_deleted = self.deletes.iter().any(|span| span.contains(key));
        if is_new && !is_deleted { Ok(()) } else { Err(Refusal::DuplicateKey) }
    }
}
