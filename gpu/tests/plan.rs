//! Plans of matrix products: pure functions of extents and facts.

use tandem_gpu::gemm::{Path, Plan, Problem, Wish};
use tandem_gpu::{Facts, GpuError, instances};
use tandem_ops::def::Random;
use tandem_tensor::DType;

fn problem(dtype: DType, m: usize, n: usize, k: usize) -> Problem {
    Problem { dtype, m, n, k }
}

fn a100() -> Facts {
    Facts {
        name: "NVIDIA A100".into(),
        capability: (8, 0),
        multiprocessors: 108,
        shared_per_block: 163 * 1024,
        l2: 40 << 20,
    }
}

#[test]
fn the_path_follows_from_device_dtype_and_alignment() {
    let path = |facts: &Facts, dtype, m, n, k| Plan::new(&problem(dtype, m, n, k), facts).unwrap().path;
    let h200 = Facts::h200();
    assert_eq!(path(&h200, DType::BF16, 4096, 4096, 4096), Path::Tma);
    assert_eq!(path(&h200, DType::I8, 1, 16, 16), Path::Tma);
    // Rows of the result, of 20 bytes, are no multiple of 16 bytes.
    assert_eq!(path(&h200, DType::BF16, 9, 10, 64), Path::Mma);
    assert_eq!(path(&h200, DType::F16, 9, 16, 37), Path::Ragged);
    assert_eq!(path(&h200, DType::I8, 9, 16, 8), Path::Ragged);
    assert_eq!(path(&h200, DType::F32, 9, 10, 37), Path::Simt);
    assert_eq!(path(&h200, DType::F16, 0, 16, 16), Path::Nothing);
    assert_eq!(path(&h200, DType::F32, 16, 0, 16), Path::Nothing);
    assert_eq!(path(&h200, DType::BF16, 16, 16, 0), Path::Mma);
    assert_eq!(path(&a100(), DType::BF16, 4096, 4096, 4096), Path::Mma);
}

#[test]
fn a_large_product_keeps_the_memory_busy_and_all_multiprocessors_at_work() {
    let facts = Facts::h200();
    for dtype in [DType::BF16, DType::F16, DType::I8] {
        let plan = Plan::new(&problem(dtype, 8192, 8192, 8192), &facts).unwrap();
        assert_eq!((plan.path, plan.tile_n, plan.splits, plan.cluster), (Path::Tma, 256, 1, 2));
        // Little's law: 4.3 TB/s for 0.7 us over 132 multiprocessors is 23 kB.
        assert!(plan.bytes_in_flight() >= 4 * 23_000, "{}", plan.bytes_in_flight());
        assert!(plan.occupancy(&facts) > 0.95, "{}", plan.occupancy(&facts));
    }
}

#[test]
fn a_product_of_few_rows_is_split_so_that_every_multiprocessor_has_work() {
    let facts = Facts::h200();
    for m in [1, 16, 128] {
        let plan = Plan::new(&problem(DType::BF16, m, 4096, 4096), &facts).unwrap();
        assert!(plan.splits > 1 && plan.cluster == 1, "{plan:?}");
        assert!(plan.items >= 100 && plan.bytes_in_flight() >= 4 * 23_000, "{plan:?}");
    }
    let plan = Plan::new(&problem(DType::BF16, 1, 4096, 64), &facts).unwrap();
    assert_eq!(plan.splits, 1, "a sum of one step has no parts");
}

#[test]
fn every_plan_fits_the_device_and_is_among_the_instances() {
    let known: Vec<String> = instances().iter().map(|instance| instance.id()).collect();
    let mut random = Random::new(3);
    for facts in [Facts::h200(), a100(), Facts { multiprocessors: 1, ..Facts::h200() }] {
        for round in 0..2000 {
            let dtype = [DType::BF16, DType::F16, DType::I8, DType::F32][round % 4];
            let mut extent = || [random.within(0, 40), random.within(0, 3000), random.within(0, 2000) * 16][round % 3];
            let problem = problem(dtype, extent(), extent(), extent());
            let plan = Plan::new(&problem, &facts).unwrap();
            if plan.path == Path::Nothing {
                assert!(problem.m == 0 || problem.n == 0);
                continue;
            }
            assert!(plan.shared <= facts.shared_per_block as usize, "{plan:?}");
            assert!(
                plan.grid.iter().all(|&extent| extent > 0) && (plan.grid[0] as usize).is_multiple_of(plan.cluster),
                "{plan:?}"
            );
            assert!(plan.items > 0 && plan.splits >= 1 && plan.occupancy(&facts) <= 1.0, "{plan:?}");
            if let Some(instance) = plan.instance(dtype) {
                assert!(known.contains(&instance.id()), "{} is compiled by no test", instance.id());
            }
        }
    }
}

#[test]
fn what_no_kernel_computes_is_refused() {
    let facts = Facts::h200();
    let unsupported = |problem| matches!(Plan::new(&problem, &facts), Err(GpuError::Unsupported(_)));
    assert!(unsupported(problem(DType::F64, 4, 4, 4)));
    assert!(unsupported(problem(DType::BF16, usize::MAX, 4, 4)));
    assert!(unsupported(problem(DType::F32, 64 * 70_000, 4, 4)), "a grid has 65535 rows");
    let invalid = |wish| matches!(Plan::with(&problem(DType::BF16, 9, 8, 37), &facts, wish), Err(GpuError::Invalid(_)));
    assert!(invalid(Wish { path: Some(Path::Tma), ..Wish::default() }));
    assert!(invalid(Wish { splits: Some(2), ..Wish::default() }));
    assert!(invalid(Wish { tile_n: Some(96), ..Wish::default() }));
}
