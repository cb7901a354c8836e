//! Sending from where one may not.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use port_api::protocol::{Reply, Request, VportStats};
use port_api::{Burst, Client, Protocol, Vport};
use wire::MacAddr;
use wire::emit::{Eth, Udp};

use crate::attach::Target;

/// How long the switch may take for all of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to send.
pub struct Forgery {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub dst_mac: MacAddr,
}

/// Claims `claim`, sends `count` datagrams as `forgery` says, and prints what became of them.
pub fn send(
    target: &Target<'_>,
    claim: SocketAddr,
    forgery: &Forgery,
    count: u64,
) -> Result<(), Box<dyn Error>> {
    let mut vport = target.attach()?;
    vport.claim(Protocol::Udp, claim)?;
    let port = vport.ports().first().ok_or("the switch has no port")?;
    let src_mac = port.mac.parse().map_err(|_| "the port's MAC")?;
    let start = Instant::now();
    let mut burst = Burst::new();
    for number in 0..count {
        let payload = format!("spoof {number} from {}", forgery.from);
        let datagram = Udp {
            eth: Eth {
                dst: forgery.dst_mac,
                src: src_mac,
            },
            src: forgery.from,
            dst: forgery.to,
            payload: payload.as_bytes(),
        };
        put(&mut vport, &mut burst, &datagram)?;
        while vport.tx_burst(&mut burst) == 0 {
            wait(&mut vport, start)?;
        }
    }
    let stats = loop {
        let stats = stats(target, vport.slot())?;
        if stats.tx_packets >= count {
            break stats;
        }
        wait(&mut vport, start)?;
    };
    println!(
        "sent {count} from {} with a claim on {claim}: {} to the wire, refused {:?}",
        forgery.from, stats.tx_wire, stats.tx_dropped
    );
    Ok(())
}

/// Puts one datagram into a buffer of the switch's.
fn put(vport: &mut Vport, burst: &mut Burst, datagram: &Udp<'_>) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut packet = loop {
        match vport.alloc() {
            Some(packet) => break packet,
            None => wait(vport, start)?,
        }
    };
    let capacity = packet.capacity();
    let fits = packet.set_len(capacity);
    let len = datagram.write(packet.data_mut()).filter(|_| fits);
    let len = len.ok_or("the two ends are of different address families, or too large")?;
    if !packet.set_len(len) {
        return Err("the frame does not fit".into());
    }
    burst.push(packet);
    Ok(())
}

fn wait(vport: &mut Vport, start: Instant) -> Result<(), Box<dyn Error>> {
    if !vport.idle(false) {
        return Err("the switch ended".into());
    }
    if start.elapsed() > PATIENCE {
        return Err("the switch does not take what is sent".into());
    }
    Ok(())
}

/// The vport's counters, asked as `msctl` asks.
fn stats(target: &Target<'_>, slot: u16) -> Result<VportStats, Box<dyn Error>> {
    let client = Client::connect(target.socket, "stack-probe")?;
    match client.call(&Request::Stats { from: slot }, &[])? {
        Reply::Stats(stats) => {
            let mut vports = stats.vports.into_iter();
            Ok(vports.find(|v| v.slot == slot).ok_or("no such vport")?)
        }
        other => Err(format!("not counters: {other:?}").into()),
    }
}
