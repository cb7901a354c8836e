//! Descriptors: what stands in an `rx` or `tx` ring for a packet.

/// Most buffers that a pool may have, since an index has 22 bits.
pub const MAX_BUFFERS: u32 = 1 << 22;
/// Longest frame in bytes, FCS not counted, since a length has 14 bits.
pub const MAX_FRAME: u16 = (1 << 14) - 1;

const OFFSET_SHIFT: u32 = 22;
const LEN_SHIFT: u32 = 34;
const PORT_SHIFT: u32 = 48;
const CHECKSUM_BIT: u32 = 53;
const RESERVED_SHIFT: u32 = 54;

const fn field(raw: u64, shift: u32, bits: u32) -> u64 {
    (raw >> shift) & ((1 << bits) - 1)
}

/// A packet in a ring, packed into 64 bits: eight to a cache line.
///
/// | bits | field |
/// |---|---|
/// | 0..22 | buffer index |
/// | 22..34 | offset of the first byte from the buffer's start |
/// | 34..48 | length in bytes |
/// | 48..53 | NIC port: where it came from, or is to go |
/// | 53 | layer 4 checksum: verified (`rx`), to be filled in (`tx`) |
/// | 54..64 | reserved for flags, zero |
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
    /// Packs the fields; what is too wide for its field loses its upper bits.
    pub const fn pack(self) -> u64 {
        (self.index as u64 & 0x3f_ffff)
            | (self.offset as u64 & 0xfff) << OFFSET_SHIFT
            | (self.len as u64 & 0x3fff) << LEN_SHIFT
            | (self.port as u64 & 0x1f) << PORT_SHIFT
            | (self.checksum as u64) << CHECKSUM_BIT
    }

    /// Unpacks the fields. None if a reserved bit is set.
    #[allow(clippy::cast_possible_truncation)] // each field is masked to its width
    pub const fn unpack(raw: u64) -> Option<Self> {
        if raw >> RESERVED_SHIFT != 0 {
            return None;
        }
        Some(Self {
            index: field(raw, 0, 22) as u32,
            offset: field(raw, OFFSET_SHIFT, 12) as u16,
            len: field(raw, LEN_SHIFT, 14) as u16,
            port: field(raw, PORT_SHIFT, 5) as u8,
            checksum: field(raw, CHECKSUM_BIT, 1) != 0,
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
            index in 0..MAX_BUFFERS, offset in 0u16..4096, len in 0..=MAX_FRAME, port in 0u8..32,
            checksum: bool,
        ) {
            let desc = Desc { index, offset, len, port, checksum };
            prop_assert_eq!(Desc::unpack(desc.pack()), Some(desc));
        }

        #[test]
        fn any_bits_decode_or_are_refused(raw: u64) {
            match Desc::unpack(raw) {
                Some(desc) => prop_assert_eq!(desc.pack(), raw),
                None => prop_assert!(raw >> RESERVED_SHIFT != 0),
            }
        }
    }
}
