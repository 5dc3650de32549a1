//! Whether an implementation does what its definition says, on one sample.

use super::{Agreement, Dims, Kernel, Sample, accept};
use crate::OpError;

/// The answer.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Verdict {
    /// The extents of the operands, drawn ones included.
    pub dims: Dims,
    /// How far each result is from the reference, by port.
    pub results: Vec<(&'static str, Agreement)>,
    /// Whether every result is within the definition's rule.
    pub agrees: bool,
}

/// Runs a kernel on a sample and compares with the reference.
///
/// # Errors
/// Those of the sample, of the reference and of the kernel.
pub fn conform(kernel: &dyn Kernel, sample: &Sample, seed: u64) -> Result<Verdict, OpError> {
    let operation = kernel.operation();
    let def = operation.def();
    let inputs = operation.sample(sample.name, &sample.dims, seed)?;
    let dims = accept(operation, &sample.dims, &inputs)?;
    let expected = operation.reference(&dims, &inputs)?;
    let found = kernel.run(&dims, &inputs)?;
    let compare =
        |port: &super::Port| Ok((port.name, def.agree.compare(found.get(port.name)?, expected.get(port.name)?)));
    let results = def.outputs.iter().map(compare).collect::<Result<Vec<_>, OpError>>()?;
    let agrees = results.iter().all(|(_, agreement)| def.agree.allows(agreement));
    Ok(Verdict { dims, results, agrees })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::{Grade, Operation, Tensors};
    use crate::operation;
    use tandem_tensor::Tensor;

    /// The reference as a kernel, with one code changed where it is told to.
    struct Reference(Option<usize>);

    impl Kernel for Reference {
        fn operation(&self) -> &'static dyn Operation {
            operation("gemm.i8").unwrap()
        }

        fn grade(&self, _: &Dims) -> Grade {
            Grade::Native
        }

        fn run(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
            let found = self.operation().reference(dims, inputs)?;
            let mut codes = found.slice::<i8>("out")?.to_vec();
            if let Some(at) = self.0 {
                codes[at] ^= 1;
            }
            Ok(Tensors::new().with("out", Tensor::from_vec([dims["m"], dims["n"]], codes)?))
        }
    }

    #[test]
    fn one_wrong_code_is_found_where_it_is() {
        let sample = Sample::new(Reference(None).operation().def(), "usual", &[("m", 3), ("n", 5), ("k", 7)]);
        assert!(conform(&Reference(None), &sample, 4).unwrap().agrees);
        let verdict = conform(&Reference(Some(11)), &sample, 4).unwrap();
        assert!(!verdict.agrees);
        assert_eq!((verdict.results[0].0, verdict.results[0].1.wrong, verdict.results[0].1.at), ("out", 1, 11));
    }
}
