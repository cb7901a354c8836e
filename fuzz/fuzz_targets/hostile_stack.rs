//! A stack writes anything anywhere in its part of the shared memory, between the worker's rounds. At worst
//! it is shut, and said to be; other stacks' packets all come and go, and no buffer is lost.

#![no_main]

use fuzz::bench::hostile::Hostile;
use fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

/// Operations per run.
const OPS: usize = 48;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut all = Hostile::new();
    for _ in 0..OPS {
        if input.is_empty() {
            break;
        }
        step(&mut all, &mut input);
        all.assert_conserved();
    }
    let evict = false;
    all.fall(evict, &mut input);
    all.assert_conserved();
});

fn step(all: &mut Hostile, input: &mut Input<'_>) {
    let op = input.byte();
    let (who, flag) = (usize::from(op >> 7), op & 0x40 != 0);
    match op % 16 {
        0..=7 => all.attack(input),
        8 | 9 => all.deliver(who, flag),
        10 | 11 => all.send(who),
        12 | 13 => all.flood(input.byte() % 48),
        14 => all.idle(),
        _ => all.fall(flag, input),
    }
}
