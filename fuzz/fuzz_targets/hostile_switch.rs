//! A switch writes anything anywhere in the shared memory, between the calls of a stack's side of the rings.
//! What the stack is handed lies in the buffers and is counted, what it sends is in its rings, and once
//! the switch does as it should, so do the rings.

#![no_main]

use fuzz::hostile_switch::HostileSwitch;
use fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

/// Operations per run.
const OPS: usize = 160;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut all = HostileSwitch::new();
    for _ in 0..OPS {
        if input.is_empty() {
            break;
        }
        step(&mut all, &mut input);
        all.assert_sound();
    }
    all.mend();
});

fn step(all: &mut HostileSwitch, input: &mut Input<'_>) {
    let op = input.byte();
    match op % 16 {
        0..=8 => all.attack(input),
        9 | 10 => all.receive(),
        11 => all.alloc(op >> 4),
        12 => all.fill(input),
        13 | 14 => all.send(),
        _ => all.release(),
    }
}
