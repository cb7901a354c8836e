//! A neighbour's answers, and how long they take.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::net_tools::udp;
use crate::netns::Netns;

/// From one question to the next, whether the last one was answered or not: so an outage is felt by
/// each question that falls into it.
const PERIOD: Duration = Duration::from_millis(1);

/// For answers that wait for this process to have the CPU, in bytes: those of some seconds.
const ROOM: usize = 4 << 20;

/// Questions to an echo stack, one every millisecond, until [`Beat::end`].
pub struct Beat {
    stop: Arc<AtomicBool>,
    asking: JoinHandle<Vec<Instant>>,
    listening: JoinHandle<Vec<(u32, Instant)>>,
}

/// A question: when it was asked, and after how long the answer came.
pub type Round = (Instant, Option<Duration>);

impl Beat {
    pub fn start(client: &Netns, addr: &str) -> Self {
        let socket = udp(client, addr);
        set_socket_recv_buffer_size_force(&socket, ROOM).expect("root may");
        let stop = Arc::new(AtomicBool::new(false));
        let (own, asked) = (socket.try_clone().expect("a socket"), Arc::clone(&stop));
        let asking = thread::spawn(move || ask(&own, &asked));
        let asked = Arc::clone(&stop);
        let listening = thread::spawn(move || listen(&socket, &asked));
        Self {
            stop,
            asking,
            listening,
        }
    }

    /// All questions, in order.
    pub fn end(self) -> Vec<Round> {
        self.stop.store(true, Ordering::Relaxed);
        let asked = self.asking.join().expect("no panic");
        let mut rounds: Vec<Round> = asked.into_iter().map(|at| (at, None)).collect();
        for (number, at) in self.listening.join().expect("no panic") {
            let (asked, took) = &mut rounds[number as usize];
            assert!(took.is_none(), "answer {number} came twice");
            *took = Some(at - *asked);
        }
        rounds
    }
}

fn ask(socket: &UdpSocket, stop: &AtomicBool) -> Vec<Instant> {
    let mut asked = Vec::new();
    for number in 0u32.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        asked.push(Instant::now());
        // What does not go is not answered.
        let _ = socket.send(&number.to_be_bytes());
        thread::sleep(PERIOD);
    }
    asked
}

/// Until no more answers come.
fn listen(socket: &UdpSocket, stop: &AtomicBool) -> Vec<(u32, Instant)> {
    let mut heard = Vec::new();
    let mut answer = [0; 4];
    loop {
        match socket.recv(&mut answer) {
            Ok(_) => heard.push((u32::from_be_bytes(answer), Instant::now())),
            Err(_) if stop.load(Ordering::Relaxed) => return heard,
            Err(_) => {}
        }
    }
}

/// Those that were not answered.
pub fn lost(rounds: &[Round]) -> usize {
    rounds.iter().filter(|(_, took)| took.is_none()).count()
}

/// The 99th percentile of the answered ones that were asked in one of `times`.
#[track_caller]
pub fn p99(rounds: &[Round], times: &[(Instant, Instant)]) -> Duration {
    let is_within = |at: Instant| times.iter().any(|(from, to)| (*from..*to).contains(&at));
    let within = rounds.iter().filter(|(at, _)| is_within(*at));
    let mut took: Vec<_> = within.filter_map(|(_, took)| *took).collect();
    assert!(took.len() >= 100, "{} answers are few", took.len());
    took.sort();
    took[took.len() * 99 / 100]
}
