//! A virtual machine at a vhost port: a whole other kernel for a stack.

use std::fmt::Write;
use std::fs;
use std::net::Ipv4Addr;
use std::process::Stdio;

use port_api::protocol::ByReason;

use crate::guests::{GUEST_V4, GUEST_V6, has};
use crate::net_tools::{Sniffer, curl, ping, sha256};
use crate::process::eventually;
use crate::testbed::{CLIENT_V4, HOST_V4, Testbed};
use crate::virtual_machine::VirtualMachine;

/// What Linux takes of what is offered, by bit: checksums left to the other side, in both directions;
/// overlong TCP segments to it, of both families; several buffers to a frame.
const WANTED: [(&str, u32); 5] = [
    ("CSUM", 0),
    ("GUEST_CSUM", 1),
    ("HOST_TSO4", 11),
    ("HOST_TSO6", 12),
    ("MRG_RXBUF", 15),
];

/// The guest's `/page`: the numbers up to 20,000.
fn page() -> String {
    (1..=20_000).fold(String::new(), |mut page, number| {
        writeln!(page, "{number}").expect("memory");
        page
    })
}

/// It answers and serves, over both families.
#[track_caller]
fn expect_service(bed: &Testbed) {
    let page = page();
    for (addr, host) in [
        (GUEST_V4, GUEST_V4.to_owned()),
        (GUEST_V6, format!("[{GUEST_V6}]")),
    ] {
        eventually("the guest answers", || bed.answers(addr));
        ping(&bed.client, addr, 20, 1400);
        let body = curl(&bed.client, &[&format!("http://{host}/page")]);
        assert!(body == page, "{} bytes of {}", body.len(), page.len());
    }
}

#[test]
fn serves_beside_the_host_and_a_ring_stack() {
    let bed = Testbed::start();
    let echo = bed.echo(&format!("{HOST_V4}:7"));
    bed.add_guest("vm", &[]);
    let mut machine = VirtualMachine::boot(&bed, "vm");
    let features = bed.await_guest("vm", 1);
    for (name, bit) in WANTED {
        assert!(has(features, bit), "{name}: {features:x}");
    }
    expect_service(&bed);
    bed.expect_others();

    // It sends a page in fewer and longer pieces than are on the wire.
    let count = "cat /sys/class/net/eth0/statistics/tx_packets";
    let before = (machine.number(count), bed.vport("vm").tx_wire);
    curl(&bed.client, &[&format!("http://{GUEST_V4}/page")]);
    let after = (machine.number(count), bed.vport("vm").tx_wire);
    let (pieces, packets) = (after.0 - before.0, after.1 - before.1);
    assert!(packets >= 75 && pieces < packets, "{pieces} for {packets}");

    // The other way round, and to and from the host over the same MAC address.
    let file = bed.dir.join("page");
    fs::write(&file, page().repeat(5)).unwrap();
    machine.begin("nc -l -p 5000 | sha256sum");
    let sent = || {
        let mut nc = bed.client.command("nc");
        nc.args(["-N", GUEST_V4, "5000"]);
        nc.stdin(fs::File::open(&file).unwrap())
            .stderr(Stdio::null());
        nc.status().unwrap().success()
    };
    eventually("all is sent", sent);
    let (said, _) = machine.end();
    assert_eq!(said.split(' ').next(), Some(&*sha256(&file)), "{said}");
    ping(&bed.host, GUEST_V4, 20, 1400);
    let (said, succeeds) = machine.run(&format!("ping -q -c 3 -i 0.2 {HOST_V4}"));
    assert!(succeeds, "{said}");

    machine.kill();
    bed.await_no_guest("vm");
    echo.terminate();
    bed.finish();
}

#[test]
fn sends_in_no_name_but_its_own() {
    let bed = Testbed::start();
    let echo = bed.echo(&format!("{HOST_V4}:7"));
    bed.add_guest("vm", &[]);
    let mut machine = VirtualMachine::boot(&bed, "vm");
    expect_service(&bed);
    let sniffer = Sniffer::all(&bed.client);
    let refused = |machine: &mut VirtualMachine, src: &str| -> ByReason {
        let before = bed.vport("vm").tx_dropped;
        let ping = format!("ping -q -c 3 -i 0.2 -W 1 -I {src} {CLIENT_V4}");
        let (said, succeeds) = machine.run(&ping);
        assert!(!succeeds, "{said}");
        let mut now = bed.vport("vm").tx_dropped;
        for (reason, count) in &mut now {
            *count -= before.get(reason).unwrap_or(&0);
        }
        now
    };
    // No one's, and the host's.
    for (src, reason) in [("10.77.0.77", "tx-icmp"), (HOST_V4, "tx-icmp")] {
        machine.run(&format!("ip addr add {src}/32 dev eth0"));
        let by_reason = refused(&mut machine, src);
        assert!(by_reason.get(reason) >= Some(&3), "{src}: {by_reason:?}");
        machine.run(&format!("ip addr del {src}/32 dev eth0"));
    }
    let set_mac = |mac: &str| {
        format!("ip link set eth0 down; ip link set eth0 address {mac}; ip link set eth0 up")
    };
    machine.run(&set_mac("02:00:00:00:00:99"));
    let by_reason = refused(&mut machine, GUEST_V4);
    assert!(by_reason.get("tx-source-mac") >= Some(&1), "{by_reason:?}");
    // Of the three nothing was on the wire, but for what the host itself says.
    let mac = [0x02, 0, 0, 0, 0, 0x99];
    let forged = "10.77.0.77".parse::<Ipv4Addr>().unwrap().octets();
    let host = HOST_V4.parse::<Ipv4Addr>().unwrap().octets();
    let seen = sniffer.frames();
    let is_forged = |frame: &&Vec<u8>| {
        frame[6..12] == mac
            || frame.get(26..30) == Some(&forged)
            || frame.get(28..32) == Some(&forged)
            || frame.get(26..30) == Some(&host) && frame.get(34) == Some(&8)
    };
    assert_eq!(seen.iter().find(is_forged), None);
    // And it is let be, with what is its own.
    machine.run(&set_mac(&bed.port().mac));
    machine.run(&format!("ip addr add {GUEST_V6}/64 dev eth0"));
    expect_service(&bed);
    bed.expect_others();
    machine.kill();
    echo.terminate();
    bed.finish();
}

#[test]
fn is_killed_and_the_next_one_outlives_the_switch() {
    let mut bed = Testbed::start();
    let echo = bed.echo(&format!("{HOST_V4}:7"));
    bed.add_guest("vm", &[]);
    let before = bed.stats().pool;
    let machine = VirtualMachine::boot(&bed, "vm");
    bed.await_guest("vm", 1);
    expect_service(&bed);
    machine.kill();
    bed.await_no_guest("vm");
    assert!(!bed.answers(GUEST_V4));
    bed.expect_others();
    bed.expect_buffers_back(before);
    let mut machine = VirtualMachine::boot(&bed, "vm");
    bed.await_guest("vm", 2);
    expect_service(&bed);
    echo.terminate();

    bed.take_switch().kill();
    bed.start_switch(&[]);
    bed.add_guest("vm", &[]);
    bed.await_guest("vm", 1);
    expect_service(&bed);
    // It is the same one.
    assert!(machine.number("cut -d . -f 1 /proc/uptime") > 2);
    let output = bed.msctl_port(&["remove", "vm"]);
    assert!(output.status.success(), "{output:?}");
    bed.expect_no_stacks();
    bed.finish();
}
