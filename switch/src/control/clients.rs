//! Clients as such: who is let in, who has to wait, and who is sent away.

use std::time::{Duration, Instant};

use port_api::protocol::Reply;
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, accept_with, shutdown};

use super::Control;
use crate::pace::{Muffler, Pace};
use crate::peer::Peer;
use crate::policy::User;
use crate::refusal::Refusal;
use crate::watch::Source;
use crate::workers::Stuck;

/// Clients let in a second, and at once after a rest. Others wait in the kernel.
const ACCEPTED: (u32, u32) = (5_000, 1_000);

/// Clients let in between two rounds of requests.
const AT_ONCE: usize = 16;

/// How long no one is let in when there are no more descriptors.
const SHORTAGE: Duration = Duration::from_millis(100);

/// How often is looked who has been silent for too long.
const LOOK: Duration = Duration::from_millis(100);

/// How much of clients is put up with.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How long a client may take to say hello.
    pub hello: Duration,
    /// How long one that is no stack may ask for nothing.
    pub idle: Duration,
    /// Most clients at a time.
    pub clients: usize,
    /// How many of these are kept for root and the switch's own user.
    pub reserve: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            hello: Duration::from_secs(5),
            idle: Duration::from_mins(1),
            clients: 8192,
            reserve: 256,
        }
    }
}

/// How the clients as such are doing.
pub(super) struct Clients {
    bounds: Bounds,
    next_id: u64,
    /// Peers whose requests have to wait.
    paused: Vec<u64>,
    accepted: Pace,
    /// When the door, if it is shut, opens again.
    opens: Option<Instant>,
    /// There are no more descriptors, and that has been said.
    is_short: bool,
    /// Of clients that are turned away.
    turned_away: Muffler,
    next_look: Instant,
}

impl Clients {
    pub(super) fn new(bounds: Bounds, now: Instant) -> Self {
        Self {
            bounds,
            next_id: 0,
            paused: Vec::new(),
            accepted: Pace::new(ACCEPTED.0, ACCEPTED.1, now),
            opens: None,
            is_short: false,
            turned_away: Muffler::new(1, 10, now),
            next_look: now,
        }
    }
}

impl Control {
    /// How long to wait for something to do: not longer than `patience`, or until someone who has to
    /// wait may go on.
    pub(super) fn until_due(&self, patience: Duration) -> Duration {
        let now = Instant::now();
        let door = self
            .clients
            .opens
            .map(|at| at.saturating_duration_since(now));
        let places = self
            .clients
            .paused
            .iter()
            .filter_map(|id| self.place_of(*id));
        let peers = places.map(|at| self.peers[at].pace.wait(now));
        peers.chain(door).fold(patience, Duration::min)
    }

    /// Lets clients in.
    pub(super) fn accept(&mut self, now: Instant) {
        for _ in 0..AT_ONCE {
            let wait = self.clients.accepted.wait(now);
            if wait > Duration::ZERO {
                return self.shut_door(now + wait);
            }
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let let_in = accept_with(&self.socket, flags).and_then(|socket| {
                self.clients.accepted.charge(1, now);
                let peer = Peer::new(self.clients.next_id, socket, now)?;
                self.clients.next_id += 1;
                self.let_in(peer, now)
            });
            match let_in {
                Ok(()) if self.clients.is_short => {
                    tracing::info!("clients are let in again");
                    self.clients.is_short = false;
                }
                Ok(()) => {}
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    if !self.clients.is_short {
                        tracing::warn!(
                            "no client can be let in: there are no more file descriptors \
                             (RLIMIT_NOFILE), or no memory for them"
                        );
                    }
                    self.clients.is_short = true;
                    return self.shut_door(now + SHORTAGE);
                }
                // Gone before they were in, or none waits.
                Err(_) => return,
            }
        }
    }

    fn let_in(&mut self, mut peer: Peer, now: Instant) -> Result<(), Errno> {
        let Some(conn) = peer.conn.take() else {
            return Ok(());
        };
        if let Err(refusal) = self.has_room_for(peer.user) {
            if let Some(held_back) = self.clients.turned_away.lets_through(now) {
                tracing::warn!("turned a client away, after {held_back} others: {refusal}");
            }
            // It may be gone.
            let _ = conn.send(&Reply::from(refusal), &[]);
            self.closer.close(conn);
            return Ok(());
        }
        self.watch.add(&conn, Source::Said(peer.id))?;
        self.watch.add(&peer.pidfd, Source::Died(peer.id))?;
        peer.conn = Some(conn);
        self.peers.push(peer);
        Ok(())
    }

    fn has_room_for(&self, user: User) -> Result<(), Refusal> {
        let Bounds {
            clients, reserve, ..
        } = self.clients.bounds;
        let is_trusted = user.is_trusted();
        let most = if is_trusted {
            clients
        } else {
            clients - reserve
        };
        if self.peers.len() >= most {
            let message = format!("there are {} clients already", self.peers.len());
            return Err(Refusal::new(libc::EUSERS, message));
        }
        if is_trusted {
            return Ok(());
        }
        let theirs = self.peers.iter().filter(|peer| peer.user.uid == user.uid);
        let (count, most) = (theirs.count(), self.policy.rights(user).max_connections());
        if count >= most {
            let message = format!("user {} has {count} connections already", user.uid);
            return Err(Refusal::new(libc::EDQUOT, message));
        }
        Ok(())
    }

    fn shut_door(&mut self, until: Instant) {
        self.watch.remove(&self.socket);
        self.clients.opens = Some(until);
    }

    /// Counts a request, and has a client that makes too many wait: its next ones stay in its socket.
    pub(super) fn charge(&mut self, at: usize, cost: u32, now: Instant) {
        let peer = &mut self.peers[at];
        peer.heard = now;
        peer.pace.charge(cost, now);
        if peer.pace.wait(now) > Duration::ZERO
            && let Some(conn) = &peer.conn
        {
            self.watch.remove(conn);
            self.clients.paused.push(peer.id);
        }
    }

    /// Lets go on who has waited long enough, and sends away who has been silent for too long.
    pub(super) fn look_after_clients(&mut self, now: Instant) -> Result<(), Stuck> {
        if self.clients.opens.is_some_and(|at| at <= now) {
            self.clients.opens = None;
            // If it fails, the next round tries again.
            if self.watch.add(&self.socket, Source::Listener).is_err() {
                self.clients.opens = Some(now + SHORTAGE);
            }
        }
        let mut paused = std::mem::take(&mut self.clients.paused);
        paused.retain(|id| !self.resume(*id, now));
        self.clients.paused = paused;
        if self.clients.next_look > now {
            return Ok(());
        }
        self.clients.next_look = now + LOOK;
        for at in 0..self.peers.len() {
            if let Some(why) = self.is_silent(at, now) {
                tracing::debug!("cut {} off: {why}", self.peers[at].describe());
                self.send_away(at, Refusal::new(libc::ETIMEDOUT, why))?;
            }
        }
        Ok(())
    }

    /// True if the peer does not have to wait any longer.
    fn resume(&self, id: u64, now: Instant) -> bool {
        let Some(at) = self.place_of(id) else {
            return true;
        };
        match &self.peers[at].conn {
            Some(_) if self.peers[at].pace.wait(now) > Duration::ZERO => false,
            // If it fails, the next round tries again.
            Some(conn) => self.watch.add(conn, Source::Said(id)).is_ok(),
            None => true,
        }
    }

    fn is_silent(&self, at: usize, now: Instant) -> Option<&'static str> {
        let peer = &self.peers[at];
        if peer.conn.is_none() || peer.stack.is_some() {
            return None;
        }
        let silence = now.saturating_duration_since(peer.heard);
        let Bounds { hello, idle, .. } = self.clients.bounds;
        match peer.greeted {
            false if silence > hello => Some("it has said no hello"),
            true if silence > idle => Some("it has asked for nothing for too long"),
            _ => None,
        }
    }

    /// Ends the connection; the process may live on.
    pub(super) fn disconnect(&mut self, at: usize) {
        if let Some(conn) = self.peers[at].conn.take() {
            self.watch.remove(&conn);
            // The client sees the end at once, whatever waits in the socket to be closed with it.
            let _ = shutdown(&conn, Shutdown::Both);
            self.closer.close(conn);
        }
    }
}
