//! Claims of all kinds, and a frame: it goes to whom the most specific one says.

#![no_main]

use dpdk::mbuf::Checksum;
use fuzz::input::Input;
use fuzz::world::World;
use fuzz::{frame, received};
use libfuzzer_sys::fuzz_target;
use wire::Origin;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let how = input.byte();
    let world = World::new(&mut input);
    if how & 4 != 0 {
        world.assert_equal();
    }
    let frame = frame::frame(&mut input);
    let checksum = if how & 2 == 0 {
        Checksum::Unknown
    } else {
        Checksum::Good
    };
    for origin in [Origin::Wire, Origin::Local] {
        received::check(&world, &frame, usize::from(how & 1), origin, checksum);
    }
});
