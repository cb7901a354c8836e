//! Claims, as a stack makes them.
//!
//! The kernel arbitrates: a stack binds an ordinary kernel socket to the tuple and hands it to the
//! switch, which keeps it open for as long as the claim lasts. So the kernel's own rules say who
//! may have which port, and no kernel socket can take it meanwhile.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::Protocol;
use crate::protocol::{ClaimSpec, Kind, Wanted, What};

/// What this stack receives and may send from.
///
/// It lasts until [`Vport::release_claim`](crate::Vport::release_claim), detach, or the end of the
/// process, or until another stack has taken it over; dropping this value alone does not end it.
#[derive(Debug, PartialEq, Eq)]
pub struct Claim {
    pub(crate) id: u64,
    pub(crate) spec: ClaimSpec,
}

impl Claim {
    /// The switch's number for it, as in `msctl claims`.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// What is claimed, with the port that the kernel chose if port 0 was asked for.
    pub const fn spec(&self) -> &ClaimSpec {
        &self.spec
    }

    /// The local address, and the port of claims that are for one; 0 else.
    pub fn local(&self) -> SocketAddr {
        let local = self.spec.what.local();
        local.map_or_else(|| (self.spec.what.addr(), 0).into(), |(_, local)| local)
    }
}

/// What is sent to the switch to claim all of `specs`, and the kernel sockets that go with it. `netdev` is
/// the index of the netdev on which multicast groups are joined; the kernel chooses one for 0.
///
/// # Errors
/// The first claim for which there is no socket, and what bind(2) says.
pub fn with_sockets(
    specs: &[ClaimSpec],
    netdev: u32,
) -> Result<(Vec<Wanted>, Vec<OwnedFd>), (ClaimSpec, Errno)> {
    let mut sockets = Vec::new();
    let mut wanted = Vec::new();
    for spec in specs {
        let socket = socket_for(spec, netdev).map_err(|error| (*spec, error))?;
        wanted.push(Wanted {
            spec: *spec,
            socket: socket.is_some(),
        });
        sockets.extend(socket);
    }
    Ok((wanted, sockets))
}

/// The kernel socket that stands for a claim; None if the kernel has no say in it: another address
/// than the host's, or a protocol that it does not speak. `netdev` is the index of the netdev on
/// which multicast groups are joined.
fn socket_for(spec: &ClaimSpec, netdev: u32) -> Result<Option<OwnedFd>, Errno> {
    let Some((protocol, local)) = spec.what.local() else {
        return Ok(None);
    };
    if protocol == Protocol::Sctp {
        return Ok(None);
    }
    if spec.what.kind() == Kind::Group {
        return join(local, netdev).map(Some);
    }
    match (bind(protocol, local), spec.what) {
        (Ok(socket), _) => Ok(Some(socket)),
        // What is in use may be so by a claim of this stack's own, under which it may claim
        // connections.
        (Err(Errno::ADDRNOTAVAIL), _) | (Err(Errno::ADDRINUSE), What::Connection { .. }) => {
            Ok(None)
        }
        (Err(error), _) => Err(error),
    }
}

/// A UDP socket that has joined a multicast group, so that the kernel sees to IGMP or MLD. Other
/// stacks and programs may join the same one.
fn join(group: SocketAddr, netdev: u32) -> Result<OwnedFd, Errno> {
    let mut group = group;
    if let SocketAddr::V6(group) = &mut group
        && group.scope_id() == 0
    {
        // Groups of link-local scope can be bound to on one netdev only.
        group.set_scope_id(netdev);
    }
    let socket = open(Protocol::Udp, group)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &group)?;
    match group.ip() {
        IpAddr::V4(ip) => {
            let any = Ipv4Addr::UNSPECIFIED;
            sockopt::set_ip_add_membership_with_ifindex(&socket, &ip, &any, netdev)?;
        }
        IpAddr::V6(ip) => sockopt::set_ipv6_add_membership(&socket, &ip, netdev)?,
    }
    Ok(socket)
}

/// A kernel socket bound to `addr`, neither listening nor connected, with none of the options that
/// would let another socket share the port.
///
/// # Errors
/// As socket(2) and bind(2): `EPROTONOSUPPORT` for SCTP where the kernel has none, `EADDRINUSE`, `EADDRNOTAVAIL` if the host has no such address, `EACCES` for a port
/// below `net.ipv4.ip_unprivileged_port_start` without `CAP_NET_BIND_SERVICE`.
pub fn bind(protocol: Protocol, addr: SocketAddr) -> Result<OwnedFd, Errno> {
    let socket = open(protocol, addr)?;
    rustix::net::bind(&socket, &addr)?;
    Ok(socket)
}

fn open(protocol: Protocol, addr: SocketAddr) -> Result<OwnedFd, Errno> {
    let family = match addr {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, None),
        Protocol::Udp => (SocketType::DGRAM, None),
        Protocol::Sctp => (SocketType::STREAM, Some(rustix::net::ipproto::SCTP)),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, number)?;
    if addr.is_ipv6() {
        // Else a socket bound to :: would also hold the IPv4 port.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    Ok(socket)
}
