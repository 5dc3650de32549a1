//! Kernels of the definitions for the processor, a family a file.
//!
//! A kernel is compiled for every [`Level`] of instructions and chosen at run time. Rows of results are spread over the threads of
//! the `rayon` pool that the caller is in.

mod activation;
mod add;
pub mod attention;
pub(crate) mod conv;
mod conv2d;
mod depthwise;
pub(crate) mod float;
pub mod gemm;
pub mod ibp;
pub(crate) mod int8;
mod ivf;
mod level;
mod lowbit;
mod norm;
pub mod peak;
mod pir;
mod pool;
mod real;
mod rope;
mod rows;
mod sampling;
mod sgmv;
mod share;
pub(crate) mod shared;
mod softmax;
mod tactic;
mod transpose;
pub(crate) mod vectorised;

pub use level::Level;

use crate::def::Kernel;

/// Every kernel for this level; none where the processor lacks the level.
pub fn kernels(level: Level) -> Vec<Box<dyn Kernel>> {
    if !level.available() {
        return Vec::new();
    }
    let families = [
        gemm::kernels(level),
        conv2d::kernels(level),
        pool::kernels(level),
        add::kernels(level),
        softmax::kernels(level),
        norm::kernels(level),
        rope::kernels(level),
        activation::kernels(level),
        attention::kernels(level),
        ibp::kernels(level),
        sgmv::kernels(level),
        pir::kernels(level),
        ivf::kernels(level),
        lowbit::kernels(level),
        sampling::kernels(level),
        tactic::kernels(level),
    ];
    families.into_iter().flatten().collect()
}

/// The kernel of that definition for this level; `None` where there is none, or where the processor lacks the level.
pub fn kernel(name: &str, level: Level) -> Option<Box<dyn Kernel>> {
    kernels(level).into_iter().find(|kernel| kernel.operation().def().name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::{Grade, conform};

    #[test]
    fn every_kernel_of_every_level_agrees_with_its_reference_on_every_sample() {
        for level in Level::ALL.into_iter().filter(|level| level.available()) {
            for kernel in kernels(level) {
                let operation = kernel.operation();
                for sample in operation.samples() {
                    let context = format!("{level} {} {}: {}", operation.def().name, sample.name, sample.dims);
                    if matches!(kernel.grade(&sample.dims), Grade::ReferenceOnly(_)) {
                        continue;
                    }
                    let verdict = conform(&*kernel, &sample, 7).unwrap_or_else(|e| panic!("{context}: {e}"));
                    assert!(verdict.agrees, "{context}: {:?}", verdict.results);
                }
            }
        }
    }

    #[test]
    fn a_level_that_the_processor_lacks_has_no_kernels() {
        for level in Level::ALL {
            assert_eq!(kernels(level).is_empty(), !level.available(), "{level}");
        }
        for operation in crate::operations() {
            let (name, own) = (operation.def().name, kernel(operation.def().name, Level::best()));
            assert!(own.is_some_and(|kernel| kernel.operation().def().name == name), "{name} has no kernel");
        }
        assert!(kernel("no.such.definition", Level::Portable).is_none());
    }
}
