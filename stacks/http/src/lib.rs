//! A server of static files: HTTP/1.1 on smoltcp, a TCP/IP stack in this process, over any
//! `smoltcp::phy::Device`; over port-api by way of [`RingDevice`].
//!
//! Read in this order: `server.rs` (the loop's body and the pool of sockets), `connection.rs` (one
//! connection), `http.rs` (requests and response heads), `files.rs` (from a path to an open file),
//! `device.rs` (frames).

mod connection;
mod device;
mod files;
mod http;
mod server;

pub use device::RingDevice;
pub use files::Root;
pub use server::{Config, MAX_ADDRESSES, Server};
