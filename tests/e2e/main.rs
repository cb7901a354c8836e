//! A real primary, real stacks and a kernel client, each side in a network namespace of its own.
//!
//! Needs root, hugepages and the workspace's programs next to the primary's (or in
//! `$MULTISTACK_BIN`): `make test` sees to all of it. The tests take turns, whatever
//! `--test-threads` says. `MULTISTACK_LONG=1` makes some of them take minutes.
//!
//! Read in this order: `testbed` (what each test stands on), `process`, `netns`, then the tests; for
//! those of single frames `raw`, `scene`, `frames` before.

mod attach;
mod authority;
mod claims;
mod control;
mod death;
mod egress;
mod fragments;
mod frames;
mod groups;
mod handover;
mod host_path;
mod icmp;
mod ingress;
mod local;
mod malformed;
mod net_tools;
mod netns;
mod path_mtu;
mod process;
mod raw;
mod reconnect;
mod resources;
mod scene;
mod serving;
mod shutdown;
mod spoofing;
mod startup;
mod testbed;
