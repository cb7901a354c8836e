//! What runs out, or is taken away, while the switch runs: a clear line or a counter, no harm to others,
//! and service again when it is back.

use std::fs;
use std::net::UdpSocket;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use port_api::Client;
use rustix::process::Signal;

use crate::control::dial;
use crate::net_tools::{Flood, Questions, echoes, ping, udp};
use crate::process::{Process, eventually, within};
use crate::raw::Probe;
use crate::testbed::{CLIENT_V4, HOST_V4, HOST_V6, Testbed};

/// How often a program has said `text`.
fn said(process: &Process, text: &str) -> usize {
    process.stderr().matches(text).count()
}

fn open_files(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/fd"))
}

/// CPU time that a process's first thread has used, in clock ticks of 10 ms.
fn ticks_of_first_thread(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{pid}/stat")).unwrap();
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<u64> = fields
        .split(' ')
        .skip(11)
        .take(2)
        .map(|n| n.parse().unwrap())
        .collect();
    fields[0] + fields[1]
}

#[test]
fn too_few_file_descriptors_to_start() {
    let bed = Testbed::without_switch();
    let app = ["--socket", bed.socket.to_str().unwrap()];
    let few = ["prlimit", "--nofile=40:40"];
    let mut command = bed.switch_command_under(&few, &bed.eal_args(), &app);
    let ended = Process::spawn("multistack", &mut command).wait();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("open files"), "{ended:?}");
    assert_eq!(bed.left_behind(), [""; 0]);
}

#[test]
fn no_file_descriptors_left() {
    let mut bed = Testbed::start();
    let used = fs::read_dir(open_files(bed.switch().pid()))
        .unwrap()
        .count();
    bed.take_switch().terminate();
    let limit = format!("--nofile={0}:{0}", used + 10);
    bed.start_switch_under(&["prlimit", &limit], &[]);
    let addr = format!("{HOST_V4}:7");
    let echo = bed.echo(&addr);
    let mut probe = Probe::start(&bed, "probe", &[]);
    let clients: Vec<_> = (0..10).map(|_| dial(&bed.socket)).collect();
    bed.switch().expect("no client can be let in");
    // There may be one left, of a client that needs two.
    let mut claims = (8..10).map(|port| probe.ask(&format!("claim udp:{HOST_V4}:{port}")));
    let refusal = claims.find(|answer| answer.starts_with("error"));
    assert!(
        refusal
            .as_ref()
            .is_some_and(|why| why.contains("open files")),
        "{refusal:?}"
    );
    // Those who wait keep nothing busy, and fill no log.
    let pid = bed.switch().pid();
    let before = ticks_of_first_thread(pid);
    thread::sleep(Duration::from_millis(500));
    let used = ticks_of_first_thread(pid) - before;
    assert!(used < 10, "{used} ticks of 50");
    assert_eq!(said(bed.switch(), "no client can be let in"), 1);
    assert!(echoes(&bed.client, &addr));
    drop(clients);
    eventually("a claim is possible again", || {
        probe
            .ask(&format!("claim udp:{HOST_V4}:10"))
            .starts_with("ok")
    });
    drop(probe);
    echo.terminate();
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn a_full_disk_under_the_logs() {
    let bed = Testbed::without_switch();
    let full = ["sh", "-c", "exec \"$@\" >/dev/full 2>&1", "sh"];
    let (v4, socket) = (format!("{HOST_V4}/24"), bed.socket.to_str().unwrap());
    let app = ["--socket", socket, "--host-addr", &v4];
    let mut command = bed.switch_command_under(&full, &bed.eal_args(), &app);
    let mut switch = Process::spawn("multistack", &mut command);
    eventually("it serves", || {
        assert!(switch.is_running());
        Client::connect(&bed.socket, "e2e").is_ok()
    });
    let addr = format!("{HOST_V4}:7");
    for _ in 0..3 {
        let echo = bed.echo(&addr);
        assert!(echoes(&bed.client, &addr));
        echo.kill();
        bed.expect_no_stacks();
    }
    let mut http = bed.host.command("env");
    let root = bed.dir.to_str().unwrap();
    http.args(full).arg(crate::testbed::program("stack-http"));
    http.args([
        "--socket",
        socket,
        "--addr",
        &format!("{HOST_V4}:80"),
        "--root",
        root,
    ]);
    let mut http = Process::spawn("stack-http", &mut http);
    eventually("http serves", || bed.claims().len() == 1);
    assert!(http.is_running());
    http.terminate();
    let ended = switch.terminate();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert_eq!(bed.left_behind(), [""; 0]);
}

#[test]
fn all_claims_are_taken() {
    let bed = Testbed::start_with(&["--max-claims", "4"]);
    let addr = format!("{HOST_V4}:7");
    let _echo = bed.echo(&addr);
    let mut probe = Probe::start(&bed, "probe", &[]);
    let mut claim = |port: u16| probe.ask(&format!("claim udp:{HOST_V4}:{port}"));
    let ids: Vec<_> = (8..11).map(&mut claim).collect();
    assert!(ids.iter().all(|answer| answer.starts_with("ok")), "{ids:?}");
    let refusal = claim(11);
    assert!(
        refusal.contains("all 4 claims are taken: see --max-claims"),
        "{refusal}"
    );
    assert!(echoes(&bed.client, &addr));
    let id = ids[0].split([' ', ':']).nth(2).unwrap();
    assert!(probe.ask(&format!("release {id}")).starts_with("ok"));
    assert!(
        probe
            .ask(&format!("claim udp:{HOST_V4}:11"))
            .starts_with("ok")
    );
    drop(probe);
    bed.finish();
}

#[test]
fn all_quotas_are_used_up_at_once() {
    let bed = Testbed::start_with(&["--max-vports", "3", "--quota", "256", "--fill", "64"]);
    let addr = format!("{HOST_V4}:7");
    let echo = bed.echo(&addr);
    let baseline = bed.stats().pool;
    let ports = ["8", "9"];
    let hoards = ports.map(|port| {
        let mut hoard = bed.probe(port, &["hoard", "udp", &format!("{HOST_V4}:{port}")]);
        hoard.expect("receiving");
        hoard
    });
    let floods = ports.map(|port| Flood::start(&bed.client, &format!("{HOST_V4}:{port}")));
    for name in ports {
        eventually("it has all that it may", || {
            let vport = bed.vport(name);
            vport.held == 256
                && vport
                    .rx_dropped
                    .get("quota")
                    .is_some_and(|count| *count > 100)
        });
    }
    let questions = Questions::start(&bed.client, &addr);
    ping(&bed.client, HOST_V4, 50, 1400);
    ping(&bed.client, HOST_V6, 50, 1400);
    questions.end();
    drop(floods);
    hoards.into_iter().for_each(Process::kill);
    bed.expect_buffers_back(baseline);
    echo.terminate();
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn the_link_goes_down_and_comes_up() {
    let bed = Testbed::start();
    let addr = format!("{HOST_V4}:7");
    let echo = bed.echo(&addr);
    assert!(bed.port().link_up);
    // At the far end, and at this one.
    for (times, far) in [(1, true), (2, false)] {
        let set = |state: &str| {
            if far {
                bed.client.ip(&format!("link set msx1 {state}"));
            } else {
                bed.host.ip(&format!("link set msx0 {state}"));
            }
        };
        set("down");
        eventually("msctl ports shows it", || !bed.port().link_up);
        // The switch looks now and then; a shorter time would escape it.
        let is_logged = |state: &str| bed.log().matches(state).count() == times;
        eventually("it is logged", || {
            is_logged("net_af_xdp0: the link is down")
        });
        assert!(!answers(&bed, HOST_V4));
        set("up");
        eventually("msctl ports shows it", || bed.port().link_up);
        eventually("that is logged", || {
            is_logged("net_af_xdp0: the link is up")
        });
        eventually("traffic flows again", || echoes(&bed.client, &addr));
        ping(&bed.client, HOST_V4, 5, 56);
    }
    echo.terminate();
    bed.expect_no_stacks();
    bed.finish();
}

/// Whether the host answers a ping.
fn answers(bed: &Testbed, addr: &str) -> bool {
    let mut ping = bed.client.command("ping");
    ping.args(["-q", "-c", "1", "-W", "1", addr]);
    ping.output().unwrap().status.success()
}

/// The host's side works, both ways.
#[track_caller]
fn expect_host(bed: &Testbed) {
    for addr in [HOST_V4, HOST_V6] {
        eventually("the host is there", || answers(bed, addr));
    }
    let stdout = bed
        .host
        .run("ping", &["-q", "-c", "3", "-i", "0.1", CLIENT_V4]);
    assert!(stdout.contains(" 0% packet loss"), "{stdout}");
}

#[test]
fn the_hosts_netdev_is_deleted() {
    let mut bed = Testbed::start();
    let addr = format!("{HOST_V4}:7");
    let echo = bed.echo(&addr);
    let questions = Questions::start(&bed.client, &addr);
    let flood = Flood::start(&bed.client, &format!("{HOST_V4}:9"));
    bed.host.ip("link del msh0");
    let deleted = Instant::now();
    bed.switch().expect("the netdev msh0 is gone");
    let is_there = || bed.host.ip("-br addr").contains(HOST_V4);
    assert!(within(Duration::from_secs(2), is_there));
    let away = deleted.elapsed();
    assert!(away < Duration::from_secs(1), "it was away for {away:?}");
    drop(flood);
    let refused = bed.stats().ports[0].host_refused;
    assert!(refused > 100, "{refused} packets");
    expect_host(&bed);
    // The port's addresses are found on the new one, and can be claimed there.
    assert!(
        bed.port()
            .addresses
            .iter()
            .any(|addr| addr.contains(HOST_V6))
    );
    let more = bed.echo(&format!("[{HOST_V6}]:7"));
    assert!(echoes(&bed.client, &format!("[{HOST_V6}]:7")));
    questions.end();
    let switch = bed.switch();
    assert_eq!(said(switch, "is gone"), 1);
    assert_eq!(said(switch, "msh0 is there again"), 1);
    echo.terminate();
    more.terminate();
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn the_deleted_netdevs_name_is_taken_for_a_while() {
    let mut bed = Testbed::start();
    bed.host.ip("link del msh0");
    bed.host.ip("link add msh0 type veth peer name other0");
    bed.switch().expect("msh0 is gone");
    bed.switch().expect("a netdev msh0 exists already");
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(
        said(bed.switch(), "a netdev msh0 exists already"),
        1,
        "said once"
    );
    bed.host.ip("link del msh0");
    bed.switch().expect("msh0 is there again");
    expect_host(&bed);
    bed.finish();
}

#[test]
fn the_ports_netdev_is_deleted() {
    let mut bed = Testbed::start();
    let addr = format!("{HOST_V4}:7");
    let echo = bed.echo(&addr);
    let flood = Flood::start(&bed.client, &addr);
    bed.host.ip("link del msx0");
    bed.switch()
        .expect("port 0 net_af_xdp0: its netdev is gone");
    drop(flood);
    assert!(!bed.port().link_up);
    // The kernel still sends there, and stacks attach and claim.
    let socket: UdpSocket = udp(&bed.host, &format!("{CLIENT_V4}:9"));
    for _ in 0..2000 {
        let _ = socket.send(b"to nowhere");
    }
    let more = bed.echo(&format!("{HOST_V4}:8"));
    thread::sleep(Duration::from_millis(700));
    assert_eq!(said(bed.switch(), "net_af_xdp0: "), 1, "said once");
    echo.terminate();
    more.terminate();
    bed.expect_no_stacks();
    bed.finish();
}

/// The kernel has no ring to put them into; the driver says nothing of it.
#[test]
fn what_comes_too_fast_is_counted_as_missed() {
    const SENT: u64 = 8000;
    let mut bed = Testbed::start();
    ping(&bed.client, HOST_V4, 2, 56);
    let socket = udp(&bed.client, &format!("{HOST_V4}:9"));
    let before = bed.stats().ports[0].rx_packets;
    assert_eq!(bed.stats().ports[0].nic_missed, 0);
    bed.switch().signal(Signal::STOP);
    for _ in 0..SENT {
        socket.send(b"too fast").expect("sent");
    }
    bed.switch().signal(Signal::CONT);
    let counted = || {
        let port = &bed.stats().ports[0];
        (port.rx_packets - before, port.nic_missed)
    };
    eventually("all of them are counted", || {
        let (received, missed) = counted();
        received + missed >= SENT
    });
    let (received, missed) = counted();
    // And the client's questions for neighbours.
    assert!(
        missed > 0 && received + missed < SENT + 20,
        "{received}, {missed}"
    );
    bed.finish();
}
