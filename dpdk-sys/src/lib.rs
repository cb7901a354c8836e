//! Raw bindings to DPDK: an allowlist by bindgen, and `shim/` for what DPDK has only as static
//! inlines or lays out differently from release to release. Safe code is in `multistack-dpdk`.

mod mbuf;

pub use bindings::*;
pub use mbuf::rte_mbuf;

mod bindings {
    #![allow(missing_docs, nonstandard_style, unsafe_op_in_unsafe_fn)]
    #![allow(clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]

    pub type FILE = core::ffi::c_void;

    include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
}
