//! Vports over vhost-user sockets, and all who have a vport.

use std::path::PathBuf;
use std::sync::Arc;

use port_api::protocol::VhostRow;
use vhost_port::{Device, Port};

use crate::peer::Peer;
use crate::stacks::Stack;

/// A vport over a vhost-user socket. What is at its other end comes and goes; the vport stays.
pub struct Guest {
    /// The vport.
    pub stack: Stack,
    /// Who has it in service.
    pub uid: u32,
    /// Its socket.
    pub path: PathBuf,
    /// The queues, which the workers serve.
    pub port: Arc<Port>,
    /// The socket's thread. The socket goes when the value goes.
    pub device: Device,
}

impl Guest {
    /// For `msctl stacks`.
    pub fn row(&self) -> VhostRow {
        let status = self.device.status();
        VhostRow {
            path: self.path.clone(),
            connected: status.is_connected,
            ready: self.port.is_up(0),
            features: status.features,
            connections: status.connections,
            violation: status.last_breach,
        }
    }
}

/// All who have a vport, the host apart.
#[derive(Clone, Copy)]
pub struct Tenants<'a> {
    /// Processes with rings among them.
    pub peers: &'a [Peer],
    /// Those behind vhost-user sockets.
    pub guests: &'a [Guest],
}

/// Who has a vport.
#[derive(Clone, Copy)]
pub enum Tenant<'a> {
    /// A process.
    Peer(&'a Peer, &'a Stack),
    /// Someone behind a socket.
    Guest(&'a Guest),
}

impl<'a> Tenants<'a> {
    /// All of them.
    pub fn all(self) -> impl Iterator<Item = Tenant<'a>> {
        let peers = self.peers.iter();
        let stacks = peers.filter_map(|peer| Some(Tenant::Peer(peer, peer.stack.as_ref()?)));
        stacks.chain(self.guests.iter().map(Tenant::Guest))
    }

    /// Who has the vport in `slot`.
    pub fn on(self, slot: u16) -> Option<Tenant<'a>> {
        self.all().find(|tenant| tenant.stack().slot == slot)
    }

    /// The name of who has the vport in `slot`; empty if no one has.
    pub fn name(self, slot: u16) -> String {
        let tenant = self.on(slot);
        tenant.map_or_else(String::new, |tenant| tenant.stack().name.clone())
    }

    /// Who has the vport in `slot`, for a message.
    pub fn describe(self, slot: u16) -> String {
        let tenant = self.on(slot);
        tenant.map_or_else(|| format!("vport {slot}"), Tenant::describe)
    }
}

impl<'a> Tenant<'a> {
    /// The vport.
    pub const fn stack(self) -> &'a Stack {
        match self {
            Self::Peer(_, stack) => stack,
            Self::Guest(guest) => &guest.stack,
        }
    }

    /// The process; of a guest, the switch.
    pub fn pid(self) -> u32 {
        match self {
            Self::Peer(peer, _) => peer.pid,
            Self::Guest(_) => std::process::id(),
        }
    }

    /// Whose it is.
    pub const fn uid(self) -> u32 {
        match self {
            Self::Peer(peer, _) => peer.user.uid,
            Self::Guest(guest) => guest.uid,
        }
    }

    /// The socket, of a guest.
    pub fn vhost(self) -> Option<VhostRow> {
        match self {
            Self::Peer(..) => None,
            Self::Guest(guest) => Some(guest.row()),
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Peer(peer, _) => peer.describe(),
            Self::Guest(guest) => format!("vhost port {}", guest.stack.name),
        }
    }
}
