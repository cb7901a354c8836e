//! The stacks of a run, in a process of their own, all on one CPU.
//!
//! Says "ready" on standard output when every stack has its claims. On the line "stop" it takes
//! what still comes and gives nothing back, until every quota is used up and nothing comes any
//! more, and prints its [`Totals`] as JSON. Ends with its input.

use std::collections::BTreeMap;
use std::io::stdin;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use port_api::protocol::MAX_BATCH;
use port_api::{Burst, ClaimSpec, Packet, Protocol, Vport};
use serde::{Deserialize, Serialize};

use crate::{Error, echo, traffic};

/// What the stacks do with what they receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Task {
    /// Count it and give it back.
    Drain,
    /// Send it back where it came from.
    Echo,
    /// Nothing: it stays in the rings.
    Sit,
}

/// What each stack claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Claims {
    /// A port of the host's address.
    Port,
    /// An address, and its share of so many connections.
    Connections(u32),
}

/// Which stacks there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stacks {
    /// How many attach and claim.
    pub attached: u16,
    /// How many of them have traffic.
    pub busy: u16,
    /// Of those.
    pub task: Task,
    /// Of all.
    pub claims: Claims,
}

impl Stacks {
    /// So many, all with traffic.
    pub const fn all_busy(busy: u16, task: Task) -> Self {
        Self {
            attached: busy,
            busy,
            task,
            claims: Claims::Port,
        }
    }
}

/// What a stack has moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
}

/// By vport.
pub type Totals = BTreeMap<u16, Moved>;

/// A stack.
pub struct Stack {
    /// Its place on the switch.
    pub vport: Vport,
    /// Since it attached.
    pub moved: Moved,
    /// Received, and not yet sent back.
    pub answers: Burst,
}

impl Stack {
    fn start(socket: &Path, number: u16, plan: Stacks) -> Result<Self, Error> {
        let vport = Vport::attach(socket, &format!("stack{number}"))?;
        match plan.claims {
            Claims::Port => {
                vport.claim(Protocol::Udp, traffic::claim_of(number))?;
            }
            Claims::Connections(all) => claim_connections(&vport, number, plan.attached, all)?,
        }
        Ok(Self {
            vport,
            moved: Moved::default(),
            answers: Burst::new(),
        })
    }

    /// Takes a burst.
    fn receive(&mut self, burst: &mut Burst) {
        self.moved.received += self.vport.rx_burst(burst) as u64;
    }

    fn drain(&mut self, burst: &mut Burst) {
        self.receive(burst);
        self.vport.release(burst);
    }
}

/// Claims an address, and under it the stack's share, one of `stacks`, of `all` connections.
fn claim_connections(vport: &Vport, number: u16, stacks: u16, all: u32) -> Result<(), Error> {
    vport.claim_as(&ClaimSpec::address(traffic::own_address(number).into()))?;
    let own = (number.into()..all).step_by(stacks.into());
    let specs: Vec<_> = own
        .map(|connection| {
            let (local, remote) = traffic::connection(connection, stacks);
            ClaimSpec::connection(Protocol::Udp, local, remote)
        })
        .collect();
    for batch in specs.chunks(MAX_BATCH) {
        vport.claim_all(batch)?;
    }
    Ok(())
}

/// Runs them on the primary with this control socket.
pub fn run(socket: &Path, plan: Stacks) -> Result<(), Error> {
    let mut stacks = (0..plan.attached)
        .map(|number| Stack::start(socket, number, plan))
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
    let busy = &mut stacks[..plan.busy.into()];
    work(busy, plan.task, &stop)?;
    let hoard = hoard(busy);
    let totals: Totals = busy
        .iter()
        .map(|stack| (stack.vport.slot(), stack.moved))
        .collect();
    println!("{}", serde_json::to_string(&totals)?);
    // Vports and buffers are to stay where they are while the benchmark reads the counters.
    reader.join().map_err(|_| "the reader panicked")?;
    drop(hoard);
    Ok(())
}

fn work(stacks: &mut [Stack], task: Task, stop: &AtomicBool) -> Result<(), Error> {
    let mut burst = Burst::new();
    while !stop.load(Ordering::Relaxed) {
        if task == Task::Sit {
            thread::sleep(Duration::from_millis(1));
        }
        // All of them before the first one is served; see there.
        for stack in &mut *stacks {
            stack.vport.poll();
        }
        for stack in &mut *stacks {
            match task {
                Task::Drain => stack.drain(&mut burst),
                Task::Echo => echo::serve(stack),
                Task::Sit => {}
            }
        }
        if !stacks.iter().all(|stack| stack.vport.is_open()) {
            return Err("the switch has shut a vport".into());
        }
    }
    Ok(())
}

/// Takes packets, and keeps them, until none has come for a while: the device never runs dry, but
/// a stack's quota does, and then nothing is given to it any more.
fn hoard(stacks: &mut [Stack]) -> Vec<Packet> {
    const QUIET: Duration = Duration::from_millis(50);
    // So that a process that does not get its CPU does not take that for quiet.
    const ROUNDS: u32 = 1000;
    let mut hoard = Vec::new();
    let mut burst = Burst::new();
    let (mut last, mut rounds) = (Instant::now(), 0);
    while last.elapsed() < QUIET || rounds < ROUNDS {
        let before = hoard.len();
        for stack in &mut *stacks {
            stack.receive(&mut burst);
            hoard.extend(burst.drain(..));
        }
        rounds += 1;
        if hoard.len() > before {
            (last, rounds) = (Instant::now(), 0);
        }
    }
    hoard
}
