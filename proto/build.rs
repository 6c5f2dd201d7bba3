//! Generates the wire contract's Rust from `rampool/v1/*.proto`, with no protoc on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files =
        ["pool", "agent", "controller", "job"].map(|name| format!("rampool/v1/{name}.proto"));
    for file in &files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["."])?;
    tonic_prost_build::configure()
        // Secrets must not reach a log through Debug: `secrets.rs` writes it by hand.
        .skip_debug([".rampool.v1.ChapSecrets"])
        .compile_fds(descriptors)?;
    Ok(())
}
