//! A client that says anything, in any order, with any descriptors, over many connections.

pub mod messages;

use std::error::Error;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use port_api::protocol::{Reply, Request, VERSION};
use port_api::{Connection, Error as PortError};
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, send, socket_with,
};

/// Most connections at a time.
const CONNECTIONS: usize = 12;

/// Numbers that look random, the same ones for the same seed (xorshift64*).
struct Dice(u64);

impl Dice {
    fn byte(&mut self) -> u8 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()[0]
    }
}

/// Goes on for so long; then prints what it has done. An error if the switch breaks the protocol, or
/// is gone.
pub fn run(socket: &Path, seed: u64, duration: Duration) -> Result<(), Box<dyn Error>> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut said, mut answers, mut refused, mut attached) = (0u64, 0u64, 0u64, 0u64);
    let mut conns: Vec<Connection> = Vec::new();
    let start = Instant::now();
    while start.elapsed() < duration {
        let at = usize::from(dice.byte()) % CONNECTIONS;
        if at >= conns.len() {
            let conn = Connection::new(dial(socket)?);
            if !dice.byte().is_multiple_of(8) {
                greet(&conn);
            }
            conns.push(conn);
            continue;
        }
        match dice.byte() {
            0 | 1 => drop(conns.swap_remove(at)),
            // Nonsense; to be answered with an end.
            2 => {
                let bytes: Vec<u8> = (0..dice.byte()).map(|_| dice.byte()).collect();
                let _ = send(&conns[at], &bytes, SendFlags::NOSIGNAL);
            }
            // The connection itself.
            3 => say(
                &conns[at],
                &Request::Ports,
                &[conns[at].as_fd().try_clone_to_owned()?],
            ),
            // Without reading the answers.
            4 => {
                for _ in 0..400 {
                    say(&conns[at], &Request::Stats { from: 0 }, &[]);
                }
            }
            _ => {
                let request = messages::request(&mut || dice.byte());
                let fds = messages::descriptors(&mut || dice.byte());
                say(&conns[at], &request, &fds);
            }
        }
        said += 1;
        if dice.byte() < 64 {
            std::thread::sleep(Duration::from_millis(1));
        }
        for conn in &conns {
            loop {
                match conn.recv::<Reply>().map(|received| received.message) {
                    Ok(Reply::Shutdown) => return Err("the switch has ended".into()),
                    Ok(Reply::Refused { .. }) => refused += 1,
                    Ok(Reply::Attached(_)) => attached += 1,
                    Ok(_) => {}
                    Err(PortError::Protocol(why)) => return Err(why.into()),
                    Err(_) => break,
                }
                answers += 1;
            }
        }
    }
    println!("hostile: said {said}, {answers} answers, {refused} refusals, {attached} attached");
    Ok(())
}

fn dial(path: &Path) -> Result<OwnedFd, Box<dyn Error>> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

fn greet(conn: &Connection) {
    let hello = Request::Hello {
        version: VERSION,
        client: "hostile".to_owned(),
    };
    say(conn, &hello, &[]);
}

/// As far as there is room, and someone to hear it.
fn say(conn: &Connection, request: &Request, fds: &[OwnedFd]) {
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let _ = conn.send(request, &fds);
}
