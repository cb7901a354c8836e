//! Who may claim what beside whom.

use std::fs;
use std::net::TcpListener;

use crate::raw::Probe;
use crate::testbed::{CLIENT_V4, HOST_V4, HOST_V6, Testbed};

const IN_USE: &str = "Address already in use";
const NOT_PERMITTED: &str = "Operation not permitted";
const INVALID: &str = "Invalid argument";

/// One line of refusal, with the errno's text and perhaps the holder's name.
#[track_caller]
fn refused(probe: &mut Probe, claim: &str, errno: &str) -> String {
    let said = probe.ask(&format!("claim {claim}"));
    assert!(said.starts_with("error "), "{claim}: {said}");
    assert!(said.contains(errno), "{claim}: {said}");
    said
}

/// It is granted; and given back.
#[track_caller]
fn granted(probe: &mut Probe, claim: &str) {
    for id in claimed(probe, claim) {
        probe.tell(&format!("release {id}"));
    }
}

/// It is granted: the claims' numbers.
#[track_caller]
fn claimed(probe: &mut Probe, claim: &str) -> Vec<u64> {
    let said = probe.tell(&format!("claim {claim}"));
    let ids = said.split("claim ").skip(1);
    let ids = ids.map(|rest| rest.split(':').next().and_then(|id| id.parse().ok()));
    ids.collect::<Option<_>>()
        .unwrap_or_else(|| panic!("{said}"))
}

/// `holder` has `held`: the other gets none of `denied`, and each of `free`.
#[track_caller]
fn beside(holder: &mut Probe, other: &mut Probe, held: &str, denied: &[&str], free: &[&str]) {
    let ids = claimed(holder, held);
    for claim in denied {
        let why = refused(other, claim, IN_USE);
        assert!(why.contains("stack holder (pid "), "{held}: {why}");
    }
    for claim in free {
        granted(other, claim);
    }
    for id in ids {
        holder.tell(&format!("release {id}"));
    }
    // And then it is as if it had never been.
    for claim in denied {
        granted(other, claim);
    }
}

#[test]
fn beside_another_stack() {
    let bed = Testbed::start();
    let mut holder = Probe::start(&bed, "holder", &[]);
    let mut other = Probe::start(&bed, "other", &[]);
    let mut case = |held: &str, denied: &[&str], free: &[&str]| {
        beside(&mut holder, &mut other, held, denied, free);
    };
    case(
        "addr:10.77.0.50",
        &[
            "addr:10.77.0.50",
            "proto:132@10.77.0.50",
            "tcp:10.77.0.50:80",
            "tcp:10.77.0.50:80<10.77.0.2:1000",
            "udp:10.77.0.50:5000-5009",
        ],
        &[
            "addr:10.77.0.51",
            "addr:fd77::50",
            "addr:10.77.0.50%100",
            "udp:10.77.0.50:80%100",
            "tcp:0.0.0.0:80",
        ],
    );
    case(
        "tcp:10.77.0.50:80",
        &[
            "tcp:10.77.0.50:80",
            "tcp:10.77.0.50:80<10.77.0.2:1000",
            "tcp:10.77.0.50:79-80",
            "addr:10.77.0.50",
        ],
        &[
            "udp:10.77.0.50:80",
            "tcp:10.77.0.50:81",
            "tcp:10.77.0.51:80",
            "tcp:10.77.0.50:80%100",
            "proto:6@10.77.0.50",
        ],
    );
    case(
        "tcp:10.77.0.50:80<10.77.0.2:1000",
        &["tcp:10.77.0.50:80<10.77.0.2:1000", "addr:10.77.0.50"],
        &[
            "tcp:10.77.0.50:80<10.77.0.2:1001",
            "tcp:10.77.0.50:80<10.77.0.3:1000",
            "tcp:10.77.0.50:80",
        ],
    );
    case(
        "proto:132@10.77.0.50",
        &[
            "proto:132@10.77.0.50",
            "addr:10.77.0.50",
            "sctp:10.77.0.50:1",
        ],
        &[
            "proto:50@10.77.0.50",
            "proto:132@10.77.0.51",
            "sctp:10.77.0.51:1",
        ],
    );
    case(
        "udp:[::]:5000",
        &["udp:[::]:5000", "udp:[fd77::50]:5000<[fd77::2]:1"],
        &["udp:0.0.0.0:5000", "tcp:[::]:5000", "udp:[::]:5001"],
    );
    // At the host's own address the kernel says no before the switch has to.
    let tuple = format!("udp:{HOST_V4}:5000");
    case(&tuple, &[&tuple], &[&format!("udp:[{HOST_V6}]:5000")]);
    holder.quit();
    other.quit();
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn below_ones_own_and_all_or_nothing() {
    let bed = Testbed::start();
    let mut holder = Probe::start(&bed, "holder", &[]);
    let mut other = Probe::start(&bed, "other", &[]);
    let (tuple, connection) = (
        format!("udp:{HOST_V4}:5000"),
        format!("udp:{HOST_V4}:5000<{CLIENT_V4}:1000"),
    );
    let ids = claimed(&mut holder, &tuple);
    let why = refused(&mut other, &connection, IN_USE);
    assert!(why.contains("stack holder (pid "), "{why}");
    // Below one's own everything is free, and groups are for all.
    granted(&mut holder, &connection);
    holder.tell(&format!("release {}", ids[0]));
    let own = claimed(&mut holder, "addr:10.77.0.50");
    for claim in [
        "tcp:10.77.0.50:80",
        "proto:132@10.77.0.50",
        "udp:10.77.0.50:1<10.77.0.2:1",
    ] {
        granted(&mut holder, claim);
    }
    holder.tell(&format!("release {}", own[0]));
    claimed(&mut holder, "udp:239.1.1.1:5000");
    claimed(&mut other, "udp:239.1.1.1:5000");
    // All of a range, or none of it.
    let free = format!("tcp:{HOST_V4}:6000-6009");
    let taken = claimed(&mut holder, &format!("tcp:{HOST_V4}:6009"));
    refused(&mut other, &free, IN_USE);
    assert_eq!(
        bed.stacks()
            .iter()
            .find(|s| s.name == "other")
            .unwrap()
            .claims,
        1
    );
    holder.tell(&format!("release {}", taken[0]));
    assert_eq!(claimed(&mut other, &free).len(), 10);
    holder.quit();
    other.quit();
    bed.expect_no_stacks();
    bed.finish();
}

#[test]
fn beside_the_kernel() {
    let bed = Testbed::start();
    let mut probe = Probe::start(&bed, "probe", &[]);
    let addr = format!("{HOST_V4}:5000");
    let listener = bed.host.enter(|| TcpListener::bind(&addr)).unwrap();
    let me = format!("(pid {})", std::process::id());
    for claim in [format!("tcp:{addr}"), "tcp:0.0.0.0:5000".to_owned()] {
        let why = refused(&mut probe, &claim, IN_USE);
        assert!(why.contains(&me), "{why}");
    }
    let connection = format!("tcp:{addr}<{CLIENT_V4}:1000");
    assert!(
        probe
            .ask(&format!("claim {connection}"))
            .starts_with("error ")
    );
    drop(listener);
    granted(&mut probe, &connection);
    // What the kernel speaks at the host's addresses is the kernel's.
    for claim in [
        format!("addr:{HOST_V4}"),
        format!("addr:{HOST_V6}"),
        format!("proto:6@{HOST_V4}"),
        format!("proto:17@{HOST_V6}"),
        format!("proto:1@{HOST_V4}"),
        format!("proto:58@{HOST_V6}"),
    ] {
        let why = refused(&mut probe, &claim, IN_USE);
        assert!(why.contains("the host's kernel"), "{why}");
    }
    for claim in [
        format!("proto:132@{HOST_V4}"),
        format!("proto:50@{HOST_V6}"),
        format!("sctp:{HOST_V4}:5000"),
        "tcp:0.0.0.0:5000".to_owned(),
    ] {
        granted(&mut probe, &claim);
    }
    // What nothing from the wire can be for.
    for claim in [
        "addr:127.0.0.1",
        "addr:224.0.0.1",
        "addr:0.0.0.0",
        "tcp:239.1.1.1:80",
        "udp:255.255.255.255:5000",
        "udp:10.77.0.50:0",
        "udp:10.77.0.50:1<10.77.0.2:0",
        "udp:10.77.0.50:1<[fd77::2]:1",
        "udp:10.77.0.50:1<224.0.0.1:1",
        "addr:::ffff:10.77.0.50",
    ] {
        refused(&mut probe, claim, INVALID);
    }
    probe.quit();
    bed.finish();
}

#[test]
fn the_policy_decides_on_what_the_kernel_does_not() {
    let mut bed = Testbed::without_switch();
    let path = bed.dir.join("policy.toml");
    let policy = r#"
        [[rule]]
        action = "deny"
        addresses = ["10.77.0.66", "fd77:66::/32"]

        [[rule]]
        action = "allow"
        uids = [0]
        kinds = ["address", "tuple"]
        addresses = ["10.77.0.64/28"]

        [[rule]]
        action = "allow"
        protocols = [132]
        vlans = ["none"]

        [[rule]]
        action = "allow"
        kinds = ["any-address"]
        protocols = ["udp"]
        ports = ["5000-5009"]

        [[rule]]
        action = "deny"
    "#;
    fs::write(&path, policy).unwrap();
    bed.start_switch(&["--policy", path.to_str().unwrap()]);
    let mut probe = Probe::start(&bed, "probe", &[]);
    for claim in [
        "addr:10.77.0.65",
        "tcp:10.77.0.79:80",
        "udp:10.77.0.65:5000%100",
        "proto:132@10.99.0.1",
        "sctp:10.99.0.1:1",
        "udp:0.0.0.0:5009",
        // A bound socket needs no rule, nor does a group that the kernel has joined.
        &format!("tcp:{HOST_V4}:5000"),
    ] {
        granted(&mut probe, claim);
    }
    for claim in [
        "addr:10.77.0.66",
        "addr:10.77.0.80",
        "addr:fd77:66::1",
        "proto:50@10.77.0.65",
        "proto:132@10.99.0.1%100",
        "udp:0.0.0.0:5010",
        "tcp:0.0.0.0:5000",
        "tcp:10.77.0.80:80<10.77.0.2:1",
    ] {
        let why = refused(&mut probe, claim, NOT_PERMITTED);
        assert!(why.contains("user 0"), "{why}");
    }
    // All of one request, or none.
    refused(&mut probe, "udp:10.77.0.80:1-3", NOT_PERMITTED);
    // Below what one has, no rule is asked.
    claimed(&mut probe, "addr:10.77.0.65");
    granted(&mut probe, "proto:50@10.77.0.65");
    probe.quit();
    bed.expect_no_stacks();
    bed.finish();
}
