//! A server of static files: HTTP/1.1 on smoltcp, a TCP/IP stack in this process, over any
//! `smoltcp::phy::Device`; over port-api by way of [`RingDevice`].
//!
//! Read in this order: `server.rs` (the loop's body and the pool of sockets), `connection.rs` (one
//! connection), `http.rs` (requests and response heads), `files.rs` (from a path to an open file),
//! `device.rs` (frames), `path_mtu.rs` (how large they may be).
//!
//! # Limits
//! They are smoltcp's. No SYN cookies: a flood of handshakes that nobody finishes takes all sockets
//! for as long as it lasts. One question for a neighbour's address per second, over all of them.
//! No SACK. The least MTU that a router tells of counts for all peers. Each packet passes all sockets, so that thousands of
//! connections at a time are too many.

mod connection;
mod device;
mod files;
mod http;
mod path_mtu;
mod server;

pub use device::RingDevice;
pub use files::Root;
pub use server::{Config, MAX_ADDRESSES, Server};
