//! Two workers, among which the wire's flows are divided.

use std::net::UdpSocket;

use crate::guests::{GUEST_V4, Testpmd, has};
use crate::net_tools::{ask, udp};
use crate::process::eventually;
use crate::testbed::{HOST_V4, Testbed};

/// So many that both workers have some, but for a chance of 2^-63.
const FLOWS: usize = 64;
/// `VIRTIO_NET_F_MQ`.
const MQ: u32 = 22;

fn two_workers() -> Testbed {
    let mut bed = Testbed::without_switch();
    bed.workers = 2;
    bed.start_switch(&[]);
    bed
}

fn flows(bed: &Testbed, addr: &str) -> Vec<UdpSocket> {
    (0..FLOWS).map(|_| udp(&bed.client, addr)).collect()
}

/// A few datagrams of each flow, of which each comes back.
#[track_caller]
fn expect_answers(flows: &[UdpSocket]) {
    for round in 0..5 {
        for (flow, number) in flows.iter().zip(0..) {
            assert_eq!(ask(flow, &[round, number]), Some(vec![round, number]));
        }
    }
}

#[test]
fn a_stack_is_served_by_both() {
    let bed = two_workers();
    let addr = format!("{HOST_V4}:7");
    let echo = bed.echo(&addr);
    let before = bed.stats().workers;
    expect_answers(&flows(&bed, &addr));
    let busy: Vec<u64> = before
        .iter()
        .zip(&bed.stats().workers)
        .map(|(before, now)| now.busy_rounds - before.busy_rounds)
        .collect();
    assert!(
        busy.len() == 2 && busy.iter().all(|rounds| *rounds > 0),
        "{busy:?}"
    );
    echo.terminate();
    bed.finish();
}

/// testpmd forwards a little after its driver is ready.
#[track_caller]
fn await_answer(flow: &UdpSocket) {
    eventually("testpmd forwards", || ask(flow, b"?").is_some());
}

/// testpmd that swaps MAC addresses, IP addresses and ports, so many pairs of queues.
fn swapping(bed: &Testbed, pairs: u8) -> Testpmd {
    let device = format!("mac={},queues={pairs}", bed.port().mac);
    let (rx, tx) = (format!("--rxq={pairs}"), format!("--txq={pairs}"));
    Testpmd::start(bed, "pmd", &device, &["--forward-mode=5tswap", &rx, &tx])
}

#[test]
fn a_guest_has_a_pair_of_queues_for_each() {
    let bed = two_workers();
    bed.add_guest("pmd", &[]);
    let mac = bed.port().mac;
    let neighbour = format!("neigh replace {GUEST_V4} lladdr {mac} dev msx1 nud permanent");
    bed.client.ip(&neighbour);
    let flows = flows(&bed, &format!("{GUEST_V4}:7"));
    let testpmd = swapping(&bed, 2);
    assert!(has(bed.await_guest("pmd", 1), MQ));
    await_answer(&flows[0]);
    expect_answers(&flows);
    let totals = testpmd.end();
    let vport = bed.vport("pmd");
    assert_eq!(totals.received, vport.rx_packets + vport.rx_copies);
    assert_eq!(totals.by_pair.len(), 2, "{totals:?}");
    assert!(
        totals.by_pair.iter().all(|received| *received > 0),
        "{totals:?}"
    );

    // One pair is enough, if need be.
    bed.await_no_guest("pmd");
    let testpmd = swapping(&bed, 1);
    bed.await_guest("pmd", 2);
    await_answer(&flows[0]);
    expect_answers(&flows);
    testpmd.end();
    bed.finish();
}
