//! No stack speaks for another.

use std::fs;

use crate::net_tools::Sniffer;
use crate::process::Ended;
use crate::testbed::{CLIENT_V4, CLIENT_V6, HOST_V4, HOST_V6, Testbed};

/// Sends ten datagrams from `from` with a claim on `claim`; what was said of them.
#[track_caller]
fn spoof(bed: &Testbed, claim: &str, from: &str, to: &str) -> String {
    let mac = bed.client.run("cat", &["/sys/class/net/msx1/address"]);
    let args = ["spoof", "--claim", claim, "--from", from, "--to", to];
    let count = ["--dst-mac", mac.trim(), "--count", "10"];
    let args: Vec<_> = args.into_iter().chain(count).collect();
    let Ended {
        status,
        stdout,
        stderr,
    } = bed.probe("spoofer", &args).wait();
    assert!(status.success(), "{stderr}");
    stdout
}

#[test]
fn a_stack_sends_from_its_own_claim_only() {
    let bed = Testbed::start();
    let (own_v4, own_v6) = (format!("{HOST_V4}:9000"), format!("[{HOST_V6}]:9000"));
    let (to_v4, to_v6) = (format!("{CLIENT_V4}:5000"), format!("[{CLIENT_V6}]:5000"));
    let (echo_v4, echo_v6) = (format!("{HOST_V4}:7"), format!("[{HOST_V6}]:7"));
    let (kernel_v4, kernel_v6) = (format!("{HOST_V4}:22"), format!("[{HOST_V6}]:22"));
    let _echoes = [bed.echo(&echo_v4), bed.echo(&echo_v6)];
    let all = "10 to the wire, refused {}";
    let foreign = r#"0 to the wire, refused {"tx-foreign": 10}"#;
    let unclaimed = r#"0 to the wire, refused {"tx-not-claimed": 10}"#;
    let cases = [
        (&own_v4, &own_v4, &to_v4, all, 10),
        (&own_v6, &own_v6, &to_v6, all, 10),
        (&own_v4, &echo_v4, &to_v4, foreign, 0),
        (&own_v6, &echo_v6, &to_v6, foreign, 0),
        (&own_v4, &kernel_v4, &to_v4, unclaimed, 0),
        (&own_v6, &kernel_v6, &to_v6, unclaimed, 0),
        (&own_v4, &format!("{CLIENT_V4}:9000"), &to_v4, unclaimed, 0),
        (&own_v4, &own_v6, &to_v6, unclaimed, 0),
    ];
    for (claim, from, to, verdict, seen) in cases {
        let sniffer = Sniffer::new(&bed.client);
        let said = spoof(&bed, claim, from, to);
        assert!(said.contains(verdict), "{claim} from {from}: {said}");
        let marker = format!("from {from}");
        assert_eq!(
            sniffer.count(&marker),
            seen,
            "{claim} from {from} on the wire"
        );
    }
    bed.finish();
}

#[test]
fn the_port_sends_nothing_of_a_refused_frame_to_the_host_either() {
    let bed = Testbed::start();
    let sent_before = bed.stats().ports[0].tx_packets;
    let host_before = host_received(&bed);
    let to = format!("{CLIENT_V4}:5000");
    spoof(
        &bed,
        &format!("{HOST_V4}:9000"),
        &format!("{HOST_V4}:22"),
        &to,
    );
    assert_eq!(bed.stats().ports[0].tx_packets, sent_before);
    assert_eq!(host_received(&bed), host_before);
    bed.finish();
}

/// Packets that the exception path has given to the kernel.
fn host_received(bed: &Testbed) -> u64 {
    bed.host.enter(|| {
        let table = fs::read_to_string("/proc/thread-self/net/dev").unwrap();
        let row = table
            .lines()
            .find_map(|line| line.trim().strip_prefix("msh0:"));
        let packets = row.unwrap().split_whitespace().nth(1);
        packets.unwrap().parse().unwrap()
    })
}
