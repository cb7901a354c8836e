//! Secondaries come, go and crash.

use std::{
    fs::{self, File},
    process::ExitCode,
    slice,
    time::{Duration, Instant},
};

use dpdk::{Eal, Mempool, Memzone, eal::forget_secondary, ethdev};

use crate::run::{Primary, command, run, run_ok, text};

const GREETING: &[u8] = b"hello from the primary";

/// The address where the primary put the zone comes first in it.
const ADDRESS: usize = size_of::<usize>();

/// A primary that waits for the end of its standard input.
pub fn hold(args: &[String]) -> ExitCode {
    let prefix = format!("--file-prefix={}", args[1]);
    let args = ["hold", "-l0", "--no-pci", "--no-telemetry", &prefix].map(ToOwned::to_owned);
    let eal = Eal::primary(&args).expect("EAL");
    let zone = Memzone::reserve("greeting", 100, 64).expect("memzone");
    assert_eq!((zone.len(), zone.addr().addr().get() % 64), (100, 0));
    assert!(
        Memzone::reserve("greeting", 100, 64).is_err(),
        "the name is taken"
    );
    // SAFETY: the zone is 100 bytes long, and nobody else has it yet.
    let bytes = unsafe { slice::from_raw_parts_mut(zone.addr().as_ptr(), zone.len()) };
    assert!(bytes.iter().all(|&byte| byte == 0));
    bytes[..ADDRESS].copy_from_slice(&zone.addr().addr().get().to_ne_bytes());
    bytes[ADDRESS..][..GREETING.len()].copy_from_slice(GREETING);
    eal.admit_secondaries();
    println!("ready");
    // A line asks how much of the heap is in use; the end of them ends it.
    for _ in std::io::stdin().lines() {
        println!("{}", eal.heap_in_use());
    }
    eal.cleanup();
    ExitCode::SUCCESS
}

/// A secondary. With a further argument it kills itself in the end.
pub fn attach(args: &[String]) -> ExitCode {
    let prefix = &args[1];
    // SAFETY: all zeroes is an empty set; plain calls on it.
    let affinity = || unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::sched_getaffinity(0, size_of_val(&set), &raw mut set);
        libc::CPU_COUNT(&set)
    };
    let before = affinity();
    let eal = match Eal::secondary(prefix) {
        Ok(eal) => eal,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    assert_eq!(affinity(), before, "the caller's affinity stays");
    assert_eq!(eal.file_prefix(), prefix);
    drop(eal);
    assert!(Eal::secondary(prefix).is_ok(), "attached already");
    assert!(
        Eal::secondary("other")
            .unwrap_err()
            .to_string()
            .contains("one per process")
    );
    let zone = Memzone::lookup("greeting").expect("memzone");
    assert!(Memzone::lookup("nonesuch").is_err());
    // SAFETY: the zone is 100 bytes long, and nobody writes to it any more.
    let bytes = unsafe { slice::from_raw_parts(zone.addr().as_ptr(), 100) };
    assert_eq!(
        bytes[..ADDRESS],
        zone.addr().addr().get().to_ne_bytes(),
        "at the same address"
    );
    assert_eq!(&bytes[ADDRESS..][..GREETING.len()], GREETING);
    assert!(
        Mempool::create("p", 63, 0, 2048, -1, None).is_err(),
        "only for primaries"
    );
    assert!(
        Memzone::reserve("mine", 64, 64).is_err(),
        "only for primaries"
    );
    assert_eq!(ethdev::count(), 0);
    if args.len() > 2 {
        // SAFETY: a plain call.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
    ExitCode::SUCCESS
}

pub fn attaches() {
    let out = run(&["attach", "dpdktest-nonesuch"]);
    assert_eq!(text(&out.stderr).lines().count(), 1);
    assert!(
        text(&out.stderr).contains("start the switch first"),
        "{}",
        text(&out.stderr)
    );

    let mut primary = Primary::start("attach");
    let before = primary.heap_in_use();
    for _ in 0..20 {
        assert_eq!(run_ok(&["attach", &primary.prefix]), "");
    }
    assert_eq!(
        primary.heap_in_use(),
        before,
        "a secondary leaves nothing in the shared heap"
    );
    let spawn = |_| {
        command(&["attach", &primary.prefix])
            .spawn()
            .expect("runs itself")
    };
    let at_once: Vec<_> = (0..24).map(spawn).collect();
    for mut child in at_once {
        assert!(
            child.wait().expect("a child").success(),
            "at the same time as others"
        );
    }
    assert_eq!(primary.heap_in_use(), before);
    primary.stop();
}

/// The lock that secondaries take in turns is held by one that hangs: another waits, and then does without.
pub fn waits_for_its_turn() {
    let primary = Primary::start("turn");
    let config = File::open(primary.runtime_dir().join("config")).expect("EAL's file");
    config.lock().expect("nobody else has it");
    let start = Instant::now();
    run_ok(&["attach", &primary.prefix]);
    let waited = start.elapsed();
    drop(config);
    assert!(waited >= Duration::from_secs(2), "{waited:?}");
    let start = Instant::now();
    run_ok(&["attach", &primary.prefix]);
    let waited = start.elapsed();
    assert!(waited < Duration::from_secs(2), "{waited:?}");
    primary.stop();
}

pub fn is_forgotten() {
    let primary = Primary::start("forget");
    let dir = primary.runtime_dir();
    let files = |pid: u32| -> usize {
        let names = fs::read_dir(&dir).expect("the directory").flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| name.contains(&format!("_{pid}")))
            .count()
    };
    let mut child = command(&["attach", &primary.prefix, "kill"])
        .spawn()
        .expect("runs itself");
    let pid = child.id();
    assert!(!child.wait().expect("a child").success());
    assert!(
        files(pid) > 0,
        "a killed secondary leaves files, or this test is for nothing"
    );
    forget_secondary(&dir, pid);
    assert_eq!(files(pid), 0);
    run_ok(&["attach", &primary.prefix]);
    primary.stop();
}
