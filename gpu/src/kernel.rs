//! The register of kernels: a line a family.

use crate::device::Device;
use crate::nvrtc::Instance;
use crate::{elementwise, gemm, planned, rows, window};
use tandem_ops::def::Kernel;

/// A kernel of every definition that has a CUDA form, on this device.
pub fn kernels(device: &Device) -> Vec<Box<dyn Kernel>> {
    gemm::kernels(device).chain(planned::kernels(device)).collect()
}

/// Every kernel that a plan can ask for, as it is compiled.
pub fn instances() -> Vec<Instance> {
    [gemm::instances(), rows::instances(), elementwise::instances(), window::instances()].concat()
}
