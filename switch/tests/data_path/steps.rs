//! What can happen to a worker.

use port_api::Desc;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use switch::key::Subject;

use crate::common::HOST;
use crate::common::recipe::{Way, frame, subject};

/// The vports that stacks are on.
pub const STACKS: [u16; 3] = [3, 4, 5];

#[derive(Clone, Debug)]
pub enum Step {
    Receive {
        nic: usize,
        frame: Vec<u8>,
    },
    Send {
        slot: u16,
        nic: u8,
        fill: bool,
        frame: Vec<u8>,
    },
    /// A packet that a claim in force is for, from the wire or from its owner.
    Aim {
        claims: [Index; 2],
        way: Way,
        part: Option<Index>,
    },
    /// Words that a stack writes into its rings.
    Scribble {
        slot: u16,
        descs: Vec<u64>,
        frees: Vec<u32>,
    },
    Claim {
        subject: Subject,
        slot: u16,
    },
    /// Of those in force, by its place.
    Release(Index),
    HandOver {
        claim: Index,
        to: u16,
    },
    EndFormer(Index),
    /// The stack dies, and another one takes its place.
    Replace(u16),
    Wait {
        ms: u64,
    },
}

fn slot() -> impl Strategy<Value = u16> {
    select(&STACKS[..])
}

/// One of them, the common ones more often.
pub fn step() -> impl Strategy<Value = Step> {
    let send = |way, slot: BoxedStrategy<u16>| {
        (slot, 0u8..3, any::<bool>(), frame(way)).prop_map(|(slot, nic, fill, frame)| Step::Send {
            slot,
            nic: nic / 2,
            fill,
            frame,
        })
    };
    let with_host = || select(vec![HOST, 1, 3, 4, 5]).boxed();
    let way = select(vec![Way::In, Way::Out, Way::Here]);
    let descs = prop::collection::vec(prop_oneof![any::<u64>(), desc()], 0..4);
    let frees = prop::collection::vec(0u32..1100, 0..4);
    prop_oneof![
        8 => (0usize..8, frame(Way::In))
            .prop_map(|(nic, frame)| Step::Receive { nic: nic / 7, frame }),
        4 => send(Way::Out, slot().boxed()),
        4 => send(Way::Here, with_host()),
        1 => send(Way::Out, with_host()),
        1 => (slot(), descs, frees)
            .prop_map(|(slot, descs, frees)| Step::Scribble { slot, descs, frees }),
        12 => ([any::<Index>(), any::<Index>()], way, prop::option::of(any::<Index>()))
            .prop_map(|(claims, way, part)| Step::Aim { claims, way, part }),
        6 => (subject(), slot()).prop_map(|(subject, slot)| Step::Claim { subject, slot }),
        1 => any::<Index>().prop_map(Step::Release),
        2 => (any::<Index>(), slot()).prop_map(|(claim, to)| Step::HandOver { claim, to }),
        1 => any::<Index>().prop_map(Step::EndFormer),
        1 => slot().prop_map(Step::Replace),
        1 => select(vec![1u64, 700, 2_000]).prop_map(|ms| Step::Wait { ms }),
    ]
}

/// Of a buffer that may be there.
fn desc() -> impl Strategy<Value = u64> {
    (0u32..1024, 0u16..2200, 0u16..200, 0u8..3).prop_map(|(index, offset, len, port)| {
        let checksum = false;
        Desc {
            index,
            offset,
            len,
            port,
            checksum,
        }
        .pack()
    })
}
