//! Any request, and any descriptor, from a stream of bytes: random ones, or a fuzzer's.

use std::fs::File;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};

use port_api::protocol::{MAX_BATCH, Request, TraceRequest, VERSION, Wanted};
use port_api::{ClaimSpec, Protocol};

/// A small world, so that requests meet: the host's addresses, some that no host has, and some that no
/// packet has.
const ADDRS: [&str; 12] = [
    "10.77.0.1",
    "fd77::1",
    "127.0.0.1",
    "0.0.0.0",
    "::",
    "198.51.100.1",
    "198.51.100.2",
    "2001:db8::1",
    "239.1.1.1",
    "255.255.255.255",
    "fe80::1",
    "::ffff:198.51.100.1",
];

/// A request. What it names need not be there.
pub fn request(byte: &mut impl FnMut() -> u8) -> Request {
    match byte() % 24 {
        0 => Request::Hello {
            version: VERSION.wrapping_add(u32::from(byte().is_multiple_of(16))),
            client: "x".repeat(usize::from(byte())),
        },
        1..=3 => Request::Attach { name: name(byte) },
        4..=11 => {
            let count = match byte() {
                255 => MAX_BATCH + 1,
                len => usize::from(len % 8),
            };
            let wanted = |_| Wanted {
                spec: spec(byte),
                socket: byte().is_multiple_of(2),
            };
            Request::Claim {
                claims: (0..count).map(wanted).collect(),
            }
        }
        12 | 13 => Request::Release { claim: id(byte) },
        14 => Request::Offer {
            claim: id(byte),
            to: u16::from(byte() % 16),
        },
        15 => Request::Take { claim: id(byte) },
        16 => Request::Holder {
            protocol: protocol(byte),
            addr: end(byte),
        },
        17 => Request::Trace(TraceRequest {
            port: byte() % 2,
            from: (byte().is_multiple_of(2)).then(|| u16::from(byte() % 16)),
            frame: (0..byte()).map(|_| char::from(byte() % 128)).collect(),
        }),
        18 => Request::Ports,
        19 => Request::Stacks {
            from: u16::from(byte()),
        },
        20 => Request::Claims { from: id(byte) },
        21 => Request::Stats {
            from: u16::from(byte()),
        },
        22 => Request::Reload,
        _ => Request::Detach,
    }
}

fn name(byte: &mut impl FnMut() -> u8) -> String {
    match byte() {
        250.. => String::from_utf8_lossy(&[byte(), byte(), byte()]).into_owned(),
        249 => "n".repeat(60_000),
        _ => "hostile".to_owned(),
    }
}

fn id(byte: &mut impl FnMut() -> u8) -> u64 {
    match byte() {
        255 => u64::MAX,
        low => low.into(),
    }
}

fn protocol(byte: &mut impl FnMut() -> u8) -> Protocol {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp][usize::from(byte() % 3)]
}

fn ip(byte: &mut impl FnMut() -> u8) -> IpAddr {
    let text = ADDRS[usize::from(byte()) % ADDRS.len()];
    text.parse().unwrap_or([0; 4].into())
}

fn end(byte: &mut impl FnMut() -> u8) -> SocketAddr {
    // Port 7 is left to who is not hostile.
    let port = match byte() % 4 {
        0 => 0,
        low => 5000 + u16::from(low),
    };
    SocketAddr::new(ip(byte), port)
}

fn spec(byte: &mut impl FnMut() -> u8) -> ClaimSpec {
    let mut spec = match byte() % 8 {
        0 => ClaimSpec::connection(protocol(byte), end(byte), end(byte)),
        1 => ClaimSpec::protocol(byte(), ip(byte)),
        2 => ClaimSpec::address(ip(byte)),
        _ => ClaimSpec::tuple(protocol(byte), end(byte)),
    };
    spec.verify = byte().is_multiple_of(4);
    match ["100", "100.200"].get(usize::from(byte() % 8)) {
        Some(vlan) => vlan.parse().map_or(spec, |vlan| spec.on_vlan(vlan)),
        None => spec,
    }
}

/// Descriptors of all kinds, mostly of sockets that could stand for a claim; none if there are no more.
pub fn descriptors(byte: &mut impl FnMut() -> u8) -> Vec<OwnedFd> {
    let count = match byte() {
        255 => 200,
        250.. => 20,
        128.. => usize::from(byte() % 8),
        _ => 0,
    };
    (0..count).filter_map(|_| descriptor(byte)).collect()
}

fn descriptor(byte: &mut impl FnMut() -> u8) -> Option<OwnedFd> {
    let any = "0.0.0.0:0";
    Some(match byte() % 16 {
        0 => std::io::pipe().ok()?.0.into(),
        1 => File::open("/").ok()?.into(),
        2 => File::open("/dev/null").ok()?.into(),
        3 => File::open("/proc/self/mem").ok()?.into(),
        // Its other end is closed.
        4 => UnixStream::pair().ok()?.0.into(),
        5 => UnixDatagram::unbound().ok()?.into(),
        6 => {
            let listener = TcpListener::bind("127.0.0.1:0").ok()?;
            TcpStream::connect(listener.local_addr().ok()?).ok()?.into()
        }
        7 => TcpListener::bind("127.0.0.1:0").ok()?.into(),
        8 => UdpSocket::bind("[::]:0").ok()?.into(),
        _ => match port_api::bind(protocol(byte), end(byte)) {
            Ok(socket) => socket,
            Err(_) => UdpSocket::bind(any).ok()?.into(),
        },
    })
}
