//! What a guest leaves to us: the checksum of a packet, and the segmentation of a large one. All on our own
//! copy of the frame.

use std::ops::Range;

use wire::{Body, Origin, checksum, proto};

/// Bytes of payload in a segment, at least: what fits an MTU of 296, the smallest in use (RFC 1191, table 7-1),
/// behind IPv4 and TCP headers with all the options that there can be. It bounds the work for one frame to some
/// 300 segments.
pub const MIN_GSO_SIZE: u16 = 216;

/// A checksum that is not there yet: the field holds that of the pseudo-header (virtio 1.2, section 5.1.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeedsChecksum {
    /// Where to sum from, in bytes from the start of the frame.
    pub start: u16,
    /// Where the field is, in bytes from `start`.
    pub offset: u16,
}

impl NeedsChecksum {
    /// Whether the field is wholly behind the Ethernet header and inside a frame of `len` bytes.
    pub fn is_in(&self, len: usize) -> bool {
        self.start >= wire::ETHERNET_HEADER_LEN
            && usize::from(self.start) + usize::from(self.offset) + 2 <= len
    }
}

/// Which segmentation a guest wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4.
    TcpV4,
    /// TCP over IPv6.
    TcpV6,
    /// The `gso_type` of something that was not negotiated.
    NotOffered(u8),
}

/// A frame that is to be cut into several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// How.
    pub kind: GsoKind,
    /// Bytes of payload in each segment.
    pub size: u16,
}

/// Why what a guest asks for with a frame cannot be done. The frame is to be dropped: a program in the guest may
/// be able to cause it, so it is no reason to end the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOffload {
    /// The checksum's place is not in the frame's payload.
    #[error("a checksum from byte {start} on, at {offset} behind it, in a frame of {len} bytes")]
    ChecksumPlace {
        /// As the guest said.
        start: u16,
        /// As the guest said.
        offset: u16,
        /// Bytes of the frame.
        len: usize,
    },
    /// A segmentation that was not negotiated.
    #[error("segmentation of type {0:#x}, which was not negotiated")]
    NotOffered(u8),
    /// The frame is not what is to be segmented.
    #[error("segmentation of a frame that is not of that kind")]
    NotThatKind,
    /// The frame is malformed, or is a SYN or RST, of which there can be only one.
    #[error("segmentation of a malformed frame")]
    Malformed,
    /// Segments with less than [`MIN_GSO_SIZE`], or longer than the MTU.
    #[error("segments of {size} bytes; {MIN_GSO_SIZE} to {most} are possible")]
    Size {
        /// As the guest said.
        size: u16,
        /// What the MTU leaves.
        most: usize,
    },
}

/// Finishes the checksum of a frame in place.
///
/// # Errors
/// If its field is not [in](NeedsChecksum::is_in) the frame, which is untouched then.
pub fn complete_checksum(frame: &mut [u8], at: NeedsChecksum) -> Result<(), BadOffload> {
    let NeedsChecksum { start, offset } = at;
    let len = frame.len();
    if !at.is_in(len) {
        return Err(BadOffload::ChecksumPlace { start, offset, len });
    }
    let covered = &mut frame[start.into()..];
    let offset = usize::from(offset);
    let sum = match checksum::internet(covered) {
        // The same number, and UDP's 0 would mean that there is none (RFC 768).
        0 => u16::MAX,
        sum => sum,
    };
    covered[offset..offset + 2].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// A large TCP frame, cut into segments with headers and checksums of their own.
#[derive(Clone, Debug)]
pub struct Segmented {
    /// Bytes of Ethernet, IP and TCP headers, with tags and options.
    headers: usize,
    /// What of the payload is left: from where to where.
    payload: Range<usize>,
    size: usize,
    l3: usize,
    l4: usize,
    v4: bool,
    /// Segments made.
    made: u16,
    sequence: u32,
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;
const CWR: u8 = 0x80;

impl Segmented {
    /// Prepares to cut `frame`. `mtu`: bytes of an IP packet, at most.
    ///
    /// # Errors
    /// If the frame is not what `gso` says, is malformed, or its segments would not fit.
    pub fn new(frame: &[u8], gso: Gso, mtu: u16) -> Result<Self, BadOffload> {
        let v4 = match gso.kind {
            GsoKind::TcpV4 => true,
            GsoKind::TcpV6 => false,
            GsoKind::NotOffered(kind) => return Err(BadOffload::NotOffered(kind)),
        };
        let parsed = wire::parse(frame, Origin::Local).map_err(|_| BadOffload::Malformed)?;
        // Offsets of a whole TCP packet, each behind the one before and inside the frame.
        let (l3, l4, payload, end) = match parsed.body {
            Body::V4(p) if v4 && p.tuple.proto == proto::TCP => {
                (p.l3_offset, p.l4_offset, p.payload_offset, p.end)
            }
            Body::V6(p) if !v4 && p.tuple.proto == proto::TCP => {
                (p.l3_offset, p.l4_offset, p.payload_offset, p.end)
            }
            _ => return Err(BadOffload::NotThatKind),
        };
        let [l3, l4, payload, end] = [l3, l4, payload, end].map(usize::from);
        let headers = frame.get(..payload).ok_or(BadOffload::Malformed)?;
        if frame.len() < end || end < payload {
            return Err(BadOffload::Malformed);
        }
        let tcp = headers.get(l4..).and_then(|tcp| tcp.first_chunk::<20>());
        let tcp = tcp.ok_or(BadOffload::Malformed)?;
        if tcp[13] & (SYN | RST) != 0 {
            return Err(BadOffload::Malformed);
        }
        let most = usize::from(mtu).saturating_sub(headers.len() - l3);
        let size = usize::from(gso.size);
        if gso.size < MIN_GSO_SIZE || size > most {
            return Err(BadOffload::Size {
                size: gso.size,
                most,
            });
        }
        let sequence = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        Ok(Self {
            headers: payload,
            payload: payload..end,
            size,
            l3,
            l4,
            v4,
            made: 0,
            sequence,
        })
    }

    /// How many segments are to come. 1 for a frame without payload.
    pub fn left(&self) -> usize {
        let one = usize::from(self.made == 0);
        self.payload.len().div_ceil(self.size).max(one)
    }

    /// Bytes of the longest segment.
    pub fn longest(&self) -> usize {
        self.headers + self.size
    }

    /// Writes the next segment of `frame`, which is that given to [`new`](Self::new), to the start of `to` and
    /// returns its length. `None` after the last one, or if `to` is too short, where it stays the next.
    pub fn write_next(&mut self, frame: &[u8], to: &mut [u8]) -> Option<usize> {
        if self.left() == 0 {
            return None;
        }
        let middle = self.payload.end.min(self.payload.start + self.size);
        let now = frame.get(self.payload.start..middle)?;
        let later = middle..self.payload.end;
        let len = self.headers + now.len();
        let (headers, data) = to.get_mut(..len)?.split_at_mut(self.headers);
        headers.copy_from_slice(frame.get(..self.headers)?);
        data.copy_from_slice(now);
        self.tcp_header(&mut headers[self.l4..], later.is_empty());
        let (ip, tcp) = to[self.l3..len].split_at_mut(self.l4 - self.l3);
        if self.v4 {
            self.ipv4(ip, tcp)?;
        } else {
            ipv6(ip, tcp)?;
        }
        self.payload = later;
        self.made += 1;
        self.sequence = self.sequence.wrapping_add(u32::try_from(now.len()).ok()?);
        Some(len)
    }

    /// Sequence number and flags (as Linux' `tcp_gso_segment`): the end of the stream and the push belong to the
    /// last segment, "congestion window reduced" to the first.
    fn tcp_header(&self, tcp: &mut [u8], last: bool) {
        tcp[4..8].copy_from_slice(&self.sequence.to_be_bytes());
        if !last {
            tcp[13] &= !(FIN | PSH);
        }
        if self.made > 0 {
            tcp[13] &= !CWR;
        }
        tcp[16..18].fill(0);
    }

    /// Length, identification and checksum of the header; checksum of the segment.
    fn ipv4(&self, ip: &mut [u8], tcp: &mut [u8]) -> Option<()> {
        let len = u16::try_from(ip.len() + tcp.len()).ok()?;
        ip[2..4].copy_from_slice(&len.to_be_bytes());
        let id = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(self.made);
        ip[4..6].copy_from_slice(&id.to_be_bytes());
        ip[10..12].fill(0);
        let sum = checksum::internet(ip);
        ip[10..12].copy_from_slice(&sum.to_be_bytes());
        let src = ip.get(12..16)?.first_chunk::<4>()?;
        let dst = ip.get(16..20)?.first_chunk::<4>()?;
        let sum = checksum::l4_v4((*src).into(), (*dst).into(), proto::TCP, tcp);
        tcp[16..18].copy_from_slice(&sum.to_be_bytes());
        Some(())
    }
}

/// Length of the packet; checksum of the segment.
fn ipv6(ip: &mut [u8], tcp: &mut [u8]) -> Option<()> {
    let len = u16::try_from(ip.len() - 40 + tcp.len()).ok()?;
    ip[4..6].copy_from_slice(&len.to_be_bytes());
    let src = ip.get(8..24)?.first_chunk::<16>()?;
    let dst = ip.get(24..40)?.first_chunk::<16>()?;
    let sum = checksum::l4_v6((*src).into(), (*dst).into(), proto::TCP, tcp);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    Some(())
}
