//! The way to the host's kernel: what a TAP netdev gets of a flood, and TCP through it.

pub mod flood;
pub mod tcp;

use crate::lab::Lab;
use crate::process::{Process, run};
use crate::testpmd::Testpmd;
use crate::{Error, traffic};

/// testpmd's TAP netdev; the MAC address is `net_pcap`'s, so that the kernel takes the packets.
const SINK: &str = "net_tap0,iface=dtap0,mac=02:70:63:61:70:00";
const TAP: &str = "dtap0";

/// Who carries packets to the host.
#[derive(Clone)]
pub enum By {
    /// The switch's exception path.
    Multistack,
    /// testpmd in io mode, to `net_tap`.
    Testpmd(Testpmd),
}

impl By {
    /// testpmd, set up for it.
    pub fn testpmd(testpmd: Testpmd) -> Self {
        Self::Testpmd(testpmd.with_sink(SINK))
    }
}

/// Sees to the host's address on testpmd's netdev, once it is there.
fn set_up_tap(lab: &Lab, process: &mut Process) -> Result<(), Error> {
    process.until(lab, || {
        ip(&format!("address replace {} dev {TAP}", traffic::HOST_CIDR))
    })?;
    ip(&format!("link set {TAP} up"))
}

/// ip(8), with words that have no spaces in them.
fn ip(words: &str) -> Result<(), Error> {
    run("ip", &words.split(' ').collect::<Vec<_>>()).map(drop)
}
