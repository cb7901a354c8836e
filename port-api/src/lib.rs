//! What a stack links to share a NIC through multistack.
//!
//! A stack attaches as a DPDK secondary process, claims the tuples it serves, and then moves
//! packets in bursts over rings in shared memory:
//!
//! ```no_run
//! use port_api::{Burst, Protocol, Vport};
//!
//! # fn main() -> Result<(), port_api::Error> {
//! let mut vport = Vport::attach("/run/multistack/rte.sock".as_ref(), "sink")?;
//! let claim = vport.claim(Protocol::Udp, "192.0.2.1:7".parse().unwrap())?;
//! println!("receiving what is sent to {}", claim.local());
//! let mut burst = Burst::new();
//! loop {
//!     let received = vport.rx_burst(&mut burst);
//!     for packet in &burst {
//!         println!("{} bytes", packet.data().len());
//!     }
//!     vport.release(&mut burst);
//!     if !vport.idle(received > 0) {
//!         return Err(vport.why_over());
//!     }
//! }
//! # }
//! ```
//!
//! A stack whose primary has ended or died attaches to the next one by beginning anew:
//! [`exec_again`], then [`await_primary`].
//!
//! Read in this order: [`Vport`] (attach, claim, detach), [`RingPort`] (bursts), `protocol` (what
//! is said over the control socket), `geometry` (what lies where in shared memory).
//!
//! # Trust
//! A secondary process maps all of the primary's hugepages. A stack that crashes, hangs or breaks
//! the rules of this crate hurts only itself; a *malicious* one is not kept out by anything here.

mod backoff;
mod burst;
mod claim;
mod client;
mod conn;
mod desc;
mod error;
pub mod geometry;
mod holder;
pub mod protocol;
mod raw;
mod reattach;
mod ring_port;
mod switch_side;
mod vport;

pub use backoff::{Backoff, sharpen_sleeps};
pub use burst::{BURST, Burst, Packet};
pub use claim::{Claim, bind, with_sockets};
pub use client::Client;
pub use conn::{Connection, MAX_FDS, MAX_MESSAGE, Received, parse};
pub use desc::{Desc, MAX_BUFFERS, MAX_FRAME};
pub use error::Error;
pub use holder::kernel_holder;
pub use protocol::{ClaimSpec, Kind, Protocol, What};
pub use raw::{Buffers, Region, Status, netns_cookie};
pub use reattach::{await_primary, exec_again};
pub use ring_port::{RingPort, StackRings};
pub use switch_side::SwitchSide;
pub use vport::Vport;
