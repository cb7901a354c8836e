//! EAL, ports, pool, ledger and secondaries for real. Needs root, and free hugepages in a mounted
//! hugetlbfs; without them it fails. Leaves nothing behind.
//!
//! EAL can be initialised once per process, so each case runs in processes of its own: this
//! program again, with a role as its first argument.

mod failures;
mod packets;
mod run;
mod secondary;

use std::process::ExitCode;

type Case = (&'static str, fn());

const CASES: [Case; 5] = [
    ("failures: one line, nothing left behind", failures::all),
    ("packets: pool, ports, ledger", packets::in_a_process),
    ("secondary: attaches, again and again", secondary::attaches),
    (
        "secondary: one after the other",
        secondary::waits_for_its_turn,
    ),
    ("secondary: killed and forgotten", secondary::is_forgotten),
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.first().map(String::as_str) {
        Some("primary") => return failures::primary(&args),
        Some("hold") => return secondary::hold(&args),
        Some("packets") => return packets::packets(&args),
        Some("attach") => return secondary::attach(&args),
        _ => {}
    }
    // Any other argument is a part of a case's name, as with the standard harness.
    let wanted = args.iter().find(|arg| !arg.starts_with('-'));
    for (name, case) in CASES {
        if wanted.is_none_or(|part| name.contains(part.as_str())) {
            case();
            println!("{name} ... ok");
        }
    }
    ExitCode::SUCCESS
}
