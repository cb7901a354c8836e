//! A hash table with bounded probes: two buckets of eight, whatever the key.
//!
//! Each worker has its own. Only claims put entries in, never packets, so no traffic can make it
//! grow; and since a lookup touches at most two buckets, none can make it slow. The hash is seeded
//! with a secret, so that no one outside can choose keys which share a bucket.

/// Entries per bucket: it fills a cache line.
const WAYS: usize = 8;
const EMPTY: u16 = 0;

/// A key that can be hashed.
pub trait Key: Copy + Eq {
    /// Mixes the whole key with the seed.
    fn hash(&self, seed: Seed) -> u64;
}

/// The secret of a table's hash.
#[derive(Clone, Copy, Debug)]
pub struct Seed(pub [u64; 2]);

impl Seed {
    /// Folds two words into one: a 64 x 64 multiplication whose halves are combined, as wyhash and
    /// its relatives do.
    #[inline]
    pub fn fold(self, a: u64, b: u64) -> u64 {
        let product = u128::from(a ^ self.0[0]) * u128::from(b ^ self.0[1]);
        #[allow(clippy::cast_possible_truncation)] // both halves are used
        let halves = (product as u64, (product >> 64) as u64);
        halves.0 ^ halves.1
    }
}

/// There is no room in either bucket of a key. With the table at most half full, as
/// [`FlowTable::new`] sizes it, that is improbable beyond meeting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Bucket {
    /// Sixteen bits for each way, four ways to a word.
    tags: [u64; WAYS / LANES],
    entries: [u32; WAYS],
}

/// Tags that are compared at once.
const LANES: usize = 4;
/// The lowest and the highest bit of each lane.
const LOWEST: u64 = 0x0001_0001_0001_0001;
const HIGHEST: u64 = LOWEST << 15;

/// The highest bit of each lane that is zero. Above a lane that is, one that is 1 may be taken for
/// zero too: the lowest bit that is set can be relied on.
#[inline]
const fn zero_lanes(word: u64) -> u64 {
    word.wrapping_sub(LOWEST) & !word & HIGHEST
}

impl Bucket {
    const EMPTY: Self = Self {
        tags: [EMPTY as u64; WAYS / LANES],
        entries: [0; WAYS],
    };

    fn set_tag(&mut self, way: usize, tag: u16) {
        let shift = way % LANES * 16;
        let word = &mut self.tags[way / LANES];
        *word = *word & !(0xffff << shift) | u64::from(tag) << shift;
    }

    fn is_free(&self, way: usize) -> bool {
        (self.tags[way / LANES] >> (way % LANES * 16)) & 0xffff == u64::from(EMPTY)
    }

    fn free_way(&self) -> Option<usize> {
        (0..WAYS).find(|&way| self.is_free(way))
    }

    fn used(&self) -> usize {
        (0..WAYS).filter(|&way| !self.is_free(way)).count()
    }
}

/// From keys to what is known of their holders.
pub struct FlowTable<K, V> {
    buckets: Box<[Bucket]>,
    entries: Box<[Option<(K, V)>]>,
    free: Vec<u32>,
    seed: Seed,
}

/// Where a key may be.
struct Home {
    tag: u16,
    buckets: [usize; 2],
}

impl<K: Key, V: Copy> FlowTable<K, V> {
    /// An empty table for up to `capacity` entries, with all its memory allocated.
    pub fn new(capacity: u32, seed: Seed) -> Self {
        let buckets = (capacity as usize * 2).div_ceil(WAYS).next_power_of_two();
        Self {
            buckets: vec![Bucket::EMPTY; buckets].into(),
            entries: vec![None; capacity as usize].into(),
            free: (0..capacity).rev().collect(),
            seed,
        }
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation)] // bits of a hash
    fn home(&self, key: &K) -> Home {
        let hash = key.hash(self.seed);
        let mask = self.buckets.len() - 1;
        // So that no tag is `EMPTY`, nor differs from it by the one bit that `zero_lanes` may overlook.
        let tag = (hash >> 48) as u16 | 3;
        Home {
            tag,
            buckets: [hash as usize & mask, (hash >> 24) as usize & mask],
        }
    }

    /// What `key` leads to.
    #[inline(always)]
    pub fn get(&self, key: &K) -> Option<V> {
        let home = self.home(key);
        match self.find(home.buckets[0], home.tag, key) {
            Some((_, value)) => Some(value),
            None => Some(self.find(home.buckets[1], home.tag, key)?.1),
        }
    }

    /// Where in a bucket `key` is, and what it leads to.
    #[inline(always)]
    fn find(&self, bucket: usize, tag: u16, key: &K) -> Option<(usize, V)> {
        let bucket = &self.buckets[bucket];
        let pattern = u64::from(tag) * LOWEST;
        for (word, tags) in bucket.tags.iter().enumerate() {
            let mut matches = zero_lanes(tags ^ pattern);
            while matches != 0 {
                let way = word * LANES + matches.trailing_zeros() as usize / 16;
                if let Some((k, value)) = &self.entries[bucket.entries[way] as usize]
                    && k == key
                {
                    return Some((way, *value));
                }
                matches &= matches - 1;
            }
        }
        None
    }

    /// Has `key` lead to `value`, whatever it led to before. Tells what that was.
    ///
    /// # Errors
    /// [`Full`].
    pub fn insert(&mut self, key: K, value: V) -> Result<Option<V>, Full> {
        let home = self.home(&key);
        for &bucket in &home.buckets {
            if let Some((way, _)) = self.find(bucket, home.tag, &key) {
                let entry = self.buckets[bucket].entries[way] as usize;
                let before = self.entries[entry].replace((key, value));
                return Ok(before.map(|(_, value)| value));
            }
        }
        let [first, second] = home.buckets;
        let bucket = if self.buckets[second].used() < self.buckets[first].used() {
            second
        } else {
            first
        };
        let way = self.buckets[bucket].free_way();
        let (Some(way), Some(entry)) = (way, self.free.last().copied()) else {
            return Err(Full);
        };
        self.free.pop();
        self.entries[entry as usize] = Some((key, value));
        self.buckets[bucket].entries[way] = entry;
        self.buckets[bucket].set_tag(way, home.tag);
        Ok(None)
    }

    /// Takes `key` out. Tells what it led to.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let home = self.home(key);
        for &bucket in &home.buckets {
            if let Some((way, _)) = self.find(bucket, home.tag, key) {
                let entry = self.buckets[bucket].entries[way];
                self.buckets[bucket].set_tag(way, EMPTY);
                self.free.push(entry);
                return self.entries[entry as usize].take().map(|(_, value)| value);
            }
        }
        None
    }

    /// How many keys there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    /// True if no one holds a key of this kind, so that a lookup can be skipped.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    impl Key for u64 {
        fn hash(&self, seed: Seed) -> u64 {
            seed.fold(*self, 0)
        }
    }

    const SEED: Seed = Seed([0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f]);

    proptest! {
        #[test]
        fn equals_a_hash_map(steps in prop::collection::vec((0u64..40, any::<Option<u16>>()), 0..300)) {
            let mut table = FlowTable::new(64, SEED);
            let mut model = HashMap::new();
            for (key, vport) in steps {
                if let Some(vport) = vport {
                    prop_assert_eq!(table.insert(key, vport), Ok(model.insert(key, vport)));
                } else {
                    prop_assert_eq!(table.remove(&key), model.remove(&key));
                }
                prop_assert_eq!(table.len(), model.len());
                for key in 0..40 {
                    prop_assert_eq!(table.get(&key), model.get(&key).copied());
                }
            }
        }
    }

    #[test]
    fn holds_its_capacity_and_refuses_more() {
        for seed in 1..20u64 {
            let word = |n: u64| {
                (seed + n)
                    .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                    .rotate_left(23)
            };
            let mut table = FlowTable::new(5_000, Seed([word(0), word(7)]));
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
}
