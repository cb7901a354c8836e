//! Finds libdpdk, compiles the shim and generates the bindings.

use std::{env, path::PathBuf, process};

const OLDEST: &str = "22.11";

const SHIM: [&str; 7] = [
    "bus.c",
    "eal.c",
    "ethdev.c",
    "malloc.c",
    "mbuf.c",
    "mempool.c",
    "memzone.c",
];

/// Functions of DPDK that are exported and so need no shim.
const FUNCTIONS: [&str; 29] = [
    "rte_eal_get_runtime_dir",
    "rte_eal_init",
    "rte_eal_iova_mode",
    "rte_eal_remote_launch",
    "rte_eal_wait_lcore",
    "rte_eth_allmulticast_enable",
    "rte_eth_dev_close",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_is_valid_port",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_promiscuous_enable",
    "rte_eth_stats_get",
    "rte_free",
    "rte_get_main_lcore",
    "rte_get_next_lcore",
    "rte_lcore_cpuset",
    "rte_lcore_to_socket_id",
    "rte_malloc",
    "rte_mempool_avail_count",
    "rte_mempool_obj_iter",
    "rte_memzone_lookup",
    "rte_memzone_reserve_aligned",
    "rte_openlog_stream",
    "rte_pktmbuf_free_bulk",
    "rte_service_finalize",
    "rte_strerror",
    "rte_version",
    "ms_.*",
];

/// Ends the build with this one line: with an exit status of its own, cargo would print pages.
fn fail(message: &str) -> ! {
    println!("cargo::error={message}");
    process::exit(0);
}

fn find_dpdk() -> pkg_config::Library {
    let mut probe = pkg_config::Config::new();
    probe
        .atleast_version(OLDEST)
        .probe("libdpdk")
        .unwrap_or_else(|_| {
            let found = pkg_config(&["--modversion"]).unwrap_or_else(|| "none".to_owned());
            fail(&format!(
                "libdpdk >= {OLDEST} not found by pkg-config (found {}): \
             on Debian and Ubuntu: apt-get install libdpdk-dev",
                found.trim()
            ))
        })
}

fn pkg_config(args: &[&str]) -> Option<String> {
    let tool = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let out = process::Command::new(tool)
        .args(args)
        .arg("libdpdk")
        .output()
        .ok()?;
    out.status
        .success()
        .then(|| String::from_utf8_lossy(&out.stdout).into_owned())
}

/// All of `pkg-config --cflags`: the crate drops `-include` and `-march`.
fn cflags() -> Vec<String> {
    let Some(flags) = pkg_config(&["--cflags"]) else {
        fail("pkg-config --cflags libdpdk failed");
    };
    let mut flags: Vec<String> = flags.split_whitespace().map(ToOwned::to_owned).collect();
    // For cpu_set_t and fopencookie.
    flags.push("-D_GNU_SOURCE".to_owned());
    flags
}

fn main() {
    println!("cargo::rerun-if-changed=shim");
    let dpdk = find_dpdk();
    println!("cargo::metadata=VERSION={}", dpdk.version);
    // For shim/bus.c; pkg-config leaves drivers, buses among them, to be loaded at run time.
    println!("cargo::rustc-link-lib=rte_bus_vdev");
    let cflags = cflags();

    let mut shim = cc::Build::new();
    for file in SHIM {
        shim.file(format!("shim/{file}"));
    }
    for flag in &cflags {
        shim.flag(flag);
    }
    // A debug build of the shim would make every burst slow, and hide nothing worth debugging.
    shim.opt_level(3).compile("multistack_dpdk_shim");

    let mut builder = bindgen::Builder::default()
        .header("shim/shim.h")
        .clang_args(&cflags)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()))
        .allowlist_var("MS_.*|RTE_IOVA_PA")
        .allowlist_type("ms_.*")
        .blocklist_type("rte_mbuf|rte_mbuf_.*|FILE|_IO_FILE")
        .opaque_type("rte_mempool|rte_memzone|rte_cpuset_t|cpu_set_t")
        .raw_line("use super::rte_mbuf;")
        .generate_comments(false)
        .prepend_enum_name(false);
    for function in FUNCTIONS {
        builder = builder.allowlist_function(function);
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("bindings.rs");
    match builder.generate() {
        Ok(bindings) => {
            if let Err(error) = bindings.write_to_file(&out) {
                fail(&format!("{}: {error}", out.display()));
            }
        }
        Err(error) => fail(&format!("bindgen over DPDK's headers: {error}")),
    }
}
