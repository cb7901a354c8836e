//! What becomes of an IP packet of either version that is no unicast TCP, UDP or SCTP.

use core::net::IpAddr;

use crate::{Body, Group, Malformed, Origin, Other, Proto, icmp as icmp_message, l4, proto};

/// A whole IP packet behind its headers.
pub(crate) struct Packet<'a> {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub proto: u8,
    /// What that protocol carries.
    pub bytes: &'a [u8],
    /// Where `bytes` starts in the frame.
    pub l4_offset: u16,
    /// Where `bytes` ends in the frame.
    pub end: u16,
}

/// `to_group` unless it is only the source that is special.
#[cold]
pub(crate) fn group(packet: &Packet, to_group: bool) -> Result<Body, Malformed> {
    if to_group && packet.proto == proto::TCP {
        return Err(Malformed::TcpToGroup);
    }
    let ports = l4::ports(packet.proto, packet.bytes)?;
    let ports = ports.map(|ports| (ports.src, ports.dst));
    // 0.0.0.0 to itself; from the wire the address alone was enough.
    if packet.src == packet.dst && ports.is_some_and(|(src, dst)| src == dst) {
        return Err(Malformed::Land);
    }
    Ok(Body::Other(Other::Group(Group {
        src: packet.src,
        dst: packet.dst,
        proto: packet.proto,
        ports,
        l4_offset: packet.l4_offset,
        end: packet.end,
    })))
}

/// To a unicast address.
pub(crate) fn icmp(packet: &Packet, origin: Origin) -> Result<Body, Malformed> {
    let ends = (packet.src, packet.dst);
    let place = (packet.l4_offset, packet.end);
    let icmp = icmp_message::parse(ends, packet.bytes, place, origin)?;
    Ok(Body::Other(Other::Icmp(icmp)))
}

/// To a unicast address, and nothing that is read further.
pub(crate) fn no_ports(packet: &Packet) -> Body {
    Body::Other(Other::Proto(Proto {
        src: packet.src,
        dst: packet.dst,
        proto: packet.proto,
        l4_offset: packet.l4_offset,
        end: packet.end,
    }))
}
