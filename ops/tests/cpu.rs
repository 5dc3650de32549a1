//! The processor's kernels on shapes and windows at random, at every level of instructions that the processor has.

use proptest::prelude::*;
use tandem_ops::cpu::{self, Level};
use tandem_ops::def::{Dims, accept};
use tandem_ops::operation;

/// Runs every level's kernel of a definition on a sample, and compares with the reference.
fn check(name: &str, dims: &[(&'static str, usize)], seed: u64) -> Result<(), TestCaseError> {
    let operation = operation(name).expect("a definition");
    let def = operation.def();
    let mut all = Dims::defaults(def.axes);
    dims.iter().for_each(|&(axis, extent)| all.set(axis, extent));
    // Windows that do not fit are refused by the definition.
    let Ok(inputs) = operation.sample("random", &all, seed) else { return Ok(()) };
    let dims = accept(operation, &all, &inputs).expect("operands of the definition");
    let expected = operation.reference(&dims, &inputs).expect("a reference");
    for level in Level::ALL.into_iter().filter(|level| level.available()) {
        let kernel = cpu::kernel(name, level).expect("a kernel");
        let found = kernel.run(&dims, &inputs).expect("results");
        for port in def.outputs {
            let (found, expected) = (found.get(port.name).unwrap(), expected.get(port.name).unwrap());
            let agreement = def.agree.compare(found, expected);
            prop_assert!(def.agree.allows(&agreement), "{name} {dims} {level}: {agreement:?}");
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn products_agree_with_the_reference(
        name in prop::sample::select(vec!["gemm.i8", "gemm.f32", "gemm.bf16", "gemm.f16"]),
        m in 0usize..80,
        n in 1usize..150,
        k in 0usize..600,
        act in 0usize..2,
        seed in any::<u64>(),
    ) {
        check(name, &[("m", m), ("n", n), ("k", k), ("act", act)], seed)?;
    }

    #[test]
    fn scans_agree_with_the_reference(
        queries in 0usize..70,
        buckets in 0usize..300,
        words in prop_oneof![0usize..90, 500usize..1100],
        seed in any::<u64>(),
    ) {
        check("pir_scan.u64", &[("queries", queries), ("buckets", buckets), ("words", words)], seed)?;
    }

    #[test]
    fn convolutions_agree_with_the_reference(
        depthwise in any::<bool>(),
        (n, h, w, c) in (1usize..3, 1usize..12, 1usize..12, 1usize..70),
        (kh, kw) in (1usize..5, 1usize..5),
        (stride_h, stride_w, dilation_h, dilation_w) in (1usize..4, 1usize..4, 1usize..3, 1usize..3),
        (pad_top, pad_bottom, pad_left, pad_right) in (0usize..4, 0usize..4, 0usize..4, 0usize..4),
        outputs in 1usize..80,
        seed in any::<u64>(),
    ) {
        let mut dims = vec![
            ("n", n), ("h", h), ("w", w), ("c", c), ("kh", kh), ("kw", kw),
            ("stride_h", stride_h), ("stride_w", stride_w), ("dilation_h", dilation_h), ("dilation_w", dilation_w),
            ("pad_top", pad_top), ("pad_bottom", pad_bottom), ("pad_left", pad_left), ("pad_right", pad_right),
        ];
        if depthwise {
            dims.push(("multiplier", outputs % 3 + 1));
            check("depthwise.i8", &dims, seed)?;
        } else {
            dims.push(("o", outputs));
            check("conv2d.i8", &dims, seed)?;
        }
    }
}
