//! Configuration and policy, read again.

use std::fs;
use std::os::unix::fs::MetadataExt;

use port_api::protocol::{Reply, Request};
use port_api::{ClaimSpec, Protocol, protocol::Wanted};
use switch::control::Bounds;

use crate::lab::{Lab, attach};
use crate::refusal;

fn named(limits: &str) -> String {
    let own = rustix::process::geteuid().as_raw();
    format!("[[user]]\nuids = [{own}]\nobserve = true\n{limits}")
}

fn claim(port: u16) -> Request {
    let spec = ClaimSpec::tuple(Protocol::Udp, ([198, 51, 100, 1], port).into());
    Request::Claim {
        claims: vec![Wanted {
            spec,
            socket: false,
        }],
    }
}

#[test]
fn a_new_policy_takes_force_and_what_there_is_stays() {
    let mut lab = Lab::new("", Bounds::default());
    let (stack, ..) = lab.stack();
    assert!(matches!(lab.ask(&stack, &claim(7)), Reply::Claimed { .. }));
    let policy = named("attach = false\n") + "[[rule]]\naction = \"deny\"\n";
    fs::write(lab.file("policy"), policy).unwrap();
    assert_eq!(lab.ask(&stack, &Request::Reload), Reply::Done);
    let other = lab.client();
    assert_eq!(refusal(lab.ask(&other, &attach())).0, libc::EPERM);
    assert_eq!(refusal(lab.ask(&stack, &claim(8))).0, libc::EPERM);
    let Reply::Claims { claims, .. } = lab.ask(&stack, &Request::Claims { from: 0 }) else {
        panic!("no list");
    };
    assert_eq!(claims.len(), 1);
    assert_eq!(lab.ask(&stack, &Request::Release { claim: 1 }), Reply::Done);
}

#[test]
fn a_bad_file_is_refused_and_the_old_one_kept() {
    let mut lab = Lab::new(&named("attach = true\nmax-vports = 1\n"), Bounds::default());
    let client = lab.client();
    let cases = [
        ("policy", "[[user]]\nattach = 1\n", "line 2"),
        ("policy", "[[rule]]\nuids = [0]\n", "line 1"),
        ("config", "quotta = 1\n", "line 1"),
        (
            "config",
            "quota = 256\nmax-vports = 3\n",
            "max-vports, quota",
        ),
        ("config", "socket-group = \"no-such-group\"\n", "line 1"),
    ];
    for (name, text, expected) in cases {
        let before = fs::read_to_string(lab.file(name)).unwrap();
        fs::write(lab.file(name), text).unwrap();
        let (errno, message) = refusal(lab.ask(&client, &Request::Reload));
        assert_eq!(errno, libc::EINVAL);
        assert!(message.contains(expected), "{message}");
        let path = lab.file(name);
        let names_file = message.contains(path.to_str().unwrap());
        assert!(names_file || message.contains("restart"), "{message}");
        assert!(!message.contains('\n'), "{message}");
        fs::write(lab.file(name), before).unwrap();
    }
    fs::remove_file(lab.file("policy")).unwrap();
    assert_eq!(refusal(lab.ask(&client, &Request::Reload)).0, libc::EINVAL);
    // The policy of the start holds.
    let _stack = lab.stack();
    assert_eq!(refusal(lab.ask(&client, &attach())).0, libc::EDQUOT);
}

#[test]
fn the_sockets_mode_is_set_again() {
    let mut lab = Lab::new("", Bounds::default());
    let client = lab.client();
    let mode = |lab: &Lab| fs::metadata(lab.file("socket")).unwrap().mode() & 0o777;
    assert_eq!(mode(&lab), 0o600);
    fs::write(lab.file("config"), "socket-mode = \"0660\"\n").unwrap();
    assert_eq!(lab.ask(&client, &Request::Reload), Reply::Done);
    assert_eq!(mode(&lab), 0o660);
    // A bad policy beside: nothing of it takes force.
    fs::write(lab.file("config"), "socket-mode = \"0666\"\n").unwrap();
    fs::write(lab.file("policy"), "[").unwrap();
    refusal(lab.ask(&client, &Request::Reload));
    assert_eq!(mode(&lab), 0o660);
}

#[test]
fn a_signal_does_the_same() {
    let mut lab = Lab::new("", Bounds::default());
    fs::write(lab.file("policy"), named("")).unwrap();
    lab.hang_up();
    lab.rounds();
    let client = lab.client();
    assert_eq!(refusal(lab.ask(&client, &attach())).0, libc::EPERM);
    // And each time again; what cannot be read leaves all as it is.
    fs::write(lab.file("policy"), "[").unwrap();
    lab.hang_up();
    lab.rounds();
    assert_eq!(refusal(lab.ask(&client, &attach())).0, libc::EPERM);
    fs::write(lab.file("policy"), "").unwrap();
    lab.hang_up();
    lab.rounds();
    assert!(matches!(lab.ask(&client, &attach()), Reply::Attached(_)));
}
