//! The definitions, a family a file.

mod activation;
mod add;
pub mod attention;
mod check;
mod conv;
mod exp;
mod gemm;
mod graph;
mod ibp;
pub mod ivf;
pub mod lowbit;
mod norm;
mod pir;
mod pool;
pub(crate) mod real;
mod rope;
pub(crate) mod rounding;
mod rows;
pub mod sampling;
pub mod sgmv;
mod softmax;
pub mod tactic;
mod window;

use crate::def::Operation;

pub use activation::ACTIVATIONS;
pub(crate) use activation::activation as activation_of;
pub(crate) use add::params as add_params_of;
use check::{within, wrong};
pub(crate) use exp::{exp, silu};
pub use gemm::{ACTS, activate};
pub use graph::{Defined, Source, defined, signed, unsigned};
pub(crate) use ibp::Rows;
pub use rope::rope_turns;
pub use window::window_outputs;
pub(crate) use window::windows;

/// Every definition, in the order of the families.
pub fn operations() -> Vec<&'static dyn Operation> {
    let families = [
        gemm::ALL,
        conv::ALL,
        pool::ALL,
        add::ALL,
        softmax::ALL,
        norm::ALL,
        rope::ALL,
        activation::ALL,
        attention::ALL,
        ibp::ALL,
        sgmv::ALL,
        pir::ALL,
        ivf::ALL,
        lowbit::ALL,
        sampling::ALL,
        tactic::ALL,
    ];
    families.concat()
}

/// The definition of that name.
pub fn operation(name: &str) -> Option<&'static dyn Operation> {
    operations().into_iter().find(|operation| operation.def().name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::{AxisKind, Size, accept};
    use std::collections::BTreeSet;

    #[test]
    fn workloads_of_every_size_are_legal_and_those_for_a_simulator_small() {
        for operation in operations() {
            let def = operation.def();
            for size in [Size::Simulator, Size::Processor, Size::Gpu] {
                let workloads = operation.workloads(size);
                let names: BTreeSet<&str> = workloads.iter().map(|sample| sample.name).collect();
                assert!(!names.is_empty() && names.len() == workloads.len(), "{} {size:?}: {names:?}", def.name);
                for sample in workloads {
                    let context = format!("{} {size:?} {}: {}", def.name, sample.name, sample.dims);
                    def.constrain(&sample.dims).unwrap_or_else(|e| panic!("{context}: {e}"));
                    if size != Size::Simulator {
                        continue;
                    }
                    let inputs = operation.sample(sample.name, &sample.dims, 1).unwrap();
                    let dims = accept(operation, &sample.dims, &inputs).unwrap_or_else(|e| panic!("{context}: {e}"));
                    let work = operation.work(&dims, &inputs);
                    let all = work.flops + work.int_ops + work.dram_bytes;
                    assert!((1..1 << 24).contains(&all), "{context}: {work:?}");
                }
            }
        }
    }

    #[test]
    fn every_sample_of_every_definition_is_bound_and_computed() {
        let mut names = BTreeSet::new();
        for operation in operations() {
            let def = operation.def();
            assert!(names.insert(def.name), "{} twice", def.name);
            let samples = operation.samples();
            let unique: BTreeSet<&str> = samples.iter().map(|sample| sample.name).collect();
            assert_eq!(unique.len(), samples.len(), "{}: a sample's name twice", def.name);
            assert!(samples.len() >= 3, "{} has too few samples", def.name);
            for sample in samples {
                let context = format!("{} {}: {}", def.name, sample.name, sample.dims);
                let inputs =
                    operation.sample(sample.name, &sample.dims, 1).unwrap_or_else(|e| panic!("{context}: {e}"));
                let again = operation.sample(sample.name, &sample.dims, 1).unwrap();
                for ((name, first), (_, second)) in inputs.iter().zip(again.iter()) {
                    assert!(first.to_le_bytes() == second.to_le_bytes(), "{context}: {name} is not its seed's");
                }
                let dims = accept(operation, &sample.dims, &inputs).unwrap_or_else(|e| panic!("{context}: {e}"));
                for axis in def.axes.iter().filter(|axis| axis.kind != AxisKind::Drawn) {
                    assert_eq!(dims[axis.name], sample.dims[axis.name], "{context}: axis {}", axis.name);
                }
                let outputs = operation.reference(&dims, &inputs).unwrap_or_else(|e| panic!("{context}: {e}"));
                for port in def.outputs {
                    let (ty, tensor) = (def.output_type(port, &dims), outputs.get(port.name).unwrap());
                    assert_eq!((tensor.dtype(), tensor.shape()), (ty.dtype, &ty.shape), "{context}: {}", port.name);
                }
                let work = operation.work(&dims, &inputs);
                let all = inputs.iter().chain(outputs.iter()).map(|(_, tensor)| tensor);
                let moved: usize = all.filter(|tensor| tensor.shape().rank() > 0).map(|tensor| tensor.len()).sum();
                assert!(moved == 0 || work.dram_bytes > 0, "{context}: bytes of no work");
            }
        }
    }
}
