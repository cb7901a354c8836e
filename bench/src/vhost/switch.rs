//! The switch, with a vhost vport.

use std::path::Path;

use super::{BackEnd, Running};
use crate::Error;
use crate::lab::Lab;
use crate::stacks::Moved;
use crate::switch::{self, Setup, Switch, TUNING};
use crate::traffic::{self, Traffic};

/// multistack, with one claim.
#[derive(Clone, Copy)]
pub struct Multistack;

impl BackEnd for Multistack {
    type Running = Switch;
    const KEY: &'static str = "vhost";
    const LABEL: &'static str = "multistack to a vhost vport";

    fn options(&self) -> &str {
        TUNING
    }

    fn start(&self, lab: &Lab, traffic: Traffic, socket: &Path) -> Result<Switch, Error> {
        let pcap = traffic.write(lab)?;
        let mut setup = Setup::new(switch::program()?, traffic::device(&pcap, 1), 1);
        let (path, claim) = (socket.display(), traffic::claim_of(0));
        setup.options = format!("{TUNING} --vhost name=far,path={path},claim=udp:{claim}");
        Switch::start(lab, &setup)
    }
}

impl Running for Switch {
    fn version(&self) -> Result<(&'static str, String), Error> {
        Ok(("multistack", Self::version(self)))
    }

    fn device(&self) -> Result<Moved, Error> {
        let port = self.port()?;
        Ok(Moved {
            received: port.rx_packets,
            sent: port.tx_packets,
        })
    }

    fn far_end(&self) -> Result<Moved, Error> {
        let port = self.port()?;
        if port.unaccounted() != 0 {
            return Err(format!("{} packets unaccounted for: {port:?}", port.unaccounted()).into());
        }
        let vports = self.vports()?;
        let vport = vports.iter().find(|vport| vport.name == "far");
        let vport = vport.ok_or("no vport of the far end")?;
        if vport.unaccounted() != 0 {
            return Err(format!("sent packets unaccounted for: {vport:?}").into());
        }
        Ok(Moved {
            received: vport.rx_packets,
            sent: vport.tx_packets,
        })
    }

    fn terminate(self) -> Result<(), Error> {
        Self::terminate(self)
    }
}
