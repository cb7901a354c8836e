//! What nobody claimed is the host kernel's, both ways.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream, UdpSocket};
use std::thread;

use crate::net_tools::{ask, ping, udp};
use crate::testbed::{CLIENT_V4, HOST_V4, HOST_V6, Testbed};

#[test]
fn the_kernel_answers_pings() {
    let bed = Testbed::start();
    ping(&bed.client, HOST_V4, 50, 56);
    ping(&bed.client, HOST_V6, 50, 56);
    // The largest that fit the MTU of 1500.
    ping(&bed.client, HOST_V4, 10, 1472);
    ping(&bed.client, HOST_V6, 10, 1452);
    let stats = bed.stats();
    assert!(stats.ports[0].to_host >= 120, "{stats:?}");
    assert_eq!(stats.ports[0].to_vports, 0, "{stats:?}");
    bed.finish();
}

#[test]
fn fragments_reach_the_kernel() {
    let bed = Testbed::start();
    for addr in [HOST_V4, HOST_V6] {
        let stdout = bed
            .client
            .run("ping", &["-q", "-c", "3", "-i", "0.1", "-s", "4000", addr]);
        assert!(stdout.contains(" 0% packet loss"), "{stdout}");
    }
    bed.finish();
}

#[test]
fn neighbours_find_each_other_by_the_ports_mac() {
    let bed = Testbed::start();
    ping(&bed.client, HOST_V4, 1, 56);
    ping(&bed.client, HOST_V6, 1, 56);
    let mac = bed.port().mac;
    for addr in [HOST_V4, HOST_V6] {
        let entry = bed.client.ip(&format!("neigh show {addr}"));
        assert!(entry.contains(&mac), "{entry}");
    }
    // And from the host's side: it asks, too.
    bed.host.ip("neigh flush dev msh0");
    let stdout = bed
        .host
        .run("ping", &["-q", "-c", "3", "-i", "0.1", CLIENT_V4]);
    assert!(stdout.contains(" 0% packet loss"), "{stdout}");
    bed.finish();
}

#[test]
fn udp_to_a_kernel_server() {
    let bed = Testbed::start();
    for server in [format!("{HOST_V4}:5000"), format!("[{HOST_V6}]:5000")] {
        let socket = bed.host.enter(|| UdpSocket::bind(&server)).unwrap();
        let answer = thread::spawn(move || {
            let mut buf = [0; 2000];
            let (len, from) = socket.recv_from(&mut buf).unwrap();
            socket.send_to(&buf[..len], from).unwrap();
        });
        let payload = vec![0x5a; 1400];
        assert_eq!(ask(&udp(&bed.client, &server), &payload), Some(payload));
        answer.join().unwrap();
    }
    bed.finish();
}

#[test]
fn tcp_to_a_kernel_server() {
    const BYTES: usize = 8 << 20;
    let bed = Testbed::start();
    for server in [format!("{HOST_V4}:5000"), format!("[{HOST_V6}]:5000")] {
        let listener = bed.host.enter(|| TcpListener::bind(&server)).unwrap();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            stream.write_all(&all).unwrap();
        });
        let sent: Vec<u8> = (0..BYTES).map(|n| (n % 251).to_le_bytes()[0]).collect();
        let mut stream = bed.client.enter(|| TcpStream::connect(&server)).unwrap();
        stream.write_all(&sent).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        assert!(received == sent, "{} bytes came back", received.len());
        echo.join().unwrap();
    }
    bed.finish();
}

#[test]
fn a_closed_port_is_refused_by_the_kernel() {
    let bed = Testbed::start();
    let refused = bed.client.enter(|| TcpStream::connect((HOST_V4, 5000)));
    assert_eq!(
        refused.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    let socket = udp(&bed.client, &format!("{HOST_V4}:5000"));
    socket.send(b"anyone?").unwrap();
    let refused = socket.recv(&mut [0; 10]).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    bed.finish();
}
