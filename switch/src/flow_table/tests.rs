use super::*;
use crate::key::{Connection4, Ends};
use proptest::prelude::*;
use std::collections::HashMap;
use wire::Vlan;

impl Key for u64 {
    fn hash(&self, seed: Seed) -> u64 {
        seed.fold(*self, 0)
    }
}

const SEED: Seed = Seed([0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f]);

fn other(number: u64) -> Seed {
    let word = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
    Seed([word(number), word(number + 7)])
}

proptest! {
    #[test]
    fn equals_a_hash_map(steps in prop::collection::vec((0u64..200, any::<Option<u16>>()), 0..900)) {
        let mut table = FlowTable::new(4096, SEED);
        let mut model = HashMap::new();
        for (key, vport) in steps {
            if let Some(vport) = vport {
                prop_assert_eq!(table.insert(key, vport), Ok(model.insert(key, vport)));
            } else {
                prop_assert_eq!(table.remove(&key), model.remove(&key));
            }
            prop_assert_eq!(table.len() as usize, model.len());
            for key in 0..200 {
                prop_assert_eq!(table.get(&key), model.get(&key).copied());
            }
        }
    }
}

/// Four keys to a bucket of seven: some buckets overflow, and keys have to make way.
#[test]
fn is_as_good_as_its_word_when_it_is_full() {
    const KEYS: u64 = 1 << 18;
    for seed in 1..6u64 {
        #[allow(clippy::cast_possible_truncation)] // 2^18
        let mut table = FlowTable::new(KEYS as u32, other(seed));
        for key in 0..KEYS {
            assert_eq!(table.insert(key, key), Ok(None), "seed {seed}, key {key}");
        }
        assert!((0..KEYS).all(|key| table.get(&key) == Some(key)));
        assert_eq!(table.get(&KEYS), None);
        for key in 0..KEYS {
            assert_eq!(table.remove(&key), Some(key));
        }
        assert!(table.buckets.iter().all(|bucket| *bucket == 0));
    }
}

#[test]
fn keeps_everything_as_it_grows() {
    const KEYS: u64 = 1_000;
    for seed in 1..50u64 {
        let mut table = FlowTable::new(100_000, other(seed));
        let mut sizes = vec![table.in_use()];
        for key in 0..KEYS {
            assert_eq!(table.insert(key, key), Ok(None));
            if sizes.last() != Some(&table.in_use()) {
                sizes.push(table.in_use());
                assert!((0..=key).all(|key| table.get(&key) == Some(key)));
                assert!((key + 1..KEYS).all(|key| table.get(&key).is_none()));
            }
        }
        assert_eq!(sizes, [16, 32, 64, 128, 256, 32_768]);
        for key in 0..KEYS {
            assert_eq!(table.remove(&key), Some(key));
        }
        assert!(table.buckets.iter().all(|bucket| *bucket == 0));
    }
}

/// What someone has found to share a bucket under one secret is spread under any other.
#[test]
fn chosen_flows_collide_under_one_secret_only() {
    let flow = |number: u32| {
        Connection4::new(&Ends {
            local: 0x0a00_0001,
            remote: 0x0a01_0000 | number >> 16,
            local_port: 80,
            #[allow(clippy::cast_possible_truncation)] // the rest is in the address
            remote_port: number as u16,
            proto: 6,
            vlan: Vlan::NONE,
            zone: 0,
        })
    };
    let mask = FlowTable::<Connection4, u16>::new(1 << 14, SEED)
        .buckets
        .len()
        - 1;
    let bucket = |number, seed| Home(flow(number).hash(seed)).first(mask);
    let chosen: Vec<_> = (0..1 << 20).filter(|n| bucket(*n, SEED) == 0).collect();
    assert!(chosen.len() > 100, "{}", chosen.len());
    for seed in 1..50u64 {
        let mut crowd = HashMap::new();
        for number in &chosen {
            *crowd.entry(bucket(*number, other(seed))).or_insert(0) += 1;
        }
        let most = crowd.values().max();
        assert!(most < Some(&WAYS), "seed {seed}: {most:?}");
    }
}

#[test]
fn holds_its_capacity_and_refuses_more() {
    for seed in 1..20u64 {
        let mut table = FlowTable::new(5_000, other(seed));
        for key in 0..5_000u64 {
            assert_eq!(table.insert(key, 1), Ok(None), "seed {seed}, key {key}");
        }
        assert_eq!(table.insert(5_000, 1), Err(Full));
        assert_eq!(table.len(), 5_000);
        assert_eq!(table.get(&5_000), None);
        table.remove(&17);
        assert_eq!(table.insert(5_000, 2), Ok(None));
        assert_eq!(table.get(&5_000), Some(2));
    }
}
