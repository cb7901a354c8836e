//! Rings enabled before `SET_FEATURES`, as QEMU does whenever a guest's driver starts (and does not do again
//! behind it). The vhost crate refuses that.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use vhost::vhost_user::Error;
use vhost::vhost_user::message::FrontendReq;

use crate::Breach;
use crate::backend::Backend;

const ENABLE: u32 = FrontendReq::SET_VRING_ENABLE as u32;

/// Bytes of the body: which ring, and whether.
const BODY: u32 = 8;

/// In the header's flags: an answer is wanted; version 1, and this is one.
const NEED_REPLY: u32 = 0x8;
const REPLY: u32 = 0x5;

/// Whether a request is not for the vhost crate.
pub(crate) fn is_early(request: u32, backend: &Backend) -> bool {
    request == ENABLE && !backend.has_agreed()
}

/// Reads the `SET_VRING_ENABLE` that is there as a whole, obeys and answers.
///
/// # Errors
/// It makes no sense, or the peer is gone.
pub(crate) fn enable(mut socket: &UnixStream, backend: &mut Backend) -> Result<(), Breach> {
    let malformed = |error| Breach::Message {
        request: ENABLE,
        error,
    };
    let [_, flags, size] = words(socket)?;
    if size != BODY {
        return Err(malformed(Error::InvalidMessage));
    }
    let [index, enable] = words(socket)?;
    if enable > 1 {
        return Err(malformed(Error::InvalidParam));
    }
    backend.enable(index as usize, enable == 1)?;
    if flags & NEED_REPLY != 0 && backend.acknowledges() {
        let answer = [ENABLE, REPLY, BODY, 0, 0].map(u32::to_ne_bytes);
        socket.write_all(answer.as_flattened())?;
    }
    Ok(())
}

fn words<const N: usize>(mut socket: &UnixStream) -> Result<[u32; N], Breach> {
    let mut bytes = [[0; 4]; N];
    socket.read_exact(bytes.as_flattened_mut())?;
    Ok(bytes.map(u32::from_ne_bytes))
}
