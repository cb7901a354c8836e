//! The table of fragments equals a map of the bytes that have come.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;
use switch::fragments::{Fragments, LIFETIME_MS, PacketId, WAITING, Waiting, WaitingRoom};
use switch::verdict::{DropReason, Owner};
use wire::{Fragment, Vlan};

use crate::common::SEED;

/// Runs of bytes that a packet may come in, as the switch documents it: beyond that it is given up.
const RUNS: usize = 8;

#[derive(Clone, Debug)]
struct Piece {
    /// Which packet, of a few.
    packet: u8,
    /// In units of 8 bytes.
    start: u16,
    len: u16,
    more: bool,
    owner: u16,
    wait_ms: u64,
}

fn piece() -> impl Strategy<Value = Piece> {
    let wait = prop_oneof![20 => Just(0u64), 4 => 0u64..600, 1 => Just(LIFETIME_MS)];
    // Seldom long, so that there are many gaps.
    let len = prop_oneof![4 => 1u16..3, 1 => 3u16..8];
    let all = (0u8..4, 0u16..24, len, any::<u8>(), 2u16..5, wait);
    all.prop_map(|(packet, start, len, last, owner, wait_ms)| Piece {
        packet,
        start: if last % 3 == 0 { 0 } else { start },
        len,
        more: last > 40,
        owner,
        wait_ms,
    })
}

impl Piece {
    fn fragment(&self) -> Fragment {
        let (src, dst): (IpAddr, IpAddr) = match self.packet {
            0..2 => ([192, 0, 2, 9].into(), [192, 0, 2, 1].into()),
            _ => (
                "2001:db8::9".parse().unwrap(),
                "2001:db8::1".parse().unwrap(),
            ),
        };
        // The last one may have any length; a first one is never the last.
        let more = self.more || self.start == 0;
        Fragment {
            src,
            dst,
            // For IPv6 it does not count.
            proto: if self.packet == 3 && self.start > 0 {
                6
            } else {
                17
            },
            id: u32::from(self.packet % 2),
            offset: self.start * 8,
            len: self.len * 8 - if more { 0 } else { 3 },
            more,
            ports: None,
            l3_offset: 14,
        }
    }
}

/// A packet, byte by byte.
struct Packet {
    owner: u16,
    has: Vec<bool>,
    len: Option<usize>,
    spoilt: bool,
    since_ms: u64,
}

impl Packet {
    fn new(owner: u16, since_ms: u64) -> Self {
        Self {
            owner,
            has: vec![false; 512],
            len: None,
            spoilt: false,
            since_ms,
        }
    }

    fn runs(&self) -> usize {
        let starts = |at: usize| self.has[at] && (at == 0 || !self.has[at - 1]);
        (0..self.has.len()).filter(|at| starts(*at)).count()
    }

    fn pass(&mut self, fragment: &Fragment) -> Result<(), DropReason> {
        let start = usize::from(fragment.offset);
        let end = start + usize::from(fragment.len);
        let come = self.has[start..end].iter().filter(|has| **has).count();
        if self.spoilt {
            return Err(DropReason::FragmentOverlap);
        }
        if come == end - start {
            return Err(DropReason::FragmentDuplicate);
        }
        let last = self.has.iter().rposition(|has| *has).map_or(0, |at| at + 1);
        let ends_badly = match (self.len, fragment.more) {
            (Some(len), true) => end > len,
            (Some(len), false) => end != len,
            (None, true) => false,
            (None, false) => last > end,
        };
        if come > 0 || ends_badly {
            self.spoilt = true;
            return Err(DropReason::FragmentOverlap);
        }
        self.has[start..end].fill(true);
        if self.runs() > RUNS {
            self.spoilt = true;
            return Err(DropReason::FragmentOverlap);
        }
        if !fragment.more {
            self.len = Some(end);
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        self.len
            .is_some_and(|len| self.has[..len].iter().all(|has| *has))
            && !self.spoilt
    }
}

proptest! {
    #[test]
    fn it_equals_a_map_of_bytes(pieces in prop::collection::vec(piece(), 1..80)) {
        let mut table = Fragments::new(SEED);
        let mut model: [Option<Packet>; 4] = Default::default();
        let mut now_ms = 5;
        for piece in &pieces {
            now_ms += piece.wait_ms;
            let fragment = piece.fragment();
            let id = PacketId::new(&fragment, Vlan::NONE, 0);
            let packet = &mut model[usize::from(piece.packet)];
            if packet.as_ref().is_some_and(|p| now_ms - p.since_ms >= LIFETIME_MS) {
                *packet = None;
            }
            let is_first = fragment.offset == 0;
            let expected = match packet {
                Some(known) => Some(known.pass(&fragment).map(|()| Owner::Vport(known.owner))),
                None if is_first => {
                    let mut new = Packet::new(piece.owner, now_ms);
                    let passed = new.pass(&fragment).map(|()| Owner::Vport(piece.owner));
                    *packet = Some(new);
                    Some(passed)
                }
                None => None,
            };
            let foreseen = table.foresee(&id, &fragment, now_ms);
            let passed = if is_first {
                Some(table.first(&id, &fragment, Owner::Vport(piece.owner), now_ms))
            } else {
                table.next(&id, &fragment, now_ms).ok()
            };
            prop_assert_eq!(passed, expected, "{:?}", fragment);
            if foreseen.is_some() || !is_first {
                prop_assert_eq!(foreseen, passed);
            }
            if packet.as_ref().is_some_and(Packet::is_whole) {
                *packet = None;
            }
            let owner = packet.as_ref().map(|known| Owner::Vport(known.owner));
            prop_assert_eq!(table.owner(&id, now_ms), owner);
        }
    }

    #[test]
    fn those_of_a_vport_are_forgotten(owners in prop::collection::vec(2u16..5, 1..60)) {
        let mut table = Fragments::new(SEED);
        let piece = |id: usize| {
            let plain = Piece { packet: 0, start: 0, len: 1, more: true, owner: 0, wait_ms: 0 };
            let id = u32::try_from(id).unwrap();
            Fragment { id, ..plain.fragment() }
        };
        let id = |at| PacketId::new(&piece(at), Vlan::NONE, 0);
        for (at, owner) in owners.iter().enumerate() {
            table.first(&id(at), &piece(at), Owner::Vport(*owner), 0).unwrap();
        }
        table.forget(3);
        for (at, owner) in owners.iter().enumerate() {
            let expected = (*owner != 3).then_some(Owner::Vport(*owner));
            prop_assert_eq!(table.owner(&id(at), 0), expected);
        }
    }

    /// First come, first served, of each packet; the oldest go when there are too many.
    #[test]
    fn the_waiting_room_equals_a_list(
        steps in prop::collection::vec((select(&[0u8, 0, 0, 1, 2][..]), 0u32..300, 0u64..60), 1..900),
    ) {
        let mut room = WaitingRoom::default();
        let mut model: Vec<(u32, u64, usize)> = vec![];
        let plain = Piece { packet: 0, start: 1, len: 1, more: true, owner: 0, wait_ms: 0 };
        let fragment = |id| Fragment { id, ..plain.fragment() };
        let mut now_ms = 0;
        for (number, (what, id, wait_ms)) in steps.into_iter().enumerate() {
            now_ms += wait_ms;
            let packet = PacketId::new(&fragment(id), Vlan::NONE, 0);
            match what {
                0 => {
                    let pushed_out = room.admit(Waiting {
                        buf: number,
                        id: packet,
                        fragment: fragment(id),
                        nic: number % 2,
                        since_ms: now_ms,
                    });
                    let expected = (model.len() == WAITING).then(|| model.remove(0));
                    prop_assert_eq!(pushed_out.map(|w| w.buf), expected.map(|(_, _, buf)| buf));
                    model.push((id, now_ms, number));
                }
                1 => {
                    let at = model.iter().position(|(waiting, ..)| *waiting == id);
                    let expected = at.map(|at| model.remove(at).2);
                    prop_assert_eq!(room.call(&packet).map(|w| w.buf), expected);
                }
                _ => {
                    let is_late = model.first().is_some_and(|(_, t, _)| now_ms - t >= LIFETIME_MS);
                    let expected = is_late.then(|| model.remove(0).2);
                    prop_assert_eq!(room.late(now_ms).map(|w| w.buf), expected);
                }
            }
            let at_first = model.iter().filter(|(.., buf)| buf % 2 == 0).count();
            prop_assert_eq!((room.count(0), room.count(1)), (at_first, model.len() - at_first));
            prop_assert_eq!(room.is_empty(), model.is_empty());
        }
    }
}
