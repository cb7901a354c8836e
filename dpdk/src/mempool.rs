//! The packet pool.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    ptr::{self, NonNull},
    sync::atomic::{AtomicPtr, Ordering},
};

use dpdk_sys as c;

use crate::{
    eal,
    errno::Error,
    mbuf::{self, Burst, Mbuf},
};

/// Set once, when the pool is complete, and never changed.
static POOL: AtomicPtr<c::rte_mempool> = AtomicPtr::new(ptr::null_mut());

/// The one pool; null before it is made, when no Mbuf exists either.
#[inline]
pub(crate) fn the_pool() -> *mut c::rte_mempool {
    POOL.load(Ordering::Relaxed)
}

/// The space before the packet that DPDK keeps free in a fresh buffer (`RTE_PKTMBUF_HEADROOM`),
/// in bytes.
pub const HEADROOM: u16 = 128;

/// Where the buffers lie. A stack in another process computes a buffer's address as
/// `base + index * stride`; buffer memory is mapped at the same address in every process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLayout {
    /// The memzone that holds the whole pool.
    pub memzone: String,
    /// The address of the room of buffer 0.
    pub base: u64,
    /// Bytes from one room to the next.
    pub stride: u32,
    /// The number of buffers.
    pub count: u32,
    /// Bytes in a room, headroom included.
    pub buf_len: u16,
}

/// The one packet pool of the process. Its memory lives as long as the process does, and all its
/// buffers lie at a constant stride in one memzone.
#[derive(Debug)]
pub struct Mempool {
    raw: NonNull<c::rte_mempool>,
    layout: PoolLayout,
    geometry: Geometry,
}

// SAFETY: DPDK's pools are made for concurrent use (and the two fields beside are never changed).
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

/// Index to header and back, without division.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Geometry {
    /// The address of the header of buffer 0.
    first: usize,
    stride: usize,
    pub(crate) count: u32,
    /// ceil(2^32 / (stride / 64))
    reciprocal: u64,
}

/// Headers are cache lines apart, so that an offset shifted by this many bits is exact.
const LINE_BITS: u32 = 6;

impl Geometry {
    /// None if the stride is not a positive multiple of a cache line, or if the reciprocal is
    /// wrong for any of the buffers.
    fn new(first: usize, stride: usize, count: u32) -> Option<Self> {
        let lines = u64::try_from(stride >> LINE_BITS).ok()?;
        if lines == 0 || stride & ((1 << LINE_BITS) - 1) != 0 {
            return None;
        }
        let geometry = Self {
            first,
            stride,
            count,
            reciprocal: (1u64 << 32).div_ceil(lines),
        };
        (0..count)
            .all(|i| geometry.index(geometry.address(i)) == i)
            .then_some(geometry)
    }

    #[inline]
    fn address(&self, index: u32) -> usize {
        self.first + index as usize * self.stride
    }

    #[inline]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "checked for every index by new()"
    )]
    fn index(&self, address: usize) -> u32 {
        let line = (address.wrapping_sub(self.first) >> LINE_BITS) as u64;
        (line.wrapping_mul(self.reciprocal) >> 32) as u32
    }

    /// The header of a buffer of the pool; `index` must be below `count`.
    #[inline]
    pub(crate) fn header(&self, index: u32) -> NonNull<c::rte_mbuf> {
        debug_assert!(index < self.count);
        let header = ptr::with_exposed_provenance_mut(self.address(index));
        // SAFETY: the pool lies above address 0, and the address does not wrap for an index below
        // count, as the pool is in one piece.
        unsafe { NonNull::new_unchecked(header) }
    }

    /// The index of a buffer of the pool.
    #[inline]
    pub(crate) fn index_of(&self, header: NonNull<c::rte_mbuf>) -> u32 {
        self.index(header.as_ptr().addr())
    }
}

impl Mempool {
    /// Makes the packet pool.
    ///
    /// `count` buffers, best 2^n - 1; up to `cache` of them kept per lcore (at most 512, see
    /// `rte_mempool_create`); `data_room` bytes each, [`HEADROOM`] included; memory of NUMA
    /// `socket`, -1 for any. `ops` names the mempool driver, such as "`ring_mp_mc`" or "stack";
    /// None takes DPDK's choice.
    ///
    /// # Errors
    /// There is a pool already (a process has one), this is not a primary, the arguments are out
    /// of range, or there are not enough hugepages in one piece.
    pub fn create(
        name: &str,
        count: u32,
        cache: u32,
        data_room: u16,
        socket: i32,
        ops: Option<&str>,
    ) -> Result<Self, Error> {
        eal::require_primary()?;
        if !the_pool().is_null() {
            return Err(Error::new(
                libc::EEXIST,
                "the process has its packet pool already",
            ));
        }
        check_arguments(count, data_room)?;
        let zone = c_string(name)?;
        let ops = ops.map(c_string).transpose()?;
        let mut step: *const c_char = ptr::null();
        // SAFETY: the strings outlive the call, EAL is initialised, step points to a literal
        // afterwards.
        let raw = unsafe {
            c::ms_pktmbuf_pool_create(
                zone.as_ptr(),
                count,
                cache,
                data_room,
                socket,
                ops.as_ref().map_or(ptr::null(), |ops| ops.as_ptr()),
                &raw mut step,
            )
        };
        let Some(raw) = NonNull::new(raw) else {
            // SAFETY: set by the call to a string literal.
            let step = unsafe { CStr::from_ptr(step) };
            return Err(explain(
                &step.to_string_lossy(),
                name,
                count,
                data_room,
                ops.as_deref(),
            ));
        };
        let pool = Self::verified(raw, name, count)?;
        let old = POOL.compare_exchange(
            ptr::null_mut(),
            raw.as_ptr(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        if old.is_err() {
            return Err(Error::new(
                libc::EEXIST,
                "the process has its packet pool already",
            ));
        }
        Ok(pool)
    }

    /// Checks that every buffer is where the index arithmetic says.
    fn verified(raw: NonNull<c::rte_mempool>, name: &str, count: u32) -> Result<Self, Error> {
        unsafe extern "C" fn collect(
            _: *mut c::rte_mempool,
            arg: *mut c_void,
            object: *mut c_void,
            _: u32,
        ) {
            // SAFETY: arg is the Vec below, used by nobody else meanwhile.
            unsafe {
                (*arg.cast::<Vec<NonNull<c::rte_mbuf>>>()).extend(NonNull::new(object.cast()));
            };
        }
        let mut headers: Vec<NonNull<c::rte_mbuf>> = Vec::with_capacity(count as usize);
        // SAFETY: the pool is live and not in use yet; the Vec outlives the call.
        let stride = unsafe {
            let arg = (&raw mut headers).cast();
            c::rte_mempool_obj_iter(raw.as_ptr(), Some(collect), arg);
            c::ms_mempool_stride(raw.as_ptr())
        };
        let wrong = || {
            Error::new(
                libc::EINVAL,
                format!("pool {name}: buffers are not evenly placed"),
            )
        };
        let first = *headers.first().ok_or_else(wrong)?;
        let base = first.as_ptr().expose_provenance();
        let geometry = Geometry::new(base, stride as usize, count).ok_or_else(wrong)?;
        // SAFETY: the headers are initialised and nobody writes to them.
        let (room, buf_len) = unsafe { (first.as_ref().buf_addr.addr(), first.as_ref().buf_len) };
        let placed = headers.len() == count as usize
            && headers.iter().zip(0..).all(|(header, index)| {
                // SAFETY: as above.
                let at = unsafe { header.as_ref().buf_addr.addr() };
                *header == geometry.header(index) && at - header.addr().get() == room - base
            });
        if !placed {
            return Err(wrong());
        }
        let layout = PoolLayout {
            memzone: name.to_owned(),
            base: room as u64,
            stride,
            count,
            buf_len,
        };
        Ok(Self {
            raw,
            layout,
            geometry,
        })
    }

    /// Where the buffers lie.
    pub fn layout(&self) -> &PoolLayout {
        &self.layout
    }

    /// The number of buffers in the pool, per-lcore caches included. Walks all caches; not for
    /// the packet path.
    pub fn available(&self) -> u32 {
        // SAFETY: the pool is live.
        unsafe { c::rte_mempool_avail_count(self.raw.as_ptr()) }
    }

    /// The number of buffers outside the pool.
    pub fn in_use(&self) -> u32 {
        self.layout.count.saturating_sub(self.available())
    }

    /// The index of a buffer, below `layout().count`.
    #[inline]
    pub fn index_of(&self, mbuf: &Mbuf) -> u32 {
        self.geometry.index_of(mbuf.as_raw())
    }

    /// Appends `n` empty buffers to the burst: all of them, or none if the pool has fewer or the
    /// burst has not the room. Returns how many.
    #[inline]
    pub fn alloc_bulk(&self, burst: &mut Burst, n: usize) -> usize {
        // SAFETY: alloc_bulk writes n fresh buffers of the one pool, or returns an error and
        // writes nothing that counts.
        unsafe {
            mbuf::extend(burst, |start, room| {
                let Ok(count) = u32::try_from(n) else {
                    return 0;
                };
                if n > room || c::ms_pktmbuf_alloc_bulk(self.raw.as_ptr(), start, count) != 0 {
                    return 0;
                }
                n
            })
        }
    }

    /// Takes one empty buffer; None if the pool has none. For a burst use
    /// [`alloc_bulk`](Self::alloc_bulk).
    pub fn alloc(&self) -> Option<Mbuf> {
        let mut raw: *mut c::rte_mbuf = ptr::null_mut();
        // SAFETY: room for one pointer; on success it is a fresh buffer of the one pool.
        unsafe {
            if c::ms_pktmbuf_alloc_bulk(self.raw.as_ptr(), &raw mut raw, 1) != 0 {
                return None;
            }
            NonNull::new(raw).map(|raw| Mbuf::from_raw(raw))
        }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }

    pub(crate) fn as_raw(&self) -> *mut c::rte_mempool {
        self.raw.as_ptr()
    }
}

fn check_arguments(count: u32, data_room: u16) -> Result<(), Error> {
    if count == 0 {
        return Err(Error::new(
            libc::EINVAL,
            "a packet pool needs at least one buffer",
        ));
    }
    if data_room <= HEADROOM || !data_room.is_multiple_of(64) {
        let what = format!(
            "a data room of {data_room} bytes: it must be a multiple of 64 and above {HEADROOM}"
        );
        return Err(Error::new(libc::EINVAL, what));
    }
    Ok(())
}

fn c_string(text: &str) -> Result<CString, Error> {
    CString::new(text).map_err(|_| Error::new(libc::EINVAL, format!("{text:?} holds a NUL")))
}

fn explain(step: &str, name: &str, count: u32, data_room: u16, ops: Option<&CStr>) -> Error {
    let mib = (u64::from(count) * (u64::from(data_room) + 256)) >> 20;
    Error::last(match step {
        "ops" => {
            let ops = ops.map_or("DPDK's default".into(), CStr::to_string_lossy);
            format!("packet pool {name}: the mempool driver {ops} is not there")
        }
        "memory" => format!(
            "packet pool {name}: no {mib} MiB of hugepages in one piece: reserve more, ask for \
             fewer buffers, or (if pages are free but scattered) use 1 GiB pages or --iova-mode=va"
        ),
        _ => format!("packet pool {name}, {count} buffers of {data_room} bytes ({step})"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn geometry_is_exact_for_odd_strides_and_large_pools() {
        for stride in [64, 2368, 2432, 2560, 9408, 65_536 + 192] {
            let g = Geometry::new(0x1_0000_4080, stride, 1 << 17);
            let g = g.expect("every index round-trips");
            assert_eq!(g.index(g.address(131_071)), 131_071);
        }
    }

    #[test]
    fn geometry_refuses_a_stride_it_cannot_divide_by() {
        assert!(Geometry::new(0x1000, 0, 4).is_none());
        assert!(Geometry::new(0x1000, 100, 4).is_none());
    }
}
