//! From the first message to running virtqueues.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use vhost::vhost_user::message::{
    FrontendReq as Req, VhostUserHeaderFlag, VhostUserProtocolFeatures as Protocol,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vhost_port::DeviceEvent;
use vmm_sys_util::eventfd::EventFd;

use crate::common::raw::{ACK, event, longs, memory, words};
use crate::common::{Lab, PACKED, REGION, Raw, SIZE, SPLIT, USER, part};

fn share(front: &Frontend, file: &File) {
    let region = VhostUserMemoryRegionInfo {
        guest_phys_addr: 0,
        memory_size: REGION,
        userspace_addr: USER,
        mmap_offset: 0,
        mmap_handle: file.as_raw_fd(),
    };
    front.set_mem_table(&[region]).unwrap();
}

fn start(front: &mut Frontend, ring: u32, base: u16) {
    let index = ring as usize;
    let fd = EventFd::new(libc::EFD_NONBLOCK).unwrap();
    front
        .set_vring_num(index, u16::try_from(SIZE).unwrap())
        .unwrap();
    let at = VringConfigData {
        queue_max_size: 256,
        queue_size: 256,
        desc_table_addr: part(ring, 0),
        avail_ring_addr: part(ring, 1),
        used_ring_addr: part(ring, 2),
        ..VringConfigData::default()
    };
    front.set_vring_addr(index, &at).unwrap();
    front.set_vring_base(index, base).unwrap();
    front.set_vring_call(index, &fd).unwrap();
    front.set_vring_err(index, &fd).unwrap();
    front.set_vring_kick(index, &fd).unwrap();
    front.set_vring_enable(index, true).unwrap();
}

/// rust-vmm's front end, with an answer to every message.
fn negotiate(features: u64, bases: [u16; 4], stopped_at: [u32; 4]) {
    let lab = Lab::server();
    let mut front = Frontend::connect(lab.folder.socket(), 4).unwrap();
    assert!(matches!(lab.event(), DeviceEvent::Connected));
    front.set_owner().unwrap();
    let offered = front.get_features().unwrap();
    assert_eq!(offered & features, features);
    front.set_features(features).unwrap();
    let protocol = front.get_protocol_features().unwrap();
    assert_eq!(protocol, Protocol::MQ | Protocol::REPLY_ACK);
    front.set_protocol_features(protocol).unwrap();
    front.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    let file = memory("negotiation", REGION);
    share(&front, &file);
    assert!(lab.is_quiet());
    for (ring, base) in (0..).zip(bases) {
        if features & 1 << 34 == 0 {
            // Of a split ring, the used index says where it goes on.
            file.write_all_at(&base.to_ne_bytes(), part(ring, 2) - USER + 2)
                .unwrap();
        }
        start(&mut front, ring, base);
    }
    assert!(matches!(lab.event(), DeviceEvent::Ready));
    let status = lab.until("all run", |status| status.queues == 4);
    assert_eq!(
        (status.features, status.queues, status.regions),
        (features, 4, 1)
    );
    assert!(lab.port.is_up(0) && lab.port.is_up(1));
    for (ring, base) in stopped_at.into_iter().enumerate() {
        assert_eq!(front.get_vring_base(ring).unwrap(), base);
    }
    assert!(!lab.port.is_up(0) && !lab.port.is_up(1));
    lab.until("the rings have stopped", |status| status.queues == 0);
    // Pairs, as QEMU and DPDK understand it. rust-vmm's front end takes it for single queues.
    assert_eq!(front.get_queue_num().unwrap(), 2);
    drop(front);
    assert_eq!(lab.end().to_string(), "closed by the peer");
}

#[test]
fn split() {
    negotiate(SPLIT | 1 << 22, [0, 1, 255, 65_535], [0, 1, 255, 65_535]);
}

/// virtio-user says where the driver is, with its wrap counter, and nothing of the device.
#[test]
fn packed() {
    let stopped_at = [0x8000_8000, 0x8007_8007, 0x0003_0003, 0x80ff_80ff];
    negotiate(PACKED | 1 << 22, [0x8000, 0x8007, 3, 0x80ff], stopped_at);
}

#[test]
fn a_refused_message_is_answered_before_the_end() {
    let lab = Lab::server();
    let mut front = Frontend::connect(lab.folder.socket(), 4).unwrap();
    front.set_owner().unwrap();
    front.get_features().unwrap();
    front.set_protocol_features(Protocol::REPLY_ACK).unwrap();
    front.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
    assert!(front.set_features(1 << 26).is_err());
    assert_eq!(lab.end().to_string(), "features 0x4000000 were not offered");
}

/// QEMU and virtio-user name the rings before the features.
#[test]
fn call_before_features() {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    for ring in 0..2 {
        raw.send_fd(Req::SET_VRING_CALL, &longs(&[ring]), event());
    }
    raw.bring_up(SPLIT, &memory("call", REGION));
    lab.until("it runs", |status| status.queues == 2);
}

#[test]
fn rings_start_disabled_if_they_can_be_enabled() {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    raw.owner_and_features(SPLIT);
    raw.share_one(&memory("enable", REGION));
    raw.describe(1, 0);
    raw.kick(1);
    raw.send(Req::GET_PROTOCOL_FEATURES, &[]);
    raw.value();
    assert_eq!(lab.device.status().queues, 0);
    raw.enable(1, 1);
    lab.until("it is enabled", |status| status.queues == 1);
    raw.enable(1, 0);
    lab.until("it is disabled", |status| status.queues == 0);
}

/// QEMU does that, and not again behind the features.
#[test]
fn enabled_before_features() {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    raw.enable(0, 1);
    raw.send(Req::GET_FEATURES, &[]);
    raw.value();
    raw.send(Req::SET_PROTOCOL_FEATURES, &longs(&[8]));
    for ring in [1, 0, 1] {
        raw.message(Req::SET_VRING_ENABLE as u32, ACK, &words(&[1, ring]), &[]);
        assert_eq!(raw.value(), 0);
    }
    raw.owner_and_features(SPLIT);
    raw.share_one(&memory("early", REGION));
    for ring in 0..2 {
        raw.describe(ring, 0);
        raw.kick(ring);
    }
    lab.until("both run", |status| status.queues == 2);
}

#[test]
fn rings_start_enabled_without_protocol_features() {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    raw.bring_up(SPLIT & !(1 << 30), &memory("without", REGION));
    lab.until("they run", |status| status.queues == 2);
}

#[test]
fn polling_front_ends_have_no_eventfds() {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    raw.owner_and_features(SPLIT & !(1 << 30));
    raw.share_one(&memory("polling", REGION));
    raw.describe(0, 0);
    raw.send(Req::SET_VRING_CALL, &longs(&[0x100]));
    raw.send(Req::SET_VRING_KICK, &longs(&[0x100]));
    lab.until("it runs", |status| status.queues == 1);
}

#[test]
fn an_answer_comes_to_those_who_want_one() {
    let lab = Lab::server();
    let raw = Raw::connect(&lab.folder.socket());
    raw.owner_and_features(SPLIT);
    raw.send(Req::SET_PROTOCOL_FEATURES, &longs(&[8]));
    raw.send(Req::SET_VRING_NUM, &words(&[0, 256]));
    raw.message(Req::SET_VRING_NUM as u32, ACK, &words(&[1, 256]), &[]);
    assert_eq!(raw.value(), 0);
}

#[test]
fn one_pair_is_not_several() {
    use vhost_port::{End, Port, play};
    let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
    let port = std::sync::Arc::new(Port::new(1).unwrap());
    let front = std::thread::spawn(move || {
        let raw = Raw::from(near);
        raw.send(Req::GET_FEATURES, &[]);
        raw.value()
    });
    assert!(matches!(play(far, &port), Ok(End::Closed)));
    let offered = front.join().unwrap();
    assert_eq!(offered & 1 << 22, 0, "several queues");
    assert_eq!(offered & 1 << 26, 0, "logs");
}
