//! What a stack sends, and how much of it in a turn.

use port_api::Desc;
use ring::Corrupt;
use vhost_port::NeedsChecksum;

use super::Vport;
use crate::io::{BURST, Buf, Bufs, Io};

/// Bytes on the wire that a vport may send in its turn if others want to send too: some of the shortest
/// frames, in most turns one of the longest that is usual. A frame that is longer than what is left makes the next
/// turn shorter (deficit round robin, Shreedhar and Varghese, 1996, with the debt carried over). More would be more
/// efficient, but everyone waits for that long.
const QUANTUM: i32 = 16 * (60 + WIRE_OVERHEAD);
/// Preamble, FCS and inter-frame gap (IEEE 802.3).
const WIRE_OVERHEAD: i32 = 8 + 4 + 12;

/// A packet that a stack wants to send.
pub struct Sent<B> {
    /// The packet, once it is [`place`](Self::place)d.
    pub buf: B,
    /// What the stack says of it.
    pub desc: Desc,
    /// It is where the stack says.
    pub in_bounds: bool,
    /// What is still to be done about its layer 4 checksum.
    pub fill: Fill,
}

/// What of a packet's layer 4 checksum its sender has left to the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// Nothing.
    Nothing,
    /// All of it, wherever it is.
    Whole,
    /// To sum up what is behind this place, which is in the frame.
    From(NeedsChecksum),
}

impl<B: Buf> Sent<B> {
    /// Has the buffer hold what the stack says it does, if that is within its bounds.
    #[inline(always)]
    pub fn place(&mut self) {
        self.in_bounds = self.buf.set_frame(self.desc.offset, self.desc.len);
    }
}

/// What the next packet to be sent is.
pub enum Taken<B> {
    /// There is none.
    End,
    /// Nothing that can be sent, of so many bytes. It has been counted.
    Nothing(usize),
    /// This.
    Packet(Desc, Fill, B),
}

/// How much of a vport's `tx` ring its turn is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Most packets.
    pub packets: usize,
    /// Others want to send too.
    pub is_contended: bool,
}

impl Vport {
    /// Takes what the stack may send in this turn, unchecked and not yet [`place`](Sent::place)d: the CPU
    /// fetches it first. True if more waits; [`is_interrupted`](Self::is_interrupted) says whether the turn
    /// is to go on. `sent` is to be empty.
    ///
    /// # Errors
    /// [`Corrupt`]: the vport is to be shut.
    pub fn take_sent<I: Io>(
        &mut self,
        io: &mut I,
        sent: &mut Bufs<Sent<I::Buf>>,
        turn: Turn,
    ) -> Result<bool, Corrupt> {
        self.tx.refresh()?;
        let before = sent.len();
        self.take_turn(io, sent, turn, |vport, io| {
            let Some(raw) = vport.tx.take() else {
                return Taken::End;
            };
            let taken = Desc::unpack(raw)
                .and_then(|desc| Some((desc, io.take_back(desc.index, vport.owner)?)));
            let Some((desc, buf)) = taken else {
                vport.counters.bad_entries += 1;
                return Taken::Nothing(0);
            };
            let fill = if desc.checksum {
                Fill::Whole
            } else {
                Fill::Nothing
            };
            Taken::Packet(desc, fill, buf)
        });
        // At most a burst.
        #[allow(clippy::cast_possible_truncation)]
        let taken = (sent.len() - before) as u32;
        self.held -= taken;
        self.tx.release();
        let more = self.tx.waiting() > 0;
        self.end_turn(turn, more);
        Ok(more)
    }

    /// Takes packets from `next` as long as there are any and this turn is for more. What makes no sense
    /// takes as much of the turn as a frame, and what was copied in vain as much as it is long.
    #[inline(always)]
    pub(super) fn take_turn<I: Io>(
        &mut self,
        io: &mut I,
        sent: &mut Bufs<Sent<I::Buf>>,
        turn: Turn,
        mut next: impl FnMut(&mut Self, &mut I) -> Taken<I::Buf>,
    ) {
        let (mut bytes, mut packets) = (0, 0);
        let mut allowance = match (turn.is_contended, self.is_interrupted) {
            (false, _) => i32::MAX,
            (true, false) => self.allowance.min(QUANTUM) + QUANTUM,
            (true, true) => self.allowance,
        };
        let mut left = turn.packets;
        let is_limited = self.meters.tx.is_set();
        let now = if is_limited { io.now_ns() } else { 0 };
        while left > 0 {
            if allowance <= 0 || is_limited && !self.meters.tx.allows(now) {
                break;
            }
            let (desc, fill, buf) = match next(self, io) {
                Taken::End => break,
                Taken::Nothing(len) => {
                    left -= 1;
                    allowance -= WIRE_OVERHEAD;
                    allowance =
                        allowance.saturating_sub_unsigned(u32::try_from(len).unwrap_or(u32::MAX));
                    continue;
                }
                Taken::Packet(desc, fill, buf) => (desc, fill, buf),
            };
            left -= 1;
            packets += 1;
            bytes += u64::from(desc.len);
            allowance -= WIRE_OVERHEAD + i32::from(desc.len);
            if is_limited {
                self.meters.tx.charge(now, desc.len.into());
            }
            sent.push(Sent {
                buf,
                desc,
                in_bounds: false,
                fill,
            });
        }
        self.counters.tx_packets += packets;
        self.counters.tx_bytes += bytes;
        self.allowance = allowance;
        self.is_interrupted = left == 0 && turn.packets < BURST;
    }

    /// Ends what [`take_turn`](Self::take_turn) began; `more` says whether more waits.
    pub(super) fn end_turn(&mut self, turn: Turn, more: bool) {
        let goes_on = turn.is_contended && more;
        self.is_interrupted &= goes_on && self.allowance > 0;
        if !goes_on {
            self.allowance = 0;
        }
    }

    /// Whether its turn to send has been cut short, and goes on when there is room.
    pub const fn is_interrupted(&self) -> bool {
        self.is_interrupted
    }
}
