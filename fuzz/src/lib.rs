//! What the fuzz targets have in common: a small world of addresses and claims, frames built from
//! the fuzzer's bytes, and naive second opinions on both.
//!
//! `judge` reads frames by the letter of the RFCs, sharing no code with `wire`; `model` looks
//! claims up by going through all of them. Where the switch and these two differ, one is wrong.

pub mod bench;
pub mod frame;
pub mod front_end;
#[path = "../../switch/tests/common/groups.rs"]
#[allow(clippy::all, clippy::pedantic)] // the tests' own
pub mod groups;
pub mod hostile_switch;
pub mod input;
#[path = "../../switch/tests/common/io.rs"]
#[allow(missing_docs, clippy::all, clippy::pedantic)] // the tests' own
pub mod io;
pub mod judge;
#[path = "../../switch/tests/common/lab.rs"]
#[allow(missing_docs, clippy::all, clippy::pedantic)] // the tests' own
pub mod lab;
#[path = "../../smoke/src/hostile/messages.rs"]
pub mod messages;
pub mod model;
pub mod reassembly;
pub mod received;
pub mod sent;
pub mod sums;
#[path = "../../vhost-port/tests/common/mod.rs"]
#[allow(missing_docs, clippy::all, clippy::pedantic)] // the tests' own
pub mod vhost_tests;
pub mod words;
pub mod world;
