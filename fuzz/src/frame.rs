//! Frames from the fuzzer's bytes: mostly well-formed, from and to the addresses of `world`, and
//! wrong in any way that a byte can make them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wire::MacAddr;

use crate::input::Input;
use crate::judge::{self, What};
use crate::sums;
use crate::world::{ADDRS, BROADCAST, GROUPS, MACS, PORTS, VLANS, peer_of};

const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);
const GROUP: MacAddr = MacAddr([0x33, 0x33, 0, 0, 0, 1]);

/// What an IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Whatever the input says.
    Any,
    /// An ICMP error.
    Error,
}

/// A frame, by the next bytes: built, or taken as it is and perhaps put right.
pub fn frame(input: &mut Input<'_>) -> Vec<u8> {
    let how = input.byte() % 8;
    let mut frame = if how < 2 {
        input.take(usize::MAX).to_vec()
    } else {
        built(input, Payload::Any)
    };
    if how == 0 {
        return frame;
    }
    put_right(&mut frame);
    spoil(&mut frame, input);
    frame
}

/// A frame like another one, but for up to three bytes.
pub fn like(frame: &[u8], input: &mut Input<'_>) -> Vec<u8> {
    let mut frame = frame.to_vec();
    for _ in 0..input.byte() % 4 {
        let (at, mask) = (usize::from(input.byte()), input.byte());
        if let Some(byte) = frame.get_mut(at) {
            *byte ^= mask;
        }
    }
    put_right(&mut frame);
    frame
}

/// A frame with an ICMP error in it.
pub fn error_frame(input: &mut Input<'_>) -> Vec<u8> {
    let mut frame = built(input, Payload::Error);
    put_right(&mut frame);
    spoil(&mut frame, input);
    frame
}

fn built(input: &mut Input<'_>, payload: Payload) -> Vec<u8> {
    let mut frame = ethernet(input);
    let l3 = frame.len();
    match (payload, input.byte() % 8) {
        (Payload::Any, 0) => {
            frame.extend(0x0806u16.to_be_bytes());
            arp(input, &mut frame);
        }
        (Payload::Any, 1) => {
            frame.extend(input.word().to_be_bytes());
            frame.extend(input.take(40));
        }
        _ => {
            let packet = packet(input, payload);
            let is_v4 = packet.first().is_some_and(|first| first >> 4 == 4);
            let ethertype: u16 = if is_v4 { 0x0800 } else { 0x86dd };
            frame.extend(ethertype.to_be_bytes());
            frame.extend(packet);
            // Solicitations go to a group; then so should their frame.
            if frame.get(l3 + 2 + 24) == Some(&0xff) && !is_v4 && frame[0] & 1 == 0 {
                frame[..6].copy_from_slice(&GROUP.0);
            }
        }
    }
    frame.extend(vec![0; usize::from(input.byte() % 32).saturating_sub(16)]);
    frame
}

/// MACs and tags.
fn ethernet(input: &mut Input<'_>) -> Vec<u8> {
    let macs = [MACS[0], MACS[0], MACS[1], CLIENT, MacAddr::BROADCAST, GROUP];
    let to = input.pick(&macs);
    let from = input.pick(&[MACS[0], CLIENT, MACS[1], GROUP, MACS[0], CLIENT]);
    let mut frame = [to.0, from.0].concat();
    let tags = input.byte();
    let (outer, inner) = VLANS[usize::from(tags % 4)];
    let ids: &[u16] = match (tags >> 2) % 8 {
        1 => &[0],
        2 => &[0, outer],
        3 => &[outer, inner, 0],
        4 => &[0x0fff],
        _ => &[outer, inner],
    };
    let always = matches!((tags >> 2) % 8, 1..=4);
    for id in ids.iter().filter(|id| always || **id != 0) {
        let tpid: u16 = if tags & 0x80 == 0 { 0x8100 } else { 0x88a8 };
        frame.extend(tpid.to_be_bytes());
        frame.extend((id | u16::from(tags & 0x60) << 8).to_be_bytes());
    }
    frame
}

fn arp(input: &mut Input<'_>, frame: &mut Vec<u8>) {
    frame.extend([0, 1, 8, 0, 6, 4, 0, input.byte() % 4]);
    for _ in 0..2 {
        frame.extend(
            input
                .pick(&[MACS[0], CLIENT, MACS[1], MacAddr::default()])
                .0,
        );
        let addr = usize::from(input.byte() % 5);
        match ADDRS[..4].get(addr) {
            Some(IpAddr::V4(ip)) => frame.extend(ip.octets()),
            _ => frame.extend([0; 4]),
        }
    }
}

/// An IP packet, with no lengths and checksums yet.
pub fn packet(input: &mut Input<'_>, payload: Payload) -> Vec<u8> {
    let (src, dst) = addresses(input);
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => packet_v4(input, payload, src, dst),
        (IpAddr::V6(src), IpAddr::V6(dst)) => packet_v6(input, payload, src, dst),
        _ => vec![],
    }
}

fn addresses(input: &mut Input<'_>) -> (IpAddr, IpAddr) {
    let src = input.pick(&ADDRS);
    let choice = input.byte();
    let group = GROUPS.into_iter().find(|g| g.is_ipv4() == src.is_ipv4());
    let dst = match (choice >> 4, src) {
        (1, _) => group.unwrap_or(src),
        (2, IpAddr::V4(_)) => BROADCAST.into(),
        (3, IpAddr::V4(_)) => Ipv4Addr::BROADCAST.into(),
        (4, IpAddr::V6(_)) => GROUPS[3],
        _ => peer_of(src, choice),
    };
    match (choice >> 4, src) {
        (5, IpAddr::V4(_)) => (Ipv4Addr::UNSPECIFIED.into(), dst),
        (5, IpAddr::V6(_)) => (Ipv6Addr::UNSPECIFIED.into(), dst),
        (6, IpAddr::V4(_)) => (Ipv4Addr::from_bits(input.word().into()).into(), dst),
        _ => (src, dst),
    }
}

/// The offset and the flag of a fragment, in the units of the field; 0 for most packets.
fn part(input: &mut Input<'_>) -> (u16, bool) {
    match input.byte() % 8 {
        0 => (0, true),
        1 => (u16::from(input.byte()), false),
        2 => (input.word(), input.byte() & 1 == 1),
        _ => (0, false),
    }
}

fn packet_v4(input: &mut Input<'_>, payload: Payload, src: Ipv4Addr, dst: Ipv4Addr) -> Vec<u8> {
    let words = if input.rarely(8) {
        input.byte() % 11
    } else {
        0
    };
    let (offset, more) = if payload == Payload::Any {
        part(input)
    } else {
        (0, false)
    };
    let flags = offset & 0x1fff | u16::from(more) << 13;
    let proto = proto(input, payload, 1);
    let mut packet = vec![0x45 + words, 0, 0, 0, 0, input.byte() % 4];
    packet.extend(flags.to_be_bytes());
    packet.extend([64, proto, 0, 0]);
    packet.extend(src.octets());
    packet.extend(dst.octets());
    let mut options = input.take(usize::from(words) * 4).to_vec();
    options.resize(usize::from(words) * 4, 0);
    packet.extend(options);
    upper(input, payload, proto, &mut packet);
    packet
}

fn packet_v6(input: &mut Input<'_>, payload: Payload, src: Ipv6Addr, dst: Ipv6Addr) -> Vec<u8> {
    let mut headers = vec![];
    for _ in 0..(input.byte() % 16).saturating_sub(10) {
        headers.push(extension(input, payload));
    }
    let proto = proto(input, payload, 58);
    let next = headers.iter().map(|(kind, _)| *kind).chain([proto]);
    let mut next: Vec<u8> = next.collect();
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next.remove(0)];
    packet.push(if proto == 58 { 255 } else { 64 });
    packet.extend(src.octets());
    packet.extend(dst.octets());
    for ((_, header), next) in headers.into_iter().zip(next) {
        packet.push(next);
        packet.extend(header);
    }
    upper(input, payload, proto, &mut packet);
    packet
}

/// An extension header without its first byte.
fn extension(input: &mut Input<'_>, payload: Payload) -> (u8, Vec<u8>) {
    let kind = input.pick(&[0, 60, 43, 44, 44]);
    if kind == 44 {
        let (offset, more) = part(input);
        let whole = payload == Payload::Error;
        let word = if whole {
            0
        } else {
            offset << 3 | u16::from(more)
        };
        let [high, low] = word.to_be_bytes();
        return (kind, vec![0, high, low, 0, 0, 0, input.byte() % 4]);
    }
    let units = input.byte() % 3;
    let mut rest = vec![units];
    rest.extend(input.take(usize::from(units) * 8 + 6));
    rest.resize(usize::from(units) * 8 + 7, 0);
    (kind, rest)
}

fn proto(input: &mut Input<'_>, payload: Payload, icmp: u8) -> u8 {
    match payload {
        Payload::Any => input.pick(&[17, 6, icmp, 132, 17, 6, icmp, 47, 50, 51, 59, 0]),
        Payload::Error => icmp,
    }
}

fn upper(input: &mut Input<'_>, payload: Payload, proto: u8, packet: &mut Vec<u8>) {
    let mut segment = match (proto, payload) {
        (1 | 58, _) => icmp(input, payload, proto),
        (17, _) => [&ports(input)[..], &[0; 4]].concat(),
        (6, _) => {
            let offset = if input.rarely(8) { input.byte() } else { 0x50 };
            [&ports(input)[..], &[0; 8], &[offset, 2, 0, 0, 0, 0, 0, 0]].concat()
        }
        (132, _) => [&ports(input)[..], &[0; 8]].concat(),
        _ => vec![],
    };
    let len = usize::from(input.byte());
    segment.extend(input.take(len));
    packet.extend(segment);
}

fn ports(input: &mut Input<'_>) -> [u8; 4] {
    let choice = input.byte();
    let port = |at: u8| match at % 8 {
        7 => 0,
        at => PORTS[usize::from(at % 4)],
    };
    let ([a, b], [c, d]) = (port(choice).to_be_bytes(), port(choice >> 4).to_be_bytes());
    [a, b, c, d]
}

fn icmp(input: &mut Input<'_>, payload: Payload, proto: u8) -> Vec<u8> {
    let errors: &[u8] = match proto {
        1 => &[3, 11, 12, 4, 5],
        _ => &[1, 2, 3, 4, 0, 100],
    };
    let choice = input.byte();
    if payload == Payload::Error || choice % 4 == 3 {
        let kind = input.pick(errors);
        let mut message = vec![kind, input.byte() % 16, 0, 0, 0, 0, 0, 0];
        message.extend(quoted(input));
        return message;
    }
    match (proto, choice % 4) {
        (58, 1) => neighbour(input),
        (1, _) => vec![input.pick(&[8, 0, 13, 3, 5]), 0, 0, 0, 0, 0, 0, 0],
        _ => vec![input.pick(&[128, 129, 130, 143, 1, 2]), 0, 0, 0, 0, 0, 0, 0],
    }
}

fn neighbour(input: &mut Input<'_>) -> Vec<u8> {
    let kind = input.pick(&[135, 136, 133, 134, 137]);
    let flags = if input.rarely(2) { 0x40 } else { 0 };
    let mut message = vec![kind, 0, 0, 0, flags, 0, 0, 0];
    message.extend(match kind {
        133 => vec![],
        134 => vec![0; 8],
        _ => match peer_of(ADDRS[4], input.byte()) {
            IpAddr::V6(target) => target.octets().to_vec(),
            IpAddr::V4(_) => vec![],
        },
    });
    if kind == 137 {
        message.extend(vec![0; 16]);
    }
    for _ in 0..input.byte() % 3 {
        message.extend([input.byte() % 4, 1]);
        message.extend(input.pick(&[MACS[0], CLIENT, MACS[1]]).0);
    }
    message
}

/// What an ICMP error quotes: a packet of its own, put right, spoilt, and cut.
fn quoted(input: &mut Input<'_>) -> Vec<u8> {
    let packet = packet(input, Payload::Any);
    let ethertype: u16 = if packet.first().is_some_and(|first| first >> 4 == 4) {
        0x0800
    } else {
        0x86dd
    };
    let mut frame = [&[0; 12][..], &ethertype.to_be_bytes(), &packet].concat();
    put_right(&mut frame);
    spoil(&mut frame, input);
    let cut = input.byte();
    if cut >= 0x80 {
        frame.truncate(14 + usize::from(cut & 0x7f));
    }
    frame.get(14..).unwrap_or_default().to_vec()
}

/// Sets lengths and checksums as they must be, as far as the frame can be read.
fn put_right(frame: &mut [u8]) {
    let Some(seen) = judge::read(frame) else {
        return;
    };
    let What::Ip(ip) = seen.what else { return };
    let len = |from: usize| u16::try_from(frame.len() - from).ok();
    let (Some(total), true) = (len(ip.l3), ip.l3 + 40 <= frame.len() || ip.src.is_ipv4()) else {
        return;
    };
    match ip.src {
        IpAddr::V4(_) => {
            frame[ip.l3 + 2..ip.l3 + 4].copy_from_slice(&total.to_be_bytes());
            frame[ip.l3 + 10..ip.l3 + 12].fill(0);
            let header = ip.l3..ip.l4.min(frame.len());
            let sum = sums::internet(&[&frame[header]]);
            frame[ip.l3 + 10..ip.l3 + 12].copy_from_slice(&sum.to_be_bytes());
        }
        IpAddr::V6(_) => {
            let payload = total - 40;
            frame[ip.l3 + 4..ip.l3 + 6].copy_from_slice(&payload.to_be_bytes());
        }
    }
    put_sum_right(frame);
}

/// UDP's length, and the layer 4 checksum.
fn put_sum_right(frame: &mut [u8]) {
    let Some(What::Ip(ip)) = judge::read(frame).map(|seen| seen.what) else {
        return;
    };
    if ip.proto == 17
        && ip.part.is_none_or(|part| part.offset == 0)
        && let Ok(len) = u16::try_from(ip.end.saturating_sub(ip.l4))
        && let Some(field) = frame.get_mut(ip.l4 + 4..ip.l4 + 6)
    {
        field.copy_from_slice(&len.to_be_bytes());
    }
    let Some((_, at)) = ip.sum(frame) else { return };
    let segment = &frame[ip.l4..ip.end];
    let at_segment = at - ip.l4;
    if ip.proto == 132 {
        let sum = sums::crc32c(&[&segment[..8], &[0; 4], &segment[12..]]);
        frame[at..at + 4].copy_from_slice(&sum.to_le_bytes());
        return;
    }
    let pseudo = sums::pseudo(ip.src, ip.dst, ip.proto, segment.len());
    let pseudo = if ip.proto == 1 { &[][..] } else { &pseudo };
    let (before, behind) = (&segment[..at_segment], &segment[at_segment + 2..]);
    let sum = sums::internet(&[pseudo, before, &[0; 2], behind]);
    let sum = if ip.proto == 17 && sum == 0 {
        0xffff
    } else {
        sum
    };
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// Changes a byte or two, or cuts the frame, one time in four.
fn spoil(frame: &mut Vec<u8>, input: &mut Input<'_>) {
    let how = input.byte();
    if how < 0xc0 || frame.is_empty() {
        return;
    }
    for _ in 0..how & 3 {
        let at = usize::from(input.byte()) % frame.len();
        frame[at] ^= input.byte();
    }
    if how & 4 != 0 {
        frame.truncate(usize::from(input.byte()));
    }
}
