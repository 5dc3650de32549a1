//! Definitions of kernels on an accelerator whose host does a part of them: their FPGA forms of the grade *split*.
//!
//! The core multiplies bytes and gives whole sums (`sums.rs`), all products of a definition in one program. Before, the host makes
//! bytes of the operands: it unpacks codes of four bits, and writes reals as digits of a byte each (`operand.rs`). Behind, it scales
//! sums and adds them up, with what digits leave of small numbers.
//!
//! | definitions | what the core multiplies | products for one of reals |
//! |---|---|---|
//! | `gemm.w4a8` | activations and weights, which are bytes; codes, group by group, where LOAD unpacks them and rows are few | 1 |
//! | `gemm.w4a4` | codes of activations and of weights, group by group; outliers | 1 |
//! | `gemm.w4a16` | two digits of activations and codes of weights, group by group; outliers | 2 |
//! | `gemm.bf16`, `sgmv.shrink.bf16` | two digits of either operand | 4 |
//! | `sgmv.expand.bf16`, and the second product of `sgmv.bf16` | three digits of v, which is of f32, and two of weights | 6 |
//! | `gemm.f16`, `gemm.f32` | three digits of either operand | 9 |

mod gemm;
mod lowbit;
mod operand;
mod sgmv;
mod sums;

use crate::{RuntimeError, VtaBackend};
use std::sync::{Arc, Mutex, PoisonError};
use tandem_driver::Counters;
use tandem_graph::Graph;
use tandem_isa::HwConfig;
use tandem_ops::OpError;
use tandem_ops::def::{Dims, Grade, Kernel, Operation, Tensors};
use tandem_tensor::Tensor;

/// Computes a definition for operands that are bound and checked.
type Compute = fn(&Core, &Dims, &Tensors) -> Result<Tensors, OpError>;

const FORMS: [(&str, Compute); 9] = [
    ("gemm.bf16", gemm::compute),
    ("gemm.f16", gemm::compute),
    ("gemm.f32", gemm::compute),
    ("sgmv.shrink.bf16", sgmv::shrink),
    ("sgmv.expand.bf16", sgmv::expand),
    ("sgmv.bf16", sgmv::fused),
    ("gemm.w4a4", lowbit::w4a4),
    ("gemm.w4a8", lowbit::w4a8),
    ("gemm.w4a16", lowbit::w4a16),
];

/// An accelerator that forms share.
pub struct Core {
    backend: VtaBackend,
    counters: Mutex<Counters>,
}

impl Core {
    /// The accelerator of a backend.
    pub fn new(backend: VtaBackend) -> Core {
        Core { backend, counters: Mutex::default() }
    }

    /// Its configuration.
    pub fn config(&self) -> &HwConfig {
        self.backend.config()
    }

    /// What it counted in all runs since the last call.
    pub fn take_counters(&self) -> Counters {
        std::mem::take(&mut *self.counters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn run(&self, graph: &Graph, samples: &[Vec<Tensor>]) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let (results, counters) = self.backend.run_once(graph, samples)?;
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) += counters;
        Ok(results)
    }
}

/// The definitions that have such a form, on an accelerator.
pub fn kernels(core: &Arc<Core>) -> Vec<Box<dyn Kernel>> {
    let form = |&(name, compute): &(&str, Compute)| {
        let operation = tandem_ops::operation(name)?;
        Some(Box::new(Form { operation, core: Arc::clone(core), compute }) as Box<dyn Kernel>)
    };
    FORMS.iter().filter_map(form).collect()
}

struct Form {
    operation: &'static dyn Operation,
    core: Arc<Core>,
    compute: Compute,
}

impl Kernel for Form {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn grade(&self, _: &Dims) -> Grade {
        match self.core.config().profile().has_extension() {
            true => self.operation.def().fpga,
            false => Grade::ReferenceOnly("the compiler uses the extension of profile tandem"),
        }
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        (self.compute)(&self.core, dims, inputs)
    }
}

impl From<RuntimeError> for OpError {
    fn from(error: RuntimeError) -> OpError {
        use crate::ErrorClass;
        let text = error.to_string();
        match error.class() {
            ErrorClass::Unsupported => OpError::Unsupported(text),
            ErrorClass::Invalid => OpError::Invalid(text),
            ErrorClass::Exhausted => OpError::Exhausted(text),
            ErrorClass::Fault => OpError::Fault(text),
            ErrorClass::Unavailable => OpError::Unavailable(text),
        }
    }
}
