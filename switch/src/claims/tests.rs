//! Tests of claims.

use super::*;
use port_api::{Protocol, netns_cookie};
use rustix::net::{AddressFamily, SocketType, socket};
use std::os::fd::{AsFd, OwnedFd};

/// The user that the default policy lets claim anything.
pub fn user() -> User {
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    User {
        uid: uid.as_raw(),
        gid: gid.as_raw(),
    }
}

pub fn claims() -> Claims {
    let any = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    let here = netns_cookie(any.as_fd()).unwrap();
    let seed = Seed([0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211]);
    Claims::new(8, seed, here)
}

pub fn wanted(spec: ClaimSpec, socket: bool) -> Wanted {
    Wanted { spec, socket }
}

/// Adds claims for `slot`, with netdev 7 behind NIC port 2.
pub fn add_as(
    claims: &mut Claims,
    wanted: &[Wanted],
    sockets: Vec<OwnedFd>,
    by: Claimant,
) -> Result<u64, Refusal> {
    let around = Surroundings {
        nic_of: &|index| (index == 7).then_some(2),
        holder: &|slot| format!("stack{slot}"),
        policy: &Policy::default(),
    };
    let sockets = sockets.into_iter().map(|fd| Passed::new(fd).unwrap());
    let (first, changes) = claims.add(wanted, sockets.collect(), by, &around)?;
    assert_eq!(changes.len(), wanted.len());
    assert!(changes.iter().all(|(_, holder)| holder.vport == by.slot));
    Ok(first)
}

/// Adds one claim that takes no socket.
pub fn add(claims: &mut Claims, spec: ClaimSpec, slot: u16) -> Result<u64, Refusal> {
    let by = Claimant { slot, user: user() };
    add_as(claims, &[wanted(spec, false)], vec![], by)
}

/// At an address that no host has (RFC 5737).
pub fn udp(port: u16) -> ClaimSpec {
    ClaimSpec::tuple(Protocol::Udp, ([198, 51, 100, 1], port).into())
}

fn subject_of(spec: ClaimSpec) -> Subject {
    Subject { spec, nic: 0 }
}

#[test]
fn a_batch_is_granted_as_a_whole_or_not_at_all() {
    let mut claims = claims();
    let by = Claimant {
        slot: 3,
        user: user(),
    };
    add(&mut claims, udp(9), 4).unwrap();
    let three = [7, 8, 9].map(|port| wanted(udp(port), false));
    let refusal = add_as(&mut claims, &three, vec![], by).unwrap_err();
    assert_eq!(refusal.errno, libc::EADDRINUSE);
    assert_eq!(claims.count(3), 0);
    assert_eq!(claims.owner(&subject_of(udp(7))), None);
    assert_eq!(add_as(&mut claims, &three[..2], vec![], by), Ok(2));
    assert_eq!(claims.of(3).0, [2, 3]);
    let none = add_as(&mut claims, &[], vec![], by).unwrap_err();
    assert_eq!(none.errno, libc::EINVAL);
    let without_its_socket = [wanted(udp(10), true)];
    let missing = add_as(&mut claims, &without_its_socket, vec![], by).unwrap_err();
    assert_eq!(missing.errno, libc::EMFILE);
}

#[test]
fn there_are_no_more_than_the_tables_hold() {
    let mut claims = claims();
    for port in 1..=8 {
        add(&mut claims, udp(port), 3).unwrap();
    }
    assert_eq!(add(&mut claims, udp(9), 3).unwrap_err().errno, libc::ENOSPC);
    claims.remove(1);
    assert_eq!(add(&mut claims, udp(9), 3), Ok(9));
}

#[test]
fn an_offer_is_for_one_and_taken_once() {
    let mut claims = claims();
    let id = add(&mut claims, udp(7), 3).unwrap();
    let errno = |result: Result<_, Refusal>| result.map(drop).unwrap_err().errno;
    assert_eq!(errno(claims.offer(id, 4, 4)), libc::ENOENT, "not its own");
    assert_eq!(errno(claims.take(id, 4).map(drop)), libc::ENOENT);
    claims.offer(id, 3, 4).unwrap();
    assert_eq!(errno(claims.take(id, 5).map(drop)), libc::ENOENT);
    let (subject, holder) = claims.take(id, 4).unwrap();
    assert_eq!((holder.vport, holder.before), (4, Some(3)));
    assert_eq!(claims.owner(&subject), Some(4));
    assert_eq!((claims.count(3), claims.count(4)), (0, 1));
    assert_eq!(errno(claims.take(id, 4).map(drop)), libc::ENOENT);
    assert_eq!(
        errno(claims.offer(id, 3, 5)),
        libc::ENOENT,
        "no more its own"
    );
    // The former owner's release ends its part, and no more.
    assert!(claims.withdraw_former(4, Some(id)).is_empty());
    let ended = claims.withdraw_former(3, Some(id));
    assert_eq!(ended, [(subject, Holder::new(4, false))]);
    assert!(claims.withdraw_former(3, Some(id)).is_empty());
    assert_eq!(claims.ending(id, 3).unwrap_err().errno, libc::ENOENT);
    assert_eq!(claims.ending(id, 4).unwrap().len(), 1);
}

#[test]
fn an_offer_ends_with_whom_it_was_made_to() {
    let mut claims = claims();
    let id = add(&mut claims, udp(7), 3).unwrap();
    claims.offer(id, 3, 4).unwrap();
    // Vport 4 goes, and another stack gets its place.
    assert!(claims.withdraw_former(4, None).is_empty());
    assert_eq!(claims.take(id, 4).unwrap_err().errno, libc::ENOENT);
    // A new offer replaces the one before.
    claims.offer(id, 3, 4).unwrap();
    claims.offer(id, 3, 5).unwrap();
    assert_eq!(claims.take(id, 4).unwrap_err().errno, libc::ENOENT);
    claims.take(id, 5).unwrap();
    // The former owner goes: nothing of it is left.
    assert_eq!(claims.withdraw_former(3, None).len(), 1);
    assert!(claims.from(0).all(|(_, claim)| claim.before.is_none()));
}

#[test]
fn a_group_is_not_handed_over() {
    let mut claims = claims();
    // Of a port of the kernel's choice.
    let addr: SocketAddr = ([239, 1, 1, 1], 0).into();
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
    rustix::net::bind(&socket, &addr).unwrap();
    let group = ClaimSpec::tuple(Protocol::Udp, addr);
    let by = Claimant {
        slot: 3,
        user: user(),
    };
    let id = add_as(&mut claims, &[wanted(group, true)], vec![socket], by).unwrap();
    assert_eq!(claims.offer(id, 3, 4).unwrap_err().errno, libc::EINVAL);
}
