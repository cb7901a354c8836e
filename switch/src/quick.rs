//! The short cut through classification, for what nearly all packets are: untagged TCP and UDP of the
//! common shape, to the port's MAC. A worker does the first half, from frames to keys, for a whole burst before
//! it reads a table.

use wire::{SHORTEST_IN_GROUP, Vlan, common_v4, common_v6};

use crate::classify::{Nic, ends_v6};
use crate::flow_table::Home;
use crate::key::Connection4;
use crate::tables::{Holder, Tables};
use crate::trace::Observer;

/// What the short cut says of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quick {
    /// Nothing: it takes the long way.
    #[default]
    Uncommon,
    /// It is of the common shape, to the port's MAC, and no one has claimed it.
    Unclaimed,
    /// The same over IPv4, and who has claimed it is still to be looked up.
    Begun,
    /// The same, and this vport has.
    Claimed {
        /// Which.
        slot: u16,
        /// Layer 4 checksums are to be verified.
        verify: bool,
    },
}

/// For one frame, all at once.
pub fn quick(frame: &[u8], nic: &Nic, tables: &Tables, observer: &mut impl Observer) -> Quick {
    match begin(frame, nic) {
        Some(key) => finish(key, tables.home4(key), tables, observer),
        None => quick6(frame, nic, tables, observer),
    }
}

/// As [`quick`], for a frame of which a [`wire::GroupV4`] has said that it is not of the common shape over
/// IPv4, or has not looked because it is short.
#[inline(never)]
pub fn ungrouped(frame: &[u8], nic: &Nic, tables: &Tables) -> Quick {
    if frame.len() < SHORTEST_IN_GROUP {
        quick(frame, nic, tables, &mut ())
    } else {
        quick6(frame, nic, tables, &mut ())
    }
}

fn begin(frame: &[u8], nic: &Nic) -> Option<Connection4> {
    if !frame.starts_with(&nic.mac.0) {
        return None;
    }
    common_v4(frame).map(|tuple| Connection4::untagged(tuple.into()))
}

/// Of a frame of the common shape over IPv4.
#[inline(always)]
pub fn finish(
    key: Connection4,
    home: Home,
    tables: &Tables,
    observer: &mut impl Observer,
) -> Quick {
    claimed_by(tables.find4_at(key, home, observer))
}

fn quick6(frame: &[u8], nic: &Nic, tables: &Tables, observer: &mut impl Observer) -> Quick {
    match common_v6(frame) {
        Some(tuple) if frame.starts_with(&nic.mac.0) => {
            claimed_by(tables.find6(&ends_v6(&tuple, Vlan::NONE, nic), observer))
        }
        _ => Quick::Uncommon,
    }
}

#[inline(always)]
fn claimed_by(found: Option<Holder>) -> Quick {
    found.map_or(Quick::Unclaimed, |holder| Quick::Claimed {
        slot: holder.vport,
        verify: holder.verify,
    })
}
