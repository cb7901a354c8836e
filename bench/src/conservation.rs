//! Whether the counters add up: a run in which they do not is no measurement.

use port_api::protocol::{PortStats, VportStats};

use crate::Error;
use crate::stacks::{Moved, Totals};
use crate::switch::Switch;

/// Every packet that came in went somewhere, every one that the switch gave to a stack is one that
/// the stack got, and the other way round. To be called when stacks get nothing any more.
pub fn check(switch: &Switch, readings: &[&PortStats], totals: &Totals) -> Result<(), Error> {
    let last = switch.port()?;
    for port in readings.iter().copied().chain([&last]) {
        if port.unaccounted() != 0 {
            return Err(format!("{} packets unaccounted for: {port:?}", port.unaccounted()).into());
        }
    }
    let vports = switch.vports()?;
    for (slot, moved) in totals {
        let vport = vports.iter().find(|vport| vport.slot == *slot);
        compare(
            vport.ok_or_else(|| format!("vport {slot} is gone"))?,
            *moved,
        )?;
    }
    let received: u64 = totals.values().map(|moved| moved.received).sum();
    if last.to_vports == received {
        Ok(())
    } else {
        let given = last.to_vports;
        Err(format!("the switch gave {given} packets to stacks, they got {received}").into())
    }
}

fn compare(vport: &VportStats, stack: Moved) -> Result<(), Error> {
    let counted = Moved {
        received: vport.rx_packets,
        sent: vport.tx_packets,
    };
    if counted != stack {
        return Err(
            format!("of {counted:?} by the switch's count, the stack has {stack:?}").into(),
        );
    }
    match vport.unaccounted() {
        0 => Ok(()),
        lost => Err(format!("{lost} sent packets unaccounted for: {vport:?}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_is_found() {
        let vport = VportStats {
            rx_packets: 7,
            tx_packets: 5,
            tx_wire: 5,
            ..VportStats::default()
        };
        let moved = |received, sent| Moved { received, sent };
        assert!(compare(&vport, moved(7, 5)).is_ok());
        assert!(compare(&vport, moved(6, 5)).is_err());
        assert!(compare(&vport, moved(7, 6)).is_err());
        let lossy = VportStats {
            tx_wire: 4,
            ..vport
        };
        assert!(compare(&lossy, moved(7, 5)).is_err());
    }
}
