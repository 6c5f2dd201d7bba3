//! Compiles the small C library that UML kernels need on CPUs with a large XSAVE area.

use std::{env, path::PathBuf, process::Command};

fn main() {
    println!("cargo::rerun-if-changed=src/xsave_shim.c");
    println!("cargo::rerun-if-env-changed=CC");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    let shim = out.join("xsave_shim.so");
    if env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("x86_64") {
        // UML runs on x86-64 alone. An empty file keeps the crate (and its pure tests) buildable elsewhere.
        std::fs::write(&shim, []).expect("cannot write an empty shim to OUT_DIR");
        return;
    }
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let status = Command::new(&compiler)
        .args(["-O2", "-Wall", "-shared", "-fPIC", "-o"])
        .arg(&shim)
        .args(["src/xsave_shim.c", "-ldl"])
        .status()
        .unwrap_or_else(|e| panic!("cannot run the C compiler `{compiler}` ({e}): install gcc"));
    assert!(status.success(), "`{compiler}` could not compile src/xsave_shim.c: {status}");
}
