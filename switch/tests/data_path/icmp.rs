//! ICMP errors go to whom they are about, and come only from whom they concern.

use switch::verdict::{DropReason, HostReason};

use crate::common::frames::*;
use crate::common::{Bench, HOST};

/// Address, port, another address; of the other end as well.
type Family = [&'static str; 4];

const FAMILIES: [Family; 2] = [
    ["192.0.2.1", "192.0.2.1:7", "192.0.2.9", CLIENT],
    ["2001:db8::1", "[2001:db8::1]:7", "2001:db8::9", CLIENT6],
];

fn router(family: &Family) -> &'static str {
    if family[0].contains(':') {
        "2001:db8::fe"
    } else {
        "192.0.2.254"
    }
}

#[test]
fn an_error_goes_to_the_owner_of_the_packet_that_it_is_about() {
    for family in FAMILIES {
        let [ours, our_end, _, their_end] = family;
        let mut bench = Bench::with_stacks([3, 4, 5]);
        bench.claim(&format!("udp {our_end}"), 3);
        bench.claim(&format!("tcp {our_end} {their_end}"), 4);
        bench.claim(&format!("udp {our_end}%100"), 5);
        let router = router(&family);
        let about_udp = unreachable(IN, router, ours, &udp(OUT, our_end, their_end));
        let about_tcp = unreachable(IN, router, ours, &tcp(OUT, our_end, their_end));
        let in_vlan = tagged(about_udp.clone(), "100");
        let about_sctp = unreachable(IN, router, ours, &sctp(OUT, our_end, their_end));
        // About a packet that this machine has not sent, or to someone who has not sent it.
        let reversed = unreachable(IN, router, ours, &udp(OUT, their_end, our_end));
        let not_ours = unreachable(IN, ours, router, &udp(OUT, our_end, their_end));
        let frames = [
            &about_udp,
            &about_tcp,
            &in_vlan,
            &about_sctp,
            &reversed,
            &not_ours,
        ];
        bench.receive(&frames.map(Clone::clone));
        assert_eq!(bench.drain(3), [about_udp]);
        assert_eq!(bench.drain(4), [about_tcp]);
        assert_eq!(bench.drain(5), [in_vlan]);
        assert_eq!(bench.drain(HOST), [about_sctp, reversed, not_ours]);
        assert_eq!(bench.nic().host_reasons[HostReason::Icmp as usize], 3);
        bench.assert_conserved();
    }
}

#[test]
fn a_quoted_fragment_that_is_not_the_first_has_no_ports() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    let parts = udp_fragments(OUT, "192.0.2.1:7", CLIENT, 9);
    let about = |part| unreachable(IN, "192.0.2.254", "192.0.2.1", part);
    bench.receive(&[about(&parts[0]), about(&parts[1])]);
    assert_eq!(bench.drain(3), [about(&parts[0])]);
    assert_eq!(bench.drain(HOST), [about(&parts[1])]);
    bench.claim("all 192.0.2.2", 4);
    let parts = udp_fragments(OUT, "192.0.2.2:7", CLIENT, 9);
    let about = unreachable(IN, "192.0.2.254", "192.0.2.2", &parts[1]);
    bench.receive(std::slice::from_ref(&about));
    assert_eq!(bench.drain(4), [about]);
}

#[test]
fn an_unsound_quotation_is_no_ones() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    let about = udp(OUT, "192.0.2.1:7", CLIENT);
    let whole = unreachable(IN, "192.0.2.254", "192.0.2.1", &about);
    let quoted = 14 + 20 + 8;
    // The quoted header's checksum is wrong; less than its 8 bytes of payload are there.
    let mut wrong = whole.clone();
    wrong[quoted + 10] ^= 1;
    let short = icmp(IN, "192.0.2.254", "192.0.2.1", 3, &about[14..41]);
    // A redirect, which no stack is to believe (RFC 1122 section 3.2.2.2 has hosts update routes).
    let redirect = icmp(IN, "192.0.2.254", "192.0.2.1", 5, &about[14..]);
    bench.receive(&[wrong.clone(), short.clone(), redirect.clone()]);
    assert!(bench.drain(3).is_empty());
    assert_eq!(bench.drain(HOST), [wrong, short, redirect]);
    bench.receive(std::slice::from_ref(&whole));
    assert_eq!(bench.drain(3), [whole]);
}

#[test]
fn a_stack_reports_errors_about_packets_to_itself_only() {
    for [ours, our_end, theirs, their_end] in FAMILIES {
        let mut bench = Bench::with_stacks([3, 4]);
        bench.claim(&format!("udp {our_end}"), 3);
        let good = unreachable(OUT, ours, theirs, &udp(IN, their_end, our_end));
        bench.send(3, &good);
        assert_eq!(bench.wire(), std::slice::from_ref(&good));
        let others = our_end.replace(":7", ":8");
        let third = their_end.replace(":5000", ":5001");
        for frame in [
            // About another's packet.
            unreachable(OUT, ours, theirs, &udp(IN, their_end, &others)),
            unreachable(OUT, ours, theirs, &tcp(IN, their_end, our_end)),
            // About its own packet, to itself; about a packet of one and to another.
            unreachable(OUT, ours, theirs, &udp(OUT, our_end, their_end)),
            unreachable(
                OUT,
                ours,
                theirs,
                &udp(IN, &third.replace('9', "8"), our_end),
            ),
            tagged(good.clone(), "100"),
            // Neither an error nor an echo.
            icmp(OUT, ours, theirs, 5, &udp(IN, their_end, our_end)[14..]),
            echo_request(OUT, ours, theirs),
        ] {
            let before = bench.tx_dropped(3, DropReason::TxIcmp);
            bench.send(3, &frame);
            assert_eq!(bench.tx_dropped(3, DropReason::TxIcmp), before + 1);
        }
        bench.send(4, &good);
        assert_eq!(bench.tx_dropped(4, DropReason::TxIcmp), 1);
        assert!(bench.wire().is_empty());
        bench.assert_conserved();
    }
}

#[test]
fn the_owner_of_an_address_may_echo_and_nothing_worse() {
    for [ours, _, theirs, _] in FAMILIES {
        let mut bench = Bench::with_stacks([3]);
        bench.claim(&format!("all {ours}"), 3);
        let echo = echo_request(OUT, ours, theirs);
        let reply_kind = if ours.contains(':') { 129 } else { 0 };
        let reply = icmp(OUT, ours, theirs, reply_kind, PAYLOAD);
        bench.send(3, &echo);
        bench.send(3, &reply);
        assert_eq!(bench.wire(), [echo, reply]);
        // Redirect, source quench or router solicitation, timestamp.
        for kind in [5, 4, 13] {
            bench.send(3, &icmp(OUT, ours, theirs, kind, PAYLOAD));
        }
        assert!(bench.wire().is_empty());
        assert_eq!(bench.vport(3).tx_dropped.sum(), 3);
        bench.assert_conserved();
    }
}
