//! What a stack may send: from its own claims, in its own name.

use switch::verdict::DropReason;
use wire::Malformed;
use wire::emit::Eth;

use crate::common::frames::*;
use crate::common::{Bench, CLIENT_MAC, HOST, MAC1, MAX_FRAME};

/// A frame passes: one like it goes out, and nothing is refused.
fn assert_passes(bench: &mut Bench, slot: u16, frame: &[u8]) {
    let before = bench.vport(slot).tx_dropped.0;
    bench.send(slot, frame);
    assert_eq!(bench.vport(slot).tx_dropped.0, before, "refused");
    assert_eq!(bench.wire(), [frame]);
}

/// A frame is refused for this reason, and nothing goes out.
fn assert_refused(bench: &mut Bench, slot: u16, frame: &[u8], reason: impl Into<DropReason>) {
    let reason = reason.into();
    let before = bench.vport(slot).tx_dropped.sum();
    let of_reason = bench.tx_dropped(slot, reason);
    bench.send(slot, frame);
    let after = bench.vport(slot).tx_dropped.sum();
    assert_eq!(after, before + 1, "{reason:?}");
    assert_eq!(bench.tx_dropped(slot, reason), of_reason + 1, "{reason:?}");
    assert!(bench.wire().is_empty(), "{reason:?}");
}

#[test]
fn a_stack_sends_from_its_claims_only() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    let good = udp(OUT, "192.0.2.1:7", CLIENT);
    assert_passes(&mut bench, 3, &good);
    let spoofed = Eth {
        src: CLIENT_MAC,
        ..OUT
    };
    for (frame, reason) in [
        (udp(OUT, "192.0.2.1:8", CLIENT), DropReason::TxForeign),
        (udp(OUT, "192.0.2.1:9", CLIENT), DropReason::TxNotClaimed),
        (tcp(OUT, "192.0.2.1:7", CLIENT), DropReason::TxNotClaimed),
        (udp(OUT, "192.0.2.2:7", CLIENT), DropReason::TxNotClaimed),
        (udp(OUT, CLIENT, "192.0.2.1:7"), DropReason::TxNotClaimed),
        (tagged(good.clone(), "100"), DropReason::TxNotClaimed),
        (udp(spoofed, "192.0.2.1:7", CLIENT), DropReason::TxSourceMac),
        (udp(TO_ALL, "192.0.2.1:7", CLIENT), DropReason::TxGroupMac),
        (
            echo_request(OUT, "192.0.2.1", "192.0.2.9"),
            DropReason::TxIcmp,
        ),
        (
            proto(OUT, 47, "192.0.2.1", "192.0.2.9"),
            DropReason::TxNotClaimed,
        ),
        (good[..40].to_vec(), Malformed::Ipv4TotalLength.into()),
    ] {
        assert_refused(&mut bench, 3, &frame, reason);
    }
    bench.assert_conserved();
}

#[test]
fn each_kind_of_claim_lets_send() {
    for (spec, frame) in [
        (
            "tcp 192.0.2.1:7 192.0.2.9:5000",
            tcp(OUT, "192.0.2.1:7", CLIENT),
        ),
        (
            "sctp [2001:db8::1]:7",
            sctp(OUT, "[2001:db8::1]:7", CLIENT6),
        ),
        ("udp 0.0.0.0:7", udp(OUT, "192.0.2.1:7", CLIENT)),
        ("47 192.0.2.1", proto(OUT, 47, "192.0.2.1", "192.0.2.9")),
        ("132 192.0.2.1", sctp(OUT, "192.0.2.1:7", CLIENT)),
        ("all 192.0.2.1", tcp(OUT, "192.0.2.1:9", CLIENT)),
        (
            "all 2001:db8::1",
            proto(OUT, 47, "2001:db8::1", "2001:db8::9"),
        ),
        ("all 192.0.2.1", echo_request(OUT, "192.0.2.1", "192.0.2.9")),
        (
            "58 2001:db8::1",
            echo_request(OUT, "2001:db8::1", "2001:db8::9"),
        ),
        (
            "udp 192.0.2.1:7%100.200",
            tagged(udp(OUT, "192.0.2.1:7", CLIENT), "100.200"),
        ),
    ] {
        let mut bench = Bench::with_stacks([3, 4]);
        let subject = bench.claim(spec, 3);
        assert_passes(&mut bench, 3, &frame);
        // The same frame from another stack, and when the claim has ended.
        bench.send(4, &frame);
        bench.release(subject, 3);
        bench.send(3, &frame);
        assert!(bench.wire().is_empty(), "{spec}");
        bench.assert_conserved();
    }
}

#[test]
fn a_connection_lets_send_to_its_remote_end_only() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:7 192.0.2.9:5000", 4);
    let to = |remote| udp(OUT, "192.0.2.1:7", remote);
    assert_passes(&mut bench, 4, &to(CLIENT));
    assert_refused(&mut bench, 4, &to("192.0.2.9:5001"), DropReason::TxForeign);
    assert_passes(&mut bench, 3, &to("192.0.2.9:5001"));
    assert_refused(&mut bench, 3, &to(CLIENT), DropReason::TxForeign);
}

#[test]
fn groups_and_broadcast_take_udp_from_a_claimed_tuple() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("sctp 192.0.2.1:7", 3);
    for to in ["239.1.1.1:7", "255.255.255.255:7"] {
        assert_passes(&mut bench, 3, &udp(TO_ALL, "192.0.2.1:7", to));
        let foreign = udp(TO_ALL, "192.0.2.1:8", to);
        assert_refused(&mut bench, 3, &foreign, DropReason::TxNotClaimed);
        let not_udp = sctp(TO_ALL, "192.0.2.1:7", to);
        assert_refused(&mut bench, 3, &not_udp, DropReason::TxMulticast);
    }
    let from_no_one = udp(TO_ALL, "0.0.0.0:7", "255.255.255.255:67");
    assert_refused(&mut bench, 3, &from_no_one, DropReason::TxUnspecifiedSource);
    bench.assert_conserved();
}

#[test]
fn what_is_not_ip_stays_here() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("all 192.0.2.1", 3);
    let mut frame = udp(OUT, "192.0.2.1:7", CLIENT);
    frame[12..14].copy_from_slice(&0x88cc_u16.to_be_bytes());
    assert_refused(&mut bench, 3, &frame, DropReason::TxNotIp);
}

#[test]
fn a_port_that_does_not_exist_and_a_frame_too_long() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    let frame = udp(OUT, "192.0.2.1:7", CLIENT);
    bench.send_with(3, 5, false, &frame);
    assert_eq!(bench.tx_dropped(3, DropReason::TxPort), 1);
    // The other port has another MAC.
    bench.send_with(3, 1, false, &frame);
    assert_eq!(bench.tx_dropped(3, DropReason::TxSourceMac), 1);
    let from_there = Eth { src: MAC1, ..OUT };
    let from_there = udp(from_there, "192.0.2.1:7", CLIENT);
    bench.send_with(3, 1, false, &from_there);
    assert_eq!(bench.world.borrow().sent[1], [from_there]);
    let headers = 42;
    let fits = vec![0; MAX_FRAME - headers];
    let fits = udp_with(OUT, "192.0.2.1:7", CLIENT, &fits);
    assert_passes(&mut bench, 3, &fits);
    let too_long = vec![0; MAX_FRAME - headers + 1];
    let too_long = udp_with(OUT, "192.0.2.1:7", CLIENT, &too_long);
    assert_refused(&mut bench, 3, &too_long, DropReason::TxBounds);
    bench.assert_conserved();
}

#[test]
fn the_switch_fills_in_checksums_when_asked_to() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("all 192.0.2.1", 3);
    bench.claim("all 2001:db8::1", 3);
    for (good, at) in [
        (udp(OUT, "192.0.2.1:7", CLIENT), 40),
        (tcp(OUT, "192.0.2.1:7", CLIENT), 50),
        (sctp(OUT, "192.0.2.1:7", CLIENT), 42),
        (echo_request(OUT, "192.0.2.1", "192.0.2.9"), 36),
        (udp(OUT, "[2001:db8::1]:7", CLIENT6), 60),
        (echo_request(OUT, "2001:db8::1", "2001:db8::9"), 56),
        (tagged(udp(OUT, "192.0.2.1:7", CLIENT), "none"), 40),
    ] {
        let mut frame = good.clone();
        frame[at] ^= 0x77;
        bench.send_with(3, 0, true, &frame);
        assert_eq!(bench.wire(), std::slice::from_ref(&good));
        bench.send_with(3, 0, false, &frame);
        assert_eq!(bench.wire(), [frame], "not asked to");
    }
    assert_eq!(bench.world.borrow().finished, 0, "this NIC does not");
    bench.assert_conserved();
}

#[test]
fn a_nic_that_can_finishes_the_checksums_of_tcp_and_udp() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("all 192.0.2.1", 3);
    bench.claim("all 2001:db8::1", 3);
    bench.claim("udp 192.0.2.1:7%100", 3);
    bench.claim("udp 192.0.2.2:8", 4);
    let out = Eth { src: MAC1, ..OUT };
    for (good, at, by_nic) in [
        (udp(out, "192.0.2.1:7", CLIENT), 40, true),
        (tcp(out, "192.0.2.1:7", CLIENT), 50, true),
        (udp(out, "[2001:db8::1]:7", CLIENT6), 60, true),
        (tagged(udp(out, "192.0.2.1:7", CLIENT), "100"), 44, true),
        (sctp(out, "192.0.2.1:7", CLIENT), 42, false),
        (echo_request(out, "192.0.2.1", "192.0.2.9"), 36, false),
    ] {
        let mut frame = good.clone();
        frame[at] ^= 0x77;
        for (asked, sent) in [(true, good), (false, frame.clone())] {
            bench.world.borrow_mut().finished = 0;
            bench.send_with(3, 1, asked, &frame);
            let mut world = bench.world.borrow_mut();
            assert_eq!(std::mem::take(&mut world.sent[1]), [sent]);
            assert_eq!(world.finished, usize::from(asked && by_nic));
        }
    }
    // What stays on this machine no NIC sees; neither is one asked about what is refused.
    let local = Eth { dst: MAC1, ..out };
    let mut frame = udp(local, "192.0.2.1:7", "192.0.2.2:8");
    let good = frame.clone();
    frame[40] ^= 0x77;
    bench.send_with(3, 1, true, &frame);
    assert_eq!(bench.drain(4), [good]);
    bench.send_with(4, 1, true, &udp(out, "192.0.2.1:7", CLIENT));
    assert_eq!(bench.tx_dropped(4, DropReason::TxForeign), 1);
    assert_eq!(bench.world.borrow().finished, 0);
    bench.assert_conserved();
}

#[test]
fn the_host_is_not_checked_but_for_the_length() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    let spoofed = Eth {
        src: CLIENT_MAC,
        ..OUT
    };
    for frame in [
        udp(spoofed, "192.0.2.1:7", CLIENT),
        vec![7; 60],
        tagged(tcp(OUT, "192.0.2.3:7", CLIENT), "100"),
    ] {
        assert_passes(&mut bench, HOST, &frame);
    }
    assert_refused(&mut bench, HOST, &[7; MAX_FRAME + 1], DropReason::TxBounds);
    bench.assert_conserved();
}

/// A tuple at any address is one at the addresses of this machine, not at everyone's.
#[test]
fn any_address_is_any_of_this_machines() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 0.0.0.0:7", 3);
    bench.claim("udp [::]:7", 3);
    bench.claim("tcp 192.0.2.77:80", 4);
    for (from, to) in [
        ("192.0.2.1:7", CLIENT),
        ("192.0.2.77:7", CLIENT),
        ("[2001:db8::1]:7", CLIENT6),
    ] {
        assert_passes(&mut bench, 3, &udp(OUT, from, to));
    }
    for frame in [
        udp(OUT, "198.51.100.1:7", CLIENT),
        udp(OUT, "[2001:db8::99]:7", CLIENT6),
        udp(TO_ALL, "198.51.100.1:7", "255.255.255.255:7"),
        udp_fragments(OUT, "198.51.100.1:7", CLIENT, 5)[0].clone(),
        unreachable(
            OUT,
            "198.51.100.1",
            "192.0.2.9",
            &udp(IN, CLIENT, "198.51.100.1:7"),
        ),
    ] {
        assert_refused(&mut bench, 3, &frame, DropReason::TxNotClaimed);
    }
    bench.assert_conserved();
}

/// The port's MTU is one of IP packets: tags come on top.
#[test]
fn only_tags_make_a_frame_longer() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:7%100", 3);
    bench.claim("udp 192.0.2.1:7%100.200", 3);
    let headers = 14 + 20 + 8;
    let longest = udp_with(OUT, "192.0.2.1:7", CLIENT, &vec![1; MAX_FRAME - headers]);
    let longer = udp_with(
        OUT,
        "192.0.2.1:7",
        CLIENT,
        &vec![1; MAX_FRAME - headers + 1],
    );
    for vlan in [None, Some("100"), Some("100.200")] {
        let dress = |frame: &Vec<u8>| match vlan {
            Some(vlan) => tagged(frame.clone(), vlan),
            None => frame.clone(),
        };
        assert_passes(&mut bench, 3, &dress(&longest));
        assert_refused(&mut bench, 3, &dress(&longer), DropReason::TxBounds);
    }
    bench.assert_conserved();
}
