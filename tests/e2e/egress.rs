//! No stack speaks for another.

use crate::net_tools::{Sniffer, udp};
use crate::process::Ended;
use crate::testbed::{CLIENT_V4, CLIENT_V6, HOST_V4, HOST_V6, Testbed};

/// Sends ten datagrams from `from` with a claim on `claim`; what was said of them.
#[track_caller]
fn spoof(bed: &Testbed, claim: &str, from: &str, to: &str) -> String {
    let mac = bed.client.mac("msx1");
    let args = ["spoof", "--claim", claim, "--from", from, "--to", to];
    let count = ["--dst-mac", &mac, "--count", "10"];
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
        (&own_v4, &"10.77.0.3:9000".to_owned(), &to_v4, unclaimed, 0),
        (&own_v4, &own_v6, &to_v6, unclaimed, 0),
    ];
    for (claim, from, to, verdict, seen) in cases {
        let sniffer = Sniffer::addressed_to(&bed.client, "msx1");
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
fn what_is_refused_does_not_go_to_the_host_instead() {
    let bed = Testbed::start();
    let sniffer = Sniffer::all(&bed.host);
    let to = format!("{CLIENT_V4}:5000");
    let from = format!("{HOST_V4}:22");
    spoof(&bed, &format!("{HOST_V4}:9000"), &from, &to);
    assert_eq!(sniffer.count(&format!("from {from}")), 0);
    // That is no blindness.
    let sniffer = Sniffer::all(&bed.host);
    udp(&bed.client, &from).send(b"from the client").unwrap();
    assert!(sniffer.count("from the client") > 0);
    bed.finish();
}
