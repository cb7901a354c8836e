//! Descriptors: what stands in an `rx` or `tx` ring for a packet.

/// Most buffers that a pool may have, since an index has 22 bits.
pub const MAX_BUFFERS: u32 = 1 << 22;
/// Longest frame in bytes, FCS not counted: longer than any NIC's jumbo frame.
pub const MAX_FRAME: u16 = (1 << 14) - 1;

const PORT_SHIFT: u32 = 22;
const CHECKSUM_BIT: u32 = 27;
const RESERVED_SHIFT: u32 = 28;
const OFFSET_SHIFT: u32 = 32;
const LEN_SHIFT: u32 = 48;
const INDEX: u32 = (1 << PORT_SHIFT) - 1;

/// A packet in a ring, packed into 64 bits: eight to a cache line.
///
/// | bits | field |
/// |---|---|
/// | 0..22 | buffer index |
/// | 22..27 | NIC port: where it came from, or is to go |
/// | 27 | layer 4 checksum: verified (`rx`), to be filled in (`tx`) |
/// | 28..32 | reserved for flags, zero |
/// | 32..48 | offset of the first byte from the buffer's start |
/// | 48..64 | length in bytes |
///
/// Every bit pattern decodes; whoever reads one from the far side checks the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Desc {
    /// Buffer index in the pool.
    pub index: u32,
    /// Offset of the frame's first byte from the buffer's start, in bytes.
    pub offset: u16,
    /// Length of the frame in bytes, FCS not counted.
    pub len: u16,
    /// DPDK port id of the NIC port.
    pub port: u8,
    /// In `rx`: the layer 4 checksum is known to be right. In `tx`: the switch is to fill it in.
    pub checksum: bool,
}

impl Desc {
    /// Packs the fields; an index or a port that is too wide for its field loses its upper bits.
    #[inline]
    pub const fn pack(self) -> u64 {
        let flags =
            (self.port as u32 & 0x1f) << PORT_SHIFT | (self.checksum as u32) << CHECKSUM_BIT;
        (self.index & INDEX | flags) as u64
            | (self.offset as u64) << OFFSET_SHIFT
            | (self.len as u64) << LEN_SHIFT
    }

    /// Unpacks the fields. None if a reserved bit is set.
    #[inline]
    #[allow(clippy::cast_possible_truncation)] // each field is shifted to its width
    pub const fn unpack(raw: u64) -> Option<Self> {
        let low = raw as u32;
        if low >> RESERVED_SHIFT != 0 {
            return None;
        }
        Some(Self {
            index: low & INDEX,
            offset: (raw >> OFFSET_SHIFT) as u16,
            len: (raw >> LEN_SHIFT) as u16,
            port: (low >> PORT_SHIFT & 0x1f) as u8,
            checksum: low >> CHECKSUM_BIT & 1 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn unpack_undoes_pack(
            index in 0..MAX_BUFFERS, offset: u16, len: u16, port in 0u8..32,
            checksum: bool,
        ) {
            let desc = Desc { index, offset, len, port, checksum };
            prop_assert_eq!(Desc::unpack(desc.pack()), Some(desc));
        }

        #[test]
        fn any_bits_decode_or_are_refused(raw: u64) {
            match Desc::unpack(raw) {
                Some(desc) => prop_assert_eq!(desc.pack(), raw),
                None => prop_assert!(raw & 0xf000_0000 != 0),
            }
        }
    }
}
