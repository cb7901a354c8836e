//! Frames in and out, as they are: a netdev's, by way of a packet socket (`packets.py`), and a
//! stack's, by way of `stack-probe raw`.

use std::fmt::Write;

use crate::netns::Netns;
use crate::process::{PATIENCE, Process, within};
use crate::testbed::Testbed;

pub fn hex(frame: &[u8]) -> String {
    frame.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("memory");
        hex
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| {
        let text = std::str::from_utf8(pair).expect("ASCII");
        u8::from_str_radix(text, 16).expect("hexadecimal digits")
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

/// A netdev's frames, both ways.
pub struct Packets {
    process: Process,
    at: usize,
    /// What has come, and no one has taken yet.
    pub seen: Vec<Vec<u8>>,
}

impl Packets {
    pub fn open(netns: &Netns, netdev: &str) -> Self {
        Self::start(netns, netdev, &[])
    }

    /// Sees nothing: where there is much to see.
    pub fn blind(netns: &Netns, netdev: &str) -> Self {
        Self::start(netns, netdev, &["blind"])
    }

    fn start(netns: &Netns, netdev: &str, more: &[&str]) -> Self {
        let mut command = netns.command("python3");
        command
            .args(["-c", include_str!("packets.py"), netdev])
            .args(more);
        let mut process = Process::spawn(netdev, &mut command);
        process.expect("ready");
        let at = "ready\n".len();
        let seen = Vec::new();
        Self { process, at, seen }
    }

    pub fn send(&mut self, frame: &[u8]) {
        self.process.tell(&hex(frame));
    }

    /// Looks for what has come.
    pub fn pump(&mut self) {
        let lines = self.process.new_lines(&mut self.at);
        self.seen.extend(lines.iter().map(|line| from_hex(line)));
    }
}

/// A frame that a stack has received, and whether its layer 4 checksum is known to be right.
pub type Received = (Vec<u8>, bool);

/// A `stack-probe raw`.
pub struct Probe {
    process: Process,
    at: usize,
    pub name: String,
    pub slot: u16,
    /// What has come, and no one has taken yet.
    pub seen: Vec<Received>,
    /// How many commands were given, and what was said to them, in order.
    commands: usize,
    answers: Vec<String>,
    /// What it says before is about the claims that it began with.
    has_begun: bool,
}

impl Probe {
    /// One that has these claims.
    #[track_caller]
    pub fn start(bed: &Testbed, name: &str, claims: &[&str]) -> Self {
        let args = [&["raw"], claims].concat();
        let mut process = bed.probe(name, &args);
        let ready = process.expect("ready as vport ");
        let slot = ready.rsplit(' ').next().and_then(|slot| slot.parse().ok());
        Self {
            process,
            at: 0,
            name: name.to_owned(),
            slot: slot.expect("a number"),
            seen: Vec::new(),
            commands: 0,
            answers: Vec::new(),
            has_begun: false,
        }
    }

    /// Looks for what has come and what was said.
    pub fn pump(&mut self) {
        for line in self.process.new_lines(&mut self.at) {
            match line.split_once(' ') {
                Some(("rx", rest)) => {
                    let (good, frame) = rest.split_once(' ').expect("a frame");
                    self.seen.push((from_hex(frame), good == "1"));
                }
                Some(("ok" | "error", _)) if self.has_begun => self.answers.push(line),
                Some(("ready", _)) => self.has_begun = true,
                _ => {}
            }
        }
    }

    /// Gives a command, and returns what is said to it.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        self.order(line);
        let answered = within(PATIENCE, || {
            self.pump();
            self.answers.len() == self.commands
        });
        assert!(answered, "{} does not answer {line:?}", self.name);
        self.answers[self.commands - 1].clone()
    }

    /// Gives a command, and does not wait.
    pub fn order(&mut self, line: &str) {
        self.process.tell(line);
        self.commands += 1;
    }

    /// Gives a command that must succeed.
    #[track_caller]
    pub fn tell(&mut self, line: &str) -> String {
        let said = self.ask(line);
        assert!(said.starts_with("ok "), "{}: {line:?}: {said}", self.name);
        said
    }

    /// Frames that came since the last time.
    pub fn take_seen(&mut self) -> Vec<Received> {
        self.pump();
        std::mem::take(&mut self.seen)
    }

    /// Ends it.
    pub fn quit(mut self) {
        self.process.tell("quit");
        assert!(self.process.wait().status.success());
    }
}
