//! A front end of a vhost-user port, and its memory, with a driver's side that keeps to the rules as long as it
//! is not told to do otherwise.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

use vhost::vhost_user::message::FrontendReq;
use vhost_port::feature;

use crate::input::Input;
use crate::vhost_tests::raw::{FLAGS, Raw, Table, event, longs, memory, table, words};

/// Pairs of virtqueues.
pub const PAIRS: usize = 2;
/// A name that nothing else in this process has.
pub const NAME: &str = "multistack-fuzzed-guest";

mod chance;

use chance::{address, fds, length, long, noise, packet};

/// `VHOST_USER_F_PROTOCOL_FEATURES`.
const PROTOCOL: u64 = 1 << 30;
/// Entries of a virtqueue.
const SIZE: u16 = 16;
/// Bytes from one virtqueue to the next, and its parts from there on.
const STRIDE: u64 = 0x1000;
const AVAIL: u64 = 0x800;
const USED: u64 = 0xc00;
/// Where buffers are, and how far apart.
const BUFFERS: u64 = STRIDE * 2 * PAIRS as u64;
const ROOM: u32 = 0x400;
/// The guest's memory is two regions that adjoin.
const BORDER: u64 = 0x1_0000;
const END: u64 = 0x2_0000;
/// Front end's address of guest address 0.
const USER: u64 = 0x7f00_0000_0000;
/// Bytes of the file before and behind the memory, which is nobody's to write.
const MARGIN: u64 = 0x1000;
const SPOTLESS: [u8; MARGIN as usize] = [0x5a; MARGIN as usize];

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// A place in a virtqueue, and a packed one's wrap counter there.
#[derive(Clone, Copy)]
struct Place {
    index: u16,
    wrap: bool,
}

/// One connection.
pub struct FrontEnd {
    raw: Raw,
    memory: File,
    /// What is shared with whoever asks for it.
    other: File,
    features: u64,
    places: [Place; 2 * PAIRS],
    is_owned: bool,
    is_up: bool,
    is_whole: bool,
    /// Answers to `GET_FEATURES` that are to come.
    asked: usize,
}

impl FrontEnd {
    /// It has said nothing yet.
    pub fn new(stream: UnixStream) -> Self {
        let all = Self {
            raw: stream.into(),
            memory: memory(NAME, END + 2 * MARGIN),
            other: memory(NAME, 0x1_0000),
            features: 0,
            places: [Place {
                index: 0,
                wrap: true,
            }; 2 * PAIRS],
            is_owned: false,
            is_up: false,
            is_whole: true,
            asked: 0,
        };
        for at in [0, MARGIN + END] {
            all.memory.write_all_at(&SPOTLESS, at).expect("memory");
        }
        all
    }

    /// The other side is to end, too.
    pub fn hang_up(&self) {
        // It may have ended before.
        let _ = self.raw.socket.shutdown(Shutdown::Both);
    }

    /// Nothing was written outside of the memory that was shared.
    pub fn assert_margins(&self) {
        let mut found = SPOTLESS;
        for at in [0, MARGIN + END] {
            if self.is_whole {
                self.memory.read_exact_at(&mut found, at).expect("memory");
                assert_eq!(found, SPOTLESS, "written at {at:#x}");
            }
        }
    }

    /// Waits until all was obeyed. False if the other side has closed the connection.
    pub fn settle(&mut self) -> bool {
        self.ask();
        while self.asked > 0 {
            let mut header = [[0; 4]; 3];
            let mut socket = &self.raw.socket;
            match socket.read_exact(header.as_flattened_mut()) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("no answer"),
                Err(_) => return false,
                Ok(()) => {}
            }
            let [request, _, size] = header.map(u32::from_ne_bytes);
            let mut body = vec![0; size as usize];
            if socket.read_exact(&mut body).is_err() {
                return false;
            }
            self.asked -= usize::from(request == FrontendReq::GET_FEATURES as u32);
        }
        true
    }

    fn ask(&mut self) {
        self.asked += 1;
        self.raw.send(FrontendReq::GET_FEATURES, &[]);
    }

    // ---- the protocol ----

    /// All queues are described anew, empty, and run.
    pub fn bring_up(&mut self, features: u64) {
        if !self.is_owned {
            self.raw.send(FrontendReq::SET_OWNER, &[]);
            self.is_owned = true;
        }
        for queue in 0..self.queues() {
            if self.is_up {
                self.raw
                    .send(FrontendReq::GET_VRING_BASE, &words(&[queue, 0]));
            }
        }
        self.features = features | PROTOCOL;
        self.raw
            .send(FrontendReq::SET_FEATURES, &longs(&[self.features]));
        let regions = [
            [0, BORDER, USER, MARGIN],
            [BORDER, END - BORDER, USER + BORDER, MARGIN + BORDER],
        ];
        self.raw.share(&regions, &[&self.memory, &self.memory]);
        // The queues that were there are to have stopped.
        if !self.settle() {
            return;
        }
        self.put(0, &[0; BUFFERS as usize]);
        self.places.fill(Place {
            index: 0,
            wrap: true,
        });
        for queue in 0..self.queues() {
            let base = if self.is_packed() { 0x8000 } else { 0 };
            self.raw
                .send(FrontendReq::SET_VRING_NUM, &words(&[queue, SIZE.into()]));
            self.raw
                .send(FrontendReq::SET_VRING_BASE, &words(&[queue, base]));
            let at = USER + STRIDE * u64::from(queue);
            self.raw.addresses(queue, [at, at + USED, at + AVAIL]);
            let body = longs(&[queue.into()]);
            self.raw
                .send_fd(FrontendReq::SET_VRING_CALL, &body, event());
            self.raw.kick(queue);
            self.raw.enable(queue, 1);
        }
        self.is_up = true;
    }

    fn queues(&self) -> u32 {
        self.places.len().try_into().unwrap_or(0)
    }

    fn is_packed(&self) -> bool {
        self.features & feature::RING_PACKED != 0
    }

    /// A whole message: mostly one that there is, with a body of its kind.
    pub fn say(&mut self, input: &mut Input<'_>) {
        let request = u32::from(input.byte() % 48);
        let flags = input.pick(&[FLAGS, FLAGS, FLAGS, 9, 0, 5, 0x11]);
        let body = self.body(request, input);
        let fds: Vec<_> = (0..fds(request, input))
            .filter_map(|_| self.fd(input))
            .collect();
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        self.asked += usize::from(request == FrontendReq::GET_FEATURES as u32);
        self.raw.message(request, flags, &body, &fds);
    }

    fn body(&self, request: u32, input: &mut Input<'_>) -> Vec<u8> {
        let queue = u32::from(input.byte() % 6);
        let small = u32::from(input.word());
        match request {
            2 | 16 => {
                let any = long(input);
                longs(&[input.pick(&[feature::DATA_PATH | PROTOCOL, self.features, 8, any])])
            }
            5 => {
                let count = u32::from(input.byte() % 10);
                let region = |_| {
                    [
                        address(input),
                        length(input).into(),
                        USER.wrapping_add(address(input)),
                        address(input),
                    ]
                };
                let regions: Vec<Table> = (0..count).map(region).collect();
                table(count, &regions)
            }
            8 | 10 | 18 => words(&[queue, input.pick(&[small, small % 20, 1, 0, 16])]),
            9 => {
                let mut part = || input.pick(&[USER, 0]).wrapping_add(address(input));
                let at = [part(), part(), part()];
                [
                    words(&[queue, u32::from(input.rarely(8))]),
                    longs(&at),
                    longs(&[0]),
                ]
                .concat()
            }
            11 => words(&[queue, small]),
            12..=14 => longs(&[u64::from(queue) | if input.rarely(4) { 1 << 8 } else { 0 }]),
            _ => input
                .take(usize::from(input.0.first().copied().unwrap_or(0) % 64))
                .to_vec(),
        }
    }

    fn fd(&self, input: &mut Input<'_>) -> Option<OwnedFd> {
        Some(match input.byte() % 8 {
            0 => File::open("/dev/null").ok()?.into(),
            1 => File::open("/").ok()?.into(),
            2 => std::io::pipe().ok()?.1.into(),
            3 => self.memory.try_clone().ok()?.into(),
            4 => event(),
            _ => self.other.try_clone().ok()?.into(),
        })
    }

    /// Any bytes, after which nothing more is said.
    pub fn rave(&self, input: &mut Input<'_>) {
        let header = words(&[
            input.byte().into(),
            input.pick(&[FLAGS, 9]),
            input.byte().into(),
        ]);
        let len = input.byte();
        self.raw
            .bytes(&[header, input.take(len.into()).to_vec()].concat(), &[]);
        let _ = self.raw.socket.shutdown(Shutdown::Write);
    }

    // ---- the memory ----

    fn put(&self, guest: u64, bytes: &[u8]) {
        self.memory
            .write_all_at(bytes, MARGIN + guest)
            .expect("memory");
    }

    /// Like a file that is cut short under its mapping, or grows again.
    pub fn resize(&mut self, input: &mut Input<'_>) {
        self.is_whole = false;
        let len = input.pick(&[END + 2 * MARGIN, MARGIN + BORDER, MARGIN + BUFFERS, 0]);
        self.memory.set_len(len).expect("memory");
    }

    /// A few bytes anywhere.
    pub fn scribble(&self, input: &mut Input<'_>) {
        for (at, bytes) in noise(input) {
            self.put(at, &bytes);
        }
    }

    /// A descriptor of a virtqueue, or of a table in a buffer.
    pub fn garble(&self, input: &mut Input<'_>) {
        let index = u16::from(input.byte() % 16);
        let table = match input.byte() % 8 {
            at @ 0..=3 => STRIDE * u64::from(at),
            _ => BUFFERS + u64::from(input.byte() % 4) * u64::from(ROOM),
        };
        let flags = match input.byte() {
            255 => input.word(),
            bits => u16::from(bits & 0x87) | if bits & 8 == 0 { 0 } else { 1 << 15 },
        };
        let tag = input.pick(&[0, 1, index + 1, 15, 16, u16::MAX]);
        self.describe(table, index, (address(input), length(input)), (flags, tag));
    }

    fn describe(&self, table: u64, index: u16, part: (u64, u32), (flags, tag): (u16, u16)) {
        let (low, high) = if self.is_packed() {
            (tag, flags)
        } else {
            (flags, tag)
        };
        let words = [low, high].map(u16::to_le_bytes);
        let desc = [
            &part.0.to_le_bytes()[..],
            &part.1.to_le_bytes(),
            words.as_flattened(),
        ]
        .concat();
        self.put(table + 16 * u64::from(index), &desc);
    }

    /// Makes descriptors available as they are, or through whatever is in a table.
    pub fn offer_garbage(&mut self, input: &mut Input<'_>) {
        let queue = usize::from(input.byte()) % self.places.len();
        for _ in 0..input.byte() % 20 {
            let (addr, len) = (address(input), length(input));
            let flags = input.pick(&[WRITE, 0, NEXT, NEXT | WRITE, INDIRECT, INDIRECT | NEXT]);
            self.offer(queue, (addr, len), flags);
        }
    }

    /// Buffers as they should be, of packets if they are to be sent.
    pub fn offer_buffers(&mut self, queue: usize, count: u8, input: &mut Input<'_>) {
        for number in 0..count {
            let place = u32::from(number) % 16 + 16 * u32::try_from(queue % 2).unwrap_or(0);
            let addr = BUFFERS + u64::from(place * ROOM);
            if queue.is_multiple_of(2) {
                self.offer(queue, (addr, ROOM), WRITE);
            } else {
                let packet = packet(input);
                self.put(addr, &packet);
                self.offer(queue, (addr, u32::try_from(packet.len()).unwrap_or(0)), 0);
            }
        }
    }

    fn offer(&mut self, queue: usize, part: (u64, u32), flags: u16) {
        let at = STRIDE * queue as u64;
        let packed = self.is_packed();
        let Place { index, wrap } = &mut self.places[queue];
        let entry = *index % SIZE;
        if packed {
            let flags = flags | if *wrap { 1 << 7 } else { 1 << 15 };
            *wrap ^= entry + 1 == SIZE;
            *index = (entry + 1) % SIZE;
            return self.describe(at, entry, part, (flags, entry));
        }
        *index = index.wrapping_add(1);
        let now = *index;
        self.describe(at, entry, part, (flags, (entry + 1) % SIZE));
        self.put(at + AVAIL + 4 + 2 * u64::from(entry), &entry.to_le_bytes());
        self.put(at + AVAIL + 2, &now.to_le_bytes());
    }

    /// While `work` is done, the memory changes all the time.
    pub fn meanwhile(&self, input: &mut Input<'_>, work: impl FnOnce()) {
        let (noise, over) = (noise(input), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    for (at, bytes) in &noise {
                        self.put(*at, bytes);
                    }
                }
            });
            work();
            over.store(true, Ordering::Relaxed);
        });
    }
}
