//! Fragments of a few packets or of many, in any order and at any time: no byte passes twice, and
//! all pass to one owner. And the room where they wait for the first one.

#![no_main]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fuzz::input::Input;
use fuzz::reassembly::Packet;
use libfuzzer_sys::fuzz_target;
use switch::flow_table::Seed;
use switch::fragments::{Fragments, LIFETIME_MS, PacketId, Unknown, WAITING, Waiting, WaitingRoom};
use switch::verdict::{DropReason, Owner};
use wire::{Fragment, Vlan, proto};

/// Packets that a bucket of the table holds: only so many newer ones can push one out.
const WAYS: usize = 8;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let how = input.byte();
    let mut table = Table::new(input.word());
    while !input.is_empty() {
        table.step(&mut input, how & 1 == 1);
    }
    table.compare();
    let mut room = Room::default();
    let mut input = Input(data.get(1..).unwrap_or_default());
    while how & 2 == 2 && !input.is_empty() {
        room.step(&mut input);
    }
});

/// Identification and VLAN.
type Key = (u32, u16);

struct Table {
    fragments: Fragments,
    packets: BTreeMap<Key, Known>,
    /// How many there have been.
    count: usize,
    now_ms: u64,
}

struct Known {
    id: PacketId,
    number: usize,
    packet: Packet,
}

impl Known {
    fn is_late(&self, now_ms: u64) -> bool {
        now_ms - self.packet.since_ms >= LIFETIME_MS
    }
}

impl Table {
    fn new(seed: u16) -> Self {
        let seed = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self {
            fragments: Fragments::new(Seed([seed, seed.rotate_left(17)])),
            packets: BTreeMap::new(),
            count: 0,
            now_ms: 0,
        }
    }

    fn step(&mut self, input: &mut Input<'_>, many: bool) {
        let op = input.byte();
        match op >> 4 {
            0 => self.now_ms += u64::from(input.byte()) * 10,
            1 => {
                let owner = Owner::Vport(u16::from(op & 3));
                self.fragments.forget(u16::from(op & 3));
                self.packets.retain(|_, known| known.packet.owner != owner);
            }
            2 if many => {
                let from = input.byte();
                for id in 0..input.byte() % 64 {
                    let id = u32::from(from) << 8 | u32::from(id);
                    self.pass((id, 0), &fragment(id, 0, 8, true), Owner::Host);
                }
            }
            3 => self.compare(),
            _ => {
                let id = u32::from(input.byte());
                let vlan = u16::from(op >> 2 & 1) * 5;
                let (id, vlan) = if many { (id, vlan) } else { (id % 6, 0) };
                let owner = match op & 3 {
                    0 => Owner::Host,
                    slot => Owner::Vport(slot.into()),
                };
                self.pass((id, vlan), &drawn(input, id), owner);
            }
        }
    }

    /// All that the table remembers is what the model does, save what was pushed out.
    fn compare(&mut self) {
        let keys: Vec<_> = self.packets.keys().copied().collect();
        for key in keys {
            self.forget_if_gone(key);
        }
        for known in self.packets.values() {
            let owner = self.fragments.owner(&known.id, self.now_ms);
            assert_eq!(owner, Some(known.packet.owner));
        }
    }

    /// Drops from the model what is too old, and what the table has forgotten: only enough newer
    /// ones in one bucket may have pushed it out.
    fn forget_if_gone(&mut self, key: Key) {
        let Some(known) = self.packets.get(&key) else {
            return;
        };
        let is_gone = self.fragments.owner(&known.id, self.now_ms).is_none();
        if is_gone && !known.is_late(self.now_ms) {
            let newer = self.count - known.number - 1;
            assert!(newer >= WAYS, "pushed out for no reason");
        }
        if is_gone {
            self.packets.remove(&key);
        }
    }

    fn pass(&mut self, key: Key, fragment: &Fragment, owner: Owner) {
        let vlan = Vlan::new(key.1, 0).unwrap_or(Vlan::NONE);
        let id = PacketId::new(fragment, vlan, 0);
        self.forget_if_gone(key);
        let expected = self.expect(key, fragment);
        if fragment.offset > 0 {
            let passed = self.fragments.next(&id, fragment, self.now_ms);
            return assert_eq!(passed, expected.ok_or(Unknown));
        }
        let passed = self.fragments.first(&id, fragment, owner, self.now_ms);
        if let Some(expected) = expected {
            return assert_eq!(passed, expected);
        }
        assert_eq!(passed, Ok(owner));
        let mut packet = Packet::new(owner, self.now_ms);
        packet.pass(fragment).expect("no byte has passed");
        let number = self.count;
        self.count += 1;
        self.packets.insert(key, Known { id, number, packet });
    }

    fn expect(&mut self, key: Key, fragment: &Fragment) -> Option<Result<Owner, DropReason>> {
        let packet = &mut self.packets.get_mut(&key)?.packet;
        let (passed, owner) = (packet.pass(fragment), packet.owner);
        if packet.is_whole() {
            self.packets.remove(&key);
        }
        Some(passed.map(|()| owner))
    }
}

fn drawn(input: &mut Input<'_>, id: u32) -> Fragment {
    let (place, size) = (input.byte(), input.byte());
    let offset = match place {
        0xf0.. => input.word() & !7,
        _ => u16::from(place % 32) * 8,
    };
    // What starts at 0 and ends there is no fragment.
    let more = size & 0x80 != 0 || offset == 0;
    let len = match (more, size & 0x7f) {
        (true, 0x7f) => input.word() & !7,
        (true, size) => u16::from(size % 16) * 8,
        (false, size) => u16::from(size),
    };
    let most = 0xffff - offset;
    let len = if len > most { most & !7 } else { len };
    fragment(
        id,
        offset,
        len.max(if more { 8 } else { 1 }).min(most),
        more,
    )
}

fn fragment(id: u32, offset: u16, len: u16, more: bool) -> Fragment {
    let (src, dst): (IpAddr, IpAddr) = if id.is_multiple_of(2) {
        (
            Ipv4Addr::new(192, 0, 2, 9).into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        )
    } else {
        (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::UNSPECIFIED.into())
    };
    Fragment {
        src,
        dst,
        proto: proto::UDP,
        id: id >> 1,
        offset,
        len,
        more,
        ports: None,
        l3_offset: 14,
    }
}

#[derive(Default)]
struct Room {
    waiting: WaitingRoom<u64>,
    /// Number, id, NIC port, since when.
    model: VecDeque<(u64, PacketId, usize, u64)>,
    next: u64,
    now_ms: u64,
}

impl Room {
    fn step(&mut self, input: &mut Input<'_>) {
        let (op, choice) = (input.byte(), input.byte());
        let fragment = fragment(u32::from(choice % 8), 8, 8, true);
        let id = PacketId::new(&fragment, Vlan::NONE, 0);
        match op % 4 {
            0 => {
                for _ in 0..=op >> 2 {
                    self.admit(id, fragment, usize::from(choice >> 7));
                }
            }
            1 => self.now_ms += u64::from(choice) * 16,
            2 => {
                let at = self.model.iter().position(|waiting| waiting.1 == id);
                let expected = at.and_then(|at| self.model.remove(at));
                let called = self.waiting.call(&id).map(|waiting| waiting.buf);
                assert_eq!(called, expected.map(|waiting| waiting.0));
            }
            _ => {
                while let Some(late) = self.waiting.late(self.now_ms) {
                    let expected = self.model.pop_front().expect("one that waits");
                    assert_eq!(late.buf, expected.0);
                    assert!(self.now_ms - expected.3 >= LIFETIME_MS);
                }
                let mut since = self.model.iter().map(|waiting| waiting.3);
                assert!(since.all(|since| self.now_ms - since < LIFETIME_MS));
            }
        }
        for nic in [0, 1] {
            let expected = self.model.iter().filter(|waiting| waiting.2 == nic);
            assert_eq!(self.waiting.count(nic), expected.count());
        }
        assert_eq!(self.waiting.is_empty(), self.model.is_empty());
        assert!(self.model.len() <= WAITING);
    }

    fn admit(&mut self, id: PacketId, fragment: Fragment, nic: usize) {
        let pushed_out = self.waiting.admit(Waiting {
            buf: self.next,
            id,
            fragment,
            nic,
            since_ms: self.now_ms,
        });
        self.model.push_back((self.next, id, nic, self.now_ms));
        self.next += 1;
        let expected = (self.model.len() > WAITING)
            .then(|| self.model.pop_front())
            .flatten();
        assert_eq!(
            pushed_out.map(|waiting| waiting.buf),
            expected.map(|waiting| waiting.0)
        );
    }
}
