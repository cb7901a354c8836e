//! The data path, on mock NICs and a mock pool: verdicts, conservation, and stacks that misbehave.

#[path = "../common/mod.rs"]
mod common;
#[path = "../../../vhost-port/tests/mock/mod.rs"]
#[allow(clippy::pedantic)] // its tests' own
mod mock;

mod anything;
mod egress;
mod fragments;
mod guests;
mod handover;
mod icmp;
mod ingress;
mod local;
mod neighbours;
mod pieces;
mod rings;
mod sequences;
mod shares;
mod steps;
mod tables;
mod traces;
mod vm;
