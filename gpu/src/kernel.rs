//! The register of kernels: a line a family.

use crate::device::Device;
use crate::nvrtc::{Arch, Instance};
use crate::{attention, elementwise, gemm, ibp, ivf, lowbit, peak, pir, planned, rows, sampling, sgmv, tactic, window};
use tandem_ops::def::Kernel;

/// A kernel of every definition that has a CUDA form, on this device.
pub fn kernels(device: &Device) -> Vec<Box<dyn Kernel>> {
    planned::kernels(device).chain(attention::kernels(device)).chain(sgmv::kernels(device)).collect()
}

/// Every kernel that a plan or a probe of the device can ask for, for every architecture that it is compiled for.
pub fn instances() -> Vec<Instance> {
    let families = [
        gemm::instances(),
        rows::instances(),
        elementwise::instances(),
        window::instances(),
        attention::instances(),
        ibp::instances(),
        sgmv::instances(),
        pir::instances(),
        ivf::instances(),
        lowbit::instances(),
        sampling::instances(),
        tactic::instances(),
        peak::instances(),
    ];
    let mut all = families.concat();
    // What needs less than Hopper runs there too, and is compiled for it.
    let older = all.iter().filter(|instance| instance.arch != Arch::Sm90a);
    let newer: Vec<Instance> = older.map(|instance| Instance { arch: Arch::Sm90a, ..instance.clone() }).collect();
    all.extend(newer);
    all
}
