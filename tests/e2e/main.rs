//! A real primary, real stacks and a kernel client, each side in a network namespace of its own.
//!
//! Needs root, hugepages and the workspace's programs next to the primary's (or in
//! `$MULTISTACK_BIN`), for `kill_points` one more, and for `guest` a virtual machine: `make test` sees to all
//! of it. The tests take turns, whatever `--test-threads` says. `MULTISTACK_LONG=1` makes some of them take
//! minutes.
//!
//! Read in this order: `testbed` (what each test stands on), `process`, `netns`, then the tests; for
//! those of single frames `raw`, `scene`, `frames` before, for `torture`, `kill_points` and `soak`
//! `observer`, `beat`, `victim`, `actors`, for `vhost`, `several_workers` and `guest` `guests` and
//! `virtual_machine`.

mod actors;
mod attach;
mod authority;
mod beat;
mod claims;
mod control;
mod death;
mod egress;
mod fragments;
mod frames;
mod groups;
mod guest;
mod guests;
mod handover;
mod host_path;
mod hostile;
mod icmp;
mod ingress;
mod kill_points;
mod local;
mod malformed;
mod misbehaviour;
mod net_tools;
mod netns;
mod observer;
mod offloads;
mod path_mtu;
mod process;
mod random;
mod raw;
mod reconnect;
mod reload;
mod resources;
mod rights;
mod scene;
mod serving;
mod several_workers;
mod shutdown;
mod soak;
mod spoofing;
mod startup;
mod testbed;
mod torture;
mod users;
mod vhost;
mod victim;
mod virtual_machine;
