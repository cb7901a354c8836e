//! Instructions per packet of the data path's pieces, without DPDK's devices: counted by
//! callgrind, so the figures are the same on a busy machine.
//!
//! `micro` runs itself under valgrind, once with many rounds and once with none of each piece, and
//! prints the difference per round. `micro PIECE ROUNDS` is what it runs.

use std::collections::BTreeMap;
use std::error::Error;
use std::hint::black_box;
use std::process::{Command, ExitCode};

use dpdk::cpu::{Cpu, Kernel};
use dpdk::mbuf::Checksum;
use port_api::geometry::Geometry;
use port_api::{ClaimSpec, Protocol, Region, SwitchSide};
use serde::Serialize;
use switch::classify::{Arrival, Broadcasts, Hosts, Nic, classify};
use switch::egress;
use switch::flow_table::Seed;
use switch::key::{Ends, Ends4, Subject};
use switch::tables::{Holder, Tables};
use wire::emit::{Eth, Udp};
use wire::{GroupV4, LANES, MacAddr, Origin, Vlan};

const ROUNDS: u32 = 10_000;
const CLAIMS: u16 = 64;
const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
const CLIENT_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

/// The pieces, and what a round of each is.
const PIECES: [(&str, &str); 11] = [
    ("parse-v4", "wire::parse of a 60-byte UDP frame over IPv4"),
    ("parse-v6", "the same over IPv6"),
    (
        "group-v4",
        "a frame of a group of eight to its tuple, with AVX2 if there is",
    ),
    ("find-hit", "Tables::find4 among 64 tuples, claimed"),
    ("find-miss", "the same, not claimed"),
    ("classify-hit", "classify, IPv4, claimed"),
    ("classify-miss", "classify, IPv4, not claimed"),
    ("classify-v6", "classify, IPv6, claimed"),
    ("egress", "egress::check, IPv4"),
    ("ring", "a descriptor through an rx ring, 32 to a publish"),
    ("verify", "wire::verify_l4 of 1,472 bytes of UDP"),
];

/// A piece's entry in `target/bench/micro.json`.
#[derive(Serialize)]
struct Figure {
    value: f64,
    unit: &'static str,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.as_slice() {
        [] => measure(),
        [piece, rounds] => rounds
            .parse()
            .map_err(Into::into)
            .map(|rounds| run(piece, rounds)),
        _ => Err("usage: micro [PIECE ROUNDS]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("micro: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<(), Box<dyn Error>> {
    let mut results = BTreeMap::new();
    println!("instructions per round, by callgrind:");
    for (piece, what) in PIECES {
        let with = instructions(piece, ROUNDS)?;
        let without = instructions(piece, 0)?;
        let value = (f64::from(with) - f64::from(without)) / f64::from(ROUNDS);
        println!("  {piece:<14} {value:>8.1}  {what}");
        results.insert(
            piece,
            Figure {
                value,
                unit: "instructions",
            },
        );
    }
    std::fs::create_dir_all("target/bench")?;
    std::fs::write(
        "target/bench/micro.json",
        serde_json::to_string_pretty(&results)?,
    )?;
    Ok(())
}

/// All that a run of `rounds` takes, start and end of the process included.
fn instructions(piece: &str, rounds: u32) -> Result<u32, Box<dyn Error>> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args([piece, &rounds.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}: apt-get install valgrind"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    let collected = log.lines().find_map(|line| line.split_once("Collected : "));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.ok_or_else(|| format!("valgrind said no count of {piece}: {log}").into())
}

/// Everything that a round may need.
struct Lab {
    tables: Tables,
    nic: Nic,
    frames: Vec<Vec<u8>>,
    frames6: Vec<Vec<u8>>,
    strangers: Vec<Vec<u8>>,
    answers: Vec<Vec<u8>>,
    long: Vec<u8>,
}

fn frame(eth: Eth, src: &str, dst: &str, payload: &[u8]) -> Vec<u8> {
    let mut buf = [0; 1600];
    let (Ok(src), Ok(dst)) = (src.parse(), dst.parse()) else {
        return Vec::new();
    };
    let udp = Udp {
        eth,
        src,
        dst,
        payload,
    };
    let len = udp.write(&mut buf).unwrap_or(0);
    buf[..len].to_vec()
}

impl Lab {
    fn new() -> Self {
        let (to_us, from_us) = (
            Eth {
                dst: MAC,
                src: CLIENT_MAC,
            },
            Eth {
                dst: CLIENT_MAC,
                src: MAC,
            },
        );
        let mut tables = Tables::new(
            CLAIMS.into(),
            Seed([0x9e37_79b9_7f4a_7c15, 0xc2b2_ae3d_27d4_eb4f]),
        );
        let each = |text: &dyn Fn(u16) -> Vec<u8>| (0..CLAIMS).map(text).collect::<Vec<_>>();
        for at in 0..CLAIMS {
            for ip in ["192.0.2.1", "2001:db8::1"] {
                let Ok(ip) = ip.parse() else { continue };
                let local = std::net::SocketAddr::new(ip, 1000 + at);
                let spec = ClaimSpec::tuple(Protocol::Udp, local);
                let _ = tables.insert(&Subject { spec, nic: 0 }, Holder::new(at, false));
            }
        }
        let payload = [0; 18];
        Self {
            tables,
            nic: Nic {
                id: 0,
                mac: MAC,
                broadcasts: Broadcasts::new(),
                hosts: Hosts::new(),
            },
            frames: each(&|at| {
                let local = format!("192.0.2.1:{}", 1000 + at);
                frame(to_us, "198.51.100.7:5000", &local, &payload)
            }),
            frames6: each(&|at| {
                let local = format!("[2001:db8::1]:{}", 1000 + at);
                frame(to_us, "[2001:db8::7]:5000", &local, &payload)
            }),
            strangers: each(&|at| {
                let local = format!("192.0.2.1:{}", 5000 + at);
                frame(to_us, "198.51.100.7:5000", &local, &payload)
            }),
            answers: each(&|at| {
                let local = format!("192.0.2.1:{}", 1000 + at);
                frame(from_us, &local, "198.51.100.7:5000", &payload)
            }),
            long: frame(to_us, "198.51.100.7:5000", "192.0.2.1:1000", &[7; 1472]),
        }
    }

    fn classify(&self, frames: &[Vec<u8>], rounds: u32) {
        for at in 0..rounds as usize {
            let arrival = Arrival {
                frame: black_box(&frames[at % frames.len()]),
                origin: Origin::Wire,
                checksum: Checksum::Unknown,
            };
            black_box(classify(&arrival, &self.nic, &self.tables, &mut ()));
        }
    }

    fn find(&self, first: u16, rounds: u32) {
        let ends = |at: u32| Ends4 {
            local: 0xc000_0201,
            remote: 0xc633_6407,
            local_port: first + u16::try_from(at % u32::from(CLAIMS)).unwrap_or(0),
            remote_port: 5000,
            proto: wire::proto::UDP,
            vlan: Vlan::NONE,
            zone: 0,
        };
        for at in 0..rounds {
            let ends: Ends<u32> = black_box(ends(at));
            black_box(self.tables.find4(&ends, &mut ()));
        }
    }
}

fn run(piece: &str, rounds: u32) {
    let lab = Lab::new();
    let frames = if piece.ends_with("-v6") {
        &lab.frames6
    } else {
        &lab.frames
    };
    match piece {
        "parse-v4" | "parse-v6" => {
            for at in 0..rounds as usize {
                let _ = black_box(wire::parse(
                    black_box(&frames[at % frames.len()]),
                    Origin::Wire,
                ));
            }
        }
        "group-v4" => in_groups(frames, rounds),
        "find-hit" => lab.find(1000, rounds),
        "find-miss" => lab.find(5000, rounds),
        "classify-hit" | "classify-v6" => lab.classify(frames, rounds),
        "classify-miss" => lab.classify(&lab.strangers, rounds),
        "egress" => {
            for at in 0..rounds as usize {
                let at = at % lab.answers.len();
                let vport = u16::try_from(at).unwrap_or(0);
                let _ = black_box(egress::check(
                    black_box(&lab.answers[at]),
                    &lab.nic,
                    vport,
                    &lab.tables,
                    &mut (),
                ));
            }
        }
        "ring" => through_a_ring(rounds),
        "verify" => {
            if let Ok(parsed) = wire::parse(&lab.long, Origin::Wire) {
                for _ in 0..rounds {
                    black_box(wire::verify_l4(black_box(&lab.long), &parsed));
                }
            }
        }
        _ => eprintln!("micro: no piece {piece:?}"),
    }
}

struct Judge<'a>(&'a mut [GroupV4]);

impl Kernel for Judge<'_> {
    #[inline(always)]
    fn run(self) {
        for group in self.0 {
            group.judge(MAC);
        }
    }
}

/// As a worker does it with a burst.
fn in_groups(frames: &[Vec<u8>], rounds: u32) {
    const BURST: usize = 64;
    let cpu = Cpu::supported().pop();
    let mut groups = [GroupV4::default(); BURST / LANES];
    for _ in 0..rounds as usize / BURST {
        for (group, frames) in groups.iter_mut().zip(black_box(frames).chunks(LANES)) {
            for (lane, frame) in (0..LANES).zip(frames) {
                group.load(lane, frame);
            }
        }
        if let Some(cpu) = cpu {
            cpu.run(Judge(&mut groups));
        }
        for group in &groups {
            for lane in 0..LANES {
                black_box(group.tuple(lane));
            }
        }
    }
}

fn through_a_ring(rounds: u32) {
    const TOGETHER: u32 = 32;
    let geometry = Geometry {
        workers: 1,
        slots: 1,
        ring_size: 512,
        free_size: 1024,
    };
    let Ok(region) = Region::on_heap(geometry) else {
        return;
    };
    let mut producer = SwitchSide::new(&region, 0, 0).rx;
    let mut consumer = region.stack_rings(0, 0).rx;
    for _ in 0..rounds / TOGETHER {
        let _ = producer.refresh();
        for at in 0..TOGETHER {
            producer.stage(black_box(u64::from(at)));
        }
        producer.publish();
        let _ = consumer.refresh();
        while let Some(entry) = consumer.take() {
            black_box(entry);
        }
        consumer.release();
    }
}
