//! A hash table with bounded probes: two buckets of seven, whatever the key.
//!
//! Each worker has its own. Only claims put entries in, never packets, so no traffic can make it
//! grow; and since a lookup touches at most two buckets, none can make it slow. The hash is seeded
//! with a secret, so that no one outside can choose keys which share a bucket.
//!
//! A bucket is one word: seven tags, and how many keys had to go to their second bucket. Most lookups
//! read that word, and one key if there is a hit. The words of a million entries take 2 MiB.
//!
//! All memory is there from the start, but few entries use little of it, so that they stay in the
//! nearest cache: the number of buckets in use doubles as they fill up, until moving what is in them
//! would hold packets up.

use dpdk::HugeSlice;
use ring::prefetch_read;

/// Entries per bucket; its eighth slot stays empty, so that places follow by shifts.
const WAYS: u32 = 7;
const SLOTS: usize = 8;
/// Keys that share a bucket before the next one looks for an emptier one.
const CROWDED: u32 = 5;
/// Keys per bucket, on average, of a table that is full.
const LOAD: usize = 4;
/// Keys per bucket, on average, before more buckets are taken into use.
const ROOMY: usize = 2;
/// How many buckets are used at first, and up to how many their number doubles.
const FEWEST: usize = 16;
const DOUBLED: usize = 256;

/// A key that can be hashed.
pub trait Key: Copy + Default + Eq {
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

/// There are as many keys as the table was made for; or there is no room in either bucket of a key, nor
/// in the other bucket of any key that is there. With at most 4 of 7 slots in use, as
/// [`FlowTable::new`] sizes it, that is improbable beyond meeting it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// The lowest bit of each byte.
const LOWEST: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each byte.
const HIGHEST: u64 = LOWEST << 7;
/// The tags of a bucket; above them is the number of keys that went elsewhere.
const TAGS: u64 = (1 << ELSEWHERE) - 1;
const ELSEWHERE: u32 = 56;

/// The highest bit of each tag that is zero, and no other.
#[inline(always)]
const fn zero_tags(word: u64) -> u64 {
    !(((word & !HIGHEST) + !HIGHEST) | word) & HIGHEST & TAGS
}

/// A key and what it leads to. Not across cache lines.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Slot<K, V> {
    key: K,
    value: V,
}

/// From keys to what is known of their holders.
pub struct FlowTable<K, V> {
    buckets: HugeSlice<u64>,
    slots: HugeSlice<Slot<K, V>>,
    /// One less than the number of buckets in use, a power of two.
    mask: usize,
    len: u32,
    capacity: u32,
    seed: Seed,
}

/// Where a key may be: its hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct Home(u64);

#[allow(clippy::cast_possible_truncation)] // bits of a hash
impl Home {
    #[inline(always)]
    const fn first(self, mask: usize) -> usize {
        self.0 as usize & mask
    }

    #[inline(always)]
    const fn second(self, mask: usize) -> usize {
        (self.0 >> 24) as usize & mask
    }

    /// Never that of an empty slot.
    #[inline(always)]
    const fn tag(self) -> u8 {
        (self.0 >> 56) as u8 | 0x80
    }
}

impl<K: Key, V: Copy + Default> FlowTable<K, V> {
    /// An empty table for up to `capacity` entries, with all its memory allocated.
    pub fn new(capacity: u32, seed: Seed) -> Self {
        let buckets = (capacity as usize).div_ceil(LOAD).next_power_of_two();
        Self {
            buckets: HugeSlice::from_fn(buckets, || 0),
            slots: HugeSlice::from_fn(buckets * SLOTS, Slot::default),
            mask: buckets.min(FEWEST) - 1,
            len: 0,
            capacity,
            seed,
        }
    }

    /// Where `key` may be, for [`get_at`](Self::get_at).
    #[inline(always)]
    pub fn home(&self, key: &K) -> Home {
        Home(key.hash(self.seed))
    }

    /// Asks the CPU to fetch what [`get_at`](Self::get_at) will read first.
    #[inline(always)]
    pub fn prefetch_bucket(&self, home: Home) {
        prefetch_read(&raw const self.buckets[home.first(self.mask)]);
    }

    /// Asks the CPU to fetch what [`get_at`](Self::get_at) will read then. Reads the bucket.
    #[inline(always)]
    pub fn prefetch_slot(&self, home: Home) {
        let first = home.first(self.mask);
        let matches = matches(self.buckets[first], home.tag());
        prefetch_read(&raw const self.slots[first * SLOTS + lowest(matches) % SLOTS]);
    }

    /// What `key` leads to.
    #[inline(always)]
    pub fn get(&self, key: &K) -> Option<V> {
        self.get_at(key, self.home(key))
    }

    /// What `key` leads to, whose home is known.
    #[inline(always)]
    pub fn get_at(&self, key: &K, home: Home) -> Option<V> {
        self.find(key, home).map(|at| self.slots[at].value)
    }

    /// In which slot `key` is.
    #[inline(always)]
    fn find(&self, key: &K, home: Home) -> Option<usize> {
        let first = home.first(self.mask);
        let bucket = self.buckets[first];
        let found = self.find_in(first, bucket, key, home.tag());
        if found.is_none() && bucket >> ELSEWHERE != 0 {
            return self.find_elsewhere(key, home);
        }
        found
    }

    #[inline(never)]
    fn find_elsewhere(&self, key: &K, home: Home) -> Option<usize> {
        let second = home.second(self.mask);
        self.find_in(second, self.buckets[second], key, home.tag())
    }

    #[inline(always)]
    fn find_in(&self, at: usize, bucket: u64, key: &K, tag: u8) -> Option<usize> {
        let mut matches = matches(bucket, tag);
        while matches != 0 {
            let slot = at * SLOTS + lowest(matches);
            if self.slots[slot].key == *key {
                return Some(slot);
            }
            matches &= matches - 1;
        }
        None
    }

    /// Has `key` lead to `value`, whatever it led to before. Tells what that was.
    ///
    /// # Errors
    /// [`Full`].
    pub fn insert(&mut self, key: K, value: V) -> Result<Option<V>, Full> {
        let home = self.home(&key);
        if let Some(at) = self.find(&key, home) {
            return Ok(Some(std::mem::replace(&mut self.slots[at].value, value)));
        }
        if self.len == self.capacity {
            return Err(Full);
        }
        if self.len as usize >= self.in_use() * ROOMY {
            self.grow();
        }
        while !self.place(home, Slot { key, value }) {
            if !self.grow() {
                return Err(Full);
            }
        }
        self.len += 1;
        Ok(None)
    }

    /// How many buckets are in use.
    const fn in_use(&self) -> usize {
        self.mask + 1
    }

    /// Puts a new entry into the better of its buckets. False if there is no room.
    fn place(&mut self, home: Home, entry: Slot<K, V>) -> bool {
        let used = |at: usize| WAYS - zero_tags(self.buckets[at]).count_ones();
        let (first, second) = (home.first(self.mask), home.second(self.mask));
        let stays = used(first) < CROWDED || used(first) <= used(second);
        let at = if stays { first } else { second };
        if zero_tags(self.buckets[at]) == 0 && !self.make_way(at) {
            return false;
        }
        if !stays {
            self.send_elsewhere(first);
        }
        self.put(at, home, entry);
        true
    }

    /// Puts an entry into a bucket that has room for it.
    fn put(&mut self, at: usize, home: Home, entry: Slot<K, V>) {
        let free = lowest(zero_tags(self.buckets[at]));
        self.buckets[at] |= u64::from(home.tag()) << (free * 8);
        self.slots[at * SLOTS + free] = entry;
    }

    /// Takes more buckets into use. False if all are.
    ///
    /// The place of a key only gains bits, so that what comes to a bucket has been in the same one
    /// before, and fits.
    #[cold]
    fn grow(&mut self) -> bool {
        let (before, all) = (self.in_use(), self.buckets.len());
        if before == all {
            return false;
        }
        let old_mask = self.mask;
        self.mask = if before < DOUBLED {
            before * 2 - 1
        } else {
            all - 1
        };
        for at in 0..before {
            self.buckets[at] &= TAGS;
        }
        for at in 0..before {
            let tags = self.buckets[at] & TAGS;
            self.buckets[at] -= tags;
            for way in (0..WAYS as usize).filter(|way| tags >> (way * 8) & 0xff != 0) {
                self.put_again(self.slots[at * SLOTS + way], at, old_mask);
            }
        }
        true
    }

    /// Puts what was in this bucket into that which has taken its place.
    fn put_again(&mut self, entry: Slot<K, V>, was_at: usize, old_mask: usize) {
        let home = self.home(&entry.key);
        let (first, second) = (home.first(self.mask), home.second(self.mask));
        if home.first(old_mask) == was_at {
            self.put(first, home, entry);
        } else {
            self.send_elsewhere(first);
            self.put(second, home, entry);
        }
    }

    /// Moves one key of a full bucket to its other one. False if those are full as well.
    #[cold]
    fn make_way(&mut self, at: usize) -> bool {
        for slot in at * SLOTS..at * SLOTS + WAYS as usize {
            let entry = self.slots[slot];
            let home = self.home(&entry.key);
            let (first, second) = (home.first(self.mask), home.second(self.mask));
            let other = if first == at { second } else { first };
            let free = zero_tags(self.buckets[other]);
            if free == 0 {
                continue;
            }
            self.put(other, home, entry);
            self.buckets[at] &= !(0xff << (slot % SLOTS * 8));
            if other == second {
                self.send_elsewhere(first);
            } else {
                self.come_home(first);
            }
            return true;
        }
        false
    }

    /// Notes that a key of this bucket is in its second one. Beyond 255 the note stays for good.
    fn send_elsewhere(&mut self, at: usize) {
        if self.buckets[at] >> ELSEWHERE < 0xff {
            self.buckets[at] += 1 << ELSEWHERE;
        }
    }

    /// The opposite.
    fn come_home(&mut self, at: usize) {
        if self.buckets[at] >> ELSEWHERE < 0xff {
            self.buckets[at] -= 1 << ELSEWHERE;
        }
    }

    /// Takes `key` out. Tells what it led to.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let home = self.home(key);
        let slot = self.find(key, home)?;
        let at = slot / SLOTS;
        self.buckets[at] &= !(0xff << (slot % SLOTS * 8));
        let first = home.first(self.mask);
        if at != first {
            self.come_home(first);
        }
        self.len -= 1;
        Some(self.slots[slot].value)
    }

    /// How many keys there are.
    #[inline]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// True if no one holds a key of this kind, so that a lookup can be skipped.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The highest bit of each tag in a bucket that is `tag`.
#[inline(always)]
const fn matches(bucket: u64, tag: u8) -> u64 {
    zero_tags(bucket ^ (tag as u64 * LOWEST))
}

/// The way of the lowest match; 8 if there is none.
#[inline(always)]
const fn lowest(matches: u64) -> usize {
    matches.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests;
