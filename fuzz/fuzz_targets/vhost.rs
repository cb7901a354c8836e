//! A vhost-user port and a front end that says anything with any descriptors, and writes anything into the
//! memory that it shares, also while it is copied from and to, or cuts it off. What is copied stays within
//! bounds on both sides, nothing is left of a connection that has ended, and the next front end is served.

#![no_main]

use std::os::unix::net::UnixStream;
use std::sync::{Arc, Once};
use std::thread;

use fuzz::front_end::{FrontEnd, NAME, PAIRS};
use fuzz::input::Input;
use fuzz::vhost_tests::open_files;
use libfuzzer_sys::fuzz_target;
use vhost_port::{
    Frame, MAX_FRAME, MIN_GSO_SIZE, Next, Pair, Port, Segmented, Sent, Violation,
    complete_checksum, feature, play,
};
use wire::Origin;

/// Operations per run.
const OPS: usize = 48;
/// Frames for the guest, and packets from it, in a burst.
const BURST: usize = 24;
const MTU: u16 = 1500;

fuzz_target!(|data: &[u8]| {
    static ONCE: Once = Once::new();
    let port = Arc::new(Port::new(PAIRS).expect("an eventfd"));
    // Some is opened once and stays.
    ONCE.call_once(|| connection(&port, |front_end| behave(front_end, &port)));
    let before = open_files(NAME);
    connection(&port, |front_end| {
        misbehave(front_end, &port, &mut Input(data))
    });
    connection(&port, |front_end| behave(front_end, &port));
    assert_eq!(open_files(NAME), before, "descriptors, mappings");
});

/// A front end and the port's thread for it, to the end of both.
fn connection(port: &Arc<Port>, act: impl FnOnce(&mut FrontEnd)) {
    let (ours, theirs) = UnixStream::pair().expect("sockets");
    let mut front_end = FrontEnd::new(ours);
    thread::scope(|scope| {
        let server = scope.spawn(|| play(theirs, port).expect("an eventfd"));
        act(&mut front_end);
        front_end.hang_up();
        server.join().expect("no panic");
    });
    for pair in 0..PAIRS {
        assert!(!port.is_up(pair) && port.take(pair).is_none());
    }
    front_end.assert_margins();
    // As a device does between two connections.
    port.failure();
}

fn misbehave(front_end: &mut FrontEnd, port: &Port, input: &mut Input<'_>) {
    if !input.rarely(4) {
        front_end.bring_up(features(input));
    }
    for _ in 0..OPS {
        if input.is_empty() {
            return;
        }
        match input.byte() % 16 {
            0..=2 => front_end.say(input),
            3 => front_end.bring_up(features(input)),
            4 => front_end.scribble(input),
            5 | 6 => front_end.garble(input),
            7 | 8 => front_end.offer_garbage(input),
            9 | 10 => {
                let (queue, count) = (input.byte() % 4, input.byte() % 20);
                front_end.offer_buffers(queue.into(), count, input);
            }
            11 => {
                let mut work_on = *input;
                front_end.meanwhile(input, || work(port, &mut work_on));
            }
            12 if input.rarely(4) => front_end.rave(input),
            12 if input.rarely(4) => front_end.resize(input),
            _ => work(port, input),
        }
        if !front_end.settle() {
            return;
        }
    }
}

fn behave(front_end: &mut FrontEnd, port: &Port) {
    for features in [
        feature::DATA_PATH,
        feature::DATA_PATH & !feature::RING_PACKED,
    ] {
        front_end.bring_up(features);
        for queue in 0..2 {
            front_end.offer_buffers(queue, 2, &mut Input(&[]));
        }
        assert!(front_end.settle(), "refused");
        assert_eq!(port.with(0, |pair| burst(pair, 60, 3)), Ok((2, 2)));
    }
}

fn features(input: &mut Input<'_>) -> u64 {
    let without = [
        0,
        feature::RING_PACKED,
        feature::RING_PACKED | feature::EVENT_IDX,
        feature::MRG_RXBUF,
        feature::VERSION_1 | feature::MRG_RXBUF | feature::RING_PACKED,
        feature::INDIRECT_DESC,
        feature::CSUM,
    ];
    feature::DATA_PATH & !input.pick(&without)
}

fn work(port: &Port, input: &mut Input<'_>) {
    let (pair, len) = (
        usize::from(input.byte()) % PAIRS,
        input.pick(&[60, 1514, 9000, 0]),
    );
    let count = usize::from(input.byte()) % BURST;
    for _ in 0..=input.byte() % 4 {
        let _ = port.with(pair, |pair| burst(pair, len, count));
    }
}

/// What a worker does with a pair: frames for the guest, and packets from it. How many that were.
fn burst(pair: &mut Pair, len: usize, count: usize) -> Result<(usize, usize), Violation> {
    let (bytes, mut buffer) = (vec![0x42; len], vec![0; 2048]);
    let frame = Frame {
        bytes: &bytes,
        checksum_good: true,
    };
    let received = pair.receive(std::iter::repeat_n(frame, count))?;
    assert!(received.taken() <= count);
    let mut sent = 0;
    for _ in 0..pair.begin_send()?.min(BURST) {
        match pair.copy_next(&mut buffer)? {
            Next::End => break,
            Next::Copied(of) => finish(&mut buffer[..of.len], of),
            Next::Larger(_) => {
                let mut large = vec![0; MAX_FRAME];
                match pair.copy_next(&mut large)? {
                    Next::End => break,
                    Next::Copied(of) => finish(&mut large[..of.len], of),
                    Next::Larger(_) => panic!("nothing is larger"),
                }
            }
        }
        sent += 1;
    }
    pair.skip_next()?;
    pair.end_send()?;
    Ok((received.delivered, sent))
}

/// What is left to do of a packet.
fn finish(frame: &mut [u8], of: Sent) {
    if let Some(at) = of.checksum {
        let _ = complete_checksum(frame, at);
    }
    let Some(Ok(mut cut)) = of.gso.map(|gso| Segmented::new(frame, gso, MTU)) else {
        return;
    };
    let mut segment = [0; 2048];
    let count = cut.left();
    assert!(count <= MAX_FRAME / usize::from(MIN_GSO_SIZE) + 1);
    for _ in 0..count {
        let len = cut.write_next(frame, &mut segment).expect("one of them");
        assert!(wire::parse(&segment[..len], Origin::Local).is_ok());
    }
    assert_eq!(cut.left(), 0);
}
