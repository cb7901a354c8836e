//! Clients that connect.

use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::Control;
use crate::peer::Peer;

/// Most clients at a time; more are turned away.
const MAX_PEERS: usize = 8192;

/// How long those who connect wait when there is no file descriptor for them.
const PAUSE: Duration = Duration::from_millis(100);

/// Whether clients can be taken in.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// None can be until then: what is readable all the time would keep the control thread busy.
    paused_until: Option<Instant>,
    /// That was said, and no one has been taken in since.
    told: bool,
}

impl Arrivals {
    /// What to wait for at the listener.
    pub fn interest(&self) -> PollFlags {
        match self.paused_until {
            Some(until) if Instant::now() < until => PollFlags::empty(),
            _ => PollFlags::IN,
        }
    }

    fn pause(&mut self, error: Errno) {
        self.paused_until = Some(Instant::now() + PAUSE);
        if !self.told {
            tracing::warn!(
                "clients that connect have to wait or try again: {error}: raise the limit of open files (ulimit -n, \
                 LimitNOFILE=)"
            );
            self.told = true;
        }
    }
}

impl Control {
    pub(super) fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let accepted = match accept_with(&self.listener, flags) {
            Ok(socket) if self.peers.len() >= MAX_PEERS => {
                tracing::warn!("turned a client away: there are {MAX_PEERS} already");
                return drop(socket);
            }
            Ok(socket) => Peer::new(socket),
            Err(error) => Err(error),
        };
        match accepted {
            Ok(peer) => {
                self.peers.push(peer);
                self.arrivals.told = false;
            }
            Err(error @ (Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM)) => {
                self.arrivals.pause(error);
            }
            Err(error) => tracing::debug!("a client died while connecting: {error}"),
        }
    }
}
