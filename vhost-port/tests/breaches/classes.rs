//! One test for each kind of breach.

use std::fs::File;
use std::os::fd::AsFd;

use vhost::vhost_user::message::FrontendReq as Req;

use crate::common::raw::{ACK, FLAGS, event, longs, memory, words};
use crate::common::{PACKED, REGION, Raw, SPLIT, USER, part};
use crate::{NAME, refused, turn};

fn shared() -> File {
    memory(NAME, REGION)
}

#[test]
fn short_header() {
    let _turn = turn();
    refused("a part of a message", |raw| {
        raw.bytes(&[1, 0, 0, 0, 1], &[]);
    });
    refused("a part of a message", |raw| {
        raw.bytes(&[1, 0, 0, 0, 1], &[]);
        raw.socket.shutdown(std::net::Shutdown::Write).unwrap();
    });
}

#[test]
fn short_body() {
    let _turn = turn();
    refused("a part of a message", |raw| {
        let file = shared();
        raw.bytes(
            &words(&[Req::SET_MEM_TABLE as u32, 1, 40, 1]),
            &[file.as_fd()],
        );
    });
}

#[test]
fn oversized_message() {
    let _turn = turn();
    for size in [4097, 1 << 20, u32::MAX] {
        refused("SET_MEM_TABLE: a message of", |raw| {
            let fd = event();
            raw.bytes(&words(&[Req::SET_MEM_TABLE as u32, 1, size]), &[fd.as_fd()]);
        });
    }
}

#[test]
fn flags_of_another_version_or_of_an_answer() {
    let _turn = turn();
    for flags in [0, 2, 3, 5, 0x11, 0x8000_0001] {
        refused("GET_FEATURES: flags", |raw| {
            raw.message(Req::GET_FEATURES as u32, flags, &[], &[]);
        });
    }
}

#[test]
fn unknown_requests() {
    let _turn = turn();
    for request in [0, 45, 255, u32::MAX] {
        refused(&format!("request {request}: invalid message"), |raw| {
            let fd = event();
            raw.message(request, FLAGS, &[], &[fd.as_fd()]);
        });
    }
}

/// What was not offered is refused, and what came with it closed: logs and in-flight areas with offsets
/// that no one has checked (October 2026) among it.
#[test]
fn what_was_not_offered() {
    let _turn = turn();
    let bodies: [(Req, Vec<u8>); 22] = [
        (Req::SET_LOG_BASE, longs(&[1 << 40, u64::MAX - 4095])),
        (Req::SET_LOG_FD, Vec::new()),
        (
            Req::SET_INFLIGHT_FD,
            [longs(&[REGION, u64::MAX]), words(&[0x0100_0002, 0])].concat(),
        ),
        (
            Req::GET_INFLIGHT_FD,
            [longs(&[0, 0]), words(&[0x0100_0002, 0])].concat(),
        ),
        (Req::SET_BACKEND_REQ_FD, Vec::new()),
        (Req::GPU_SET_SOCKET, Vec::new()),
        (Req::ADD_MEM_REG, longs(&[0, 0, REGION, USER, 0])),
        (Req::REM_MEM_REG, longs(&[0, 0, REGION, USER, 0])),
        (Req::GET_MAX_MEM_SLOTS, Vec::new()),
        (Req::SET_DEVICE_STATE_FD, words(&[0, 0])),
        (Req::CHECK_DEVICE_STATE, Vec::new()),
        (Req::POSTCOPY_ADVISE, Vec::new()),
        (Req::POSTCOPY_LISTEN, Vec::new()),
        (Req::POSTCOPY_END, Vec::new()),
        (Req::IOTLB_MSG, longs(&[0, 0, 0, 0])),
        (Req::CREATE_CRYPTO_SESSION, vec![0; 600]),
        (Req::NET_SET_MTU, longs(&[1500])),
        (Req::SEND_RARP, longs(&[0])),
        (Req::GET_CONFIG, [words(&[0, 8, 0]), longs(&[0])].concat()),
        (Req::SET_CONFIG, [words(&[0, 8, 0]), longs(&[0])].concat()),
        (Req::RESET_DEVICE, Vec::new()),
        (Req::SET_STATUS, longs(&[0])),
    ];
    for (request, body) in bodies {
        for with_fd in [false, true] {
            refused(&format!("{request:?}"), |raw| {
                raw.owner_and_features(SPLIT);
                let (socket, _other) = std::os::unix::net::UnixStream::pair().unwrap();
                let fds = [socket.as_fd()];
                raw.message(request as u32, FLAGS, &body, &fds[..usize::from(with_fd)]);
            });
        }
    }
}

/// CVE-2020-10726, CVE-2022-0669: more descriptors than a message has, on messages with and without.
#[test]
fn two_hundred_descriptors() {
    let _turn = turn();
    for request in [Req::GET_FEATURES, Req::SET_VRING_KICK, Req::SET_MEM_TABLE] {
        refused("more than 8 file descriptors", |raw| {
            let fd = event();
            let body = if request == Req::GET_FEATURES {
                Vec::new()
            } else {
                longs(&[0])
            };
            raw.message(request as u32, FLAGS, &body, &[fd.as_fd(); 200]);
        });
    }
}

/// CVE-2019-14818, CVE-2022-0669.
#[test]
fn descriptors_that_do_not_belong_there() {
    let _turn = turn();
    for (request, body) in [
        (Req::GET_FEATURES, Vec::new()),
        (Req::SET_FEATURES, longs(&[SPLIT])),
        (Req::SET_VRING_NUM, words(&[0, 256])),
        (Req::GET_VRING_BASE, words(&[0, 0])),
        (Req::RESET_OWNER, Vec::new()),
    ] {
        refused(&format!("{request:?}: invalid message"), |raw| {
            let fd = event();
            raw.message(request as u32, FLAGS, &body, &[fd.as_fd(); 8]);
        });
    }
    // On the second part of a message.
    refused("SET_FEATURES", |raw| {
        let fd = event();
        raw.bytes(&words(&[Req::SET_FEATURES as u32, 1, 8]), &[]);
        raw.bytes(&longs(&[SPLIT]), &[fd.as_fd()]);
    });
    refused("SET_VRING_KICK: invalid message", |raw| {
        raw.bring_up(SPLIT, &shared());
        let fd = event();
        raw.message(
            Req::SET_VRING_KICK as u32,
            FLAGS,
            &longs(&[0]),
            &[fd.as_fd(); 2],
        );
    });
}

#[test]
fn missing_and_surplus_descriptors() {
    let _turn = turn();
    refused("SET_VRING_KICK: invalid message", |raw| {
        raw.send(Req::SET_VRING_KICK, &longs(&[0]));
    });
    refused("SET_VRING_CALL: invalid message", |raw| {
        raw.send_fd(Req::SET_VRING_CALL, &longs(&[0x100]), event());
    });
}

#[test]
fn notifications_to_something_else() {
    let _turn = turn();
    for (request, what) in [
        (Req::SET_VRING_KICK, "kick"),
        (Req::SET_VRING_CALL, "call"),
        (Req::SET_VRING_ERR, "err"),
    ] {
        refused(
            &format!("virtqueue 1: its {what} descriptor is not an eventfd"),
            |raw| {
                raw.bring_up(SPLIT, &shared());
                let (_reader, writer) = std::io::pipe().unwrap();
                raw.send_fd(request, &longs(&[1]), writer);
            },
        );
        refused(
            &format!("virtqueue 1: its {what} descriptor is not an eventfd"),
            |raw| {
                raw.send_fd(request, &longs(&[1]), shared());
            },
        );
    }
}

#[test]
fn rings_that_are_not_there() {
    let _turn = turn();
    refused("virtqueue 4, of 4", |raw| {
        raw.send(Req::SET_VRING_NUM, &words(&[4, 256]));
    });
    refused("virtqueue 4294967295, of 4", |raw| {
        raw.send(Req::SET_VRING_BASE, &words(&[u32::MAX, 0]));
    });
    refused("virtqueue 4, of 4", |raw| raw.addresses(4, [0; 3]));
    refused("virtqueue 5, of 4", |raw| {
        raw.send(Req::GET_VRING_BASE, &words(&[5, 0]));
    });
    refused("virtqueue 255, of 4", |raw| {
        raw.bring_up(SPLIT, &shared());
        raw.kick(255);
    });
    refused("virtqueue 4, of 4", |raw| {
        raw.owner_and_features(SPLIT);
        raw.enable(4, 1);
    });
    refused("virtqueue 9, of 4", |raw| {
        raw.send_fd(Req::SET_VRING_CALL, &longs(&[9]), event());
    });
}

#[test]
fn rings_that_make_no_sense() {
    let _turn = turn();
    for size in [0, 3, 255, 1 << 16, u32::MAX] {
        refused("virtqueue 0: a size of", |raw| {
            raw.owner_and_features(SPLIT);
            raw.send(Req::SET_VRING_NUM, &words(&[0, size]));
        });
    }
    for size in [0, (1 << 15) + 1] {
        refused("virtqueue 0: a size of", |raw| {
            raw.owner_and_features(PACKED);
            raw.send(Req::SET_VRING_NUM, &words(&[0, size]));
        });
    }
    refused("virtqueue 0: a base of 0x10000", |raw| {
        raw.owner_and_features(SPLIT);
        raw.send(Req::SET_VRING_BASE, &words(&[0, 1 << 16]));
    });
    refused("virtqueue 0: its changes are to be logged", |raw| {
        let body = [words(&[0, 1]), longs(&[0; 4])].concat();
        raw.send(Req::SET_VRING_ADDR, &body);
    });
    refused("SET_VRING_ADDR: invalid message", |raw| {
        let body = [words(&[0, 2]), longs(&[0; 4])].concat();
        raw.send(Req::SET_VRING_ADDR, &body);
    });
    refused("SET_VRING_ENABLE: invalid parameters", |raw| {
        raw.owner_and_features(SPLIT);
        raw.enable(0, 2);
    });
}

#[test]
fn rings_outside_the_memory_table() {
    let _turn = turn();
    let places = [
        USER - 0x1000,
        USER + REGION,
        USER + REGION - 16,
        0,
        u64::MAX - 15,
    ];
    for at in places {
        refused("are not in the memory table", |raw| {
            raw.owner_and_features(SPLIT);
            raw.share_one(&shared());
            raw.describe(0, 0);
            raw.addresses(0, [at, part(0, 2), part(0, 1)]);
            raw.kick(0);
            raw.enable(0, 1);
        });
    }
    // A new table that the running rings are not in.
    refused("are not in the memory table", |raw| {
        let file = shared();
        raw.bring_up(SPLIT, &file);
        raw.share(&[[0, REGION, USER + REGION, 0]], &[&file]);
    });
}

#[test]
fn out_of_order() {
    let _turn = turn();
    refused("a second SET_OWNER", |raw| {
        raw.send(Req::SET_OWNER, &[]);
        raw.send(Req::SET_OWNER, &[]);
    });
    refused("virtqueue 0 is started before SET_FEATURES", |raw| {
        raw.kick(0);
    });
    refused("virtqueue 0 is started before SET_MEM_TABLE", |raw| {
        raw.owner_and_features(SPLIT);
        raw.kick(0);
    });
    refused("virtqueue 1 is started before SET_VRING_NUM", |raw| {
        raw.owner_and_features(SPLIT);
        raw.share_one(&shared());
        raw.kick(1);
    });
    refused("virtqueue 1 is started before SET_VRING_ADDR", |raw| {
        raw.owner_and_features(SPLIT);
        raw.share_one(&shared());
        raw.send(Req::SET_VRING_NUM, &words(&[1, 256]));
        raw.kick(1);
    });
    refused("SET_VRING_ENABLE: inactive feature", |raw| {
        raw.owner_and_features(SPLIT & !(1 << 30));
        raw.enable(0, 1);
    });
    refused("SET_VRING_ENABLE: invalid parameters", |raw| {
        raw.enable(0, 2);
    });
    refused("SET_VRING_ENABLE: invalid message", |raw| {
        raw.send(Req::SET_VRING_ENABLE, &words(&[0, 1, 0]));
    });
    refused("virtqueue 4, of 4", |raw| raw.enable(4, 1));
    refused("GET_QUEUE_NUM: inactive protocol operation", |raw| {
        raw.send(Req::GET_QUEUE_NUM, &[]);
    });
}

#[test]
fn features_that_were_not_offered() {
    let _turn = turn();
    for bit in [26, 33, 37, 63] {
        refused("were not offered", |raw| {
            raw.owner_and_features(SPLIT | 1 << bit);
        });
    }
    refused("features 0x4000000 were not offered", |raw| {
        raw.bring_up(SPLIT, &shared());
        raw.send(Req::SET_FEATURES, &longs(&[SPLIT | 1 << 26]));
    });
    refused("other features while virtqueue 0 runs", |raw| {
        raw.bring_up(SPLIT, &shared());
        raw.send(Req::SET_FEATURES, &longs(&[SPLIT | 1 << 28]));
    });
    refused("protocol features 0x1002 were not offered", |raw| {
        raw.owner_and_features(SPLIT);
        raw.send(Req::SET_PROTOCOL_FEATURES, &longs(&[0x1003]));
    });
}

#[test]
fn bodies_of_the_wrong_size() {
    let _turn = turn();
    for (request, size) in [
        (Req::SET_FEATURES, 0),
        (Req::SET_FEATURES, 9),
        (Req::GET_FEATURES, 8),
        (Req::SET_VRING_NUM, 4),
        (Req::SET_VRING_ADDR, 39),
        (Req::SET_VRING_CALL, 4),
        (Req::SET_MEM_TABLE, 7),
        (Req::SET_OWNER, 4096),
    ] {
        refused(&format!("{request:?}: invalid message"), |raw: &Raw| {
            raw.send(request, &vec![0; size]);
        });
    }
}

/// The vhost crate would wait for it without end.
#[test]
fn answers_that_are_not_read() {
    let _turn = turn();
    refused("does not read the answers", |raw| {
        raw.socket.set_nonblocking(true).unwrap();
        while raw.message(Req::GET_FEATURES as u32, ACK, &[], &[]) {}
        raw.socket.set_nonblocking(false).unwrap();
    });
}
