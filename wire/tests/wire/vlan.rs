//! The rules for tags, and that behind them everything is as without.

use crate::support::{A4, A6, B4, B6, ethernet, tagged, tcp, udp, v4, v6};
use wire::{Body, L4, Malformed, Origin, Other, Vlan, parse};

const C_TAG: u16 = 0x8100;
const S_TAG: u16 = 0x88a8;

fn vlan(outer: u16, inner: u16) -> Vlan {
    Vlan::new(outer, inner).unwrap()
}

#[track_caller]
fn vlan_of(frame: &[u8]) -> Vlan {
    parse(frame, Origin::Wire).unwrap().vlan
}

#[test]
fn one_tag() {
    let frame = v4(A4, B4, 17, &udp(1, 2, b""));
    for tpid in [C_TAG, S_TAG] {
        for id in [1, 100, 4094] {
            assert_eq!(vlan_of(&tagged(&frame, tpid, id)), vlan(id, 0));
            // Priority and drop eligible do not matter.
            assert_eq!(vlan_of(&tagged(&frame, tpid, 0xf000 | id)), vlan(id, 0));
        }
    }
}

#[test]
fn two_tags_of_any_type() {
    let frame = v6(A6, B6, 17, &udp(1, 2, b""));
    for inner in [C_TAG, S_TAG] {
        for outer in [C_TAG, S_TAG] {
            let frame = tagged(&tagged(&frame, inner, 200), outer, 100);
            assert_eq!(vlan_of(&frame), vlan(100, 200));
        }
    }
}

#[test]
fn a_priority_tag_is_no_vlan() {
    let frame = v4(A4, B4, 17, &udp(1, 2, b""));
    let priority = |frame: &[u8]| tagged(frame, C_TAG, 0xa000);
    assert_eq!(vlan_of(&priority(&frame)), Vlan::NONE);
    assert_eq!(vlan_of(&priority(&priority(&frame))), Vlan::NONE);
    let one = tagged(&frame, C_TAG, 7);
    assert_eq!(vlan_of(&priority(&one)), vlan(7, 0));
    assert_eq!(vlan_of(&tagged(&priority(&frame), S_TAG, 7)), vlan(7, 0));
}

#[test]
fn reserved_id() {
    let frame = v4(A4, B4, 17, &udp(1, 2, b""));
    let bad = tagged(&frame, C_TAG, 0x1fff);
    for frame in [&bad, &tagged(&bad, S_TAG, 1), &tagged(&frame, S_TAG, 4095)] {
        assert_eq!(parse(frame, Origin::Wire), Err(Malformed::VlanId));
    }
}

#[test]
fn third_tag() {
    let mut frame = ethernet(0x88cc, b"");
    for id in [3, 2] {
        frame = tagged(&frame, C_TAG, id);
    }
    assert_eq!(vlan_of(&frame), vlan(2, 3));
    for tpid in [C_TAG, S_TAG] {
        let frame = tagged(&frame, tpid, 0);
        assert_eq!(parse(&frame, Origin::Wire), Err(Malformed::VlanDepth));
        // It need not even be there.
        assert_eq!(parse(&frame[..22], Origin::Wire), Err(Malformed::VlanDepth));
    }
}

#[test]
fn truncated() {
    let frame = tagged(&tagged(&ethernet(0x88cc, b""), C_TAG, 1), S_TAG, 2);
    for len in (14..18).chain(18..22) {
        let result = parse(&frame[..len], Origin::Wire);
        assert_eq!(result, Err(Malformed::VlanTruncated), "{len}");
    }
    assert!(parse(&frame[..22], Origin::Wire).is_ok());
}

#[test]
fn not_ip_behind_tags() {
    for ethertype in [0x88cc, 0x0026, 0x9100] {
        let frame = tagged(&ethernet(ethertype, &[0; 40]), C_TAG, 5);
        let body = parse(&frame, Origin::Wire).unwrap().body;
        assert_eq!(body, Body::Other(Other::NotIp { ethertype }));
    }
}

#[test]
fn offsets_move_by_the_tags() {
    fn moved<T: Copy>(l4: L4<T>, by: u16) -> L4<T> {
        L4 {
            tuple: l4.tuple,
            l3_offset: l4.l3_offset + by,
            l4_offset: l4.l4_offset + by,
            payload_offset: l4.payload_offset + by,
            end: l4.end + by,
        }
    }
    for frame in [
        v4(A4, B4, 17, &udp(1, 2, b"xy")),
        v6(A6, B6, 6, &tcp(1, 2, &[1; 8], b"xy")),
    ] {
        let plain = parse(&frame, Origin::Wire).unwrap().body;
        let one = tagged(&frame, C_TAG, 5);
        let two = tagged(&one, S_TAG, 6);
        for (frame, by) in [(one, 4), (two, 8)] {
            let expected = match plain {
                Body::V4(l4) => Body::V4(moved(l4, by)),
                Body::V6(l4) => Body::V6(moved(l4, by)),
                Body::Other(_) => unreachable!("UDP and TCP"),
            };
            let parsed = parse(&frame, Origin::Wire).unwrap();
            assert_eq!(parsed.body, expected);
        }
    }
}

#[test]
fn rules_hold_behind_tags() {
    let mut frame = tagged(&v4(A4, B4, 17, &udp(1, 2, b"")), C_TAG, 5);
    frame[20] ^= 1;
    assert_eq!(parse(&frame, Origin::Wire), Err(Malformed::Ipv4TotalLength));
    let land = tagged(&v6(A6, A6, 17, &udp(1, 2, b"")), C_TAG, 5);
    assert_eq!(parse(&land, Origin::Wire), Err(Malformed::Land));
    assert!(parse(&land, Origin::Local).is_ok());
    let arp = tagged(&ethernet(0x0806, &[0; 27]), C_TAG, 5);
    assert_eq!(parse(&arp, Origin::Wire), Err(Malformed::ArpMalformed));
}
