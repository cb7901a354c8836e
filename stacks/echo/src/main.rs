//! A UDP echo stack (RFC 862): the smallest user of port-api.
//!
//! `stack-echo [--reconnect] SOCKET ADDR:PORT [NAME]`: sends every datagram that comes to ADDR:PORT
//! back to where it came from, until the switch ends; with `--reconnect` it waits for the next one.
//! A signal just kills it: the switch takes back whatever a dead stack held.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;

use port_api::{Burst, Protocol, Vport, await_primary, exec_again};
use wire::echo::turn_around;

const USAGE: &str = "usage: stack-echo [--reconnect] SOCKET ADDR:PORT [NAME]";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let (reconnect, args) = match args.split_first() {
        Some((first, rest)) if first == "--reconnect" => (true, rest),
        _ => (false, &args[..]),
    };
    let Err(mut error) = run(args, reconnect);
    let why = error.downcast_ref::<port_api::Error>();
    if reconnect && why.is_some_and(port_api::Error::is_primary_gone) {
        eprintln!("echo: {error}: waiting for the next one");
        let Err(failed) = exec_again();
        error = failed.into();
    }
    eprintln!("echo: {error}");
    ExitCode::FAILURE
}

fn run(args: &[String], reconnect: bool) -> Result<Infallible, Box<dyn Error>> {
    let (socket, addr, name) = match args {
        [socket, addr] => (socket, addr, "echo"),
        [socket, addr, name] => (socket, addr, name.as_str()),
        _ => return Err(USAGE.into()),
    };
    let addr: SocketAddr = addr
        .parse()
        .map_err(|error| format!("{addr}: {error}; {USAGE}"))?;

    if reconnect {
        await_primary(socket.as_ref())?;
    }
    let mut vport = Vport::attach(socket.as_ref(), name)?;
    let claim = vport.claim(Protocol::Udp, addr)?;
    println!(
        "echo: serving udp {} as vport {}",
        claim.local(),
        vport.slot()
    );
    serve(&mut vport);
    Err(vport.why_over().into())
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
