//! Frames judged in groups, by every kind of vectors that this CPU has.

use dpdk::cpu::{Cpu, Kernel};
use wire::{GroupV4, LANES, MacAddr, SHORTEST_IN_GROUP, TupleWords, common_v4};

struct Judge<'a>(&'a mut GroupV4, MacAddr);

impl Kernel for Judge<'_> {
    #[inline(always)]
    fn run(self) {
        self.0.judge(self.1);
    }
}

/// Panics unless a group says of a frame what the plain short cut says, whatever the CPU and the lane.
pub fn check(frame: &[u8]) {
    let words = common_v4(frame).map(TupleWords::from);
    let expected = words.filter(|_| frame.len() >= SHORTEST_IN_GROUP);
    let mac = frame
        .first_chunk()
        .map_or(MacAddr([0; 6]), |mac| MacAddr(*mac));
    for cpu in Cpu::supported() {
        let mut group = GroupV4::default();
        for lane in 0..LANES {
            group.load(lane, frame);
            cpu.run(Judge(&mut group, mac));
            assert_eq!(group.tuple(lane), expected, "{cpu:?}, lane {lane}");
        }
        cpu.run(Judge(&mut group, MacAddr(mac.0.map(|byte| !byte))));
        assert_eq!(group.tuple(0), None, "{cpu:?}");

        let (source, is_to_group) = (source(frame), is_group(frame.first()));
        group.load_sent(0, frame);
        cpu.run(Judge(&mut group, source));
        // No port has a group's MAC.
        if !is_group(source.0.first()) {
            assert_eq!(group.tuple(0), expected.filter(|_| !is_to_group), "{cpu:?}");
        }
        cpu.run(Judge(&mut group, MacAddr(source.0.map(|byte| !byte))));
        assert_eq!(group.tuple(0), None, "{cpu:?}");
    }
}

fn source(frame: &[u8]) -> MacAddr {
    let mac = frame.get(6..).and_then(|rest| rest.first_chunk());
    mac.map_or(MacAddr([0; 6]), |mac| MacAddr(*mac))
}

fn is_group(octet: Option<&u8>) -> bool {
    octet.is_some_and(|octet| octet & 1 != 0)
}
