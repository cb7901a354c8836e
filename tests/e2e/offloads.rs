//! What a port's device does for the switch.

use wire::MacAddr;
use wire::emit::Eth;

use crate::frames::{L4_OF_V4, L4_OF_V6, edited, set_be16, tcp, udp};
use crate::process::{PATIENCE, within};
use crate::raw::{Packets, Probe, hex};
use crate::testbed::{CLIENT_V4, CLIENT_V6, HOST_V4, HOST_V6, Testbed};

/// A TAP, whose driver finishes checksums as NICs do; what is sent through it comes in at its netdev.
const TAP: &str = "net_tap0,iface=msx2";

#[test]
fn checksums_are_left_to_a_device_that_finishes_them() {
    let mut bed = Testbed::without_switch();
    bed.device = TAP;
    // The TAP has the MAC of msh0: of two link-local addresses made of it, one would be a duplicate.
    bed.host.run(
        "sysctl",
        &["-q", "-w", "net.ipv6.conf.default.addr_gen_mode=1"],
    );
    bed.start_switch(&[]);
    let port = bed.port();
    assert!(port.offloads.contains(&"tx-checksum".to_owned()));
    let mut far = Packets::open(&bed.host, "msx2");
    let claims = [
        format!("udp:{HOST_V4}:5000"),
        format!("tcp:{HOST_V4}:5000"),
        format!("udp:[{HOST_V6}]:5000"),
    ];
    let mut probe = Probe::start(&bed, "a", &claims.each_ref().map(String::as_str));
    let eth = Eth {
        src: port.mac.parse().expect("an address"),
        dst: MacAddr([2, 0, 0, 0, 0, 9]),
    };
    let (own4, own6) = (format!("{HOST_V4}:5000"), format!("[{HOST_V6}]:5000"));
    let (to4, to6) = (format!("{CLIENT_V4}:7"), format!("[{CLIENT_V6}]:7"));
    for (right, field) in [
        (
            udp(eth, &own4, &to4, b"an odd number of bytes!"),
            L4_OF_V4 + 6,
        ),
        (tcp(eth, &own4, &to4), L4_OF_V4 + 16),
        (udp(eth, &own6, &to6, b"over IPv6"), L4_OF_V6 + 6),
    ] {
        let unfinished = edited(&right, |frame| set_be16(frame, field, 0xbeef));
        probe.tell(&format!("sendck {}", hex(&unfinished)));
        let came = within(PATIENCE, || {
            far.pump();
            far.seen.contains(&right)
        });
        assert!(came, "{} not among {:x?}", hex(&right), far.seen);
        assert!(!far.seen.contains(&unfinished));
    }
    drop(probe);
    bed.expect_no_stacks();
    bed.finish();
}

/// There the worker fills them in, as other tests see.
#[test]
fn af_xdp_does_nothing_for_the_switch() {
    let bed = Testbed::start();
    assert_eq!(bed.port().offloads, [""; 0]);
    bed.finish();
}
