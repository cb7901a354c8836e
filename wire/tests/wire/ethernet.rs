//! Ethernet, tags and ARP.

use std::net::Ipv4Addr;

use crate::support::{B4, accepted, ethernet, other, refused, udp, v4};
use wire::{Arp, MacAddr, Malformed, Other};

const ARP: [u8; 28] = [
    0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 0xa, 192, 0, 2, 1, 0, 0, 0, 0, 0, 0, 192, 0, 2, 9,
];

#[test]
fn runt_and_oversize() {
    for len in 0..14 {
        refused(&vec![0; len], Malformed::Runt);
    }
    let mut frame = vec![0; 65535];
    frame[12..14].copy_from_slice(&[0x88, 0xcc]);
    other(&frame, Other::NotIp { ethertype: 0x88cc });
    frame.push(0);
    refused(&frame, Malformed::Oversize);
}

#[test]
fn largest_frame_keeps_its_offsets() {
    let frame = v4(crate::support::A4, B4, 17, &udp(1, 2, &vec![0; 65535 - 42]));
    assert_eq!(frame.len(), 65535);
    accepted(&frame);
}

#[test]
fn not_ip_is_left_alone() {
    other(&ethernet(0x88cc, &[]), Other::NotIp { ethertype: 0x88cc });
    // An IEEE 802.3 length instead of a type.
    other(
        &ethernet(0x0026, &[0x42; 38]),
        Other::NotIp { ethertype: 0x26 },
    );
}

#[test]
fn source_is_no_group() {
    let good = v4(crate::support::A4, B4, 17, &udp(1, 2, b""));
    for first in [0x01, 0x03, 0x33, 0xff] {
        let mut frame = good.clone();
        frame[6] = first;
        refused(&frame, Malformed::SourceMac);
        frame[12..14].copy_from_slice(&[0x88, 0xcc]);
        refused(&frame, Malformed::SourceMac);
    }
}

#[test]
fn arp_fields() {
    let mut packet = ARP;
    let expected = Arp {
        op: 1,
        sender_mac: MacAddr([2, 0, 0, 0, 0, 0xa]),
        sender_ip: Ipv4Addr::new(192, 0, 2, 1),
        target_mac: MacAddr::default(),
        target_ip: Ipv4Addr::new(192, 0, 2, 9),
    };
    other(&ethernet(0x0806, &packet), Other::Arp(expected));
    packet[7] = 2;
    packet[18..24].copy_from_slice(&[2, 0, 0, 0, 0, 0xc]);
    let target_mac = MacAddr([2, 0, 0, 0, 0, 0xc]);
    other(
        &ethernet(0x0806, &packet),
        Other::Arp(Arp {
            op: 2,
            target_mac,
            ..expected
        }),
    );
}

#[test]
fn arp_shape() {
    for len in 0..28 {
        refused(&ethernet(0x0806, &ARP[..len]), Malformed::ArpMalformed);
    }
    for at in 0..6 {
        let mut packet = ARP;
        packet[at] ^= 2;
        refused(&ethernet(0x0806, &packet), Malformed::ArpMalformed);
    }
}
