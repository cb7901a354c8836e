//! The control thread: clients that say anything, in any order, with any descriptors; policies that are
//! anything. Someone who behaves is always answered, no claim is granted twice, and nothing is left of
//! those who have gone.

#![no_main]

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use fuzz::input::Input;
use fuzz::lab::{Lab, received};
use fuzz::messages::{descriptors, request};
use libfuzzer_sys::fuzz_target;
use port_api::protocol::{ClaimRow, Reply, Request, VERSION};
use port_api::{Connection, Kind};
use rustix::net::{SendFlags, send};
use switch::control::Bounds;

/// Operations per run.
const OPS: usize = 64;
/// Most clients at a time.
const CLIENTS: usize = 6;

fuzz_target!(|data: &[u8]| {
    let before = open_descriptors();
    play(&mut Input(data));
    let start = Instant::now();
    // Some are closed on a thread of their own.
    while open_descriptors() != before {
        assert!(start.elapsed() < Duration::from_secs(5), "a descriptor leaks");
        std::thread::yield_now();
    }
});

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

fn play(input: &mut Input<'_>) {
    let mut lab = Lab::new("", Bounds::default());
    let witness = lab.client();
    let mut clients: Vec<Connection> = Vec::new();
    for _ in 0..OPS {
        if input.is_empty() {
            break;
        }
        step(&mut lab, &mut clients, input);
        for client in &clients {
            while let Some(Ok(reply)) = received(client) {
                assert_ne!(reply, Reply::Shutdown);
            }
        }
        let reply = lab.ask(&witness, &Request::Ports);
        let is_answer = matches!(reply, Reply::Ports { .. } | Reply::Refused { .. });
        assert!(is_answer, "{reply:?}");
    }
    // Who did what is looked at with all rights.
    set_policy(&mut lab, "");
    let mut seen = HashSet::new();
    for row in claims(&mut lab, &witness) {
        let is_shared = row.spec.what.kind() == Kind::Group;
        assert!(seen.insert(row.spec) || is_shared, "twice: {row:?}");
    }
    drop(clients);
    lab.rounds();
    lab.rounds();
    assert_eq!(claims(&mut lab, &witness), []);
}

fn step(lab: &mut Lab, clients: &mut Vec<Connection>, input: &mut Input<'_>) {
    let (op, who) = (input.byte(), usize::from(input.byte()) % CLIENTS);
    if who >= clients.len() {
        let client = if op % 8 == 0 { lab.dial() } else { lab.client() };
        clients.push(client);
    }
    let who = who.min(clients.len() - 1);
    match op % 16 {
        0 => drop(clients.swap_remove(who)),
        1 => {
            let len = input.byte();
            let _ = send(&clients[who], input.take(len.into()), SendFlags::NOSIGNAL);
        }
        2 => {
            let len = input.byte();
            let text = String::from_utf8_lossy(input.take(len.into())).into_owned();
            set_policy(lab, &text);
        }
        3 => {
            let own = rustix::process::geteuid().as_raw();
            let (attach, most) = (input.byte() % 2 == 0, input.byte() % 8);
            set_policy(
                lab,
                &format!("[[user]]\nuids = [{own}]\nattach = {attach}\nmax-claims = {most}\n"),
            );
        }
        4 => lab.rounds(),
        5 => {
            let hello = Request::Hello {
                version: VERSION,
                client: String::new(),
            };
            let _ = clients[who].send(&hello, &[]);
        }
        _ => {
            let request = request(&mut || input.byte());
            let passed = descriptors(&mut || input.byte());
            let passed: Vec<_> = passed.iter().map(AsFd::as_fd).collect();
            let _ = clients[who].send(&request, &passed);
        }
    }
}

/// Reloads, which may be refused.
fn set_policy(lab: &mut Lab, text: &str) {
    std::fs::write(lab.file("policy"), text).expect("a file");
    lab.hang_up();
    lab.rounds();
}

fn claims(lab: &mut Lab, witness: &Connection) -> Vec<ClaimRow> {
    match lab.ask(witness, &Request::Claims { from: 0 }) {
        // Fewer than a page can hold.
        Reply::Claims { claims, next: None } => claims,
        other => panic!("no list: {other:?}"),
    }
}
