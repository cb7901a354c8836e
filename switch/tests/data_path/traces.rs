//! What a trace says, in words. That it is what happens, `sequences` shows.

use switch::command::Fate;
use switch::fragments::LIFETIME_MS;
use switch::verdict::DropReason;

use crate::common::frames::*;
use crate::common::{Bench, HOST, MAX_FRAME};

fn told(bench: &mut Bench, from: Option<u16>, frame: &[u8]) -> String {
    let (_, told) = bench.trace_told(0, from, frame);
    told.verdict
}

#[test]
fn it_names_whoever_gets_it() {
    let mut bench = Bench::with_stacks([3, 4]);
    bench.claim("udp 192.0.2.1:7", 3);
    bench.claim("udp 192.0.2.1:8", 4);
    bench.claim("udp 239.1.1.1:7", 4);
    let bytes = udp(IN, CLIENT, "192.0.2.1:7").len();
    let parts = udp_fragments(IN, CLIENT, "192.0.2.1:7", 1);
    let (stack, host) = ("vport 3 (stack3)", "the host, msh0");
    for (from, frame, verdict) in [
        (None, udp(IN, CLIENT, "192.0.2.1:7"), format!("to {stack}")),
        (
            None,
            udp(IN, CLIENT, "192.0.2.1:9"),
            format!("to {host}: unclaimed"),
        ),
        (None, vec![0; 5], "drop: runt".to_owned()),
        (None, vec![0; 20], format!("to {host}: not-ip")),
        (
            None,
            parts[1].clone(),
            "waits for the first fragment of its packet".to_owned(),
        ),
        (
            None,
            parts[0].clone(),
            format!("with its packet to {stack}"),
        ),
        (
            None,
            udp(FROM_ALL, CLIENT, "239.1.1.1:7"),
            format!("to {host}: group, and copies to the members of 239.1.1.1:7"),
        ),
        (
            Some(3),
            udp(OUT, "192.0.2.1:7", CLIENT),
            "to the wire".to_owned(),
        ),
        (
            Some(3),
            udp(OUT, "192.0.2.1:8", CLIENT),
            "drop: tx-foreign".to_owned(),
        ),
        (
            Some(4),
            udp(HERE, "192.0.2.1:8", "192.0.2.1:7"),
            format!("stays on this machine: to {stack}"),
        ),
        (
            Some(3),
            udp(TO_ALL, "192.0.2.1:7", "239.1.1.1:7"),
            "to the wire; as a copy, save to its sender: to the members of 239.1.1.1:7".to_owned(),
        ),
        (
            Some(3),
            udp(TO_ALL, "192.0.2.1:7", "239.1.1.1:8"),
            "to the wire".to_owned(),
        ),
    ] {
        assert_eq!(told(&mut bench, from, &frame), verdict);
    }
    let (_, trace) = bench.trace_told(0, None, &udp(IN, CLIENT, "192.0.2.1:7"));
    assert_eq!(trace.steps[0], format!("{bytes} bytes from the wire"));
    assert!(trace.steps[2].starts_with("well-formed: udp 192.0.2.9:5000 > 192.0.2.1:7"));
    assert_eq!(trace.steps[3], format!("claims by tuple: {stack}"));
}

#[test]
fn it_changes_nothing() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    let parts = udp_fragments(IN, CLIENT, "192.0.2.1:7", 1);
    for _ in 0..3 {
        for part in &parts {
            bench.trace(0, None, part);
        }
    }
    let sent = udp_fragments(OUT, "192.0.2.1:7", CLIENT, 1);
    for _ in 0..2 {
        for part in &sent {
            bench.trace(0, Some(3), part);
        }
    }
    bench.send(3, &sent[1]);
    assert_eq!(bench.tx_dropped(3, DropReason::TxFragment), 1);
    bench.receive(&parts);
    assert_eq!(bench.drain(3), parts);
    assert!(bench.wire().is_empty());
    bench.assert_conserved();
}

#[test]
fn it_knows_of_fragments_and_lengths() {
    let mut bench = Bench::with_stacks([3]);
    bench.claim("udp 192.0.2.1:7", 3);
    let parts = udp_fragments(OUT, "192.0.2.1:7", CLIENT, 1);
    let refused = |reason| Fate::Refused(reason);
    assert_eq!(
        bench.trace(0, Some(3), &parts[1]),
        refused(DropReason::TxFragment)
    );
    bench.send(3, &parts[0]);
    assert_eq!(bench.trace(0, Some(3), &parts[1]), Fate::Passed);
    assert_eq!(
        bench.trace(0, Some(3), &parts[0]),
        refused(DropReason::FragmentDuplicate)
    );
    bench.set_time(LIFETIME_MS);
    assert_eq!(bench.trace(0, Some(3), &parts[0]), Fate::Passed);
    let long = udp_with(OUT, "192.0.2.1:7", CLIENT, &[0; MAX_FRAME]);
    assert_eq!(
        bench.trace(0, Some(3), &long),
        refused(DropReason::TxBounds)
    );
    let here = udp(HERE, "192.0.2.1:9", "192.0.2.1:8");
    assert_eq!(
        bench.trace(0, Some(HOST), &here),
        refused(DropReason::TxLocal)
    );
    let part = &udp_fragments(HERE, "192.0.2.1:9", "192.0.2.1:7", 2)[1];
    assert_eq!(
        bench.trace(0, Some(HOST), part),
        refused(DropReason::FragmentTimeout)
    );
}
