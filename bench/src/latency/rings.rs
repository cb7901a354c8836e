//! Through the switch: two vports of one process, of which one sends and the other echoes.

use std::path::Path as FilePath;

use port_api::{Burst, Protocol, Vport};
use wire::MacAddr;
use wire::emit::Eth;

use super::{Path, to_itself};
use crate::stacks::{Moved, Stack};
use crate::{Error, echo, traffic};

/// The two vports.
pub struct Rings {
    sender: Stack,
    echo: Stack,
    burst: Burst,
    mac: MacAddr,
}

impl Rings {
    /// Attaches both, with a port of the host's address each.
    pub fn attach(socket: &FilePath) -> Result<Self, Error> {
        let (sender, echo) = (stack(socket, 0)?, stack(socket, 1)?);
        let port = sender.vport.ports().first().ok_or("no NIC port")?;
        let mac = port.mac.parse().map_err(|_| "no MAC address")?;
        Ok(Self {
            sender,
            echo,
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
        }
        self.sender.answers.push(packet);
        fits
    }

    fn turn(&mut self) {
        self.sender.vport.tx_burst(&mut self.sender.answers);
        echo::serve(&mut self.echo);
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
