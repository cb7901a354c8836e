//! What one side sends the other gets, whatever the shape of buffers, in both formats.

mod mock;

use std::collections::{HashMap, VecDeque};

use mock::{BUFFERS, Driver, Guest, Part, frame, pair, pattern};
use proptest::prelude::*;
use vhost_port::{Next, feature};

const COMMON: u64 = feature::VERSION_1 | feature::INDIRECT_DESC | feature::IN_ORDER;

/// Queue format and size, header, indexes at the start.
#[derive(Clone, Debug)]
struct Shape {
    features: u64,
    size: u16,
    start: u16,
}

fn shape() -> impl Strategy<Value = Shape> {
    let split = (0..6u32, any::<bool>(), any::<bool>(), any::<u16>()).prop_map(
        |(log, merge, modern, start)| {
            let merge = if merge { feature::MRG_RXBUF } else { 0 };
            let modern = if modern { feature::VERSION_1 } else { 0 };
            Shape {
                features: merge | modern | feature::INDIRECT_DESC,
                size: 8 << log,
                start,
            }
        },
    );
    let packed = (5..70u16, any::<bool>()).prop_map(|(size, merge)| {
        let merge = if merge { feature::MRG_RXBUF } else { 0 };
        Shape {
            features: COMMON | feature::RING_PACKED | merge,
            size,
            start: 0,
        }
    });
    prop_oneof![split, packed]
}

fn header_len(features: u64) -> usize {
    match features & (feature::VERSION_1 | feature::MRG_RXBUF) {
        0 => 10,
        _ => 12,
    }
}

/// A buffer: bytes of each part, and whether they are in an indirect table.
type Buffer = (Vec<u32>, bool);

fn buffer() -> impl Strategy<Value = Buffer> {
    (proptest::collection::vec(0..900u32, 1..5), any::<bool>())
}

/// Hands out places for buffers, and finds them again.
struct Heap {
    at: u64,
    out: HashMap<u16, Vec<Part>>,
}

impl Heap {
    fn place(&mut self, lens: &[u32], write: bool) -> Vec<Part> {
        let mut parts = Vec::new();
        for &len in lens {
            parts.push(Part {
                addr: self.at,
                len,
                write,
            });
            self.at += u64::from(len) + 3;
        }
        if self.at > BUFFERS + 0xc0_0000 {
            self.at = BUFFERS;
        }
        parts
    }
}

/// Where the `number`th indirect table is: behind all buffers.
fn table(number: u64) -> u64 {
    BUFFERS + 0xd0_0000 + number % 1000 * 512
}

fn read_all(guest: &Guest, parts: &[Part]) -> Vec<u8> {
    let part = |p: &Part| guest.read(p.addr, p.len as usize);
    parts.iter().flat_map(part).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn guest_receives_what_was_delivered(
        shape in shape(),
        buffers in proptest::collection::vec(buffer(), 1..150),
        lens in proptest::collection::vec(0..2500usize, 1..150),
        burst in 1..40usize,
    ) {
        let guest = Guest::new();
        let mut driver = Driver::new(&guest, 0, shape.size, shape.features, shape.start);
        let mut pair = pair(&guest, shape.features, Some(&driver), None);
        let header = header_len(shape.features);
        let merge = shape.features & feature::MRG_RXBUF != 0;
        driver.calls();
        let mut heap = Heap { at: BUFFERS, out: HashMap::new() };
        let mut tables = 0;
        // Buffers that the driver has out, in order, by their room.
        let mut rooms: VecDeque<usize> = VecDeque::new();
        let mut buffers = buffers.into_iter();
        let frames: Vec<_> = lens.iter().enumerate().map(|(i, len)| pattern(i, *len)).collect();
        let mut left = &frames[..];
        let mut expected = VecDeque::new();
        let mut next = buffers.next();
        while !left.is_empty() {
            while let Some((lens, indirect)) = &next {
                let mut lens = lens.clone();
                lens[0] += u32::try_from(header).unwrap();
                let parts = heap.place(&lens, true);
                // Nothing of it is as it should be by chance.
                for part in &parts {
                    guest.write(part.addr, &vec![0xee; part.len as usize]);
                }
                tables += 1;
                let table = indirect.then(|| table(tables));
                let Some(id) = driver.add(&guest, &parts, table) else { break };
                rooms.push_back(lens.iter().map(|l| *l as usize).sum());
                heap.out.insert(id, parts);
                next = buffers.next();
            }
            let now = &left[..burst.min(left.len())];
            let done = pair.receive(now.iter().map(|f| frame(f))).unwrap();
            // The same by the rules.
            let (mut delivered, mut too_long) = (0, 0);
            for frame in now {
                let need = header + frame.len();
                let mut room = 0;
                let mut count = 0;
                while room < need && count < rooms.len() && (merge || count == 0) {
                    room += rooms[count];
                    count += 1;
                }
                if count == 0 {
                    break;
                }
                if room < need {
                    if merge { break; }
                    too_long += 1;
                    continue;
                }
                rooms.drain(..count);
                delivered += 1;
                expected.push_back(frame);
            }
            prop_assert_eq!((done.delivered, done.too_long), (delivered, too_long));
            prop_assert_eq!(driver.calls(), u64::from(delivered > 0));
            left = &left[done.taken()..];
            // The guest takes what is there.
            while let Some((id, len)) = driver.used(&guest) {
                let mut bytes = read_all(&guest, &heap.out.remove(&id).unwrap());
                bytes.truncate(len as usize);
                prop_assert_eq!(bytes.len(), len as usize);
                prop_assert_eq!(&bytes[..10], &[0; 10]);
                let count = if header == 12 { u16::from_le_bytes([bytes[10], bytes[11]]) } else { 1 };
                for _ in 1..count {
                    let (id, len) = driver.used(&guest).unwrap();
                    let more = read_all(&guest, &heap.out.remove(&id).unwrap());
                    bytes.extend(&more[..len as usize]);
                }
                prop_assert_eq!(&bytes[header..], &expected.pop_front().unwrap()[..]);
            }
            prop_assert!(expected.is_empty());
            if done.taken() == 0 && (next.is_none() || rooms.len() >= usize::from(shape.size) / 5) {
                break;
            }
        }
    }

    #[test]
    fn what_the_guest_sends_arrives(
        shape in shape(),
        packets in proptest::collection::vec((buffer(), 0..2000usize), 1..200),
        burst in 1..40usize,
    ) {
        let guest = Guest::new();
        let mut driver = Driver::new(&guest, 0, shape.size, shape.features, shape.start);
        let mut pair = pair(&guest, shape.features, None, Some(&driver));
        let header = header_len(shape.features);
        driver.calls();
        let mut heap = Heap { at: BUFFERS, out: HashMap::new() };
        let mut packets = packets.into_iter().enumerate();
        let mut next = packets.next();
        let mut waiting = VecDeque::new();
        let mut tables = 0;
        let mut buffer = vec![0; 4000];
        while next.is_some() || !waiting.is_empty() {
            while let Some((i, ((lens, indirect), room))) = &next {
                let mut lens = lens.clone();
                // The header may be spread over any of them.
                *lens.last_mut().unwrap() += u32::try_from(header).unwrap();
                let parts = heap.place(&lens, false);
                let total = lens.iter().sum::<u32>() as usize;
                let mut bytes = vec![0; header];
                bytes.extend(pattern(*i, total - header));
                let mut rest = &bytes[..];
                for part in &parts {
                    let (now, later) = rest.split_at(part.len as usize);
                    guest.write(part.addr, now);
                    rest = later;
                }
                tables += 1;
                let table = indirect.then(|| table(tables));
                if driver.add(&guest, &parts, table).is_none() { break }
                waiting.push_back((bytes.split_off(header), *room));
                next = packets.next();
            }
            prop_assert!(!waiting.is_empty());
            prop_assert!(pair.begin_send().unwrap() > 0);
            let mut got = 0;
            for _ in 0..burst {
                let Some((bytes, room)) = waiting.front() else { break };
                match pair.copy_next(&mut buffer[..*room]).unwrap() {
                    Next::End => break,
                    Next::Larger(sent) => {
                        prop_assert!(bytes.len() > *room);
                        prop_assert_eq!(sent.len, bytes.len());
                        if room % 2 == 0 {
                            pair.skip_next().unwrap();
                        } else {
                            prop_assert_eq!(pair.copy_next(&mut buffer).unwrap(), Next::Copied(sent));
                            prop_assert_eq!(&buffer[..sent.len], &bytes[..]);
                        }
                    }
                    Next::Copied(sent) => {
                        prop_assert!(bytes.len() <= *room);
                        prop_assert_eq!(sent.len, bytes.len());
                        prop_assert_eq!(&buffer[..sent.len], &bytes[..]);
                    }
                }
                waiting.pop_front();
                got += 1;
            }
            prop_assert!(got > 0);
            pair.end_send().unwrap();
            prop_assert_eq!(driver.calls(), 1);
            for _ in 0..got {
                prop_assert!(driver.used(&guest).is_some());
            }
            prop_assert!(driver.used(&guest).is_none());
        }
    }
}

/// Within a burst, too: a driver takes a part of a frame's buffers for a mistake.
#[test]
fn a_frame_is_shown_whole_or_not_at_all() {
    const EACH: usize = 3;
    let features = COMMON | feature::RING_PACKED | feature::MRG_RXBUF;
    let guest = Guest::new();
    let mut driver = Driver::new(&guest, 0, 64, features, 0);
    let mut pair = pair(&guest, features, Some(&driver), None);
    for number in 0..60 {
        let part = Part {
            addr: BUFFERS + 128 * number,
            len: 100,
            write: true,
        };
        driver.add(&guest, &[part], None).unwrap();
    }
    let frames: Vec<_> = (0..20).map(|seed| pattern(seed, 250)).collect();
    let (mut shown, mut waiting) = (0, 0);
    let looked_at = frames.iter().enumerate().map(|(before, bytes)| {
        while driver.used(&guest).is_some() {
            shown += 1;
        }
        assert_eq!(shown % EACH, 0);
        waiting = waiting.max(EACH * before - shown);
        frame(bytes)
    });
    assert_eq!(pair.receive(looked_at).unwrap().delivered, 20);
    assert!(shown > 0, "a burst is not held back as a whole");
    assert!(waiting <= 3, "no longer than for a line of descriptors");
    while driver.used(&guest).is_some() {
        shown += 1;
    }
    assert_eq!(shown, 20 * EACH);
}
