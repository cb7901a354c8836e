//! What the policy says of users. The tests' own user would be trusted if it were not named.

use port_api::ClaimSpec;
use port_api::Protocol;
use port_api::protocol::{Reply, Request, TraceRequest, Wanted};
use switch::control::Bounds;

use crate::lab::{Lab, QUOTA, attach};
use crate::refusal;

fn lab(limits: &str) -> Lab {
    let own = rustix::process::geteuid().as_raw();
    Lab::new(
        &format!("[[user]]\nuids = [{own}]\n{limits}"),
        Bounds::default(),
    )
}

/// Claims at an address that no host has (RFC 5737).
fn claim(ports: std::ops::Range<u16>) -> Request {
    let wanted = |port| Wanted {
        spec: ClaimSpec::tuple(Protocol::Udp, ([198, 51, 100, 1], port).into()),
        socket: false,
    };
    Request::Claim {
        claims: ports.map(wanted).collect(),
    }
}

fn looks() -> [Request; 5] {
    [
        Request::Ports,
        Request::Stacks { from: 0 },
        Request::Claims { from: 0 },
        Request::Stats { from: 0 },
        Request::Trace(TraceRequest {
            port: 0,
            from: None,
            frame: String::new(),
        }),
    ]
}

fn holder() -> Request {
    Request::Holder {
        protocol: Protocol::Udp,
        addr: ([198, 51, 100, 1], 7).into(),
    }
}

#[test]
fn who_may_do_nothing_gets_a_greeting_and_no_more() {
    let mut lab = lab("");
    let client = lab.client();
    let (errno, message) = refusal(lab.ask(&client, &attach()));
    assert_eq!(errno, libc::EPERM);
    assert!(message.contains("[[user]] section 1"), "{message}");
    for request in looks().iter().chain([&holder()]) {
        let (errno, message) = refusal(lab.ask(&client, request));
        assert_eq!(errno, libc::EPERM, "{request:?}: {message}");
    }
}

#[test]
fn who_may_attach_may_not_look_and_the_other_way_round() {
    let mut attaching = lab("attach = true\n");
    let (stack, ..) = attaching.stack();
    for request in looks() {
        let (errno, _) = refusal(attaching.ask(&stack, &request));
        assert_eq!(errno, libc::EPERM, "{request:?}");
    }
    let reply = attaching.ask(&stack, &holder());
    assert!(matches!(reply, Reply::Holder { .. }), "{reply:?}");

    let mut looking = lab("observe = true\n");
    let client = looking.client();
    for request in looks() {
        if let Reply::Refused { errno, .. } = looking.ask(&client, &request) {
            // There is no port to trace on.
            assert_eq!(errno, libc::ENODEV, "{request:?}");
        }
    }
    assert_eq!(refusal(looking.ask(&client, &attach())).0, libc::EPERM);
}

#[test]
fn vports_are_counted_over_all_connections() {
    let mut lab = lab("attach = true\nmax-vports = 2\n");
    let (first, ..) = lab.stack();
    let _second = lab.stack();
    let third = lab.client();
    let (errno, message) = refusal(lab.ask(&third, &attach()));
    assert_eq!(errno, libc::EDQUOT);
    assert!(message.contains("max-vports is 2"), "{message}");
    assert_eq!(lab.ask(&first, &Request::Detach), Reply::Done);
    assert!(matches!(lab.ask(&third, &attach()), Reply::Attached(_)));
    // One that is out of service, whose process lives on, counts.
    drop(third);
    lab.rounds();
    assert_eq!(refusal(lab.ask(&first, &attach())).0, libc::EDQUOT);
}

#[test]
fn claims_are_counted_over_all_connections() {
    let mut lab = lab("attach = true\nmax-claims = 5\n");
    let (first, ..) = lab.stack();
    let (second, to, _) = lab.stack();
    assert!(matches!(
        lab.ask(&first, &claim(1..4)),
        Reply::Claimed { .. }
    ));
    let (errno, message) = refusal(lab.ask(&second, &claim(11..14)));
    assert_eq!(errno, libc::EDQUOT);
    assert!(message.contains("max-claims is 5"), "{message}");
    assert!(matches!(
        lab.ask(&second, &claim(11..13)),
        Reply::Claimed { .. }
    ));
    assert_eq!(refusal(lab.ask(&first, &claim(4..5))).0, libc::EDQUOT);
    assert_eq!(lab.ask(&first, &Request::Release { claim: 1 }), Reply::Done);
    assert!(matches!(
        lab.ask(&first, &claim(4..5)),
        Reply::Claimed { .. }
    ));
    // What is handed over from one's own to one's own is no more than before, but for a moment.
    assert_eq!(
        lab.ask(&first, &Request::Offer { claim: 2, to }),
        Reply::Done
    );
    assert_eq!(
        refusal(lab.ask(&second, &Request::Take { claim: 2 })).0,
        libc::EDQUOT
    );
}

#[test]
fn buffers_are_limited_per_vport() {
    let mut few = lab("attach = true\nobserve = true\nquota = 16\n");
    let (stack, _, quota) = few.stack();
    assert_eq!(quota, 16);
    let Reply::Stacks { stacks, .. } = few.ask(&stack, &Request::Stacks { from: 0 }) else {
        panic!("no list");
    };
    assert_eq!(stacks[0].quota, 16);
    // The worker keeps fewer empty ones ready, too: half the quota.
    assert_eq!(stacks[0].held, 8, "{stacks:?}");
    let mut many = lab("attach = true\nquota = 65536\n");
    assert_eq!(many.stack().2, QUOTA, "as many as any");
}

#[test]
fn no_rule_for_a_claim_is_told_from_a_rule_against_it() {
    let mut lab = Lab::new(
        "[[rule]]\naction = \"allow\"\nports = [\"9\"]\n[[rule]]\naction = \"deny\"\n",
        Bounds::default(),
    );
    let (stack, ..) = lab.stack();
    let (errno, message) = refusal(lab.ask(&stack, &claim(7..8)));
    assert_eq!(errno, libc::EPERM);
    assert!(
        message.contains("[[rule]] 2 of the policy denies"),
        "{message}"
    );
    assert!(matches!(
        lab.ask(&stack, &claim(9..10)),
        Reply::Claimed { .. }
    ));
}
