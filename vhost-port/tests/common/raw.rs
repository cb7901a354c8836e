//! A front end that sends any bytes with any file descriptors.

use std::fs::File;
use std::io::{IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use vhost::vhost_user::message::FrontendReq;

use super::{REGION, SIZE, USER, part};

/// Version 1.
pub const FLAGS: u32 = 1;

/// Version 1, and an answer is wanted.
pub const ACK: u32 = 9;

/// A memory region: guest address, bytes, user address, offset.
pub type Table = [u64; 4];

pub struct Raw {
    pub socket: UnixStream,
}

pub fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).unwrap()
}

/// Memory to share.
pub fn memory(name: &str, len: u64) -> File {
    let file = File::from(memfd_create(name, MemfdFlags::CLOEXEC).unwrap());
    file.set_len(len).unwrap();
    file
}

pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

pub fn longs(longs: &[u64]) -> Vec<u8> {
    longs.iter().flat_map(|long| long.to_ne_bytes()).collect()
}

/// The body of a `SET_MEM_TABLE`.
pub fn table(count: u32, regions: &[Table]) -> Vec<u8> {
    [words(&[count, 0]), longs(regions.as_flattened())].concat()
}

impl Raw {
    pub fn connect(path: &Path) -> Self {
        Self::from(UnixStream::connect(path).unwrap())
    }

    /// `false` if the other side has closed.
    pub fn bytes(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(253))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
        let slices = [IoSlice::new(bytes)];
        sendmsg(&self.socket, &slices, &mut control, SendFlags::NOSIGNAL) == Ok(bytes.len())
    }

    pub fn message(&self, request: u32, flags: u32, body: &[u8], fds: &[BorrowedFd<'_>]) -> bool {
        let size = u32::try_from(body.len()).unwrap();
        self.bytes(
            &[words(&[request, flags, size]), body.to_vec()].concat(),
            fds,
        )
    }

    pub fn send(&self, request: FrontendReq, body: &[u8]) {
        self.message(request as u32, FLAGS, body, &[]);
    }

    pub fn send_fd(&self, request: FrontendReq, body: &[u8], fd: impl AsFd) {
        self.message(request as u32, FLAGS, body, &[fd.as_fd()]);
    }

    /// The body of the next answer; empty when the other side has closed.
    pub fn answer(&self) -> Vec<u8> {
        let mut header = [0; 12];
        if (&self.socket).read_exact(&mut header).is_err() {
            return Vec::new();
        }
        let size = u32::from_ne_bytes(header[8..].try_into().unwrap());
        let mut body = vec![0; size as usize];
        (&self.socket).read_exact(&mut body).unwrap();
        body
    }

    /// An answer of 8 bytes.
    pub fn value(&self) -> u64 {
        u64::from_ne_bytes(self.answer().try_into().unwrap())
    }

    pub fn owner_and_features(&self, features: u64) {
        self.send(FrontendReq::SET_OWNER, &[]);
        self.send(FrontendReq::GET_FEATURES, &[]);
        self.value();
        self.send(FrontendReq::SET_FEATURES, &longs(&[features]));
    }

    pub fn share(&self, regions: &[Table], files: &[&File]) {
        let count = u32::try_from(regions.len()).unwrap();
        let fds: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        let request = FrontendReq::SET_MEM_TABLE as u32;
        self.message(request, FLAGS, &table(count, regions), &fds);
    }

    pub fn share_one(&self, file: &File) {
        self.share(&[[0, REGION, USER, 0]], &[file]);
    }

    pub fn describe(&self, ring: u32, base: u32) {
        self.send(FrontendReq::SET_VRING_NUM, &words(&[ring, SIZE]));
        self.send(FrontendReq::SET_VRING_BASE, &words(&[ring, base]));
        self.addresses(ring, [part(ring, 0), part(ring, 2), part(ring, 1)]);
    }

    /// Descriptors, used ring, available ring.
    pub fn addresses(&self, ring: u32, at: [u64; 3]) {
        let body = [words(&[ring, 0]), longs(&at), longs(&[0])].concat();
        self.send(FrontendReq::SET_VRING_ADDR, &body);
    }

    pub fn kick(&self, ring: u32) {
        self.send_fd(FrontendReq::SET_VRING_KICK, &longs(&[ring.into()]), event());
    }

    pub fn enable(&self, ring: u32, enable: u32) {
        self.send(FrontendReq::SET_VRING_ENABLE, &words(&[ring, enable]));
    }

    /// Everything up to two running rings.
    pub fn bring_up(&self, features: u64, file: &File) {
        self.owner_and_features(features);
        self.share_one(file);
        let base = if features & 1 << 34 == 0 { 0 } else { 0x8000 };
        for ring in 0..2 {
            self.describe(ring, base);
            self.send_fd(FrontendReq::SET_VRING_CALL, &longs(&[ring.into()]), event());
            self.kick(ring);
            if features & 1 << 30 != 0 {
                self.enable(ring, 1);
            }
        }
    }

    /// Stops a ring; where it has stopped.
    pub fn stop(&self, ring: u32) -> u32 {
        self.send(FrontendReq::GET_VRING_BASE, &words(&[ring, 0]));
        u32::try_from(self.value() >> 32).unwrap()
    }
}

impl From<UnixStream> for Raw {
    fn from(socket: UnixStream) -> Self {
        socket
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        Self { socket }
    }
}
