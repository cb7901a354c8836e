//! The control thread, as its clients see it: without DPDK, without root.

#[path = "../common/io.rs"]
#[allow(dead_code)]
mod io;
#[path = "../common/lab.rs"]
mod lab;

mod bounds;
mod descriptors;
mod policy;
mod reload;

use port_api::protocol::Reply;

/// The errno and the sentence of a refusal.
#[track_caller]
fn refusal(reply: Reply) -> (i32, String) {
    match reply {
        Reply::Refused { errno, message } => (errno, message),
        other => panic!("not refused: {other:?}"),
    }
}
