//! The verdict judge: what [`classify`] decides on a frame, against what is to become of it by the
//! rules. Claims are made up from what is in the capture.
//!
//! The judge shares neither parser nor tables with the switch: it has its own reading of the frame
//! and plain maps of claims.

mod book;
mod claims;
mod expect;
mod quote;
mod reading;
mod sum;

use std::collections::BTreeSet;

use dpdk::mbuf::Checksum;
use switch::{
    classify::{Arrival, Broadcasts, Hosts, Nic, classify},
    flow_table::Seed,
    key::Subject,
    tables::{Holder, Tables},
    verdict::{Copies, DropReason, FragmentOf, Owner, Verdict},
};
use wire::{MacAddr, Origin};

use crate::rules;
use book::Book;
pub use claims::{Claim, Ends};
pub use expect::{Expected, ROWS};
pub use reading::Reading;

/// Of the tables' hashes. They are to give the same in every run.
const SEED: Seed = Seed([0x9e37_79b9_7f4a_7c15, 0xd1b5_4a32_d192_ed03]);

/// Of a port that no frame is to, and of one for frames that are to many.
const ELSEWHERE: MacAddr = MacAddr([2, 0, 0, 0x5e, 0x10, 0xff]);

/// What becomes of a frame, in the terms of both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Dropped, for a rule that it breaks.
    Malformed,
    /// Dropped for its layer 4 checksum.
    BadChecksum,
    /// Dropped for something else, or for a rule that it does not break.
    Unfounded(&'static str),
    /// One stack's.
    Vport {
        /// Its vport.
        vport: u16,
        /// It is told that the layer 4 checksum is right.
        checksum: bool,
    },
    /// The host's, for whatever reason.
    Host,
    /// The host's, and copies for these vports.
    HostAndCopies(BTreeSet<u16>),
    /// The host's, and copies for those of these vports that have asked for a neighbour.
    HostAndAskers(BTreeSet<u16>),
    /// Like all other fragments of its packet this vport's, or the host's.
    FirstFragment(Option<u16>),
    /// Whoever's the first one is.
    LaterFragment,
}

impl Fate {
    const fn name(&self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BadChecksum => "bad checksum",
            Self::Unfounded(reason) => reason,
            Self::Vport { .. } => "vport",
            Self::Host => "host",
            Self::HostAndCopies(_) => "host and copies",
            Self::HostAndAskers(_) => "host and askers",
            Self::FirstFragment(_) => "first fragment",
            Self::LaterFragment => "later fragment",
        }
    }
}

/// The claims of one capture, as the switch keeps them and as the judge does.
pub struct World {
    tables: Tables,
    book: Book,
    broadcasts: Broadcasts,
}

/// What one comparison gave.
#[derive(Debug)]
pub struct Compared {
    /// By the judge.
    pub expected: Expected,
    /// The switch's own words.
    pub verdict: Verdict,
    /// By the switch.
    pub fate: Fate,
}

impl Compared {
    /// What they do not agree on, if anything.
    pub fn difference(&self) -> Option<String> {
        let (ours, theirs) = (&self.fate, &self.expected);
        (*ours != theirs.fate).then(|| format!("{}, not {}", ours.name(), theirs.row))
    }
}

impl World {
    /// `claims` are for different subjects, but for groups.
    pub fn new(claims: &[Claim], broadcasts: &Broadcasts) -> Self {
        Self::with(claims, claims, broadcasts)
    }

    /// With other claims in the switch's tables than in the judge's book.
    pub fn with(tables: &[Claim], book: &[Claim], broadcasts: &Broadcasts) -> Self {
        Self {
            tables: filled(tables),
            book: Book::new(book),
            broadcasts: broadcasts.clone(),
        }
    }

    /// What both say of a frame that comes to a port with this MAC.
    pub fn compare(&self, frame: &[u8], reading: Option<&Reading>, mac: MacAddr) -> Compared {
        let nic = Nic {
            id: 0,
            mac,
            broadcasts: self.broadcasts.clone(),
            hosts: Hosts::new(),
        };
        let verdict = self.classify(frame, Origin::Wire, &nic);
        Compared {
            expected: expect::expect(reading, &nic, &self.book),
            verdict,
            fate: self.fate(frame, &verdict),
        }
    }

    fn classify(&self, frame: &[u8], origin: Origin, nic: &Nic) -> Verdict {
        let checksum = Checksum::Unknown;
        #[rustfmt::skip]
        let arrival = Arrival { frame, origin, checksum };
        classify(&arrival, nic, &self.tables, &mut ())
    }

    fn fate(&self, frame: &[u8], verdict: &Verdict) -> Fate {
        match *verdict {
            Verdict::Vport { slot, checksum } => Fate::Vport {
                vport: slot,
                checksum,
            },
            Verdict::Host(_) => Fate::Host,
            Verdict::HostAndCopies(_, copies) => self.copies(copies),
            Verdict::Fragment(FragmentOf { owner, .. }) => match owner {
                None => Fate::LaterFragment,
                Some(Owner::Vport(vport)) => Fate::FirstFragment(Some(vport)),
                Some(Owner::Host) => Fate::FirstFragment(None),
            },
            Verdict::Drop(DropReason::Malformed(rule)) if rules::breaks(rule, frame) => {
                Fate::Malformed
            }
            Verdict::Drop(DropReason::L4Checksum) => Fate::BadChecksum,
            Verdict::Drop(reason) => Fate::Unfounded(reason.name()),
        }
    }

    fn copies(&self, copies: Copies) -> Fate {
        let tables = &self.tables;
        match copies {
            Copies::Askers { addr, zone, vlan } => {
                Fate::HostAndAskers(tables.on_address(addr, zone, vlan).collect())
            }
            Copies::Members { group, vlan } => {
                Fate::HostAndCopies(tables.members(group, vlan).collect())
            }
            Copies::Port { port, vlan } => {
                Fate::HostAndCopies(tables.on_port(false, port, vlan).collect())
            }
        }
    }
}

fn filled(claims: &[Claim]) -> Tables {
    let count = u32::try_from(claims.len()).unwrap_or(u32::MAX);
    let mut tables = Tables::new(count, SEED);
    for claim in claims {
        let subject = Subject {
            spec: claim.spec,
            nic: claim.nic,
        };
        let holder = Holder::new(claim.vport, claim.spec.verify);
        // One that found no room would show as a difference.
        let _ = tables.insert(&subject, holder);
    }
    tables
}

/// The worlds that a capture's frames are judged in.
pub struct Worlds {
    /// No claims on any address: these keep fragments from going their way at once.
    narrow: World,
    /// With some.
    wide: World,
}

impl Worlds {
    /// Of the capture with these ends.
    pub fn new(ends: &Ends) -> Self {
        let broadcasts = ends.broadcasts();
        let world = |wide| World::new(&ends.claims(wide), &broadcasts);
        Self {
            narrow: world(false),
            wide: world(true),
        }
    }

    /// What is said of a frame to the port's own MAC, with either claims, and of one to another.
    pub fn compare(&self, frame: &[u8]) -> [Compared; 3] {
        let reading = Reading::of(frame);
        let own = own_mac(frame);
        [
            (&self.narrow, own),
            (&self.wide, own),
            (&self.wide, ELSEWHERE),
        ]
        .map(|(world, mac)| world.compare(frame, reading.as_ref(), mac))
    }

    /// Classifies a frame that is not to be judged.
    pub fn survive(&self, frame: &[u8]) {
        let mac = own_mac(frame);
        #[rustfmt::skip]
        let nic = Nic { id: 0, mac, broadcasts: self.wide.broadcasts.clone(), hosts: Hosts::new() };
        for origin in [Origin::Wire, Origin::Local] {
            self.wide.classify(frame, origin, &nic);
        }
    }
}

/// The MAC of a port that a frame is to: any if it is to many.
fn own_mac(frame: &[u8]) -> MacAddr {
    match frame.first_chunk::<6>() {
        Some(mac) if mac[0] & 1 == 0 => MacAddr(*mac),
        _ => ELSEWHERE,
    }
}
