//! Packet buffers.

use std::{
    ffi::c_void,
    fmt,
    mem::ManuallyDrop,
    ptr::{self, NonNull},
    slice,
};

use arrayvec::ArrayVec;
use dpdk_sys as c;

use ring::prefetch_write;

use crate::mempool::{self, HEADROOM};

/// The most buffers that one [`Burst`] holds.
pub const BURST: usize = 64;

/// A burst of packets in their order.
pub type Burst = ArrayVec<Mbuf, BURST>;

/// One packet buffer, uniquely owned: a single segment from the process's one packet pool, with
/// one reference and its data in its own room. Dropping it gives it back to the pool.
///
/// `data` lies at `data_off` bytes into the room of `buf_len` bytes, and
/// `data_off + len() <= buf_len` always holds.
#[repr(transparent)]
pub struct Mbuf(NonNull<c::rte_mbuf>);

// SAFETY: an Mbuf has no other user, and the pool takes buffers back on any thread.
unsafe impl Send for Mbuf {}
// SAFETY: &Mbuf only reads.
unsafe impl Sync for Mbuf {}

/// What the device found out about the checksums of a packet that it received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The device did not look; check it in software.
    Unknown,
    /// Right.
    Good,
    /// Wrong.
    Bad,
}

/// The checksum of a TCP or UDP packet, for the device that sends it to finish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeftChecksum {
    /// Bytes of Ethernet header, tags included; 127 at most.
    pub l2_len: u16,
    /// Bytes of IP header; 511 at most.
    pub l3_len: u16,
    /// Of IPv4; else of IPv6.
    pub is_ipv4: bool,
    /// TCP; else UDP.
    pub is_tcp: bool,
}

impl Mbuf {
    /// # Safety
    /// `raw` is a buffer of the process's packet pool that nobody else uses: one segment, one
    /// reference, its data in its own room.
    pub(crate) unsafe fn from_raw(raw: NonNull<c::rte_mbuf>) -> Self {
        Self(raw)
    }

    /// Gives up ownership without giving the buffer back to the pool.
    pub(crate) fn into_raw(self) -> NonNull<c::rte_mbuf> {
        ManuallyDrop::new(self).0
    }

    pub(crate) fn as_raw(&self) -> NonNull<c::rte_mbuf> {
        self.0
    }

    #[inline]
    fn header(&self) -> &c::rte_mbuf {
        // SAFETY: points to a live header that only this Mbuf uses.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn header_mut(&mut self) -> &mut c::rte_mbuf {
        // SAFETY: as in header().
        unsafe { self.0.as_mut() }
    }

    /// The packet.
    #[inline]
    pub fn data(&self) -> &[u8] {
        let h = self.header();
        // SAFETY: data_off + data_len <= buf_len (the type's invariant), and the pool's memory
        // was zeroed when it was made, so all of the room is initialised.
        unsafe {
            let start = h.buf_addr.cast::<u8>().add(h.data_off.into());
            slice::from_raw_parts(start, h.data_len.into())
        }
    }

    /// The packet, to be written to.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let h = self.header_mut();
        // SAFETY: as in data(), and &mut self makes it exclusive.
        unsafe {
            let start = h.buf_addr.cast::<u8>().add(h.data_off.into());
            slice::from_raw_parts_mut(start, h.data_len.into())
        }
    }

    /// The whole room, headroom and tailroom included; the packet is `offset()..offset() + len()`
    /// of it.
    pub fn room_mut(&mut self) -> &mut [u8] {
        let h = self.header_mut();
        // SAFETY: as in data_mut(): buf_len bytes from buf_addr are this buffer's own.
        unsafe { slice::from_raw_parts_mut(h.buf_addr.cast::<u8>(), h.buf_len.into()) }
    }

    /// The length of the packet in bytes.
    #[inline]
    #[allow(
        clippy::len_without_is_empty,
        reason = "an empty packet is no special case"
    )]
    pub fn len(&self) -> u16 {
        self.header().data_len
    }

    /// The bytes from the start of the room to the packet.
    #[inline]
    pub fn offset(&self) -> u16 {
        self.header().data_off
    }

    /// The bytes of the whole room.
    pub fn room_len(&self) -> u16 {
        self.header().buf_len
    }

    /// The bytes of room behind the packet.
    pub fn tailroom(&self) -> u16 {
        let h = self.header();
        h.buf_len - h.data_off - h.data_len
    }

    /// The port that the packet came in at; `u16::MAX` if at none.
    pub fn port(&self) -> u16 {
        self.header().port
    }

    /// The RSS hash, if the device gave one.
    pub fn rss_hash(&self) -> Option<u32> {
        /// `RTE_MBUF_F_RX_RSS_HASH`
        const RSS_HASH: u64 = 1 << 1;
        let h = self.header();
        (h.ol_flags & RSS_HASH != 0).then_some(h.hash[0])
    }

    /// What the device says of the IPv4 header checksum.
    #[inline]
    pub fn ip_checksum(&self) -> Checksum {
        checksum(
            self.header().ol_flags,
            c::MS_RX_IP_CKSUM_GOOD,
            c::MS_RX_IP_CKSUM_BAD,
        )
    }

    /// What the device says of the TCP or UDP checksum.
    #[inline]
    pub fn l4_checksum(&self) -> Checksum {
        checksum(
            self.header().ol_flags,
            c::MS_RX_L4_CKSUM_GOOD,
            c::MS_RX_L4_CKSUM_BAD,
        )
    }

    /// Leaves the checksum of this packet to the device that sends it, which must be one that
    /// [finishes](crate::ethdev::Offloads::tx_checksum) them. Its field must hold the sum of
    /// the pseudo-header, not inverted (`rte_ipv4_phdr_cksum`, `rte_ipv6_phdr_cksum`).
    pub fn leave_checksum(&mut self, left: LeftChecksum) {
        let version = if left.is_ipv4 {
            c::MS_TX_IPV4
        } else {
            c::MS_TX_IPV6
        };
        let l4 = if left.is_tcp {
            c::MS_TX_TCP_CKSUM
        } else {
            c::MS_TX_UDP_CKSUM
        };
        let h = self.header_mut();
        h.ol_flags = version | l4;
        // RTE_MBUF_L2_LEN_OFS and RTE_MBUF_L3_LEN_OFS, with as many bits each.
        h.tx_offload = u64::from(left.l2_len & 0x7f) | u64::from(left.l3_len & 0x1ff) << 7;
    }

    /// Places the packet at `offset` bytes into the room, `len` bytes long, and forgets what the
    /// device said about it. The bytes there are what they were. Returns false and changes nothing
    /// if that does not fit the room.
    #[inline]
    #[must_use]
    pub fn set_data(&mut self, offset: u16, len: u16) -> bool {
        let h = self.header_mut();
        if u32::from(offset) + u32::from(len) > u32::from(h.buf_len) {
            return false;
        }
        h.data_off = offset;
        h.data_len = len;
        h.pkt_len = len.into();
        h.ol_flags = 0;
        true
    }

    /// Appends `bytes` to the packet. Returns false and changes nothing if they do not fit.
    #[must_use]
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let (offset, len) = (usize::from(self.offset()), usize::from(self.len()));
        let Some(end) = len
            .checked_add(bytes.len())
            .and_then(|n| u16::try_from(n).ok())
        else {
            return false;
        };
        if bytes.len() > usize::from(self.tailroom()) {
            return false;
        }
        self.room_mut()[offset + len..offset + usize::from(end)].copy_from_slice(bytes);
        let h = self.header_mut();
        h.data_len = end;
        h.pkt_len = end.into();
        true
    }
}

#[inline]
fn checksum(flags: u64, good: u64, bad: u64) -> Checksum {
    // Both set means "wrong in the packet but right in its data" (rte_mbuf_core.h,
    // RTE_MBUF_F_RX_IP_CKSUM_NONE): nothing to rely on.
    match (flags & good != 0, flags & bad != 0) {
        (true, false) => Checksum::Good,
        (false, true) => Checksum::Bad,
        _ => Checksum::Unknown,
    }
}

/// Asks the CPU for what is written when this buffer is next allocated and filled: its header and the
/// start of the packet. The pool gives out first what came back last, so that is soon.
#[inline(always)]
pub(crate) fn prefetch(header: NonNull<c::rte_mbuf>) {
    /// The header's two lines (`RTE_MBUF_MIN_ALIGN`), and behind the headroom the first of data.
    const LINES: [usize; 3] = [0, 64, 128 + HEADROOM as usize];
    for at in LINES {
        prefetch_write(header.cast::<u8>().as_ptr().wrapping_add(at));
    }
}

impl Drop for Mbuf {
    fn drop(&mut self) {
        // SAFETY: this was the only user, and the value is gone after this.
        unsafe { put_bulk(slice::from_ref(&self.0)) };
    }
}

impl fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Mbuf({:p}, {} bytes at {})",
            self.0,
            self.len(),
            self.offset()
        )
    }
}

/// Gives all buffers of the burst back to the pool, in one go.
pub fn free_bulk(burst: &mut Burst) {
    let count = burst.len();
    let start = burst.as_ptr().cast::<NonNull<c::rte_mbuf>>();
    // SAFETY: Mbuf is a transparent NonNull<rte_mbuf>; with the length at 0 the burst no longer
    // owns the buffers, so each is given back once.
    unsafe {
        burst.set_len(0);
        put_bulk(slice::from_raw_parts(start, count));
    }
}

/// # Safety
/// The caller owns these buffers, all of them as [`Mbuf`] promises, and forgets them.
pub(crate) unsafe fn put_bulk(raw: &[NonNull<c::rte_mbuf>]) {
    let count = u32::try_from(raw.len()).unwrap_or(u32::MAX);
    if count == 0 {
        return;
    }
    // SAFETY: every Mbuf is of the one pool and as a pool wants its buffers back: one reference,
    // one segment, no next. So the headers need not be touched, as rte_pktmbuf_free_bulk would.
    unsafe {
        c::ms_mempool_put_bulk(
            mempool::the_pool(),
            raw.as_ptr().cast::<*mut c_void>(),
            count,
        );
    };
}

/// Appends to the burst what `fill(start, room)` wrote: at most `room` buffers from `start`.
///
/// # Safety
/// `fill` returns how many pointers it wrote, and each is as [`Mbuf::from_raw`] wants it.
pub(crate) unsafe fn extend(
    burst: &mut Burst,
    fill: impl FnOnce(*mut *mut c::rte_mbuf, usize) -> usize,
) -> usize {
    let held = burst.len();
    let room = burst.remaining_capacity();
    // SAFETY: start is the first free slot; fill writes at most `room` valid Mbufs there.
    unsafe {
        let start = burst.as_mut_ptr().add(held).cast::<*mut c::rte_mbuf>();
        let got = fill(start, room).min(room);
        burst.set_len(held + got);
        got
    }
}

/// Removes the first `count` without dropping them; the rest moves to the front in order.
///
/// # Safety
/// Somebody else owns the first `count <= burst.len()` buffers now.
pub(crate) unsafe fn forget_front(burst: &mut Burst, count: usize) {
    let left = burst.len() - count;
    // SAFETY: count <= len, so both ranges are inside the initialised part.
    unsafe {
        burst.set_len(0);
        let start = burst.as_mut_ptr();
        ptr::copy(start.add(count), start, left);
        burst.set_len(left);
    }
}
