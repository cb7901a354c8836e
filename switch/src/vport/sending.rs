//! What a stack sends, and how much of it in a turn.

use port_api::Desc;
use ring::Corrupt;

use super::Vport;
use crate::io::{BURST, Buf, Bufs, Io};

/// Bytes on the wire that a vport may send in its turn if others want to send too: a burst of the shortest
/// frames. A longer frame makes its next turn shorter (deficit round robin, Shreedhar and Varghese, 1996,
/// with the debt carried over).
const QUANTUM: i32 = 64 * (60 + WIRE_OVERHEAD);
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
}

impl<B: Buf> Sent<B> {
    /// Has the buffer hold what the stack says it does, if that is within its bounds.
    #[inline(always)]
    pub fn place(&mut self) {
        self.in_bounds = self.buf.set_frame(self.desc.offset, self.desc.len);
    }
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
        let mut bytes = 0;
        let mut allowance = match (turn.is_contended, self.is_interrupted) {
            (false, _) => i32::MAX,
            (true, false) => self.allowance.min(QUANTUM) + QUANTUM,
            (true, true) => self.allowance,
        };
        let mut left = turn.packets;
        let is_limited = self.meters.tx.is_set();
        let now = if is_limited { io.now_ns() } else { 0 };
        // What makes no sense takes as much of the turn as a frame.
        while left > 0 {
            if allowance <= 0 || is_limited && !self.meters.tx.allows(now) {
                break;
            }
            let Some(raw) = self.tx.take() else {
                break;
            };
            left -= 1;
            allowance -= WIRE_OVERHEAD;
            let taken = Desc::unpack(raw)
                .and_then(|desc| Some((desc, io.take_back(desc.index, self.owner)?)));
            let Some((desc, buf)) = taken else {
                self.counters.bad_entries += 1;
                continue;
            };
            bytes += u64::from(desc.len);
            allowance -= i32::from(desc.len);
            if is_limited {
                self.meters.tx.charge(now, desc.len.into());
            }
            sent.push(Sent {
                buf,
                desc,
                in_bounds: false,
            });
        }
        // At most a burst.
        #[allow(clippy::cast_possible_truncation)]
        let taken = sent.len() as u32;
        self.held -= taken;
        self.counters.tx_packets += u64::from(taken);
        self.counters.tx_bytes += bytes;
        self.tx.release();
        let more = self.tx.waiting() > 0;
        let goes_on = turn.is_contended && more;
        self.allowance = if goes_on { allowance } else { 0 };
        self.is_interrupted = goes_on && allowance > 0 && left == 0 && turn.packets < BURST;
        Ok(more)
    }

    /// Whether its turn to send has been cut short, and goes on when there is room.
    pub const fn is_interrupted(&self) -> bool {
        self.is_interrupted
    }
}
