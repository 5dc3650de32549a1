//! The register of kernels: a line a family.

use crate::device::Device;
use crate::gemm;
use crate::nvrtc::Instance;
use tandem_ops::def::Kernel;

/// A kernel of every definition that has a CUDA form, on this device.
pub fn kernels(device: &Device) -> Vec<Box<dyn Kernel>> {
    gemm::kernels(device).collect()
}

/// Every kernel that a plan can ask for, as it is compiled.
pub fn instances() -> Vec<Instance> {
    gemm::instances()
}
