//! Messages and file descriptors over a pair of sockets.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use port_api::protocol::{MAX_BATCH, Reply, Request, Wanted};
use port_api::{ClaimSpec, Connection, Error, MAX_FDS, MAX_MESSAGE, Protocol};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

fn pair() -> (Connection, Connection) {
    let flags = SocketFlags::CLOEXEC;
    let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    (Connection::new(a), Connection::new(b))
}

#[test]
fn a_message_arrives_with_its_descriptor() {
    let (client, server) = pair();
    let (reader, writer) = std::io::pipe().unwrap();
    let request = Request::Release { claim: 7 };
    client.send(&request, &[reader.as_fd()]).unwrap();
    drop((reader, writer));
    let received = server.recv::<Request>().unwrap();
    assert_eq!(received.message, request);
    let mut text = String::new();
    let [reader] = <[OwnedFd; 1]>::try_from(received.fds).unwrap();
    let mut reader = std::fs::File::from(reader);
    assert_eq!(reader.read_to_string(&mut text).unwrap(), 0);
    client.send(&Request::Ports, &[]).unwrap();
    assert!(server.recv::<Request>().unwrap().fds.is_empty());
}

#[test]
fn the_end_of_a_connection_is_closed_both_ways() {
    let (client, server) = pair();
    drop(server);
    assert!(matches!(client.recv::<Reply>(), Err(Error::Closed)));
    assert!(matches!(
        client.send(&Request::Ports, &[]),
        Err(Error::Closed)
    ));
}

#[test]
fn what_was_said_before_the_end_is_heard() {
    let (client, server) = pair();
    // Never read: the kernel tells the client of that first.
    client.send(&Request::Ports, &[]).unwrap();
    server.send(&Reply::Shutdown, &[]).unwrap();
    drop(server);
    assert_eq!(client.recv::<Reply>().unwrap().message, Reply::Shutdown);
    assert!(matches!(client.recv::<Reply>(), Err(Error::Closed)));
}

#[test]
fn garbage_and_oversize_are_protocol_errors() {
    let (client, server) = pair();
    send(client.as_fd(), b"{\"op\":\"fly\"}", SendFlags::empty()).unwrap();
    assert!(matches!(server.recv::<Request>(), Err(Error::Protocol(_))));
    let long = vec![b' '; MAX_MESSAGE + 1];
    send(client.as_fd(), &long, SendFlags::empty()).unwrap();
    let error = server.recv::<Request>().unwrap_err();
    assert!(error.to_string().contains("over 65536 bytes"), "{error}");
    let name = "x".repeat(MAX_MESSAGE);
    let error = client.send(&Request::Attach { name }, &[]).unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error}");
}

/// The longest claims there are, as many as may be asked for at once, each with a socket.
#[test]
fn the_largest_batch_of_claims_fits_both_ways() {
    let (client, server) = pair();
    let end = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535";
    let (local, remote) = (end.parse().unwrap(), end.parse().unwrap());
    let spec = ClaimSpec::connection(Protocol::Sctp, local, remote)
        .on_vlan("4094.4094".parse().unwrap())
        .verified();
    let wanted = Wanted { spec, socket: true };
    let request = Request::Claim {
        claims: vec![wanted; MAX_BATCH],
    };
    let (reader, _writer) = std::io::pipe().unwrap();
    let fds = vec![reader.as_fd(); MAX_FDS];
    client.send(&request, &fds).unwrap();
    let received = server.recv::<Request>().unwrap();
    assert_eq!(received.message, request);
    assert_eq!(received.fds.len(), MAX_BATCH);
    let reply = Reply::Claimed {
        first: u64::MAX,
        claims: vec![spec; MAX_BATCH],
    };
    server.send(&reply, &[]).unwrap();
    assert_eq!(client.recv::<Reply>().unwrap().message, reply);

    let one_too_many = vec![reader.as_fd(); MAX_FDS + 1];
    let error = client.send(&request, &one_too_many).unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error}");
}
