//! The host code for the CUDA driver, on a library that stands in for it and runs kernels on the simulator.

mod place;

use std::path::PathBuf;
use std::sync::Arc;
use tandem_gpu::gemm::{Product, Wish};
use tandem_gpu::{Arch, Args, Device, GpuError, Instance, Launch, Source, kernels};
use tandem_ops::OpError;
use tandem_ops::def::{Kernel, conform};
use tandem_tensor::{DType, Tensor};

static STEPS: Source = Source {
    name: "steps.cu",
    text: "#include \"prelude.cuh\"\n\
           extern \"C\" __global__ void twice(float* x, int n) {\n    int i = blockIdx.x * blockDim.x + threadIdx.x;\n    \
           if (i < n) x[i] += x[i];\n}\n\
           extern \"C\" __global__ void plus(float* x, int n, float y) {\n    int i = blockIdx.x * blockDim.x + threadIdx.x;\n    \
           if (i < n) x[i] += y;\n}\n\
           extern \"C\" __global__ void astray(float* x) { x[1 << 28] = 1.0f; }\n",
};

/// The stand-in and its controls.
struct Standin {
    path: PathBuf,
    library: libloading::Library,
}

impl Standin {
    fn open() -> Standin {
        // The library lies beside this test.
        let folder = std::env::current_exe().unwrap().parent().unwrap().to_owned();
        let path =
            folder.join(format!("{}tandem_standin{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX));
        // SAFETY: it has no initialisers.
        let library = unsafe { libloading::Library::new(&path) }.unwrap();
        Standin { path, library }
    }

    fn refuse(&self, name: &std::ffi::CStr, code: i32) {
        // SAFETY: the function has this type, and the name ends in zero.
        unsafe {
            let refuse = self.library.get::<unsafe extern "C" fn(*const std::ffi::c_char, i32)>(b"standin_refuse\0");
            refuse.unwrap()(name.as_ptr(), code);
        }
    }

    fn reset(&self) {
        // SAFETY: the function has this type.
        unsafe { self.library.get::<extern "C" fn()>(b"standin_reset\0").unwrap()() }
    }

    fn live(&self) -> u32 {
        // SAFETY: the function has this type.
        unsafe { self.library.get::<extern "C" fn() -> u32>(b"standin_live\0").unwrap()() }
    }
}

fn launch(n: usize, args: Args) -> Launch {
    Launch::new([n.div_ceil(32) as u32, 1, 1], [32, 1, 1], args)
}

fn instance(kernel: &'static str) -> Instance {
    Instance::new(&STEPS, kernel, Arch::Sm80)
}

// One test, since there is one device in the process.
#[test]
fn host_code_runs_kernels_graphs_and_errors_as_on_a_driver() {
    let Some(compiler) = place::compiler() else { return };
    let standin = Standin::open();
    let open = || Device::cuda_of(&standin.path, 0, Arc::clone(&compiler));

    let device = open().unwrap();
    assert_eq!((device.backend_name(), device.facts().capability, device.facts().multiprocessors), ("cuda", (9, 0), 4));
    conformance(&device);
    graphs(&device);
    refusals(&standin, &device);
    drop(device);
    assert_eq!(standin.live(), 0, "something was not released");

    lost(&open().unwrap());
    standin.reset();
    graphs(&open().unwrap());
    assert_eq!(standin.live(), 0, "something was not released after a device was lost");

    for (function, code) in [(c"cuInit", 100), (c"cuDeviceGet", 34), (c"cuDevicePrimaryCtxRetain", 101)] {
        standin.refuse(function, code);
        assert!(matches!(open().unwrap_err(), GpuError::Unavailable(_)), "{function:?}");
    }
    let error = Device::cuda_of(&standin.path, 7, compiler).unwrap_err();
    assert!(matches!(&error, GpuError::Unavailable(text) if text.contains("device 7")), "{error}");
    assert_eq!(standin.live(), 0, "a device that was not opened holds something");
}

fn conformance(device: &Device) {
    for kernel in kernels(device).iter().filter(|kernel| kernel.operation().def().name.starts_with("gemm.")) {
        let operation = kernel.operation();
        for sample in operation.samples() {
            let context = format!("{} {}", operation.def().name, sample.name);
            let verdict = conform(&**kernel, &sample, 5).unwrap_or_else(|error| panic!("{context}: {error}"));
            assert!(verdict.agrees, "{context}: {:?}", verdict.results);
        }
    }
    // Clusters and partial products, which no sample is large enough for.
    let operation = tandem_ops::operation("gemm.i8").unwrap();
    let dims = operation.samples()[0].dims.clone().with("m", 200).with("n", 144).with("k", 512);
    let inputs = operation.sample("random", &dims, 6).unwrap();
    let expected = operation.reference(&dims, &inputs).unwrap();
    for (splits, cluster) in [(1, 2), (3, 1)] {
        let wish = Wish { splits: Some(splits), cluster: Some(cluster), ..Wish::default() };
        let product = Product::new(device, "gemm.i8", wish).unwrap();
        assert_eq!(product.run(&dims, &inputs).unwrap(), expected, "{wish:?}");
    }
}

fn graphs(device: &Device) {
    let values: Vec<f32> = (0..100).map(|i| i as f32).collect();
    let x = device.upload(&Tensor::from_vec([100], values.clone()).unwrap()).unwrap();
    let (twice, plus) = (device.function(&instance("twice")).unwrap(), device.function(&instance("plus")).unwrap());
    let begin = device.record().unwrap();
    let graph = device
        .capture(|device| {
            device.launch(&twice, &launch(100, Args::new().buffer(&x).i32(100)))?;
            device.launch(&plus, &launch(100, Args::new().buffer(&x).i32(100).f32(1.0)))
        })
        .unwrap();
    assert_eq!(x.download([100]).unwrap().as_slice::<f32>().unwrap(), values, "capturing ran the launches");
    for _ in 0..3 {
        graph.launch().unwrap();
    }
    device.synchronise().unwrap();
    let time = begin.elapsed_ms(&device.record().unwrap()).unwrap();
    assert_eq!(time, Some(6.0), "the stand-in's clock counts launches");
    let expected: Vec<f32> = values.iter().map(|x| x * 8.0 + 7.0).collect();
    assert_eq!(x.download([100]).unwrap().as_slice::<f32>().unwrap(), expected);

    // A capture within a capture is refused, and the outer one goes on.
    let outer = device.capture(|device| {
        let inner = device.capture(|device| device.launch(&twice, &launch(100, Args::new().buffer(&x).i32(100))));
        let refused = "CUDA_ERROR_ILLEGAL_STATE (401)";
        assert!(matches!(inner, Err(GpuError::Invalid(text)) if text.contains(refused)));
        device.launch(&plus, &launch(100, Args::new().buffer(&x).i32(100).f32(-7.0)))
    });
    outer.unwrap().launch().unwrap();
    let expected: Vec<f32> = values.iter().map(|x| x * 8.0).collect();
    assert_eq!(x.download([100]).unwrap().as_slice::<f32>().unwrap(), expected);

    // A closure that fails leaves no capture behind it.
    let failed = device.capture(|_| Err(GpuError::Invalid("not this".into())));
    assert!(matches!(failed, Err(GpuError::Invalid(text)) if text == "not this"));
    device.launch(&plus, &launch(100, Args::new().buffer(&x).i32(100).f32(1.0))).unwrap();
    assert_eq!(x.download([100]).unwrap().as_slice::<f32>().unwrap()[0], 1.0);
    let wrong = device.launch(&plus, &launch(100, Args::new().buffer(&x).i32(100)));
    assert!(matches!(wrong, Err(GpuError::Invalid(text)) if text.contains("parameters")));
    // Through memory that the device reaches by itself.
    let (pinned, other) = (device.pinned(400).unwrap(), device.zeros(DType::F32, 100).unwrap());
    pinned.copy_from(&x).unwrap();
    pinned.copy_to(&other).unwrap();
    assert_eq!(other.download([100]).unwrap(), x.download([100]).unwrap());
    let zeros = device.zeros(DType::I32, 5).unwrap();
    assert_eq!(zeros.download([5]).unwrap(), Tensor::zeros(DType::I32, [5]));
}

fn refusals(standin: &Standin, device: &Device) {
    standin.refuse(c"cuMemAlloc_v2", 2);
    let error = device.alloc(DType::F32, 10).err().unwrap();
    assert!(matches!(&error, GpuError::Exhausted(text) if text.contains("CUDA_ERROR_OUT_OF_MEMORY (2)")), "{error}");
    standin.refuse(c"cuModuleLoadData", 209);
    let other = instance("astray").define("OTHER", 1);
    let error = device.function(&other).err().unwrap();
    assert!(matches!(&error, GpuError::Unsupported(_)), "{error}");
    standin.refuse(c"cuLaunchKernelEx", 1);
    let x = device.alloc(DType::F32, 10).unwrap();
    let twice = device.function(&instance("twice")).unwrap();
    let error = device.launch(&twice, &launch(10, Args::new().buffer(&x).i32(10))).unwrap_err();
    assert!(matches!(error, GpuError::Invalid(_)), "{error}");
    device.synchronise().unwrap();
}

fn lost(device: &Device) {
    let host = Tensor::from_vec([4], vec![1f32, 2.0, 3.0, 4.0]).unwrap();
    let (x, copy) = (device.upload(&host).unwrap(), host.clone());
    let astray = device.function(&instance("astray")).unwrap();
    // A launch succeeds; what it did is told later.
    device.launch(&astray, &launch(1, Args::new().buffer(&x))).unwrap();
    let error = device.synchronise().unwrap_err();
    assert!(matches!(&error, GpuError::Fault(text) if text.contains('7')), "{error}");
    for error in [
        device.synchronise().unwrap_err(),
        x.download([4]).unwrap_err(),
        device.upload(&host).err().unwrap(),
        device.launch(&astray, &launch(1, Args::new().buffer(&x))).unwrap_err(),
    ] {
        assert!(matches!(&error, GpuError::Fault(text) if text.contains("lost before")), "{error}");
        assert!(matches!(OpError::from(error), OpError::Fault(_)));
    }
    assert_eq!(host, copy, "data on the host are as they were");
}
