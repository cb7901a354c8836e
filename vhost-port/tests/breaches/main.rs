//! Front ends that break the rules: the connection ends with the rule's name, and neither a file descriptor
//! nor a mapping is left. In one binary and one at a time, for they count what the process has.

#[path = "../common/mod.rs"]
mod common;

mod classes;
mod many;
mod tables;

use std::io::ErrorKind::ConnectionReset;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use common::raw::memory;
use common::{Lab, REGION, Raw, SPLIT, open_files};
use vhost_port::End;

/// What notifications are sent by is mapped under this name. They stay for later devices: as many as there
/// were rings at a time, which is 2 in these tests.
const NOTIFIERS: &str = "[aio]";

/// Held by each test from its first line on. The first one sees to it that what stays is there.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    static WARM: Once = Once::new();
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    WARM.call_once(|| {
        let lab = Lab::server();
        let raw = Raw::connect(&lab.folder.socket());
        raw.bring_up(SPLIT, &memory(NAME, REGION));
        lab.until("it runs", |status| status.queues == 2);
    });
    turn
}

/// The name of all shared memory here.
const NAME: &str = "breach-memory";

/// Plays `front` against a device, and expects the connection to end for a reason with `expected` in it.
fn refused(expected: &str, front: impl FnOnce(&Raw)) {
    let before = open_files(NAME);
    {
        let lab = Lab::server();
        let raw = Raw::connect(&lab.folder.socket());
        front(&raw);
        match lab.end() {
            End::Breach(breach) => {
                let text = breach.to_string();
                assert!(text.contains(expected), "{text:?} instead of {expected:?}");
            }
            other => panic!("{other} instead of {expected:?}"),
        }
        // The front end has let go of all that it sent, and this is what is left of it.
        let status = lab.device.status();
        assert_eq!((status.breaches, status.is_connected), (1, false));
        assert!(lab.port.take(0).is_none());
        assert_eq!(open_files(NAME).1, 0, "a mapping is left");
        let rest = std::io::copy(&mut &raw.socket, &mut std::io::sink());
        assert!(
            rest.is_ok() || rest.is_err_and(|e| e.kind() == ConnectionReset),
            "still open"
        );
    }
    assert_eq!(open_files(NAME), before);
    assert_eq!(open_files(NOTIFIERS).1, 2, "a notifier is left");
}
