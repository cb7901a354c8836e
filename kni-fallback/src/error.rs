//! Why the exception path could not be set up.

use std::io;

use rustix::io::Errno;

use crate::cidr::Cidr;

/// Why a [`HostPath`](crate::HostPath) could not be set up: one line for the user each.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no TUN/TAP driver, or a container was not given it.
    #[error(
        "/dev/net/tun is missing: load the tun module (modprobe tun), or give the container the device"
    )]
    NoTun,
    /// Not allowed to make netdevs.
    #[error("no permission to make the netdev {netdev}: CAP_NET_ADMIN is needed (run as root)")]
    Permission {
        /// Its name.
        netdev: String,
    },
    /// Linux takes no such name.
    #[error("{netdev:?} cannot be a netdev's name: {reason}; choose another --host-netdev")]
    BadName {
        /// The name.
        netdev: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The name is taken.
    #[error("a netdev {netdev} exists already: choose another --host-netdev, or remove it")]
    NameTaken {
        /// The name.
        netdev: String,
    },
    /// The kernel refuses the netdev or one of its settings.
    #[error("the netdev {netdev}: {what}: {source}")]
    Netdev {
        /// Its name.
        netdev: String,
        /// What was tried, such as "MTU 9000".
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel refuses an address.
    #[error("the kernel refuses the address {addr} on the netdev {netdev}: {source}")]
    Address {
        /// The netdev's name.
        netdev: String,
        /// The address.
        addr: Cidr,
        /// What the kernel said.
        source: io::Error,
    },
    /// An IPv6 address, but no IPv6.
    #[error("no address {addr} is possible on the netdev {netdev}: {reason}")]
    NoIpv6 {
        /// The netdev's name.
        netdev: String,
        /// The address.
        addr: Cidr,
        /// Why there is no IPv6.
        reason: &'static str,
    },
    /// [`HostPath::start`](crate::HostPath::start) came a second time.
    #[error("the exception path over the netdev {netdev} runs already")]
    Started {
        /// The netdev's name.
        netdev: String,
    },
    /// The system has no descriptor or no thread left.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// What opening `/dev/net/tun` and `TUNSETIFF` say.
    pub(crate) fn from_open(netdev: &str, source: io::Error) -> Self {
        let netdev = netdev.to_owned();
        match Errno::from_io_error(&source) {
            // ENODEV, ENXIO: the node is there, the driver is not.
            Some(Errno::NOENT | Errno::NODEV | Errno::NXIO) => Self::NoTun,
            Some(Errno::PERM | Errno::ACCESS) => Self::Permission { netdev },
            // EINVAL: the name belongs to a netdev that is no TAP.
            Some(Errno::BUSY | Errno::EXIST | Errno::INVAL) => Self::NameTaken { netdev },
            _ => Self::Netdev {
                netdev,
                what: "creating it".to_owned(),
                source,
            },
        }
    }

    /// What rtnetlink(7) says to a change of the netdev.
    pub(crate) fn from_change(netdev: &str, what: String, source: io::Error) -> Self {
        let netdev = netdev.to_owned();
        match Errno::from_io_error(&source) {
            Some(Errno::PERM) => Self::Permission { netdev },
            _ => Self::Netdev {
                netdev,
                what,
                source,
            },
        }
    }

    /// What rtnetlink(7) says to a new address.
    pub(crate) fn from_address(netdev: &str, addr: Cidr, source: io::Error) -> Self {
        let netdev = netdev.to_owned();
        match Errno::from_io_error(&source) {
            Some(Errno::PERM) => Self::Permission { netdev },
            // EACCES: disable_ipv6; EOPNOTSUPP: the kernel was started without.
            Some(Errno::ACCESS | Errno::OPNOTSUPP) if addr.addr().is_ipv6() => Self::NoIpv6 {
                netdev,
                addr,
                reason: "IPv6 is disabled here (sysctl net.ipv6.conf.all.disable_ipv6, net.ipv6.conf.default.disable_ipv6)",
            },
            _ => Self::Address {
                netdev,
                addr,
                source,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(errno: Errno) -> io::Error {
        errno.into()
    }

    #[test]
    fn opening() {
        let text = |errno| Error::from_open("msh0", os(errno)).to_string();
        assert!(text(Errno::NOENT).starts_with("/dev/net/tun is missing"));
        assert!(text(Errno::NODEV).starts_with("/dev/net/tun is missing"));
        assert!(text(Errno::PERM).contains("CAP_NET_ADMIN"));
        for taken in [Errno::BUSY, Errno::INVAL] {
            assert_eq!(
                text(taken),
                "a netdev msh0 exists already: choose another --host-netdev, or remove it"
            );
        }
        assert!(text(Errno::NFILE).starts_with("the netdev msh0: creating it: "));
    }

    #[test]
    fn addresses() {
        let text = |cidr: &str, errno| {
            Error::from_address("msh0", cidr.parse().unwrap(), os(errno)).to_string()
        };
        assert!(text("fd77::1/64", Errno::ACCESS).contains("IPv6 is disabled"));
        assert!(text("fd77::1/64", Errno::OPNOTSUPP).contains("IPv6 is disabled"));
        assert!(text("192.0.2.1/24", Errno::PERM).contains("CAP_NET_ADMIN"));
        assert!(
            text("192.0.2.1/24", Errno::EXIST)
                .starts_with("the kernel refuses the address 192.0.2.1/24 on the netdev msh0: ")
        );
    }

    #[test]
    fn every_error_is_one_line() {
        let changes = Error::from_change("msh0", "MTU 9".to_owned(), os(Errno::INVAL));
        for error in [
            changes,
            Error::NoTun,
            Error::from_open("msh0", os(Errno::PERM)),
        ] {
            assert_eq!(error.to_string().lines().count(), 1);
        }
    }
}
