//! Frames in and out, as they are.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use port_api::{Burst, Claim, Packet, Vport};

use crate::attach::Target;
use crate::spec::Wanted;

/// How long the switch may take to lend a buffer or to take a frame.
const PATIENCE: Duration = Duration::from_secs(5);

/// Claims all of `wanted`, prints what comes, and does as the lines on stdin say.
pub fn obey(target: &Target<'_>, wanted: &[Wanted]) -> Result<(), Box<dyn Error>> {
    let mut probe = Probe {
        vport: target.attach()?,
        claims: BTreeMap::new(),
    };
    for wanted in wanted {
        let said = probe.claim(wanted)?;
        println!("{said}");
    }
    println!("ready as vport {}", probe.vport.slot());
    let lines = lines();
    let mut burst = Burst::new();
    loop {
        let received = probe.vport.rx_burst(&mut burst) > 0;
        show(&burst)?;
        probe.vport.release(&mut burst);
        let said = match lines.try_recv() {
            Ok(line) if line == "quit" => break,
            Ok(line) => Some(probe.answer(&line)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => break,
        };
        if let Some(said) = &said {
            println!("{said}");
        }
        if !probe.vport.idle(received || said.is_some()) {
            return Err("the switch has ended or shut this vport".into());
        }
    }
    probe.vport.detach()?;
    println!("ok detached");
    Ok(())
}

/// The lines of stdin, as they come.
fn lines() -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Prints received frames, each with whether its layer 4 checksum is known to be right.
fn show(burst: &[Packet]) -> io::Result<()> {
    let mut text = String::new();
    for packet in burst {
        let good = u8::from(packet.checksum_is_good());
        // Writing to a string does not fail.
        let _ = write!(text, "rx {good} ");
        for byte in packet.data() {
            let _ = write!(text, "{byte:02x}");
        }
        text.push('\n');
    }
    io::stdout().write_all(text.as_bytes())
}

/// How a frame is to be sent.
#[derive(Clone, Copy, Default)]
struct Manner {
    /// The switch fills in the layer 4 checksum.
    fill_checksum: bool,
    /// Another NIC port than the first.
    port: Option<u8>,
}

struct Probe {
    vport: Vport,
    /// What this stack has claimed or taken over and not released, and what others have taken over
    /// from it.
    claims: BTreeMap<u64, Claim>,
}

impl Probe {
    /// Does what a line says; the line to answer with.
    fn answer(&mut self, line: &str) -> String {
        match self.act(line) {
            Ok(said) => said,
            Err(error) => format!("error {error}"),
        }
    }

    fn act(&mut self, line: &str) -> Result<String, Box<dyn Error>> {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["send", frame] => self.send(frame, Manner::default()),
            ["sendck", frame] => {
                let fill_checksum = true;
                self.send(
                    frame,
                    Manner {
                        fill_checksum,
                        ..Manner::default()
                    },
                )
            }
            ["sendport", port, frame] => {
                let port = Some(port.parse()?);
                self.send(
                    frame,
                    Manner {
                        port,
                        ..Manner::default()
                    },
                )
            }
            ["claim", spec] => self.claim(&spec.parse()?),
            ["release", id] => {
                let id = id.parse()?;
                self.vport
                    .release_claim(self.claim_of(id)?)
                    .map_err(|error| named(&error))?;
                self.claims.remove(&id);
                Ok("ok released".to_owned())
            }
            ["offer", id, to] => {
                let claim = self.claim_of(id.parse()?)?;
                self.vport
                    .offer_claim(claim, to.parse()?)
                    .map_err(|error| named(&error))?;
                Ok("ok offered".to_owned())
            }
            ["take", id] => {
                let claim = self
                    .vport
                    .take_claim(id.parse()?)
                    .map_err(|error| named(&error))?;
                Ok(self.keep(vec![claim]))
            }
            _ => Err(format!("{line:?} is no command").into()),
        }
    }

    fn claim(&mut self, wanted: &Wanted) -> Result<String, Box<dyn Error>> {
        let claims = wanted.claim(&self.vport).map_err(|error| named(&error))?;
        Ok(self.keep(claims))
    }

    fn keep(&mut self, claims: Vec<Claim>) -> String {
        let text = |claim: &Claim| format!("claim {}: {}", claim.id(), claim.spec());
        let said: Vec<_> = claims.iter().map(text).collect();
        self.claims
            .extend(claims.into_iter().map(|claim| (claim.id(), claim)));
        format!("ok {}", said.join("; "))
    }

    fn claim_of(&self, id: u64) -> Result<&Claim, String> {
        let claim = self.claims.get(&id);
        claim.ok_or_else(|| format!("no claim {id} here"))
    }

    fn send(&mut self, frame: &str, manner: Manner) -> Result<String, Box<dyn Error>> {
        let frame = from_hex(frame).ok_or("not a frame in hexadecimal digits")?;
        let start = Instant::now();
        let mut packet = loop {
            match self.vport.alloc() {
                Some(packet) => break packet,
                None => self.wait(start)?,
            }
        };
        let fits = packet.set_len(frame.len());
        if fits {
            packet.data_mut().copy_from_slice(&frame);
        }
        packet.fill_checksum(manner.fill_checksum);
        if let Some(port) = manner.port {
            packet.set_port(port);
        }
        let mut burst = Burst::new();
        burst.push(packet);
        if !fits {
            self.vport.release(&mut burst);
            return Err("the frame does not fit a buffer".into());
        }
        while self.vport.tx_burst(&mut burst) == 0 {
            self.wait(start)?;
        }
        Ok("ok sent".to_owned())
    }

    fn wait(&mut self, start: Instant) -> Result<(), Box<dyn Error>> {
        if !self.vport.idle(false) {
            return Err("the switch has ended or shut this vport".into());
        }
        if start.elapsed() > PATIENCE {
            return Err("the switch neither lends buffers nor takes frames".into());
        }
        Ok(())
    }
}

/// An error with the errno's text.
fn named(error: &port_api::Error) -> String {
    format!("{error}: {}", io::Error::from_raw_os_error(error.errno()))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}
