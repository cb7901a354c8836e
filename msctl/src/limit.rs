//! `msctl limit`: what a vport may receive and send per second.

use port_api::Client;
use port_api::protocol::{Limit, Reply, Request};

use crate::{Failure, fetch, print};

#[derive(clap::Args)]
pub struct Args {
    /// A vport's number, or the name of the one stack that has it
    vport: String,
    /// Most that it receives per second: packets, bits of frames without FCS, or both, such as
    /// 500kpps, 2.5Gbps, 1Mpps,1Gbps; or none. What is beyond it is dropped (rate-limit)
    #[arg(long, value_name = "LIMIT")]
    rx: Option<Limit>,
    /// Most that it sends per second; what is beyond it waits in its tx ring
    #[arg(long, value_name = "LIMIT")]
    tx: Option<Limit>,
}

/// Sets what is given, and shows what then is.
pub fn run(client: &Client, args: &Args) -> Result<(), Failure> {
    let request = Request::Limit {
        vport: find(client, &args.vport)?,
        rx: args.rx,
        tx: args.tx,
    };
    match client.call(&request, &[])? {
        Reply::Limits { rx, tx } => Ok(print(&format!("rx {rx}\ntx {tx}\n"))?),
        other => Err(port_api::Error::Protocol(format!("not limits: {other:?}")).into()),
    }
}

/// The vport that is called so, or has this number.
pub fn find(client: &Client, vport: &str) -> Result<u16, Failure> {
    if let Ok(slot) = vport.parse() {
        return Ok(slot);
    }
    let stacks = fetch::stacks(client)?;
    let mut named = stacks.iter().filter(|stack| stack.name == vport);
    match (named.next(), named.next()) {
        (Some(stack), None) => Ok(stack.slot),
        (None, _) => Err(Failure::Vport(format!("no stack is called {vport}"))),
        (Some(_), Some(_)) => Err(Failure::Vport(format!(
            "several stacks are called {vport}: give the vport's number (msctl stacks)"
        ))),
    }
}
