//! Tests of `wire` from outside: one module per layer, then properties of all frames, then a
//! comparison with another parser.

mod emit;
mod ethernet;
mod ipv4;
mod ipv6;
mod l4;
mod nd;
mod oracle;
mod properties;
mod support;
