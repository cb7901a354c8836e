//! The switch.
//!
//! Read in this order: `worker` (the data path), `quick`, `classify` and `egress` (what it decides by),
//! `tables`, `key` and `flow_table` (who has claimed what), `fragments`, `vport` (rings and what is
//! held), `command` (how the control thread talks to the
//! workers), `control` (how stacks talk to the control thread), `run` (start) and `ending`.

#![deny(unsafe_code)]

pub mod access;
pub mod claims;
pub mod classify;
pub mod command;
pub mod config;
pub mod confinement;
pub mod control;
pub mod counters;
pub mod egress;
mod ending;
pub mod error;
pub mod explain;
pub mod flow_table;
pub mod foreign;
pub mod fragments;
pub mod guests;
pub mod io;
pub mod key;
pub mod meter;
pub mod missed;
pub mod nics;
pub mod pace;
pub mod peer;
pub mod plan;
pub mod policy;
pub mod queries;
pub mod quick;
pub mod refusal;
pub mod run;
mod shares;
pub mod signals;
pub mod socket;
pub mod stacks;
mod stages;
pub mod stock;
pub mod tables;
pub mod trace;
pub mod verdict;
pub mod vport;
pub mod watch;
pub mod worker;
pub mod workers;
