//! Where a worker's cycles go. Counted with the feature `stages`; without it, nothing of this is left
//! in the program.

/// A part of a round.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// The driver's receive burst.
    Receive,
    /// From frames to keys.
    Begin,
    /// From keys to holders.
    LookUp,
    /// Into the stacks' rings.
    DealOut,
    /// Showing stacks what is in their rings, and taking back what they are done with.
    Publish,
    /// What stacks send, up to the NIC's queue.
    Serve,
    /// The driver's transmit burst.
    Flush,
    /// Everything else: buffers to the pool, commands, idling.
    Rest,
}

/// The counts of one worker.
#[cfg(feature = "stages")]
pub struct Stages {
    last: u64,
    cycles: [u64; Stage::Rest as usize + 1],
    packets: u64,
}

/// Nothing.
#[cfg(not(feature = "stages"))]
pub struct Stages;

#[cfg(feature = "stages")]
impl Stages {
    /// From now on.
    pub fn new() -> Self {
        Self {
            last: dpdk::lcore::tsc(),
            cycles: Default::default(),
            packets: 0,
        }
    }

    /// What has passed since the last call was for `stage`.
    #[inline(always)]
    pub fn lap(&mut self, stage: Stage) {
        let now = dpdk::lcore::tsc();
        self.cycles[stage as usize] += now.wrapping_sub(self.last);
        self.last = now;
    }

    /// Counts received packets.
    #[inline(always)]
    pub fn packets(&mut self, count: usize) {
        self.packets += count as u64;
    }

    /// Logs cycles (of the time-stamp counter) per received packet.
    pub fn report(&self) {
        const STAGES: [Stage; Stage::Rest as usize + 1] = [
            Stage::Receive,
            Stage::Begin,
            Stage::LookUp,
            Stage::DealOut,
            Stage::Publish,
            Stage::Serve,
            Stage::Flush,
            Stage::Rest,
        ];
        for stage in STAGES {
            #[allow(clippy::cast_precision_loss)] // a report for people
            let cycles = self.cycles[stage as usize] as f64 / self.packets.max(1) as f64;
            tracing::info!("{stage:?}: {cycles:.1} cycles per packet");
        }
    }
}

#[cfg(not(feature = "stages"))]
#[allow(clippy::unused_self)] // has the signatures of the other one
impl Stages {
    /// Nothing.
    pub const fn new() -> Self {
        Self
    }

    /// Nothing.
    #[inline(always)]
    pub const fn lap(&mut self, _: Stage) {}

    /// Nothing.
    #[inline(always)]
    pub const fn packets(&mut self, _: usize) {}

    /// Nothing.
    pub const fn report(&self) {}
}
