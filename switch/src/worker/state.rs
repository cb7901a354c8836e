//! What a worker has, and how it begins.

use std::collections::VecDeque;

use arrayvec::ArrayVec;
use crossbeam_channel::{Receiver, Sender};
use dpdk::cpu::Cpu;
use port_api::Backoff;
use ring::Doorbells;
use wire::{GroupV4, LANES};

use super::obey::Reclaim;
use crate::classify::Nic;
use crate::command::{Answer, Command, Event};
use crate::counters::NicCounters;
use crate::flow_table::Home;
use crate::fragments::{Fragments, WaitingRoom};
use crate::io::{BURST, Bufs, Io};
use crate::quick::Quick;
use crate::stages::Stages;
use crate::tables::Tables;
use crate::vport::{Guest, Sent, Vport};

/// A NIC port on this worker.
pub(super) struct NicState<B> {
    pub(super) nic: Nic,
    /// The vport of the host behind this port.
    pub(super) host: u16,
    /// Longest frame that may be sent, in bytes without FCS and VLAN tags.
    pub(super) max_frame: usize,
    /// It finishes the checksums of TCP and UDP that are left to it.
    pub(super) finishes_checksums: bool,
    pub(super) counters: NicCounters,
    pub(super) tx: Bufs<B>,
    /// Of each packet in `tx`: the vport that it is from, and its length.
    pub(super) tx_from: ArrayVec<(u16, u16), BURST>,
    /// Since when it has had no room and taken nothing, in ms.
    pub(super) stalled_since: Option<u64>,
}

/// The packets of a burst.
pub(super) struct Hand<B> {
    /// Received.
    pub(super) burst: Bufs<B>,
    /// To be sent.
    pub(super) sent: Bufs<Sent<B>>,
    /// Of each packet in the one or the other: what decides whether it is of the common shape.
    pub(super) groups: [GroupV4; BURST / LANES],
    /// Of each packet: where to look it up.
    pub(super) homes: [Home; BURST],
    /// Of each packet in `burst`: what the short cut says.
    pub(super) quick: [Quick; BURST],
    /// Of each packet in `sent`: whether the short cut lets it go out to the wire.
    pub(super) permitted: [bool; BURST],
}

impl<B> Default for Hand<B> {
    fn default() -> Self {
        Self {
            burst: Bufs::new(),
            sent: Bufs::new(),
            groups: Default::default(),
            homes: [Home::default(); BURST],
            quick: [Quick::Uncommon; BURST],
            permitted: [false; BURST],
        }
    }
}

/// The channels between a worker and the control thread.
pub struct Channels {
    /// From the control thread.
    pub commands: Receiver<Command>,
    /// One per command, in order.
    pub answers: Sender<Answer>,
    /// Unasked.
    pub events: Sender<Event>,
}

/// A NIC port, as a worker is told of it.
#[derive(Clone, Debug)]
pub struct NicSetup {
    /// What classification needs to know.
    pub nic: Nic,
    /// The host's vport behind this port.
    pub host: u16,
    /// Longest frame that may be sent, in bytes without FCS and VLAN tags.
    pub max_frame: usize,
    /// It finishes the checksums of TCP and UDP that are left to it.
    pub finishes_checksums: bool,
}

/// All that one worker has.
pub struct Worker<I: Io> {
    pub(super) io: I,
    pub(super) nics: Vec<NicState<I::Buf>>,
    /// How many of them are received from: all, and none once the end has begun.
    pub(super) receiving: usize,
    pub(super) tables: Tables,
    pub(super) vports: Vec<Option<Box<Vport>>>,
    /// By slot: what there is besides of vports whose packets are copied, and which those are.
    pub(super) guests: Vec<Option<Box<Guest<I::Buf>>>>,
    pub(super) guest_slots: Vec<u16>,
    pub(super) doorbells: Doorbells,
    /// Vports that have something to send, or wait for empty buffers.
    pub(super) pending: Vec<u64>,
    /// Those of them that were waiting when the worker last asked who has rung: whoever is not among them comes first.
    pub(super) waited: Vec<u64>,
    /// Whose turn to send it is first, and that they had to stop there for want of room.
    pub(super) next_turn: usize,
    pub(super) was_cut_short: bool,
    /// Who has sent last, and for how many rounds of turns its turns are short because it was not alone.
    pub(super) last_sender: Option<usize>,
    pub(super) company: u32,
    pub(super) channels: Channels,
    pub(super) backoff: Backoff,
    pub(super) cpu: Cpu,
    /// Empty between two rounds. In a box, so that a round can take it out of here at no cost.
    pub(super) hand: Option<Box<Hand<I::Buf>>>,
    pub(super) freed: Bufs<I::Buf>,
    /// Vports that have got packets which their stacks have not been shown.
    pub(super) touched: VecDeque<u16>,
    /// The burst has few packets for each of many vports.
    pub(super) is_spread: bool,
    /// Vports that have been shown packets, and are still at them.
    pub(super) shown: Vec<u16>,
    /// Those of which the `free` rings are to be looked at.
    pub(super) due: Vec<u16>,
    /// Whose turn it was in [`sweep`](Self::sweep).
    pub(super) swept: usize,
    pub(super) reclaim: Option<Reclaim>,
    pub(super) rx_fragments: Fragments,
    pub(super) tx_fragments: Fragments,
    pub(super) waiting: WaitingRoom<I::Buf>,
    pub(super) rounds: u64,
    pub(super) busy_rounds: u64,
    pub(super) stages: Stages,
}

impl<I: Io> Worker<I> {
    /// A worker with no vports yet, of `slots` possible ones.
    pub fn new(
        io: I,
        nics: &[NicSetup],
        tables: Tables,
        slots: u16,
        doorbells: Doorbells,
        channels: Channels,
        pure_poll: bool,
    ) -> Self {
        let receiving = nics.len();
        let nics = nics.iter().map(|setup| NicState {
            nic: setup.nic.clone(),
            host: setup.host,
            max_frame: setup.max_frame,
            finishes_checksums: setup.finishes_checksums,
            counters: NicCounters::default(),
            tx: Bufs::new(),
            tx_from: ArrayVec::new(),
            stalled_since: None,
        });
        Self {
            io,
            nics: nics.collect(),
            receiving,
            vports: (0..slots).map(|_| None).collect(),
            guests: (0..slots).map(|_| None).collect(),
            guest_slots: Vec::with_capacity(slots.into()),
            pending: vec![0; doorbells.len()],
            waited: vec![0; doorbells.len()],
            next_turn: 0,
            was_cut_short: false,
            last_sender: None,
            company: 0,
            doorbells,
            channels,
            backoff: Backoff::new(pure_poll),
            cpu: Cpu::allowed(),
            hand: Some(Box::default()),
            freed: Bufs::new(),
            touched: VecDeque::with_capacity(slots.into()),
            is_spread: false,
            shown: Vec::with_capacity(slots.into()),
            due: Vec::with_capacity(slots.into()),
            swept: 0,
            reclaim: None,
            rx_fragments: Fragments::new(tables.seed()),
            tx_fragments: Fragments::new(tables.seed()),
            waiting: WaitingRoom::default(),
            tables,
            rounds: 0,
            busy_rounds: 0,
            stages: Stages::new(),
        }
    }
}
