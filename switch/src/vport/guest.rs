//! A guest on one worker: what is to be copied to it, and what it sends, copied.

use std::sync::Arc;

use arrayvec::ArrayVec;
use dpdk::mempool::HEADROOM;
use port_api::Desc;
use vhost_port::{
    Frame, MAX_FRAME, Next, Pair, Port, Received, Segmented, Sent as Copied, Violation,
    complete_checksum,
};

use super::{Fill, Sent, Taken, Turn, Vport};
use crate::io::{BURST, Buf, Bufs, Io};
use crate::plan::DATA_ROOM;
use crate::verdict::DropReason;

/// The worker's end of a vhost-user port.
pub struct Guest<B> {
    port: Arc<Port>,
    /// The pair of queues that this worker sends from.
    pair: usize,
    /// DPDK id of the NIC port that it is behind.
    nic: u8,
    /// Longest IP packet, in bytes.
    mtu: u16,
    /// That NIC finishes checksums.
    nic_finishes: bool,
    staged: ArrayVec<Staged<B>, BURST>,
    /// Of a frame longer than a buffer.
    large: Box<[u8]>,
    /// How what is in `large` is cut into packets, as far as that is still to be done.
    cut: Option<Segmented>,
}

/// A packet for the guest.
pub struct Staged<B> {
    buf: B,
    /// Its layer 4 checksum is right.
    checksum: bool,
    is_copy: bool,
}

impl<B: Buf> Guest<B> {
    /// One that has sent nothing, and is to get nothing.
    pub fn new(port: Arc<Port>, pair: usize, nic: u8, mtu: u16, nic_finishes: bool) -> Self {
        Self {
            port,
            pair,
            nic,
            mtu,
            nic_finishes,
            staged: ArrayVec::new(),
            large: vec![0; MAX_FRAME].into(),
            cut: None,
        }
    }

    /// The pair that it receives through: the worker's own, or, of a driver with fewer pairs than there are
    /// workers, the first one.
    fn receives_through(&self) -> Option<usize> {
        [self.pair, 0]
            .into_iter()
            .find(|pair| self.port.is_up(*pair))
    }

    /// Packets that wait to be copied to it.
    pub fn waiting(&self) -> usize {
        self.staged.len()
    }

    /// Whether it has sent something that was not taken yet.
    pub fn has_sent(&self) -> bool {
        let look = |pair: &mut Pair| pair.begin_send();
        self.cut.is_some()
            || self.port.is_up(self.pair) && self.port.with(self.pair, look).is_ok_and(|n| n > 0)
    }

    /// Gives up what waits to be copied to it.
    pub fn give_up<I: Io<Buf = B>>(&mut self, io: &mut I, freed: &mut Bufs<B>) {
        give_up(io, freed, self.staged.drain(..));
    }

    /// Notes that what was staged last is a copy.
    pub fn was_copy(&mut self) {
        if let Some(staged) = self.staged.last_mut() {
            staged.is_copy = true;
        }
    }
}

impl Vport {
    /// Puts a packet among those that are [copied](Self::deliver) together.
    ///
    /// # Errors
    /// The packet, and why it cannot be.
    pub fn stage_copy<I: Io>(
        &mut self,
        io: &mut I,
        freed: &mut Bufs<I::Buf>,
        guest: &mut Guest<I::Buf>,
        buf: I::Buf,
        checksum: bool,
    ) -> Result<(), (I::Buf, DropReason)> {
        if self.credit == 0
            && let Err(why) = self.make_room_for_copy(io, freed, guest, buf.frame().len())
        {
            return Err((buf, why));
        }
        self.credit -= 1;
        guest.staged.push(Staged {
            buf,
            checksum,
            is_copy: false,
        });
        Ok(())
    }

    #[cold]
    fn make_room_for_copy<I: Io>(
        &mut self,
        io: &mut I,
        freed: &mut Bufs<I::Buf>,
        guest: &mut Guest<I::Buf>,
        len: usize,
    ) -> Result<(), DropReason> {
        if let Some(reason) = self.denied {
            return Err(reason);
        }
        if guest.receives_through().is_none() {
            self.denied = Some(DropReason::NotConnected);
            return Err(DropReason::NotConnected);
        }
        let metered = self.within_limit(io)?;
        if guest.staged.is_full() {
            self.deliver(io, freed, guest);
        }
        if guest.staged.is_full() {
            self.denied = Some(DropReason::RingFull);
            return Err(DropReason::RingFull);
        }
        // No more than a burst.
        #[allow(clippy::cast_possible_truncation)]
        let room = guest.staged.remaining_capacity() as u32;
        self.charge(metered, len, room);
        Ok(())
    }

    /// Copies to the guest what is staged, as far as it has buffers; the rest waits. What is staged for one
    /// that is gone is dropped.
    pub fn deliver<I: Io>(
        &mut self,
        io: &mut I,
        freed: &mut Bufs<I::Buf>,
        guest: &mut Guest<I::Buf>,
    ) {
        let frames = guest.staged.iter().map(|staged| Frame {
            bytes: staged.buf.frame(),
            checksum_good: staged.checksum,
        });
        let received = match guest.receives_through() {
            Some(pair) => match guest.port.with(pair, |pair| pair.receive(frames)) {
                Ok(received) => Some(received),
                Err(vhost_port::Unavailable::Busy) => Some(Received::default()),
                Err(_) => None,
            },
            None => None,
        };
        let Some(received) = received else {
            let lost = guest.staged.iter().filter(|staged| !staged.is_copy);
            self.counters.rx_dropped.0[DropReason::NotConnected.index()] += lost.count() as u64;
            return give_up(io, freed, guest.staged.drain(..));
        };
        let too_long = received.too_long as u64;
        let mut packets = 0;
        for staged in &guest.staged[..received.taken()] {
            if staged.is_copy {
                self.counters.rx_copies += 1;
            } else {
                packets += 1;
                self.counters.rx_bytes += staged.buf.frame().len() as u64;
            }
        }
        self.counters.rx_packets += packets - too_long.min(packets);
        self.counters.rx_dropped.0[DropReason::GuestBuffers.index()] += too_long;
        give_up(io, freed, guest.staged.drain(..received.taken()));
    }

    /// Ends a turn in which it was given packets.
    pub fn end_copies(&mut self) {
        self.begin_turn();
        self.credit = 0;
    }

    /// Copies what the guest may send in this turn. True if more waits. `sent` is to be empty.
    pub fn take_copies<I: Io>(
        &mut self,
        io: &mut I,
        guest: &mut Guest<I::Buf>,
        sent: &mut Bufs<Sent<I::Buf>>,
        turn: Turn,
    ) -> bool {
        let port = Arc::clone(&guest.port);
        let more = port.with(guest.pair, |pair| {
            let mut left = pair.begin_send()?;
            let mut breach = None;
            self.take_turn(io, sent, turn, |vport, io| {
                vport
                    .next_copy(io, guest, pair, &mut left)
                    .unwrap_or_else(|violation| {
                        breach = Some(violation);
                        Taken::End
                    })
            });
            pair.end_send()?;
            breach.map_or(Ok(left > 0 || guest.cut.is_some()), Err)
        });
        if more.is_err() {
            guest.cut = None;
        }
        let more = more.unwrap_or(false);
        self.end_turn(turn, more);
        more
    }

    #[inline(always)]
    fn next_copy<I: Io>(
        &mut self,
        io: &mut I,
        guest: &mut Guest<I::Buf>,
        pair: &mut Pair,
        left: &mut usize,
    ) -> Result<Taken<I::Buf>, Violation> {
        if *left == 0 && guest.cut.is_none() {
            return Ok(Taken::End);
        }
        let Some(mut buf) = io.alloc() else {
            return Ok(Taken::End);
        };
        // Every buffer has that much.
        buf.set_frame(HEADROOM, DATA_ROOM);
        let taken = match self.fill(guest, pair, left, &mut buf) {
            Ok(Filled::With(len, fill)) => {
                return Ok(Taken::Packet(packet(len, guest.nic), fill, buf));
            }
            Ok(Filled::Nothing(len)) => Ok(Taken::Nothing(len)),
            Ok(Filled::End) => {
                // Of a packed ring it was not known how many there are.
                *left = 0;
                Ok(Taken::End)
            }
            Err(violation) => Err(violation),
        };
        give_back(io, buf);
        taken
    }

    /// Has a buffer hold the next packet.
    #[inline(always)]
    fn fill<B: Buf>(
        &mut self,
        guest: &mut Guest<B>,
        pair: &mut Pair,
        left: &mut usize,
        buf: &mut B,
    ) -> Result<Filled, Violation> {
        if guest.cut.is_some() {
            return Ok(guest.next_segment(buf));
        }
        *left -= 1;
        match pair.copy_next(buf.frame_mut())? {
            Next::End => Ok(Filled::End),
            Next::Copied(copied) if copied.gso.is_none() => Ok(self.copied(guest, buf, &copied)),
            Next::Copied(copied) => {
                guest.large[..copied.len].copy_from_slice(&buf.frame()[..copied.len]);
                Ok(self.cut(guest, &copied, buf))
            }
            Next::Larger(_) => match pair.copy_next(&mut guest.large)? {
                Next::Copied(copied) => Ok(self.cut(guest, &copied, buf)),
                Next::End | Next::Larger(_) => Ok(Filled::Nothing(0)),
            },
        }
    }

    #[inline(always)]
    fn copied<B: Buf>(&mut self, guest: &Guest<B>, buf: &mut B, copied: &Copied) -> Filled {
        match copied.checksum {
            Some(at) if guest.nic_finishes && at.is_in(copied.len) => {
                Filled::With(copied.len, Fill::From(at))
            }
            Some(at) if complete_checksum(&mut buf.frame_mut()[..copied.len], at).is_err() => {
                self.refuse(copied.len, DropReason::TxOffload)
            }
            _ => Filled::With(copied.len, Fill::Nothing),
        }
    }

    /// The first segment of what was copied into `large`.
    #[cold]
    fn cut<B: Buf>(&mut self, guest: &mut Guest<B>, copied: &Copied, buf: &mut B) -> Filled {
        let Some(gso) = copied.gso else {
            return self.refuse(copied.len, DropReason::TxBounds);
        };
        match Segmented::new(&guest.large[..copied.len], gso, guest.mtu) {
            Ok(cut) => {
                guest.cut = Some(cut);
                guest.next_segment(buf)
            }
            Err(_) => self.refuse(copied.len, DropReason::TxOffload),
        }
    }

    #[cold]
    fn refuse(&mut self, len: usize, reason: DropReason) -> Filled {
        self.counters.tx_packets += 1;
        self.counters.tx_bytes += len as u64;
        self.drop_sent(reason);
        Filled::Nothing(len)
    }
}

/// What a buffer holds now.
enum Filled {
    /// A packet of so many bytes, and what of its checksum is to be filled in.
    With(usize, Fill),
    /// Nothing that can be sent, of so many bytes. It has been counted.
    Nothing(usize),
    /// Nothing, and there is no more.
    End,
}

impl<B: Buf> Guest<B> {
    fn next_segment(&mut self, buf: &mut B) -> Filled {
        let Some(cut) = &mut self.cut else {
            return Filled::Nothing(0);
        };
        let len = cut.write_next(&self.large, buf.frame_mut());
        if cut.left() == 0 || len.is_none() {
            self.cut = None;
        }
        len.map_or(Filled::Nothing(0), |len| Filled::With(len, Fill::Nothing))
    }
}

#[cold]
fn give_back<I: Io>(io: &mut I, buf: I::Buf) {
    let mut one = Bufs::new();
    one.push(buf);
    io.free(&mut one);
}

fn give_up<I: Io>(
    io: &mut I,
    freed: &mut Bufs<I::Buf>,
    packets: impl Iterator<Item = Staged<I::Buf>>,
) {
    for staged in packets {
        if freed.is_full() {
            io.free(freed);
        }
        freed.push(staged.buf);
    }
}

/// A packet at the start of a buffer.
fn packet(len: usize, nic: u8) -> Desc {
    Desc {
        index: 0,
        offset: HEADROOM,
        // No longer than a buffer.
        len: u16::try_from(len).unwrap_or(u16::MAX),
        port: nic,
        checksum: false,
    }
}
