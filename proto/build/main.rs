//! Generates the types from `proto/` with a compiler written in Rust, so that no `protoc` need be
//! installed, and the table of calls from the options beside each call.

mod calls;

use std::fs;
use std::path::PathBuf;

use prost::Message as _;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "understudy/v1/common.proto",
        "understudy/v1/metadata.proto",
        "understudy/v1/admin.proto",
        "understudy/v1/replication.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=build");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).open_files(files)?;
    // prost's own types do not know this project's options, so these are read from the encoded
    // bytes.
    let (set, bytes) = (compiler.file_descriptor_set(), compiler.encode_file_descriptor_set());
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    fs::write(out.join("calls.rs"), calls::generate(&calls::FileSet::decode(&bytes[..])?)?)?;
    fs::write(out.join("understudy.v1.bin"), bytes)?;
    // Keys and ids are slices of the received message, not copies of it.
    tonic_prost_build::configure().bytes(".").compile_fds(set)?;
    Ok(())
}
