//! What the engine refuses, with etcd's own codes and texts: clients match on the text
//! (etcd 3.4, etcdserver/api/v3rpc/rpctypes/error.go).

use crate::{RefusalCode, StoreError};
use tonic::{Code, Status};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    EmptyKey,
    KeyNotFound,
    ValueProvided,
    LeaseProvided,
    TooManyOperations,
    DuplicateKey,
    RequestTooLarge,
    Compacted,
    FutureRevision,
    NoSpace,
    LeaseNotFound,
    LeaseExists,
    LeaseTtlTooLarge,
    InvalidSortOption,
    UserEmpty,
    InvalidAuthToken,
    AuthenticationFailed,
    AuthenticationNotEnabled,
    PermissionDenied,
}

impl Refusal {
    pub fn message(self) -> &'static str {
        match self {
            Self::EmptyKey => "etcdserver: key is not provided",
            Self::KeyNotFound => "etcdserver: key not found",
            Self::ValueProvided => "etcdserver: value is provided",
            Self::LeaseProvided => "etcdserver: lease is provided",
            Self::TooManyOperations => "etcdserver: too many operations in txn request",
            Self::DuplicateKey => "etcdserver: duplicate key given in txn request",
            Self::RequestTooLarge => "etcdserver: request is too large",
            Self::Compacted => "etcdserver: mvcc: required revision has been compacted",
            Self::FutureRevision => "etcdserver: mvcc: required revision is a future revision",
            Self::NoSpace => "etcdserver: mvcc: database space exceeded",
            Self::LeaseNotFound => "etcdserver: requested lease not found",
            Self::LeaseExists => "etcdserver: lease already exists",
            Self::LeaseTtlTooLarge => "etcdserver: too large lease TTL",
            Self::InvalidSortOption => "etcdserver: invalid sort option",
            Self::UserEmpty => "etcdserver: user name is empty",
            Self::InvalidAuthToken => "etcdserver: invalid auth token",
            Self::AuthenticationFailed => "etcdserver: authentication failed, invalid user ID or password",
            Self::AuthenticationNotEnabled => "etcdserver: authentication is not enabled",
            Self::PermissionDenied => "etcdserver: permission denied",
        }
    }

    pub fn code(self) -> RefusalCode {
        match self {
            Self::EmptyKey
            | Self::KeyNotFound
            | Self::ValueProvided
            | Self::LeaseProvided
            | Self::TooManyOperations
            | Self::DuplicateKey
            | Self::RequestTooLarge
            | Self::InvalidSortOption
            | Self::UserEmpty
            | Self::AuthenticationFailed => RefusalCode::InvalidArgument,
            Self::Compacted | Self::FutureRevision | Self::LeaseTtlTooLarge => RefusalCode::OutOfRange,
            Self::NoSpace => RefusalCode::ResourceExhausted,
            Self::LeaseNotFound => RefusalCode::NotFound,
            Self::LeaseExists | Self::AuthenticationNotEnabled => RefusalCode::FailedPrecondition,
            Self::InvalidAuthToken => RefusalCode::Unauthenticated,
            Self::PermissionDenied => RefusalCode::PermissionDenied,
        }
    }
}

impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused { code: refusal.code(), message: refusal.message().into() }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(grpc_code(refusal.code()), refusal.message())
    }
}

/// An error as the server answers it.
pub fn status_of(error: StoreError) -> Status {
    match error {
        StoreError::Refused { code, message } => Status::new(grpc_code(code), message),
        StoreError::Compacted { .. } => Refusal::Compacted.into(),
        StoreError::Unavailable { message } => Status::unavailable(message),
        StoreError::Disk { source } => Status::unavailable(format!("the store's disk failed: {source}")),
    }
}

/// A server's answer as the client's error.
pub fn error_of(status: &Status) -> StoreError {
    let message = status.message().to_owned();
    let code = match status.code() {
        Code::InvalidArgument => RefusalCode::InvalidArgument,
        Code::NotFound => RefusalCode::NotFound,
        Code::FailedPrecondition => RefusalCode::FailedPrecondition,
        Code::OutOfRange => RefusalCode::OutOfRange,
        Code::ResourceExhausted => RefusalCode::ResourceExhausted,
        Code::PermissionDenied => RefusalCode::PermissionDenied,
        Code::Unauthenticated => RefusalCode::Unauthenticated,
        Code::Unimplemented => RefusalCode::Unimplemented,
        // etcd itself answers these while it has no leader, and tonic when a connection breaks: try again later.
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Aborted => {
            return StoreError::Unavailable { message };
        }
        _ => RefusalCode::Other,
    };
    StoreError::Refused { code, message }
}

fn grpc_code(code: RefusalCode) -> Code {
    match code {
        RefusalCode::InvalidArgument => Code::InvalidArgument,
        RefusalCode::NotFound => Code::NotFound,
        RefusalCode::FailedPrecondition => Code::FailedPrecondition,
        RefusalCode::OutOfRange => Code::OutOfRange,
        RefusalCode::ResourceExhausted => Code::ResourceExhausted,
        RefusalCode::PermissionDenied => Code::PermissionDenied,
        RefusalCode::Unauthenticated => Code::Unauthenticated,
        RefusalCode::Unimplemented => Code::Unimplemented,
        RefusalCode::Other => Code::Internal,
    }
}
