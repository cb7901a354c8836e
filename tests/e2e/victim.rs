//! Stacks that come to a bad end.

use crate::process::Process;
use crate::testbed::Testbed;

/// What one does until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Answers.
    Echo,
    /// Receives and gives back.
    Sink,
    /// Never gives anything back.
    Hoard,
    /// Receives and gives back, and makes its claim anew all the time.
    Fickle,
}

pub const KINDS: [Kind; 4] = [Kind::Echo, Kind::Sink, Kind::Hoard, Kind::Fickle];

impl Kind {
    /// Starts one with a claim on UDP `addr`. It says "as vport N" when it has it.
    pub fn start(self, bed: &Testbed, addr: &str) -> Process {
        let probe = |mode| bed.probe("victim", &[mode, "udp", addr]);
        match self {
            Self::Echo => {
                let socket = bed.socket.to_str().expect("UTF-8");
                bed.stack("stack-echo", &[socket, addr, "victim"])
            }
            Self::Sink => probe("sink"),
            Self::Hoard => probe("hoard"),
            Self::Fickle => probe("fickle"),
        }
    }
}
