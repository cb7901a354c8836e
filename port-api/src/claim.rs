//! Claims, as a stack makes them.
//!
//! The kernel arbitrates: a stack binds an ordinary kernel socket to the tuple and hands it to the
//! switch, which keeps it open for as long as the claim lasts. So the kernel's own rules say who
//! may have which port, and no kernel socket can take it meanwhile.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::Protocol;

/// A tuple that this stack receives and may send from.
///
/// It lasts until [`Vport::release_claim`](crate::Vport::release_claim), detach, or the end of the
/// process; dropping this value alone does not end it.
#[derive(Debug, PartialEq, Eq)]
pub struct Claim {
    pub(crate) id: u64,
    pub(crate) protocol: Protocol,
    pub(crate) local: SocketAddr,
}

impl Claim {
    /// The switch's number for it, as in `msctl claims`.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// TCP or UDP.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The local address, with the port that the kernel chose if port 0 was asked for.
    pub const fn local(&self) -> SocketAddr {
        self.local
    }
}

/// A kernel socket bound to `addr`, neither listening nor connected, with none of the options that
/// would let another socket share the port.
///
/// # Errors
/// As bind(2): `EADDRINUSE`, `EADDRNOTAVAIL` if the host has no such address, `EACCES` for a port
/// below `net.ipv4.ip_unprivileged_port_start` without `CAP_NET_BIND_SERVICE`.
pub fn bind(protocol: Protocol, addr: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match addr {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    if addr.is_ipv6() {
        // Else a socket bound to :: would also hold the IPv4 port.
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &addr)?;
    Ok(socket)
}
