//! One primary with a port of each of three virtual drivers.

use std::{fs, num::NonZeroU16, path::Path, process::ExitCode};

use dpdk::{
    BURST, Burst, Eal, Ledger, Mempool, Owner,
    ethdev::{self, Port, PortConfig},
    free_bulk, lcore, mempool,
};

use crate::run::{assert_nothing_left, prefix, run_ok};

pub fn in_a_process() {
    let prefix = prefix("packets");
    let pcap = std::env::temp_dir().join(format!("{prefix}.pcap"));
    write_pcap(&pcap, &[60, 4000, 61]);
    let out = run_ok(&["packets", &prefix, pcap.to_str().expect("a plain path")]);
    fs::remove_file(&pcap).expect("the file is still there");
    assert!(out.contains("all parts done"), "{out}");
    assert_nothing_left(&prefix);
}

const COUNT: u32 = 4095;

pub fn packets(args: &[String]) -> ExitCode {
    let args = [
        "packets".to_owned(),
        "--no-pci".to_owned(),
        "-l0-1".to_owned(),
        format!("--file-prefix={}", args[1]),
        "--vdev=net_null0".to_owned(),
        "--vdev=net_ring0".to_owned(),
        format!("--vdev=net_pcap0,rx_pcap={}", args[2]),
    ];
    let eal = Eal::primary(&args).expect("EAL");
    assert_eq!(eal.file_prefix(), args[3].split('=').next_back().unwrap());
    assert!(eal.runtime_dir().join("config").exists());
    assert!(
        Eal::primary(&args)
            .unwrap_err()
            .to_string()
            .contains("already")
    );
    assert!(Eal::dpdk_version().starts_with("DPDK "));

    bad_pools();
    let pool = Mempool::create("packets", COUNT, 256, 2048 + 128, -1, None).expect("pool");
    assert!(
        Mempool::create("second", 63, 0, 2048, -1, None).is_err(),
        "one pool per process"
    );
    buffers(&pool);
    ledger(&pool);
    launches(&eal);
    assert_eq!(ethdev::count(), 3);
    null_port(&pool);
    ring_port(&pool);
    pcap_port(&pool);
    assert_eq!(ethdev::count(), 0, "all closed");
    assert_eq!(
        (pool.available(), pool.in_use()),
        (COUNT, 0),
        "no buffer is lost"
    );
    eal.cleanup();
    println!("all parts done");
    ExitCode::SUCCESS
}

fn bad_pools() {
    for (count, room, ops, wanted) in [
        (0, 2048, None, "at least one buffer"),
        (63, 100, None, "multiple of 64"),
        (63, 2048, Some("nonesuch"), "mempool driver nonesuch"),
        (100_000_000, 2048, None, "hugepages in one piece"),
    ] {
        let error = Mempool::create("packets", count, 0, room, -1, ops)
            .unwrap_err()
            .to_string();
        assert!(error.contains(wanted) && !error.contains('\n'), "{error}");
    }
}

fn buffers(pool: &Mempool) {
    let layout = pool.layout();
    assert_eq!((layout.count, layout.buf_len), (COUNT, 2048 + 128));
    let mut burst = Burst::new();
    assert_eq!(
        pool.alloc_bulk(&mut burst, BURST + 1),
        0,
        "more than a burst holds"
    );
    assert_eq!(pool.alloc_bulk(&mut burst, BURST), BURST);
    assert_eq!(pool.alloc_bulk(&mut burst, 1), 0, "the burst is full");
    assert_eq!(pool.in_use() as usize, BURST);
    let mut seen = vec![false; COUNT as usize];
    for mbuf in &burst {
        let index = pool.index_of(mbuf);
        assert!(!std::mem::replace(&mut seen[index as usize], true), "twice");
        let room = mbuf.data().as_ptr().addr() as u64 - u64::from(mempool::HEADROOM);
        assert_eq!(
            room,
            layout.base + u64::from(index) * u64::from(layout.stride)
        );
    }
    free_bulk(&mut burst);
    free_bulk(&mut burst);
    let all: Vec<_> = std::iter::from_fn(|| pool.alloc()).collect();
    assert_eq!((all.len(), pool.available()), (COUNT as usize, 0));
    assert_eq!(pool.alloc_bulk(&mut burst, 1), 0, "the pool is empty");
    drop(all);
    assert_eq!(pool.in_use(), 0);

    let mut mbuf = pool.alloc().expect("a buffer");
    assert_eq!(
        (mbuf.len(), mbuf.offset(), mbuf.tailroom()),
        (0, mempool::HEADROOM, 2048)
    );
    assert!(mbuf.append(b"abc") && mbuf.append(b"de"));
    assert_eq!(mbuf.data(), b"abcde");
    assert!(!mbuf.append(&[0; 2044]), "one too many");
    assert!(mbuf.append(&[0; 2043]));
    assert_eq!((mbuf.len(), mbuf.tailroom()), (2048, 0));
    assert!(!mbuf.set_data(2176, 1) && !mbuf.set_data(u16::MAX, u16::MAX));
    assert!(mbuf.set_data(2176, 0) && mbuf.set_data(0, 2176));
    assert_eq!((mbuf.data().len(), mbuf.room_mut().len()), (2176, 2176));
}

fn ledger(pool: &Mempool) {
    let owner =
        |vport, generation| Owner::new(NonZeroU16::new(vport).expect("above 0"), generation);
    let ledger = Ledger::new(pool);
    let mut worker = ledger.worker(0).expect("the first time");
    let mut other = ledger.worker(1).expect("the first time");
    assert!(ledger.worker(0).is_none(), "one handle per worker");

    let mut mbuf = pool.alloc().expect("a buffer");
    assert!(mbuf.append(b"packet"));
    let index = pool.index_of(&mbuf);
    let lent = worker.lend(mbuf, owner(5, 1));
    assert_eq!(
        (lent.index, lent.offset, lent.len),
        (index, mempool::HEADROOM, 6)
    );
    assert_eq!(pool.in_use(), 1, "lent is not freed");
    assert!(worker.take_back(index, owner(6, 1)).is_none());
    assert!(worker.take_back(index, owner(5, 0)).is_none());
    assert!(worker.take_back(COUNT, owner(5, 1)).is_none());
    assert!(other.take_back(index, owner(5, 1)).is_none());
    let mbuf = worker.take_back(index, owner(5, 1)).expect("its owner's");
    assert!(worker.take_back(index, owner(5, 1)).is_none(), "doubled");
    assert_eq!(mbuf.data(), b"packet");
    drop(mbuf);
    assert_eq!(pool.in_use(), 0);

    // Three hundred to vport 5 in two generations, and every tenth to another.
    for i in 0..300u16 {
        let mbuf = pool.alloc().expect("a buffer");
        worker.lend(
            mbuf,
            if i % 10 == 0 {
                owner(6, 1)
            } else {
                owner(5, (i % 2) as u8)
            },
        );
    }
    other.lend(pool.alloc().expect("a buffer"), owner(5, 1));
    let vport = NonZeroU16::new(5).expect("above 0");
    assert_eq!(ledger.lent_to(vport), 271);
    let (mut freed, mut next) = (0, Some(0));
    while let Some(from) = next {
        let step = worker.reclaim(vport, from, 100);
        assert!(step.freed <= 100);
        (freed, next) = (freed + step.freed, step.next);
    }
    assert_eq!((freed, pool.in_use()), (270, 31));
    assert_eq!(
        worker.reclaim(vport.saturating_add(1), 0, u32::MAX).freed,
        30
    );
    assert_eq!(other.reclaim(vport, 0, u32::MAX).freed, 1);
    assert_eq!(pool.in_use(), 0);
}

fn launches(eal: &Eal) {
    let workers = eal.worker_lcores();
    assert_eq!((eal.main_lcore().id, workers.len()), (0, 1));
    let id = workers[0].id;
    assert_eq!(workers[0].cpus, [id as usize], "-l pins it");
    assert!(lcore::launch(0, || ()).is_err(), "the main lcore");
    assert!(lcore::launch(77, || ()).is_err(), "no such lcore");
    let (release, held) = std::sync::mpsc::channel::<()>();
    let first = lcore::launch(id, move || {
        held.recv().is_err() && lcore::current() == Some(id)
    });
    let first = first.expect("idle");
    assert_eq!(lcore::launch(id, || ()).unwrap_err().errno, 16, "EBUSY");
    drop(release);
    assert!(first.join().expect("no panic"));
    assert_eq!(
        lcore::launch(id, || 7)
            .expect("idle again")
            .join()
            .expect("no panic"),
        7
    );
    assert!(lcore::tsc_hz() > 1_000_000 && lcore::tsc() > 0);
}

fn null_port(pool: &Mempool) {
    let id = ethdev::by_name("net_null0").expect("the vdev");
    let info = ethdev::info(id).expect("info");
    assert_eq!(
        (info.name.as_str(), info.driver.as_str()),
        ("net_null0", "net_null")
    );
    let wanted = PortConfig {
        rx_queues: info.max_rx_queues + 1,
        ..PortConfig::default()
    };
    let error = Port::start(id, &wanted, pool).unwrap_err().to_string();
    assert!(error.contains("receive queues asked for"), "{error}");
    let wanted = PortConfig {
        mtu: Some(9000),
        ..PortConfig::default()
    };
    let error = Port::start(id, &wanted, pool).unwrap_err().to_string();
    assert!(error.contains("MTU 9000 does not fit"), "{error}");
    assert!(Port::start(99, &wanted, pool).is_err());

    let config = PortConfig {
        promiscuous: true,
        allmulticast: true,
        ..PortConfig::default()
    };
    let (mut port, mut rx, mut tx) = Port::start(id, &config, pool).expect("starts");
    assert!(port.link().expect("link").up);
    let mut burst = Burst::new();
    assert!(pool.alloc_bulk(&mut burst, 50) == 50);
    let got = rx[0].rx_burst(&mut burst);
    assert!(
        got > 0 && got <= BURST - 50,
        "no more than there is room for: {got}"
    );
    assert_eq!((burst.len(), rx[0].unfit()), (50 + got, 0));
    assert_eq!(tx[0].tx_burst(&mut burst), 50 + got);
    assert!(burst.is_empty());
    assert_eq!(tx[0].tx_burst(&mut burst), 0);
    let stats = port.stats().expect("stats");
    assert_eq!(
        (stats.ipackets, stats.opackets),
        (got as u64, 50 + got as u64)
    );
    assert_eq!(
        port.stop().unwrap_err().errno,
        16,
        "EBUSY while queues are left"
    );
    drop((rx, tx));
    port.stop().expect("stops");
    port.close().expect("closes");
    assert_eq!(pool.in_use(), 0);
}

/// `net_ring` gives back what is sent to it.
fn ring_port(pool: &Mempool) {
    let id = ethdev::by_name("net_ring0").expect("the vdev");
    let (port, mut rx, mut tx) = Port::start(id, &PortConfig::default(), pool).expect("starts");
    let (mut sent, mut burst) = (0u32, Burst::new());
    // Until the ring is full: then the rest stays in front, in order.
    while burst.is_empty() {
        for number in sent..sent + 50 {
            let mut mbuf = pool.alloc().expect("a buffer");
            assert!(mbuf.append(&number.to_be_bytes()));
            burst.push(mbuf);
        }
        sent += u32::try_from(tx[0].tx_burst(&mut burst)).expect("small");
    }
    assert!(sent % 50 != 0, "the last burst went in part: {sent}");
    for (mbuf, number) in burst.iter().zip(sent..) {
        assert_eq!(mbuf.data(), number.to_be_bytes());
    }
    free_bulk(&mut burst);
    let mut received = 0u32;
    while rx[0].rx_burst(&mut burst) > 0 {
        for mbuf in burst.drain(..) {
            assert_eq!(mbuf.data(), received.to_be_bytes());
            received += 1;
        }
    }
    assert_eq!((received, pool.in_use()), (sent, 0));
    drop((rx, tx));
    port.close().expect("closes");
}

/// `net_pcap` spreads a packet that does not fit over several buffers.
fn pcap_port(pool: &Mempool) {
    let id = ethdev::by_name("net_pcap0").expect("the vdev");
    let (port, mut rx, tx) = Port::start(id, &PortConfig::default(), pool).expect("starts");
    let mut burst = Burst::new();
    assert_eq!(rx[0].rx_burst(&mut burst), 2);
    let lens: Vec<u16> = burst.iter().map(dpdk::Mbuf::len).collect();
    assert_eq!((lens.as_slice(), rx[0].unfit()), (&[60, 61][..], 1));
    assert!(burst[1].data().iter().all(|&byte| byte == 61) && burst[1].port() == id);
    free_bulk(&mut burst);
    assert_eq!(pool.in_use(), 0, "the unfit one's buffers too");
    drop((rx, tx));
    // Dropping is as good as closing.
    drop(port);
}

/// Packets of these lengths, filled with the low byte of the length.
fn write_pcap(path: &Path, lens: &[u32]) {
    let mut file: Vec<u8> = Vec::new();
    for word in [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65535, 1] {
        file.extend(u32::to_le_bytes(word));
    }
    for &len in lens {
        for word in [0, 0, len, len] {
            file.extend(u32::to_le_bytes(word));
        }
        file.extend(std::iter::repeat_n(len.to_le_bytes()[0], len as usize));
    }
    fs::write(path, file).expect("the temporary directory is writable");
}
