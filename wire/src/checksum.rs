//! The Internet checksum (RFC 1071) over headers and segments, and SCTP's `CRC32c`.

use core::net::{Ipv4Addr, Ipv6Addr};

use crc::{CRC_32_ISCSI, Crc, Table};

/// 16 KiB of tables, for 16 bytes a step: SCTP carries bulk data.
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);

/// The Internet checksum of `data` (RFC 1071): what to store in a checksum field that was zero
/// while summing, and 0 over data that already holds a right one. An odd last byte counts as if
/// a zero byte followed it. In host byte order: store it with `to_be_bytes`.
pub fn internet(data: &[u8]) -> u16 {
    finish(sum(data))
}

/// Whether an IPv4 header, options included, sums up to what RFC 791 asks for. `header` is
/// exactly the IHL's worth of bytes; the length itself is not checked.
#[inline]
pub fn ipv4_header_ok(header: &[u8]) -> bool {
    fold(sum(header)) == 0xffff
}

/// [`ipv4_header_ok`] for the common header without options: a fixed length needs no loop.
#[inline]
pub(crate) fn ipv4_fixed_header_ok(header: &[u8; 20]) -> bool {
    let (words, _) = header.as_chunks::<4>();
    let total = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum();
    fold(total) == 0xffff
}

/// The checksum of a TCP, UDP or ICMP-like segment under the IPv4 pseudo-header (RFC 9293
/// section 3.1, RFC 768). 0 over a segment that already holds a right one. UDP sends 0xffff
/// where this gives 0 (RFC 768: "an all zero transmitted checksum value means that the
/// transmitter generated no checksum").
pub fn l4_v4(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, segment: &[u8]) -> u16 {
    finish(pseudo_v4(src, dst, proto, segment.len()) + sum(segment))
}

/// [`l4_v4`] under the IPv6 pseudo-header (RFC 8200 section 8.1). There UDP's 0 is not even
/// allowed.
pub fn l4_v6(src: Ipv6Addr, dst: Ipv6Addr, proto: u8, segment: &[u8]) -> u16 {
    finish(pseudo_v6(src, dst, proto, segment.len()) + sum(segment))
}

/// What the checksum field of a segment of `len` bytes holds for a NIC to finish it: the sum of the IPv4
/// pseudo-header, which is not inverted (DPDK's `rte_ipv4_phdr_cksum`).
pub fn begun_v4(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, len: usize) -> u16 {
    fold(pseudo_v4(src, dst, proto, len)).to_be()
}

/// [`begun_v4`] of the IPv6 pseudo-header (DPDK's `rte_ipv6_phdr_cksum`).
pub fn begun_v6(src: Ipv6Addr, dst: Ipv6Addr, proto: u8, len: usize) -> u16 {
    fold(pseudo_v6(src, dst, proto, len)).to_be()
}

/// The `CRC32c` of an SCTP packet (RFC 9260 section 6.8 and appendix A), whose own checksum field
/// counts as zero. Store it with `to_le_bytes`. `None` without a whole common header (12 bytes).
pub fn sctp(packet: &[u8]) -> Option<u32> {
    let (header, chunks) = packet.split_first_chunk::<12>()?;
    let mut digest = CRC32C.digest();
    digest.update(&header[..8]);
    digest.update(&[0; 4]);
    digest.update(chunks);
    Some(digest.finalize())
}

fn pseudo_v4(src: Ipv4Addr, dst: Ipv4Addr, proto: u8, len: usize) -> u64 {
    sum(&src.octets()) + sum(&dst.octets()) + length_and_protocol(proto, len)
}

fn pseudo_v6(src: Ipv6Addr, dst: Ipv6Addr, proto: u8, len: usize) -> u64 {
    sum(&src.octets()) + sum(&dst.octets()) + length_and_protocol(proto, len)
}

/// These words of a pseudo-header. IPv4 has 16 bits of length and IPv6 32; a one's complement sum does
/// not tell them apart.
fn length_and_protocol(proto: u8, len: usize) -> u64 {
    let length = u32::try_from(len).unwrap_or(u32::MAX);
    sum(&length.to_be_bytes()) + sum(&[0, proto])
}

/// Sums in the machine's own byte order: RFC 1071 section 2 (B) lets the swap wait until the
/// end. 32-bit words in a 64-bit sum need no carry before 16 GiB of data.
#[inline]
fn sum(data: &[u8]) -> u64 {
    let (words, rest) = data.as_chunks::<4>();
    let total: u64 = words
        .iter()
        .map(|word| u64::from(u32::from_ne_bytes(*word)))
        .sum();
    let mut last = [0; 4];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    total + u64::from(u32::from_ne_bytes(last))
}

/// Folds a sum to 16 bits with end-around carry, still in the machine's byte order.
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the last two folds leave 16 bits"
)]
fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

fn finish(sum: u64) -> u16 {
    (!fold(sum)).to_be()
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec;

    /// RFC 1071 as its section 4.1 spells it, 16 bits at a time.
    fn reference(data: &[u8]) -> u16 {
        let mut sum = 0u32;
        for pair in data.chunks(2) {
            sum += u32::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).unwrap()
    }

    #[test]
    fn rfc_1071_section_3_example() {
        let data = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(internet(&data), !0xddf2);
    }

    #[test]
    fn agrees_with_the_reference_at_every_length() {
        let data: vec::Vec<u8> = (0..2000u32)
            .map(|i| (i * 167 % 251).to_le_bytes()[0])
            .collect();
        for len in 0..data.len() {
            assert_eq!(
                internet(&data[..len]),
                reference(&data[..len]),
                "length {len}"
            );
        }
    }

    #[test]
    fn carries_survive_the_largest_packet() {
        let data = vec![0xff; 65535];
        assert_eq!(internet(&data), reference(&data));
        assert_eq!(internet(&data[..65534]), 0);
    }

    #[test]
    fn known_ipv4_header() {
        let mut header = [
            0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8,
            0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
        ];
        assert!(ipv4_header_ok(&header) && ipv4_fixed_header_ok(&header));
        header[8] -= 1;
        assert!(!ipv4_header_ok(&header) && !ipv4_fixed_header_ok(&header));
    }
}
