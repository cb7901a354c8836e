//! The harness on captures of every shape, good and bad.

mod frames;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use difftest::{
    Options, by_rules, compare,
    judge::{Judge, Verdict, etherparse, tshark},
    report::Report,
    run,
    seen::ours,
};
use wire::{Malformed, Origin, parse};

/// A folder of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("difftest-{}-{name}", process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A record: what was on the wire, and how much of it was captured.
type Record<'a> = (&'a [u8], usize);

fn whole(frames: &[Vec<u8>]) -> Vec<Record<'_>> {
    frames.iter().map(|it| (&it[..], it.len())).collect()
}

fn word(value: usize, big_endian: bool) -> [u8; 4] {
    let value = u32::try_from(value).unwrap();
    if big_endian {
        value.to_be_bytes()
    } else {
        value.to_le_bytes()
    }
}

fn pcap(link_type: usize, records: &[Record], big_endian: bool) -> Vec<u8> {
    let mut bytes = word(0xa1b2_c3d4, big_endian).to_vec();
    let version: [u8; 4] = if big_endian {
        [0, 2, 0, 4]
    } else {
        [2, 0, 4, 0]
    };
    bytes.extend(version);
    for value in [0, 0, 65535, link_type] {
        bytes.extend(word(value, big_endian));
    }
    for (frame, captured) in records {
        for value in [1, 2, *captured, frame.len()] {
            bytes.extend(word(value, big_endian));
        }
        bytes.extend(&frame[..*captured]);
    }
    bytes
}

fn block(kind: usize, fields: &[usize], data: &[u8], big_endian: bool) -> Vec<u8> {
    let padding = data.len().next_multiple_of(4) - data.len();
    let len = 12 + fields.len() * 4 + data.len() + padding;
    let mut bytes = word(kind, big_endian).to_vec();
    bytes.extend(word(len, big_endian));
    for field in fields {
        bytes.extend(word(*field, big_endian));
    }
    bytes.extend(data);
    bytes.resize(bytes.len() + padding, 0);
    bytes.extend(word(len, big_endian));
    bytes
}

/// One interface for each link type; every record is on the one that it names.
fn pcapng(link_types: &[u8], records: &[(usize, Record)], big_endian: bool) -> Vec<u8> {
    let version = if big_endian { 0x0001_0000 } else { 1 };
    let fields = [0x1a2b_3c4d, version, 0xffff_ffff, 0xffff_ffff];
    let mut bytes = block(0x0a0d_0d0a, &fields, &[], big_endian);
    for link_type in link_types {
        let link_type = usize::from(*link_type);
        let field = if big_endian {
            link_type << 16
        } else {
            link_type
        };
        bytes.extend(block(1, &[field, 65535], &[], big_endian));
    }
    // Of no interest.
    bytes.extend(block(0x7777, &[], b"something", big_endian));
    for (interface, (frame, captured)) in records {
        let fields = [*interface, 0, 0, *captured, frame.len()];
        bytes.extend(block(6, &fields, &frame[..*captured], big_endian));
    }
    bytes
}

#[track_caller]
fn report(folder: &Folder) -> Report {
    let tshark = if tshark::installed() { 1000 } else { 0 };
    let report = run(&folder.0, Options { tshark }).unwrap();
    assert!(report.is_clean(), "{report}");
    report
}

#[test]
fn every_kind_of_frame() {
    let folder = Folder::new("frames");
    let (good, bad) = (frames::good(), frames::malformed());
    let count = |frames: &[Vec<u8>]| u64::try_from(frames.len()).unwrap();
    folder.put("good.pcap", &pcap(1, &whole(&good), false));
    folder.put("deep/er/good.cap", &pcap(1, &whole(&good), true));
    let malformed: Vec<_> = bad.iter().map(|(_, frame)| frame.clone()).collect();
    folder.put("deep/bad.pcapng", &{
        let records: Vec<_> = whole(&malformed).into_iter().map(|it| (0, it)).collect();
        pcapng(&[1], &records, false)
    });
    let report = report(&folder);
    assert_eq!(report.files, 3);
    assert_eq!(report.packets, 2 * count(&good) + count(&malformed));
    assert_eq!(report.judged, report.packets);
    for (rule, frame) in &bad {
        assert_eq!(parse(frame, Origin::Wire), Err(*rule));
    }
    let refused: u64 = report.refused.values().sum();
    assert_eq!(refused, count(&malformed));
    let judged = |name: &str| report.judges.get(name).map(|tally| tally.judged);
    assert_eq!(judged("rules"), Some(report.judged));
    assert_eq!(judged("etherparse"), Some(report.judged));
    if tshark::installed() {
        assert_eq!(judged("tshark"), Some(report.judged));
    }
    // Every rule has its frame, but for the one that takes more than a capture holds.
    for rule in Malformed::ALL {
        let shown = bad.iter().any(|(it, _)| *it == rule);
        assert!(shown || rule == Malformed::Oversize, "{rule}");
    }
}

#[test]
fn link_types() {
    let folder = Folder::new("links");
    let good = frames::good();
    let ip: Vec<_> = (good.iter())
        .filter(|it| matches!(it[12..14], [8, 0] | [0x86, 0xdd]))
        .map(|it| it[14..].to_vec())
        .collect();
    let of = |version: u8| -> Vec<Vec<u8>> {
        let packets = ip.iter().filter(|it| it[0] >> 4 == version);
        packets.cloned().collect()
    };
    for link_type in [12, 14, 101] {
        folder.put(
            &format!("raw{link_type}.pcap"),
            &pcap(link_type, &whole(&ip), false),
        );
    }
    folder.put("228.pcap", &pcap(228, &whole(&of(4)), false));
    folder.put("229.pcap", &pcap(229, &whole(&of(6)), true));
    // Cooked, no IP at all, and an interface that is not there.
    folder.put("113.pcap", &pcap(113, &whole(&ip[..3]), false));
    folder.put(
        "raw.pcap",
        &pcap(101, &whole(&[vec![0x50; 40], vec![]]), false),
    );
    let records = [
        (0, (&good[0][..], good[0].len())),
        (1, (&good[0][..], good[0].len())),
        (7, (&good[0][..], good[0].len())),
    ];
    folder.put("mixed.pcapng", &pcapng(&[1, 105], &records, true));
    let report = report(&folder);
    let packets = u64::try_from(ip.len()).unwrap();
    assert_eq!(report.judged, 3 * packets + packets + 1);
    let skipped: Vec<_> = report.skipped.into_iter().collect();
    assert_eq!(skipped, [(-1, 1), (101, 2), (105, 1), (113, 3)]);
}

#[test]
fn truncated_records_and_broken_files() {
    let folder = Folder::new("broken");
    let good = frames::good();
    let short: Vec<_> = good.iter().map(|it| (&it[..], it.len() / 2)).collect();
    folder.put("short.pcap", &pcap(1, &short, false));
    let records: Vec<_> = short.iter().map(|it| (0, *it)).collect();
    folder.put("short.pcapng", &pcapng(&[1], &records, true));
    let bytes = pcap(1, &whole(&good[..3]), false);
    folder.put("cut.pcap", &bytes[..bytes.len() - 1]);
    folder.put("huge.pcap", &{
        let mut bytes = pcap(1, &whole(&good[..1]), false);
        bytes.extend(word(0, false).repeat(2));
        bytes.extend(word(0xffff_fff0, false).repeat(2));
        bytes.resize(bytes.len() + (1 << 21), 0);
        bytes
    });
    folder.put("garbage.pcap", &[0x5a; 5000]);
    folder.put("garbage.pcapng", b"\n\r\r\n and then nothing of the kind");
    folder.put("empty.cap", &[]);
    folder.put("header.pcap", &pcap(1, &[], false)[..10]);
    folder.put("none.pcap", &pcap(1, &[], false));
    folder.put("notes.txt", b"not a capture");
    let report = report(&folder);
    assert_eq!((report.files, report.ignored_files), (9, 1));
    assert_eq!(report.truncated, 2 * u64::try_from(good.len()).unwrap());
    assert_eq!(report.judged, 2 + 1);
    assert_eq!(report.packets, report.truncated + report.judged);
    let broken = report.broken_files.keys();
    let broken: Vec<_> = broken
        .map(|it| it.file_name().unwrap().to_str().unwrap())
        .collect();
    let expected = [
        "cut.pcap",
        "empty.cap",
        "garbage.pcap",
        "garbage.pcapng",
        "header.pcap",
        "huge.pcap",
    ];
    assert_eq!(broken, expected);
    assert!(report.to_string().contains("huge.pcap: "));
}

#[test]
fn disagreements_are_seen() {
    let frame = &frames::good()[0];
    let parsed = parse(frame, Origin::Wire).unwrap();
    let judged = |verdict: &Verdict| compare(Judge::Etherparse, frame, Ok(parsed), verdict);
    assert!(judged(&etherparse::judge(frame)).unexplained.is_empty());

    let lie = |edit: &dyn Fn(&mut difftest::seen::Ip)| {
        let mut seen = ours(frame, &parsed);
        edit(seen.ip.as_mut().unwrap());
        judged(&Verdict::Reads(seen)).unexplained
    };
    assert_eq!(lie(&|_| {}), [""; 0]);
    assert_eq!(lie(&|ip| ip.src = [1, 1, 1, 1].into()), ["source"]);
    assert_eq!(lie(&|ip| ip.dst = [1, 1, 1, 1].into()), ["destination"]);
    assert_eq!(lie(&|ip| ip.ports = None), ["ports"]);
    assert_eq!(lie(&|ip| ip.proto = Some(9)), ["protocol"]);
    assert_eq!(lie(&|ip| ip.start = Some(9)), ["offset"]);
    assert_eq!(lie(&|ip| ip.payload = Some(9)), ["payload offset"]);
    assert_eq!(lie(&|ip| ip.sum_ok = Some(false)), ["checksum"]);
    let mut seen = ours(frame, &parsed);
    seen.vlans.push(5);
    assert_eq!(judged(&Verdict::Reads(seen.clone())).unexplained, ["vlans"]);
    seen.ip = None;
    assert_eq!(
        judged(&Verdict::Reads(seen)).unexplained,
        ["vlans", "is IP"]
    );
    let refused = judged(&Verdict::Refuses("IPv4 length".to_owned()));
    assert_eq!(refused.unexplained, ["only we accept: IPv4 length"]);

    // Ours for no reason, and none where there is one.
    let unfounded = by_rules(frame, Err(Malformed::Land));
    assert_eq!(unfounded.unexplained, ["does not break land"]);
    let verdict = etherparse::judge(frame);
    let unfounded = compare(Judge::Etherparse, frame, Err(Malformed::Land), &verdict);
    assert_eq!(unfounded.unexplained, ["only we refuse: land"]);
    for (rule, bad) in frames::malformed() {
        let overlooked = by_rules(&bad, Ok(parsed));
        assert!(
            overlooked.unexplained.contains(&format!("breaks {rule}")),
            "{rule}"
        );
    }

    let mut report = Report::default();
    assert!(report.is_clean());
    for packet in 1..=5 {
        let outcome = by_rules(frame, Err(Malformed::Land));
        let place = (Path::new("some.pcap"), packet);
        report.add("rules", outcome, place, || ("this".into(), "that".into()));
    }
    assert!(!report.is_clean());
    let text = report.to_string();
    assert!(
        text.contains("UNEXPLAINED         5 does not break land"),
        "{text}"
    );
    assert_eq!(text.matches("some.pcap packet").count(), 3);
}

#[test]
fn the_program() {
    let folder = Folder::new("program");
    let good = frames::good();
    folder.put("a.pcap", &pcap(1, &whole(&good), false));
    let program = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_difftest"))
            .args(args)
            .output()
            .unwrap()
    };
    let dir = folder.0.to_str().unwrap();
    let output = program(&[dir, "--tshark", "0"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(
        text.contains(&format!("packets    {}", good.len())),
        "{text}"
    );
    assert!(!text.contains("tshark: agrees"), "{text}");

    let output = program(&[&format!("{dir}/a.pcap"), "--json", "--tshark", "0"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["packets"], good.len());
    assert_eq!(json["judges"]["rules"]["agreed"], good.len());

    let output = program(&[&format!("{dir}/missing")]);
    assert_eq!(output.status.code(), Some(2));
}
