//! A whole control thread, in the hands of the test: it does a round when it is told to. Its one worker
//! is real, on the mock of NICs, pool and ledger; there are no NIC ports.

use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use dpdk::PoolLayout;
use port_api::geometry::Geometry;
use port_api::protocol::{Reply, Request, VERSION};
use port_api::{Connection, Error, Region, netns_cookie};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket, socket_with,
};
use switch::claims::Claims;
use switch::config::Config;
use switch::control::{Bounds, Control, Setup};
use switch::flow_table::Seed;
use switch::plan::allowances;
use switch::policy::Policy;
use switch::signals::{Pipe, Signals};
use switch::socket::ControlSocket;
use switch::stacks::Slots;
use switch::stock::Stock;
use switch::tables::Tables;
use switch::vport::Limits;
use switch::worker::{Channels, Worker};
use switch::workers::Workers;

use crate::io::{BUF_LEN, BUFFERS, MockIo, World};

/// Most vports.
pub const VPORTS: u16 = 8;
/// Most claims.
pub const CLAIMS: u32 = 32;
/// Buffers of a vport.
pub const QUOTA: u32 = 64;

const SEED: Seed = Seed([0x1234_5678_9abc_def1, 0xfedc_ba98_7654_3211]);
const GEOMETRY: Geometry = Geometry {
    workers: 1,
    slots: VPORTS,
    ring_size: 32,
    free_size: QUOTA,
};

/// How long anything may take that takes no time worth mentioning.
const PATIENCE: Duration = Duration::from_secs(10);

/// A control thread and what it stands on.
pub struct Lab {
    pub control: Control,
    dir: PathBuf,
    _end: UnixStream,
    reload: UnixStream,
}

struct MockStock(PoolLayout);

impl Stock for MockStock {
    fn layout(&self) -> &PoolLayout {
        &self.0
    }

    fn available(&self) -> u32 {
        self.0.count
    }

    fn lent_to(&self, _: u16) -> u32 {
        0
    }
}

impl Lab {
    /// With this policy.
    pub fn new(policy: &str, bounds: Bounds) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("multistack-control-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).unwrap();
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        std::fs::write(path("policy"), policy).unwrap();
        std::fs::write(path("config"), "").unwrap();
        let args = ["--config", &path("config"), "--policy", &path("policy")];
        let config = Config::parse(args.map(str::to_owned)).unwrap();
        let (end_pipe, end) = Pipe::new().unwrap();
        let (reload_pipe, reload) = Pipe::new().unwrap();
        let region = Region::on_heap(GEOMETRY).unwrap();
        let mut workers = Workers::default();
        start_worker(workers.add(1), region.clone());
        let any = socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        let mut allowances = allowances(&config);
        allowances.stack = Limits {
            quota: QUOTA,
            fill_level: 32,
        };
        let socket = dir.join("socket");
        let setup = Setup {
            socket: ControlSocket::listen(&socket, &config.access).unwrap(),
            signals: Signals {
                end: end_pipe,
                reload: reload_pipe,
            },
            policy: Policy::of(&config).unwrap(),
            config,
            file_prefix: "lab".to_owned(),
            runtime_dir: dir.clone(),
            stock: Box::new(MockStock(layout())),
            nics: Vec::new(),
            workers,
            slots: Slots::new(region, 0, allowances),
            claims: Claims::new(CLAIMS, SEED, netns_cookie(any.as_fd()).unwrap()),
            bounds,
        };
        Self {
            control: Control::new(setup).unwrap(),
            dir,
            _end: end,
            reload,
        }
    }

    /// What `--config` and `--policy` name.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// As SIGHUP.
    pub fn hang_up(&self) {
        std::io::Write::write_all(&mut &self.reload, b"x").unwrap();
    }

    /// Some rounds, until there is nothing to do.
    pub fn rounds(&mut self) {
        for _ in 0..4 {
            assert!(self.control.round(Duration::ZERO).unwrap());
        }
    }

    /// Rounds until `condition` holds.
    pub fn until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        let start = Instant::now();
        while !condition() {
            assert!(
                start.elapsed() < PATIENCE,
                "not so after {PATIENCE:?}: {what}"
            );
            assert!(self.control.round(Duration::from_millis(1)).unwrap());
        }
    }

    /// A connection that says nothing yet, and does not wait.
    pub fn dial(&self) -> Connection {
        Connection::new(dial(&self.file("socket")))
    }

    /// A client past its greeting.
    pub fn client(&mut self) -> Connection {
        let conn = self.dial();
        let hello = Request::Hello {
            version: VERSION,
            client: "lab".to_owned(),
        };
        let reply = self.ask(&conn, &hello);
        assert!(matches!(reply, Reply::Hello(_)), "{reply:?}");
        conn
    }

    /// Asks, and has it answered.
    pub fn ask(&mut self, conn: &Connection, request: &Request) -> Reply {
        conn.send(request, &[]).unwrap();
        self.answer(conn)
    }

    /// The next message to a client.
    pub fn answer(&mut self, conn: &Connection) -> Reply {
        let mut reply = None;
        self.until("it is answered", || {
            reply = received(conn);
            reply.is_some()
        });
        reply.unwrap().unwrap()
    }

    /// A client that has attached: with its vport and its quota.
    pub fn stack(&mut self) -> (Connection, u16, u32) {
        let conn = self.client();
        match self.ask(&conn, &attach()) {
            Reply::Attached(attachment) => (conn, attachment.slot, attachment.quota),
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// To become a stack.
pub fn attach() -> Request {
    Request::Attach {
        name: "stack".to_owned(),
    }
}

/// A connected socket that does not wait.
fn dial(path: &Path) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
    connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    socket
}

/// What there is for a client: a message or the end. None if there is nothing.
pub fn received(conn: &Connection) -> Option<Result<Reply, Error>> {
    match conn.recv() {
        Ok(received) => Some(Ok(received.message)),
        Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::WouldBlock => None,
        Err(error) => Some(Err(error)),
    }
}

/// It takes a command, and does as many rounds as it takes to answer.
fn start_worker(outside: Channels, region: Region) {
    thread::spawn(move || {
        let (commands, command_receiver) = bounded(1);
        let (answer_sender, answers) = bounded(1);
        let mut worker = Worker::new(
            MockIo(Rc::new(RefCell::new(World::new()))),
            &[],
            Tables::new(CLAIMS, SEED),
            VPORTS,
            region.doorbells(0),
            Channels {
                commands: command_receiver,
                answers: answer_sender,
                events: outside.events,
            },
            true,
        );
        for command in outside.commands {
            commands.send(command).unwrap();
            let answer = loop {
                assert!(worker.step());
                if let Ok(answer) = answers.try_recv() {
                    break answer;
                }
            };
            if outside.answers.send(answer).is_err() {
                return;
            }
        }
    });
}

fn layout() -> PoolLayout {
    PoolLayout {
        memzone: "lab".to_owned(),
        base: 0,
        stride: 4096,
        count: u32::try_from(BUFFERS).unwrap(),
        buf_len: u16::try_from(BUF_LEN).unwrap(),
    }
}
