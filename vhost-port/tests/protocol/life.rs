//! Either side comes, goes and comes back.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use vhost::vhost_user::message::FrontendReq as Req;
use vhost_port::{Breach, Direction, End, Mode, Violation};

use crate::common::raw::{ACK, memory, words};
use crate::common::{Lab, REGION, Raw, SPLIT, within};

const VIOLATION: Violation = Violation::QueueSize {
    queue: Direction::Send,
    size: 3,
};

#[test]
fn the_front_end_comes_back() {
    let lab = Lab::server();
    let file = memory("comes-back", REGION);
    for n in 1..=3 {
        let raw = Raw::connect(&lab.folder.socket());
        raw.bring_up(SPLIT, &file);
        let status = lab.until("it runs", |status| status.queues == 2);
        assert_eq!(status.connections, n);
        drop(raw);
        assert!(matches!(lab.end(), End::Closed));
        assert!(!lab.port.is_up(0));
        assert_eq!(lab.device.status().queues, 0);
    }
}

#[test]
fn a_front_end_waits_for_the_one_before_it() {
    let lab = Lab::server();
    let first = Raw::connect(&lab.folder.socket());
    let second = Raw::connect(&lab.folder.socket());
    second.send(Req::GET_FEATURES, &[]);
    first.send(Req::GET_FEATURES, &[]);
    first.value();
    assert_eq!(lab.device.status().connections, 1);
    drop(first);
    second.value();
    assert_eq!(lab.device.status().connections, 2);
}

#[test]
fn a_client_waits_for_its_front_end_and_goes_back_to_it() {
    let lab = Lab::new(Mode::Client);
    let file = memory("client", REGION);
    std::thread::sleep(Duration::from_millis(120));
    assert_eq!(lab.device.status().connections, 0);
    for n in 1..=3 {
        // What a dead front end leaves.
        let _ = std::fs::remove_file(lab.folder.socket());
        let listener = UnixListener::bind(lab.folder.socket()).unwrap();
        let raw = Raw::from(listener.accept().unwrap().0);
        raw.bring_up(SPLIT, &file);
        let status = lab.until("it runs", |status| status.queues == 2);
        assert_eq!(status.connections, n);
        drop((raw, listener));
        assert!(matches!(lab.end(), End::Closed));
    }
}

#[test]
fn a_client_does_not_hammer_a_front_end_that_hangs_up() {
    let lab = Lab::new(Mode::Client);
    let listener = UnixListener::bind(lab.folder.socket()).unwrap();
    listener.set_nonblocking(true).unwrap();
    let start = Instant::now();
    let mut accepted = 0;
    while start.elapsed() < Duration::from_millis(800) {
        accepted += u32::from(listener.accept().is_ok());
        std::thread::sleep(Duration::from_millis(1));
    }
    // After 0, 50, 150, 350, 750 ms.
    assert!((2..=5).contains(&accepted), "{accepted}");
}

/// It is told by name, and no one is served for a while.
#[test]
fn what_the_data_path_finds_ends_the_connection() {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    let file = memory("violation", REGION);
    raw.bring_up(SPLIT, &file);
    lab.until("it runs", |status| status.queues == 2);
    lab.port.fail(0, VIOLATION);
    let failed = Instant::now();
    match lab.end() {
        End::Breach(Breach::Failure(failure)) => assert_eq!(failure.violation, VIOLATION),
        other => panic!("{other}"),
    }
    assert_eq!(raw.answer(), []);
    let status = lab.device.status();
    assert!(status.last_breach.unwrap().contains("a size of 3 entries"));
    assert!(lab.port.take(0).is_none());
    let raw = Raw::connect(&lab.folder.socket());
    raw.send(Req::GET_FEATURES, &[]);
    raw.value();
    assert!(failed.elapsed() >= Duration::from_millis(950));
    // An old failure is not held against it.
    raw.bring_up(SPLIT, &file);
    lab.until("it runs", |status| status.queues == 2);
}

#[test]
fn hanging_up_is_no_way_around_it() {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    raw.bring_up(SPLIT, &memory("hanging-up", REGION));
    lab.until("it runs", |status| status.queues == 2);
    drop(raw);
    lab.port.fail(0, VIOLATION);
    within("a breach", || {
        (lab.device.status().breaches == 1).then_some(())
    });
}

fn stops_at_once(lab: Lab) {
    let Lab { device, folder, .. } = lab;
    let start = Instant::now();
    device.stop();
    assert!(start.elapsed() < Duration::from_millis(300));
    assert!(!folder.socket().exists());
}

#[test]
fn a_device_stops_while_no_one_is_there() {
    stops_at_once(Lab::server());
    stops_at_once(Lab::new(Mode::Client));
}

#[test]
fn a_device_stops_under_a_running_pair() {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    raw.bring_up(SPLIT, &memory("stops", REGION));
    lab.until("it runs", |status| status.queues == 2);
    let port = std::sync::Arc::clone(&lab.port);
    stops_at_once(lab);
    assert!(port.take(0).is_none());
    assert_eq!(raw.answer(), []);
}

#[test]
fn a_device_stops_within_a_message() {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    raw.bytes(&words(&[Req::SET_FEATURES as u32, 1, 8, 0]), &[]);
    std::thread::sleep(Duration::from_millis(100));
    stops_at_once(lab);
}

#[test]
fn a_device_stops_while_its_answers_are_not_read() {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    raw.socket.set_nonblocking(true).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        raw.message(Req::GET_FEATURES as u32, ACK, &[], &[]);
    }
    stops_at_once(lab);
}

#[test]
fn a_device_stops_during_a_penalty() {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    raw.kick(0);
    lab.end();
    stops_at_once(lab);
}
