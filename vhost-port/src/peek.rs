//! A look at the next message before the vhost crate reads it.
//!
//! The crate's reads have to find what they are for. It waits without end for the rest of a message; and a
//! message with more descriptors than it has room for it drops without a word, then takes what follows for
//! a header.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;

use rustix::fd::AsFd;
use rustix::io::{Errno, ioctl_fionread};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use vhost::vhost_user::message::MAX_MSG_SIZE;

use crate::Breach;

/// File descriptors in a message, at most: as many as `SET_MEM_TABLE` has regions.
pub(crate) const MAX_FDS: usize = 8;

/// Request, flags, size.
const HEADER: usize = 12;

/// The version, and whether an answer is wanted.
const REQUEST_FLAGS: [u32; 2] = [0x1, 0x9];

/// What is there to be read.
#[derive(Debug)]
pub(crate) enum Next {
    /// A whole message: reading it will not wait. Its request.
    Message(u32),
    /// Nothing, or a part of a message.
    Part,
    /// The peer has closed its end.
    End,
}

/// Looks without reading.
///
/// # Errors
/// If what is there can't be a request of a front end.
pub(crate) fn peek(socket: impl AsFd) -> Result<Next, Breach> {
    let mut bytes = [0; HEADER];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    // The descriptors are duplicates, closed on return.
    let mut fds = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let got = match recvmsg(&socket, &mut slices, &mut fds, flags) {
        Ok(got) => got,
        Err(Errno::AGAIN | Errno::INTR) => return Ok(Next::Part),
        // Closed with our answers unread.
        Err(Errno::CONNRESET) => return Ok(Next::End),
        Err(error) => return Err(Breach::System(error.into())),
    };
    // The buffer is a bit larger, for alignment.
    let count: usize = fds.drain().map(count).sum();
    if got.flags.contains(ReturnFlags::CTRUNC) || count > MAX_FDS {
        return Err(Breach::TooManyFds);
    }
    match got.bytes {
        0 => return Ok(Next::End),
        HEADER => {}
        _ => return Ok(Next::Part),
    }
    let [request, flags, size] = [0, 4, 8]
        .map(|at| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
    if !REQUEST_FLAGS.contains(&flags) {
        return Err(Breach::Flags { request, flags });
    }
    if size as usize > MAX_MSG_SIZE {
        return Err(Breach::Oversized { request, size });
    }
    let queued = ioctl_fionread(&socket).map_err(|error| Breach::System(error.into()))?;
    Ok(if queued < HEADER as u64 + u64::from(size) {
        Next::Part
    } else {
        Next::Message(request)
    })
}

fn count(message: RecvAncillaryMessage<'_>) -> usize {
    match message {
        RecvAncillaryMessage::ScmRights(fds) => fds.count(),
        _ => 0,
    }
}
