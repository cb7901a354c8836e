//! Memory tables that are none.

use std::fs::File;
use std::os::fd::AsFd;

use vhost::vhost_user::message::FrontendReq as Req;

use crate::common::raw::{FLAGS, Table, memory, table};
use crate::common::{REGION, SPLIT, USER};
use crate::{NAME, refused, turn};

fn shared() -> File {
    memory(NAME, REGION)
}

fn bad_table(expected: &str, count: u32, regions: &[Table], files: &[&File]) {
    refused(expected, |raw| {
        raw.owner_and_features(SPLIT);
        let fds: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        raw.message(
            Req::SET_MEM_TABLE as u32,
            FLAGS,
            &table(count, regions),
            &fds,
        );
    });
}

#[test]
fn memory_tables_that_do_not_add_up() {
    let _turn = turn();
    let file = shared();
    let region = [0, REGION, USER, 0];
    bad_table("SET_MEM_TABLE: invalid message", 0, &[], &[]);
    bad_table("SET_MEM_TABLE: invalid message", 1, &[region], &[]);
    bad_table(
        "SET_MEM_TABLE: invalid message",
        1,
        &[region],
        &[&file, &file],
    );
    bad_table(
        "SET_MEM_TABLE: invalid message",
        2,
        &[region, region],
        &[&file],
    );
    bad_table("SET_MEM_TABLE: invalid message", 3, &[region], &[&file]);
    bad_table(
        "SET_MEM_TABLE: invalid message",
        u32::MAX,
        &[region],
        &[&file],
    );
    let nine: Vec<_> = (0..9)
        .map(|n| [n * REGION, REGION, USER + n * REGION, 0])
        .collect();
    bad_table("more than 8 file descriptors", 9, &nine, &[&file; 9]);
    bad_table("SET_MEM_TABLE: invalid message", 9, &nine, &[&file; 8]);
}

/// The size of the guest's memory is checked before it is mapped (October 2026).
#[test]
fn memory_tables_that_lie() {
    let _turn = turn();
    let file = shared();
    let large = u64::MAX - 4095;
    bad_table(
        "SET_MEM_TABLE: invalid message",
        1,
        &[[0, 0, USER, 0]],
        &[&file],
    );
    bad_table(
        "SET_MEM_TABLE: invalid message",
        1,
        &[[large, REGION, USER, 0]],
        &[&file],
    );
    bad_table(
        "SET_MEM_TABLE: invalid message",
        1,
        &[[0, REGION, large, 0]],
        &[&file],
    );
    bad_table(
        "SET_MEM_TABLE: invalid message",
        1,
        &[[0, REGION, USER, large]],
        &[&file],
    );
    bad_table("region 0 ends at", 1, &[[0, REGION + 1, USER, 0]], &[&file]);
    bad_table("region 0 ends at", 1, &[[0, REGION, USER, 4096]], &[&file]);
    bad_table(
        "a memory table of 0x400000000000 bytes",
        1,
        &[[0, 1 << 46, USER, 0]],
        &[&file],
    );
    let twice = [[0, REGION, USER, 0], [REGION, REGION, USER + 4096, 0]];
    bad_table("overlap", 2, &twice, &[&file, &file]);
    // The first region is mapped before the second turns out to be none.
    let folder = File::open("/proc/self").unwrap();
    let zero = File::open("/dev/zero").unwrap();
    let second = [REGION, 1, USER + REGION, 0];
    for other in [&folder, &zero] {
        bad_table(
            "region 1",
            2,
            &[[0, REGION, USER, 0], second],
            &[&file, other],
        );
    }
    let folder = File::open("/usr").unwrap();
    bad_table("cannot map region 0", 1, &[[0, 1, USER, 0]], &[&folder]);
    let read_only = File::open("/proc/self/exe").unwrap();
    bad_table("cannot map region 0", 1, &[[0, 1, USER, 0]], &[&read_only]);
}
