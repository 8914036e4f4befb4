//! Transactions: conditions on the state before, then operations in order, each seeing the ones before it
//! (etcd 3.4, etcdserver/apply.go).

use super::Engine;
use super::span::Span;
use crate::refusal::Refusal;
use crate::wire::etcdserverpb as pb;
use crate::wire::mvccpb::KeyValue;
use crate::wire::storage;
use bytes::Bytes;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;
use pb::response_op::Response;
use std::cmp::Ordering;

type Changes = Vec<storage::Change>;

/// What a put may cost beside its key and value; see `keys`.
const PUT_OVERHEAD_BYTES: u64 = 128;

/// Conditions, then validity of every operation that will run, then the operations: nothing is changed by a refused one.
pub fn apply(engine: &mut Engine, request: &pb::TxnRequest) -> Result<(pb::TxnResponse, Changes), Refusal> {
    let mut path = Vec::new();
    choose_branches(engine, request, &mut path);
    check_operations(engine, request, &path)?;
    let mut changes = Vec::new();
    let mut response = run(engine, request, &mut path.iter(), &mut changes);
    response.header = header(engine);
    Ok((response, changes))
}

/// All conditions, of nested transactions too, are decided on the state before the first change. The path lists the
/// decisions in the order in which the operations are visited.
fn choose_branches(engine: &Engine, request: &pb::TxnRequest, path: &mut Vec<bool>) {
    let succeeded = request.compare.iter().all(|compare| holds(engine, compare));
    path.push(succeeded);
    for operation in branch(request, succeeded) {
        if let Some(Request::RequestTxn(nested)) = &operation.request {
            choose_branches(engine, nested, path);
        }
    }
}

fn branch(request: &pb::TxnRequest, succeeded: bool) -> &[pb::RequestOp] {
    if succeeded { &request.success } else { &request.failure }
}

/// A condition with a range must hold for every key in it.
fn holds(engine: &Engine, compare: &pb::Compare) -> bool {
    let span = Span::of(&compare.key, &compare.range_end);
    let mut is_absent = true;
    for (_, version) in engine.mvcc.live_in(span, engine.revision()) {
        is_absent = false;
        let ordering = match (compare.target(), &compare.target_union) {
            (CompareTarget::Version, target) => version.version.cmp(&number(target)),
            (CompareTarget::Create, target) => version.create_revision.cmp(&number(target)),
            (CompareTarget::Mod, target) => version.revision.cmp(&number(target)),
            (CompareTarget::Lease, target) => version.lease.cmp(&number(target)),
            (CompareTarget::Value, Some(TargetUnion::Value(value))) => version.value.cmp(value),
            (CompareTarget::Value, _) => version.value.as_ref().cmp(b""),
        };
        if !accepts(compare.result(), ordering) {
            return false;
        }
    }
    // An absent key compares as zeros; its value compares as nothing.
    !is_absent
        || (compare.target() != CompareTarget::Value
            && accepts(compare.result(), 0.cmp(&number(&compare.target_union))))
}

fn number(target: &Option<TargetUnion>) -> i64 {
    match target {
        Some(
            TargetUnion::Version(number)
            | TargetUnion::CreateRevision(number)
            | TargetUnion::ModRevision(number)
            | TargetUnion::Lease(number),
        ) => *number,
        Some(TargetUnion::Value(_)) | None => 0,
    }
}

fn accepts(result: CompareResult, ordering: Ordering) -> bool {
    match result {
        CompareResult::Equal => ordering.is_eq(),
        CompareResult::NotEqual => ordering.is_ne(),
        CompareResult::Greater => ordering.is_gt(),
        CompareResult::Less => ordering.is_lt(),
    }
}

/// Every operation that will run, in order: first all puts, then all ranges, so that of several faults etcd's is told.
fn check_operations(engine: &Engine, request: &pb::TxnRequest, path: &[bool]) -> Result<(), Refusal> {
    visit_operations(request, &mut path.iter(), &mut |operation| match operation {
        Request::RequestPut(request) => check_put(engine, request),
        _ => Ok(()),
    })?;
    visit_operations(request, &mut path.iter(), &mut |operation| match operation {
        Request::RequestRange(request) => engine.mvcc.check_revision(request.revision, engine.revision()),
        _ => Ok(()),
    })
}

fn visit_operations<'a>(
    request: &pb::TxnRequest,
    path: &mut impl Iterator<Item = &'a bool>,
    visit: &mut dyn FnMut(&Request) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    for operation in branch(request, *path.next().expect("one decision per transaction")) {
        match &operation.request {
            Some(Request::RequestTxn(nested)) => visit_operations(nested, path, visit)?,
            Some(operation) => visit(operation)?,
            None => {}
        }
    }
    Ok(())
}

pub fn check_put(engine: &Engine, request: &pb::PutRequest) -> Result<(), Refusal> {
    if (request.ignore_value || request.ignore_lease) && engine.mvcc.live(&request.key).is_none() {
        return Err(Refusal::KeyNotFound);
    }
    check_lease(engine, request)?;
    let bytes = PUT_OVERHEAD_BYTES + (request.key.len() + request.value.len()) as u64;
    if engine.limits.store_bytes_max < engine.mvcc.bytes() + bytes {
        return Err(Refusal::NoSpace);
    }
    Ok(())
}

/// A put outside of a transaction is refused for its lease first, inside of one for its key.
pub fn check_lease(engine: &Engine, request: &pb::PutRequest) -> Result<(), Refusal> {
    let is_there = request.lease == 0 || engine.leases.contains(request.lease);
    if is_there { Ok(()) } else { Err(Refusal::LeaseNotFound) }
}

fn run<'a>(
    engine: &mut Engine,
    request: &pb::TxnRequest,
    path: &mut impl Iterator<Item = &'a bool>,
    changes: &mut Changes,
) -> pb::TxnResponse {
    let succeeded = *path.next().expect("one decision per transaction");
    let mut responses = Vec::new();
    for operation in branch(request, succeeded) {
        let response = match &operation.request {
            Some(Request::RequestRange(request)) => {
                let response = engine.mvcc.range(request, engine.mvcc.head());
                Response::ResponseRange(response.expect("check_operations has checked the revision"))
            }
            Some(Request::RequestPut(request)) => Response::ResponsePut(put(engine, request, changes)),
            Some(Request::RequestDeleteRange(request)) => {
                Response::ResponseDeleteRange(delete_range(engine, request, changes))
            }
            Some(Request::RequestTxn(request)) => Response::ResponseTxn(run(engine, request, path, changes)),
            None => continue,
        };
        responses.push(pb::ResponseOp { response: Some(response) });
    }
    // As in etcd, a nested transaction's header says nothing.
    pb::TxnResponse { header: Some(pb::ResponseHeader::default()), succeeded, responses }
}

pub fn put(engine: &mut Engine, request: &pb::PutRequest, changes: &mut Changes) -> pb::PutResponse {
    let before = engine.mvcc.live(&request.key);
    let prev_kv = before.filter(|_| request.prev_kv).map(|before| before.key_value(&copied(&request.key)));
    let lease = match before {
        Some(before) if request.ignore_lease => before.lease,
        _ => request.lease,
    };
    let put = storage::Put {
        key: request.key.clone(),
        value: request.value.clone(),
        lease,
        keep_value: request.ignore_value,
    };
    put_key(engine, &put);
    changes.push(storage::Change { change: Some(storage::change::Change::Put(put)) });
    pb::PutResponse { header: header(engine), prev_kv }
}

pub fn delete_range(
    engine: &mut Engine,
    request: &pb::DeleteRangeRequest,
    changes: &mut Changes,
) -> pb::DeleteRangeResponse {
    let span = Span::of(&request.key, &request.range_end);
    let mut prev_kvs: Vec<KeyValue> = Vec::new();
    if request.prev_kv {
        prev_kvs.extend(engine.mvcc.live_in(span, engine.mvcc.head()).map(|(key, version)| version.key_value(key)));
    }
    let deleted = delete_span(engine, span);
    if deleted > 0 {
        let delete = storage::Delete { key: request.key.clone(), range_end: request.range_end.clone() };
        changes.push(storage::Change { change: Some(storage::change::Change::Delete(delete)) });
    }
    pb::DeleteRangeResponse { header: header(engine), deleted, prev_kvs }
}

pub fn replay(engine: &mut Engine, changes: Changes) {
    for change in changes {
        match change.change {
            Some(storage::change::Change::Put(put)) => put_key(engine, &put),
            Some(storage::change::Change::Delete(delete)) => {
                delete_span(engine, Span::of(&delete.key, &delete.range_end));
            }
            None => {}
        }
    }
}

/// A put without a lease detaches the key from the one it had.
fn put_key(engine: &mut Engine, put: &storage::Put) {
    let before = engine.mvcc.live(&put.key);
    let lease_before = before.map_or(0, |before| before.lease);
    // A copy, since the request's slice would keep its whole buffer in memory.
    let value = match before {
        Some(before) if put.keep_value => before.value.clone(),
        _ => copied(&put.value),
    };
    engine.mvcc.put(&put.key, value, put.lease);
    engine.leases.move_key(&put.key, lease_before, put.lease);
}

fn delete_span(engine: &mut Engine, span: Span<'_>) -> i64 {
    let head = engine.mvcc.head();
    let keys: Vec<(Bytes, i64)> =
        engine.mvcc.live_in(span, head).map(|(key, version)| (key.clone(), version.lease)).collect();
    for (key, lease) in &keys {
        engine.mvcc.delete(key);
        engine.leases.move_key(key, *lease, 0);
    }
    keys.len() as i64
}

fn header(engine: &Engine) -> Option<pb::ResponseHeader> {
    Some(pb::ResponseHeader { revision: engine.mvcc.head(), ..pb::ResponseHeader::default() })
}

fn copied(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}
