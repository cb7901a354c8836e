//! Claims of all kinds, and a frame that every stack tries to send: only who has its source may.

#![no_main]

use fuzz::input::Input;
use fuzz::world::World;
use fuzz::{frame, sent};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let nic = usize::from(input.byte() & 1);
    let world = World::new(&mut input);
    let frame = frame::frame(&mut input);
    sent::check(&world, &frame, nic);
});
