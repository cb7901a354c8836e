//! A UDP echo stack (RFC 862): the smallest user of port-api.
//!
//! `stack-echo SOCKET ADDR:PORT [NAME]`: sends every datagram that comes to ADDR:PORT back to
//! where it came from, until the switch ends. A signal just kills it: the switch takes back
//! whatever a dead stack held.

use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use port_api::{Burst, Protocol, Vport};
use wire::echo::turn_around;

const USAGE: &str = "usage: stack-echo SOCKET ADDR:PORT [NAME]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let (socket, addr, name) = match args.as_slice() {
        [socket, addr] => (socket, addr, "echo"),
        [socket, addr, name] => (socket, addr, name.as_str()),
        _ => return Err(USAGE.into()),
    };
    let addr: SocketAddr = addr
        .parse()
        .map_err(|error| format!("{addr}: {error}; {USAGE}"))?;

    let mut vport = Vport::attach(socket.as_ref(), name)?;
    let claim = vport.claim(Protocol::Udp, addr)?;
    println!(
        "echo: serving udp {} as vport {}",
        claim.local(),
        vport.slot()
    );
    serve(&mut vport);
    Ok(())
}

/// Echoes until the switch ends or shuts this vport.
fn serve(vport: &mut Vport) {
    let (mut received, mut answers, mut refused) = (Burst::new(), Burst::new(), Burst::new());
    loop {
        // What found no room in the rings goes first; until it has gone, new packets wait where
        // the switch counts what it drops.
        if answers.is_empty() {
            vport.rx_burst(&mut received);
        }
        let worked = !received.is_empty();
        // All frames at once, before the first one is needed.
        for packet in &received {
            packet.prefetch();
        }
        for mut packet in received.drain(..) {
            if turn_around(packet.data_mut()) {
                answers.push(packet);
            } else {
                refused.push(packet);
            }
        }
        vport.release(&mut refused);
        vport.tx_burst(&mut answers);
        if !vport.idle(worked) {
            return;
        }
    }
}
