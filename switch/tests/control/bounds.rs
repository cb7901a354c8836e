//! How much of clients is put up with.

use std::thread::sleep;
use std::time::{Duration, Instant};

use port_api::protocol::{Reply, Request};
use port_api::{Connection, Error, MAX_MESSAGE};
use rustix::net::{SendFlags, send};
use switch::control::Bounds;

use crate::lab::{Lab, received};
use crate::refusal;

const MS: Duration = Duration::from_millis(1);

/// The end of the connection, and nothing before.
#[track_caller]
fn expect_end(lab: &mut Lab, conn: &Connection) {
    let mut end = None;
    lab.until("the connection is over", || {
        end = received(conn);
        end.is_some()
    });
    assert!(matches!(end, Some(Err(Error::Closed))), "{end:?}");
}

#[test]
fn who_is_silent_is_cut_off_unless_it_is_a_stack() {
    let bounds = Bounds {
        hello: 50 * MS,
        idle: 600 * MS,
        ..Bounds::default()
    };
    let mut lab = Lab::new("", bounds);
    let (stack, ..) = lab.stack();
    let start = Instant::now();
    let (silent, greeted) = (lab.dial(), lab.client());
    let (errno, message) = refusal(lab.answer(&silent));
    assert_eq!(errno, libc::ETIMEDOUT);
    assert!(message.contains("hello"), "{message}");
    assert!(start.elapsed() >= bounds.hello);
    expect_end(&mut lab, &silent);
    // What is asked in between sets it back.
    sleep(300 * MS);
    let busy = Instant::now();
    lab.ask(&greeted, &Request::Ports);
    assert_eq!(refusal(lab.answer(&greeted)).0, libc::ETIMEDOUT);
    assert!(busy.elapsed() >= bounds.idle);
    expect_end(&mut lab, &greeted);
    assert!(matches!(
        lab.ask(&stack, &Request::Ports),
        Reply::Ports { .. }
    ));
}

#[test]
fn who_asks_too_much_has_to_wait_and_no_one_else() {
    let mut lab = Lab::new("", Bounds::default());
    let (eager, other) = (lab.client(), lab.client());
    let (mut answered, mut worst) = (0, Duration::ZERO);
    let start = Instant::now();
    while start.elapsed() < 500 * MS {
        while eager.send(&Request::Ports, &[]).is_ok() {}
        let asked = Instant::now();
        assert!(matches!(
            lab.ask(&other, &Request::Ports),
            Reply::Ports { .. }
        ));
        worst = worst.max(asked.elapsed());
        while let Some(reply) = received(&eager) {
            assert!(matches!(reply, Ok(Reply::Ports { .. })), "{reply:?}");
            answered += 1;
        }
        // As many of its own as the rate allows to the other one.
        sleep(MS);
        for _ in 0..64 {
            lab.control.round(Duration::ZERO).unwrap();
        }
    }
    let most = 2_000 + start.elapsed().as_millis() * 10 + 100;
    assert!(answered <= most, "{answered} in {:?}", start.elapsed());
    assert!(answered > 2_000, "{answered}");
    assert!(worst < 100 * MS, "{worst:?}");
}

#[test]
fn the_door_is_shut_after_so_many_clients_and_opens_again() {
    let bounds = Bounds {
        clients: 3,
        reserve: 1,
        ..Bounds::default()
    };
    let mut lab = Lab::new("", bounds);
    let mut clients: Vec<_> = (0..3).map(|_| lab.client()).collect();
    let late = lab.dial();
    let (errno, message) = refusal(lab.answer(&late));
    assert_eq!(errno, libc::EUSERS);
    assert!(message.contains("3 clients"), "{message}");
    expect_end(&mut lab, &late);
    clients.pop();
    lab.rounds();
    lab.client();
}

#[test]
fn nonsense_is_answered_with_an_end() {
    let mut lab = Lab::new("", Bounds::default());
    let longest = vec![b' '; MAX_MESSAGE];
    let mut too_long = b"{\"op\":\"ports\"}".to_vec();
    too_long.resize(MAX_MESSAGE + 1, b' ');
    let deep = [b"{\"op\":".as_slice(), &vec![b'['; 60_000]].concat();
    for nonsense in [
        b"{".as_slice(),
        b"\xff",
        b"null",
        b"{\"op\":\"hello\"}",
        &longest,
        &too_long,
        &deep,
    ] {
        for greeted in [false, true] {
            let conn = if greeted { lab.client() } else { lab.dial() };
            send(&conn, nonsense, SendFlags::NOSIGNAL).unwrap();
            assert_eq!(refusal(lab.answer(&conn)).0, libc::EPROTO);
            expect_end(&mut lab, &conn);
        }
    }
    // An empty message cannot be told from the end.
    let conn = lab.client();
    send(&conn, b"", SendFlags::NOSIGNAL).unwrap();
    expect_end(&mut lab, &conn);
}
