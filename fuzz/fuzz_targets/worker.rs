//! A whole worker: frames from the wire and from vports, nonsense in the rings, claims and stacks
//! that come and go. What becomes of a packet is what a trace said, and nothing is lost.

#![no_main]

use fuzz::bench::Bench;
use fuzz::frame;
use fuzz::input::Input;
use libfuzzer_sys::fuzz_target;

/// Operations per run.
const OPS: usize = 48;

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut bench = Bench::new();
    let mut last = vec![];
    for _ in 0..OPS {
        if input.is_empty() {
            break;
        }
        step(&mut bench, &mut input, &mut last);
        bench.assert_conserved();
    }
});

fn step(bench: &mut Bench, input: &mut Input<'_>, last: &mut Vec<u8>) {
    let (op, who) = (input.byte(), input.byte());
    let (slot, nic) = (u16::from(who % 5), who >> 7);
    match op % 16 {
        0..=3 => {
            *last = drawn(input, last);
            bench.receive(nic.into(), last);
        }
        4..=7 => {
            *last = drawn(input, last);
            bench.send(slot, nic, op & 0x80 != 0, last);
        }
        8 | 9 => bench.claim(input),
        10 => bench.drain(slot, who & 0x40 != 0),
        11 => {
            let raw = input.take(8).iter();
            let raw = raw.fold(0, |raw, byte| raw << 8 | u64::from(*byte));
            bench.push(slot, raw);
        }
        12 => bench.give_back(slot, u32::from(input.word()) % 1100),
        13 => bench.wait(u64::from(input.byte()) * 20),
        14 => bench.replace(u16::from(who % 3) + 1),
        _ => bench.set_tx_room(input.byte().into()),
    }
}

/// A frame like the last one, or from a part of the input of its own, so that one byte more does not
/// change all that follows.
fn drawn(input: &mut Input<'_>, last: &[u8]) -> Vec<u8> {
    match input.byte() {
        0xc0.. if !last.is_empty() => frame::like(last, input),
        len => frame::frame(&mut Input(input.take(len.into()))),
    }
}
