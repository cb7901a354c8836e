//! What adds up only when it is done often.

use std::os::fd::AsFd;

use vhost::vhost_user::message::FrontendReq as Req;

use crate::common::raw::{FLAGS, event, longs, memory};
use crate::common::{Lab, PACKED, REGION, Raw, SPLIT, open_files, within};
use crate::{NAME, NOTIFIERS, turn};

#[test]
fn ten_thousand_connections() {
    let _turn = turn();
    let lab = Lab::server();
    let file = memory(NAME, REGION);
    let before = open_files(NAME);
    for n in 0..10_000 {
        let raw = Raw::connect(&lab.folder.socket());
        match n % 100 {
            0 => raw.bring_up(if n % 200 == 0 { SPLIT } else { PACKED }, &file),
            1 => raw.share_one(&file),
            _ => {}
        }
        if n % 100 == 0 {
            raw.stop(0);
        }
    }
    let status = lab.until("all are gone", |s| {
        s.connections == 10_000 && !s.is_connected
    });
    assert_eq!(status.last_breach, None);
    assert_eq!(open_files(NAME), before);
    assert_eq!(open_files(NOTIFIERS).1, 2);
}

/// CVE-2019-14818: every message with descriptors again and again, in one connection.
#[test]
fn the_same_messages_again_and_again() {
    let _turn = turn();
    let lab = Lab::server();
    let file = memory(NAME, REGION);
    let raw = Raw::connect(&lab.folder.socket());
    raw.bring_up(SPLIT, &file);
    lab.until("it runs", |status| status.queues == 2);
    let before = open_files(NAME);
    for _ in 0..200 {
        raw.share_one(&file);
        for request in [Req::SET_VRING_CALL, Req::SET_VRING_KICK, Req::SET_VRING_ERR] {
            let fd = event();
            raw.message(request as u32, FLAGS, &longs(&[1]), &[fd.as_fd()]);
        }
    }
    raw.stop(0);
    lab.until("one runs", |status| status.queues == 1);
    // The pair is set up again without the ring that stopped, which had one for its notifications.
    assert_eq!(open_files(NAME), (before.0 - 1, before.1));
    assert_eq!(open_files(NOTIFIERS).1, 2);
    raw.send(Req::RESET_OWNER, &[]);
    within("nothing is mapped", || {
        (open_files(NAME).1 == 0).then_some(())
    });
}
