//! Frames by hand: written apart from `wire::emit`, so that the two check each other.

use std::net::{Ipv4Addr, Ipv6Addr};

use wire::{Body, Fragment, Group, Icmp, Malformed, Origin, Other, Proto, parse};

pub const A4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const B4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 7);

/// RFC 1071, 16 bits at a time.
pub fn ones_complement(data: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in data.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

pub fn ethernet(ethertype: u16, packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 0xb, 2, 0, 0, 0, 0, 0xa];
    frame.extend(ethertype.to_be_bytes());
    frame.extend(packet);
    frame
}

/// An IPv4 frame with options of any multiple of 4 bytes.
pub fn v4_options(
    src: Ipv4Addr,
    dst: Ipv4Addr,
    proto: u8,
    options: &[u8],
    segment: &[u8],
) -> Vec<u8> {
    let header_len = 20 + options.len();
    let mut packet = vec![0x40 | u8::try_from(header_len / 4).unwrap(), 0];
    packet.extend(
        u16::try_from(header_len + segment.len())
            .unwrap()
            .to_be_bytes(),
    );
    packet.extend([0, 1, 0x40, 0, 64, proto, 0, 0]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(options);
    packet.extend(segment);
    let mut frame = ethernet(0x0800, &packet);
    fix_v4(&mut frame);
    frame
}

pub fn v4(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, segment: &[u8]) -> Vec<u8> {
    v4_options(src, dst, proto, &[], segment)
}

/// Makes the IPv4 header checksum right again, if the header lies inside the frame.
pub fn fix_v4(frame: &mut [u8]) {
    let Some(&version_ihl) = frame.get(14) else {
        return;
    };
    let end = 14 + usize::from(version_ihl & 15) * 4;
    if end < 34 || end > frame.len() {
        return;
    }
    frame[24..26].fill(0);
    let sum = ones_complement(&frame[14..end]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
}

pub fn v6_hops(
    src: Ipv6Addr,
    dst: Ipv6Addr,
    next_header: u8,
    hop_limit: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet.extend([next_header, hop_limit]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    packet.extend(payload);
    ethernet(0x86dd, &packet)
}

pub fn v6(src: Ipv6Addr, dst: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    v6_hops(src, dst, next_header, 64, payload)
}

/// An IPv6 extension header of 8 bytes.
pub fn extension(next: u8, rest: [u8; 7]) -> Vec<u8> {
    [&[next][..], &rest].concat()
}

/// An SCTP packet with a checksum of 0.
pub fn sctp(src_port: u16, dst_port: u16, chunks: &[u8]) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(src_port.to_be_bytes());
    packet.extend(dst_port.to_be_bytes());
    packet.extend([0; 8]);
    packet.extend(chunks);
    packet
}

/// A tag in front of those that the frame has.
pub fn tagged(frame: &[u8], tpid: u16, tci: u16) -> Vec<u8> {
    let tag = [tpid.to_be_bytes(), tci.to_be_bytes()].concat();
    [&frame[..12], &tag, &frame[12..]].concat()
}

/// A UDP segment without checksum.
pub fn udp(src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(src_port.to_be_bytes());
    segment.extend(dst_port.to_be_bytes());
    segment.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
    segment.extend([0, 0]);
    segment.extend(payload);
    segment
}

/// A TCP segment with options of any multiple of 4 bytes and a checksum of 0.
pub fn tcp(src_port: u16, dst_port: u16, options: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut segment = Vec::new();
    segment.extend(src_port.to_be_bytes());
    segment.extend(dst_port.to_be_bytes());
    segment.extend([0; 8]);
    segment.push(u8::try_from((20 + options.len()) / 4).unwrap() << 4);
    segment.extend([0x10, 0, 0, 0, 0, 0, 0]);
    segment.extend(options);
    segment.extend(payload);
    segment
}

/// What an untagged frame from the wire carries.
#[track_caller]
pub fn body(frame: &[u8]) -> Result<Body, Malformed> {
    parse(frame, Origin::Wire).map(|parsed| {
        assert!(parsed.vlan.is_none());
        parsed.body
    })
}

/// The same for a frame that never left the machine.
#[track_caller]
pub fn local(frame: &[u8]) -> Result<Body, Malformed> {
    parse(frame, Origin::Local).map(|parsed| parsed.body)
}

#[track_caller]
pub fn refused(frame: &[u8], reason: Malformed) {
    assert_eq!(body(frame), Err(reason));
}

#[track_caller]
pub fn other(frame: &[u8], expected: Other) {
    assert_eq!(body(frame), Ok(Body::Other(expected)));
}

#[track_caller]
pub fn accepted(frame: &[u8]) {
    assert!(
        matches!(body(frame), Ok(Body::V4(_) | Body::V6(_))),
        "{:?}",
        body(frame)
    );
}

/// Functions that unwrap one kind of [`Other`], and say what it was instead.
macro_rules! expect {
    ($($name:ident: $kind:ident,)*) => {
        $(#[track_caller]
        pub fn $name(frame: &[u8]) -> $kind {
            match body(frame) {
                Ok(Body::Other(Other::$kind(it))) => it,
                it => panic!("{it:?}"),
            }
        })*
    };
}

expect! {
    fragment: Fragment,
    group: Group,
    icmp: Icmp,
    proto: Proto,
}
