//! No more file descriptors. In a process of its own, whose limit it lowers.

#[path = "common/io.rs"]
#[allow(dead_code)]
mod io;
#[path = "common/lab.rs"]
#[allow(dead_code)]
mod lab;

use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit, setrlimit};
use switch::control::Bounds;

use lab::Lab;

const PERIOD: Duration = Duration::from_millis(100);

#[test]
fn without_descriptors_the_control_thread_rests_and_goes_on_later() {
    let mut lab = Lab::new("", Bounds::default());
    let known = lab.client();
    let waiting: Vec<_> = (0..8).map(|_| lab.dial()).collect();
    // The test's own clients have theirs: the next one would be the switch's.
    let next = std::fs::File::open("/").unwrap();
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    limit.current = Some(u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&next)).unwrap());
    drop(next);
    setrlimit(Resource::Nofile, limit).unwrap();
    let (start, mut rounds) = (Instant::now(), 0);
    while start.elapsed() < 5 * PERIOD {
        assert!(lab.control.round(PERIOD).unwrap());
        rounds += 1;
    }
    assert!(rounds < 30, "{rounds} rounds in {:?}", start.elapsed());
    // Who is in already is served.
    lab.ask(&known, &port_api::protocol::Request::Ports);
    limit.current = before;
    setrlimit(Resource::Nofile, limit).unwrap();
    for conn in waiting {
        let hello = port_api::protocol::Request::Hello {
            version: port_api::protocol::VERSION,
            client: "late".to_owned(),
        };
        let reply = lab.ask(&conn, &hello);
        assert!(
            matches!(reply, port_api::protocol::Reply::Hello(_)),
            "{reply:?}"
        );
    }
}
