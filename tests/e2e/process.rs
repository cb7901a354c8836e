//! Programs under test.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything may take that takes no time worth mentioning.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Polls until `condition` holds.
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        within(PATIENCE, condition),
        "not so after {PATIENCE:?}: {what}"
    );
}

/// Polls until `condition` holds, or `limit` is over: then false.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if condition() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// A program that runs; killed when dropped.
pub struct Process {
    child: Child,
    name: String,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

/// What a program left when it had ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Process {
    /// Starts `command`; what it prints is kept.
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        Self {
            stdout: gather(child.stdout.take().expect("piped")),
            stderr: gather(child.stderr.take().expect("piped")),
            child,
            name: name.to_owned(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// Whole lines that it has printed since `at`, which is moved on behind them.
    pub fn new_lines(&self, at: &mut usize) -> Vec<String> {
        let stdout = self.stdout.lock().unwrap();
        let new = &stdout[*at..];
        let whole = &new[..new.rfind('\n').map_or(0, |end| end + 1)];
        *at += whole.len();
        whole.lines().map(str::to_owned).collect()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Waits until it has printed `text`, and returns the line.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> String {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait().expect("a child").is_some();
            let both = self.stdout() + &self.stderr();
            if let Some(line) = both.lines().find(|line| line.contains(text)) {
                return line.to_owned();
            }
            assert!(
                !ended && start.elapsed() < PATIENCE,
                "{} did not say {text:?} ({}), but:\n{both}",
                self.name,
                if ended { "it ended" } else { "it runs" },
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Writes a line to its stdin.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").expect("it reads");
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_none()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(self) -> Ended {
        self.wait_for(PATIENCE)
    }

    /// Waits for its end for so long.
    #[track_caller]
    pub fn wait_for(mut self, limit: Duration) -> Ended {
        let ended = within(limit, || !self.is_running());
        assert!(
            ended,
            "{} still runs after {limit:?}:\n{}{}",
            self.name,
            self.stdout(),
            self.stderr()
        );
        let status = self.child.wait().expect("a child");
        // The readers see the end of the pipes a moment later.
        within(PATIENCE, || {
            Arc::strong_count(&self.stdout) == 1 && Arc::strong_count(&self.stderr) == 1
        });
        Ended {
            status,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }

    /// SIGTERM, and waits for the end.
    #[track_caller]
    pub fn terminate(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(self) {
        self.signal(Signal::KILL);
        self.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let (stdout, stderr) = (self.stdout(), self.stderr());
            eprintln!("--- {} said:\n{stdout}{stderr}---", self.name);
        }
    }
}

fn gather(pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&text);
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            kept.lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    });
    text
}
