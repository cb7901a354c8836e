//! The guest's memory: the regions that the front end has shared, mapped here.
//!
//! All of this crate's `unsafe` is in this module, but for three system calls in `aio.rs`. What it relies on: the regions stay mapped as long as the
//! [`Memory`], nothing else on this side has references into them, and whoever reads them gets a copy. The
//! peer may write at any time, so a copy may hold a mixture of old and new: it is judged after it was made,
//! and the original is not looked at again.

mod cells;
mod copy;
mod fault;

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::fstat;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

pub(crate) use cells::Cells;
use copy::copy;
use fault::Registered;

/// Regions in a memory table, at most. The protocol's own bound is 8 in one message; with
/// `VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS` the back end names it.
pub const MAX_REGIONS: usize = 32;

/// Bytes that all regions of a table may have together: 16 TiB, far below what can be mapped (128 TiB).
const MAX_TOTAL: u64 = 1 << 44;

/// A region of the guest's memory as the front end has described it (`VHOST_USER_SET_MEM_TABLE`). Nothing
/// in it has been checked.
#[derive(Debug)]
pub struct Region {
    /// Guest physical address.
    pub guest: u64,
    /// Bytes.
    pub size: u64,
    /// Address in the front end.
    pub user: u64,
    /// Where it starts in the file, in bytes.
    pub offset: u64,
    /// What is to be mapped.
    pub file: OwnedFd,
}

/// Why a memory table was refused.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// More than [`MAX_REGIONS`].
    #[error("a memory table of {0} regions; {MAX_REGIONS} are allowed")]
    TooMany(usize),
    /// A region of no bytes.
    #[error("region {0} of the memory table is empty")]
    Empty(usize),
    /// A region whose end is not a 64-bit number.
    #[error("region {index}: address, or offset in the file, plus size {size:#x} overflows")]
    Overflow {
        /// Which.
        index: usize,
        /// Its bytes.
        size: u64,
    },
    /// A region that reaches past the end of its file.
    #[error("region {index} ends at {end:#x} of a file of {file:#x} bytes")]
    FileTooShort {
        /// Which.
        index: usize,
        /// Offset plus size.
        end: u64,
        /// Bytes of the file.
        file: u64,
    },
    /// Two regions with an address in common.
    #[error("regions {0} and {1} of the memory table overlap")]
    Overlap(usize, usize),
    /// More memory than any guest has.
    #[error("a memory table of {0:#x} bytes")]
    TooLarge(u64),
    /// All devices together have too many regions.
    #[error("no place for another memory region: too many devices")]
    RegistryFull,
    /// The kernel refuses.
    #[error("cannot map region {0} of the memory table: {1}")]
    Map(usize, #[source] io::Error),
    /// The kernel refuses.
    #[error("cannot handle SIGBUS: {0}")]
    Signal(#[source] io::Error),
}

/// A mapped region.
#[derive(Debug)]
struct Mapped {
    guest: u64,
    size: u64,
    user: u64,
    /// Where `guest` is here.
    at: NonNull<u8>,
    // Before `mapping`: it is to be dropped first.
    _registered: Registered,
    _mapping: Mapping,
}

#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `Mapping::new` with this length, and nothing refers to it any more.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

impl Mapping {
    /// The first `end` bytes of a file. From its start, and whole pages of the file's own size: offsets into
    /// hugetlbfs need its alignment, and unmapping does (DPDK's lib/vhost does the same).
    fn new(file: &OwnedFd, end: u64, page: u64) -> io::Result<Self> {
        let len = end
            .checked_next_multiple_of(page)
            .and_then(|len| usize::try_from(len).ok())
            .ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::SHARED | MapFlags::NORESERVE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let start = unsafe { mmap(ptr::null_mut(), len, access, flags, file.as_fd(), 0)? };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, len })
    }
}

/// Which region was found last; neighbours in a queue are mostly in the same one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Hint(usize);

/// The memory table in force, mapped. Dropping it unmaps it.
#[derive(Debug)]
pub struct Memory {
    regions: Vec<Mapped>,
    /// Set by the handler of SIGBUS, which has its address: it must not move. Dropped after `regions`.
    lost: Box<AtomicBool>,
}

// SAFETY: pointers to mappings that live as long as this and are unmapped once; what they point to is
// shared with another process anyway, and reached by copies and atomics only.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps a memory table.
    ///
    /// # Errors
    /// If a region is empty, overflows, overlaps another or is not wholly in its file, if there are too many,
    /// or if the kernel refuses.
    pub fn map(regions: Vec<Region>) -> Result<Self, MemoryError> {
        check(&regions)?;
        fault::install().map_err(MemoryError::Signal)?;
        let lost = Box::new(AtomicBool::new(false));
        let regions = regions
            .into_iter()
            .enumerate()
            .map(|(index, region)| map_one(index, &region, &lost))
            .collect::<Result<_, _>>()?;
        Ok(Self { regions, lost })
    }

    /// Whether the peer has truncated a file, so that what is mapped here is not what it sees.
    #[inline]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Where `len` bytes from the front end's address `user` on are, if in one region.
    fn user(&self, user: u64, len: u64) -> Option<NonNull<u8>> {
        self.regions.iter().find_map(|region| {
            let from = user.checked_sub(region.user)?;
            let inside = from < region.size && len <= region.size - from;
            // SAFETY: within the mapped region, by the line above.
            inside.then(|| unsafe { region.at.add(usize::try_from(from).unwrap_or(0)) })
        })
    }

    /// `len` bytes from the guest's address `guest` on, if in one region.
    #[inline(always)]
    pub(crate) fn window(&self, hint: &mut Hint, guest: u64, len: u32) -> Option<Window<'_>> {
        match self.regions.get(hint.0) {
            Some(region) if region.holds(guest, len) => Some(region.window(guest, len)),
            _ => self.search(hint, guest, len),
        }
    }

    #[cold]
    fn search(&self, hint: &mut Hint, guest: u64, len: u32) -> Option<Window<'_>> {
        hint.0 = self.regions.iter().position(|r| r.holds(guest, len))?;
        Some(self.regions[hint.0].window(guest, len))
    }

    /// Asks the CPU for what it will read at an address: virtio-net header and the start of a frame, which drivers
    /// have in two lines. If it is in the region found last.
    #[inline(always)]
    pub(crate) fn prefetch_read(&self, hint: Hint, guest: u64) {
        if let Some(window) = self.near(hint, guest) {
            for line in window.lines() {
                ring::prefetch_read(line);
            }
        }
    }

    #[inline(always)]
    fn near(&self, hint: Hint, guest: u64) -> Option<Window<'_>> {
        let region = self.regions.get(hint.0).filter(|r| r.holds(guest, 1))?;
        Some(region.window(guest, 1))
    }

    /// Copies from the guest's memory, also where regions adjoin. `None` if not all of it is there.
    #[inline(always)]
    pub(crate) fn read(&self, hint: &mut Hint, guest: u64, to: &mut [u8]) -> Option<()> {
        let len = u32::try_from(to.len()).ok()?;
        if let Some(window) = self.window(hint, guest, len) {
            window.read(0, to);
            return Some(());
        }
        self.pieces(guest, len, |window, at| {
            let end = at + window.len();
            window.read(0, &mut to[at..end]);
        })
    }

    /// Copies into the guest's memory, also where regions adjoin. `None` if not all of it is there; a part
    /// may have been written.
    #[inline(always)]
    pub(crate) fn write(&self, hint: &mut Hint, guest: u64, from: &[u8]) -> Option<()> {
        let len = u32::try_from(from.len()).ok()?;
        if let Some(window) = self.window(hint, guest, len) {
            window.write(0, from);
            return Some(());
        }
        self.pieces(guest, len, |window, at| {
            let end = at + window.len();
            window.write(0, &from[at..end]);
        })
    }

    /// Hands out a range region by region, with how many bytes came before.
    #[cold]
    fn pieces(&self, guest: u64, len: u32, mut each: impl FnMut(Window<'_>, usize)) -> Option<()> {
        let mut at = 0;
        while at < len {
            let guest = guest.checked_add(u64::from(at))?;
            let region = self.regions.iter().find(|r| r.holds(guest, 1))?;
            let here = region.size - (guest - region.guest);
            let here = u32::try_from(here).unwrap_or(u32::MAX).min(len - at);
            each(region.window(guest, here), at as usize);
            at += here;
        }
        Some(())
    }
}

impl Mapped {
    /// No overflow: `from` is less than `size`, or the address is not here.
    #[inline(always)]
    fn holds(&self, guest: u64, len: u32) -> bool {
        let from = guest.wrapping_sub(self.guest);
        from < self.size && u64::from(len) <= self.size - from
    }

    /// Only for a range that it [holds](Self::holds).
    #[inline(always)]
    fn window(&self, guest: u64, len: u32) -> Window<'_> {
        debug_assert!(self.holds(guest, len));
        // The size was a usize when it was mapped.
        #[expect(
            clippy::cast_possible_truncation,
            reason = "less than a size that was mapped"
        )]
        let from = (guest - self.guest) as usize;
        Window {
            // SAFETY: private, and every caller has asked `holds`.
            at: unsafe { self.at.add(from) },
            len: len as usize,
            memory: PhantomData,
        }
    }
}

/// A range of the guest's memory that is mapped.
#[derive(Clone, Copy)]
pub(crate) struct Window<'m> {
    at: NonNull<u8>,
    len: usize,
    memory: PhantomData<&'m Memory>,
}

impl Window<'_> {
    /// Where it starts, and a cache line further: for hints, which may be to any address.
    #[inline(always)]
    fn lines(&self) -> [*const u8; 2] {
        const LINE: usize = 64;
        let first = self.at.as_ptr().cast_const();
        [first, first.wrapping_add(LINE)]
    }

    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Copies out what fits, from byte `at` of the window on.
    #[inline(always)]
    pub(crate) fn read(&self, at: usize, to: &mut [u8]) {
        debug_assert!(at <= self.len && to.len() <= self.len - at);
        if at <= self.len && to.len() <= self.len - at {
            // SAFETY: inside the window, by the line above, which is mapped as long as the memory; `to` is
            // our own, so they do not overlap.
            unsafe { copy(to.as_mut_ptr(), self.at.as_ptr().add(at), to.len()) }
        }
    }

    /// Has the window begin with `bytes`, if they fit. Where they are there already, as a header that is the same for
    /// nearly all packets, nothing is written, so that the other side's cache keeps the line.
    #[inline(always)]
    pub(crate) fn begin_with<const N: usize>(&self, bytes: &[u8; N]) {
        let mut there = [0; N];
        self.read(0, &mut there);
        if there != *bytes {
            self.write(0, bytes);
        }
    }

    /// Copies in, from byte `at` of the window on, if it fits.
    #[inline(always)]
    pub(crate) fn write(&self, at: usize, from: &[u8]) {
        debug_assert!(at <= self.len && from.len() <= self.len - at);
        if at <= self.len && from.len() <= self.len - at {
            // SAFETY: as in `read`.
            unsafe { copy(self.at.as_ptr().add(at), from.as_ptr(), from.len()) }
        }
    }
}

/// Everything about a table that can be known before anything is mapped.
fn check(regions: &[Region]) -> Result<(), MemoryError> {
    if regions.len() > MAX_REGIONS {
        return Err(MemoryError::TooMany(regions.len()));
    }
    let mut total = 0u64;
    for (index, region) in regions.iter().enumerate() {
        let size = region.size;
        if size == 0 {
            return Err(MemoryError::Empty(index));
        }
        for start in [region.guest, region.user, region.offset] {
            if start.checked_add(size).is_none() {
                return Err(MemoryError::Overflow { index, size });
            }
        }
        total = total.saturating_add(size);
        for (before, other) in regions[..index].iter().enumerate() {
            let apart = |a: u64, b: u64| a + size <= b || b + other.size <= a;
            if !apart(region.guest, other.guest) || !apart(region.user, other.user) {
                return Err(MemoryError::Overlap(before, index));
            }
        }
    }
    if total > MAX_TOTAL {
        return Err(MemoryError::TooLarge(total));
    }
    Ok(())
}

fn map_one(index: usize, region: &Region, lost: &AtomicBool) -> Result<Mapped, MemoryError> {
    let stat = fstat(&region.file).map_err(|e| MemoryError::Map(index, e.into()))?;
    let end = region.offset + region.size;
    let file = u64::try_from(stat.st_size).unwrap_or(0);
    if end > file {
        return Err(MemoryError::FileTooShort { index, end, file });
    }
    if end > MAX_TOTAL {
        return Err(MemoryError::TooLarge(end));
    }
    // The page size where it matters, on hugetlbfs.
    let page = u64::try_from(stat.st_blksize).unwrap_or(0);
    let page = page.max(rustix::param::page_size() as u64);
    let mapping = Mapping::new(&region.file, end, page).map_err(|e| MemoryError::Map(index, e))?;
    // SAFETY: the mapping is ours alone; both it and `lost` (boxed, in the `Memory`) outlive the
    // registration, by the order of the fields. Should a later region fail, this one is dropped whole
    // before `lost` is.
    let registered =
        unsafe { Registered::new(mapping.start.addr().get(), mapping.len, &raw const *lost) };
    let registered = registered.ok_or(MemoryError::RegistryFull)?;
    let offset = usize::try_from(region.offset).unwrap_or(0);
    Ok(Mapped {
        guest: region.guest,
        size: region.size,
        user: region.user,
        // SAFETY: `offset + size` bytes are mapped, and neither is more than `end`, which was a usize.
        at: unsafe { mapping.start.add(offset) },
        _registered: registered,
        _mapping: mapping,
    })
}
