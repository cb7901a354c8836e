//! Checksums, a word or a bit at a time.

use std::net::IpAddr;

/// RFC 1071, to be stored big-endian.
pub fn internet(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for part in parts {
        for pair in part.chunks(2) {
            let low = pair.get(1).copied().unwrap_or(0);
            sum += u32::from(u16::from_be_bytes([pair[0], low]));
            sum = (sum & 0xffff) + (sum >> 16);
        }
    }
    let [.., high, low] = sum.to_be_bytes();
    !u16::from_be_bytes([high, low])
}

/// The pseudo-header of RFC 9293 section 3.1 or RFC 8200 section 8.1.
pub fn pseudo(src: IpAddr, dst: IpAddr, proto: u8, len: usize) -> Vec<u8> {
    let len = u32::try_from(len).expect("a frame");
    let mut bytes = Vec::new();
    match (src, dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            bytes.extend(src.octets());
            bytes.extend(dst.octets());
            bytes.extend([0, proto]);
            bytes.extend(&len.to_be_bytes()[2..]);
        }
        (IpAddr::V6(src), IpAddr::V6(dst)) => {
            bytes.extend(src.octets());
            bytes.extend(dst.octets());
            bytes.extend(len.to_be_bytes());
            bytes.extend([0, 0, 0, proto]);
        }
        _ => panic!("a packet between two families"),
    }
    bytes
}

/// `CRC32c` (RFC 9260 appendix A), to be stored little-endian.
pub fn crc32c(parts: &[&[u8]]) -> u32 {
    let mut crc = u32::MAX;
    for byte in parts.iter().copied().flatten() {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1;
            crc = crc >> 1 ^ if carry == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}
