//! Changes while the data path has the rings.

use std::fs::File;
use std::os::unix::fs::FileExt;

use vhost::vhost_user::message::FrontendReq as Req;
use vhost_port::{Next, Port};

use crate::common::raw::{event, longs, memory, words};
use crate::common::{Lab, REGION, Raw, SIZE, SPLIT, USER, open_files, part, within};

/// Where packets lie in the guest's memory.
const BUFFERS: u64 = 0x8_0000;

/// Makes a packet of 60 bytes available in the send queue: the `n`th, counted from 0.
fn post(file: &File, n: u16) {
    let at = |what| part(1, what) - USER;
    let slot = u64::from(n) % u64::from(SIZE);
    let buffer = BUFFERS + slot * 128;
    file.write_all_at(&[0; 12], buffer).unwrap();
    file.write_all_at(&n.to_ne_bytes().repeat(30), buffer + 12)
        .unwrap();
    let descriptor = [longs(&[buffer]), words(&[72, 0])].concat();
    file.write_all_at(&descriptor, at(0) + slot * 16).unwrap();
    let head = u16::try_from(slot).unwrap();
    file.write_all_at(&head.to_ne_bytes(), at(1) + 4 + slot * 2)
        .unwrap();
    file.write_all_at(&(n + 1).to_ne_bytes(), at(1) + 2)
        .unwrap();
}

/// What a worker does: the first bytes of each packet that the guest has sent.
fn take(port: &Port) -> Vec<u16> {
    let taken = port.with(0, |pair| {
        let mut taken = Vec::new();
        let mut frame = [0; 2048];
        pair.begin_send()?;
        while let Next::Copied(_) = pair.copy_next(&mut frame)? {
            taken.push(u16::from_ne_bytes([frame[0], frame[1]]));
        }
        pair.end_send()?;
        Ok(taken)
    });
    taken.unwrap()
}

fn running(file: &File) -> (Lab, Raw) {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    raw.bring_up(SPLIT, file);
    lab.until("it runs", |status| status.queues == 2);
    (lab, raw)
}

#[test]
fn a_ring_goes_on_where_it_has_stopped() {
    let file = memory("goes-on", REGION);
    let (lab, raw) = running(&file);
    for n in 0..5 {
        post(&file, n);
    }
    assert_eq!(take(&lab.port), [0, 1, 2, 3, 4]);
    assert_eq!(raw.stop(1), 5);
    assert_eq!(raw.stop(0), 0);
    assert!(!lab.port.is_up(0));
    post(&file, 5);
    for ring in 0..2 {
        raw.describe(ring, if ring == 1 { 5 } else { 0 });
        raw.kick(ring);
    }
    lab.until("it runs again", |status| status.queues == 2);
    post(&file, 6);
    assert_eq!(take(&lab.port), [5, 6]);
}

/// As another back end would: its own memory of the place is gone.
#[test]
fn a_new_connection_goes_on_where_the_front_end_says() {
    let file = memory("new-connection", REGION);
    let (lab, raw) = running(&file);
    for n in 0..3 {
        post(&file, n);
    }
    assert_eq!(take(&lab.port).len(), 3);
    drop(raw);
    lab.end();
    let raw = Raw::connect(&lab.folder.socket());
    raw.owner_and_features(SPLIT);
    raw.share_one(&file);
    raw.describe(1, 3);
    raw.kick(1);
    raw.enable(1, 1);
    lab.until("it runs again", |status| status.queues == 1);
    post(&file, 3);
    assert_eq!(take(&lab.port), [3]);
    assert_eq!(raw.stop(1), 4);
}

#[test]
fn the_memory_table_is_replaced_under_a_running_pair() {
    let file = memory("replaced-first", REGION);
    let more = memory("replaced-second", REGION);
    let (lab, raw) = running(&file);
    post(&file, 0);
    assert_eq!(take(&lab.port), [0]);
    post(&file, 1);
    let second = [REGION, REGION, USER + REGION, 0];
    raw.share(&[[0, REGION, USER, 0], second], &[&file, &more]);
    lab.until("both regions", |status| status.regions == 2);
    assert_eq!(lab.device.status().queues, 2);
    assert_eq!(open_files("replaced-").1, 2);
    post(&file, 2);
    assert_eq!(take(&lab.port), [1, 2]);
    raw.share_one(&file);
    lab.until("one region", |status| status.regions == 1);
    assert_eq!(open_files("replaced-second").1, 0);
    post(&file, 3);
    assert_eq!(take(&lab.port), [3]);
    assert_eq!(raw.stop(1), 4);
}

#[test]
fn new_notifications_do_not_lose_the_place() {
    let file = memory("notifications", REGION);
    let (lab, raw) = running(&file);
    post(&file, 0);
    assert_eq!(take(&lab.port), [0]);
    let call = event();
    raw.send_fd(Req::SET_VRING_CALL, &longs(&[1]), &call);
    raw.send_fd(Req::SET_VRING_ERR, &longs(&[1]), event());
    raw.send(Req::GET_FEATURES, &[]);
    raw.value();
    post(&file, 1);
    assert_eq!(take(&lab.port), [1]);
    let mut count = [0; 8];
    rustix::io::read(&call, &mut count).unwrap();
    assert_ne!(u64::from_ne_bytes(count), 0);
}

#[test]
fn the_same_features_again_are_no_change() {
    let file = memory("same", REGION);
    let (lab, raw) = running(&file);
    raw.send(Req::SET_FEATURES, &longs(&[SPLIT]));
    raw.send(Req::GET_FEATURES, &[]);
    raw.value();
    assert_eq!(lab.device.status().queues, 2);
}

#[test]
fn after_reset_owner_all_begins_anew() {
    let file = memory("reset-owner", REGION);
    let (lab, raw) = running(&file);
    raw.send(Req::RESET_OWNER, &[]);
    lab.until("nothing is left", |status| status.queues == 0);
    assert!(!lab.port.is_up(0));
    within("unmapped", || {
        (open_files("reset-owner").1 == 0).then_some(())
    });
    raw.bring_up(SPLIT, &file);
    lab.until("it runs again", |status| status.queues == 2);
}
