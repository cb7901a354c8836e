//! Programs that the benchmark starts.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;
use crate::lab::Lab;

/// How long a program may take to start and to end.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long it may take to say something: a million claims take their time.
const ANSWER: Duration = Duration::from_mins(2);

/// A running program; ended when dropped, and by the kernel when the benchmark is killed.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Process {
    /// Starts `program`. Lines on its standard output can be read; what is on its standard error
    /// is shown if it fails.
    pub fn start(
        lab: &Lab,
        name: &str,
        program: &Path,
        args: &[impl AsRef<std::ffi::OsStr>],
    ) -> Result<Self, Error> {
        let log = lab.dir.join(format!("{name}.log"));
        // It becomes the program, with the same pid, so that pid is the one to end.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM"])
            .arg(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .map_err(|error| format!("setpriv (of util-linux): {error}"))?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            name: name.to_owned(),
            stdin: child.stdin.take(),
            child,
            lines,
            log,
        })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its standard output.
    pub fn line(&mut self) -> Result<String, Error> {
        match self.lines.recv_timeout(ANSWER) {
            Ok(line) => Ok(line),
            Err(RecvTimeoutError::Timeout) => Err(self.failure("it does not answer")),
            Err(RecvTimeoutError::Disconnected) => Err(self.failure("it has ended")),
        }
    }

    /// Waits for this line on its standard output.
    pub fn expect(&mut self, expected: &str) -> Result<(), Error> {
        let line = self.line()?;
        if line == expected {
            Ok(())
        } else {
            Err(format!("{}: {line:?} instead of {expected:?}", self.name).into())
        }
    }

    /// Writes a line to its standard input.
    pub fn tell(&mut self, line: &str) -> Result<(), Error> {
        let stdin = self.stdin.as_mut().ok_or("no pipe")?;
        writeln!(stdin, "{line}").map_err(|_| self.failure("it has ended"))
    }

    /// Tries over and over until there is a value, or the program has ended.
    pub fn until<T>(
        &mut self,
        lab: &Lab,
        mut attempt: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let start = Instant::now();
        loop {
            let error = match attempt() {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if self.child.try_wait()?.is_some() {
                return Err(self.failure("it has ended"));
            }
            if start.elapsed() > PATIENCE {
                return Err(self.failure(&error.to_string()));
            }
            lab.sleep(Duration::from_millis(20))?;
        }
    }

    /// Waits for its end.
    pub fn wait(mut self, lab: &Lab) -> Result<(), Error> {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(self.failure(&status.to_string())),
                None => lab.sleep(Duration::from_millis(1))?,
            }
        }
        Err(self.failure("it does not end"))
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(mut self) -> Result<(), Error> {
        if self.end() {
            Ok(())
        } else {
            Err(self.failure("it does not end on SIGTERM"))
        }
    }

    /// SIGKILL: for what has nothing to clean up.
    pub fn kill(mut self) -> Result<(), Error> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Whether it ended by itself within [`PATIENCE`].
    fn end(&mut self) -> bool {
        // One that has ended already is what is wanted.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    fn failure(&self, what: &str) -> Error {
        const SHOWN: usize = 10;
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let from = log.lines().count().saturating_sub(SHOWN);
        let tail: Vec<_> = log.lines().skip(from).collect();
        format!("{}: {what}\n{}", self.name, tail.join("\n")).into()
    }
}

/// Whether there is such a program in `PATH`.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Runs a program to its end; gives its output.
pub fn run(program: &str, args: &[&str]) -> Result<String, Error> {
    let output = Command::new(program).args(args).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let why = String::from_utf8_lossy(&output.stderr);
        Err(format!("{program}: {}", why.trim()).into())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) && !self.end() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
