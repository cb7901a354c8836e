//! A peer: testpmd in io mode, with DPDK's own back end, `net_vhost`.

use std::path::Path;

use super::{BackEnd, Running};
use crate::Error;
use crate::lab::Lab;
use crate::process::Process;
use crate::stacks::Moved;
use crate::telemetry::Telemetry;
use crate::testpmd::Testpmd;
use crate::traffic::Traffic;

impl BackEnd for Testpmd {
    type Running = Forwarding;
    const KEY: &'static str = "testpmd_vhost";
    const LABEL: &'static str = "testpmd to net_vhost";

    fn options(&self) -> &str {
        self.options
    }

    fn start(&self, lab: &Lab, traffic: Traffic, socket: &Path) -> Result<Forwarding, Error> {
        let testpmd = self.clone().with_traffic(traffic);
        let sink = format!("net_vhost0,iface={}", socket.display());
        let (mut process, telemetry) = testpmd.with_sink(sink).start(lab)?;
        process.until(lab, || Ok(std::fs::metadata(socket)?))?;
        let (devices, far_ends) = telemetry.ports()?;
        Ok(Forwarding {
            process,
            telemetry,
            devices,
            far_ends,
        })
    }
}

/// A running one.
pub struct Forwarding {
    process: Process,
    telemetry: Telemetry,
    devices: Vec<u64>,
    far_ends: Vec<u64>,
}

impl Running for Forwarding {
    fn version(&self) -> Result<(&'static str, String), Error> {
        Ok(("testpmd", self.telemetry.version()))
    }

    fn device(&self) -> Result<Moved, Error> {
        self.telemetry.moved(&self.devices)
    }

    /// Its counters have the direction of its own ports.
    fn far_end(&self) -> Result<Moved, Error> {
        let port = self.telemetry.moved(&self.far_ends)?;
        let device = self.device()?;
        if device.sent != port.received {
            return Err(format!("it took {port:?}, and the device has {device:?}").into());
        }
        Ok(Moved {
            received: port.sent,
            sent: port.received,
        })
    }

    fn terminate(self) -> Result<(), Error> {
        self.process.terminate()
    }
}
