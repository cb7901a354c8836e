//! Front ends that keep to the rules, and how a device comes and goes.

#[path = "../common/mod.rs"]
mod common;

mod life;
mod negotiation;
mod running;
mod sockets;
