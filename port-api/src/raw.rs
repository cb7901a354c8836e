//! Everything unsafe of this crate: views of shared memory, and two system calls that no safe crate
//! offers.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dpdk::{Memzone, PoolLayout};
use ring::{ALIGN, Consumer, Doorbells, Producer};

use crate::error::Error;
use crate::geometry::Geometry;
use crate::ring_port::StackRings;
use crate::switch_side::SwitchSide;

/// The shared memory that a [`Geometry`] describes.
#[derive(Clone)]
pub struct Region {
    start: NonNull<u8>,
    geometry: Geometry,
    /// Keeps a heap region mapped; a memzone stays for the life of the process.
    heap: Option<Arc<Heap>>,
}

struct Heap {
    start: NonNull<u8>,
    layout: Layout,
}

// SAFETY: a pointer and a layout, used once, on drop.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated in `Region::on_heap` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

// SAFETY: a pointer to memory that stays mapped, reached through atomics only.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// The region in a memzone.
    ///
    /// # Errors
    /// If the geometry is out of range or needs more memory than the memzone has.
    pub fn in_memzone(zone: &Memzone, geometry: Geometry) -> Result<Self, Error> {
        geometry.check().map_err(Error::Protocol)?;
        if zone.len() < geometry.len() || !zone.addr().addr().get().is_multiple_of(ALIGN) {
            return Err(Error::Protocol(format!(
                "the shared memzone has {} bytes, its layout needs {}",
                zone.len(),
                geometry.len()
            )));
        }
        Ok(Self {
            start: zone.addr(),
            geometry,
            heap: None,
        })
    }

    /// A region in this process's own memory: for tests, with no DPDK.
    ///
    /// # Errors
    /// If the geometry is out of range.
    pub fn on_heap(geometry: Geometry) -> Result<Self, Error> {
        geometry.check().map_err(Error::Protocol)?;
        let layout = Layout::from_size_align(geometry.len(), ALIGN)
            .map_err(|error| Error::Protocol(error.to_string()))?;
        // SAFETY: a checked geometry has a non-zero length.
        let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            handle_alloc_error(layout)
        };
        Ok(Self {
            start,
            geometry,
            heap: Some(Arc::new(Heap { start, layout })),
        })
    }

    /// What lies where.
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The 32 bits at `offset` bytes: for tests of one side against another that writes what it likes.
    ///
    /// # Panics
    /// If the region is not one [`on_heap`](Self::on_heap), or has no such word.
    pub fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(self.heap.is_some() && offset < self.geometry.len() && offset.is_multiple_of(4));
        // SAFETY: inside the region, whose length is a multiple of `ALIGN`, and aligned. Everyone
        // reaches it through atomics; half a slot is one too, as a hostile process may have it.
        unsafe { self.at(offset).cast().as_ref() }
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        debug_assert!(offset < self.geometry.len());
        // SAFETY: callers pass offsets that the geometry gives for checked slots and workers, and
        // the constructors checked that the memory is as long as the geometry says.
        unsafe { self.start.add(offset) }
    }

    fn assert_inside(&self, slot: u16, worker: u16) {
        assert!(slot < self.geometry.slots && worker < self.geometry.workers);
    }

    /// The doorbells of `worker`.
    ///
    /// # Panics
    /// If the geometry has no such worker.
    pub fn doorbells(&self, worker: u16) -> Doorbells {
        self.assert_inside(0, worker);
        // SAFETY: inside the region, which holds `Doorbells::bytes(slots)` here; `self.clone()`s
        // kept beside it keep it mapped.
        unsafe {
            Doorbells::new(
                self.at(self.geometry.doorbells(worker)),
                self.geometry.slots,
            )
        }
    }

    /// The status line of `slot`.
    ///
    /// # Panics
    /// If the geometry has no such slot.
    pub fn status(&self, slot: u16) -> Status {
        self.assert_inside(slot, 0);
        Status {
            cell: self.at(self.geometry.status(slot)).cast(),
            _region: self.clone(),
        }
    }

    /// Empties the rings of `slot` with `worker`.
    ///
    /// Neither side may be using them: the switch calls this when the slot's last stack is known
    /// to be gone. (If one is not gone after all, both see garbage, which both survive.)
    ///
    /// # Panics
    /// If the geometry has no such slot or worker.
    pub fn reset(&self, slot: u16, worker: u16) {
        self.assert_inside(slot, worker);
        let (at, size) = (self.geometry.rings(slot, worker), &self.geometry);
        // SAFETY: inside the region at the places the geometry gives; rings carry integers only,
        // so even a side still in use stays sound.
        unsafe {
            ring::init::<u64>(self.at(at.rx), size.ring_size);
            ring::init::<u64>(self.at(at.tx), size.ring_size);
            ring::init::<u32>(self.at(at.fill), size.ring_size);
            ring::init::<u32>(self.at(at.free), size.free_size);
        }
    }

    /// The stack's side of the rings of `slot` with `worker`, freshly [`reset`](Self::reset).
    ///
    /// # Panics
    /// If the geometry has no such slot or worker.
    pub fn stack_rings(&self, slot: u16, worker: u16) -> StackRings {
        self.assert_inside(slot, worker);
        let (at, size) = (self.geometry.rings(slot, worker), &self.geometry);
        // SAFETY: inside the region at the places the geometry gives; the owner of the rings keeps
        // the region.
        unsafe {
            StackRings {
                rx: Consumer::new(self.at(at.rx), size.ring_size),
                free: Producer::new(self.at(at.free), size.free_size),
                fill: Consumer::new(self.at(at.fill), size.ring_size),
                tx: Producer::new(self.at(at.tx), size.ring_size),
            }
        }
    }

    /// The switch's side of the rings of `slot` with `worker`.
    pub(crate) fn switch_rings(&self, slot: u16, worker: u16) -> SwitchSide {
        self.assert_inside(slot, worker);
        let (at, size) = (self.geometry.rings(slot, worker), &self.geometry);
        // SAFETY: as for `stack_rings`.
        unsafe {
            SwitchSide {
                rx: Producer::new(self.at(at.rx), size.ring_size),
                free: Consumer::new(self.at(at.free), size.free_size),
                fill: Producer::new(self.at(at.fill), size.ring_size),
                tx: Consumer::new(self.at(at.tx), size.ring_size),
            }
        }
    }
}

/// Whether a vport is in service: a word that the switch writes and the stack reads.
pub struct Status {
    cell: NonNull<AtomicU32>,
    _region: Region,
}

// SAFETY: a pointer to an atomic in memory that the region keeps mapped.
unsafe impl Send for Status {}

const OPEN: u32 = 0x6f70_656e;

impl Status {
    fn cell(&self) -> &AtomicU32 {
        // SAFETY: inside the region, aligned as the geometry aligns status lines.
        unsafe { self.cell.as_ref() }
    }

    /// True while the switch serves the vport.
    pub fn is_open(&self) -> bool {
        self.cell().load(Ordering::Acquire) == OPEN
    }

    /// Switch: puts the vport into service.
    pub fn open(&self) {
        self.cell().store(OPEN, Ordering::Release);
    }

    /// Switch: takes the vport out of service.
    pub fn close(&self) {
        self.cell().store(0, Ordering::Release);
    }
}

/// The pool's buffers, as a stack reaches them: by index.
#[derive(Clone)]
pub struct Buffers {
    base: NonNull<u8>,
    stride: usize,
    count: u32,
    buf_len: u16,
}

// SAFETY: a pointer to memory that is mapped for the life of the process; `Packet` says who may
// use which part of it.
unsafe impl Send for Buffers {}

impl Buffers {
    /// The buffers of the pool that `layout` describes, which must lie in `zone`.
    ///
    /// # Errors
    /// If they do not.
    pub fn in_memzone(zone: &Memzone, layout: &PoolLayout) -> Result<Self, Error> {
        let outside = || Error::Protocol("the packet pool does not lie in its memzone".to_owned());
        let zone_start = zone.addr().addr().get() as u64;
        let zone_end = zone_start + zone.len() as u64;
        let rooms = u64::from(layout.count.saturating_sub(1)) * u64::from(layout.stride);
        let end = layout
            .base
            .checked_add(rooms + u64::from(layout.buf_len))
            .ok_or_else(outside)?;
        let overlap = layout.stride < u32::from(layout.buf_len);
        if layout.base < zone_start || end > zone_end || layout.count == 0 || overlap {
            return Err(outside());
        }
        let offset = usize::try_from(layout.base - zone_start).map_err(|_| outside())?;
        Ok(Self {
            // SAFETY: within the zone, as just checked.
            base: unsafe { zone.addr().add(offset) },
            stride: layout.stride as usize,
            count: layout.count,
            buf_len: layout.buf_len,
        })
    }

    /// Buffers in this process's own memory, which is never given back: for tests, with no DPDK.
    ///
    /// # Panics
    /// If there are none, or they overlap.
    pub fn on_heap(count: u32, stride: u32, buf_len: u16) -> Self {
        assert!(count > 0 && stride >= u32::from(buf_len));
        let stride = stride as usize;
        Self {
            base: NonNull::from(vec![0u8; count as usize * stride].leak()).cast(),
            stride,
            count,
            buf_len,
        }
    }

    /// Whether `len` bytes from `offset` on lie inside buffer `index`.
    pub(crate) fn contains(&self, index: u32, offset: u16, len: u16) -> bool {
        index < self.count && u32::from(offset) + u32::from(len) <= u32::from(self.buf_len)
    }

    /// Bytes in a buffer.
    pub(crate) const fn buf_len(&self) -> u16 {
        self.buf_len
    }

    /// Where `offset` bytes into buffer `index` is. The caller has asked [`contains`].
    ///
    /// [`contains`]: Self::contains
    pub(crate) fn start(&self, index: u32, offset: u16) -> Place {
        debug_assert!(self.contains(index, offset, 0));
        // SAFETY: inside the pool: `contains` was asked, and the constructor checked the pool.
        let start = unsafe {
            self.base
                .add(index as usize * self.stride + offset as usize)
        };
        Place(start)
    }
}

/// The first byte of a packet in its buffer.
pub(crate) struct Place(NonNull<u8>);

// SAFETY: see `Place::slice`: whoever holds the packet is the only one to touch its buffer.
unsafe impl Send for Place {}

impl Place {
    /// The packet's bytes.
    pub(crate) fn slice(&self, len: u16) -> &[u8] {
        // SAFETY: `Packet` is made only for ranges that `Buffers::contains`, in memory that stays
        // mapped. The switch lends a buffer to one vport at a time and does not touch it until it
        // comes back; the vport hands out one `Packet` for it, which is consumed on giving back.
        unsafe { slice::from_raw_parts(self.0.as_ptr(), len as usize) }
    }

    /// The packet's bytes, to write.
    pub(crate) fn slice_mut(&mut self, len: u16) -> &mut [u8] {
        // SAFETY: as for `slice`; `&mut self` makes it the only view.
        unsafe { slice::from_raw_parts_mut(self.0.as_ptr(), len as usize) }
    }
}

/// The network namespace of a socket, as a number (`SO_NETNS_COOKIE`, Linux 5.14).
///
/// # Errors
/// As getsockopt(2): not a socket, or an older kernel.
pub fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    const SO_NETNS_COOKIE: libc::c_int = 71;
    let mut cookie = 0u64;
    let mut len: libc::socklen_t = 8;
    // SAFETY: the pointers lead to a u64 and to its length, both alive during the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(cookie)
}

/// Has all file descriptors but the three standard ones closed when this process executes a program.
///
/// # Errors
/// As `close_range(2)`, which Linux has since 5.11.
pub fn close_on_exec() -> io::Result<()> {
    let first: libc::c_uint = 3;
    // SAFETY: with this flag the call closes nothing, and so takes no descriptor from its owner.
    let result = unsafe {
        libc::syscall(
            libc::SYS_close_range,
            first,
            libc::c_uint::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
