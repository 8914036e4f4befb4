//! etcd's messages as JSON: bytes in base64, 64-bit integers as strings, enumerations by name, zeros left out. What is read
//! may also be numbers, and names in camel case, as protobuf's JSON mapping allows.

use super::pb;
use crate::wire::mvccpb;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use bytes::Bytes;
use pb::compare::TargetUnion;
use pb::request_op::Request;
use pb::response_op::Response;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::fmt;

// ---- reading

#[derive(Default)]
struct Base64(Bytes);

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        let decoded =
            [STANDARD, URL_SAFE, STANDARD_NO_PAD, URL_SAFE_NO_PAD].iter().find_map(|it| it.decode(&text).ok());
        decoded.map(|bytes| Self(bytes.into())).ok_or_else(|| D::Error::custom("illegal base64 data"))
    }
}

#[derive(Clone, Copy, Default)]
struct Integer(i64);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Expected;
        impl Visitor<'_> for Expected {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a 64-bit integer, as a number or a string")
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Integer, E> {
                Ok(Integer(number))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Integer, E> {
                i64::try_from(number).map(Integer).map_err(E::custom)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Integer, E> {
                text.parse().map(Integer).map_err(E::custom)
            }
            fn visit_unit<E: Error>(self) -> Result<Integer, E> {
                Ok(Integer(0))
            }
        }
        deserializer.deserialize_any(Expected)
    }
}

/// An enumeration's value, by name or by number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Choice {
    Number(i32),
    Name(String),
}

impl Choice {
    /// A name that is unknown becomes a number that is, and is refused with it.
    fn number(choice: Option<Self>, number_of: impl Fn(&str) -> Option<i32>) -> i32 {
        match choice {
            None => 0,
            Some(Self::Number(number)) => number,
            Some(Self::Name(name)) => number_of(&name).unwrap_or(i32::MAX),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct RangeRequest {
    key: Base64,
    #[serde(alias = "rangeEnd")]
    range_end: Base64,
    limit: Integer,
    revision: Integer,
    #[serde(alias = "sortOrder")]
    sort_order: Option<Choice>,
    #[serde(alias = "sortTarget")]
    sort_target: Option<Choice>,
    serializable: bool,
    #[serde(alias = "keysOnly")]
    keys_only: bool,
    #[serde(alias = "countOnly")]
    count_only: bool,
    #[serde(alias = "minModRevision")]
    min_mod_revision: Integer,
    #[serde(alias = "maxModRevision")]
    max_mod_revision: Integer,
    #[serde(alias = "minCreateRevision")]
    min_create_revision: Integer,
    #[serde(alias = "maxCreateRevision")]
    max_create_revision: Integer,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct PutRequest {
    key: Base64,
    value: Base64,
    lease: Integer,
    #[serde(alias = "prevKv")]
    prev_kv: bool,
    #[serde(alias = "ignoreValue")]
    ignore_value: bool,
    #[serde(alias = "ignoreLease")]
    ignore_lease: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct DeleteRangeRequest {
    key: Base64,
    #[serde(alias = "rangeEnd")]
    range_end: Base64,
    #[serde(alias = "prevKv")]
    prev_kv: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct TxnRequest {
    compare: Vec<Compare>,
    success: Vec<Operation>,
    failure: Vec<Operation>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Compare {
    result: Option<Choice>,
    target: Option<Choice>,
    key: Base64,
    #[serde(alias = "rangeEnd")]
    range_end: Base64,
    version: Option<Integer>,
    #[serde(alias = "createRevision")]
    create_revision: Option<Integer>,
    #[serde(alias = "modRevision")]
    mod_revision: Option<Integer>,
    value: Option<Base64>,
    lease: Option<Integer>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Operation {
    #[serde(alias = "requestRange")]
    request_range: Option<RangeRequest>,
    #[serde(alias = "requestPut")]
    request_put: Option<PutRequest>,
    #[serde(alias = "requestDeleteRange")]
    request_delete_range: Option<DeleteRangeRequest>,
    #[serde(alias = "requestTxn")]
    request_txn: Option<TxnRequest>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub struct AuthenticateRequest {
    pub name: String,
    pub password: String,
}

impl From<RangeRequest> for pb::RangeRequest {
    fn from(request: RangeRequest) -> Self {
        use pb::range_request::{SortOrder, SortTarget};
        let order = |name: &str| SortOrder::from_str_name(name).map(i32::from);
        let target = |name: &str| SortTarget::from_str_name(name).map(i32::from);
        Self {
            key: request.key.0,
            range_end: request.range_end.0,
            limit: request.limit.0,
            revision: request.revision.0,
            sort_order: Choice::number(request.sort_order, order),
            sort_target: Choice::number(request.sort_target, target),
            serializable: request.serializable,
            keys_only: request.keys_only,
            count_only: request.count_only,
            min_mod_revision: request.min_mod_revision.0,
            max_mod_revision: request.max_mod_revision.0,
            min_create_revision: request.min_create_revision.0,
            max_create_revision: request.max_create_revision.0,
        }
    }
}

impl From<PutRequest> for pb::PutRequest {
    fn from(request: PutRequest) -> Self {
        Self {
            key: request.key.0,
            value: request.value.0,
            lease: request.lease.0,
            prev_kv: request.prev_kv,
            ignore_value: request.ignore_value,
            ignore_lease: request.ignore_lease,
        }
    }
}

impl From<DeleteRangeRequest> for pb::DeleteRangeRequest {
    fn from(request: DeleteRangeRequest) -> Self {
        Self { key: request.key.0, range_end: request.range_end.0, prev_kv: request.prev_kv }
    }
}

impl From<TxnRequest> for pb::TxnRequest {
    fn from(request: TxnRequest) -> Self {
        let operations = |list: Vec<Operation>| list.into_iter().map(Into::into).collect();
        Self {
            compare: request.compare.into_iter().map(Into::into).collect(),
            success: operations(request.success),
            failure: operations(request.failure),
        }
    }
}

impl From<Compare> for pb::Compare {
    fn from(compare: Compare) -> Self {
        use pb::compare::{CompareResult, CompareTarget};
        let target_union = None
            .or(compare.version.map(|Integer(version)| TargetUnion::Version(version)))
            .or(compare.create_revision.map(|Integer(revision)| TargetUnion::CreateRevision(revision)))
            .or(compare.mod_revision.map(|Integer(revision)| TargetUnion::ModRevision(revision)))
            .or(compare.value.map(|Base64(value)| TargetUnion::Value(value)))
            .or(compare.lease.map(|Integer(lease)| TargetUnion::Lease(lease)));
        Self {
            result: Choice::number(compare.result, |name| CompareResult::from_str_name(name).map(i32::from)),
            target: Choice::number(compare.target, |name| CompareTarget::from_str_name(name).map(i32::from)),
            key: compare.key.0,
            range_end: compare.range_end.0,
            target_union,
        }
    }
}

impl From<Operation> for pb::RequestOp {
    fn from(operation: Operation) -> Self {
        let request = None
            .or(operation.request_range.map(|request| Request::RequestRange(request.into())))
            .or(operation.request_put.map(|request| Request::RequestPut(request.into())))
            .or(operation.request_delete_range.map(|request| Request::RequestDeleteRange(request.into())))
            .or(operation.request_txn.map(|request| Request::RequestTxn(request.into())));
        Self { request }
    }
}

// ---- writing

pub fn range_response(response: pb::RangeResponse) -> Value {
    object([
        ("header", header(response.header)),
        ("kvs", list(response.kvs, key_value)),
        ("more", boolean(response.more)),
        ("count", integer(response.count)),
    ])
}

pub fn put_response(response: pb::PutResponse) -> Value {
    let prev_kv = response.prev_kv.map_or(Value::Null, key_value);
    object([("header", header(response.header)), ("prev_kv", prev_kv)])
}

pub fn delete_range_response(response: pb::DeleteRangeResponse) -> Value {
    object([
        ("header", header(response.header)),
        ("deleted", integer(response.deleted)),
        ("prev_kvs", list(response.prev_kvs, key_value)),
    ])
}

pub fn txn_response(response: pb::TxnResponse) -> Value {
    object([
        ("header", header(response.header)),
        ("succeeded", boolean(response.succeeded)),
        ("responses", list(response.responses, operation_response)),
    ])
}

pub fn header(header: Option<pb::ResponseHeader>) -> Value {
    let Some(header) = header else { return Value::Null };
    let members = object([
        ("cluster_id", unsigned(header.cluster_id)),
        ("member_id", unsigned(header.member_id)),
        ("revision", integer(header.revision)),
        ("raft_term", unsigned(header.raft_term)),
    ]);
    // A header that is there but says nothing is an empty object.
    if members.is_null() { json!({}) } else { members }
}

fn operation_response(operation: pb::ResponseOp) -> Value {
    match operation.response {
        Some(Response::ResponseRange(response)) => json!({ "response_range": range_response(response) }),
        Some(Response::ResponsePut(response)) => json!({ "response_put": put_response(response) }),
        Some(Response::ResponseDeleteRange(response)) => {
            json!({ "response_delete_range": delete_range_response(response) })
        }
        Some(Response::ResponseTxn(response)) => json!({ "response_txn": txn_response(response) }),
        None => json!({}),
    }
}

fn key_value(kv: mvccpb::KeyValue) -> Value {
    object([
        ("key", base64(&kv.key)),
        ("create_revision", integer(kv.create_revision)),
        ("mod_revision", integer(kv.mod_revision)),
        ("version", integer(kv.version)),
        ("value", base64(&kv.value)),
        ("lease", integer(kv.lease)),
    ])
}

/// The members that are not null.
fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    let members: Map<String, Value> = members
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    Value::Object(members)
}

fn list<T>(items: Vec<T>, item: impl Fn(T) -> Value) -> Value {
    if items.is_empty() { Value::Null } else { Value::Array(items.into_iter().map(item).collect()) }
}

fn integer(number: i64) -> Value {
    if number == 0 { Value::Null } else { Value::String(number.to_string()) }
}

fn unsigned(number: u64) -> Value {
    if number == 0 { Value::Null } else { Value::String(number.to_string()) }
}

fn boolean(truth: bool) -> Value {
    if truth { Value::Bool(true) } else { Value::Null }
}

fn base64(bytes: &[u8]) -> Value {
    if bytes.is_empty() { Value::Null } else { Value::String(STANDARD.encode(bytes)) }
}
