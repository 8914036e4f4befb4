//! Between the Store trait's types and etcd's messages.

use crate::api::*;
use crate::wire::etcdserverpb as pb;
use crate::wire::mvccpb;
use pb::compare::{CompareResult, CompareTarget, TargetUnion};
use pb::request_op::Request;
use pb::response_op::Response;
use std::time::Duration;

pub fn range_request(request: RangeRequest) -> pb::RangeRequest {
    pb::RangeRequest {
        key: request.range.key,
        range_end: request.range.end,
        limit: request.limit,
        revision: request.revision,
        keys_only: request.keys_only,
        count_only: request.count_only,
        ..pb::RangeRequest::default()
    }
}

pub fn range_response(response: pb::RangeResponse) -> RangeResponse {
    RangeResponse {
        revision: response.header.map_or(0, |header| header.revision),
        kvs: response.kvs.into_iter().map(key_value).collect(),
        count: response.count,
        more: response.more,
    }
}

pub fn txn_request(request: TxnRequest) -> pb::TxnRequest {
    let operations = |list: Vec<Operation>| list.into_iter().map(operation).collect();
    pb::TxnRequest {
        compare: request.compare.into_iter().map(compare).collect(),
        success: operations(request.success),
        failure: operations(request.failure),
    }
}

pub fn txn_response(response: pb::TxnResponse) -> TxnResponse {
    let responses = response.responses.into_iter().filter_map(|operation| match operation.response? {
        Response::ResponseRange(response) => Some(OperationResponse::Range(range_response(response))),
        Response::ResponsePut(response) => Some(OperationResponse::Put { prev_kv: response.prev_kv.map(key_value) }),
        Response::ResponseDeleteRange(response) => Some(OperationResponse::Delete {
            deleted: response.deleted,
            prev_kvs: response.prev_kvs.into_iter().map(key_value).collect(),
        }),
        // The trait's transactions do not nest.
        Response::ResponseTxn(_) => None,
    });
    TxnResponse {
        revision: response.header.map_or(0, |header| header.revision),
        succeeded: response.succeeded,
        responses: responses.collect(),
    }
}

pub fn watch_request(request: WatchRequest) -> pb::WatchCreateRequest {
    pb::WatchCreateRequest {
        key: request.range.key,
        range_end: request.range.end,
        start_revision: request.start_revision,
        progress_notify: true,
        prev_kv: request.prev_kv,
        ..pb::WatchCreateRequest::default()
    }
}

pub fn events(events: Vec<mvccpb::Event>) -> Vec<Event> {
    let event = |event: mvccpb::Event| {
        let is_delete = event.r#type() == mvccpb::event::EventType::Delete;
        let (kv, prev_kv) = (key_value(event.kv?), event.prev_kv.map(key_value));
        Some(match is_delete {
            true => Event::Delete { key: kv.key, mod_revision: kv.mod_revision, prev_kv },
            false => Event::Put { kv, prev_kv },
        })
    };
    events.into_iter().filter_map(event).collect()
}

/// Whole seconds, rounded up: a lease never ends before it was asked to.
pub fn seconds(ttl: Duration) -> i64 {
    let whole = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
    i64::try_from(whole).unwrap_or(i64::MAX)
}

pub fn duration(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

fn key_value(kv: mvccpb::KeyValue) -> KeyValue {
    KeyValue {
        key: kv.key,
        value: kv.value,
        create_revision: kv.create_revision,
        mod_revision: kv.mod_revision,
        version: kv.version,
        lease: kv.lease,
    }
}

fn operation(operation: Operation) -> pb::RequestOp {
    let request = match operation {
        Operation::Range(request) => Request::RequestRange(range_request(request)),
        Operation::Put(request) => Request::RequestPut(pb::PutRequest {
            key: request.key,
            value: request.value,
            lease: request.lease,
            prev_kv: request.prev_kv,
            ..pb::PutRequest::default()
        }),
        Operation::Delete { range, prev_kv } => {
            Request::RequestDeleteRange(pb::DeleteRangeRequest { key: range.key, range_end: range.end, prev_kv })
        }
    };
    pb::RequestOp { request: Some(request) }
}

fn compare(compare: Compare) -> pb::Compare {
    let result = match compare.order {
        Order::Equal => CompareResult::Equal,
        Order::Greater => CompareResult::Greater,
        Order::Less => CompareResult::Less,
        Order::NotEqual => CompareResult::NotEqual,
    };
    let (target, union) = match compare.target {
        Target::Version(version) => (CompareTarget::Version, TargetUnion::Version(version)),
        Target::CreateRevision(revision) => (CompareTarget::Create, TargetUnion::CreateRevision(revision)),
        Target::ModRevision(revision) => (CompareTarget::Mod, TargetUnion::ModRevision(revision)),
        Target::Value(value) => (CompareTarget::Value, TargetUnion::Value(value)),
        Target::Lease(lease) => (CompareTarget::Lease, TargetUnion::Lease(lease)),
    };
    pb::Compare {
        result: result.into(),
        target: target.into(),
        key: compare.range.key,
        range_end: compare.range.end,
        target_union: Some(union),
    }
}
