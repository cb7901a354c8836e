//! What a front end says and writes, by the fuzzer's bytes: numbers that matter more often than chance has it.

use super::{BORDER, BUFFERS, END, STRIDE};
use crate::frame::frame;
use crate::input::Input;

pub(super) fn noise(input: &mut Input<'_>) -> Vec<(u64, [u8; 8])> {
    let one = |_| {
        let at = if input.rarely(2) {
            u64::from(input.word())
        } else {
            STRIDE * u64::from(input.byte() % 4) + u64::from(input.byte())
        };
        let value = if input.rarely(2) {
            address(input)
        } else {
            long(input)
        };
        (at, value.to_le_bytes())
    };
    (0..4).map(one).collect()
}

/// What a guest sends: the virtio-net header, and a frame.
pub(super) fn packet(input: &mut Input<'_>) -> Vec<u8> {
    const TCP: usize = 54;
    // All but its own bytes are for what is done later.
    let len = input.byte() % 96;
    let mut frame = frame(&mut Input(input.take(len.into())));
    let mut header = [0; 12];
    match input.byte() % 5 {
        0 => header[..10].copy_from_slice(&[1, 0, 0, 0, 0, 0, 34, 0, 6, 0]),
        1 => {
            // To be cut, if it happens to be TCP.
            frame.resize(TCP + usize::from(input.word() % 4000), 0);
            let total = u16::try_from(frame.len() - 14).unwrap_or(0);
            frame[16..18].copy_from_slice(&total.to_be_bytes());
            let size = input.word().to_le_bytes();
            header[..10].copy_from_slice(&[
                1,
                input.pick(&[1, 4, 0x81]),
                54,
                0,
                size[0],
                size[1],
                34,
                0,
                16,
                0,
            ]);
        }
        2 => {
            // A checksum near the frame's end.
            let end = u16::try_from(frame.len()).unwrap_or(0);
            let start = input
                .pick(&[34, 14, end / 2, end])
                .wrapping_sub(u16::from(input.byte() % 2));
            let offset = end
                .wrapping_sub(start)
                .wrapping_sub(u16::from(input.byte() % 4));
            header[0] = 1;
            header[6..8].copy_from_slice(&start.to_le_bytes());
            header[8..10].copy_from_slice(&offset.to_le_bytes());
        }
        3 => header[..10].fill_with(|| input.byte()),
        _ => {}
    }
    [&header[..], &frame].concat()
}

/// Descriptors to pass: as many as there should be, most of the time.
pub(super) fn fds(request: u32, input: &mut Input<'_>) -> u8 {
    let right = match request {
        5 => input.byte() % 9,
        12..=14 | 21 | 31 => 1,
        _ => 0,
    };
    if input.rarely(8) {
        input.byte() % 20
    } else {
        right
    }
}

pub(super) fn long(input: &mut Input<'_>) -> u64 {
    (0..4).fold(0, |all, _| all << 16 | u64::from(input.word()))
}

pub(super) fn address(input: &mut Input<'_>) -> u64 {
    let near =
        |input: &mut Input<'_>, at: u64| (at + u64::from(input.byte() % 64)).wrapping_sub(32);
    match input.byte() % 16 {
        0 => near(input, END),
        1 => near(input, BORDER),
        2 => near(input, 0),
        3 => long(input),
        4 => u64::from(input.word()),
        _ => BUFFERS + u64::from(input.word()),
    }
}

pub(super) fn length(input: &mut Input<'_>) -> u32 {
    match input.byte() % 8 {
        0 => u32::from(input.word()) << 16 | u32::from(input.word()),
        1 => u32::from(input.byte() % 20) * 16,
        2 => u32::from(input.byte() % 20),
        _ => u32::from(input.word() % 0xc00),
    }
}
