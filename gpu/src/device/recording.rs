//! Launches kept with the memory that they use, so that they can be repeated: to be timed, without the copies around them.

use super::{Backend, Device, Function, Launch, locked};
use crate::error::Result;

/// What is kept while a recording is made.
#[derive(Default)]
pub(super) struct Recorder {
    launches: Vec<(Function, Launch)>,
    held: Vec<u64>,
}

impl Recorder {
    pub(super) fn launched(&mut self, function: &Function, launch: &Launch) {
        self.launches.push((function.clone(), launch.clone()));
    }

    pub(super) fn freed(&mut self, address: u64) {
        self.held.push(address);
    }
}

/// Launches and the memory that they use.
pub struct Recording {
    device: Device,
    recorder: Recorder,
}

impl Device {
    /// Runs something on this device and keeps its launches and the buffers that it frees. Only what kernels do can be repeated: not
    /// copies, and not buffers set to zero by the host.
    pub fn recording<T>(&self, run: impl FnOnce() -> T) -> (T, Recording) {
        let outer = locked(&self.0.recorder).replace(Recorder::default());
        let done = run();
        let recorder = std::mem::replace(&mut *locked(&self.0.recorder), outer).unwrap_or_default();
        (done, Recording { device: self.clone(), recorder })
    }
}

impl Recording {
    /// Launches all of them again; they may still be running when this returns.
    ///
    /// # Errors
    /// As [`Device::launch`].
    pub fn replay(&self) -> Result<()> {
        self.recorder.launches.iter().try_for_each(|(function, launch)| self.device.launch(function, launch))
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        for &address in &self.recorder.held {
            self.device.free(address);
        }
    }
}

impl Device {
    /// Gives memory back, or keeps it for the recording that is being made.
    pub(super) fn free(&self, address: u64) {
        if let Some(recorder) = &mut *locked(&self.0.recorder) {
            return recorder.freed(address);
        }
        match &self.0.backend {
            Backend::Cuda(driver) => driver.free(address),
            Backend::Sim(simulator) => simulator.free(address),
        }
    }
}
