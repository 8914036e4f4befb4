//! Generates etcd's messages and our storage format from .proto files by protox: no protoc is needed.

use std::path::PathBuf;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let descriptors =
        protox::compile(["proto/etcdserverpb.proto", "proto/storage.proto", "proto/dump.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;

    let out = PathBuf::from(std::env::var("OUT_DIR")?).join("administration");
    std::fs::create_dir_all(&out)?;
    let descriptors = protox::compile(["proto/administration.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".").build_server(false).out_dir(out).compile_fds(descriptors)?;
    Ok(())
}
