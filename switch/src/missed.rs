//! What a netdev under a NIC port has dropped because the driver above took nothing from it: `net_af_xdp` doesn't
//! count that itself. Of `net_af_packet` the netdev doesn't know it either.

use std::fs;

/// Counts from its making on.
pub struct Missed {
    netdev: String,
    before: u64,
}

impl Missed {
    /// None if the driver is no such one.
    pub fn under(driver: &str, netdev: Option<String>) -> Option<Self> {
        let netdev = netdev.filter(|_| driver == "net_af_xdp")?;
        let before = dropped(&netdev).unwrap_or(0);
        Some(Self { netdev, before })
    }

    /// Frames; none if the netdev is gone.
    pub fn count(&self) -> u64 {
        dropped(&self.netdev).map_or(0, |now| now.saturating_sub(self.before))
    }
}

/// Frames that a netdev of this namespace has received and dropped (`proc_pid_net(5)`).
fn dropped(netdev: &str) -> Option<u64> {
    dropped_of(
        &fs::read_to_string("/proc/thread-self/net/dev").ok()?,
        netdev,
    )
}

fn dropped_of(all: &str, netdev: &str) -> Option<u64> {
    all.lines().find_map(|line| {
        let (name, counters) = line.split_once(':')?;
        // Bytes, packets, errors, drops.
        let dropped = counters.split_whitespace().nth(3)?;
        (name.trim() == netdev).then(|| dropped.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_of_the_netdev_of_that_name() {
        let all = "Inter-|   Receive\n face |bytes    packets errs drop\n    lo: 10 1 0 5 0\n  msx0: 120 2 1 7 0\n msx01: 1 1 1 8 0\n";
        assert_eq!(dropped_of(all, "msx0"), Some(7));
        assert_eq!(dropped_of(all, "msx01"), Some(8));
        assert_eq!(dropped_of(all, "msx"), None);
        assert!(dropped("lo").is_some());
    }

    #[test]
    fn only_where_the_driver_does_not_count() {
        let netdev = || Some("lo".to_owned());
        assert_eq!(Missed::under("net_af_xdp", netdev()).unwrap().count(), 0);
        assert!(Missed::under("mlx5_pci", netdev()).is_none());
        assert!(Missed::under("net_af_packet", netdev()).is_none());
        assert!(Missed::under("net_af_xdp", None).is_none());
    }
}
