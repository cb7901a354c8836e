//! Random claims and frames from so few addresses and ports that they often meet.

use std::net::{IpAddr, SocketAddr};

use port_api::{ClaimSpec, Protocol, What};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use switch::key::Subject;
use wire::emit::Eth;
use wire::{MacAddr, NdKind, Vlan};

use super::{BROADCAST, CLIENT_MAC, MAC, MAC1, frames};

const PORTS: [u16; 2] = [7, 8];
const PROTOCOLS: [Protocol; 3] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp];
const GROUPS: [&str; 2] = ["239.1.1.1", "ff02::5"];

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From another machine.
    In,
    /// To another machine.
    Out,
    /// From this one to this one.
    Here,
}

fn addr(texts: &[&str]) -> impl Strategy<Value = IpAddr> + use<> {
    let addrs: Vec<IpAddr> = texts.iter().map(|text| text.parse().unwrap()).collect();
    select(addrs)
}

/// An address of this machine.
pub fn local(is_v4: bool) -> impl Strategy<Value = IpAddr> {
    if is_v4 {
        addr(&["192.0.2.1", "192.0.2.2"])
    } else {
        addr(&["2001:db8::1", "fe80::1"])
    }
}

/// An address of another one.
pub fn remote(is_v4: bool) -> impl Strategy<Value = IpAddr> {
    if is_v4 {
        addr(&["192.0.2.9"])
    } else {
        addr(&["2001:db8::9", "fe80::9"])
    }
}

pub fn port() -> impl Strategy<Value = u16> {
    select(&PORTS[..])
}

pub fn vlan() -> impl Strategy<Value = Vlan> {
    let vlans = ["none", "none", "none", "100", "100.200"];
    select(vlans.map(|text| text.parse::<Vlan>().unwrap()).to_vec())
}

/// Of any kind.
pub fn subject() -> impl Strategy<Value = Subject> {
    let what = any::<bool>().prop_flat_map(|is_v4| {
        let protocol = || select(&PROTOCOLS[..]);
        let end = || (local(is_v4), port()).prop_map(SocketAddr::from);
        let any_end =
            move || port().prop_map(move |port| SocketAddr::new(unspecified(is_v4), port));
        let far_end = (remote(is_v4), port()).prop_map(SocketAddr::from);
        let proto = select(&[1u8, 6, 17, 47, 58, 132][..]);
        let group: IpAddr = GROUPS[usize::from(!is_v4)].parse().unwrap();
        prop_oneof![
            3 => (protocol(), end(), far_end)
                .prop_map(|(p, local, remote)| ClaimSpec::connection(p, local, remote)),
            3 => (protocol(), end()).prop_map(|(p, local)| ClaimSpec::tuple(p, local)),
            1 => (protocol(), any_end()).prop_map(|(p, local)| ClaimSpec::tuple(p, local)),
            1 => (proto, local(is_v4)).prop_map(|(proto, addr)| ClaimSpec::protocol(proto, addr)),
            1 => local(is_v4).prop_map(ClaimSpec::address),
            1 => port().prop_map(move |p| ClaimSpec::tuple(Protocol::Udp, (group, p).into())),
        ]
    });
    (what, vlan(), 0u8..2, any::<bool>()).prop_map(|(spec, vlan, nic, verify)| {
        let mut spec = spec.on_vlan(vlan);
        spec.verify = verify;
        Subject { spec, nic }
    })
}

fn unspecified(is_v4: bool) -> IpAddr {
    if is_v4 {
        IpAddr::from([0; 4])
    } else {
        IpAddr::from([0u16; 8])
    }
}

/// The two addresses of a packet: source and destination.
fn pair(way: Way, is_v4: bool) -> impl Strategy<Value = (IpAddr, IpAddr)> {
    let ours = || local(is_v4).boxed();
    let theirs = || remote(is_v4).boxed();
    match way {
        Way::In => (theirs(), ours()),
        Way::Out => (ours(), theirs()),
        Way::Here => (ours(), ours()),
    }
}

fn segment(eth: Eth, protocol: Protocol, src: SocketAddr, dst: SocketAddr) -> Vec<u8> {
    let (src, dst) = (src.to_string(), dst.to_string());
    match protocol {
        Protocol::Tcp => frames::tcp(eth, &src, &dst),
        Protocol::Udp => frames::udp(eth, &src, &dst),
        Protocol::Sctp => frames::sctp(eth, &src, &dst),
    }
}

fn whole(way: Way, is_v4: bool, eth: Eth) -> impl Strategy<Value = Vec<u8>> {
    let ends = (pair(way, is_v4), port(), port());
    (select(&PROTOCOLS[..]), ends).prop_map(move |(protocol, ((src, dst), from, to))| {
        segment(eth, protocol, (src, from).into(), (dst, to).into())
    })
}

/// Parts of few packets, so that they meet.
fn part(way: Way, is_v4: bool, eth: Eth) -> impl Strategy<Value = Vec<u8>> {
    let place = (
        0u32..2,
        prop_oneof![Just(8u16), Just(16), Just(24)],
        any::<Index>(),
    );
    (whole(way, is_v4, eth), place).prop_map(|(whole, (id, size, at))| {
        let parts = frames::fragments(&whole, id, size);
        parts[at.index(parts.len())].clone()
    })
}

/// Of ICMP: a packet that went the other way, and what is said of it.
fn error(way: Way, is_v4: bool, eth: Eth) -> impl Strategy<Value = Vec<u8>> {
    let back = match way {
        Way::In => Way::Out,
        Way::Out => Way::In,
        Way::Here => Way::Here,
    };
    (whole(back, is_v4, eth), pair(way, is_v4)).prop_map(move |(about, (src, dst))| {
        frames::unreachable(eth, &src.to_string(), &dst.to_string(), &about)
    })
}

fn portless(way: Way, is_v4: bool, eth: Eth) -> impl Strategy<Value = Vec<u8>> {
    let proto = select(&[47u8, 50, 59][..]);
    (pair(way, is_v4), proto, any::<bool>()).prop_map(move |((src, dst), proto, echo)| {
        let (src, dst) = (src.to_string(), dst.to_string());
        if echo {
            frames::echo_request(eth, &src, &dst)
        } else {
            frames::proto(eth, proto, &src, &dst)
        }
    })
}

fn neighbour(way: Way, is_v4: bool, eth: Eth) -> impl Strategy<Value = Vec<u8>> {
    let ends = (pair(way, is_v4), pair(way, is_v4));
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    (ends, flags).prop_map(move |(((src, dst), (_, other)), (asks, probes, to_all))| {
        let src = if probes { unspecified(is_v4) } else { src };
        let (src, dst) = (src.to_string(), dst.to_string());
        if is_v4 {
            return frames::arp(eth, if asks { 1 } else { 2 }, &src, &dst);
        }
        let (kind, group) = if asks {
            (NdKind::Solicitation, "ff02::1:ff00:1")
        } else {
            (NdKind::Advertisement, "ff02::1")
        };
        let to = if to_all { group } else { dst.as_str() };
        let target = if asks { &dst } else { &other.to_string() };
        frames::neighbor(eth, kind, &src, to, target)
    })
}

fn to_many(way: Way, is_v4: bool, eth: Eth) -> impl Strategy<Value = Vec<u8>> {
    let groups = if is_v4 {
        vec![GROUPS[0], "255.255.255.255", "192.0.2.255"]
    } else {
        vec![GROUPS[1], "ff02::1"]
    };
    assert_eq!(BROADCAST, [192, 0, 2, 255]);
    let to_all = Eth {
        dst: MacAddr::BROADCAST,
        ..eth
    };
    let ends = (pair(way, is_v4), addr(&groups), port(), port());
    ends.prop_map(move |((src, _), group, from, to)| {
        segment(
            to_all,
            Protocol::Udp,
            (src, from).into(),
            (group, to).into(),
        )
    })
}

fn eth(way: Way) -> impl Strategy<Value = Eth> {
    let (src, dst) = match way {
        Way::In => (CLIENT_MAC, MAC),
        Way::Out => (MAC, CLIENT_MAC),
        Way::Here => (MAC, MAC),
    };
    let odd = || select(vec![MAC, MAC1, CLIENT_MAC, MacAddr::BROADCAST]);
    prop_oneof![
        8 => Just(Eth { dst, src }),
        1 => odd().prop_map(move |dst| Eth { dst, src }),
        1 => odd().prop_map(move |src| Eth { dst, src }),
    ]
}

/// A frame that is as it should be, but for its addresses.
pub fn sound(way: Way) -> impl Strategy<Value = Vec<u8>> {
    let untagged = (any::<bool>(), eth(way)).prop_flat_map(move |(is_v4, eth)| {
        prop_oneof![
            6 => whole(way, is_v4, eth),
            3 => part(way, is_v4, eth),
            2 => error(way, is_v4, eth),
            1 => portless(way, is_v4, eth),
            2 => neighbour(way, is_v4, eth),
            1 => to_many(way, is_v4, eth),
        ]
    });
    (untagged, vlan()).prop_map(|(frame, vlan)| frames::tagged(frame, &vlan.to_string()))
}

/// A packet that `aim` is for, and to or from `other`'s end if that can be. `part`: a fragment of it.
pub fn aimed(aim: &Subject, other: &Subject, way: Way, part: Option<Index>) -> Vec<u8> {
    let is_v4 = aim.spec.what.addr().is_ipv4();
    let end = |subject: &Subject, fallback: &str| {
        let addr = subject.spec.what.addr();
        let number = subject
            .spec
            .what
            .local()
            .map_or(7, |(_, local)| local.port());
        let fits = addr.is_ipv4() == is_v4 && !addr.is_unspecified() && !addr.is_multicast();
        let addr = if fits {
            addr
        } else {
            fallback.parse().unwrap()
        };
        SocketAddr::new(addr, number)
    };
    let (ours, theirs) = if is_v4 {
        ("192.0.2.2", "192.0.2.9")
    } else {
        ("2001:db8::1", "2001:db8::9")
    };
    let near = end(aim, ours);
    let far = match (aim.spec.what, way) {
        (What::Connection { remote, .. }, Way::In | Way::Out) => remote,
        (_, Way::Here) => end(other, ours),
        _ => SocketAddr::new(theirs.parse().unwrap(), 8),
    };
    let protocol = match aim.spec.what.proto() {
        Some(6) => Protocol::Tcp,
        Some(132) => Protocol::Sctp,
        _ => Protocol::Udp,
    };
    let frame = match way {
        Way::In => segment(frames::IN, protocol, far, near),
        Way::Out => segment(frames::OUT, protocol, near, far),
        Way::Here => segment(frames::HERE, protocol, near, far),
    };
    let frame = match part {
        Some(at) => {
            let parts = frames::fragments(&frame, 1, 8);
            parts[at.index(parts.len())].clone()
        }
        None => frame,
    };
    frames::tagged(frame, &aim.spec.vlan.to_string())
}

/// Any bytes, most of them like a frame.
pub fn frame(way: Way) -> impl Strategy<Value = Vec<u8>> {
    let spoilt = (sound(way), any::<Index>(), any::<u8>()).prop_map(|(mut frame, at, byte)| {
        let at = at.index(frame.len());
        frame[at] = byte;
        frame
    });
    let cut = (sound(way), any::<Index>()).prop_map(|(mut frame, at)| {
        let len = at.index(frame.len() + 1);
        frame.truncate(len);
        frame
    });
    prop_oneof![
        12 => sound(way),
        3 => spoilt,
        1 => cut,
        1 => prop::collection::vec(any::<u8>(), 0..100),
    ]
}
