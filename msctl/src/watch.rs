//! What `--watch` needs: waiting with an eye on the switch, and a screen that is drawn again.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use port_api::{Client, Error};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::termios::tcgetwinsize;

use crate::fetch;

/// How long the switch may hear nothing: it cuts clients off that ask for nothing for a minute.
const SILENCE: Duration = Duration::from_secs(20);

/// Waits for a moment to come.
///
/// # Errors
/// [`Error::Closed`] as soon as the switch ends.
pub fn wait_until(client: &Client, moment: Instant) -> Result<(), Error> {
    while moment.saturating_duration_since(Instant::now()) > SILENCE {
        wait_quietly(client, Instant::now() + SILENCE)?;
        fetch::ports(client)?;
    }
    wait_quietly(client, moment)
}

fn wait_quietly(client: &Client, moment: Instant) -> Result<(), Error> {
    loop {
        let left = moment.saturating_duration_since(Instant::now());
        // All that ever comes unasked is the end: the farewell or the end of the connection.
        let mut fds = [PollFd::new(client, PollFlags::IN)];
        match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
            Ok(0) => return Ok(()),
            Ok(_) => return Err(Error::Closed),
            // Stopped and continued, perhaps.
            Err(Errno::INTR) => {}
            Err(error) => {
                return Err(Error::Io {
                    what: "wait for the switch".to_owned(),
                    source: error.into(),
                });
            }
        }
    }
}

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    rows: usize,
    columns: usize,
}

/// The size of the terminal that stdout is; None if it is none. Asked for each time, as windows
/// change.
pub fn terminal() -> Option<Size> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    let size = tcgetwinsize(&stdout).ok()?;
    // Serial lines say 0: no limits are known then.
    let or_endless = |cells: u16| match cells {
        0 => usize::MAX,
        known => usize::from(known),
    };
    Some(Size {
        rows: or_endless(size.ws_row),
        columns: or_endless(size.ws_col),
    })
}

/// The text as the whole content of a terminal, cut to fit. Clears line by line, not the screen at
/// once, so that nothing flickers.
pub fn screen(text: &str, size: Size) -> String {
    let mut out = String::from("\x1b[H");
    // The cursor needs the last row.
    for line in text.lines().take(size.rows.saturating_sub(1)) {
        out.extend(line.chars().take(size.columns));
        out += "\x1b[K\n";
    }
    out += "\x1b[J";
    out
}

/// Parses `--watch`'s seconds.
///
/// # Errors
/// A sentence with the possible range.
pub fn seconds(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (0.1..=86_400.0).contains(seconds))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "seconds from 0.1 to 86400 are possible".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_screen_is_cut_to_the_terminal() {
        let size = Size {
            rows: 3,
            columns: 4,
        };
        assert_eq!(
            screen("abcdef\nxy\nlost\n", size),
            "\x1b[Habcd\x1b[K\nxy\x1b[K\n\x1b[J"
        );
    }

    #[test]
    fn seconds_have_a_range() {
        assert_eq!(seconds("1"), Ok(Duration::from_secs(1)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for bad in ["0", "0.09", "86401", "-1", "NaN", "inf", "", "1s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }
}
