//! What the control socket makes of clients of other versions, and of nonsense.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread;

use port_api::protocol::{Greeting, Reply, Request, VERSION};
use port_api::{Client, Connection, Error};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept, bind,
    connect, listen, recv, send, socket_with,
};

use crate::testbed::Testbed;

fn socket() -> OwnedFd {
    let flags = SocketFlags::CLOEXEC;
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap()
}

pub fn dial(path: &Path) -> OwnedFd {
    let socket = socket();
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

fn is_closed(result: &Result<impl Sized, Error>) -> bool {
    matches!(result, Err(Error::Closed))
}

#[test]
fn a_client_of_another_version_is_told_and_turned_away() {
    let mut bed = Testbed::start();
    let conn = Connection::new(dial(&bed.socket));
    let hello = Request::Hello {
        version: VERSION + 1,
        client: "tomorrow's stack".to_owned(),
    };
    conn.send(&hello, &[]).unwrap();
    let Reply::Hello(greeting) = conn.recv::<Reply>().unwrap().message else {
        panic!("no greeting");
    };
    assert_eq!(greeting.version, VERSION);
    assert!(is_closed(&conn.recv::<Reply>()));
    let line = bed.switch().expect("tomorrow's stack");
    assert!(line.contains(&VERSION.to_string()), "{line}");
    assert!(line.contains(&(VERSION + 1).to_string()), "{line}");
    bed.finish();
}

#[test]
fn a_switch_of_another_version_is_refused_with_both_versions_named() {
    let bed = Testbed::without_switch();
    let listener = socket();
    bind(&listener, &SocketAddrUnix::new(&bed.socket).unwrap()).unwrap();
    listen(&listener, 1).unwrap();
    let switch = thread::spawn(move || {
        let conn = Connection::new(accept(&listener).unwrap());
        conn.recv::<Request>().unwrap();
        let greeting = Greeting {
            version: VERSION + 1,
            switch: "tomorrow's switch".to_owned(),
            dpdk: String::new(),
            file_prefix: String::new(),
            pid: 1,
        };
        conn.send(&Reply::Hello(greeting), &[]).unwrap();
    });
    let error = Client::connect(&bed.socket, "e2e").unwrap_err().to_string();
    assert!(error.contains(&format!("{VERSION}")), "{error}");
    assert!(error.contains(&format!("{}", VERSION + 1)), "{error}");
    switch.join().unwrap();
}

#[test]
fn nonsense_ends_only_its_own_connection() {
    let mut bed = Testbed::start();
    let bystander = Client::connect(&bed.socket, "bystander").unwrap();
    let huge = vec![b'x'; 100_000];
    for nonsense in [
        b"".as_slice(),
        b"{",
        b"\xff\xfe",
        b"{\"op\":\"no-such\"}",
        &huge,
    ] {
        let socket = dial(&bed.socket);
        let _ = send(&socket, nonsense, SendFlags::NOSIGNAL);
        let mut answer = vec![0; 70_000];
        // A refusal at most, and then the end.
        while recv(&socket, &mut answer[..], RecvFlags::empty()).is_ok_and(|(len, _)| len > 0) {}
    }
    let early = Connection::new(dial(&bed.socket));
    early.send(&Request::Ports, &[]).unwrap();
    assert!(matches!(
        early.recv::<Reply>().unwrap().message,
        Reply::Refused { .. }
    ));
    assert!(is_closed(&early.recv::<Reply>()));
    let reply = bystander.call(&Request::Ports, &[]).unwrap();
    assert!(matches!(reply, Reply::Ports { .. }));
    assert!(bed.switch().is_running());
    bed.finish();
}

#[test]
fn a_client_that_never_reads_holds_up_no_one() {
    let bed = Testbed::start();
    let deaf = Connection::new(dial(&bed.socket));
    let hello = Request::Hello {
        version: VERSION,
        client: "deaf".to_owned(),
    };
    deaf.send(&hello, &[]).unwrap();
    // Until the switch cuts it off: it must not wait for us to read.
    let mut sent = 0;
    while sent < 100_000 && deaf.send(&Request::Stats { from: 0 }, &[]).is_ok() {
        sent += 1;
    }
    assert!(sent < 100_000, "it was never cut off");
    let other = Client::connect(&bed.socket, "other").unwrap();
    assert!(other.call(&Request::Ports, &[]).is_ok());
    bed.finish();
}
