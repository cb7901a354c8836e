//! Everything that a stack does with its rings and its claims, once.

use std::error::Error;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use port_api::{Burst, Packet, Protocol, Vport};
use wire::echo::turn_around;

use crate::attach::Target;

/// How long a datagram may take to come, and the switch to lend a buffer or to take a frame.
const PATIENCE: Duration = Duration::from_secs(5);

/// Buffers that are sent, or given back, at once.
const BATCH: usize = 3;

/// Claims UDP `addr`, answers a datagram in its own buffer and some more times from empty ones, gives
/// others back, empty and full, and lets go of claim and vport.
pub fn run(target: &Target<'_>, addr: SocketAddr) -> Result<(), Box<dyn Error>> {
    let mut vport = target.attach()?;
    let claim = vport.claim(Protocol::Udp, addr)?;
    println!("receiving udp {} as vport {}", claim.local(), vport.slot());
    let mut question = receive(&mut vport)?;
    if !turn_around(question.data_mut()) {
        return Err("what came can't be answered".into());
    }
    let answer = question.data().to_vec();
    send(&mut vport, [question].into_iter().collect())?;
    let mut answers = empty_ones(&mut vport)?;
    for packet in &mut answers {
        if !packet.set_len(answer.len()) {
            return Err("the answer does not fit a buffer".into());
        }
        packet.data_mut().copy_from_slice(&answer);
    }
    send(&mut vport, answers)?;
    let mut unused = empty_ones(&mut vport)?;
    unused.push(receive(&mut vport)?);
    vport.release(&mut unused);
    vport.release_claim(&claim)?;
    vport.detach()?;
    println!("did everything once");
    Ok(())
}

fn empty_ones(vport: &mut Vport) -> Result<Burst, Box<dyn Error>> {
    (0..BATCH)
        .map(|_| patiently(vport, |vport| vport.alloc()))
        .collect()
}

/// The first packet to come; what came with it is given back.
fn receive(vport: &mut Vport) -> Result<Packet, Box<dyn Error>> {
    let mut burst = Burst::new();
    patiently(vport, |vport| {
        (vport.rx_burst(&mut burst) > 0).then_some(())
    })?;
    let first = burst.remove(0);
    vport.release(&mut burst);
    Ok(first)
}

fn send(vport: &mut Vport, mut burst: Burst) -> Result<(), Box<dyn Error>> {
    patiently(vport, |vport| {
        vport.tx_burst(&mut burst);
        burst.is_empty().then_some(())
    })
}

/// Tries until there is something.
fn patiently<T>(
    vport: &mut Vport,
    mut attempt: impl FnMut(&mut Vport) -> Option<T>,
) -> Result<T, Box<dyn Error>> {
    let start = Instant::now();
    loop {
        if let Some(outcome) = attempt(vport) {
            return Ok(outcome);
        }
        if !vport.idle(false) {
            return Err("the switch has ended or shut this vport".into());
        }
        if start.elapsed() > PATIENCE {
            return Err("nothing comes, or the switch does not take what goes".into());
        }
    }
}
