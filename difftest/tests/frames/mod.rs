//! Frames to put into captures: of every kind that is well-formed, and one for every rule.

#![allow(dead_code, reason = "each test takes what it needs")]

pub mod traffic;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wire::emit::{self, Eth, Icmp, Sctp, Tcp, Udp};
use wire::{Arp, MacAddr, Malformed, NdKind, NeighborDiscovery, Vlan, checksum};

pub const A4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const B4: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
pub const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 7);

pub const ETH: Eth = Eth {
    dst: MacAddr([2, 0, 0, 0, 0, 0xb]),
    src: MacAddr([2, 0, 0, 0, 0, 0xa]),
};

pub fn built(write: impl Fn(&mut [u8]) -> Option<usize>) -> Vec<u8> {
    let mut buf = vec![0; 4096];
    let len = write(&mut buf).unwrap();
    buf.truncate(len);
    buf
}

/// TCP, UDP or SCTP.
pub fn segment(
    proto: u8,
    (src, dst): (IpAddr, IpAddr),
    ports: (u16, u16),
    payload: &[u8],
) -> Vec<u8> {
    let eth = ETH;
    let (src, dst) = (SocketAddr::new(src, ports.0), SocketAddr::new(dst, ports.1));
    let (seq, ack, flags, window) = (1, 2, 0x18, 3);
    built(|buf| match proto {
        #[rustfmt::skip]
        6 => Tcp { eth, src, dst, seq, ack, flags, window, payload }.write(buf),
        #[rustfmt::skip]
        17 => Udp { eth, src, dst, payload }.write(buf),
        #[rustfmt::skip]
        _ => Sctp { eth, src, dst, tag: 4, chunks: payload }.write(buf),
    })
}

pub fn icmp((src, dst): (IpAddr, IpAddr), kind: u8, body: &[u8]) -> Vec<u8> {
    let (code, rest) = (0, 0x05dc);
    #[rustfmt::skip]
    let icmp = Icmp { eth: ETH, src, dst, kind, code, rest, body };
    built(|buf| icmp.write(buf))
}

pub fn tagged(frame: &[u8], outer: u16, inner: u16) -> Vec<u8> {
    built(|buf| {
        buf[..frame.len()].copy_from_slice(frame);
        emit::tag(buf, frame.len(), Vlan::new(outer, inner)?)
    })
}

pub fn fragment(frame: &[u8], offset: u16, len: u16) -> Vec<u8> {
    built(|buf| emit::fragment(frame, 7, offset, len, buf))
}

/// Makes the checksum of an untagged IPv4 header right, if there is one.
pub fn fix_v4(frame: &mut [u8]) {
    let header_len = frame.get(14).map_or(0, |first| usize::from(first & 15) * 4);
    if header_len >= 20 && frame.len() >= 14 + header_len {
        frame[24..26].fill(0);
        let sum = checksum::internet(&frame[14..14 + header_len]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    }
}

/// Puts options, of a multiple of 4 bytes, into an IPv4 frame.
pub fn with_options(frame: &[u8], options: &[u8]) -> Vec<u8> {
    let mut frame = [&frame[..34], options, &frame[34..]].concat();
    frame[14] = 0x45 + u8::try_from(options.len() / 4).unwrap();
    let len = u16::try_from(frame.len() - 14).unwrap();
    frame[16..18].copy_from_slice(&len.to_be_bytes());
    fix_v4(&mut frame);
    frame
}

/// Puts extension headers, whose first bytes are filled in, into an IPv6 frame.
pub fn with_extensions(frame: &[u8], headers: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let kinds = headers.iter().map(|(kind, _)| *kind).chain([frame[20]]);
    let mut kinds = kinds.collect::<Vec<_>>().into_iter();
    let mut out = frame[..54].to_vec();
    out[20] = kinds.next().unwrap();
    for (_, header) in headers {
        let start = out.len();
        out.extend(header);
        out[start] = kinds.next().unwrap();
    }
    out.extend(&frame[54..]);
    let len = u16::try_from(out.len() - 54).unwrap();
    out[18..20].copy_from_slice(&len.to_be_bytes());
    out
}

/// Of 8 bytes, the first of which does not matter.
pub fn extension(kind: u8, rest: [u8; 7]) -> (u8, Vec<u8>) {
    (kind, [&[0][..], &rest].concat())
}

fn neighbour(kind: NdKind, hop_limit: u8) -> Vec<u8> {
    let nd = NeighborDiscovery {
        kind,
        src: A6,
        dst: B6,
        target: Some(B6),
        link_layer: Some(ETH.src),
        hop_limit,
    };
    built(|buf| nd.write(ETH, buf))
}

fn arp() -> Vec<u8> {
    let arp = Arp {
        op: wire::ARP_REPLY,
        sender_mac: ETH.src,
        sender_ip: A4,
        target_mac: ETH.dst,
        target_ip: B4,
    };
    built(|buf| arp.write(ETH, buf))
}

/// IPv4 first.
pub fn good() -> Vec<Vec<u8>> {
    let four = (IpAddr::V4(A4), IpAddr::V4(B4));
    let six = (IpAddr::V6(A6), IpAddr::V6(B6));
    let mut frames = Vec::new();
    for ends in [four, six] {
        for proto in [17, 6, 132] {
            // SCTP's one chunk is a COOKIE ACK.
            let payload = if proto == 132 {
                &[11, 0, 0, 4][..]
            } else {
                &[7; 50]
            };
            let frame = segment(proto, ends, (1000, 2000), payload);
            for (offset, len) in [(0, 24), (24, 16), (16, 4000)] {
                if proto == 17 {
                    frames.push(fragment(&frame, offset, len));
                }
            }
            frames.push(tagged(&frame, 5, 0));
            frames.push(tagged(&frame, 5, 4094));
            frames.insert(0, frame);
        }
        let (request, error) = if ends == four { (8, 3) } else { (128, 2) };
        frames.push(icmp(ends, request, b"ping"));
        let cause = segment(6, (ends.1, ends.0), (2000, 1000), b"abc");
        frames.push(icmp(ends, error, emit::quote(&cause).unwrap()));
    }
    let four = segment(17, four, (1000, 2000), b"abc");
    let six = segment(17, six, (1000, 2000), b"abc");
    // Router alert; record route.
    frames.push(with_options(&four, &[148, 4, 0, 0]));
    frames.push(with_options(&four, &[7, 7, 4, 0, 0, 0, 0, 0]));
    let padding = [0, 1, 4, 0, 0, 0, 0];
    for kinds in [&[0][..], &[60], &[0, 60, 60]] {
        let headers: Vec<_> = kinds.iter().map(|kind| extension(*kind, padding)).collect();
        frames.push(with_extensions(&six, &headers));
    }
    frames.push(with_extensions(
        &six,
        &[extension(44, [0, 0, 0, 0, 0, 0, 9])],
    ));
    let mut routed = [0; 24];
    routed[1..5].copy_from_slice(&[2, 4, 1, 0]);
    frames.push(with_extensions(&six, &[(43, routed.to_vec())]));
    let group = (A4.into(), [224, 0, 0, 251].into());
    frames.push(segment(17, group, (5353, 5353), b"abc"));
    let nobody = (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into());
    frames.push(segment(17, nobody, (68, 67), &[0; 12]));
    frames.push(neighbour(NdKind::Solicitation, 255));
    frames.push(neighbour(NdKind::Advertisement, 255));
    frames.push(arp());
    let mut padded = four;
    padded.resize(60, 0);
    frames.insert(0, padded);
    frames
}

/// A frame for every rule but the one for frames above 65535 bytes.
pub fn malformed() -> Vec<(Malformed, Vec<u8>)> {
    let ends4 = (IpAddr::V4(A4), IpAddr::V4(B4));
    let ends6 = (IpAddr::V6(A6), IpAddr::V6(B6));
    let (four, six) = (
        segment(17, ends4, (1000, 2000), &[0; 20]),
        segment(17, ends6, (1000, 2000), &[0; 20]),
    );
    let tcp = segment(6, ends4, (1000, 2000), &[0; 20]);
    let edited = |frame: &[u8], edits: &[(usize, u8)]| {
        let mut frame = frame.to_vec();
        for (at, byte) in edits {
            frame[*at] = *byte;
        }
        if frame[12] == 8 {
            fix_v4(&mut frame);
        }
        frame
    };
    let raw_tag = |frame: &[u8], tci: u16| {
        built(|buf| {
            buf[..frame.len()].copy_from_slice(frame);
            emit::insert_tag(buf, frame.len(), 0x8100, tci)
        })
    };
    let mut bad_sum = four.clone();
    bad_sum[24] ^= 1;
    let long = segment(17, ends4, (1000, 2000), &[0; 100]);
    let mut last = fragment(&long, 88, 4000);
    last[20..22].copy_from_slice(&8189u16.to_be_bytes());
    fix_v4(&mut last);
    let routing = |left| extension(43, [0, 0, left, 0, 0, 0, 0]);
    vec![
        (Malformed::Runt, four[..13].to_vec()),
        (Malformed::SourceMac, edited(&four, &[(6, 0x03)])),
        (Malformed::VlanTruncated, tagged(&four, 5, 0)[..17].to_vec()),
        (Malformed::VlanDepth, raw_tag(&tagged(&four, 5, 6), 7)),
        (Malformed::VlanId, raw_tag(&four, 4095)),
        (Malformed::ArpMalformed, edited(&arp(), &[(18, 8)])),
        (Malformed::Ipv4Truncated, four[..33].to_vec()),
        (Malformed::Ipv4Version, edited(&four, &[(14, 0x55)])),
        (Malformed::Ipv4HeaderLength, edited(&four, &[(14, 0x44)])),
        (Malformed::Ipv4TotalLength, edited(&four, &[(17, 200)])),
        (Malformed::Ipv4Checksum, bad_sum),
        (Malformed::Ipv4Options, with_options(&four, &[1, 7, 4, 4])),
        (
            Malformed::Ipv4SourceRoute,
            with_options(&four, &[131, 7, 4, 192, 0, 2, 9, 0]),
        ),
        (Malformed::FragmentLength, {
            edited(&fragment(&long, 0, 24), &[(17, 43)])
        }),
        (Malformed::FragmentTooLong, last),
        (Malformed::FragmentTiny, fragment(&tcp, 0, 16)),
        (Malformed::Ipv6Truncated, six[..53].to_vec()),
        (Malformed::Ipv6Version, edited(&six, &[(14, 0x70)])),
        (Malformed::Ipv6PayloadLength, edited(&six, &[(18, 1)])),
        (
            Malformed::Ipv6ExtensionHeaders,
            with_extensions(&six, &[extension(60, [0, 1, 5, 0, 0, 0, 0])]),
        ),
        (
            Malformed::Ipv6HopByHopNotFirst,
            with_extensions(&six, &[extension(60, [0; 7]), extension(0, [0; 7])]),
        ),
        (
            Malformed::Ipv6RoutingType0,
            with_extensions(&six, &[routing(1)]),
        ),
        (Malformed::MartianSource, edited(&four, &[(26, 127)])),
        (Malformed::MartianDestination, edited(&four, &[(30, 127)])),
        (
            Malformed::Land,
            segment(17, (A6.into(), A6.into()), (1, 2), b""),
        ),
        (Malformed::L4Truncated, edited(&four, &[(17, 27)])),
        (Malformed::UdpLength, edited(&four, &[(39, 29)])),
        (Malformed::TcpDataOffset, edited(&tcp, &[(46, 0x40)])),
        (Malformed::TcpToGroup, edited(&tcp, &[(30, 224)])),
        (Malformed::ZeroPort, segment(17, ends6, (1000, 0), b"abc")),
        (
            Malformed::NdMalformed,
            neighbour(NdKind::Advertisement, 254),
        ),
    ]
}
