//! What workers and the protocol's thread share.

mod mock;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mock::{BUFFERS, Driver, Guest, Part, frame, pair, pattern};
use rustix::event::{PollFd, PollFlags, poll};
use vhost_port::{Failure, Pair, Port, Unavailable, Violation, feature};

const FEATURES: u64 = feature::VERSION_1 | feature::MRG_RXBUF;

fn plain() -> Pair {
    let guest = Guest::new();
    pair(&guest, FEATURES, None, None)
}

fn readable(port: &Port) -> bool {
    let wake = port.wake();
    let mut fds = [PollFd::new(&wake, PollFlags::IN)];
    let zero = rustix::time::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&zero)).unwrap() == 1
}

#[test]
fn up_and_down() {
    let port = Port::new(2).unwrap();
    assert!(!port.is_up(0) && !port.is_up(1) && !port.is_up(2));
    assert_eq!(port.with(0, |_| Ok(())), Err(Unavailable::Down));
    assert_eq!(port.with(2, |_| Ok(())), Err(Unavailable::Down));
    assert!(port.put(1, plain()).is_none());
    assert!(port.is_up(1) && !port.is_up(0));
    assert_eq!(port.with(1, Pair::begin_send), Ok(0));
    assert!(port.put(1, plain()).is_some());
    assert!(port.put(2, plain()).is_some());
    assert!(port.take(1).is_some() && port.take(1).is_none());
    assert_eq!(port.with(1, |_| Ok(())), Err(Unavailable::Down));
}

#[test]
fn violation_takes_everything_down_once() {
    let port = Port::new(2).unwrap();
    let guest = Guest::new();
    let mut rx = Driver::new(&guest, 0, 16, FEATURES, 0);
    port.put(0, plain());
    port.put(1, pair(&guest, FEATURES, Some(&rx), None));
    rx.add(
        &guest,
        &[Part {
            addr: BUFFERS,
            len: 3,
            write: true,
        }],
        None,
    );
    assert!(!readable(&port));
    let bytes = pattern(0, 60);
    let result = port.with(1, |pair| pair.receive([frame(&bytes)].into_iter()));
    assert_eq!(result, Err(Unavailable::Failed));
    assert!(readable(&port) && !port.is_up(0) && !port.is_up(1));
    port.fail(0, Violation::MemoryGone);
    let Some(Failure {
        pair: 1,
        violation: Violation::Runt { .. },
    }) = port.failure()
    else {
        panic!("not the first");
    };
    assert!(!readable(&port) && port.failure().is_none());
    // They are still there for the protocol's thread.
    assert!(port.take(0).is_some() && port.take(1).is_some());
}

#[test]
fn busy_is_said_soon() {
    let port = Port::new(1).unwrap();
    port.put(0, plain());
    let (held, done) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            port.with(0, |_| {
                held.store(true, Ordering::Release);
                while !done.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                Ok(())
            })
        });
        while !held.load(Ordering::Acquire) {
            thread::yield_now();
        }
        let since = Instant::now();
        assert_eq!(port.with(0, |_| Ok(())), Err(Unavailable::Busy));
        assert!(since.elapsed() < Duration::from_secs(1));
        done.store(true, Ordering::Release);
    });
    assert_eq!(port.with(0, |_| Ok(())), Ok(()));
}

/// Nobody uses a pair that was taken, and it is not lost in between.
#[test]
fn taken_while_in_use() {
    let port = Port::new(1).unwrap();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let mut used = 0;
            while !stop.load(Ordering::Relaxed) {
                used += usize::from(port.with(0, Pair::begin_send).is_ok());
            }
            used
        });
        let mut pair = plain();
        for _ in 0..2000 {
            assert!(port.put(0, pair).is_none());
            thread::yield_now();
            pair = port.take(0).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        assert!(worker.join().unwrap() > 0);
    });
}
