//! The state of a connection: what the front end has said so far, and what of it the data path has got.
//!
//! The order of messages and their meaning are those of QEMU's docs/interop/vhost-user.rst.

use std::fs::File;
use std::sync::Arc;

use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserShMemConfig, VhostUserSharedMsg,
    VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{
    Error, GpuBackend, Result, VhostUserBackendReqHandlerMut, VhostUserProtocolFeatures,
};

use crate::vring::{Addresses, Vring, eventfd};
use crate::{Bases, Breach, Failure, Memory, Pair, PairSetup, Port, Region, features};

/// What the front end has said. When it is dropped, the data path has nothing of it any more.
pub(crate) struct Backend {
    port: Arc<Port>,
    is_owned: bool,
    features: Option<u64>,
    protocol: u64,
    memory: Option<Arc<Memory>>,
    regions: usize,
    rings: Vec<Vring>,
    breach: Option<Breach>,
}

impl Backend {
    pub(crate) fn new(port: Arc<Port>) -> Self {
        let rings = (0..2 * port.pairs()).map(|_| Vring::default()).collect();
        Self {
            port,
            is_owned: false,
            features: None,
            protocol: 0,
            memory: None,
            regions: 0,
            rings,
            breach: None,
        }
    }

    /// Why the last message was refused, if it was.
    pub(crate) fn breach(&mut self) -> Option<Breach> {
        self.breach.take()
    }

    /// The features in force.
    pub(crate) fn features(&self) -> u64 {
        self.features.unwrap_or(0)
    }

    /// Whether there was a `SET_FEATURES`.
    pub(crate) fn has_agreed(&self) -> bool {
        self.features.is_some()
    }

    /// Whether requests are answered when that is wanted.
    pub(crate) fn acknowledges(&self) -> bool {
        self.protocol & VhostUserProtocolFeatures::REPLY_ACK.bits() != 0
    }

    /// Rings that are started and enabled.
    pub(crate) fn running(&self) -> usize {
        let has_to = features::enables_rings(self.features());
        let runs = |ring: &&Vring| ring.is_started() && ring.is_enabled(has_to);
        self.rings.iter().filter(runs).count()
    }

    /// Regions of the memory table.
    pub(crate) fn regions(&self) -> usize {
        self.regions
    }

    /// Keeps the reason, for the crate's errors don't hold it.
    fn answer<T>(&mut self, result: std::result::Result<T, Breach>) -> Result<T> {
        result.map_err(|breach| {
            self.breach = Some(breach);
            Error::InvalidParam
        })
    }

    fn refuse<T>(&mut self, what: &'static str) -> Result<T> {
        self.answer(Err(Breach::Unserved(what)))
    }

    /// Takes the pair back from the data path, with where its rings have stopped.
    fn withdraw(&mut self, pair: usize) {
        let Some(taken) = self.port.take(pair) else {
            return;
        };
        let Bases { rx, tx } = taken.bases();
        for (ring, base) in self.rings[2 * pair..].iter_mut().zip([rx, tx]) {
            if let Some(base) = base {
                ring.stopped_at(base);
            }
        }
    }

    fn withdraw_all(&mut self) {
        for pair in 0..self.rings.len() / 2 {
            self.withdraw(pair);
        }
    }

    /// Gives the pair to the data path, if one of its rings is started.
    fn offer(&mut self, pair: usize) -> std::result::Result<(), Breach> {
        let features = self.features();
        let [rx, tx] = [2 * pair, 2 * pair + 1].map(|index| &self.rings[index]);
        let (rx_setup, tx_setup) = (rx.setup()?, tx.setup()?);
        let Some(memory) = self.memory.clone() else {
            return Ok(());
        };
        if rx_setup.is_none() && tx_setup.is_none() {
            return Ok(());
        }
        let setup = PairSetup {
            memory,
            features,
            rx: rx_setup,
            tx: tx_setup,
        };
        let mut new = Pair::new(setup).map_err(|violation| Failure { pair, violation })?;
        let has_to = features::enables_rings(features);
        new.set_enabled(rx.is_enabled(has_to), tx.is_enabled(has_to));
        self.port.put(pair, new);
        Ok(())
    }

    /// Changes a ring while the data path does not have it.
    fn change(
        &mut self,
        index: usize,
        change: impl FnOnce(&mut Vring, usize, u64) -> std::result::Result<(), Breach>,
    ) -> std::result::Result<(), Breach> {
        let rings = self.rings.len();
        if index >= rings {
            return Err(Breach::NoSuchRing { index, rings });
        }
        self.withdraw(index / 2);
        let features = self.features();
        change(&mut self.rings[index], index, features)?;
        self.offer(index / 2)
    }

    /// Lets a ring do more than discard, or no more than that.
    pub(crate) fn enable(&mut self, index: usize, enable: bool) -> std::result::Result<(), Breach> {
        self.change(index, |ring, _, _| {
            ring.enable(enable);
            Ok(())
        })
    }

    fn start(&mut self, index: usize, kick: Option<File>) -> std::result::Result<(), Breach> {
        // It is not needed: the data path polls.
        eventfd(index, "kick", kick)?;
        let missing = match (self.features, &self.memory) {
            (None, _) => Some("SET_FEATURES"),
            (_, None) => Some("SET_MEM_TABLE"),
            _ => None,
        };
        self.change(index, |ring, index, _| match missing {
            Some(missing) => Err(Breach::Early { index, missing }),
            None => ring.start(index),
        })
    }

    fn agree(&mut self, features: u64) -> std::result::Result<(), Breach> {
        let foreign = features & !features::offered(self.rings.len() / 2);
        if foreign != 0 {
            return Err(Breach::Features(foreign));
        }
        if let Some(index) = self.rings.iter().position(Vring::is_started)
            && self.features != Some(features)
        {
            return Err(Breach::FeaturesWhileRunning(index));
        }
        self.features = Some(features);
        Ok(())
    }

    /// Old memory is unmapped when nothing points into it any more.
    fn map(
        &mut self,
        table: &[VhostUserMemoryRegion],
        files: Vec<File>,
    ) -> std::result::Result<(), Breach> {
        let region = |(region, file): (&VhostUserMemoryRegion, File)| Region {
            guest: region.guest_phys_addr,
            size: region.memory_size,
            user: region.user_addr,
            offset: region.mmap_offset,
            file: file.into(),
        };
        let memory = Memory::map(table.iter().zip(files).map(region).collect())?;
        self.withdraw_all();
        self.memory = Some(Arc::new(memory));
        self.regions = table.len();
        (0..self.rings.len() / 2).try_for_each(|pair| self.offer(pair))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.withdraw_all();
    }
}

impl VhostUserBackendReqHandlerMut for Backend {
    fn set_owner(&mut self) -> Result<()> {
        if self.is_owned {
            return self.answer(Err(Breach::SecondOwner));
        }
        self.is_owned = true;
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        // The old state withdraws its rings when it is dropped.
        *self = Self::new(Arc::clone(&self.port));
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(features::offered(self.rings.len() / 2))
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        let agreed = self.agree(features);
        self.answer(agreed)
    }

    fn set_mem_table(
        &mut self,
        table: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        let mapped = self.map(table, files);
        self.answer(mapped.map(|()| None))
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let set = self.change(index as usize, |ring, index, features| {
            ring.set_size(index, num, features)
        });
        self.answer(set)
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        flags: VhostUserVringAddrFlags,
        desc: u64,
        used: u64,
        avail: u64,
        _log: u64,
    ) -> Result<()> {
        let set = self.change(index as usize, |ring, index, _| {
            if flags.contains(VhostUserVringAddrFlags::VHOST_VRING_F_LOG) {
                return Err(Breach::Log(index));
            }
            ring.set_addresses(Addresses { desc, avail, used });
            Ok(())
        });
        self.answer(set)
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let set = self.change(index as usize, |ring, index, features| {
            ring.set_base(index, base, features)
        });
        self.answer(set)
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let mut base = 0;
        let stopped = self.change(index as usize, |ring, _, _| {
            ring.stop();
            base = ring.base();
            Ok(())
        });
        self.answer(stopped.map(|()| VhostUserVringState::new(index, base)))
    }

    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        let started = self.start(usize::from(index), fd);
        self.answer(started)
    }

    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        let set = self.change(usize::from(index), |ring, index, _| {
            ring.set_call(eventfd(index, "call", fd)?);
            Ok(())
        });
        self.answer(set)
    }

    /// A ring with an error ends the connection, which the front end sees: nothing is ever written to it.
    fn set_vring_err(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        let set = self.change(usize::from(index), |_, index, _| {
            eventfd(index, "err", fd).map(|_| ())
        });
        self.answer(set)
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(features::protocol())
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        self.protocol = features;
        match features & !features::protocol().bits() {
            0 => Ok(()),
            foreign => self.answer(Err(Breach::ProtocolFeatures(foreign))),
        }
    }

    /// Of a network device, pairs: so QEMU and DPDK understand it.
    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.rings.len() as u64 / 2)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        let set = self.enable(index as usize, enable);
        self.answer(set)
    }

    // What follows was not offered. The vhost crate lets some of it through all the same.

    fn reset_device(&mut self) -> Result<()> {
        self.refuse("RESET_DEVICE")
    }

    fn get_config(&mut self, _: u32, _: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        self.refuse("GET_CONFIG")
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        self.refuse("SET_CONFIG")
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        self.refuse("GPU_SET_SOCKET")
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        self.refuse("GET_SHARED_OBJECT")
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        self.refuse("GET_INFLIGHT_FD")
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        self.refuse("SET_INFLIGHT_FD")
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        self.refuse("GET_MAX_MEM_SLOTS")
    }

    fn add_mem_region(
        &mut self,
        _: &VhostUserSingleMemoryRegion,
        _: File,
        _: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        self.refuse("ADD_MEM_REG")
    }

    fn remove_mem_region(&mut self, _: &VhostUserSingleMemoryRegion) -> Result<()> {
        self.refuse("REM_MEM_REG")
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        self.refuse("SET_DEVICE_STATE_FD")
    }

    fn check_device_state(&mut self) -> Result<()> {
        self.refuse("CHECK_DEVICE_STATE")
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        self.refuse("GET_SHMEM_CONFIG")
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        self.refuse("SET_LOG_BASE")
    }
}
