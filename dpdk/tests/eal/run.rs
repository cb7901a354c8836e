//! This program in other roles.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Output, Stdio},
};

/// A `--file-prefix` that no other test has.
pub fn prefix(name: &str) -> String {
    format!("dpdktest-{name}-{}", std::process::id())
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("own path"));
    command.args(args).env_remove("MULTISTACK_EAL_LOG");
    command
}

/// Runs a role to its end.
pub fn run(args: &[&str]) -> Output {
    command(args)
        .stdin(Stdio::null())
        .output()
        .expect("runs itself")
}

/// Runs a role that must succeed.
pub fn run_ok(args: &[&str]) -> String {
    let out = run(args);
    let (stdout, stderr) = (text(&out.stdout), text(&out.stderr));
    assert!(
        out.status.success(),
        "{args:?}: {}\n{stdout}\n{stderr}",
        out.status
    );
    stdout
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A primary that runs until this is dropped.
pub struct Primary {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub prefix: String,
}

impl Primary {
    pub fn start(name: &str) -> Self {
        let prefix = prefix(name);
        let mut child = command(&["hold", &prefix])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs itself");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut primary = Self {
            child,
            stdout,
            prefix,
        };
        assert_eq!(
            primary.line(),
            "ready",
            "the primary did not start; are there free hugepages?"
        );
        primary
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    /// Bytes of the shared heap.
    pub fn heap_in_use(&mut self) -> usize {
        self.child
            .stdin
            .as_mut()
            .expect("piped")
            .write_all(b"\n")
            .expect("it reads");
        self.line().parse().expect("a number")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn runtime_dir(&self) -> PathBuf {
        Path::new("/var/run/dpdk").join(&self.prefix)
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().expect("a child").success());
        assert_nothing_left(&self.prefix);
    }
}

impl Drop for Primary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Files of EAL's with this prefix.
pub fn left_behind(prefix: &str) -> Vec<PathBuf> {
    let huge = fs::read_dir("/dev/hugepages")
        .into_iter()
        .flatten()
        .flatten();
    let runtime = fs::read_dir("/var/run/dpdk")
        .into_iter()
        .flatten()
        .flatten();
    huge.chain(runtime)
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().contains(prefix))
        .collect()
}

pub fn assert_nothing_left(prefix: &str) {
    assert_eq!(left_behind(prefix), Vec::<PathBuf>::new());
}
