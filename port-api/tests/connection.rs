//! Messages and file descriptors over a pair of sockets.

use std::io::Read;
use std::os::fd::AsFd;

use port_api::protocol::{Reply, Request};
use port_api::{Connection, Error, MAX_MESSAGE};
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
    client.send(&request, Some(reader.as_fd())).unwrap();
    drop((reader, writer));
    let received = server.recv::<Request>().unwrap();
    assert_eq!(received.message, request);
    let mut text = String::new();
    let mut reader = std::fs::File::from(received.fd.unwrap());
    assert_eq!(reader.read_to_string(&mut text).unwrap(), 0);
    client.send(&Request::Ports, None).unwrap();
    assert!(server.recv::<Request>().unwrap().fd.is_none());
}

#[test]
fn the_end_of_a_connection_is_closed_both_ways() {
    let (client, server) = pair();
    drop(server);
    assert!(matches!(client.recv::<Reply>(), Err(Error::Closed)));
    assert!(matches!(
        client.send(&Request::Ports, None),
        Err(Error::Closed)
    ));
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
    let error = client.send(&Request::Attach { name }, None).unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error}");
}
