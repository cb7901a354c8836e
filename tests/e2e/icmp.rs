//! ICMP errors go to the owner of the packet that they are about.

use crate::frames::{
    L3, L4_OF_V4, echo, edited, fragments, icmp, packet, refitted, tagged, tcp, too_big, udp,
};
use crate::scene::{Outcome, Scene};
use crate::testbed::{CLIENT_V4, CLIENT_V6, HOST_V4, HOST_V6};
use port_api::Protocol;

/// A router on the way, which no one here has claimed anything of.
const ROUTER_V4: &str = "10.77.0.254";
const ROUTER_V6: &str = "fd77::254";

#[test]
fn errors_go_to_the_owner_of_the_inner_tuple() {
    let a = [
        format!("udp:{HOST_V4}:5000"),
        format!("tcp:{HOST_V4}:5000"),
        format!("tcp:[{HOST_V6}]:5000"),
        format!("proto:132@{HOST_V4}"),
    ];
    let a: Vec<_> = a.iter().map(String::as_str).collect();
    let connection = format!("udp:{HOST_V4}:5000<{CLIENT_V4}:1000");
    let mut scene = Scene::start(&[&a, &["udp:10.77.0.50:5000%100", "addr:10.77.0.51"]]);
    let (own, sent) = (scene.inward, scene.outward);
    let to4 = format!("{CLIENT_V4}:1000");
    let udp4 = |from: &str| udp(sent, from, &to4, &[0; 1000]);
    let back = (ROUTER_V4, HOST_V4);
    let v6 = |port| {
        let (from, to) = (format!("[{HOST_V6}]:{port}"), format!("[{CLIENT_V6}]:1"));
        packet(Protocol::Tcp, sent, &from, &to)
    };
    let claimed = format!("{HOST_V4}:5000");
    let unclaimed = format!("{HOST_V4}:5001");
    let tagged_udp = tagged(&udp4("10.77.0.50:5000"), "100");
    let first = fragments(&udp4(&claimed), 1, 504).remove(0);
    let second = fragments(&udp4(&claimed), 1, 504).remove(1);
    let damaged = edited(&udp4(&claimed), |frame| frame[L3 + 8] ^= 1);
    let cases = [
        (too_big(own, back, &udp4(&claimed)), Some(0)),
        (too_big(own, back, &tcp(sent, &claimed, &to4)), Some(0)),
        (
            too_big(own, back, &packet(Protocol::Sctp, sent, &unclaimed, &to4)),
            Some(0),
        ),
        // Time exceeded, parameter problem, destination unreachable.
        (error(own, back, 11, &udp4(&claimed)), Some(0)),
        (error(own, back, 12, &udp4(&claimed)), Some(0)),
        (
            error(own, (CLIENT_V4, HOST_V4), 3, &udp4(&claimed)),
            Some(0),
        ),
        // 8 bytes behind the header are enough (RFC 792).
        (
            icmp(own, back, 3, 4, &udp4(&claimed)[L3..L4_OF_V4 + 8]),
            Some(0),
        ),
        (too_big(own, back, &first), Some(0)),
        (too_big(own, (ROUTER_V6, HOST_V6), &v6(5000)), Some(0)),
        (
            tagged(&too_big(own, (ROUTER_V4, "10.77.0.50"), &tagged_udp), "100"),
            Some(1),
        ),
        (
            too_big(own, (ROUTER_V4, "10.77.0.51"), &udp4("10.77.0.51:77")),
            Some(1),
        ),
        // Ping to an address that is wholly a stack's.
        (echo(own, CLIENT_V4, "10.77.0.51"), Some(1)),
        // All else is the host's: about its own packets,
        (too_big(own, back, &udp4(&unclaimed)), None),
        (too_big(own, (ROUTER_V6, HOST_V6), &v6(5001)), None),
        // about what does not say whose it is, or is not sound,
        (too_big(own, back, &second), None),
        (
            icmp(own, back, 3, 4, &udp4(&claimed)[L3..L4_OF_V4 + 7]),
            None,
        ),
        (too_big(own, back, &damaged), None),
        // about packets of another machine, or on another VLAN,
        (
            too_big(own, (ROUTER_V4, "10.77.0.77"), &udp4(&claimed)),
            None,
        ),
        (too_big(own, (ROUTER_V4, "10.77.0.50"), &tagged_udp), None),
        // source quench and redirect, which no one is to act on for one flow, and ping.
        (error(own, back, 4, &udp4(&claimed)), None),
        (error(own, back, 5, &udp4(&claimed)), None),
        (echo(own, CLIENT_V4, HOST_V4), None),
        (echo(own, CLIENT_V6, HOST_V6), None),
    ];
    for (number, (frame, owner)) in cases.into_iter().enumerate() {
        let frames = [frame];
        let none = Outcome::none(&scene);
        let expected = match owner {
            Some(probe) => none.for_probe(probe, &frames),
            None => none.for_host("icmp", &frames),
        };
        assert_eq!(scene.receive(&frames), expected, "case {number}");
    }
    // The outer packet is checked like any other.
    let broken = [refitted(&too_big(own, back, &udp4(&claimed)), |frame| {
        frame[L3 + 12] = 127;
    })];
    let dropped = Outcome::none(&scene).dropped("martian-source", 1);
    assert_eq!(scene.receive(&broken), dropped);

    // A connection is more specific here too.
    scene.probes[0].tell(&format!("claim {connection}"));
    let id = scene.bed.claims().last().expect("one").id;
    let slot = scene.probes[1].slot;
    scene.probes[0].tell(&format!("offer {id} {slot}"));
    scene.probes[1].tell(&format!("take {id}"));
    let frames = [too_big(own, back, &udp4(&claimed))];
    let to_b = Outcome::none(&scene).for_probe(1, &frames);
    assert_eq!(scene.receive(&frames), to_b);
    scene.finish();
}

/// An error of this type about the packet in `frame`.
fn error(eth: wire::emit::Eth, ends: (&str, &str), kind: u8, frame: &[u8]) -> Vec<u8> {
    let quoted = wire::emit::quote(frame).expect("a packet");
    icmp(eth, ends, kind, 0, quoted)
}
