//! Memory of the host that a GPU reaches by itself, for copies at the speed of the link.

use super::{Backend, Buffer, Device, locked};
use crate::error::{GpuError, Result};
use std::sync::Mutex;

/// Bytes of the host, pinned where there is a GPU.
pub struct Pinned {
    device: Device,
    bytes: usize,
    memory: Memory,
}

enum Memory {
    Cuda(crate::sys::driver::Pinned),
    Sim(Mutex<Vec<u8>>),
}

impl Device {
    /// So many bytes, which are zero.
    ///
    /// # Errors
    /// Exhausted, where the host has no such room.
    pub fn pinned(&self, bytes: usize) -> Result<Pinned> {
        let memory = match &self.0.backend {
            Backend::Cuda(driver) => Memory::Cuda(driver.pinned(bytes)?),
            Backend::Sim(_) => Memory::Sim(Mutex::new(vec![0; bytes])),
        };
        Ok(Pinned { device: self.clone(), bytes, memory })
    }
}

impl Pinned {
    /// Copies all bytes to a buffer that has as many; it may still be copying when this returns.
    ///
    /// # Errors
    /// Invalid for a buffer of another size or device; the device's.
    pub fn copy_to(&self, buffer: &Buffer) -> Result<()> {
        self.same_size(buffer)?;
        match (&self.memory, &self.device.0.backend) {
            (Memory::Cuda(memory), Backend::Cuda(driver)) => driver.write_pinned(buffer.address(), memory),
            (Memory::Sim(bytes), Backend::Sim(simulator)) => simulator.write(buffer.address(), &locked(bytes)),
            _ => Err(other_device()),
        }
    }

    /// Copies all bytes of a buffer here; it may still be copying when this returns.
    ///
    /// # Errors
    /// As [`Pinned::copy_to`].
    pub fn copy_from(&self, buffer: &Buffer) -> Result<()> {
        self.same_size(buffer)?;
        match (&self.memory, &self.device.0.backend) {
            (Memory::Cuda(memory), Backend::Cuda(driver)) => driver.read_pinned(memory, buffer.address()),
            (Memory::Sim(bytes), Backend::Sim(simulator)) => simulator.read(buffer.address(), &mut locked(bytes)),
            _ => Err(other_device()),
        }
    }

    fn same_size(&self, buffer: &Buffer) -> Result<()> {
        if !self.device.same(&buffer.device) {
            return Err(other_device());
        }
        if buffer.bytes() != self.bytes {
            let text = format!("{} pinned bytes and a buffer of {} cannot be copied", self.bytes, buffer.bytes());
            return Err(GpuError::Invalid(text));
        }
        Ok(())
    }
}

fn other_device() -> GpuError {
    GpuError::Invalid("the pinned memory and the buffer are of two devices".into())
}
