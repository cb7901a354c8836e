//! Vports over vhost-user sockets: added and taken away.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use port_api::protocol::{PortSpec, Reply};
use port_api::with_sockets;
use rustix::net::netdevice::name_to_index;
use vhost_port::{DEFAULT_ACCESS, Device, DeviceSetup, Mode, Port};

use super::rights::may_change;
use super::{Control, Failure};
use crate::claims::Claimant;
use crate::config::VhostPort;
use crate::error::{RunError, setup};
use crate::foreign::Passed;
use crate::guests::Guest;
use crate::policy::User;
use crate::refusal::Refusal;
use crate::stacks::{Rates, Stack, check_name};
use crate::vport;
use crate::workers::Stuck;

/// A port, and the kernel sockets for its claims.
pub type Configured = (PortSpec, Vec<Passed>);

fn failed(name: &str, why: &str) -> RunError {
    setup(format!("vhost port {name}: {why}"))
}

impl Control {
    pub(super) fn add_port_for(
        &mut self,
        at: usize,
        spec: &PortSpec,
        sockets: Vec<Passed>,
    ) -> Result<Reply, Failure> {
        let user = self.peers[at].user;
        may_change(user, "add ports")?;
        let vport = self.add_port(user, spec, sockets)?;
        Ok(Reply::Added { vport })
    }

    /// The ports of the configuration, with the kernel sockets for their claims: to be made while the
    /// process may bind to any port.
    ///
    /// # Errors
    /// A claim's port is in use.
    pub fn configured_ports(&self) -> Result<Vec<Configured>, RunError> {
        let one = |option: &VhostPort| {
            let netdev = self.nics.iter().find(|nic| nic.id == option.nic);
            let index = netdev.and_then(|nic| name_to_index(&self.socket, nic.host.netdev()).ok());
            let (wanted, sockets) =
                with_sockets(&option.claims, index.unwrap_or(0)).map_err(|(spec, error)| {
                    failed(&option.name, &format!("bind {}: {error}", spec.what))
                })?;
            // They are this process's own, and IP sockets.
            let sockets = sockets.into_iter().filter_map(|fd| Passed::new(fd).ok());
            Ok((option.with_claims(wanted), sockets.collect()))
        };
        self.config.vhost.iter().map(one).collect()
    }

    /// Adds them.
    ///
    /// # Errors
    /// One of them cannot be.
    pub fn add_configured(&mut self, ports: Vec<Configured>) -> Result<(), RunError> {
        for (spec, sockets) in ports {
            match self.add_port(User::own(), &spec, sockets) {
                Ok(_) => {}
                Err(Failure::Refused(refusal)) => {
                    return Err(failed(&spec.name, &refusal.to_string()));
                }
                Err(Failure::Stuck(stuck)) => return Err(stuck.into()),
            }
        }
        Ok(())
    }

    fn add_port(
        &mut self,
        user: User,
        spec: &PortSpec,
        sockets: Vec<Passed>,
    ) -> Result<u16, Failure> {
        self.check_port(spec)?;
        let slot = self.slots.take()?;
        let port = Arc::new(Port::new(self.workers.len()).map_err(|error| {
            let message = format!("no more descriptors: {error}");
            Refusal::new(libc::EMFILE, message)
        })?);
        let quota = self.slots.quota(slot);
        self.slots
            .open(slot, quota, &self.workers, |pair| vport::Peer::Guest {
                port: port.clone(),
                pair,
                nic: spec.nic,
            })?;
        let device = match self.furnish(user, slot, spec, sockets, &port) {
            Ok(device) => device,
            Err(failure) => {
                self.close_port(slot)?;
                return Err(failure);
            }
        };
        tracing::info!(
            "vhost port {} is vport {slot}, at {}",
            spec.name,
            spec.path.display()
        );
        self.guests.push(Guest {
            stack: Stack {
                slot,
                name: spec.name.clone(),
                since: Instant::now(),
                quota,
            },
            uid: user.uid,
            path: spec.path.clone(),
            port,
            device,
        });
        Ok(slot)
    }

    fn check_port(&self, spec: &PortSpec) -> Result<(), Refusal> {
        check_name(&spec.name)?;
        let invalid = |message: String| Err(Refusal::new(libc::EINVAL, message));
        if !spec.path.is_absolute() {
            return invalid(format!("{}: not an absolute path", spec.path.display()));
        }
        if !self.nics.iter().any(|nic| nic.id == spec.nic) {
            return invalid(format!("there is no port {}", spec.nic));
        }
        let mut guests = self.guests.iter();
        if guests.any(|guest| guest.stack.name == spec.name) {
            let message = format!("there is a vhost port {} already", spec.name);
            return Err(Refusal::new(libc::EEXIST, message));
        }
        Ok(())
    }

    /// Gives a new vport its claims and limits, and opens its socket.
    fn furnish(
        &mut self,
        user: User,
        slot: u16,
        spec: &PortSpec,
        sockets: Vec<Passed>,
        port: &Arc<Port>,
    ) -> Result<Device, Failure> {
        let rates = self.slots.rates(slot);
        self.slots.limit(
            slot,
            Rates {
                rx: spec.rx.unwrap_or(rates.rx),
                tx: spec.tx.unwrap_or(rates.tx),
            },
        );
        if !spec.claims.is_empty() {
            self.claim_as(Claimant { slot, user }, &spec.claims, sockets)?;
        }
        let setup = DeviceSetup {
            name: spec.name.clone(),
            path: spec.path.clone(),
            mode: if spec.client {
                Mode::Client
            } else {
                Mode::Server(DEFAULT_ACCESS)
            },
            port: port.clone(),
            on_event: Box::new(|_| {}),
        };
        Device::start(setup).map_err(|error| {
            let hint = match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    ": in this folder the switch may make no sockets: start it with --vhost-dir"
                }
                _ => "",
            };
            let message = format!("{error}{hint}");
            Refusal::new(libc::EADDRNOTAVAIL, message).into()
        })
    }

    pub(super) fn remove_port(&mut self, at: usize, vport: u16) -> Result<Reply, Failure> {
        may_change(self.peers[at].user, "remove ports")?;
        let mut guests = self.guests.iter();
        let Some(place) = guests.position(|guest| guest.stack.slot == vport) else {
            let message = format!("vport {vport} is no vhost port");
            return Err(Refusal::new(libc::ENODEV, message).into());
        };
        let guest = self.guests.remove(place);
        let name = &guest.stack.name;
        tracing::info!("vhost port {name}, vport {vport}, is removed");
        drop(guest);
        self.close_port(vport)?;
        Ok(Reply::Done)
    }

    fn close_port(&mut self, slot: u16) -> Result<(), Stuck> {
        self.withdraw_claims(slot)?;
        self.slots.close(slot, &self.workers, true)
    }
}
