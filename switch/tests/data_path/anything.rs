//! Any bytes get exactly one verdict, the same one whoever listens, and without a panic.

use dpdk::mbuf::Checksum;
use proptest::prelude::*;
use proptest::sample::select;
use switch::classify::{Arrival, classify};
use switch::egress;
use switch::key::Subject;
use switch::tables::{Holder, Tables};
use switch::trace::{MAX_NOTES, Note, Notes};
use switch::verdict::{DROP_REASONS, Verdict};
use wire::{Body, Origin, Vlan};

use crate::common::groups;
use crate::common::recipe::{Way, frame, subject};
use crate::common::{Bench, SEED, nics};

fn tables(claims: &[(Subject, u16)]) -> Tables {
    let mut tables = Tables::new(64, SEED);
    for (subject, slot) in claims {
        let holder = Holder::new(*slot, subject.spec.verify);
        tables.insert(subject, holder).unwrap();
    }
    tables
}

proptest! {
    #[test]
    fn every_frame_gets_one_verdict(
        claims in prop::collection::vec((subject(), 2u16..6), 0..12),
        frame in prop_oneof![frame(Way::In), frame(Way::Out), frame(Way::Here)],
        checksum in select(vec![Checksum::Unknown, Checksum::Good, Checksum::Bad]),
        at in 0usize..2,
    ) {
        let (tables, nic) = (tables(&claims), &nics()[at]);
        for origin in [Origin::Wire, Origin::Local] {
            let arrival = Arrival { frame: &frame, origin, checksum };
            let mut notes = Notes::default();
            let verdict = classify(&arrival, nic, &tables, &mut notes);
            prop_assert_eq!(&verdict, &classify(&arrival, nic, &tables, &mut ()));
            match &verdict {
                Verdict::Vport { slot, .. } => prop_assert!((2..6).contains(slot)),
                Verdict::Drop(reason) => prop_assert!(reason.index() < DROP_REASONS),
                _ => {}
            }
            let is_parsed = matches!(notes.0.first(), Some(Note::Parsed(_)));
            prop_assert_eq!(is_parsed, wire::parse(&frame, origin).is_ok());
            prop_assert!(notes.0.len() < MAX_NOTES / 2);
        }
        // The short cut for what is common takes nothing that the rules would not.
        for origin in [Origin::Wire, Origin::Local] {
            let parsed = wire::parse(&frame, origin).map(|parsed| (parsed.vlan, parsed.body));
            if let Some(tuple) = wire::common_v4(&frame) {
                let is_same = matches!(parsed, Ok((Vlan::NONE, Body::V4(l4))) if l4.tuple == tuple);
                prop_assert!(is_same, "{:?}", parsed);
            }
            if let Some(tuple) = wire::common_v6(&frame) {
                let is_same = matches!(parsed, Ok((Vlan::NONE, Body::V6(l4))) if l4.tuple == tuple);
                prop_assert!(is_same, "{:?}", parsed);
            }
        }
        groups::check(&frame);
        for slot in 2..6 {
            let mut notes = Notes::default();
            let checked = egress::check(&frame, nic, slot, &tables, &mut notes);
            prop_assert_eq!(checked, egress::check(&frame, nic, slot, &tables, &mut ()));
            prop_assert!(notes.0.len() < MAX_NOTES / 2);
        }
    }

    /// Whatever comes from the wire, and whatever a stack writes into its rings.
    #[test]
    fn anything_is_survived_and_conserved(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..30),
        descs in prop::collection::vec(any::<u64>(), 0..30),
        frees in prop::collection::vec(0u32..1100, 0..60),
    ) {
        let mut bench = Bench::with_stacks([3]);
        bench.claim("udp 192.0.2.1:7", 3);
        bench.receive(&frames);
        for _ in 0..3 {
            let rings = bench.rings(3);
            rings.tx.push(&descs).unwrap();
            rings.free.push(&frees).unwrap();
            bench.doorbells.ring(3);
            bench.worker.step();
        }
        prop_assert!(bench.wire().is_empty());
        bench.assert_conserved();
    }
}
