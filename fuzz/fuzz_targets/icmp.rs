//! ICMP errors about anything: to the owner of the packet that they are about, and from no one
//! else.

#![no_main]

use dpdk::mbuf::Checksum;
use fuzz::input::Input;
use fuzz::world::World;
use fuzz::{frame, received, sent};
use libfuzzer_sys::fuzz_target;
use wire::Origin;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let nic = usize::from(input.byte() & 1);
    let world = World::new(&mut input);
    let frame = frame::error_frame(&mut input);
    for origin in [Origin::Wire, Origin::Local] {
        received::check(&world, &frame, nic, origin, Checksum::Unknown);
    }
    sent::check(&world, &frame, nic);
});
