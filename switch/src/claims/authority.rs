//! Who may claim what.
//!
//! The kernel decides on TCP and UDP at the host's addresses, by the socket that a stack binds. On
//! what the kernel has no say in, the policy decides. And no claim reaches into another stack's:
//! under an address or a tuple only who has that may claim more.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;

use port_api::{ClaimSpec, Kind, Protocol, What, bind, kernel_holder};
use wire::proto;

use super::{Claimant, Claims, Surroundings, socket};
use crate::foreign::Passed;
use crate::key::Subject;
use crate::refusal::Refusal;
use crate::tables::has_ports;

impl Claims {
    /// Checks one claim; gives it with the address that its socket is bound to.
    pub(super) fn authorize(
        &self,
        spec: &ClaimSpec,
        socket: Option<&Passed>,
        by: Claimant,
        around: &Surroundings<'_>,
    ) -> Result<Subject, Refusal> {
        let mut spec = *spec;
        let mut scope = scope_of(&spec);
        if let Some(socket) = socket {
            let bound = self.bound_to(&mut spec, socket)?;
            scope = scope_of(&ClaimSpec::tuple(Protocol::Udp, bound));
        }
        let spec = without_scope(spec);
        socket::check_address(&spec)?;
        let nic = match spec.what.addr() {
            IpAddr::V6(ip) if ip.is_unicast_link_local() => {
                (around.nic_of)(scope).ok_or_else(|| {
                    let message = format!("{ip} is not on a netdev of the exception path");
                    Refusal::new(libc::EADDRNOTAVAIL, message)
                })?
            }
            _ => 0,
        };
        let subject = Subject { spec, nic };
        let is_own = self.check_others(&subject, by, around)?;
        if socket.is_some() && spec.what.kind() != Kind::AnyAddress || is_own {
            return Ok(subject);
        }
        check_kernel(&subject, socket.is_some(), scope)?;
        around.policy.check(by.user, &subject)?;
        Ok(subject)
    }

    /// Takes the address that the socket is bound to into `spec`.
    fn bound_to(&self, spec: &mut ClaimSpec, socket: &Passed) -> Result<SocketAddr, Refusal> {
        let kind = spec.what.kind();
        let needless = || {
            let message = format!("{}: this takes no socket", spec.what);
            Refusal::new(libc::EINVAL, message)
        };
        let (protocol, asked) = spec.what.local().ok_or_else(needless)?;
        let bound = socket::bound_to(protocol, kind, socket.as_fd(), self.netns)?;
        let fits = bound.ip() == asked.ip() && [0, bound.port()].contains(&asked.port());
        if !fits {
            let message = format!("{}: its socket is bound to {bound}", spec.what);
            return Err(Refusal::new(libc::EINVAL, message));
        }
        if let What::Connection { local, .. } | What::Tuple { local, .. } = &mut spec.what {
            *local = bound;
        }
        Ok(bound)
    }

    /// Checks that no other stack has it, or something that covers it. True if `by` has something
    /// that covers it.
    fn check_others(
        &self,
        subject: &Subject,
        by: Claimant,
        around: &Surroundings<'_>,
    ) -> Result<bool, Refusal> {
        let spec = &subject.spec;
        let in_use = |slot| Err(Refusal::in_use(spec, &(around.holder)(slot)));
        if let Some(holder) = self.tables.exact(subject) {
            return in_use(holder.vport);
        }
        let (addr, zone) = (spec.what.addr(), subject.zone());
        if spec.what.kind() == Kind::Address {
            let mut others = self.tables.on_address(addr, zone, spec.vlan);
            return match others.find(|slot| *slot != by.slot) {
                Some(slot) => in_use(slot),
                None => Ok(false),
            };
        }
        let mut covers = vec![self.tables.owner_of_address(addr, zone, spec.vlan)];
        if let Some((protocol, local)) = spec.what.local() {
            let any: IpAddr = if local.is_ipv4() {
                [0; 4].into()
            } else {
                [0u16; 8].into()
            };
            for ip in [local.ip(), any] {
                let tuple = ClaimSpec::tuple(protocol, (ip, local.port()).into());
                let tuple = Subject {
                    spec: tuple.on_vlan(spec.vlan),
                    nic: subject.nic,
                };
                covers.push(self.owner(&tuple));
            }
            let protocol = ClaimSpec::protocol(protocol.number(), addr);
            covers.push(self.owner(&Subject {
                spec: protocol.on_vlan(spec.vlan),
                nic: subject.nic,
            }));
        }
        match covers.iter().flatten().find(|slot| **slot != by.slot) {
            Some(slot) => in_use(*slot),
            None => Ok(covers.contains(&Some(by.slot))),
        }
    }
}

/// Checks that the kernel does not speak for it. `scope`: the index of a link-local address's netdev.
fn check_kernel(subject: &Subject, has_socket: bool, scope: u32) -> Result<(), Refusal> {
    let spec = &subject.spec;
    let needs_socket = matches!(spec.what.local(), Some((Protocol::Tcp | Protocol::Udp, _)));
    let addr = spec.what.addr();
    let by_kernel = match spec.what {
        What::Address { .. } => host_has(addr, scope),
        What::Protocol { proto, .. } => is_kernels(proto) && host_has(addr, scope),
        _ if addr.is_unspecified() || addr.is_multicast() => needs_socket && !has_socket,
        _ => needs_socket && host_has(addr, scope),
    };
    if !by_kernel {
        return Ok(());
    }
    if let Some((protocol, local)) = spec.what.local()
        && let Some(holder) = kernel_holder(protocol, local)
    {
        return Err(Refusal::in_use(spec, &holder));
    }
    if needs_socket {
        let message = format!("{spec}: a claim on this comes with a bound socket");
        return Err(Refusal::new(libc::EBADF, message));
    }
    Err(Refusal::in_use(spec, "the host's kernel"))
}

/// Whether the kernel speaks this protocol, and so has all of it at the host's addresses.
fn is_kernels(proto: u8) -> bool {
    const IGMP: u8 = 2;
    let by_port = has_ports(proto) && proto != proto::SCTP;
    by_port || [proto::ICMP, proto::ICMPV6, IGMP].contains(&proto)
}

/// Whether a socket can be bound to an address.
fn host_has(addr: IpAddr, scope: u32) -> bool {
    let mut local = SocketAddr::new(addr, 0);
    if let SocketAddr::V6(v6) = &mut local
        && v6.ip().is_unicast_link_local()
    {
        v6.set_scope_id(scope);
    }
    bind(Protocol::Udp, local).is_ok()
}

/// The index of the netdev that a link-local address is on; 0 if it is none.
fn scope_of(spec: &ClaimSpec) -> u32 {
    match spec.what.local() {
        Some((_, SocketAddr::V6(local))) => local.scope_id(),
        _ => 0,
    }
}

/// The same address without the index of its netdev, which packets don't have.
fn without_scope(mut spec: ClaimSpec) -> ClaimSpec {
    let plain = |addr: SocketAddr| SocketAddr::new(addr.ip(), addr.port());
    match &mut spec.what {
        What::Connection { local, remote, .. } => {
            *local = plain(*local);
            *remote = plain(*remote);
        }
        What::Tuple { local, .. } => *local = plain(*local),
        What::Protocol { .. } | What::Address { .. } => {}
    }
    spec
}

#[cfg(test)]
mod tests {
    use super::super::tests::{add, add_as, claims, udp, user, wanted};
    use super::*;
    use crate::policy::User;
    use port_api::ClaimSpec;
    use std::os::fd::OwnedFd;

    /// A user that no policy knows.
    const SOMEONE: User = User {
        uid: 12_345,
        gid: 12_345,
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn end(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn connection(remote_port: u16) -> ClaimSpec {
        let local = end("198.51.100.1:7");
        ClaimSpec::connection(
            Protocol::Udp,
            local,
            ([198, 51, 100, 9], remote_port).into(),
        )
    }

    fn errno(result: Result<u64, Refusal>) -> i32 {
        result.unwrap_err().errno
    }

    #[test]
    fn what_another_has_is_in_use_and_by_whom() {
        let specs = [
            udp(7),
            connection(5000),
            ClaimSpec::tuple(Protocol::Sctp, end("0.0.0.0:7")),
            ClaimSpec::tuple(Protocol::Sctp, end("[2001:db8::1]:7")),
            ClaimSpec::protocol(47, ip("198.51.100.1")),
            ClaimSpec::address(ip("198.51.100.2")),
        ];
        let mut claims = claims();
        for spec in specs {
            add(&mut claims, spec, 3).unwrap();
        }
        for spec in specs {
            for slot in [3, 4] {
                let refusal = add(&mut claims, spec, slot).unwrap_err();
                assert_eq!(refusal.errno, libc::EADDRINUSE, "{spec}");
                assert!(refusal.message.contains("stack3"), "{refusal}");
            }
        }
        // On a VLAN they are others.
        let vlan = "100".parse().unwrap();
        assert!(add(&mut claims, udp(7).on_vlan(vlan), 4).is_ok());
    }

    #[test]
    fn under_anothers_address_no_one_may_claim() {
        let mut claims = claims();
        add(&mut claims, ClaimSpec::address(ip("198.51.100.1")), 3).unwrap();
        let under = [
            udp(7),
            connection(5000),
            ClaimSpec::protocol(47, ip("198.51.100.1")),
        ];
        for spec in under {
            assert_eq!(errno(add(&mut claims, spec, 4)), libc::EADDRINUSE);
        }
        // Its owner may, and needs no one's leave.
        let owner = Claimant {
            slot: 3,
            user: SOMEONE,
        };
        for spec in under {
            add_as(&mut claims, &[wanted(spec, false)], vec![], owner).unwrap();
        }
        // Nor may one have the address where another has a part of it.
        add(&mut claims, ClaimSpec::protocol(47, ip("198.51.100.2")), 3).unwrap();
        let address = ClaimSpec::address(ip("198.51.100.2"));
        assert_eq!(errno(add(&mut claims, address, 4)), libc::EADDRINUSE);
        assert!(add(&mut claims, address, 3).is_ok());
    }

    #[test]
    fn under_anothers_tuple_no_one_may_have_a_connection() {
        let sctp = |local: &str| ClaimSpec::tuple(Protocol::Sctp, end(local));
        let to = |local: &str, remote: &str| {
            ClaimSpec::connection(Protocol::Sctp, end(local), end(remote))
        };
        for (tuple, local, remote) in [
            ("198.51.100.1:7", "198.51.100.1:7", "198.51.100.9:5000"),
            ("0.0.0.0:7", "198.51.100.1:7", "198.51.100.9:5000"),
            ("[::]:7", "[2001:db8::1]:7", "[2001:db8::9]:5000"),
        ] {
            let mut claims = claims();
            add(&mut claims, sctp(tuple), 3).unwrap();
            let theirs = to(local, remote);
            assert_eq!(errno(add(&mut claims, theirs, 4)), libc::EADDRINUSE);
            let owner = Claimant {
                slot: 3,
                user: SOMEONE,
            };
            add_as(&mut claims, &[wanted(theirs, false)], vec![], owner).unwrap();
        }
        // Of another protocol it is another tuple.
        let mut claims = claims();
        add(&mut claims, sctp("198.51.100.1:7"), 3).unwrap();
        assert!(add(&mut claims, connection(5000), 4).is_ok());
    }

    #[test]
    fn without_the_kernel_it_takes_the_policys_leave() {
        let mut claims = claims();
        let someone = Claimant {
            slot: 3,
            user: SOMEONE,
        };
        let any = "0.0.0.0:0";
        let bound = bind(Protocol::Udp, end(any)).unwrap();
        let any = ClaimSpec::tuple(Protocol::Udp, end(any));
        let mut refused = |spec, sockets: Vec<OwnedFd>| {
            let wanted = [wanted(spec, !sockets.is_empty())];
            errno(add_as(&mut claims, &wanted, sockets, someone))
        };
        assert_eq!(refused(udp(7), vec![]), libc::EPERM);
        assert_eq!(
            refused(ClaimSpec::address(ip("198.51.100.1")), vec![]),
            libc::EPERM
        );
        assert_eq!(refused(any, vec![bound]), libc::EPERM, "bound all the same");
        let loose = ClaimSpec::tuple(Protocol::Udp, end("0.0.0.0:7"));
        assert_eq!(refused(loose, vec![]), libc::EBADF);
        let group = ClaimSpec::tuple(Protocol::Udp, end("239.1.1.1:7"));
        assert_eq!(refused(group, vec![]), libc::EBADF);
    }

    #[test]
    fn the_socket_says_which_port() {
        let mut claims = claims();
        let by = Claimant {
            slot: 3,
            user: user(),
        };
        let any = end("0.0.0.0:0");
        let bound = || bind(Protocol::Udp, any).unwrap();
        let free = ClaimSpec::tuple(Protocol::Udp, any);
        add_as(&mut claims, &[wanted(free, true)], vec![bound()], by).unwrap();
        let (_, claim) = claims.from(0).next().unwrap();
        assert_ne!(claim.subject.spec.what.local().unwrap().1.port(), 0);
        // Another port than asked for, another address, or a claim that takes no socket.
        for spec in [
            ClaimSpec::tuple(Protocol::Udp, end("0.0.0.0:1")),
            ClaimSpec::tuple(Protocol::Udp, end("198.51.100.1:0")),
            ClaimSpec::address(ip("198.51.100.1")),
        ] {
            let result = add_as(&mut claims, &[wanted(spec, true)], vec![bound()], by);
            assert_eq!(errno(result), libc::EINVAL, "{spec}");
        }
    }

    #[test]
    fn link_local_addresses_are_of_one_port() {
        let scoped = |scope| {
            let ip = "fe80::1".parse().unwrap();
            let local = std::net::SocketAddrV6::new(ip, 7, 0, scope);
            ClaimSpec::tuple(Protocol::Sctp, local.into())
        };
        let mut claims = claims();
        add(&mut claims, scoped(7), 3).unwrap();
        let (_, claim) = claims.from(0).next().unwrap();
        assert_eq!(claim.subject.nic, 2);
        let elsewhere = add(&mut claims, scoped(8), 3);
        assert_eq!(errno(elsewhere), libc::EADDRNOTAVAIL);
    }
}
