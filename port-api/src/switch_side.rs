//! The switch's side of a vport's rings with one worker.

use ring::{Consumer, Corrupt, Producer};

use crate::raw::Region;

/// The switch's ends of the four rings: it produces `rx` and `fill` and consumes `free` and `tx`.
///
/// Whatever comes out of `free` and `tx` was written by a stack and is to be checked.
pub struct SwitchSide {
    /// Full buffers for the stack: packed [`Desc`](crate::Desc)s.
    pub rx: Producer<u64>,
    /// Buffer indexes that the stack is done with.
    pub free: Consumer<u32>,
    /// Indexes of empty buffers for the stack to send from.
    pub fill: Producer<u32>,
    /// What the stack sends: packed [`Desc`](crate::Desc)s.
    pub tx: Consumer<u64>,
}

impl SwitchSide {
    /// Resets the rings of `slot` with `worker` and takes the switch's ends.
    ///
    /// # Panics
    /// If the region has no such slot or worker.
    pub fn new(region: &Region, slot: u16, worker: u16) -> Self {
        region.reset(slot, worker);
        region.switch_rings(slot, worker)
    }

    /// Looks at all four of the stack's cursors.
    ///
    /// # Errors
    /// [`Corrupt`] if any is impossible: the vport is to be shut.
    pub fn refresh(&mut self) -> Result<(), Corrupt> {
        self.rx.refresh()?;
        self.fill.refresh()?;
        self.free.refresh()?;
        self.tx.refresh()?;
        Ok(())
    }
}
