//! A stack that echoes, as fast as one can be.

use crate::stacks::Stack;

/// Takes a burst and sends it back. What finds no room goes first the next time; until it has
/// gone, new packets wait where the switch counts what it drops.
pub fn serve(stack: &mut Stack) {
    if stack.answers.is_empty() {
        stack.moved.received += stack.vport.rx_burst(&mut stack.answers) as u64;
        for packet in &stack.answers {
            packet.prefetch();
        }
        for packet in &mut stack.answers {
            turn_around(packet.data_mut());
        }
    }
    stack.moved.sent += stack.vport.tx_burst(&mut stack.answers) as u64;
}

/// Swaps source and destination. A real stack looks at what it answers; this one knows that all it
/// gets is UDP over IPv4 without options, and the switch is what is to be measured.
pub fn turn_around(frame: &mut [u8]) {
    const FIELDS: [(usize, usize); 3] = [(0, 6), (26, 4), (34, 2)];
    for (at, len) in FIELDS {
        let both = frame.get_mut(at..at + 2 * len);
        if let Some((first, second)) = both.and_then(|both| both.split_at_mut_checked(len)) {
            first.swap_with_slice(second);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::NIC;
    use wire::MacAddr;
    use wire::emit::{Eth, Udp};

    #[test]
    fn it_is_what_wire_does() {
        let packet = Udp {
            eth: Eth {
                dst: NIC,
                src: MacAddr([2, 0, 0, 0, 0, 1]),
            },
            src: ([192, 0, 2, 1], 1024).into(),
            dst: ([198, 51, 100, 7], 7).into(),
            payload: &[7; 18],
        };
        let mut ours = [0; 60];
        packet.write(&mut ours).unwrap();
        let mut theirs = ours;
        turn_around(&mut ours);
        assert!(wire::echo::turn_around(&mut theirs));
        assert_eq!(ours, theirs);
    }
}
