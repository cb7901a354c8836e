//! Through the switch: vports of one process, of which one sends and the others echo in turns; and one more
//! that floods.

use std::path::Path as FilePath;

use port_api::{Burst, Protocol, Vport};
use wire::MacAddr;
use wire::emit::Eth;

use super::flooder::Flooder;
use super::{Path, Plan, to_itself};
use crate::stacks::{Moved, Stack};
use crate::{Error, echo, traffic};

/// The vports.
pub struct Rings {
    sender: Stack,
    echoes: Vec<Stack>,
    next: usize,
    flooder: Option<Flooder>,
    burst: Burst,
    mac: MacAddr,
}

/// Where a packet's destination port is.
const PORT: usize = 36;

impl Rings {
    /// Attaches all, with a port of the host's address each.
    pub fn attach(socket: &FilePath, plan: &Plan) -> Result<Self, Error> {
        let sender = stack(socket, 0)?;
        let echoes = (1..=plan.echoes).map(|number| stack(socket, number));
        let echoes = echoes.collect::<Result<_, _>>()?;
        let port = sender.vport.ports().first().ok_or("no NIC port")?;
        let mac = port.mac.parse().map_err(|_| "no MAC address")?;
        let flooder = match plan.flood {
            Some(flood) => {
                let number = plan.echoes + 1;
                Some(Flooder::new(stack(socket, number)?, number, flood, mac)?)
            }
            None => None,
        };
        Ok(Self {
            sender,
            echoes,
            next: 0,
            flooder,
            burst: Burst::new(),
            mac,
        })
    }
}

fn stack(socket: &FilePath, number: u16) -> Result<Stack, Error> {
    let vport = Vport::attach(socket, &format!("latency{number}"))?;
    vport.claim(Protocol::Udp, traffic::claim_of(number))?;
    Ok(Stack {
        vport,
        moved: Moved::default(),
        answers: Burst::new(),
    })
}

impl Path for Rings {
    fn queue(&mut self, frame: &[u8]) -> bool {
        if self.sender.answers.is_full() {
            return false;
        }
        let Some(mut packet) = self.sender.vport.alloc() else {
            return false;
        };
        let fits = packet.set_len(frame.len());
        if fits {
            packet.data_mut().copy_from_slice(frame);
            self.next = if self.next + 1 < self.echoes.len() {
                self.next + 1
            } else {
                0
            };
            let port = traffic::claim_of(u16::try_from(1 + self.next).unwrap_or(1)).port();
            packet.data_mut()[PORT..PORT + 2].copy_from_slice(&port.to_be_bytes());
        }
        self.sender.answers.push(packet);
        fits
    }

    fn turn(&mut self) {
        self.sender.vport.tx_burst(&mut self.sender.answers);
        for stack in &mut self.echoes {
            echo::serve(stack);
        }
        if let Some(flooder) = &mut self.flooder {
            flooder.flood();
        }
    }

    fn receive(&mut self, each: &mut dyn FnMut(&[u8])) {
        self.sender.vport.rx_burst(&mut self.burst);
        for packet in &self.burst {
            each(packet.data());
        }
        self.sender.vport.release(&mut self.burst);
    }

    fn eth(&self) -> Eth {
        to_itself(self.mac)
    }
}
