//! Receiving, the good way and the bad.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use port_api::{Burst, Protocol, Vport};
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR1};

use crate::attach::Target;

/// Bursts, empty ones among them, between two claims of [`fickle`].
const FICKLE_BURSTS: u32 = 100;

/// Exit status of a process that ends in its handler of SIGUSR1.
const ENDED_IN_HANDLER: i32 = 3;

/// Receives, counts and gives back.
pub fn sink(
    target: &Target<'_>,
    protocol: Protocol,
    addr: SocketAddr,
) -> Result<(), Box<dyn Error>> {
    receive(target, protocol, addr, |vport, burst| {
        vport.release(burst);
        false
    })
}

/// Receives and never gives back, nor what it was lent to send from: drops the packets, which
/// leaves their buffers charged to the vport.
pub fn hoard(
    target: &Target<'_>,
    protocol: Protocol,
    addr: SocketAddr,
) -> Result<(), Box<dyn Error>> {
    receive(target, protocol, addr, |vport, burst| {
        burst.clear();
        vport.alloc().is_some()
    })
}

/// Hands every burst to `take`, which tells whether it found more to do, until a signal or the end
/// of the switch.
fn receive(
    target: &Target<'_>,
    protocol: Protocol,
    addr: SocketAddr,
    mut take: impl FnMut(&mut Vport, &mut Burst) -> bool,
) -> Result<(), Box<dyn Error>> {
    let stop = heed_signals()?;
    let mut vport = target.attach()?;
    let claim = vport.claim(protocol, addr)?;
    println!(
        "receiving {protocol} {} as vport {}",
        claim.local(),
        vport.slot()
    );
    let (mut packets, mut bytes) = (0, 0);
    let mut burst = Burst::new();
    while !stop.load(Ordering::Relaxed) {
        vport.rx_burst(&mut burst);
        packets += burst.len();
        bytes += burst
            .iter()
            .map(|packet| packet.data().len())
            .sum::<usize>();
        let received = !burst.is_empty();
        let worked = take(&mut vport, &mut burst) || received;
        if !vport.idle(worked) {
            break;
        }
    }
    println!("received {packets} packets, {bytes} bytes");
    Ok(())
}

/// Receives and gives back, and gives its claim up and makes it again all the time.
pub fn fickle(
    target: &Target<'_>,
    protocol: Protocol,
    addr: SocketAddr,
) -> Result<(), Box<dyn Error>> {
    let stop = heed_signals()?;
    let mut vport = target.attach()?;
    let mut claim = vport.claim(protocol, addr)?;
    println!("receiving {protocol} {addr} as vport {}", vport.slot());
    let mut burst = Burst::new();
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..FICKLE_BURSTS {
            let received = vport.rx_burst(&mut burst) > 0;
            vport.release(&mut burst);
            if !vport.idle(received) {
                return Ok(());
            }
        }
        vport.release_claim(&claim)?;
        claim = vport.claim(protocol, addr)?;
    }
    Ok(())
}

/// A flag that SIGTERM and SIGINT set. SIGUSR1 ends the process where it is: its handler calls _exit(2).
pub fn heed_signals() -> Result<Arc<AtomicBool>, Box<dyn Error>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let always = Arc::new(AtomicBool::new(true));
    signal_hook::flag::register_conditional_shutdown(SIGUSR1, ENDED_IN_HANDLER, always)?;
    Ok(stop)
}
