//! The kernel socket that stands for a claim, and the addresses that can be claimed at all.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

use port_api::{ClaimSpec, Kind, Protocol, netns_cookie};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, getpeername, getsockname, sockopt};

use crate::refusal::Refusal;

/// Checks that a socket is one of `protocol`, in network namespace `netns`, that no other can
/// share, and gives the address that it is bound to. Members of a multicast group share one.
pub(super) fn bound_to(
    protocol: Protocol,
    kind: Kind,
    socket: BorrowedFd<'_>,
    netns: u64,
) -> Result<SocketAddr, Refusal> {
    let bad = |what: &str| bad(protocol, what);
    let no_socket = |error: Errno| bad(&format!("the socket can't be looked at ({error})"));
    let family = sockopt::socket_domain(socket).map_err(no_socket)?;
    let found = (
        sockopt::socket_type(socket).map_err(no_socket)?,
        sockopt::socket_protocol(socket).map_err(no_socket)?,
    );
    let wanted = match protocol {
        Protocol::Tcp => (SocketType::STREAM, rustix::net::ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, rustix::net::ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, rustix::net::ipproto::SCTP),
    };
    let is_inet = [AddressFamily::INET, AddressFamily::INET6].contains(&family);
    if found != (wanted.0, Some(wanted.1)) || !is_inet {
        return Err(bad("the socket is of another kind"));
    }
    let cookie = netns_cookie(socket).map_err(|e| bad(&format!("SO_NETNS_COOKIE: {e}")))?;
    if cookie != netns {
        let message = "the socket is of another network namespace than the switch's";
        return Err(Refusal::new(libc::EXDEV, message));
    }
    let is_set = |option: Result<bool, Errno>| option.unwrap_or(true);
    let shares = is_set(sockopt::socket_reuseport(socket))
        || (kind != Kind::Group && is_set(sockopt::socket_reuseaddr(socket)));
    if shares {
        return Err(bad(
            "the socket shares its port (SO_REUSEPORT or SO_REUSEADDR)",
        ));
    }
    if is_set(sockopt::socket_acceptconn(socket)) || getpeername(socket).is_ok() {
        return Err(bad("the socket is in use: it listens or is connected"));
    }
    let name = getsockname(socket).map_err(no_socket)?;
    SocketAddr::try_from(name).map_err(|_| bad("the socket has no IP address"))
}

fn bad(protocol: Protocol, what: &str) -> Refusal {
    let message = format!("{what}: a plain {protocol} socket bound to one address is needed");
    Refusal::new(libc::EINVAL, message)
}

/// Checks that packets from the wire can go to what is claimed, and come from what it names as the
/// remote end.
///
/// # Errors
/// `EINVAL`.
pub fn check_address(spec: &ClaimSpec) -> Result<(), Refusal> {
    let (what, kind) = (&spec.what, spec.what.kind());
    let ip = what.addr();
    let why = if ip.is_loopback() || ip.to_canonical() != ip {
        Some("nothing from the wire goes to this address")
    } else if ip == IpAddr::from([255; 4]) {
        Some("broadcast goes to all that have claimed its port")
    } else if ip.is_multicast() && (kind != Kind::Group || !is_udp(spec)) {
        Some("of multicast groups only UDP ports can be claimed")
    } else if ip.is_unspecified() && kind != Kind::AnyAddress {
        Some("an address is needed")
    } else if what.local().is_some_and(|(_, local)| local.port() == 0) {
        Some("it is not bound to a port")
    } else {
        bad_remote(spec)
    };
    match why {
        Some(why) => Err(Refusal::new(libc::EINVAL, format!("{what}: {why}"))),
        None => Ok(()),
    }
}

fn is_udp(spec: &ClaimSpec) -> bool {
    matches!(spec.what.local(), Some((Protocol::Udp, _)))
}

fn bad_remote(spec: &ClaimSpec) -> Option<&'static str> {
    let port_api::What::Connection { local, remote, .. } = spec.what else {
        return None;
    };
    let ip = remote.ip();
    if ip.is_ipv4() != local.is_ipv4() {
        return Some("the two ends are of different address families");
    }
    let is_end = !(ip.is_unspecified() || ip.is_multicast() || ip.is_loopback());
    if remote.port() == 0 || !is_end || ip.to_canonical() != ip {
        return Some("nothing from the wire comes from this remote end");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::tests::{add_as, claims, user, wanted};
    use super::super::{Claimant, Claims};
    use super::*;
    use port_api::bind;
    use rustix::net::{SocketFlags, connect, listen, socket, socket_with};
    use std::os::fd::OwnedFd;

    fn claim(
        claims: &mut Claims,
        protocol: Protocol,
        local: &str,
        socket: impl Into<OwnedFd>,
    ) -> Refusal {
        let by = Claimant {
            slot: 3,
            user: user(),
        };
        let spec = ClaimSpec::tuple(protocol, local.parse().unwrap());
        let result = add_as(claims, &[wanted(spec, true)], vec![socket.into()], by);
        result.expect_err("refused")
    }

    fn refused(protocol: Protocol, socket: impl Into<OwnedFd>) -> String {
        claim(&mut claims(), protocol, "127.0.0.1:0", socket).message
    }

    fn bound(protocol: Protocol, addr: &str) -> OwnedFd {
        bind(protocol, addr.parse().unwrap()).unwrap()
    }

    #[test]
    fn only_plain_sockets_bound_to_one_address_will_do() {
        let tcp = || bound(Protocol::Tcp, "127.0.0.1:0");
        assert!(refused(Protocol::Udp, tcp()).contains("another kind"));
        let listening = tcp();
        listen(&listening, 1).unwrap();
        assert!(refused(Protocol::Tcp, listening).contains("listens"));
        let connected = bound(Protocol::Udp, "127.0.0.1:0");
        connect(&connected, &"127.0.0.1:9".parse::<SocketAddr>().unwrap()).unwrap();
        assert!(refused(Protocol::Udp, connected).contains("connected"));
        let sharing = |share: fn(&OwnedFd)| {
            let flags = SocketFlags::CLOEXEC;
            let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, flags, None).unwrap();
            share(&socket);
            rustix::net::bind(&socket, &"127.0.0.1:0".parse::<SocketAddr>().unwrap()).unwrap();
            socket
        };
        let reuse_port = sharing(|s| sockopt::set_socket_reuseport(s, true).unwrap());
        assert!(refused(Protocol::Udp, reuse_port).contains("SO_REUSEPORT"));
        let reuse_addr = sharing(|s| sockopt::set_socket_reuseaddr(s, true).unwrap());
        assert!(refused(Protocol::Udp, reuse_addr).contains("SO_REUSEADDR"));
        assert!(refused(Protocol::Tcp, tcp()).contains("nothing from the wire"));
    }

    #[test]
    fn a_socket_that_is_not_bound_says_nothing() {
        let unbound = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        let refusal = claim(&mut claims(), Protocol::Udp, "0.0.0.0:0", unbound);
        assert!(refusal.message.contains("not bound to a port"), "{refusal}");
    }

    #[test]
    fn sockets_of_another_network_namespace_are_refused() {
        let mut elsewhere = claims();
        elsewhere.netns += 1;
        let socket = bound(Protocol::Udp, "127.0.0.1:0");
        let refusal = claim(&mut elsewhere, Protocol::Udp, "127.0.0.1:0", socket);
        assert_eq!(refusal.errno, libc::EXDEV);
    }

    #[test]
    fn addresses_that_no_packet_has_are_refused() {
        let end = |text: &str| text.parse::<SocketAddr>().unwrap();
        let tuple = |text| ClaimSpec::tuple(Protocol::Udp, end(text));
        let tcp = |text| ClaimSpec::tuple(Protocol::Tcp, end(text));
        let to = |local, remote| ClaimSpec::connection(Protocol::Udp, end(local), end(remote));
        let address = |text: &str| ClaimSpec::address(text.parse().unwrap());
        for spec in [
            tuple("255.255.255.255:7"),
            tuple("127.0.0.1:7"),
            tuple("[::1]:7"),
            tuple("[::ffff:198.51.100.1]:7"),
            tuple("198.51.100.1:0"),
            tcp("239.1.1.1:7"),
            tcp("[ff02::1]:7"),
            address("0.0.0.0"),
            address("::"),
            address("239.1.1.1"),
            ClaimSpec::protocol(47, "ff02::1".parse().unwrap()),
            to("0.0.0.0:7", "198.51.100.9:8"),
            to("239.1.1.1:7", "198.51.100.9:8"),
            to("198.51.100.1:7", "198.51.100.9:0"),
            to("198.51.100.1:7", "0.0.0.0:8"),
            to("198.51.100.1:7", "239.1.1.1:8"),
            to("198.51.100.1:7", "127.0.0.1:8"),
            to("198.51.100.1:7", "[2001:db8::9]:8"),
            to("[2001:db8::1]:7", "[::ffff:198.51.100.9]:8"),
        ] {
            let refusal = check_address(&spec).expect_err(&spec.to_string());
            assert_eq!(refusal.errno, libc::EINVAL);
        }
        for spec in [
            tuple("198.51.100.1:7"),
            tuple("0.0.0.0:7"),
            tuple("[::]:7"),
            tuple("239.1.1.1:7"),
            tuple("[ff02::5]:7"),
            tcp("[fe80::1]:7"),
            to("198.51.100.1:7", "198.51.100.9:8"),
            address("2001:db8::1"),
        ] {
            assert_eq!(check_address(&spec), Ok(()), "{spec}");
        }
    }
}
