//! Frames between the kernel and the rings: the test plays the switch.

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use crate::common::{
    PEER_MAC, RING_SIZE, Switch, busy_during, config, context_switches, disable_ipv6, in_netns, ip,
    thread_dir, wait_for,
};
use crate::frames::{
    HOST_IP, PEER_IP, arp_request, is_advertisement, is_arp_reply, is_pong, ping, solicitation,
};
use kni_fallback::{Counters, Error, HostPath};

const ADDRESS: &str = "192.0.2.1/24";

/// A host path that sends nothing unasked, over a netdev that no other test has.
fn quiet(netdev: &str) -> HostPath {
    disable_ipv6();
    HostPath::create(&config(netdev, &[ADDRESS])).unwrap()
}

/// The thread called `name`, once it has given itself the name.
fn thread_of(name: &str) -> String {
    wait_for("the thread", || thread_dir(name))
}

/// Waits until the thread sleeps, which it does nowhere but in poll(2).
fn parked(thread: &str) {
    wait_for("a parked thread", || {
        let status = std::fs::read_to_string(format!("{thread}/status")).ok()?;
        status.contains("State:\tS").then_some(())
    });
}

/// Asserts that the idle thread does not run at all.
fn sleeps_on(thread: &str) {
    parked(thread);
    thread::sleep(Duration::from_millis(20));
    let before = context_switches(thread);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(context_switches(thread), before, "it ran while idle");
}

/// Sends to the peer, whose MAC the kernel need not ask for.
fn kernel_sender(netdev: &str) -> UdpSocket {
    ip(&format!(
        "neigh add {PEER_IP} lladdr {PEER_MAC} dev {netdev}"
    ));
    let socket = UdpSocket::bind((HOST_IP, 0)).unwrap();
    socket.connect((PEER_IP, 9)).unwrap();
    socket
}

fn payload(frame: &[u8]) -> u32 {
    u32::from_be_bytes(*frame.last_chunk().unwrap())
}

#[test]
fn the_kernel_answers() {
    in_netns(|| {
        let mut host = quiet("msh10");
        let mut switch = Switch::with(&mut host);
        let waker = host.waker();
        assert!(switch.send(&arp_request()));
        waker.wake();
        let reply = wait_for("an ARP reply", || switch.receive());
        assert!(is_arp_reply(&reply), "{reply:?}");
        for size in [0, 56, 1472] {
            assert!(switch.send(&ping(size)));
            waker.wake();
            let answer = wait_for("a pong", || switch.receive());
            assert!(is_pong(&answer, size), "{size} bytes: {answer:?}");
        }
        let expected = Counters {
            to_kernel: 4,
            refused: 0,
            from_kernel: 4,
        };
        assert_eq!(host.counters(), expected);
        host.stop();
        assert_eq!(switch.assert_all_buffers_back(), 0);
    });
}

#[test]
fn ipv6_goes_both_ways() {
    in_netns(|| {
        let mut host = HostPath::create(&config("msh11", &["fd77::1/64"])).unwrap();
        let mut switch = Switch::with(&mut host);
        let waker = host.waker();
        let (mut detection, mut asked) = (false, Instant::now());
        // The kernel does not answer before duplicate address detection is done.
        wait_for("a neighbour advertisement", || {
            if asked.elapsed() > Duration::from_millis(50) {
                switch.reap();
                assert!(switch.send(&solicitation()));
                waker.wake();
                asked = Instant::now();
            }
            let frame = switch.receive()?;
            switch.fill(1);
            detection |= frame[..2] == [0x33, 0x33];
            is_advertisement(&frame).then_some(())
        });
        assert!(detection, "the kernel's own multicasts come out too");
    });
}

#[test]
fn sleeps_when_idle_and_wakes_each_time() {
    in_netns(|| {
        let mut host = quiet("msh12");
        let mut switch = Switch::with(&mut host);
        let waker = host.waker();
        let thread = thread_of("ms-host12");
        sleeps_on(&thread);

        for round in 0..2000u64 {
            // Into the thread's way to sleep, a little later each time.
            let start = Instant::now();
            while start.elapsed() < Duration::from_nanos(round % 100 * 200) {}
            assert!(switch.send(&arp_request()));
            waker.wake();
            let reply = wait_for("an ARP reply", || switch.receive());
            assert!(is_arp_reply(&reply));
            switch.reap();
            switch.fill(1);
        }
        host.stop();
        assert_eq!(switch.assert_all_buffers_back(), 0);
    });
}

#[test]
fn without_buffers_it_neither_spins_nor_forgets() {
    in_netns(|| {
        let mut host = quiet("msh13");
        let (mut switch, rings) = Switch::new(4 * RING_SIZE);
        host.start(rings).unwrap();
        let thread = thread_of("ms-host13");
        let sender = kernel_sender("msh13");
        for number in 0u32..10 {
            sender.send(&number.to_be_bytes()).unwrap();
        }
        let busy = busy_during(&thread, Duration::from_millis(500));
        assert!(busy < Duration::from_millis(100), "ran {busy:?} of 500 ms");
        // What comes meanwhile for the host is not held up.
        assert!(switch.send(&arp_request()));
        host.waker().wake();
        wait_for("delivery", || {
            (host.counters().to_kernel == 1).then_some(())
        });

        switch.fill(5);
        for number in 0..5 {
            let frame = wait_for("the kernel's frame", || switch.receive());
            assert_eq!(payload(&frame), number);
        }
        switch.fill(6);
        for number in 5..10 {
            let frame = wait_for("the kernel's frame", || switch.receive());
            assert_eq!(payload(&frame), number);
        }
        let reply = wait_for("the ARP reply", || switch.receive());
        assert!(is_arp_reply(&reply));
        // All buffers are used up again, but nothing waits for one.
        sleeps_on(&thread);
        host.stop();
        assert_eq!(switch.assert_all_buffers_back(), 0);
    });
}

#[test]
fn a_full_tx_ring_keeps_the_order_and_loses_nothing() {
    in_netns(|| {
        let mut host = quiet("msh14");
        let (mut switch, rings) = Switch::new(8 * RING_SIZE);
        switch.fill(RING_SIZE);
        host.start(rings).unwrap();
        let thread = thread_of("ms-host14");
        let sender = kernel_sender("msh14");
        for number in 0..3 * RING_SIZE {
            sender.send(&number.to_be_bytes()).unwrap();
        }
        wait_for("a full ring", || {
            (host.counters().from_kernel == u64::from(RING_SIZE)).then_some(())
        });
        // Buffers enough, but no room: what was read waits in the thread's hands.
        switch.fill(RING_SIZE);
        let busy = busy_during(&thread, Duration::from_millis(300));
        assert!(busy < Duration::from_millis(60), "ran {busy:?} of 300 ms");
        assert_eq!(host.counters().from_kernel, u64::from(RING_SIZE));
        for number in 0..3 * RING_SIZE {
            if number == RING_SIZE {
                switch.fill(RING_SIZE);
            }
            let frame = wait_for("the kernel's frame", || switch.receive());
            assert_eq!(payload(&frame), number);
        }
        host.stop();
        assert_eq!(switch.assert_all_buffers_back(), 0);
    });
}

#[test]
fn stops_while_busy() {
    in_netns(|| {
        let mut host = quiet("msh15");
        let mut switch = Switch::with(&mut host);
        let waker = host.waker();
        let (mut sent, mut received) = (0u64, 0u64);
        let mut pump = |switch: &mut Switch| {
            for _ in 0..2 * RING_SIZE {
                switch.reap();
                sent += u64::from(switch.send(&arp_request()));
            }
            waker.wake();
            while switch.receive().is_some() {
                received += 1;
                switch.fill(1);
            }
        };
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            pump(&mut switch);
        }
        let counters = thread::scope(|scope| {
            let stopping = scope.spawn(move || {
                let start = Instant::now();
                let counters = host.counters();
                host.stop();
                assert!(start.elapsed() < Duration::from_secs(1));
                counters
            });
            while !stopping.is_finished() {
                pump(&mut switch);
            }
            stopping.join().unwrap()
        });
        assert!(counters.to_kernel > 1000, "{counters:?}");
        assert!(counters.from_kernel > 1000, "{counters:?}");
        wait_for("the end of the thread", || {
            thread_dir("ms-host15").is_none().then_some(())
        });
        assert!(sent >= counters.to_kernel && received >= counters.from_kernel);
        switch.assert_all_buffers_back();
    });
}

#[test]
fn counters_add_up() {
    in_netns(|| {
        let mut host = quiet("msh16");
        let mut switch = Switch::with(&mut host);
        let waker = host.waker();
        let send = |switch: &mut Switch, count: u64| {
            for _ in 0..count {
                wait_for("room", || {
                    switch.reap();
                    switch.send(&arp_request()).then_some(())
                });
                waker.wake();
            }
        };
        let counted = |expected: u64| {
            wait_for("the counts", || {
                let counters = host.counters();
                let sum = counters.to_kernel + counters.refused;
                (sum == expected).then_some(counters)
            })
        };
        send(&mut switch, 10);
        assert_eq!(counted(10).refused, 0);
        ip("link set msh16 down");
        send(&mut switch, 200);
        assert_eq!(counted(210).refused, 200);
        ip("link set msh16 up");
        // Shorter than an Ethernet header.
        assert!(switch.send(&[0; 13]));
        send(&mut switch, 1);
        let counters = counted(212);
        assert_eq!((counters.to_kernel, counters.refused), (11, 201));
        for _ in 0..11 {
            let reply = wait_for("an ARP reply", || switch.receive());
            assert!(is_arp_reply(&reply));
        }
        wait_for("the count of the last", || {
            (host.counters().from_kernel == 11).then_some(())
        });
        host.stop();
        assert_eq!(switch.assert_all_buffers_back(), 0);
    });
}

#[test]
fn a_removed_netdev_is_made_anew() {
    in_netns(|| {
        let mut host = quiet("msh17");
        let mut switch = Switch::with(&mut host);
        let waker = host.waker();
        let thread = thread_of("ms-host17");
        ip("link del msh17");
        for _ in 0..50 {
            assert!(switch.send(&arp_request()));
            waker.wake();
        }
        wait_for("the count", || {
            (host.counters().refused == 50).then_some(())
        });
        assert_eq!(host.addresses(), []);
        sleeps_on(&thread);
        wait_for("another netdev", || {
            let addresses = host.addresses();
            (addresses.len() == 1 && addresses[0].to_string() == ADDRESS).then_some(())
        });
        parked(&thread);
        switch.reap();
        assert!(switch.send(&arp_request()));
        waker.wake();
        let reply = wait_for("an ARP reply", || switch.receive());
        assert!(is_arp_reply(&reply), "{reply:?}");
        assert_eq!(host.counters().to_kernel, 1);
        host.stop();
        assert_eq!(switch.assert_all_buffers_back(), 0);
    });
}

#[test]
fn ends_with_the_vport() {
    in_netns(|| {
        let mut host = quiet("msh18");
        let (switch, rings) = Switch::new(4 * RING_SIZE);
        host.start(rings).unwrap();
        let (_, more) = Switch::new(RING_SIZE);
        let again = host.start(more).unwrap_err();
        assert!(matches!(again, Error::Started { .. }), "{again}");
        parked(&thread_of("ms-host18"));
        switch.status.close();
        host.waker().wake();
        wait_for("the end of the thread", || {
            thread_dir("ms-host18").is_none().then_some(())
        });
        host.stop();
        switch.assert_all_buffers_back();
    });
}
