//! Who gets a frame: the host, a stack, the client, or no one.
//!
//! Behind the frames of a case goes one to everyone, a fence: what has not come before it does not
//! come. The client's kernel is silent, so that nothing else is on the wire.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::time::Instant;

use port_api::protocol::{ByReason, Stats};
use wire::MacAddr;
use wire::emit::Eth;

use crate::frames::{not_ip, udp};
use crate::process::{PATIENCE, within};
use crate::raw::{Packets, Probe, Received, hex};
use crate::testbed::{HOST_V4, Testbed};

/// What the fences' payloads start with.
const FENCE: &[u8] = b"the fence, number ";

/// Where fences between machines go.
const FENCE_PORT: u16 = 9;

/// Who got what in a case, and what the switch has counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What the host's kernel got.
    pub host: Vec<Vec<u8>>,
    /// What each probe got.
    pub probes: Vec<Vec<Received>>,
    /// What reached the client, of what was sent in this case.
    pub client: Vec<Vec<u8>>,
    /// The port's drops.
    pub dropped: ByReason,
    /// Why frames were the host's.
    pub host_reasons: ByReason,
    /// Copies given to stacks and host.
    pub copies: u64,
    /// Fragments that wait now.
    pub waiting: u64,
    /// What was refused of each vport, the host's first, by name.
    pub refused: BTreeMap<String, ByReason>,
}

/// `count` of one reason.
fn counted(reason: &str, count: usize) -> ByReason {
    let count = u64::try_from(count).expect("few");
    [(reason.to_owned(), count)].into()
}

/// What is expected of a case; whoever is not named gets nothing, and no other counter moves.
impl Outcome {
    /// No one gets anything.
    pub fn none(scene: &Scene) -> Self {
        Self {
            probes: vec![Vec::new(); scene.probes.len()],
            ..Self::default()
        }
    }

    /// The host gets these, for this reason.
    pub fn for_host(mut self, reason: &str, frames: &[Vec<u8>]) -> Self {
        self.host.extend_from_slice(frames);
        self.host_reasons.extend(counted(reason, frames.len()));
        self
    }

    /// A probe gets these.
    pub fn for_probe(self, probe: usize, frames: &[Vec<u8>]) -> Self {
        self.for_probe_checked(probe, frames, false)
    }

    /// A probe gets these, and is told whether their layer 4 checksum is right.
    pub fn for_probe_checked(mut self, probe: usize, frames: &[Vec<u8>], good: bool) -> Self {
        let frames = frames.iter().map(|frame| (frame.clone(), good));
        self.probes[probe].extend(frames);
        self
    }

    /// A probe gets copies of these.
    pub fn copied_to(mut self, probe: usize, frames: &[Vec<u8>]) -> Self {
        self.copies += u64::try_from(frames.len()).expect("few");
        self.for_probe(probe, frames)
    }

    /// The client gets these.
    pub fn for_client(mut self, frames: &[Vec<u8>]) -> Self {
        self.client.extend_from_slice(frames);
        self
    }

    /// So many received frames are dropped.
    pub fn dropped(mut self, reason: &str, count: usize) -> Self {
        self.dropped.extend(counted(reason, count));
        self
    }

    /// So many of a vport's frames are refused.
    pub fn refused(mut self, name: &str, reason: &str, count: usize) -> Self {
        let of_vport = self.refused.entry(name.to_owned()).or_default();
        of_vport.extend(counted(reason, count));
        self
    }

    /// So many fragments wait.
    pub fn waiting(mut self, count: u64) -> Self {
        self.waiting = count;
        self
    }
}

/// A switch, some stacks, and an eye on everyone.
pub struct Scene {
    pub bed: Testbed,
    pub client: Packets,
    pub host: Packets,
    pub probes: Vec<Probe>,
    /// From the client to the port.
    pub inward: Eth,
    /// From the port to the client.
    pub outward: Eth,
    fences: u64,
    before: Stats,
    _fence_socket: UdpSocket,
}

impl Scene {
    /// Probes a, b, ... with these claims.
    #[track_caller]
    pub fn start(claims: &[&[&str]]) -> Self {
        Self::on(Testbed::start(), claims)
    }

    #[track_caller]
    pub fn on(bed: Testbed, claims: &[&[&str]]) -> Self {
        // From here on its kernel says nothing and answers nothing.
        bed.client.ip("addr flush dev msx1");
        bed.client
            .run("sysctl", &["-q", "net.ipv6.conf.msx1.disable_ipv6=1"]);
        let mac = |text: &str| text.parse().expect("a MAC");
        let (port, client): (MacAddr, MacAddr) =
            (mac(&bed.port().mac), mac(&bed.client.mac("msx1")));
        let fence_socket = bed.host.enter(|| UdpSocket::bind((HOST_V4, FENCE_PORT)));
        let mut scene = Self {
            client: Packets::open(&bed.client, "msx1"),
            host: Packets::open(&bed.host, "msh0"),
            probes: Vec::new(),
            inward: Eth {
                dst: port,
                src: client,
            },
            outward: Eth {
                dst: client,
                src: port,
            },
            fences: 0,
            before: Stats::default(),
            _fence_socket: fence_socket.expect("a socket"),
            bed,
        };
        for (number, claims) in claims.iter().enumerate() {
            let name = char::from(b'a' + u8::try_from(number).expect("few")).to_string();
            let fence = format!("udp:{}", fence_end(number));
            let claims = [*claims, &[&fence]].concat();
            scene.probes.push(Probe::start(&scene.bed, &name, &claims));
        }
        // What is on its way is not of any case.
        scene.fence(&[]);
        scene
    }

    /// Frames on the way from this machine to itself.
    pub fn local(&self) -> Eth {
        Eth {
            dst: self.inward.dst,
            src: self.inward.dst,
        }
    }

    /// To a group's or everyone's MAC, from the client.
    pub fn inward_to(&self, mac: &str) -> Eth {
        let dst = mac.parse().expect("a MAC");
        Eth {
            dst,
            src: self.inward.src,
        }
    }

    /// To a group's or everyone's MAC, from the port.
    pub fn outward_to(&self, mac: &str) -> Eth {
        let dst = mac.parse().expect("a MAC");
        Eth {
            dst,
            src: self.outward.src,
        }
    }

    /// Has the client send `frames`, and tells what became of them.
    #[track_caller]
    pub fn receive(&mut self, frames: &[Vec<u8>]) -> Outcome {
        for frame in frames {
            self.client.send(frame);
        }
        self.fence(frames)
    }

    /// Has a probe send `frames`, and tells what became of them.
    #[track_caller]
    pub fn send(&mut self, probe: usize, frames: &[Vec<u8>]) -> Outcome {
        for frame in frames {
            self.probes[probe].order(&format!("send {}", hex(frame)));
        }
        self.fence(frames)
    }

    /// Waits until whatever was sent before has come to where it goes. The outcome since the last
    /// fence.
    #[track_caller]
    pub fn fence(&mut self, sent: &[Vec<u8>]) -> Outcome {
        self.send_fences();
        // From the wire one to each, and one more from each vport to the client, the other probes
        // and the host.
        let probes = self.probes.len();
        let count = |seen: usize, needed: usize| seen >= needed;
        let all_came = within(PATIENCE, || {
            self.pump();
            let fences = |frames: &[Vec<u8>]| frames.iter().filter(|f| self.is_fence(f)).count();
            let received = |probe: &Probe| {
                let frames = probe.seen.iter().map(|(frame, _)| frame);
                frames.filter(|frame| self.is_fence(frame)).count()
            };
            count(fences(&self.client.seen), probes)
                && count(fences(&self.host.seen), 1 + probes)
                && self
                    .probes
                    .iter()
                    .all(|probe| count(received(probe), probes))
        });
        assert!(all_came, "a fence does not come: {:?}", self.bed.stats());
        self.outcome(sent)
    }

    /// Fences until a probe has got something; the outcome since the last fence before that.
    #[track_caller]
    pub fn fence_until(&mut self, probe: usize, sent: &[Vec<u8>]) -> Outcome {
        let start = Instant::now();
        loop {
            let outcome = self.fence(sent);
            if !outcome.probes[probe].is_empty() {
                return outcome;
            }
            assert!(start.elapsed() < PATIENCE, "nothing comes: {outcome:?}");
        }
    }

    fn send_fences(&mut self) {
        self.fences += 1;
        let payload = [FENCE, &self.fences.to_be_bytes()].concat();
        let (inward, outward, local) = (self.inward, self.outward, self.local());
        // The host takes no notice of what is not IP.
        self.client.send(&not_ip(inward, &payload));
        let client = format!("10.77.0.2:{FENCE_PORT}");
        let host = format!("{HOST_V4}:{FENCE_PORT}");
        for number in 0..self.probes.len() {
            let own = fence_end(number);
            self.client.send(&udp(inward, &client, &own, &payload));
            let mut frames = vec![
                udp(outward, &own, &client, &payload),
                udp(local, &own, &host, &payload),
            ];
            let others = (0..self.probes.len()).filter(|other| *other != number);
            frames.extend(others.map(|other| udp(local, &own, &fence_end(other), &payload)));
            for frame in frames {
                self.probes[number].order(&format!("send {}", hex(&frame)));
            }
        }
    }

    fn is_fence(&self, frame: &[u8]) -> bool {
        let payload = [FENCE, &self.fences.to_be_bytes()].concat();
        frame.ends_with(&payload)
    }

    fn pump(&mut self) {
        self.client.pump();
        self.host.pump();
        self.probes.iter_mut().for_each(Probe::pump);
    }

    fn outcome(&mut self, sent: &[Vec<u8>]) -> Outcome {
        let is_fence = |frame: &[u8]| frame.windows(FENCE.len()).any(|part| part == FENCE);
        let after = self.bed.stats();
        let (before, now) = (self.before.ports.first(), &after.ports[0]);
        let mut host_reasons = since(before.map(|port| &port.host_reasons), &now.host_reasons);
        // The fence from the wire is one of these.
        take_one(&mut host_reasons, "not-ip");
        let mut refused = BTreeMap::new();
        for vport in &after.vports {
            let is_same = |old: &&port_api::protocol::VportStats| old.slot == vport.slot;
            let old = self.before.vports.iter().find(is_same);
            let drops = since(old.map(|old| &old.tx_dropped), &vport.tx_dropped);
            if !drops.is_empty() {
                refused.insert(vport.name.clone(), drops);
            }
        }
        let probes = self.probes.iter_mut().map(|probe| {
            let seen = probe.take_seen();
            seen.into_iter()
                .filter(|(frame, _)| !is_fence(frame))
                .collect()
        });
        let mut host = std::mem::take(&mut self.host.seen);
        host.retain(|frame| !is_fence(frame));
        let mut client = std::mem::take(&mut self.client.seen);
        // The host's kernel speaks on its own account: queries, reports, answers.
        client.retain(|frame| sent.contains(frame));
        let outcome = Outcome {
            host,
            probes: probes.collect(),
            client,
            dropped: since(before.map(|port| &port.rx_dropped), &now.rx_dropped),
            host_reasons,
            copies: now.copies - before.map_or(0, |port| port.copies),
            waiting: now.waiting,
            refused,
        };
        self.before = after;
        outcome
    }

    /// Counters add up, and the switch ends in order.
    #[track_caller]
    pub fn finish(self) {
        drop(self.probes);
        self.bed.expect_no_stacks();
        self.bed.finish();
    }
}

/// Where the fences of a probe come from and go to: an address that no case uses.
fn fence_end(number: usize) -> String {
    format!("10.77.0.{}:{FENCE_PORT}", 200 + number)
}

fn since(before: Option<&ByReason>, now: &ByReason) -> ByReason {
    let old = |reason: &String| before.and_then(|before| before.get(reason)).unwrap_or(&0);
    let more = now
        .iter()
        .map(|(reason, count)| (reason.clone(), count - old(reason)));
    more.filter(|(_, count)| *count > 0).collect()
}

fn take_one(counts: &mut ByReason, reason: &str) {
    if let Some(count) = counts.get_mut(reason) {
        *count -= 1;
        if *count == 0 {
            counts.remove(reason);
        }
    }
}
