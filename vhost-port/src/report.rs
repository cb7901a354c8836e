//! What is told about a device: its status, its events, the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Breach;
use crate::backend::Backend;
use crate::device::{DeviceEvent, DeviceStatus};
use crate::session::End;

/// Who is told what.
pub(crate) struct Report {
    name: String,
    status: Arc<Mutex<DeviceStatus>>,
    on_event: Box<dyn Fn(DeviceEvent) + Send>,
    was_ready: bool,
}

impl Report {
    pub(crate) fn new(
        name: String,
        status: Arc<Mutex<DeviceStatus>>,
        on_event: Box<dyn Fn(DeviceEvent) + Send>,
    ) -> Self {
        Self {
            name,
            status,
            on_event,
            was_ready: false,
        }
    }

    fn status(&self) -> MutexGuard<'_, DeviceStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last connection came as far as a running virtqueue.
    pub(crate) fn was_ready(&self) -> bool {
        self.was_ready
    }

    pub(crate) fn waiting(&self, error: &std::io::Error) {
        tracing::debug!("vhost port {}: no front end yet: {error}", self.name);
    }

    pub(crate) fn connected(&mut self) {
        self.was_ready = false;
        let mut status = self.status();
        status.is_connected = true;
        status.connections += 1;
        drop(status);
        (self.on_event)(DeviceEvent::Connected);
    }

    /// After a message.
    pub(crate) fn changed(&mut self, backend: &Backend) {
        let queues = backend.running();
        let mut status = self.status();
        status.features = backend.features();
        status.queues = queues;
        status.regions = backend.regions();
        drop(status);
        if queues > 0 && !self.was_ready {
            self.was_ready = true;
            tracing::info!("vhost port {}: a front end is ready", self.name);
            (self.on_event)(DeviceEvent::Ready);
        }
    }

    pub(crate) fn gone(&mut self, why: End) {
        match &why {
            End::Breach(breach) => self.breach(breach),
            // Who only comes and goes is not to fill the log.
            _ if self.was_ready => tracing::info!("vhost port {}: {why}", self.name),
            _ => tracing::debug!("vhost port {}: {why}", self.name),
        }
        let mut status = self.status();
        status.is_connected = false;
        status.features = 0;
        status.queues = 0;
        status.regions = 0;
        drop(status);
        (self.on_event)(DeviceEvent::Gone { why });
    }

    pub(crate) fn breach(&self, breach: &Breach) {
        tracing::warn!(
            "vhost port {}: {breach}: no connection for a second",
            self.name
        );
        let mut status = self.status();
        status.breaches += 1;
        status.last_breach = Some(breach.to_string());
    }
}
