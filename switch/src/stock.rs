//! The buffers, as the control thread sees them: it only looks.

use std::sync::Arc;

use dpdk::{Ledger, Mempool, PoolLayout};

use crate::vport::owner_of;

/// A pool of buffers, and who has them.
pub trait Stock {
    /// Where they lie.
    fn layout(&self) -> &PoolLayout;
    /// How many are in the pool.
    fn available(&self) -> u32;
    /// How many are lent to the vport in a slot.
    fn lent_to(&self, slot: u16) -> u32;
}

/// DPDK's.
pub struct DpdkStock {
    /// The pool.
    pub pool: Arc<Mempool>,
    /// Who has which.
    pub ledger: Ledger,
}

impl Stock for DpdkStock {
    fn layout(&self) -> &PoolLayout {
        self.pool.layout()
    }

    fn available(&self) -> u32 {
        self.pool.available()
    }

    fn lent_to(&self, slot: u16) -> u32 {
        self.ledger.lent_to(owner_of(slot))
    }
}
