//! The other side: a guest's memory, and a driver of virtqueues in it, as slow and plain as virtio 1.2 spells
//! it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vhost_port::{Frame, Memory, Pair, PairSetup, QueueSetup, Region, Violation, feature};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

/// Front end's address of guest address 0.
pub const USER: u64 = 0x7f00_0000_0000;
/// Where the rings are, one after the other.
pub const RINGS: u64 = 0x10_0000;
/// Bytes from one to the next.
pub const RING_STRIDE: u64 = 0x20_0000;
/// Where buffers are.
pub const BUFFERS: u64 = 0x100_0000;
/// Bytes of the guest's memory, behind which there is none.
pub const END: u64 = 0x200_0000;

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

pub struct Guest {
    memory: GuestMemoryMmap,
    files: Vec<(u64, u64, File)>,
}

impl Guest {
    /// In one piece up to `END`.
    pub fn new() -> Self {
        Self::in_pieces(&[END])
    }

    /// In adjoining regions that end at these addresses.
    pub fn in_pieces(ends: &[u64]) -> Self {
        let mut start = 0;
        let mut files = Vec::new();
        for &end in ends {
            let fd = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
            ftruncate(&fd, end - start).unwrap();
            files.push((start, end - start, File::from(fd)));
            start = end;
        }
        let ranges = files.iter().map(|(start, len, file)| {
            let file = FileOffset::new(file.try_clone().unwrap(), 0);
            let len = usize::try_from(*len).unwrap();
            (GuestAddress(*start), len, Some(file))
        });
        let memory = GuestMemoryMmap::from_ranges_with_files(ranges).unwrap();
        Self { memory, files }
    }

    pub fn table(&self) -> Vec<Region> {
        let region = |(start, len, file): &(u64, u64, File)| Region {
            guest: *start,
            size: *len,
            user: USER + start,
            offset: 0,
            file: file.try_clone().unwrap().into(),
        };
        self.files.iter().map(region).collect()
    }

    pub fn map(&self) -> Arc<Memory> {
        Arc::new(Memory::map(self.table()).unwrap())
    }

    /// As a hostile peer does.
    pub fn truncate(&self, len: u64) {
        ftruncate(&self.files[0].2, len).unwrap();
    }

    pub fn write(&self, at: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(at)).unwrap();
    }

    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory
            .read_slice(&mut bytes, GuestAddress(at))
            .unwrap();
        bytes
    }

    pub fn u16(&self, at: u64) -> u16 {
        self.memory.read_obj(GuestAddress(at)).unwrap()
    }

    pub fn u32(&self, at: u64) -> u32 {
        self.memory.read_obj(GuestAddress(at)).unwrap()
    }

    pub fn set_u16(&self, at: u64, value: u16) {
        self.memory.write_obj(value, GuestAddress(at)).unwrap();
    }

    pub fn set_u32(&self, at: u64, value: u32) {
        self.memory.write_obj(value, GuestAddress(at)).unwrap();
    }

    pub fn set_u64(&self, at: u64, value: u64) {
        self.memory.write_obj(value, GuestAddress(at)).unwrap();
    }
}

/// A part of a buffer.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub addr: u64,
    pub len: u32,
    pub write: bool,
}

/// The driver of one queue.
pub struct Driver {
    pub packed: bool,
    pub size: u16,
    pub desc: u64,
    pub avail: u64,
    pub used: u64,
    pub call: OwnedFd,
    /// Descriptors (split) or ids (packed) not in use.
    free: VecDeque<u16>,
    /// Of each buffer: its descriptors.
    chains: Vec<Vec<u16>>,
    /// Split: free-running; packed: in the ring.
    pub next: u16,
    pub wrap: bool,
    pub seen: u16,
    seen_wrap: bool,
    /// Packed: entries free.
    room: u16,
}

impl Driver {
    /// The `number`th queue. `start`: indexes begin here (split).
    pub fn new(guest: &Guest, number: u64, size: u16, features: u64, start: u16) -> Self {
        let base = RINGS + number * RING_STRIDE;
        let packed = features & feature::RING_PACKED != 0;
        let (avail, used) = (base + 0x10_0000, base + 0x14_0000);
        if !packed {
            for at in [avail, used] {
                guest.set_u16(at + 2, start);
            }
        }
        Self {
            packed,
            size,
            desc: base,
            avail,
            used,
            call: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap(),
            // Not in the order of the table.
            free: (0..size).rev().collect(),
            chains: vec![Vec::new(); usize::from(size)],
            next: if packed { 0 } else { start },
            wrap: true,
            seen: if packed { 0 } else { start },
            seen_wrap: true,
            room: size,
        }
    }

    pub fn setup(&self) -> QueueSetup {
        QueueSetup {
            size: u32::from(self.size),
            desc: USER + self.desc,
            avail: USER + self.avail,
            used: USER + self.used,
            base: if self.packed {
                0x8000
            } else {
                u32::from(self.next)
            },
            call: Some(self.call.try_clone().unwrap()),
        }
    }

    pub fn write_desc(
        &self,
        guest: &Guest,
        table: u64,
        index: u16,
        part: (u64, u32),
        words: (u16, u16),
    ) {
        let at = table + u64::from(index) * 16;
        guest.set_u64(at, part.0);
        guest.set_u32(at + 8, part.1);
        // Split: flags, next. Packed: id, flags.
        let (low, high) = if self.packed {
            (words.1, words.0)
        } else {
            words
        };
        guest.set_u16(at + 12, low);
        guest.set_u16(at + 14, high);
    }

    /// Makes a buffer available; `table`: through an indirect table there. Its id, or `None` if there is no room.
    pub fn add(&mut self, guest: &Guest, parts: &[Part], table: Option<u64>) -> Option<u16> {
        if let Some(table) = table {
            for (i, part) in parts.iter().enumerate() {
                let i = u16::try_from(i).unwrap();
                let more = usize::from(i) + 1 < parts.len();
                let mut flags = if part.write { WRITE } else { 0 };
                let mut tag = 0;
                if !self.packed && more {
                    flags |= NEXT;
                    tag = i + 1;
                }
                self.write_desc(guest, table, i, (part.addr, part.len), (flags, tag));
            }
            let len = 16 * u32::try_from(parts.len()).unwrap();
            return self.add_direct(guest, &[(table, len, INDIRECT)]);
        }
        let parts: Vec<_> = parts
            .iter()
            .map(|p| (p.addr, p.len, if p.write { WRITE } else { 0 }))
            .collect();
        self.add_direct(guest, &parts)
    }

    /// As it stands, with flags.
    pub fn add_direct(&mut self, guest: &Guest, parts: &[(u64, u32, u16)]) -> Option<u16> {
        if self.packed {
            self.add_packed(guest, parts)
        } else {
            self.add_split(guest, parts)
        }
    }

    fn add_split(&mut self, guest: &Guest, parts: &[(u64, u32, u16)]) -> Option<u16> {
        if self.free.len() < parts.len() {
            return None;
        }
        let chain: Vec<u16> = self.free.drain(..parts.len()).collect();
        for (i, &(addr, len, flags)) in parts.iter().enumerate() {
            let next = chain.get(i + 1).copied();
            let flags = if next.is_some() { flags | NEXT } else { flags };
            let words = (flags, next.unwrap_or(0));
            self.write_desc(guest, self.desc, chain[i], (addr, len), words);
        }
        let head = chain[0];
        self.chains[usize::from(head)] = chain;
        self.offer(guest, head);
        Some(head)
    }

    /// Puts a head into the available ring and publishes it.
    pub fn offer(&mut self, guest: &Guest, head: u16) {
        guest.set_u16(self.avail + 4 + 2 * u64::from(self.next % self.size), head);
        self.next = self.next.wrapping_add(1);
        guest.set_u16(self.avail + 2, self.next);
    }

    fn add_packed(&mut self, guest: &Guest, parts: &[(u64, u32, u16)]) -> Option<u16> {
        let count = u16::try_from(parts.len()).unwrap();
        if self.room < count || self.free.is_empty() {
            return None;
        }
        let id = self.free.pop_front()?;
        let first = (self.next, self.wrap);
        let mut first_flags = 0;
        for (i, &(addr, len, mut flags)) in parts.iter().enumerate() {
            if i + 1 < parts.len() {
                flags |= NEXT;
            }
            flags |= if self.wrap { 1 << 7 } else { 1 << 15 };
            if i == 0 {
                first_flags = flags;
                // Not yet: as it was, in the other round.
                flags = if self.wrap { 0 } else { 1 << 7 | 1 << 15 };
            }
            self.write_desc(guest, self.desc, self.next, (addr, len), (flags, id));
            self.next += 1;
            if self.next == self.size {
                self.next = 0;
                self.wrap = !self.wrap;
            }
        }
        guest.set_u16(self.desc + 16 * u64::from(first.0) + 14, first_flags);
        self.room -= count;
        self.chains[usize::from(id)] = vec![0; parts.len()];
        Some(id)
    }

    /// Takes back the next buffer that the device has used: its id, and the bytes written.
    pub fn used(&mut self, guest: &Guest) -> Option<(u16, u32)> {
        let (id, len) = if self.packed {
            let at = self.desc + 16 * u64::from(self.seen);
            let flags = guest.u16(at + 14);
            let bit = |n: u16| flags >> n & 1 == 1;
            if bit(7) != self.seen_wrap || bit(15) != self.seen_wrap {
                return None;
            }
            (guest.u16(at + 12), guest.u32(at + 8))
        } else {
            if guest.u16(self.used + 2) == self.seen {
                return None;
            }
            let at = self.used + 4 + 8 * u64::from(self.seen % self.size);
            let id = guest.u32(at);
            self.seen = self.seen.wrapping_add(1);
            (u16::try_from(id).unwrap(), guest.u32(at + 4))
        };
        let chain = std::mem::take(&mut self.chains[usize::from(id)]);
        assert!(!chain.is_empty(), "buffer {id} was not out");
        if self.packed {
            let count = u16::try_from(chain.len()).unwrap();
            self.free.push_back(id);
            self.room += count;
            self.seen += count;
            if self.seen >= self.size {
                self.seen -= self.size;
                self.seen_wrap = !self.seen_wrap;
            }
        } else {
            self.free.extend(chain);
        }
        Some((id, len))
    }

    /// How often it was notified since it last asked.
    pub fn calls(&self) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(&self.call, &mut count) {
            Ok(_) => u64::from_ne_bytes(count),
            Err(_) => 0,
        }
    }

    /// Wants no notifications.
    pub fn mute(&self, guest: &Guest) {
        if self.packed {
            guest.set_u16(self.avail + 2, 1);
        } else {
            guest.set_u16(self.avail, 1);
        }
    }

    /// Wants one when the used index passes the place `ahead` buffers behind what was seen.
    pub fn wake_at(&self, guest: &Guest, ahead: u16) {
        if self.packed {
            let mut off = self.seen + ahead;
            let mut wrap = self.seen_wrap;
            if off >= self.size {
                off -= self.size;
                wrap = !wrap;
            }
            guest.set_u16(self.avail, off | u16::from(wrap) << 15);
            guest.set_u16(self.avail + 2, 2);
        } else {
            let at = self.avail + 4 + 2 * u64::from(self.size);
            guest.set_u16(at, self.seen.wrapping_add(ahead));
        }
    }
}

/// A pair on a guest's memory, with `rx` and `tx` of these drivers.
pub fn pair(guest: &Guest, features: u64, rx: Option<&Driver>, tx: Option<&Driver>) -> Pair {
    try_pair(guest, features, rx, tx).unwrap()
}

pub fn try_pair(
    guest: &Guest,
    features: u64,
    rx: Option<&Driver>,
    tx: Option<&Driver>,
) -> Result<Pair, Violation> {
    Pair::new(PairSetup {
        memory: guest.map(),
        features,
        rx: rx.map(Driver::setup),
        tx: tx.map(Driver::setup),
    })
}

pub fn frame(bytes: &[u8]) -> Frame<'_> {
    Frame {
        bytes,
        checksum_good: false,
    }
}

/// Bytes that differ from frame to frame and within one.
pub fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| ((i * 7 + seed * 31) % 251).to_le_bytes()[0])
        .collect()
}
