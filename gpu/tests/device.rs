//! Devices that are not there, devices of an older generation, and what any device refuses.

mod place;

use std::path::Path;
use std::sync::Arc;
use tandem_gpu::{Arch, Args, Compiler, Device, Facts, GpuError, Instance, Launch, Simulation, Source, kernels};
use tandem_ops::def::{Grade, conform};
use tandem_tensor::{DType, Tensor};

static PLUS: Source = Source {
    name: "plus.cu",
    text: "#include \"prelude.cuh\"\nextern \"C\" __global__ void plus(i32* x, int y) { *x += y; }\n",
};

/// A simulated device of this compute capability.
fn device(compiler: Arc<Compiler>, capability: (u32, u32)) -> Device {
    let mut simulation = Simulation::seeded(1);
    simulation.facts = Facts { capability, ..simulation.facts };
    Device::sim(compiler, simulation)
}

fn absent() -> Arc<Compiler> {
    Arc::new(Compiler::absent(GpuError::Unavailable("no compiler is needed".into())))
}

#[test]
fn a_machine_without_a_driver_has_no_device_and_says_so() {
    // Where there is a driver, the same has to hold of a device that it does not have.
    let error = Device::cuda(1 << 20, absent()).unwrap_err();
    assert!(
        matches!(&error, GpuError::Unavailable(text) if text.contains("no NVIDIA driver") || text.contains("device"))
    );
    let error = Device::cuda_of(Path::new("absent/libcuda.so.1"), 0, absent()).unwrap_err();
    assert!(matches!(&error, GpuError::Unavailable(text) if text.contains("absent/libcuda.so.1")), "{error}");
}

#[test]
fn an_ampere_device_runs_every_kernel_that_it_grades_native_and_leaves_the_others_to_the_reference() {
    let Some(compiler) = place::compiler() else { return };
    let mut left = Vec::new();
    for kernel in kernels(&device(compiler, (8, 0))) {
        let operation = kernel.operation();
        let name = operation.def().name;
        for (at, sample) in operation.samples().into_iter().enumerate() {
            match kernel.grade(&sample.dims) {
                Grade::ReferenceOnly(why) if at == 0 => {
                    assert!(why.contains("9.0"), "{name}: {why}");
                    left.push(name);
                }
                Grade::ReferenceOnly(_) => assert!(left.contains(&name), "{name}: {}", sample.name),
                _ => {
                    let verdict = conform(&*kernel, &sample, 3).unwrap_or_else(|error| panic!("{name}: {error}"));
                    assert!(verdict.agrees, "{name} {}: {:?}", sample.name, verdict.results);
                }
            }
        }
    }
    left.sort_unstable();
    let expected = [
        "attention.block_sparse.bf16",
        "attention.cascade.bf16",
        "attention.decode.bf16",
        "attention.decode_kv4.bf16",
        "attention.prefill.bf16",
        "attention.ragged.bf16",
        "attention.sparse_decode.bf16",
        "attention.variable_block_sparse.bf16",
        "max_pool.i8",
    ];
    assert_eq!(left, expected);
}

#[test]
fn a_device_of_another_generation_leaves_every_kernel_to_the_reference() {
    for capability in [(7, 5), (12, 0)] {
        for kernel in kernels(&device(absent(), capability)) {
            let name = kernel.operation().def().name;
            for sample in kernel.operation().samples() {
                let grade = kernel.grade(&sample.dims);
                assert!(matches!(grade, Grade::ReferenceOnly(_)), "{name} on {capability:?}: {grade:?}");
            }
        }
    }
}

#[test]
fn a_capture_within_a_capture_is_refused_and_the_outer_one_goes_on() {
    let Some(compiler) = place::compiler() else { return };
    let device = device(compiler, (9, 0));
    let plus = device.function(&Instance::new(&PLUS, "plus", Arch::Sm80)).unwrap();
    let x = device.zeros(DType::I32, 1).unwrap();
    let add =
        |device: &Device, y| device.launch(&plus, &Launch::new([1, 1, 1], [1, 1, 1], Args::new().buffer(&x).i32(y)));
    let graph = device.capture(|device| {
        add(device, 1)?;
        let inner = device.capture(|device| add(device, 10));
        assert!(matches!(inner, Err(GpuError::Invalid(text)) if text.contains("captured on this device already")));
        add(device, 100)
    });
    let graph = graph.unwrap();
    graph.launch().unwrap();
    graph.launch().unwrap();
    assert_eq!(x.download([1]).unwrap(), Tensor::from_vec([1], vec![202i32]).unwrap());
    // The refused capture has left none behind it.
    add(&device, 1).unwrap();
    assert_eq!(x.download([1]).unwrap(), Tensor::from_vec([1], vec![203i32]).unwrap());
}
