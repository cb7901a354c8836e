//! A stack that sends as much as it can.

use port_api::Packet;
use wire::MacAddr;
use wire::emit::{Eth, Udp};

use super::Flood;
use crate::Error;
use crate::stacks::Stack;
use crate::traffic::{self, SMALLEST};

/// Someone at the other end of the wire.
const ELSEWHERE: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x99]);

/// The stack, and what it sends.
pub struct Flooder {
    stack: Stack,
    frame: Vec<u8>,
    withholds: bool,
}

impl Flooder {
    /// Frames from the port with `mac`; the stack has claim `number`.
    pub fn new(stack: Stack, number: u16, flood: Flood, mac: MacAddr) -> Result<Self, Error> {
        let src = match flood {
            Flood::Own | Flood::Withheld => traffic::claim_of(number),
            Flood::Spoofed => traffic::claim_of(0),
        };
        let mut frame = vec![0; SMALLEST.into()];
        let packet = Udp {
            eth: Eth {
                dst: ELSEWHERE,
                src: mac,
            },
            src,
            dst: "198.51.100.7:7".parse()?,
            payload: &[0; 18],
        };
        packet.write(&mut frame).ok_or("a frame too short")?;
        Ok(Self {
            stack,
            frame,
            withholds: flood == Flood::Withheld,
        })
    }

    /// Writes a burst, as far as there are buffers, and puts it into the ring, as far as there is room.
    pub fn flood(&mut self) {
        while !self.stack.answers.is_full() {
            let Some(mut packet) = self.stack.vport.alloc() else {
                break;
            };
            write(&mut packet, &self.frame);
            self.stack.answers.push(packet);
        }
        if self.withholds {
            for packet in &mut self.stack.answers {
                write(packet, &self.frame);
            }
        } else {
            self.stack.moved.sent += self.stack.vport.tx_burst(&mut self.stack.answers) as u64;
        }
    }
}

fn write(packet: &mut Packet, frame: &[u8]) {
    if packet.set_len(frame.len()) {
        packet.data_mut().copy_from_slice(frame);
    }
}
