//! What comes from the wire: to its owner, and to no one else.

use dpdk::mbuf::Checksum;
use switch::tables::Holder;
use switch::verdict::{DropReason, HostReason};
use wire::{MacAddr, Malformed};

use crate::common::frames::*;
use crate::common::{Bench, CLIENT_MAC, HOST, MAC, MAC1, spec_of};

/// Sends `frame` in and tells which of the vports got it.
fn receivers(bench: &mut Bench, frame: &[u8]) -> Vec<u16> {
    bench.receive(&[frame.to_vec()]);
    let slots = (0..8u16).filter(|slot| bench.far[usize::from(*slot)].is_some());
    let slots: Vec<u16> = slots.collect();
    let got = |slot: &u16| !bench.drain(*slot).is_empty();
    slots.into_iter().filter(got).collect()
}

#[test]
fn a_claimed_tuple_goes_to_its_stack_and_all_else_to_the_host() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    let claimed = udp(IN, CLIENT, "192.0.2.1:7");
    let other_mac = wire::emit::Eth {
        dst: MacAddr([2, 0, 0, 0, 0, 3]),
        ..IN
    };
    let unclaimed = [
        udp(IN, CLIENT, "192.0.2.1:8"),
        tcp(IN, CLIENT, "192.0.2.1:7"),
        udp(IN, CLIENT, "192.0.2.2:7"),
        udp(IN, CLIENT6, "[2001:db8::1]:7"),
        tagged(claimed.clone(), "100"),
        udp(other_mac, CLIENT, "192.0.2.1:7"),
    ];
    bench.receive(std::slice::from_ref(&claimed));
    bench.receive(&unclaimed);
    assert_eq!(bench.drain(3), [claimed]);
    assert_eq!(bench.drain(HOST), unclaimed);
    let nic = bench.nic();
    assert_eq!((nic.to_vports, nic.to_host), (1, 6));
    assert_eq!(nic.host_reasons[HostReason::Unclaimed as usize], 5);
    assert_eq!(nic.host_reasons[HostReason::OtherMac as usize], 1);
    bench.assert_conserved();
}

#[test]
fn the_most_specific_claim_decides() {
    for (ours, any, other, remote) in [
        ("192.0.2.1:7", "0.0.0.0:7", "192.0.2.1", CLIENT),
        ("[2001:db8::1]:7", "[::]:7", "2001:db8::1", CLIENT6),
    ] {
        let mut bench = Bench::with_stacks([3, 4, 5, 6, 7]);
        let frame = tcp(IN, remote, ours);
        // From the least specific on, and back.
        let specs = [
            (3, format!("all {other}")),
            (4, format!("6 {other}")),
            (5, format!("tcp {any}")),
            (6, format!("tcp {ours}")),
            (7, format!("tcp {ours} {remote}")),
        ];
        let mut claimed = vec![];
        for (slot, spec) in specs {
            claimed.push((slot, bench.claim(&spec, slot)));
            assert_eq!(receivers(&mut bench, &frame), [slot], "{spec}");
        }
        while let Some((slot, subject)) = claimed.pop() {
            bench.release(subject, slot);
            let next = claimed.last().map_or(HOST, |(slot, _)| *slot);
            assert_eq!(receivers(&mut bench, &frame), [next], "without {slot}");
        }
        bench.assert_conserved();
    }
}

#[test]
fn a_connection_is_of_both_ends() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7 192.0.2.9:5000", 3);
    for (from, to, slot) in [
        (CLIENT, "192.0.2.1:7", 3),
        ("192.0.2.9:5001", "192.0.2.1:7", HOST),
        ("192.0.2.8:5000", "192.0.2.1:7", HOST),
        (CLIENT, "192.0.2.1:8", HOST),
    ] {
        assert_eq!(receivers(&mut bench, &udp(IN, from, to)), [slot], "{from}");
    }
}

#[test]
fn vlans_are_apart() {
    let mut bench = Bench::with_stacks([3, 4, 5]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:7%100", 4);
    bench.claim("udp 192.0.2.1:7%100.200", 5);
    let frame = udp(IN, CLIENT, "192.0.2.1:7");
    assert_eq!(receivers(&mut bench, &frame), [3]);
    for (vlan, slot) in [("100", 4), ("100.200", 5), ("200", HOST), ("100.201", HOST)] {
        let frame = tagged(frame.clone(), vlan);
        assert_eq!(receivers(&mut bench, &frame), [slot], "{vlan}");
    }
    // A tag with VLAN id 0 gives a priority and no VLAN.
    let mut priority = frame;
    priority.resize(priority.len() + 4, 0);
    let len = priority.len() - 4;
    wire::emit::insert_tag(&mut priority, len, 0x8100, 5 << 13).unwrap();
    assert_eq!(receivers(&mut bench, &priority), [3]);
}

#[test]
fn sctp_and_protocols_without_ports() {
    let mut bench = Bench::with_stacks([3, 4, 5]);
    bench.claim("sctp 192.0.2.1:7", 3);
    bench.claim("132 192.0.2.1", 4);
    bench.claim("47 2001:db8::1", 5);
    let to = |port| sctp(IN, CLIENT, &format!("192.0.2.1:{port}"));
    assert_eq!(receivers(&mut bench, &to(7)), [3]);
    assert_eq!(receivers(&mut bench, &to(8)), [4]);
    let gre = proto(IN, 47, "2001:db8::9", "2001:db8::1");
    assert_eq!(receivers(&mut bench, &gre), [5]);
    let gre4 = proto(IN, 47, "192.0.2.9", "192.0.2.1");
    assert_eq!(receivers(&mut bench, &gre4), [HOST]);
    let nic = bench.nic();
    assert_eq!(nic.host_reasons[HostReason::OtherProtocol as usize], 1);
}

#[test]
fn link_local_claims_are_of_one_port() {
    let mut bench = Bench::with_stacks([3, 4]);
    let mut subject = bench.claim("udp [fe80::1]:7", 3);
    subject.nic = 1;
    bench.give(subject, Holder::new(4, false));
    bench.receive(&[udp(IN, "[fe80::9]:5000", "[fe80::1]:7")]);
    assert_eq!((bench.drain(3).len(), bench.drain(4).len()), (1, 0));
    let to_other = wire::emit::Eth { dst: MAC1, ..IN };
    bench.receive_at(1, &[udp(to_other, "[fe80::9]:5000", "[fe80::1]:7")]);
    assert_eq!((bench.drain(3).len(), bench.drain(4).len()), (0, 1));
    bench.assert_conserved();
}

#[test]
fn a_broken_rule_is_a_drop_by_its_name() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    let good = udp(IN, CLIENT, "192.0.2.1:7");
    let with = |at: usize, byte: u8| {
        let mut frame = good.clone();
        frame[at] = byte;
        frame
    };
    let mut zero_port = with(37, 0);
    zero_port[36] = 0;
    let cases = [
        (vec![0; 5], Malformed::Runt),
        (with(6, 1), Malformed::SourceMac),
        (with(24, good[24] ^ 1), Malformed::Ipv4Checksum),
        (with(14, 0x65), Malformed::Ipv4Version),
        (with(39, 200), Malformed::UdpLength),
        (zero_port, Malformed::ZeroPort),
        (good[..40].to_vec(), Malformed::Ipv4TotalLength),
        (udp(IN, "192.0.2.1:7", "192.0.2.1:7"), Malformed::Land),
        (
            udp(IN, "127.0.0.1:7", "192.0.2.1:7"),
            Malformed::MartianSource,
        ),
    ];
    for (frame, rule) in cases {
        assert!(receivers(&mut bench, &frame).is_empty(), "{rule:?}");
        assert_eq!(bench.rx_dropped(rule), 1, "{rule:?}");
    }
    assert_eq!(bench.nic().dropped.sum(), 9);
    bench.assert_conserved();
}

#[test]
fn checksums_are_verified_where_the_claim_asks_and_the_nic_has_not() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8!", 4);
    let good = |port| udp(IN, CLIENT, &format!("192.0.2.1:{port}"));
    let bad = |port| {
        let mut frame = good(port);
        spoil_udp_checksum(&mut frame);
        frame
    };
    let mut absent = good(8);
    absent[40..42].fill(0);
    // The flag that the stack gets with each packet; None if it gets none.
    let mut flag = |hardware, frame: &[u8], slot| {
        bench.world.borrow_mut().hardware = hardware;
        bench.receive(&[frame.to_vec()]);
        let received = bench.drain_descs(slot);
        received.first().map(|(desc, _)| desc.checksum)
    };
    for (hardware, frame, slot, expected) in [
        (Checksum::Unknown, good(7), 3, Some(false)),
        (Checksum::Unknown, bad(7), 3, Some(false)),
        (Checksum::Good, good(7), 3, Some(true)),
        (Checksum::Bad, bad(7), 3, Some(false)),
        (Checksum::Unknown, good(8), 4, Some(true)),
        (Checksum::Unknown, bad(8), 4, None),
        (Checksum::Bad, bad(8), 4, None),
        (Checksum::Unknown, absent, 4, Some(false)),
        // What the NIC has verified is not verified again.
        (Checksum::Good, bad(8), 4, Some(true)),
    ] {
        assert_eq!(
            flag(hardware, &frame, slot),
            expected,
            "{hardware:?} {slot}"
        );
    }
    assert_eq!(bench.rx_dropped(DropReason::L4Checksum), 2);
    bench.assert_conserved();
}

#[test]
fn the_members_of_a_group_and_the_host_get_what_goes_to_it() {
    for (group, remote) in [("239.1.1.1:7", CLIENT), ("[ff02::5]:7", CLIENT6)] {
        let mut bench = Bench::with_stacks([3, 4, 5]);
        let subject = bench.claim(&format!("udp {group}"), 3);
        bench.claim(&format!("udp {group}"), 4);
        bench.claim(&format!("udp {group}%100"), 5);
        let frame = udp(FROM_ALL, remote, group);
        assert_eq!(receivers(&mut bench, &frame), [HOST, 3, 4]);
        let in_vlan = tagged(frame.clone(), "100");
        assert_eq!(receivers(&mut bench, &in_vlan), [HOST, 5]);
        bench.release(subject, 3);
        assert_eq!(receivers(&mut bench, &frame), [HOST, 4]);
        let nic = bench.nic();
        assert_eq!((nic.to_host, nic.copies), (3, 4));
        assert_eq!(nic.host_reasons[HostReason::Group as usize], 3);
        assert_eq!(bench.vport(4).rx_copies, 2);
        // In a frame to another machine, which only a promiscuous NIC receives.
        let to_other = wire::emit::Eth { dst: MAC1, ..IN };
        let frame = udp(to_other, remote, group);
        assert_eq!(receivers(&mut bench, &frame), [HOST]);
        bench.assert_conserved();
    }
}

#[test]
fn broadcasts_go_to_the_host_and_to_those_on_the_port() {
    let mut bench = Bench::with_stacks([3, 4, 5]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 0.0.0.0:7", 4);
    bench.claim("tcp 192.0.2.1:7", 5);
    for to in ["255.255.255.255:7", "192.0.2.255:7"] {
        let frame = udp(FROM_ALL, CLIENT, to);
        assert_eq!(receivers(&mut bench, &frame), [HOST, 3, 4], "{to}");
    }
    for to in ["255.255.255.255:8", "192.0.2.255:8", "192.0.3.255:7"] {
        let frame = udp(FROM_ALL, CLIENT, to);
        assert_eq!(receivers(&mut bench, &frame), [HOST], "{to}");
    }
    // Unicast in a broadcast frame is no one's (RFC 1122 section 3.3.6); the host's kernel says so.
    let unicast = udp(FROM_ALL, CLIENT, "192.0.2.1:7");
    assert_eq!(receivers(&mut bench, &unicast), [HOST]);
    let nic = bench.nic();
    // With that to another subnet's broadcast address, which no one here can tell from unicast.
    assert_eq!(nic.host_reasons[HostReason::OtherMac as usize], 2);
    bench.assert_conserved();
}

#[test]
fn what_is_not_ip_is_the_hosts() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("all 192.0.2.1", 3);
    let mut frame = udp(IN, CLIENT, "192.0.2.1:7");
    frame[12..14].copy_from_slice(&0x88cc_u16.to_be_bytes());
    assert_eq!(receivers(&mut bench, &frame), [HOST]);
    assert_eq!(bench.nic().host_reasons[HostReason::NotIp as usize], 1);
}

#[test]
fn a_whole_address_has_everything_and_only_in_frames_to_the_port() {
    for (ours, theirs) in [("192.0.2.1", "192.0.2.9"), ("2001:db8::1", "2001:db8::9")] {
        let mut bench = Bench::with_stacks([3]);
        bench.claim(&format!("all {ours}"), 3);
        let end = |ip: &str| std::net::SocketAddr::new(ip.parse().unwrap(), 7).to_string();
        let (to, from) = (end(ours), end(theirs));
        let frames = |eth| {
            [
                udp(eth, &from, &to),
                tcp(eth, &from, &to),
                sctp(eth, &from, &to),
                echo_request(eth, theirs, ours),
                proto(eth, 47, theirs, ours),
                udp_fragments(eth, &from, &to, 1)[2].clone(),
            ]
        };
        for frame in frames(IN) {
            assert_eq!(receivers(&mut bench, &frame), [3]);
        }
        let elsewhere = wire::emit::Eth {
            dst: CLIENT_MAC,
            src: MAC1,
        };
        for frame in frames(elsewhere) {
            assert_eq!(receivers(&mut bench, &frame), [HOST]);
        }
        bench.assert_conserved();
    }
}

#[test]
fn the_specs_of_these_tests_mean_what_they_say() {
    let spec = spec_of("udp 192.0.2.1:7%100.200!");
    assert!(spec.verify && spec.vlan.outer() == 100 && spec.vlan.inner() == 200);
    assert_ne!(MAC, MAC1);
}
