//! What comes to one machine of several addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::{Arp, NdKind, NeighborDiscovery, emit};

use super::{A4, A6, ETH, built, fix_v4, fragment, icmp, segment, tagged};

pub const SUBNET: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 255);

pub fn to_mac(frame: &[u8], mac: [u8; 6]) -> Vec<u8> {
    [&mac, &frame[6..]].concat()
}

/// ESP, which has no ports.
pub fn esp(ends: (IpAddr, IpAddr)) -> Vec<u8> {
    let mut frame = icmp(ends, 0, &[3; 60]);
    frame[if ends.0.is_ipv4() { 23 } else { 20 }] = 50;
    if ends.0.is_ipv4() {
        fix_v4(&mut frame);
    }
    frame
}

pub fn arp(op: u16, target_ip: Ipv4Addr) -> Vec<u8> {
    let arp = Arp {
        op,
        sender_mac: ETH.src,
        sender_ip: A4,
        target_mac: ETH.dst,
        target_ip,
    };
    built(|buf| arp.write(ETH, buf))
}

pub fn neighbour(kind: NdKind, dst: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let nd = NeighborDiscovery {
        kind,
        src: A6,
        dst,
        target: Some(target),
        link_layer: Some(ETH.src),
        hop_limit: 255,
    };
    built(|buf| nd.write(ETH, buf))
}

/// About a packet from `ends.1` to `ends.0`, and to `ends.1`.
pub fn error(proto: u8, ends: (IpAddr, IpAddr), ports: (u16, u16)) -> Vec<u8> {
    error_about(
        &segment(proto, (ends.1, ends.0), (ports.1, ports.0), &[7; 30]),
        ends.1,
    )
}

/// From some router.
pub fn error_about(cause: &[u8], dst: IpAddr) -> Vec<u8> {
    let (router, kind) = match dst {
        IpAddr::V4(_) => (IpAddr::V4([203, 0, 113, 9].into()), 3),
        IpAddr::V6(_) => ("2001:db8:9::9".parse().unwrap(), 1),
    };
    icmp((router, dst), kind, emit::quote(cause).unwrap())
}

pub fn damaged(mut frame: Vec<u8>) -> Vec<u8> {
    *frame.last_mut().unwrap() ^= 1;
    frame
}

/// All of it.
pub fn all() -> Vec<Vec<u8>> {
    let mut frames = super::good();
    frames.extend(super::malformed().into_iter().map(|(_, frame)| frame));
    for n in 1..=24u8 {
        let local4 = Ipv4Addr::new(198, 51, 100, n);
        let local6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, n.into());
        let link_local = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, n.into());
        frames.push(arp(1 + u16::from(n % 2), local4));
        frames.push(neighbour(NdKind::Advertisement, local6, A6));
        frames.push(neighbour(NdKind::Solicitation, local6, local6));
        for ends in [
            (IpAddr::V4(A4), local4.into()),
            (A6.into(), local6.into()),
            (A6.into(), link_local.into()),
        ] {
            let proto = [6, 17, 132][usize::from(n % 3)];
            let ports = (1000, 2000 + u16::from(n));
            let whole = segment(proto, ends, ports, &[7; 60]);
            frames.push(fragment(&whole, 0, 32));
            frames.push(fragment(&whole, 32, 4000));
            let vlan = u16::from(n % 4);
            frames.push(if vlan == 0 {
                whole.clone()
            } else {
                tagged(&whole, vlan, 0)
            });
            frames.push(segment(17, ends, (1001, 2000), b"abc"));
            frames.push(damaged(whole));
            frames.push(fragment(&esp(ends), 16, 16));
            frames.push(esp(ends));
            frames.push(icmp(ends, if ends.0.is_ipv4() { 8 } else { 128 }, b"ping"));
            frames.push(error(proto, ends, ports));
        }
    }
    frames.push([&ETH.dst.0[..], &ETH.src.0, &[0x88, 0xcc], &[0; 46]].concat());
    for n in 1..=6u8 {
        let port = 3000 + u16::from(n);
        let to = |addr: [u8; 4]| segment(17, (A4.into(), addr.into()), (9, port), b"abc");
        let group = to([239, 1, 1, n]);
        frames.push(to_mac(&group, [1, 0, 0x5e, 1, 1, n]));
        frames.push(to_mac(&to([255; 4]), [0xff; 6]));
        frames.push(to_mac(&to(SUBNET.octets()), [0xff; 6]));
    }
    frames
}
