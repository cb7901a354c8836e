//! Finds libdpdk and stamps the version.
//!
//! `dpdk-sys` checks the release and says what to install; this only asks which one it is, for
//! `multistack --version`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=.git/HEAD");
    let dpdk = pkg_config::Config::new()
        .cargo_metadata(false)
        .probe("libdpdk")
        .map_or_else(|_| "unknown".to_owned(), |library| library.version);
    let commit = Command::new("git")
        .args(["describe", "--always", "--dirty", "--tags"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "no git".to_owned(), |text| text.trim().to_owned());
    let version = env!("CARGO_PKG_VERSION");
    println!("cargo::rustc-env=MULTISTACK_VERSION={version} ({commit}, built with DPDK {dpdk})");
}
