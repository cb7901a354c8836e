//! Layer 4 checksums that senders have left to the switch. A NIC that can finishes them, unless the packet
//! stays on this machine; all others the worker fills in.

use std::mem;

use dpdk::mbuf::LeftChecksum;
use vhost_port::complete_checksum;
use wire::{Origin, Unfinished, fill_l4, parse};

use super::state::NicState;
use crate::egress::{Towards, towards};
use crate::io::Buf;
use crate::vport::{Fill, Sent};

/// Sees to the checksum of a packet that goes through `nic`, if it goes. What cannot have one is left as
/// it is.
#[inline(always)]
pub(super) fn settle<B: Buf>(sent: &mut Sent<B>, nic: &NicState<B>) {
    if sent.fill != Fill::Nothing && sent.in_bounds {
        fill(sent, nic);
    }
}

#[cold]
fn fill<B: Buf>(sent: &mut Sent<B>, nic: &NicState<B>) {
    let what = mem::replace(&mut sent.fill, Fill::Nothing);
    let frame = sent.buf.frame_mut();
    let parsed = parse(frame, Origin::Local).ok();
    if nic.finishes_checksums
        && towards(frame, &nic.nic) == Towards::Wire
        && let Some(unfinished) = parsed.and_then(|parsed| Unfinished::of(frame, &parsed))
        && is_of(what, unfinished)
    {
        unfinished.begin(frame);
        return sent.buf.leave_checksum(LeftChecksum {
            l2_len: unfinished.l2_len,
            l3_len: unfinished.l3_len,
            is_ipv4: unfinished.is_ipv4,
            is_tcp: unfinished.is_tcp,
        });
    }
    match (what, parsed) {
        (Fill::Whole, Some(parsed)) => {
            fill_l4(frame, &parsed);
        }
        // Its place was found to be in the frame.
        (Fill::From(at), _) => drop(complete_checksum(frame, at)),
        (Fill::Whole, None) | (Fill::Nothing, _) => {}
    }
}

/// Whether this packet's own checksum is meant, and not one further inside, as in a tunnel.
fn is_of(what: Fill, unfinished: Unfinished) -> bool {
    match what {
        Fill::Nothing => false,
        Fill::Whole => true,
        Fill::From(at) => {
            at.start == unfinished.l2_len + unfinished.l3_len && at.offset == unfinished.field()
        }
    }
}
