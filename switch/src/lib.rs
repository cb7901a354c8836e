//! The switch.
//!
//! Read in this order: `worker` (the data path), `classify` and `egress` (what it decides by),
//! `vport` (rings and what is held), `flow_table`, `command` (how the control thread talks to the
//! workers), `control` (how stacks talk to the control thread), `run` (start and end).

#![deny(unsafe_code)]

pub mod claims;
pub mod classify;
pub mod command;
pub mod config;
pub mod control;
pub mod counters;
pub mod egress;
pub mod error;
pub mod flow_table;
pub mod holder;
pub mod io;
pub mod nics;
pub mod peer;
pub mod plan;
pub mod queries;
pub mod refusal;
pub mod run;
pub mod socket;
pub mod stacks;
pub mod verdict;
pub mod vport;
pub mod worker;
pub mod workers;
