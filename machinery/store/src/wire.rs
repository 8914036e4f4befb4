//! The generated messages: etcd's v3 API our storage format and our dumps'.

#[allow(clippy::all, unreachable_pub)]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

#[allow(clippy::all, unreachable_pub)]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

#[allow(clippy::all, unreachable_pub)]
pub mod storage {
    tonic::include_proto!("roadstead.store.v0");
}

#[allow(clippy::all, unreachable_pub)]
pub mod dump {
    tonic::include_proto!("roadstead.dump.v1");
}

/// What only clients speak.
#[allow(clippy::all, unreachable_pub)]
pub mod administration {
    include!(concat!(env!("OUT_DIR"), "/administration/etcdserverpb.rs"));
}
