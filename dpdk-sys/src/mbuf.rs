//! The first cache line of DPDK's packet buffer header.
//!
//! Mirrored by hand because bindgen's names for the anonymous unions in it change with the DPDK
//! release, and the packet path reads these fields. The C compiler's offsets decide: a release
//! that moves a field does not compile.

use core::{ffi::c_void, mem::offset_of};

use crate::bindings as c;

/// DPDK's `struct rte_mbuf` (`rte_mbuf_core.h`); the fields are documented there.
#[allow(non_camel_case_types, reason = "the name is DPDK's")]
#[allow(missing_docs, reason = "documented in rte_mbuf_core.h")]
#[derive(Debug)]
#[repr(C, align(64))]
pub struct rte_mbuf {
    pub buf_addr: *mut c_void,
    pub buf_iova: u64,
    pub data_off: u16,
    pub refcnt: u16,
    pub nb_segs: u16,
    pub port: u16,
    pub ol_flags: u64,
    pub packet_type: u32,
    pub pkt_len: u32,
    pub data_len: u16,
    pub vlan_tci: u16,
    pub hash: [u32; 2],
    pub vlan_tci_outer: u16,
    pub buf_len: u16,
    pub pool: *mut c::rte_mempool,
    pub next: *mut rte_mbuf,
    pub tx_offload: u64,
    private: [u64; 6],
}

macro_rules! same_offset {
    ($($field:ident = $offset:ident),* $(,)?) => {
        $(const _: () = assert!(offset_of!(rte_mbuf, $field) == c::$offset as usize);)*
    };
}

const _: () = assert!(size_of::<rte_mbuf>() == c::MS_MBUF_SIZE as usize);
const _: () = assert!(align_of::<rte_mbuf>() == c::MS_MBUF_ALIGN as usize);
same_offset! {
    buf_addr = MS_MBUF_BUF_ADDR,
    data_off = MS_MBUF_DATA_OFF,
    refcnt = MS_MBUF_REFCNT,
    nb_segs = MS_MBUF_NB_SEGS,
    port = MS_MBUF_PORT,
    ol_flags = MS_MBUF_OL_FLAGS,
    packet_type = MS_MBUF_PACKET_TYPE,
    pkt_len = MS_MBUF_PKT_LEN,
    data_len = MS_MBUF_DATA_LEN,
    vlan_tci = MS_MBUF_VLAN_TCI,
    hash = MS_MBUF_HASH,
    buf_len = MS_MBUF_BUF_LEN,
    pool = MS_MBUF_POOL,
    tx_offload = MS_MBUF_TX_OFFLOAD,
}
