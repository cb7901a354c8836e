//! Checksums and segmentation that a guest leaves to us.

use proptest::prelude::*;
use vhost_port::{
    BadOffload, Gso, GsoKind, MIN_GSO_SIZE, NeedsChecksum, Segmented, complete_checksum,
};
use wire::{Body, Checksum, Origin, Parsed, checksum, proto, verify_l4};

const FIN_PSH_CWR_ACK: u8 = 0x01 | 0x08 | 0x80 | 0x10;
const ETHERNET: usize = 14;

/// A TCP frame, tagged if asked for, with `options` words in its TCP header (and IPv4's), checksums right.
fn tcp(v4: bool, tag: bool, options: usize, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    if tag {
        frame.extend([0x81, 0, 0, 42]);
    }
    let tcp_len = 20 + 4 * options;
    let len = tcp_len + payload.len();
    if v4 {
        frame.extend([8, 0]);
        let total = u16::try_from(20 + 4 * options + len).unwrap().to_be_bytes();
        let ihl = 0x45 + u8::try_from(options).unwrap();
        frame.extend([
            ihl,
            0,
            total[0],
            total[1],
            0xff,
            0xfe,
            0x40,
            0,
            64,
            proto::TCP,
            0,
            0,
        ]);
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend(vec![1; 4 * options]);
        let ip = frame.len() - 20 - 4 * options;
        let sum = checksum::internet(&frame[ip..]).to_be_bytes();
        frame[ip + 10..ip + 12].copy_from_slice(&sum);
    } else {
        let payload_len = u16::try_from(len).unwrap().to_be_bytes();
        frame.extend([
            0x86,
            0xdd,
            0x60,
            0,
            0,
            0,
            payload_len[0],
            payload_len[1],
            proto::TCP,
            64,
        ]);
        for last in [1, 2] {
            frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
        }
    }
    let offset = u8::try_from(tcp_len / 4).unwrap() << 4;
    frame.extend([
        0x30, 0x39, 0, 80, 0xff, 0xff, 0xf0, 0, 0, 0, 0, 9, offset, flags, 1, 0, 0, 0, 0, 0,
    ]);
    frame.extend(vec![1; 4 * options]);
    frame.extend(payload);
    let parsed = wire::parse(&frame, Origin::Local).unwrap();
    assert!(wire::fill_l4(&mut frame, &parsed));
    frame
}

/// Layer 3, layer 4, payload, end.
fn offsets(parsed: &Parsed) -> [usize; 4] {
    let l4 = match parsed.body {
        Body::V4(p) => [p.l3_offset, p.l4_offset, p.payload_offset, p.end],
        Body::V6(p) => [p.l3_offset, p.l4_offset, p.payload_offset, p.end],
        Body::Other(_) => panic!("no TCP"),
    };
    l4.map(usize::from)
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251).to_le_bytes()[0]).collect()
}

fn gso(v4: bool, size: u16) -> Gso {
    let kind = if v4 { GsoKind::TcpV4 } else { GsoKind::TcpV6 };
    Gso { kind, size }
}

proptest! {
    /// The segments are well-formed, and together what the frame was.
    #[test]
    fn segments_make_up_the_frame(
        v4 in any::<bool>(),
        tag in any::<bool>(),
        options in 0..10usize,
        len in 0..60000usize,
        size in MIN_GSO_SIZE..9000,
        padding in 0..3usize,
    ) {
        let payload = bytes(len);
        let mut frame = tcp(v4, tag, options, FIN_PSH_CWR_ACK, &payload);
        // Behind the packet's end, and not part of it.
        frame.extend(vec![0xee; padding]);
        let mut segments = Segmented::new(&frame, gso(v4, size), 9200).unwrap();
        let count = len.div_ceil(usize::from(size)).max(1);
        let mut buffer = vec![0xaa; segments.longest()];
        let mut joined: Vec<u8> = Vec::new();
        for i in 0..count {
            prop_assert_eq!(segments.left(), count - i);
            let segment_len = segments.write_next(&frame, &mut buffer).unwrap();
            let segment = &buffer[..segment_len];
            let parsed = wire::parse(segment, Origin::Local).unwrap();
            prop_assert_eq!(verify_l4(segment, &parsed), Some(Checksum::Good));
            let [l3, l4, start, end] = offsets(&parsed);
            prop_assert_eq!(end, segment_len);
            prop_assert_eq!(&segment[..l3], &frame[..l3]);
            if v4 {
                prop_assert!(checksum::ipv4_header_ok(&segment[l3..l4]));
                let id = u16::from_be_bytes([segment[l3 + 4], segment[l3 + 5]]);
                prop_assert_eq!(id, 0xfffeu16.wrapping_add(u16::try_from(i).unwrap()));
            }
            let sequence = u32::from_be_bytes(segment[l4 + 4..l4 + 8].try_into().unwrap());
            prop_assert_eq!(sequence, 0xffff_f000u32.wrapping_add(u32::try_from(joined.len()).unwrap()));
            let mut flags = 0x10;
            if i == 0 { flags |= 0x80; }
            if i + 1 == count { flags |= 0x09; }
            prop_assert_eq!(segment[l4 + 13], flags);
            prop_assert_eq!(&segment[l4 + 20..start], &vec![1; 4 * options][..]);
            prop_assert!(i + 1 == count || end - start == usize::from(size));
            joined.extend(&segment[start..end]);
        }
        prop_assert_eq!(segments.write_next(&frame, &mut buffer), None);
        prop_assert_eq!(segments.left(), 0);
        prop_assert_eq!(joined, payload);
    }

    /// Whatever a guest sends with it.
    #[test]
    fn garbage_is_refused_or_cut(
        frame in proptest::collection::vec(any::<u8>(), 0..200),
        at in 0..80usize, with in any::<u8>(), size in any::<u16>(), mtu in any::<u16>(), v4 in any::<bool>(),
        tcp_frame in any::<bool>(), start in 0..300u16, offset in any::<u16>(),
    ) {
        let mut frame = if tcp_frame { tcp(v4, false, 1, 0x10, &bytes(3000)) } else { frame };
        if let Some(byte) = frame.get_mut(at) { *byte = with; }
        if let Ok(mut segments) = Segmented::new(&frame, gso(v4, size), mtu) {
            let mut buffer = vec![0; segments.longest()];
            while let Some(len) = segments.write_next(&frame, &mut buffer) {
                prop_assert!(len <= usize::from(mtu) + ETHERNET);
            }
            prop_assert_eq!(segments.left(), 0);
        }
        let before = frame.clone();
        let at = NeedsChecksum { start, offset };
        let field = usize::from(start) + usize::from(offset);
        let done = complete_checksum(&mut frame, at);
        prop_assert_eq!(done.is_ok(), start >= 14 && field + 2 <= frame.len());
        for (i, (new, old)) in frame.iter().zip(&before).enumerate() {
            prop_assert!(new == old || done.is_ok() && (field..field + 2).contains(&i));
        }
    }
}

#[test]
fn segmentation_that_is_refused() {
    let v4 = tcp(true, false, 0, 0x10, &bytes(3000));
    let refused = |frame: &[u8], gso, mtu| Segmented::new(frame, gso, mtu).unwrap_err();
    assert_eq!(
        refused(&v4, gso(false, 1460), 1500),
        BadOffload::NotThatKind
    );
    assert_eq!(
        refused(&v4, gso(true, 1461), 1500),
        BadOffload::Size {
            size: 1461,
            most: 1460
        }
    );
    assert_eq!(
        refused(&v4, gso(true, 215), 1500),
        BadOffload::Size {
            size: 215,
            most: 1460
        }
    );
    assert_eq!(
        refused(&v4, gso(true, 0), 1500),
        BadOffload::Size {
            size: 0,
            most: 1460
        }
    );
    assert_eq!(
        refused(&v4, gso(true, 1460), 20),
        BadOffload::Size {
            size: 1460,
            most: 0
        }
    );
    let other = Gso {
        kind: GsoKind::NotOffered(3),
        size: 1460,
    };
    assert_eq!(refused(&v4, other, 1500), BadOffload::NotOffered(3));
    for flags in [0x02, 0x04] {
        let frame = tcp(true, false, 0, flags, &bytes(3000));
        assert_eq!(
            refused(&frame, gso(true, 1460), 1500),
            BadOffload::Malformed
        );
    }
    assert_eq!(
        refused(&v4[..100], gso(true, 1460), 1500),
        BadOffload::Malformed
    );
    let mut udp = v4;
    udp[ETHERNET + 9] = proto::UDP;
    assert_eq!(refused(&udp, gso(true, 1460), 1500), BadOffload::Malformed);
}

#[test]
fn segment_stays_the_next_where_the_buffer_is_too_short() {
    let frame = tcp(true, false, 0, 0x10, &bytes(2000));
    let mut segments = Segmented::new(&frame, gso(true, 1460), 1500).unwrap();
    assert_eq!(segments.write_next(&frame, &mut [0; 1513]), None);
    assert_eq!(segments.left(), 2);
    assert_eq!(segments.write_next(&frame, &mut [0; 1514]), Some(1514));
    assert_eq!(segments.write_next(&frame, &mut [0; 1514]), Some(594));
}

/// As the guest hands it over: the field holds the sum of the pseudo-header.
fn partial(frame: &[u8]) -> (Vec<u8>, NeedsChecksum) {
    let mut frame = frame.to_vec();
    let parsed = wire::parse(&frame, Origin::Local).unwrap();
    let [l3, l4, _, end] = offsets(&parsed);
    let udp = frame[l3 + 9] == proto::UDP;
    let mut pseudo = frame[l3 + 12..l3 + 20].to_vec();
    pseudo.extend([0, frame[l3 + 9]]);
    pseudo.extend(u16::try_from(end - l4).unwrap().to_be_bytes());
    let sum = !checksum::internet(&pseudo);
    let offset = if udp { 6 } else { 16 };
    frame[l4 + offset..l4 + offset + 2].copy_from_slice(&sum.to_be_bytes());
    let (start, offset) = (u16::try_from(l4).unwrap(), u16::try_from(offset).unwrap());
    (frame, NeedsChecksum { start, offset })
}

#[test]
fn checksum_is_completed() {
    for len in [0, 1, 2, 99, 1460] {
        let right = tcp(true, false, 2, 0x10, &bytes(len));
        let (mut frame, at) = partial(&right);
        assert_ne!(frame, right);
        complete_checksum(&mut frame, at).unwrap();
        assert_eq!(frame, right, "{len}");
    }
}

/// RFC 768: 0 would mean that there is none.
#[test]
fn udp_checksum_that_is_zero_is_sent_as_ones() {
    let mut frame = tcp(true, false, 0, 0, &[0, 0]);
    frame[ETHERNET + 9] = proto::UDP;
    frame.truncate(ETHERNET + 30);
    frame[ETHERNET + 3] = 30;
    frame[ETHERNET + 24..ETHERNET + 26].copy_from_slice(&[0, 10]);
    frame[ETHERNET + 10..ETHERNET + 12].fill(0);
    let sum = checksum::internet(&frame[ETHERNET..ETHERNET + 20]).to_be_bytes();
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum);
    // A payload that makes the sum 0: what the checksum would be without it.
    frame[ETHERNET + 28..].fill(0);
    let (mut probe, at) = partial(&frame);
    complete_checksum(&mut probe, at).unwrap();
    let sum = probe[ETHERNET + 26..ETHERNET + 28].to_vec();
    frame[ETHERNET + 28..].copy_from_slice(&sum);
    let (mut frame, at) = partial(&frame);
    complete_checksum(&mut frame, at).unwrap();
    assert_eq!(frame[ETHERNET + 26..ETHERNET + 28], [0xff, 0xff]);
    let parsed = wire::parse(&frame, Origin::Local).unwrap();
    assert_eq!(verify_l4(&frame, &parsed), Some(Checksum::Good));
}

/// CVE-2024-11614: the checksum's place was outside the packet, and was read there.
#[test]
fn cve_2024_11614_checksum_outside_the_frame() {
    let frame = tcp(true, false, 0, 0x10, &bytes(6));
    assert_eq!(frame.len(), 60);
    for (start, offset) in [
        (60, 0),
        (34, 25),
        (59, 0),
        (u16::MAX, u16::MAX),
        (14, u16::MAX),
        (13, 6),
        (0, 0),
    ] {
        let mut copy = frame.clone();
        let error = complete_checksum(&mut copy, NeedsChecksum { start, offset }).unwrap_err();
        assert_eq!(
            error,
            BadOffload::ChecksumPlace {
                start,
                offset,
                len: 60
            }
        );
        assert_eq!(copy, frame);
    }
    assert_eq!(
        complete_checksum(
            &mut frame.clone(),
            NeedsChecksum {
                start: 34,
                offset: 24
            }
        ),
        Ok(())
    );
    assert!(
        complete_checksum(
            &mut [],
            NeedsChecksum {
                start: 14,
                offset: 0
            }
        )
        .is_err()
    );
}
