//! One HTTP connection on one TCP socket.

use std::fs::File;
use std::os::unix::fs::FileExt;

use smoltcp::socket::tcp::{Socket, State};
use smoltcp::time::{Duration, Instant};

use crate::files::{Found, Root};
use crate::http::{Head, MAX_HEAD, Method, Parsed, Request, Status, parse, write_status};

/// How long a client may take for its next request head, from the end of the last response on, or
/// may leave a response lying.
const IDLE: Duration = Duration::from_secs(30);
/// How long a client may take to close its side once this side is closed.
const LINGER: Duration = Duration::from_secs(20);
/// The file is read in pieces of this many bytes or more, as far as it has them.
const CHUNK: usize = 64 * 1024;
/// Pipelined requests answered in one go, so that one client cannot hold up the others.
const PIPELINE: usize = 16;

/// What all connections share.
#[derive(Debug)]
pub struct Site {
    /// Where the files are.
    pub root: Root,
    /// The time in the form of RFC 9110 section 5.6.7, at most some seconds old.
    pub date: String,
}

/// One connection: from the handshake's end until its socket is closed.
#[derive(Debug)]
pub struct Connection {
    /// Received and not yet answered; never more than [`MAX_HEAD`].
    inbox: Vec<u8>,
    /// Whether `inbox` has bytes that the parser has not seen.
    is_fresh: bool,
    /// What goes out before the body, and how much of it is in the socket's buffer already.
    head: Vec<u8>,
    head_sent: usize,
    body: Option<Body>,
    /// Whether this response is the last.
    is_last: bool,
    deadline: Instant,
    /// The socket's unacknowledged bytes when the deadline was last looked at.
    unacked: usize,
}

/// What is left to send of a file.
#[derive(Debug)]
struct Body {
    file: File,
    offset: u64,
    left: u64,
}

/// How a step of [`Connection::serve`] ended.
#[derive(PartialEq, Eq)]
enum Step {
    /// There may be more to do.
    Again,
    /// The peer's turn.
    Wait,
}

impl Connection {
    /// A connection that has just been established.
    pub fn new(now: Instant) -> Self {
        Self {
            inbox: Vec::new(),
            is_fresh: false,
            head: Vec::new(),
            head_sent: 0,
            body: None,
            is_last: false,
            deadline: now + IDLE,
            unacked: 0,
        }
    }

    /// Does all that can be done now; true if it stopped only to let others have their turn.
    pub fn serve(&mut self, socket: &mut Socket<'_>, site: &Site, now: Instant) -> bool {
        (0..PIPELINE).all(|_| self.step(socket, site, now) == Step::Again)
    }

    fn step(&mut self, socket: &mut Socket<'_>, site: &Site, now: Instant) -> Step {
        if !socket.may_send() {
            discard(socket);
            return Step::Wait;
        }
        if !self.send(socket, now) {
            return Step::Wait;
        }
        if self.is_last {
            self.close(socket, now);
            return Step::Wait;
        }
        self.receive(socket);
        if self.is_fresh && self.answer(site, now) {
            return Step::Again;
        }
        if !socket.may_recv() {
            // Half closed by the peer, and all its requests are answered.
            self.close(socket, now);
        }
        Step::Wait
    }

    /// Moves the response into the socket's buffer. True if nothing of it is left.
    fn send(&mut self, socket: &mut Socket<'_>, now: Instant) -> bool {
        if self.head_sent < self.head.len() {
            match socket.send_slice(&self.head[self.head_sent..]) {
                Ok(len) => self.head_sent += len,
                Err(_) => return false,
            }
            if self.head_sent < self.head.len() {
                return false;
            }
        }
        let Some(body) = &mut self.body else {
            return true;
        };
        while body.left > 0 {
            let left = usize::try_from(body.left).unwrap_or(usize::MAX);
            let room = socket.send_capacity() - socket.send_queue();
            if room < CHUNK.min(left) {
                return false;
            }
            if !body.send(socket, left) {
                // The client is to learn that the length it was told does not hold.
                socket.abort();
                return false;
            }
            self.deadline = now + IDLE;
        }
        self.body = None;
        true
    }

    fn receive(&mut self, socket: &mut Socket<'_>) {
        while self.inbox.len() < MAX_HEAD {
            let room = MAX_HEAD - self.inbox.len();
            let received = socket.recv(|bytes| {
                let len = bytes.len().min(room);
                self.inbox.extend_from_slice(&bytes[..len]);
                (len, len)
            });
            match received {
                Ok(len) if len > 0 => self.is_fresh = true,
                _ => break,
            }
        }
    }

    /// Answers the first request of the inbox. False if there is no whole one.
    fn answer(&mut self, site: &Site, now: Instant) -> bool {
        self.head.clear();
        self.head_sent = 0;
        match parse(&self.inbox) {
            Parsed::Partial => {
                self.is_fresh = false;
                return false;
            }
            Parsed::Request(request, len) => {
                self.is_last = !request.keep_alive;
                self.body = respond(&request, site, &mut self.head);
                self.inbox.drain(..len);
                self.is_fresh = !self.inbox.is_empty();
            }
            Parsed::Refused(status) => {
                self.is_last = true;
                write_status(status, None, None, &site.date, &mut self.head);
            }
        }
        self.deadline = now + IDLE;
        true
    }

    fn close(&mut self, socket: &mut Socket<'_>, now: Instant) {
        socket.close();
        self.deadline = now + LINGER;
    }

    /// Ends the connection if its time is up; to be called now and then.
    pub fn check_deadline(&mut self, socket: &mut Socket<'_>, now: Instant) {
        let unacked = socket.send_queue();
        if unacked < self.unacked {
            self.deadline = self.deadline.max(now + IDLE);
        }
        self.unacked = unacked;
        if now < self.deadline {
            return;
        }
        let is_idle = socket.state() == State::Established && unacked == 0 && self.body.is_none();
        if is_idle {
            self.close(socket, now);
        } else {
            socket.abort();
        }
    }
}

impl Body {
    /// Reads the next piece straight into the socket's buffer. False if that failed, or if the
    /// file has become shorter.
    fn send(&mut self, socket: &mut Socket<'_>, left: usize) -> bool {
        let sent = socket.send(|space| {
            let len = space.len().min(left);
            let read = self.file.read_at(&mut space[..len], self.offset);
            let read = read.unwrap_or(0);
            (read, read)
        });
        match sent {
            Ok(len) if len > 0 => {
                self.offset += len as u64;
                self.left -= len as u64;
                true
            }
            _ => false,
        }
    }
}

/// Throws away what a peer sends after the last response.
fn discard(socket: &mut Socket<'_>) {
    while socket.can_recv() {
        if socket.recv(|bytes| (bytes.len(), ())).is_err() {
            return;
        }
    }
}

/// Writes the response's head into `head`, and what goes with it, unless that is a file.
fn respond(request: &Request<'_>, site: &Site, head: &mut Vec<u8>) -> Option<Body> {
    let Some(method) = request.method else {
        write_status(
            Status::MethodNotAllowed,
            None,
            Some(request),
            &site.date,
            head,
        );
        return None;
    };
    match site.root.find(request.path) {
        Ok(Found::File {
            file,
            len,
            content_type,
        }) => {
            let fields = Head {
                status: Status::Ok,
                length: len,
                content_type,
                location: None,
                keep_alive: request.keep_alive,
                is_1_0: request.is_1_0,
            };
            fields.write(&site.date, head);
            (method == Method::Get).then_some(Body {
                file,
                offset: 0,
                left: len,
            })
        }
        Ok(Found::Directory) => {
            // One slash only: two would make a host of the first segment.
            let path = request.path.trim_start_matches('/');
            let location = format!("/{path}/{}", request.query);
            let moved = Status::MovedPermanently;
            write_status(moved, Some(&location), Some(request), &site.date, head);
            None
        }
        Err(status) => {
            write_status(status, None, Some(request), &site.date, head);
            None
        }
    }
}
