//! Giving back what is not one's own any more. [`port_api::Packet`] does not let a stack do that: this
//! one has its rings in its own hands.

use std::error::Error;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::Ordering;

use dpdk::{Eal, Memzone};
use port_api::protocol::{Reply, Request, Wanted};
use port_api::{Backoff, ClaimSpec, Client, Desc, Protocol, Region, StackRings, bind};

use crate::attach::Target;
use crate::receive::heed_signals;

/// Claims UDP `addr`, receives, and gives every buffer back twice, until a signal or the end of the
/// switch.
pub fn give_back(target: &Target<'_>, addr: SocketAddr) -> Result<(), Box<dyn Error>> {
    let stop = heed_signals()?;
    let client = Client::connect(target.socket, "stack-probe")?;
    let _eal = Eal::secondary(&client.greeting().file_prefix)?;
    let name = target.name.to_owned();
    let Reply::Attached(attachment) = client.call(&Request::Attach { name }, &[])? else {
        return Err("not attached".into());
    };
    let region = Region::in_memzone(&Memzone::lookup(&attachment.memzone)?, attachment.geometry)?;
    let mut workers: Vec<_> = (0..attachment.geometry.workers)
        .map(|worker| region.stack_rings(attachment.slot, worker))
        .collect();
    let socket = bind(Protocol::Udp, addr)?;
    let wanted = Wanted {
        spec: ClaimSpec::tuple(Protocol::Udp, addr),
        socket: true,
    };
    let claims = vec![wanted];
    client.call(&Request::Claim { claims }, &[socket.as_fd()])?;
    println!("receiving udp {addr} as vport {}", attachment.slot);
    let mut backoff = Backoff::new(false);
    let mut total = 0;
    while !stop.load(Ordering::Relaxed) && client.is_connected() {
        let mut given = 0;
        for rings in &mut workers {
            given += give_all_back(rings)?;
        }
        total += given;
        backoff.after_poll(given > 0);
    }
    println!("gave {total} buffers back, each of them twice");
    Ok(())
}

/// Tells how many buffers that were.
fn give_all_back(rings: &mut StackRings) -> Result<usize, Box<dyn Error>> {
    rings.rx.refresh()?;
    let mut given = 0;
    while let Some(raw) = rings.rx.take() {
        let desc = Desc::unpack(raw).ok_or("not a descriptor")?;
        // Shown together: no one else can have been lent the buffer in between.
        if rings.free.push(&[desc.index; 2])? < 2 {
            return Err("the ring has no room".into());
        }
        given += 1;
    }
    rings.rx.release();
    Ok(given)
}
