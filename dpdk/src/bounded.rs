//! Calls that may hang.

use std::{sync::mpsc, thread, time::Duration};

/// How long [`run`] waits.
pub const LIMIT: Duration = Duration::from_secs(2);

/// Runs `f` on a thread of its own and waits for it at most [`LIMIT`]; None if it takes longer,
/// and then it goes on in the background.
///
/// For calls into DPDK on the way out. EAL's locks in shared memory are not robust: a secondary
/// that was killed while it held one leaves it locked for ever, and whoever frees memory
/// afterwards spins; a hung secondary delays each freed page by 5 s. At exit it is better to leave
/// such a call behind than to hang.
pub fn run<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = mpsc::channel();
    let spawned = thread::Builder::new()
        .name("dpdk-bounded".to_owned())
        .spawn(move || {
            // Nobody receives it if the limit has passed.
            let _ = sender.send(f());
        });
    spawned.ok()?;
    receiver.recv_timeout(LIMIT).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_result_or_gives_up() {
        assert_eq!(run(|| 7), Some(7));
        assert_eq!(run(|| thread::sleep(LIMIT * 2)), None);
    }
}
