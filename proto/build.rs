//! Generates the wire contract's Rust from `rampool/v1/*.proto`, with no protoc on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["rampool/v1/pool.proto", "rampool/v1/agent.proto", "rampool/v1/controller.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure()
        // Secrets must not reach a log through Debug: `secrets.rs` writes it by hand.
        .skip_debug([".rampool.v1.ChapSecrets"])
        .compile_fds(descriptors)?;
    Ok(())
}
