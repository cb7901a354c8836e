//! `msctl trace`: what would become of a frame, and why.

use std::fmt::Write;
use std::io::{self, Read};
use std::path::PathBuf;

use port_api::Client;
use port_api::protocol::{Reply, Request, TraceRequest, Traced};
use serde::Serialize;

use crate::{Failure, capture, complain, fetch, print};

#[derive(clap::Args)]
pub struct Args {
    /// The NIC port, by its DPDK port id, where the frame would come in or is to go [default: the
    /// first one]
    #[arg(long, value_name = "ID")]
    port: Option<u8>,
    /// The vport that would send the frame, as in msctl stacks; without it, the frame would come
    /// from the wire
    #[arg(long, value_name = "VPORT")]
    from: Option<u16>,
    /// Trace the frames of a pcap or pcapng file instead, one after the other
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with = "hex",
        required_unless_present = "hex"
    )]
    pcap: Option<PathBuf>,
    /// Print one JSON object per frame, each on a line
    #[arg(long)]
    json: bool,
    /// The frame without FCS, as hexadecimal digits with spaces and colons as you like; - reads
    /// them from stdin
    #[arg(value_name = "HEX")]
    hex: Vec<String>,
}

/// A frame of a capture, as JSON.
#[derive(Serialize)]
struct Numbered<'a> {
    /// From 1 on, as Wireshark counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<u64>,
    #[serde(flatten)]
    traced: &'a Traced,
}

pub fn run(client: &Client, args: &Args) -> Result<(), Failure> {
    let port = match args.port {
        Some(port) => port,
        None => fetch::ports(client)?.first().map_or(0, |port| port.id),
    };
    let trace = |number: Option<u64>, frame: &[u8]| {
        let traced = ask(client, port, args.from, frame)?;
        if args.json {
            let numbered = Numbered {
                number,
                traced: &traced,
            };
            let line = serde_json::to_string(&numbered).map_err(io::Error::from)?;
            return Ok(print(&(line + "\n"))?);
        }
        Ok(print(&text(number, &traced))?)
    };
    let Some(path) = &args.pcap else {
        return trace(None, &from_hex(&args.hex)?);
    };
    let mut number = 0;
    capture::read(path, |record| {
        number += 1;
        if record.frame.len() < record.len {
            let (captured, len) = (record.frame.len(), record.len);
            complain(&format!(
                "frame {number}: skipped, as the capture has only {captured} of its {len} bytes"
            ));
            return Ok(());
        }
        trace(Some(number), record.frame)
    })
}

fn ask(client: &Client, port: u8, from: Option<u16>, frame: &[u8]) -> Result<Traced, Failure> {
    let frame = frame.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let request = Request::Trace(TraceRequest { port, from, frame });
    match client.call(&request, &[])? {
        Reply::Traced(traced) => Ok(traced),
        other => Err(fetch::unexpected("trace", &other).into()),
    }
}

/// The steps, numbered, and the verdict.
fn text(number: Option<u64>, traced: &Traced) -> String {
    let mut text = number.map_or_else(String::new, |number| format!("frame {number}\n"));
    for (at, step) in traced.steps.iter().enumerate() {
        let _ = writeln!(text, "  {:2}. {step}", at + 1);
    }
    let _ = writeln!(text, "=> {}", traced.verdict);
    text
}

/// The bytes of a frame from what was typed, or from stdin.
fn from_hex(words: &[String]) -> Result<Vec<u8>, Failure> {
    let text = match words {
        [dash] if dash == "-" => {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map_err(|error| Failure::Frame(format!("stdin: {error}")))?;
            text
        }
        words => words.concat(),
    };
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .map(
            |c| match c.to_digit(16).and_then(|d| u8::try_from(d).ok()) {
                Some(digit) => Ok(digit),
                None => Err(Failure::Frame(format!("{c:?} is not a hexadecimal digit"))),
            },
        )
        .collect::<Result<_, _>>()?;
    if digits.is_empty() || !digits.len().is_multiple_of(2) {
        let count = digits.len();
        return Err(Failure::Frame(format!(
            "a frame of {count} hexadecimal digits: two make a byte"
        )));
    }
    Ok(digits
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(words: &[&str]) -> Result<Vec<u8>, String> {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        from_hex(&words).map_err(|failure| failure.to_string())
    }

    #[test]
    fn hexadecimal_digits_may_be_spaced() {
        let frame = Ok(vec![0x02, 0xab, 0xff]);
        assert_eq!(bytes(&["02abff"]), frame);
        assert_eq!(bytes(&["02:AB:Ff"]), frame);
        assert_eq!(bytes(&["02", "ab ff\n"]), frame);
    }

    #[test]
    fn what_is_not_a_frame_is_named() {
        assert_eq!(
            bytes(&["02ax"]).unwrap_err(),
            "'x' is not a hexadecimal digit"
        );
        for text in ["", ":", "02a"] {
            let why = bytes(&[text]).unwrap_err();
            assert!(why.contains("two make a byte"), "{why}");
        }
    }

    #[test]
    fn steps_are_numbered_and_the_verdict_stands_out() {
        let traced = Traced {
            steps: vec![
                "60 bytes from the wire".to_owned(),
                "well-formed".to_owned(),
            ],
            verdict: "to the host".to_owned(),
        };
        let steps = "   1. 60 bytes from the wire\n   2. well-formed\n=> to the host\n";
        assert_eq!(text(None, &traced), steps);
        assert_eq!(text(Some(7), &traced), format!("frame 7\n{steps}"));
    }
}
