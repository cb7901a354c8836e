//! Named shared memory.

use std::{ffi::CString, ptr::NonNull, slice};

use dpdk_sys as c;

use crate::{eal, errno::Error};

/// A named piece of hugepage memory, at the same address in the primary and in every secondary.
/// It lives as long as the process; a secondary's outlives even the primary.
#[derive(Debug, Clone, Copy)]
pub struct Memzone {
    addr: NonNull<u8>,
    len: usize,
}

// SAFETY: only an address and a length; whoever dereferences it has to answer for that.
unsafe impl Send for Memzone {}
// SAFETY: as above.
unsafe impl Sync for Memzone {}

impl Memzone {
    /// Reserves `len` zeroed bytes, aligned to `align` (a power of two, at least 64), on any NUMA
    /// socket. `name` has at most 31 bytes.
    ///
    /// # Errors
    /// Not a primary, the name is taken, or there is not enough memory.
    pub fn reserve(name: &str, len: usize, align: usize) -> Result<Self, Error> {
        eal::require_primary()?;
        let what = || format!("memzone {name} of {len} bytes");
        let align = u32::try_from(align).map_err(|_| Error::new(libc::EINVAL, what()))?;
        // SAFETY: EAL is initialised; the string outlives the call.
        let zone = unsafe {
            c::rte_memzone_reserve_aligned(c_name(name)?.as_ptr(), len, ANY_SOCKET, 0, align)
        };
        let zone = Self::from_raw(zone).ok_or_else(|| Error::last(what()))?;
        // EAL zeroes memory when it maps it, but gives freed memory out again as it is if built
        // with debugging.
        // SAFETY: fresh and ours alone, len bytes long at least.
        unsafe { slice::from_raw_parts_mut(zone.addr.as_ptr(), zone.len) }.fill(0);
        Ok(Self { len, ..zone })
    }

    /// Looks up what the primary reserved. Its length may exceed what was asked for.
    ///
    /// # Errors
    /// EAL is not initialised, or there is no such zone.
    pub fn lookup(name: &str) -> Result<Self, Error> {
        eal::require_any()?;
        // SAFETY: EAL is initialised; the string outlives the call.
        let zone = unsafe { c::rte_memzone_lookup(c_name(name)?.as_ptr()) };
        Self::from_raw(zone).ok_or_else(|| Error::new(libc::ENOENT, format!("memzone {name}")))
    }

    fn from_raw(zone: *const c::rte_memzone) -> Option<Self> {
        if zone.is_null() {
            return None;
        }
        // SAFETY: not null, so it is an entry of EAL's table.
        unsafe {
            let addr = NonNull::new(c::ms_memzone_addr(zone).cast())?;
            Some(Self {
                addr,
                len: c::ms_memzone_len(zone),
            })
        }
    }

    /// The first byte.
    pub fn addr(&self) -> NonNull<u8> {
        self.addr
    }

    /// Bytes.
    #[allow(clippy::len_without_is_empty, reason = "no zone is empty")]
    pub fn len(&self) -> usize {
        self.len
    }
}

/// `SOCKET_ID_ANY`
const ANY_SOCKET: i32 = -1;

fn c_name(name: &str) -> Result<CString, Error> {
    CString::new(name).map_err(|_| Error::new(libc::EINVAL, format!("{name:?} holds a NUL")))
}
