//! `msctl trace`.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::fake::FakeSwitch;
use crate::{ask, failure, msctl, stdout};

/// A pcap file with these records: bytes, and their number on the wire.
fn pcap(path: &Path, link_type: u32, records: &[(&[u8], u32)]) {
    let words = [0xa1b2_c3d4, 4 << 16 | 2, 0, 0, 65_535, link_type];
    let mut file: Vec<u8> = words
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect();
    for (bytes, len) in records {
        let captured = u32::try_from(bytes.len()).unwrap();
        for word in [1, 2, captured, *len] {
            file.extend(word.to_le_bytes());
        }
        file.extend(*bytes);
    }
    std::fs::write(path, file).unwrap();
}

#[test]
fn a_frame_is_traced_step_by_step() {
    let switch = FakeSwitch::start();
    let output = ask(&switch, &["trace", "02:00", "00 01"]);
    assert_eq!(stdout(&output), "   1. port 0, from None\n=> 02000001\n");
    let output = ask(
        &switch,
        &["trace", "--port", "3", "--from=7", "--json", "AB"],
    );
    assert_eq!(
        stdout(&output),
        "{\"steps\":[\"port 3, from Some(7)\"],\"verdict\":\"ab\"}\n"
    );
    let mut child = msctl()
        .arg("--socket")
        .arg(switch.path())
        .args(["trace", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"02 03\n04\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .ends_with("=> 020304\n")
    );

    let output = ask(&switch, &["trace", "xyz"]);
    assert_eq!(failure(&output), "msctl: 'x' is not a hexadecimal digit");
    for args in [&["trace"][..], &["trace", "--pcap", "f", "00"]] {
        assert_eq!(ask(&switch, args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn the_frames_of_a_capture_are_traced_one_after_the_other() {
    let switch = FakeSwitch::start();
    let path = switch.path().with_extension("pcap");
    let args = ["trace", "--pcap", path.to_str().unwrap()];
    pcap(&path, 1, &[(&[1], 1), (&[2], 60), (&[3], 3)]);
    let output = ask(&switch, &args);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let step = "   1. port 0, from None\n";
    assert_eq!(text, format!("frame 1\n{step}=> 01\n"));
    let skipped: Vec<_> = std::str::from_utf8(&output.stderr)
        .unwrap()
        .lines()
        .collect();
    let why = |number, len| {
        format!("msctl: frame {number}: skipped, as the capture has only 1 of its {len} bytes")
    };
    assert_eq!(skipped, [why(2, 60), why(3, 3)]);

    pcap(&path, 1, &[(&[1], 1), (&[2, 3], 2)]);
    let output = ask(&switch, &[&args[..], &["--json"]].concat());
    let numbers: Vec<_> = stdout(&output)
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["number"].clone())
        .collect();
    assert_eq!(numbers, [1, 2]);

    pcap(&path, 113, &[(&[1], 1)]);
    assert!(failure(&ask(&switch, &args)).ends_with("not Ethernet"));
    for broken in [&b"GIF89a"[..], b""] {
        std::fs::write(&path, broken).unwrap();
        let why = "not a pcap or pcapng file";
        assert!(failure(&ask(&switch, &args)).ends_with(why), "{broken:?}");
    }
    let whole = {
        pcap(&path, 1, &[(&[1; 40], 40)]);
        std::fs::read(&path).unwrap()
    };
    std::fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert!(failure(&ask(&switch, &args)).ends_with("cut off"));
    std::fs::remove_file(&path).unwrap();
    assert!(failure(&ask(&switch, &args)).contains("No such file"));
}
