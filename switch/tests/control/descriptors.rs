//! File descriptors that clients pass, of whatever kind.

use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use port_api::protocol::{MAX_BATCH, Reply, Request, Wanted};
use port_api::{ClaimSpec, Connection, Protocol};
use switch::control::Bounds;

use crate::lab::{CLAIMS, Lab};
use crate::refusal;

fn claim(protocol: Protocol, count: u16) -> Request {
    let wanted = |_| Wanted {
        spec: ClaimSpec::tuple(protocol, ([0, 0, 0, 0], 0).into()),
        socket: true,
    };
    Request::Claim {
        claims: (0..count).map(wanted).collect(),
    }
}

fn ask(lab: &mut Lab, conn: &Connection, request: &Request, fds: &[OwnedFd]) -> Reply {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    conn.send(request, &fds).unwrap();
    lab.answer(conn)
}

fn pipe() -> OwnedFd {
    std::io::pipe().unwrap().0.into()
}

fn udp() -> OwnedFd {
    UdpSocket::bind("0.0.0.0:0").unwrap().into()
}

#[test]
fn what_is_no_ip_socket_is_refused() {
    let mut lab = Lab::new("", Bounds::default());
    let (stack, ..) = lab.stack();
    let (unix, far) = UnixStream::pair().unwrap();
    drop(far);
    for fd in [
        pipe(),
        File::open("/").unwrap().into(),
        File::open("/dev/null").unwrap().into(),
        unix.into(),
    ] {
        let (errno, message) = refusal(ask(&mut lab, &stack, &claim(Protocol::Udp, 1), &[fd]));
        assert_eq!(errno, libc::EINVAL);
        assert!(message.contains("no IP sockets"), "{message}");
    }
    // And where none is wanted.
    let pipes: Vec<_> = (0..200).map(|_| pipe()).collect();
    let (errno, _) = refusal(ask(&mut lab, &stack, &Request::Ports, &pipes));
    assert_eq!(errno, libc::EINVAL);
    let reply = ask(&mut lab, &stack, &Request::Ports, &[udp()]);
    assert!(
        matches!(reply, Reply::Ports { .. }),
        "an IP socket is let go of"
    );
}

#[test]
fn sockets_of_the_wrong_kind_are_refused() {
    let mut lab = Lab::new("", Bounds::default());
    let (stack, ..) = lab.stack();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    for (protocol, fd) in [
        (Protocol::Udp, listener.try_clone().unwrap().into()),
        (Protocol::Tcp, listener.try_clone().unwrap().into()),
        (Protocol::Tcp, connected.into()),
        (Protocol::Tcp, udp()),
        (Protocol::Sctp, udp()),
    ] {
        let reply = ask(&mut lab, &stack, &claim(protocol, 1), &[fd]);
        assert_eq!(refusal(reply).0, libc::EINVAL, "{protocol}");
    }
    for (claims, sockets, errno) in [
        (2, 1, libc::EMFILE),
        (1, 2, libc::EINVAL),
        (1, 0, libc::EMFILE),
    ] {
        let sockets: Vec<_> = (0..sockets).map(|_| udp()).collect();
        let reply = ask(&mut lab, &stack, &claim(Protocol::Udp, claims), &sockets);
        assert_eq!(refusal(reply).0, errno, "{claims} for {sockets:?}");
    }
}

#[test]
fn a_refused_batch_lets_go_of_all_its_sockets() {
    let mut lab = Lab::new("", Bounds::default());
    let (stack, ..) = lab.stack();
    // More than there is room for.
    let sockets: Vec<_> = (0..MAX_BATCH).map(|_| udp()).collect();
    let addrs: Vec<_> = sockets
        .iter()
        .map(|fd| rustix::net::getsockname(fd).unwrap())
        .collect();
    let count = u16::try_from(MAX_BATCH).unwrap();
    assert!(count > u16::try_from(CLAIMS).unwrap());
    let reply = ask(&mut lab, &stack, &claim(Protocol::Udp, count), &sockets);
    assert_eq!(refusal(reply).0, libc::ENOSPC);
    drop(sockets);
    for addr in addrs {
        let addr = std::net::SocketAddr::try_from(addr).unwrap();
        // The port is free again.
        port_api::bind(Protocol::Udp, addr).unwrap();
    }
}
