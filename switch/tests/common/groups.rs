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
    }
}
