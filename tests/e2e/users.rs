//! Who may open the control socket, and what other users than root may do there.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;

use port_api::protocol::{Reply, Request};
use port_api::{Client, Error};
use rustix::io::Errno;
use rustix::thread::{set_thread_gid, set_thread_groups, set_thread_uid};

use crate::testbed::Testbed;

/// `nobody`'s, on all systems alike.
pub const NOBODY: u32 = 65_534;
const GROUP: u32 = 54_321;

/// Calls `f` on a thread of another user, whose connections are then that user's.
fn as_user<T: Send>(uid: u32, gid: u32, f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            set_thread_groups(&[]).unwrap();
            set_thread_gid(rustix::process::Gid::from_raw(gid)).unwrap();
            set_thread_uid(rustix::process::Uid::from_raw(uid)).unwrap();
            f()
        });
        other
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

pub fn connect(bed: &Testbed, uid: u32, gid: u32) -> Result<Client, Error> {
    as_user(uid, gid, || Client::connect(&bed.socket, "other"))
}

#[track_caller]
pub fn refused(result: Result<Reply, Error>, expected: Errno) -> String {
    match result {
        Err(Error::Refused { errno, message }) if errno == expected.raw_os_error() => message,
        other => panic!("{other:?}"),
    }
}

fn attach() -> Request {
    Request::Attach {
        name: "other".to_owned(),
    }
}

#[test]
fn the_socket_is_for_root_only_unless_the_options_say_otherwise() {
    let bed = Testbed::start();
    let metadata = fs::metadata(&bed.socket).unwrap();
    assert_eq!(
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid()),
        (0o600, 0, 0)
    );
    let error = connect(&bed, NOBODY, NOBODY).unwrap_err();
    assert!(error.to_string().contains("Permission denied"), "{error}");
    bed.finish();

    let options = [
        "--socket-mode",
        "0660",
        "--socket-owner",
        "root",
        "--socket-group",
        "54321",
    ];
    let bed = Testbed::start_with(&options);
    let metadata = fs::metadata(&bed.socket).unwrap();
    assert_eq!(
        (metadata.mode() & 0o7777, metadata.uid(), metadata.gid()),
        (0o660, 0, GROUP)
    );
    assert!(connect(&bed, NOBODY, NOBODY).is_err());
    connect(&bed, NOBODY, GROUP).unwrap();
    bed.finish();
}

#[test]
fn others_get_a_greeting_and_what_the_policy_gives_them() {
    let mut bed = Testbed::without_switch();
    let path = bed.dir.join("policy.toml");
    let policy = "[[user]]\ngids = [54321]\nattach = true\nmax-vports = 1\nquota = 64\n\
                  [[user]]\nuids = [65533]\nobserve = true\n";
    fs::write(&path, policy).unwrap();
    bed.start_switch(&["--socket-mode", "0666", "--policy", path.to_str().unwrap()]);
    let stranger = connect(&bed, NOBODY, NOBODY).unwrap();
    refused(stranger.call(&Request::Ports, &[]), Errno::PERM);
    let why = refused(stranger.call(&attach(), &[]), Errno::PERM);
    assert!(why.contains("user 65534 may not attach"), "{why}");
    refused(stranger.call(&Request::Reload, &[]), Errno::PERM);
    let observer = connect(&bed, 65_533, NOBODY).unwrap();
    observer.call(&Request::Stats { from: 0 }, &[]).unwrap();
    refused(observer.call(&attach(), &[]), Errno::PERM);
    refused(observer.call(&Request::Reload, &[]), Errno::PERM);
    let first = connect(&bed, NOBODY, GROUP).unwrap();
    let Reply::Attached(attachment) = first.call(&attach(), &[]).unwrap() else {
        panic!("not attached");
    };
    assert_eq!(attachment.quota, 64);
    let second = connect(&bed, NOBODY, GROUP).unwrap();
    let why = refused(second.call(&attach(), &[]), Errno::DQUOT);
    assert!(why.contains("max-vports is 1 ([[user]] section 1"), "{why}");
    assert_eq!(bed.stacks()[0].uid, NOBODY);
    first.call(&Request::Detach, &[]).unwrap();
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn no_user_takes_all_connections() {
    let bed = Testbed::start_with(&["--socket-mode", "0666"]);
    let clients: Vec<_> = (0..16)
        .map(|_| connect(&bed, NOBODY, NOBODY).unwrap())
        .collect();
    let turned_away = connect(&bed, NOBODY, NOBODY).map(|_| Reply::Done);
    let why = refused(turned_away, Errno::DQUOT);
    assert!(why.contains("16 connections"), "{why}");
    connect(&bed, NOBODY - 1, NOBODY).unwrap();
    assert_eq!(bed.stacks(), []);
    drop(clients);
    connect(&bed, NOBODY, NOBODY).unwrap();
    bed.finish();
}
