//! All claims, and the kernel sockets that stand for them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use port_api::{Protocol, netns_cookie};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, getpeername, getsockname, sockopt};

use crate::classify::{Local, Tables};
use crate::flow_table::Seed;
use crate::refusal::Refusal;

/// A claim in force.
pub struct Claim {
    /// What is claimed.
    pub local: Local,
    /// By which vport.
    pub slot: u16,
    /// Kept open, so that the kernel can give the port to no one else.
    _socket: OwnedFd,
}

/// The claims in force.
pub struct Claims {
    by_id: BTreeMap<u64, Claim>,
    next_id: u64,
    /// As every worker has them: if a claim fits here, it fits there.
    tables: Tables,
    most: u32,
    netns: u64,
}

impl Claims {
    /// No claims yet; at most `most`. `netns` is the primary's network namespace, as
    /// [`netns_cookie`] gives it; `seed` is that of the workers' tables.
    pub fn new(most: u32, seed: Seed, netns: u64) -> Self {
        Self {
            by_id: BTreeMap::new(),
            next_id: 1,
            tables: Tables::new(most, seed),
            most,
            netns,
        }
    }

    /// Checks a socket that a stack has passed and takes the tuple that it is bound to, for
    /// `slot`. The workers are still to be told. `nic_of` gives the NIC port behind a netdev's
    /// index; `holder` names the stack on a vport.
    ///
    /// # Errors
    /// The socket is not what it should be (`EINVAL`), of another network namespace (`EXDEV`), the
    /// tuple is claimed (`EADDRINUSE`), or there are too many claims (`ENOSPC`).
    pub fn add(
        &mut self,
        protocol: Protocol,
        socket: OwnedFd,
        slot: u16,
        nic_of: impl Fn(u32) -> Option<u8>,
        holder: impl Fn(u16) -> String,
    ) -> Result<(u64, Local), Refusal> {
        let addr = self.check(protocol, socket.as_fd())?;
        let local = local(protocol, addr, nic_of)?;
        if let Some(owner) = self.owner(&local) {
            return Err(Refusal::in_use(protocol, addr, &holder(owner)));
        }
        let full = || Refusal::new(libc::ENOSPC, format!("all {} claims are taken", self.most));
        if self.by_id.len() >= self.most as usize {
            return Err(full());
        }
        self.tables.insert(&local, slot).map_err(|_| full())?;
        let id = self.next_id;
        self.next_id += 1;
        let claim = Claim {
            local,
            slot,
            _socket: socket,
        };
        self.by_id.insert(id, claim);
        Ok((id, local))
    }

    /// The vport that has `local`.
    pub fn owner(&self, local: &Local) -> Option<u16> {
        self.tables.owner(local)
    }

    /// Ends a claim: drops its socket. The workers must have forgotten it.
    pub fn remove(&mut self, id: u64) {
        if let Some(claim) = self.by_id.remove(&id) {
            self.tables.remove(&claim.local);
        }
    }

    /// The claim called `id`.
    pub fn get(&self, id: u64) -> Option<&Claim> {
        self.by_id.get(&id)
    }

    /// The claims from `from` on, in the order of their ids.
    pub fn from(&self, from: u64) -> impl Iterator<Item = (u64, &Claim)> {
        self.by_id.range(from..).map(|(id, claim)| (*id, claim))
    }

    /// The claims of a vport.
    pub fn of(&self, slot: u16) -> impl Iterator<Item = (u64, &Claim)> {
        self.from(0).filter(move |(_, claim)| claim.slot == slot)
    }

    fn check(&self, protocol: Protocol, socket: BorrowedFd<'_>) -> Result<SocketAddr, Refusal> {
        let kind = match protocol {
            Protocol::Tcp => (SocketType::STREAM, rustix::net::ipproto::TCP),
            Protocol::Udp => (SocketType::DGRAM, rustix::net::ipproto::UDP),
        };
        let no_socket = |_: Errno| bad(protocol, "what was passed is not a socket");
        let family = sockopt::socket_domain(socket).map_err(no_socket)?;
        let found = (
            sockopt::socket_type(socket).map_err(no_socket)?,
            sockopt::socket_protocol(socket).map_err(no_socket)?,
        );
        if found != (kind.0, Some(kind.1))
            || ![AddressFamily::INET, AddressFamily::INET6].contains(&family)
        {
            return Err(bad(protocol, "the socket is of another kind"));
        }
        let netns = netns_cookie(socket)
            .map_err(|error| bad(protocol, &format!("SO_NETNS_COOKIE: {error}")))?;
        if netns != self.netns {
            let message = "the socket is of another network namespace than the switch's";
            return Err(Refusal::new(libc::EXDEV, message));
        }
        let is_set = |option: Result<bool, Errno>| option.unwrap_or(true);
        if is_set(sockopt::socket_reuseport(socket)) || is_set(sockopt::socket_reuseaddr(socket)) {
            return Err(bad(
                protocol,
                "the socket shares its port (SO_REUSEPORT or SO_REUSEADDR)",
            ));
        }
        if is_set(sockopt::socket_acceptconn(socket)) || getpeername(socket).is_ok() {
            return Err(bad(
                protocol,
                "the socket is in use: it listens or is connected",
            ));
        }
        let name = getsockname(socket).map_err(no_socket)?;
        SocketAddr::try_from(name).map_err(|_| bad(protocol, "the socket has no IP address"))
    }
}

fn bad(protocol: Protocol, what: &str) -> Refusal {
    let message = format!("{what}: a plain {protocol} socket bound to one address is needed");
    Refusal::new(libc::EINVAL, message)
}

/// The tuple that a socket bound to `addr` stands for.
///
/// # Errors
/// `addr` is none that a packet from the wire could have as its destination.
pub fn local(
    protocol: Protocol,
    addr: SocketAddr,
    nic_of: impl Fn(u32) -> Option<u8>,
) -> Result<Local, Refusal> {
    let ip = addr.ip();
    let why = if addr.port() == 0 {
        Some("it is not bound to a port")
    } else if ip.is_unspecified() {
        Some("claims of all addresses at once are not possible: bind to one")
    } else if ip.is_multicast() || ip == IpAddr::from([255; 4]) {
        Some("multicast and broadcast addresses cannot be claimed")
    } else if ip.is_loopback() || ip.to_canonical() != ip {
        Some("nothing from the wire goes to this address")
    } else {
        None
    };
    if let Some(why) = why {
        return Err(Refusal::new(
            libc::EINVAL,
            format!("{protocol} {addr}: {why}"),
        ));
    }
    let nic = match addr {
        SocketAddr::V6(v6) if v6.ip().is_unicast_link_local() => {
            nic_of(v6.scope_id()).ok_or_else(|| {
                let message = format!("{addr} is not on a netdev of the exception path");
                Refusal::new(libc::EADDRNOTAVAIL, message)
            })?
        }
        _ => 0,
    };
    let addr = SocketAddr::new(ip, addr.port());
    Ok(Local {
        protocol,
        addr,
        nic,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use port_api::bind;
    use rustix::net::{SocketFlags, connect, listen, socket, socket_with};

    fn claims(netns: u64) -> Claims {
        Claims::new(
            4,
            Seed([0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211]),
            netns,
        )
    }

    fn here() -> u64 {
        let any = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        netns_cookie(any.as_fd()).unwrap()
    }

    fn refused(protocol: Protocol, socket: impl Into<OwnedFd>) -> Refusal {
        let holder = |slot| format!("vport {slot}");
        let result = claims(here()).add(protocol, socket.into(), 3, |_| None, holder);
        result.expect_err("refused")
    }

    fn bound(protocol: Protocol, addr: &str) -> OwnedFd {
        bind(protocol, addr.parse().unwrap()).unwrap()
    }

    #[test]
    fn only_plain_sockets_bound_to_one_address_will_do() {
        let folder = std::fs::File::open("/").unwrap();
        assert!(
            refused(Protocol::Udp, folder)
                .message
                .contains("not a socket")
        );
        let tcp = || bound(Protocol::Tcp, "127.0.0.1:0");
        assert!(
            refused(Protocol::Udp, tcp())
                .message
                .contains("another kind")
        );
        let listening = tcp();
        listen(&listening, 1).unwrap();
        assert!(
            refused(Protocol::Tcp, listening)
                .message
                .contains("listens")
        );
        let connected = bound(Protocol::Udp, "127.0.0.1:0");
        connect(&connected, &"127.0.0.1:9".parse::<SocketAddr>().unwrap()).unwrap();
        assert!(
            refused(Protocol::Udp, connected)
                .message
                .contains("connected")
        );
        let flags = SocketFlags::CLOEXEC;
        let sharing = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None).unwrap();
        sockopt::set_socket_reuseport(&sharing, true).unwrap();
        rustix::net::bind(&sharing, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
        assert!(
            refused(Protocol::Udp, sharing)
                .message
                .contains("SO_REUSEPORT")
        );
        let unbound = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        assert!(
            refused(Protocol::Udp, unbound)
                .message
                .contains("not bound to a port")
        );
        assert!(
            refused(Protocol::Udp, bound(Protocol::Udp, "0.0.0.0:0"))
                .message
                .contains("one")
        );
        assert!(
            refused(Protocol::Tcp, tcp())
                .message
                .contains("nothing from the wire")
        );
    }

    #[test]
    fn sockets_of_another_network_namespace_are_refused() {
        let socket = bound(Protocol::Udp, "127.0.0.1:0");
        let holder = |slot| format!("vport {slot}");
        let result = claims(here() + 1).add(Protocol::Udp, socket, 3, |_| None, holder);
        assert_eq!(result.expect_err("refused").errno, libc::EXDEV);
    }

    #[test]
    fn addresses_that_no_packet_has_are_refused() {
        for addr in [
            "0.0.0.0:7",
            "[::]:7",
            "224.0.0.1:7",
            "[ff02::1]:7",
            "255.255.255.255:7",
            "127.0.0.1:7",
            "[::1]:7",
            "[::ffff:192.0.2.1]:7",
            "192.0.2.1:0",
        ] {
            let result = local(Protocol::Udp, addr.parse().unwrap(), |_| None);
            assert_eq!(result.expect_err(addr).errno, libc::EINVAL);
        }
        let on_nic_2 = |index| (index == 7).then_some(2);
        let scoped = |scope| {
            SocketAddr::V6(std::net::SocketAddrV6::new(
                "fe80::1".parse().unwrap(),
                7,
                0,
                scope,
            ))
        };
        assert_eq!(local(Protocol::Udp, scoped(7), on_nic_2).unwrap().nic, 2);
        let elsewhere = local(Protocol::Udp, scoped(8), on_nic_2).expect_err("no such netdev");
        assert_eq!(elsewhere.errno, libc::EADDRNOTAVAIL);
    }
}
