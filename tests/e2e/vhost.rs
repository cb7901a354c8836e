//! Vports over vhost-user sockets, with Debian's `dpdk-testpmd` at the other end.

use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::thread;
use std::time::Duration;

use port_api::protocol::{PortSpec, Request, VportStats};
use rustix::io::Errno;

use crate::guests::{GUEST_V4, GUEST_V6, Testpmd, has};
use crate::net_tools::{Pings, Sniffer, echoes, ping, udp};
use crate::process::eventually;
use crate::testbed::{CLIENT_V4, HOST_V4, Testbed};
use crate::users::{NOBODY, connect, refused};

/// Virtio features, by bit.
const MRG_RXBUF: u32 = 15;
const INDIRECT: u32 = 28;
const RING_PACKED: u32 = 34;
const IN_ORDER: u32 = 35;

/// Pings the guest, once it has come so far as to answer: its driver is ready before it takes part.
#[track_caller]
fn ping_guest(bed: &Testbed, count: u32, size: u32) {
    eventually("the guest answers", || bed.answers(GUEST_V4));
    ping(&bed.client, GUEST_V4, count, size);
}

fn echo_addr() -> String {
    format!("{HOST_V4}:7")
}

/// So many datagrams to the guest's IPv6 address, which testpmd never answers.
#[track_caller]
fn send_v6(bed: &Testbed, count: usize) {
    let mac = bed.port().mac;
    bed.client.ip(&format!(
        "neigh replace {GUEST_V6} lladdr {mac} dev msx1 nud permanent"
    ));
    let socket = udp(&bed.client, &format!("[{GUEST_V6}]:9"));
    for _ in 0..count {
        socket.send(b"v6").expect("sent");
    }
}

/// So many datagrams to a port of the host's that no one has.
fn send_to_host(bed: &Testbed, count: usize) {
    let socket = udp(&bed.client, &format!("{HOST_V4}:9"));
    for _ in 0..count {
        // That no one has it may be known by the next one.
        let _ = socket.send(b"host");
    }
}

#[test]
fn testpmd_gets_what_it_has_claimed_and_only_that() {
    let bed = Testbed::start();
    let echo = bed.echo(&echo_addr());
    let slot = bed.add_guest("pmd", &[]);
    let claims = bed.claims();
    assert_eq!(claims.iter().filter(|claim| claim.slot == slot).count(), 2);
    let testpmd = Testpmd::echo(&bed, "pmd", "");
    bed.await_guest("pmd", 1);
    ping_guest(&bed, 100, 56);
    ping_guest(&bed, 50, 1472);
    bed.expect_others();
    send_v6(&bed, 50);
    send_to_host(&bed, 50);
    let to_others: u64 = bed
        .stats()
        .vports
        .iter()
        .map(|vport| vport.rx_packets)
        .sum();
    eventually("all is delivered", || bed.vport("pmd").rx_packets >= 200);
    let vport = bed.vport("pmd");
    assert!(to_others > vport.rx_packets + 40, "{:?}", bed.stats());
    // 200, some pings until it answers, and the client's ARP, which all see who have an address of their own.
    let all = vport.rx_packets + vport.rx_copies;
    assert!(vport.rx_packets <= 212 && all < 230, "{vport:?}");
    assert!(vport.rx_dropped.is_empty(), "{vport:?}");
    assert!(vport.tx_wire >= 150, "{vport:?}");
    let totals = testpmd.end();
    // Neither is a packet lost on the way, in either direction, nor does one appear there.
    let vport = bed.vport("pmd");
    let delivered = vport.rx_packets + vport.rx_copies;
    assert_eq!(
        (totals.received, totals.sent),
        (delivered, vport.tx_packets)
    );
    echo.terminate();
    bed.finish();
}

/// Names of the primary's threads, and what capabilities they have in effect.
fn capabilities(pid: u32) -> Vec<(String, u64)> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let statuses = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("status")));
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().to_owned()
    };
    let of_thread = |status: String| {
        let effective = u64::from_str_radix(&field(&status, "CapEff:"), 16);
        (field(&status, "Name:"), effective.unwrap())
    };
    statuses.map(|status| of_thread(status.unwrap())).collect()
}

#[test]
fn who_reads_its_messages_has_no_rights() {
    let mut bed = Testbed::start();
    bed.add_guest("pmd", &[]);
    let testpmd = Testpmd::echo(&bed, "pmd", "");
    bed.await_guest("pmd", 1);
    let threads = capabilities(bed.switch().pid());
    let thread = threads.iter().find(|(name, _)| name == "vhost-pmd");
    assert_eq!(thread, Some(&("vhost-pmd".to_owned(), 0)), "{threads:?}");
    testpmd.end();
    bed.finish();
}

#[test]
fn testpmd_is_killed_and_the_next_one_goes_on() {
    let bed = Testbed::start();
    let echo = bed.echo(&echo_addr());
    bed.add_guest("pmd", &[]);
    let before = bed.stats().pool;
    let claims = bed.claims();
    let others = Pings::start(&bed.client, HOST_V4);
    for nth in 1..=3 {
        let testpmd = Testpmd::echo(&bed, "pmd", "");
        bed.await_guest("pmd", nth);
        ping_guest(&bed, 20, 1472);
        let pings = Pings::start(&bed.client, GUEST_V4);
        eventually("pings are under way", || {
            bed.vport("pmd").rx_packets >= 25 * nth
        });
        testpmd.kill();
        bed.await_no_guest("pmd");
        // It is missed, and by none but those who ask for it.
        bed.await_missed("pmd", 20 * nth);
        assert!(!pings.lost().is_empty());
        assert_eq!(bed.claims(), claims);
        assert!(echoes(&bed.client, &echo_addr()));
        bed.expect_buffers_back(before);
    }
    others.end();
    echo.terminate();
    bed.finish();
}

#[test]
fn with_every_kind_of_ring() {
    let bed = Testbed::start();
    bed.add_guest("pmd", &[]);
    let kinds: [(&str, &[u32], &[u32]); 5] = [
        ("", &[MRG_RXBUF, INDIRECT, IN_ORDER], &[RING_PACKED]),
        (",in_order=0", &[MRG_RXBUF], &[IN_ORDER, RING_PACKED]),
        (
            ",mrg_rxbuf=0,in_order=0",
            &[],
            &[MRG_RXBUF, IN_ORDER, RING_PACKED],
        ),
        (",packed_vq=1", &[RING_PACKED, MRG_RXBUF, IN_ORDER], &[]),
        (
            ",packed_vq=1,mrg_rxbuf=0,in_order=0,queue_size=64",
            &[RING_PACKED],
            &[MRG_RXBUF, IN_ORDER],
        ),
    ];
    for (nth, (device, on, off)) in (1..).zip(kinds) {
        let testpmd = Testpmd::echo(&bed, "pmd", device);
        let features = bed.await_guest("pmd", nth);
        assert!(
            on.iter().all(|bit| has(features, *bit)),
            "{device}: {features:x}"
        );
        assert!(
            !off.iter().any(|bit| has(features, *bit)),
            "{device}: {features:x}"
        );
        // Several times round the rings.
        ping_guest(&bed, 300, 56);
        ping_guest(&bed, 20, 1472);
        assert!(testpmd.end().received >= 320, "{device}");
        bed.await_no_guest("pmd");
    }
    bed.finish();
}

#[test]
fn testpmd_listens_and_both_sides_restart() {
    let mut bed = Testbed::start();
    bed.add_guest("pmd", &["--client"]);
    let testpmd = Testpmd::echo(&bed, "pmd", ",server=1");
    bed.await_guest("pmd", 1);
    ping_guest(&bed, 20, 1472);
    testpmd.kill();
    bed.await_no_guest("pmd");
    // It has left its socket, and would not have it again.
    let path = bed.guest_socket("pmd");
    fs::remove_file(&path).expect("a socket");
    let testpmd = Testpmd::echo(&bed, "pmd", ",server=1");
    bed.await_guest("pmd", 2);
    ping_guest(&bed, 20, 1472);

    bed.take_switch().kill();
    let option = format!(
        "name=pmd,path={},client,claim=addr:{GUEST_V4}",
        path.display()
    );
    bed.start_switch(&["--vhost", &option]);
    bed.await_guest("pmd", 1);
    ping_guest(&bed, 20, 1472);
    bed.take_switch().terminate();
    assert!(path.exists(), "the socket is testpmd's");
    bed.start_switch(&["--vhost", &option]);
    bed.await_guest("pmd", 1);
    ping_guest(&bed, 20, 1472);
    testpmd.end();
    bed.finish();
}

#[test]
fn typed_at_the_start_or_written_in_a_file() {
    let mut bed = Testbed::without_switch();
    let (typed, written) = (bed.guest_socket("typed"), bed.guest_socket("written"));
    let option = format!("name=typed,path={},claim=addr:10.77.0.8", typed.display());
    let config = bed.dir.join("config.toml");
    let claims = format!("claims = [\"addr:{GUEST_V4}\", \"udp:{HOST_V4}:5000\"]");
    let section = format!("[[vhost]]\nname = \"written\"\npath = {written:?}\n{claims}\n");
    fs::write(&config, section).unwrap();
    let config = config.to_str().unwrap().to_owned();
    bed.start_switch(&["--vhost", &option, "--config", &config]);
    for path in [&typed, &written] {
        assert!(fs::metadata(path).unwrap().file_type().is_socket());
    }
    let claimed = |name: &str| {
        let claims = bed.claims();
        claims.iter().filter(|claim| claim.stack == name).count()
    };
    assert_eq!((claimed("typed"), claimed("written")), (1, 2));
    let mut testpmd = Testpmd::echo(&bed, "written", "");
    bed.await_guest("written", 1);
    ping_guest(&bed, 20, 56);
    assert!(bed.guest("typed").features == 0 && !bed.guest("typed").connected);
    // The switch's end is no harm to testpmd, and the sockets go.
    bed.take_switch().terminate();
    assert!(!typed.exists() && !written.exists());
    // A start that can't have a claim says so, and leaves nothing.
    let taken = option
        .replace("typed,", "again,")
        .replace("10.77.0.8", GUEST_V4);
    let app = ["--vhost", &taken, "--config", &config];
    let mut command = bed.switch_command(&bed.eal_args(), &app);
    let ended = crate::process::Process::spawn("multistack", &mut command).wait();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let why = format!("vhost port again: all of {GUEST_V4} is in use by vhost port written");
    assert!(ended.stderr.contains(&why), "{ended:?}");
    assert!(!typed.exists() && !written.exists());
    assert_eq!(bed.left_behind(), [""; 0]);
    assert!(testpmd.is_running());
}

#[test]
fn removed_or_refused_nothing_is_left() {
    let mut bed = Testbed::start_with(&["--socket-mode", "0666"]);
    let before = bed.stats().pool;
    let slot = bed.add_guest("pmd", &[]);
    let path = bed.guest_socket("pmd");
    let (path, other) = (path.to_str().unwrap(), bed.guest_socket("other"));
    let other = other.to_str().unwrap();
    // Neither the same name nor the same place nor the same address twice.
    let why = bed.refuses_port(&["add", "pmd", "--vhost", other]);
    assert!(why.contains("there is a vhost port pmd already"), "{why}");
    let why = bed.refuses_port(&["add", "other", "--vhost", path]);
    assert!(why.contains(path) && why.contains("listens there"), "{why}");
    let theirs = format!("addr:{GUEST_V4}");
    let add = ["add", "other", "--vhost", other, "--claim"];
    let why = bed.refuses_port(&[&add[..], &[&theirs]].concat());
    assert!(why.contains("vhost port pmd"), "{why}");
    // What the host's kernel listens at is the host's, and all that was claimed before goes again.
    let listener = bed
        .host
        .enter(|| std::net::UdpSocket::bind((HOST_V4, 5000)));
    let (free, used) = ("addr:10.77.0.8", format!("udp:{HOST_V4}:5000"));
    let why = bed.refuses_port(&[&add[..], &[free, "--claim", &used]].concat());
    assert!(why.contains("Address already in use"), "{why}");
    drop(listener);
    // Not root.
    let client = connect(&bed, NOBODY, NOBODY).unwrap();
    let spec = PortSpec {
        name: "other".to_owned(),
        path: other.into(),
        client: false,
        nic: 0,
        rx: None,
        tx: None,
        claims: Vec::new(),
    };
    let add_port = Request::AddPort(Box::new(spec));
    refused(client.call(&add_port, &[]), Errno::PERM);
    refused(
        client.call(&Request::RemovePort { vport: slot }, &[]),
        Errno::PERM,
    );
    drop(client);
    assert_eq!(bed.stacks().len(), 1);
    assert_eq!(bed.claims().len(), 2);
    assert!(!fs::exists(other).unwrap());

    let testpmd = Testpmd::echo(&bed, "pmd", "");
    // The first was the switch itself, which looked whether someone listens there.
    bed.await_guest("pmd", 2);
    let pings = Pings::start(&bed.client, GUEST_V4);
    eventually("pings are under way", || bed.vport("pmd").rx_packets > 20);
    let output = bed.msctl_port(&["remove", "pmd"]);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    assert!(!fs::exists(path).unwrap());
    thread::sleep(Duration::from_millis(300));
    assert!(!pings.lost().is_empty());
    bed.expect_no_stacks();
    bed.expect_buffers_back(before);
    let why = bed.refuses_port(&["remove", "pmd"]);
    assert!(why.contains("no stack is called pmd"), "{why}");
    // Asked to end it would die of SIGPIPE: it writes where no one is any more.
    testpmd.kill();
    // And then name, place and addresses are free.
    bed.add_guest("pmd", &[]);
    let mut testpmd = Testpmd::echo(&bed, "pmd", "");
    bed.await_guest("pmd", 1);
    ping_guest(&bed, 20, 56);
    bed.take_switch().terminate();
    assert!(!fs::exists(path).unwrap());
    assert_eq!(bed.left_behind(), [""; 0]);
    assert!(testpmd.is_running());
}

/// testpmd sends whatever it can, in this name, for a while: what the switch says of it.
#[track_caller]
fn flood(bed: &Testbed, mac: &str, src: &str, nth: u64) -> VportStats {
    let device = format!("mac={mac}");
    let peer = format!("--eth-peer=0,{}", bed.client.mac("msx1"));
    let ends = format!("--tx-ip={src},{CLIENT_V4}");
    let args = ["--forward-mode=txonly", "--tx-udp=7,4321", &peer, &ends];
    let before = bed.vport("pmd");
    let testpmd = Testpmd::start(bed, "pmd", &device, &args);
    bed.await_guest("pmd", nth);
    eventually("testpmd sends", || {
        bed.vport("pmd").tx_packets > before.tx_packets + 1000
    });
    testpmd.end();
    bed.await_no_guest("pmd");
    let mut now = bed.vport("pmd");
    for (reason, count) in &mut now.tx_dropped {
        *count -= before.tx_dropped.get(reason).unwrap_or(&0);
    }
    now.tx_dropped.retain(|_, count| *count > 0);
    now.tx_packets -= before.tx_packets;
    now.tx_wire -= before.tx_wire;
    now
}

#[test]
fn testpmd_sends_in_no_name_but_its_own() {
    let bed = Testbed::start();
    let echo = bed.echo(&echo_addr());
    // So many that they can be told from all others, and the client's kernel has time for them.
    bed.add_guest("pmd", &["--tx-limit", "20kpps"]);
    let own = bed.port().mac;
    let forged = [
        ("10.77.0.77", &*own, "tx-not-claimed"),
        (HOST_V4, &own, "tx-foreign"),
        (GUEST_V4, "02:00:00:00:00:99", "tx-source-mac"),
        ("0.0.0.0", &own, "tx-unspecified-source"),
    ];
    let sniffer = Sniffer::all(&bed.client);
    for (nth, (src, mac, reason)) in (1..).zip(forged) {
        let flood = flood(&bed, mac, src, nth);
        let refused: Vec<_> = flood.tx_dropped.iter().collect();
        assert_eq!(refused, [(&reason.to_owned(), &flood.tx_packets)], "{src}");
    }
    assert!(echoes(&bed.client, &echo_addr()));
    // To port 4321 of the client.
    let forged = |frames: &[Vec<u8>]| {
        let is = |frame: &&Vec<u8>| frame.get(36..38) == Some(&4321u16.to_be_bytes());
        frames.iter().filter(is).count()
    };
    assert_eq!(forged(&sniffer.frames()), 0);
    let flood = flood(&bed, &own, GUEST_V4, 5);
    assert!(flood.tx_dropped.is_empty(), "{flood:?}");
    assert!(flood.tx_wire >= 1000, "{flood:?}");
    assert!(forged(&sniffer.frames()) > 100);
    echo.terminate();
    bed.finish();
}
