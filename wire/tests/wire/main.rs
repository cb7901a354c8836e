//! Tests of `wire` from outside: one module per layer, then properties of all frames. How it
//! compares with other parsers is `difftest`'s to say.

mod emit;
mod emitted;
mod ethernet;
mod fragments;
mod icmp;
mod ipv4;
mod ipv6;
mod l4;
mod nd;
mod properties;
mod support;
mod verify;
mod vlan;
