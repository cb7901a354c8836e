//! A peer: OVS-DPDK with a `dpdkvhostuserclient` port.

use std::path::Path;

use super::{BackEnd, Running};
use crate::Error;
use crate::lab::Lab;
use crate::ovs::{Ovs, Sinks, Vswitch};
use crate::stacks::Moved;
use crate::traffic::Traffic;

impl BackEnd for Ovs {
    type Running = Vswitch;
    const KEY: &'static str = "ovs_vhost";
    const LABEL: &'static str = "OVS-DPDK to dpdkvhostuserclient";
    const CONNECTS: bool = true;

    fn options(&self) -> &str {
        self.options
    }

    fn start(&self, lab: &Lab, traffic: Traffic, socket: &Path) -> Result<Vswitch, Error> {
        let ovs = self.clone().with_traffic(traffic);
        ovs.start(lab, &Sinks::Vhost(socket.to_owned()))
    }
}

impl Running for Vswitch {
    fn version(&self) -> Result<(&'static str, String), Error> {
        Ok(("ovs", Self::version(self)?))
    }

    fn device(&self) -> Result<Moved, Error> {
        let (devices, _) = self.telemetry.ports()?;
        self.telemetry.moved(&devices)
    }

    /// The port is none of DPDK's, so telemetry does not know it.
    fn far_end(&self) -> Result<Moved, Error> {
        let (port, device) = (self.port("out1")?, self.device()?);
        if device.sent != port.received {
            return Err(format!("it took {port:?}, and the device has {device:?}").into());
        }
        Ok(Moved {
            received: port.sent,
            sent: port.received,
        })
    }

    fn terminate(self) -> Result<(), Error> {
        Self::terminate(self)
    }
}
