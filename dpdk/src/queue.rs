//! Receive and transmit queues.

use std::{cell::Cell, marker::PhantomData, ptr::NonNull, sync::Arc};

use dpdk_sys as c;

use crate::mbuf::{self, Burst};

/// Not `Sync`, like the burst functions.
type NotSync = PhantomData<Cell<()>>;

/// A receive queue. There is one value per queue, so that only one thread at a time can use it.
#[derive(Debug)]
pub struct RxQueue {
    port: u16,
    queue: u16,
    unfit: u64,
    _alive: Arc<()>,
    _not_sync: NotSync,
}

impl RxQueue {
    pub(crate) fn new(port: u16, queue: u16, alive: &Arc<()>) -> Self {
        Self {
            port,
            queue,
            unfit: 0,
            _alive: Arc::clone(alive),
            _not_sync: PhantomData,
        }
    }

    /// The port that it is of.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its number at the port.
    pub fn queue(&self) -> u16 {
        self.queue
    }

    /// How many packets were dropped because the driver spread them over several buffers, shared
    /// them or kept their data outside the pool.
    pub fn unfit(&self) -> u64 {
        self.unfit
    }

    /// Appends what has arrived to the burst, as far as it has room. Returns how many packets.
    #[inline]
    pub fn rx_burst(&mut self, burst: &mut Burst) -> usize {
        let (port, queue) = (self.port, self.queue);
        let mut unfit = 0;
        // SAFETY: the port is started (queues are gone before it stops) and &mut self makes this
        // thread the only user of the queue. The driver hands over buffers of its pool, which is
        // the one pool; keep_fit leaves those that are as an Mbuf promises.
        let got = unsafe {
            mbuf::extend(burst, |start, room| {
                let room = u16::try_from(room).unwrap_or(u16::MAX);
                let got = c::ms_eth_rx_burst(port, queue, start, room).into();
                keep_fit(start, got, &mut unfit)
            })
        };
        self.unfit += unfit;
        got
    }
}

/// Sees to it that an [`crate::Mbuf`] can stand for each of `count` received buffers; returns how many
/// are left.
///
/// # Safety
/// `start` points to `count` pointers to buffers that the caller owns.
#[inline]
unsafe fn keep_fit(start: *mut *mut c::rte_mbuf, count: usize, unfit: &mut u64) -> usize {
    // SAFETY: all below count.
    let all_fit = (0..count).all(|i| unsafe { is_fit(&**start.add(i)) });
    if all_fit {
        return count;
    }
    // SAFETY: passed on to the caller.
    unsafe { sort_out(start, count, unfit) }
}

/// Frees the unfit ones and closes the gaps.
///
/// # Safety
/// As for [`keep_fit`].
#[cold]
unsafe fn sort_out(start: *mut *mut c::rte_mbuf, count: usize, unfit: &mut u64) -> usize {
    let mut kept = 0;
    for i in 0..count {
        // SAFETY: kept <= i < count.
        unsafe {
            let mut raw = *start.add(i);
            if is_fit(&*raw) {
                *start.add(kept) = raw;
                kept += 1;
            } else {
                c::rte_pktmbuf_free_bulk(&raw mut raw, 1);
                *unfit += 1;
            }
        }
    }
    kept
}

#[inline]
fn is_fit(header: &c::rte_mbuf) -> bool {
    let end = u32::from(header.data_off) + u32::from(header.data_len);
    // Without branches: nearly all are.
    let is_odd = u64::from((header.nb_segs ^ 1) | (header.refcnt ^ 1))
        | (header.ol_flags & (c::MS_MBUF_EXTERNAL | c::MS_MBUF_INDIRECT));
    (is_odd == 0) & (end <= header.buf_len.into())
}

/// A transmit queue. There is one value per queue, so that only one thread at a time can use it.
#[derive(Debug)]
pub struct TxQueue {
    port: u16,
    queue: u16,
    _alive: Arc<()>,
    _not_sync: NotSync,
}

impl TxQueue {
    pub(crate) fn new(port: u16, queue: u16, alive: &Arc<()>) -> Self {
        Self {
            port,
            queue,
            _alive: Arc::clone(alive),
            _not_sync: PhantomData,
        }
    }

    /// The port that it is of.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its number at the port.
    pub fn queue(&self) -> u16 {
        self.queue
    }

    /// Sends packets from the front of the burst. What the device did not take is then at the
    /// front, in its order. Returns how many it took; it gives them back to the pool once sent.
    #[inline]
    pub fn tx_burst(&mut self, burst: &mut Burst) -> usize {
        let count = u16::try_from(burst.len()).unwrap_or(u16::MAX);
        if count == 0 {
            return 0;
        }
        // SAFETY: as in rx_burst. The driver owns the first `sent` buffers from here on.
        unsafe {
            let start: *mut NonNull<c::rte_mbuf> = burst.as_mut_ptr().cast();
            let sent = c::ms_eth_tx_burst(self.port, self.queue, start.cast(), count);
            let sent = usize::from(sent.min(count));
            mbuf::forget_front(burst, sent);
            sent
        }
    }
}
