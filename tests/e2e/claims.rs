//! Who may claim what, and until when.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use port_api::protocol::{Reply, Request, Wanted};
use port_api::{ClaimSpec, Client, Error, Protocol, bind};

use crate::net_tools::{Flood, echoes};
use crate::netns::Netns;
use crate::process::{Ended, Process, eventually};
use crate::testbed::{CLIENT_V4, HOST_V4, HOST_V6, Testbed};

/// Whether the kernel can give `addr` to a socket of its own.
fn kernel_can_bind(host: &Netns, protocol: &str, addr: &str) -> bool {
    match protocol {
        "tcp" => host.enter(|| TcpListener::bind(addr)).is_ok(),
        _ => host.enter(|| UdpSocket::bind(addr)).is_ok(),
    }
}

/// A probe that holds a claim, and the claimed address.
#[track_caller]
fn claim(bed: &Testbed, name: &str, protocol: &str, addr: &str) -> (Process, String) {
    let mut probe = bed.probe(name, &["claim", protocol, addr]);
    let line = probe.expect("claimed");
    let local = line.split(' ').nth(2).expect("an address").to_owned();
    (probe, local)
}

/// A probe that must not get the claim.
#[track_caller]
fn refused(bed: &Testbed, netns: &Netns, protocol: &str, addr: &str) -> String {
    let mut command = bed.probe_command(netns, "unlucky", &["claim", protocol, addr]);
    let Ended { status, stderr, .. } = Process::spawn("unlucky", &mut command).wait();
    assert_eq!(status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr
}

#[test]
fn what_the_kernel_holds_is_refused_and_the_holder_named() {
    let bed = Testbed::start();
    let me = format!("(pid {})", std::process::id());
    for addr in [format!("{HOST_V4}:5000"), format!("[{HOST_V6}]:5000")] {
        let tcp = bed.host.enter(|| TcpListener::bind(&addr)).unwrap();
        let udp = bed.host.enter(|| UdpSocket::bind(&addr)).unwrap();
        for protocol in ["tcp", "udp"] {
            let why = refused(&bed, &bed.host, protocol, &addr);
            assert!(
                why.contains(&me) && why.contains("Address already in use"),
                "{why}"
            );
        }
        drop((tcp, udp));
    }
    let any = bed
        .host
        .enter(|| TcpListener::bind("0.0.0.0:5000"))
        .unwrap();
    let why = refused(&bed, &bed.host, "tcp", &format!("{HOST_V4}:5000"));
    assert!(why.contains(&me), "{why}");
    drop(any);
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn what_another_stack_holds_is_refused_and_the_holder_named() {
    let bed = Testbed::start();
    for protocol in ["tcp", "udp"] {
        for addr in [format!("{HOST_V4}:5000"), format!("[{HOST_V6}]:5000")] {
            let (first, _) = claim(&bed, "first", protocol, &addr);
            let why = refused(&bed, &bed.host, protocol, &addr);
            assert!(why.contains("first"), "{why}");
            assert!(why.contains(&first.pid().to_string()), "{why}");
            assert!(why.contains("Address already in use"), "{why}");
            first.kill();
            bed.expect_no_stacks();
        }
    }
    bed.finish();
}

#[test]
fn a_claim_is_for_one_tuple_only() {
    let bed = Testbed::start();
    let addr = format!("{HOST_V4}:5000");
    let (held, _) = claim(&bed, "held", "udp", &addr);
    let (other_protocol, _) = claim(&bed, "tcp", "tcp", &addr);
    let (other_family, _) = claim(&bed, "v6", "udp", &format!("[{HOST_V6}]:5000"));
    let (other_port, _) = claim(&bed, "port", "udp", &format!("{HOST_V4}:5001"));
    let claims = bed.claims();
    let mut rows: Vec<_> = claims
        .iter()
        .map(|claim| format!("{} {} {}", claim.stack, claim.pid, claim.spec))
        .collect();
    rows.sort();
    let row = |name: &str, stack: &Process, what: &str| format!("{name} {} {what}", stack.pid());
    assert_eq!(
        rows,
        [
            row("held", &held, "udp 10.77.0.1:5000"),
            row("port", &other_port, "udp 10.77.0.1:5001"),
            row("tcp", &other_protocol, "tcp 10.77.0.1:5000"),
            row("v6", &other_family, "udp [fd77::1]:5000"),
        ]
    );
    bed.finish();
}

#[test]
fn port_0_gets_a_port_that_the_kernel_then_keeps() {
    let bed = Testbed::start();
    for protocol in ["tcp", "udp"] {
        for ip in [HOST_V4.to_owned(), format!("[{HOST_V6}]")] {
            let (probe, local) = claim(&bed, "any", protocol, &format!("{ip}:0"));
            let addr: SocketAddr = local.parse().unwrap();
            assert_ne!(addr.port(), 0);
            assert!(!kernel_can_bind(&bed.host, protocol, &local), "{local}");
            probe.kill();
            bed.expect_no_stacks();
            assert!(kernel_can_bind(&bed.host, protocol, &local), "{local}");
        }
    }
    bed.finish();
}

#[test]
fn a_claim_ends_with_release() {
    let bed = Testbed::start();
    let addr = format!("{HOST_V4}:5000");
    let (mut probe, _) = claim(&bed, "releaser", "tcp", &addr);
    // The kernel keeps out of it: no listener, and no reset either.
    assert!(!kernel_can_bind(&bed.host, "tcp", &addr));
    probe.tell("release");
    probe.expect("released");
    assert_eq!(bed.claims(), []);
    assert_eq!(bed.stacks().len(), 1, "it is still attached");
    assert!(kernel_can_bind(&bed.host, "tcp", &addr));
    let refused = bed.client.enter(|| TcpStream::connect(&addr)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    probe.kill();
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn a_claim_ends_with_detach_and_with_the_process() {
    let bed = Testbed::start();
    let addr = format!("{HOST_V4}:5000");
    let (mut probe, _) = claim(&bed, "leaver", "udp", &addr);
    let flood = Flood::start(&bed.client, &addr);
    eventually("packets reach it", || bed.vport("leaver").rx_packets > 100);
    probe.tell("detach");
    probe.expect("detached");
    bed.expect_no_stacks();
    assert!(probe.is_running());
    probe.kill();
    let (probe, _) = claim(&bed, "victim", "udp", &addr);
    eventually("packets reach it", || bed.vport("victim").rx_packets > 100);
    probe.kill();
    bed.expect_no_stacks();
    // And the next one has it at once.
    drop(flood);
    let _echo = bed.echo(&addr);
    assert!(echoes(&bed.client, &addr));
    bed.finish();
}

#[test]
fn the_kernels_own_rules_hold() {
    let bed = Testbed::start();
    // Without the capability, ports below 1024 are not for anyone.
    let mut command = bed.host.command("setpriv");
    command.args(["--bounding-set", "-net_bind_service", "--"]);
    command.arg(crate::testbed::program("stack-probe"));
    command.arg("--socket").arg(&bed.socket);
    command.args(["claim", "tcp", &format!("{HOST_V4}:443")]);
    let ended = Process::spawn("unprivileged", &mut command).wait();
    assert!(ended.stderr.contains("Permission denied"), "{ended:?}");
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn addresses_that_no_packet_goes_to_are_refused() {
    let bed = Testbed::start();
    for addr in ["127.0.0.1:5000", "[::1]:5000", "[::ffff:10.77.0.1]:5000"] {
        for protocol in ["tcp", "udp"] {
            let why = refused(&bed, &bed.host, protocol, addr);
            assert!(why.contains("Invalid argument"), "{why}");
        }
    }
    bed.finish();
}

#[test]
fn a_socket_of_another_namespace_is_refused() {
    let bed = Testbed::start();
    let why = refused(&bed, &bed.client, "udp", &format!("{CLIENT_V4}:5000"));
    assert!(why.contains("namespace"), "{why}");
    bed.expect_no_stacks();
    bed.finish();
}

/// Attaches by hand, without EAL, to pass sockets that port-api would not.
fn attach(bed: &Testbed) -> Client {
    let client = Client::connect(&bed.socket, "e2e").unwrap();
    let attach = Request::Attach {
        name: "by-hand".to_owned(),
    };
    let reply = client.call(&attach, &[]).unwrap();
    assert!(matches!(reply, Reply::Attached(_)), "{reply:?}");
    client
}

#[test]
fn sockets_that_could_serve_two_masters_are_refused() {
    let bed = Testbed::start();
    let client = attach(&bed);
    let addr: SocketAddr = format!("{HOST_V4}:5000").parse().unwrap();
    let claim = |protocol, fd: Option<BorrowedFd<'_>>| {
        let wanted = Wanted {
            spec: ClaimSpec::tuple(protocol, addr),
            socket: fd.is_some(),
        };
        let claims = vec![wanted];
        match client.call(&Request::Claim { claims }, fd.as_slice()) {
            Err(Error::Refused { errno, .. }) => errno,
            other => panic!("not refused: {other:?}"),
        }
    };
    let einval = rustix::io::Errno::INVAL.raw_os_error();
    let listener = bed.host.enter(|| TcpListener::bind(addr)).unwrap();
    assert_eq!(
        claim(Protocol::Tcp, Some(listener.as_fd())),
        einval,
        "it listens"
    );
    drop(listener);
    let udp = bed.host.enter(|| UdpSocket::bind(addr)).unwrap();
    assert_eq!(
        claim(Protocol::Tcp, Some(udp.as_fd())),
        einval,
        "it is no TCP socket"
    );
    udp.connect((CLIENT_V4, 5000)).unwrap();
    assert_eq!(
        claim(Protocol::Udp, Some(udp.as_fd())),
        einval,
        "it is connected"
    );
    drop(udp);
    let shared = bed.host.enter(|| bind(Protocol::Udp, addr)).unwrap();
    rustix::net::sockopt::set_socket_reuseport(&shared, true).unwrap();
    assert_eq!(
        claim(Protocol::Udp, Some(shared.as_fd())),
        einval,
        "it shares its port"
    );
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(
        claim(Protocol::Udp, Some(file.as_fd())),
        einval,
        "it is no socket"
    );
    let in_use = rustix::io::Errno::ADDRINUSE.raw_os_error();
    assert_eq!(
        claim(Protocol::Udp, None),
        in_use,
        "there is none, and the kernel has the port"
    );
    drop(shared);
    let ebadf = rustix::io::Errno::BADF.raw_os_error();
    assert_eq!(claim(Protocol::Udp, None), ebadf, "there is none");
    assert_eq!(bed.claims(), []);
    drop(client);
    bed.finish();
}

#[test]
fn only_its_owner_releases_a_claim() {
    let bed = Testbed::start();
    let (_owner, _) = claim(&bed, "owner", "udp", &format!("{HOST_V4}:5000"));
    let id = bed.claims()[0].id;
    let client = attach(&bed);
    let result = client.call(&Request::Release { claim: id }, &[]);
    assert!(matches!(result, Err(Error::Refused { .. })), "{result:?}");
    assert_eq!(bed.claims().len(), 1);
    drop(client);
    bed.finish();
}
