//! The stacks of a run: they receive, count and give back, all on one CPU, as fast as they can.
//!
//! Says "ready" on standard output when every stack has its claim. On the line "stop" it ends the
//! claims, takes what still waits, and prints a [`Totals`] as JSON. Ends with its input.

use std::collections::BTreeMap;
use std::io::stdin;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use port_api::{Burst, Claim, Protocol, Vport};

use crate::{Error, traffic};

/// Packets that each vport has received.
pub type Totals = BTreeMap<u16, u64>;

struct Stack {
    vport: Vport,
    claim: Claim,
    drained: u64,
}

impl Stack {
    fn start(socket: &Path, number: u16) -> Result<Self, Error> {
        let vport = Vport::attach(socket, &format!("drain{number}"))?;
        let claim = vport.claim(Protocol::Udp, traffic::claim_of(number))?;
        Ok(Self {
            vport,
            claim,
            drained: 0,
        })
    }

    /// Takes a burst; tells how many packets it had.
    fn drain(&mut self, burst: &mut Burst) -> usize {
        let count = self.vport.rx_burst(burst);
        self.vport.release(burst);
        self.drained += count as u64;
        count
    }
}

/// Runs `count` stacks on the primary with this control socket.
pub fn run(socket: &Path, count: u16) -> Result<(), Error> {
    let mut stacks = (0..count)
        .map(|number| Stack::start(socket, number))
        .collect::<Result<Vec<_>, _>>()?;
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let reader = thread::spawn(move || {
        // The end of the input stops as well, when the benchmark is gone.
        let _ = stdin().read_line(&mut String::new());
        asked.store(true, Ordering::Relaxed);
        let _ = stdin().read_line(&mut String::new());
    });
    println!("ready");
    let mut burst = Burst::new();
    while !stop.load(Ordering::Relaxed) {
        for stack in &mut stacks {
            stack.drain(&mut burst);
        }
        if !stacks.iter().all(|stack| stack.vport.is_open()) {
            return Err("the switch has shut a vport".into());
        }
    }
    for stack in &stacks {
        stack.vport.release_claim(&stack.claim)?;
    }
    for stack in &mut stacks {
        while stack.drain(&mut burst) > 0 {}
    }
    let totals: Totals = stacks
        .iter()
        .map(|stack| (stack.vport.slot(), stack.drained))
        .collect();
    println!("{}", serde_json::to_string(&totals)?);
    // The vports are to be there while the benchmark reads their counters.
    reader.join().map_err(|_| "the reader panicked")?;
    Ok(())
}
