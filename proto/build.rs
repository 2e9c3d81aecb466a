//! Generates the types from `proto/`, with a compiler written in Rust: no `protoc` needs to be installed.

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "understudy/v1/common.proto",
        "understudy/v1/metadata.proto",
        "understudy/v1/admin.proto",
        "understudy/v1/replication.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let set = protox::compile(files, ["proto"])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("understudy.v1.bin"), set.encode_to_vec())?;
    // Keys and ids are slices of the received message, not copies of it.
    tonic_prost_build::configure().bytes(".").compile_fds(set)?;
    Ok(())
}
