//! The executor over both backends, without a simulator: a null device, a dead one, and one that fails.

use std::time::Duration;
use tandem_driver::{Bus, BusError, Bytes, Device as VtaDevice, DmaAddr, DmaBuf, NullBus, Waited};
use tandem_graph::{Graph, interpret};
use tandem_isa::{HwConfig, Reg};
use tandem_ops::{Act, Arith, Op};
use tandem_plan::{Device, on_cpu, partition};
use tandem_runtime::{Backend, CpuBackend, ErrorClass, Executor, RuntimeError, VtaBackend};
use tandem_tensor::{DType, QuantParams, Tensor, TensorType};

/// A dense layer with a softmax behind it.
fn graph() -> Graph {
    let i8s = |shape: &[usize], scale, zero| {
        TensorType::new(DType::I8, shape).with_quant(QuantParams::per_tensor(scale, zero))
    };
    let mut g = Graph::new("small", Arith::TfliteRef);
    let x = g.add_value("x", i8s(&[1, 16], 0.5, 3));
    let weights: Vec<i8> = (0..128).map(|i| ((i * 37) % 255 - 127) as i8).collect();
    let w = g.add_constant("w", i8s(&[8, 16], 0.01, 0), Tensor::from_vec([8, 16], weights).unwrap());
    let bias_type = TensorType::new(DType::I32, [8]).with_quant(QuantParams::per_tensor(0.005, 0));
    let b =
        g.add_constant("b", bias_type, Tensor::from_vec([8], (0..8).map(|i| i * 100).collect::<Vec<i32>>()).unwrap());
    let y = g.add_value("y", i8s(&[1, 8], 0.25, 5));
    g.add_node("dense", Op::Dense { act: Act::None }, [x, w, b], [y]);
    let p = g.add_value("p", i8s(&[1, 8], 1.0 / 256.0, -128));
    g.add_node("softmax", Op::Softmax { axis: 1, beta: 1.0, log: false }, [y], [p]);
    g.inputs.push(x);
    g.outputs.extend([p, y]);
    g.verify().unwrap();
    g
}

fn sample(seed: i32) -> Vec<Tensor> {
    let codes: Vec<i8> = (0..16).map(|i| ((i * 29 + seed * 53) % 255 - 127) as i8).collect();
    vec![Tensor::from_vec([1, 16], codes).unwrap()]
}

fn vta(bus: impl Bus + Send + 'static, config: &HwConfig) -> VtaBackend {
    VtaBackend::new(VtaDevice::open(Box::new(bus), config).unwrap()).with_timeout(Duration::ZERO)
}

/// A null device whose program never ends, or whose bus breaks at the first wait.
struct Broken {
    inner: NullBus,
    hangs: bool,
}

impl Bus for Broken {
    fn read32(&mut self, reg: Reg) -> Result<u32, BusError> {
        if reg == Reg::Control { Ok(tandem_isa::control::LAUNCH) } else { self.inner.read32(reg) }
    }
    fn write32(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        self.inner.write32(reg, value)
    }
    fn alloc(&mut self, bytes: Bytes) -> Result<DmaBuf, BusError> {
        self.inner.alloc(bytes)
    }
    fn free(&mut self, buf: DmaBuf) -> Result<(), BusError> {
        self.inner.free(buf)
    }
    fn copy_in(&mut self, dst: DmaAddr, src: &[u8]) -> Result<(), BusError> {
        self.inner.copy_in(dst, src)
    }
    fn copy_out(&mut self, src: DmaAddr, dst: &mut [u8]) -> Result<(), BusError> {
        self.inner.copy_out(src, dst)
    }
    fn wait(&mut self, _limit: Duration) -> Result<Waited, BusError> {
        if self.hangs {
            return Ok(Waited::Elapsed);
        }
        Err(BusError::Transfer { action: "waiting".into(), detail: "the cable is out".into() })
    }
}

#[test]
fn the_cpu_backend_gives_what_the_interpreter_gives_and_fills_the_profile() {
    let g = graph();
    let plan = on_cpu(&g, "the test says so");
    let mut executor = Executor::new(&g, &plan, &mut [Box::new(CpuBackend) as Box<dyn Backend>]).unwrap();
    let samples: Vec<Vec<Tensor>> = (0..5).map(sample).collect();
    let outputs = executor.run(&samples).unwrap();
    for (inputs, output) in samples.iter().zip(&outputs) {
        assert_eq!(&interpret(&g, inputs).unwrap(), output);
    }
    let profile = executor.profile();
    assert_eq!((profile.samples(), profile.segments.len(), profile.spans.len()), (5, 1, 1));
    let json: serde_json::Value = serde_json::from_str(&profile.to_chrome_json()).unwrap();
    let spans = json["traceEvents"].as_array().unwrap().iter().filter(|e| e["ph"] == "X").count();
    assert_eq!(spans, 1);
}

#[test]
fn a_null_device_runs_its_segment_and_the_cpu_goes_on_with_the_zeros_it_returns() {
    for preset in ["vta", "batch"] {
        let (g, config) = (graph(), HwConfig::preset(preset).unwrap());
        let backend = vta(NullBus::new(&config), &config);
        let plan = partition(&g, Device::Vta(0), |node| backend.supports(&g, node));
        let devices: Vec<Device> = plan.segments.iter().map(|s| s.device).collect();
        assert_eq!(devices, [Device::Vta(0), Device::Cpu]);
        let mut executor = Executor::new(&g, &plan, &mut [Box::new(CpuBackend), Box::new(backend)]).unwrap();
        assert_eq!(executor.samples(), config.batch());
        let outputs = executor.run(&[sample(0), sample(1), sample(2)]).unwrap();
        for output in &outputs {
            assert_eq!(output[1].as_slice::<i8>().unwrap(), [0; 8]);
            assert_eq!(output[0].as_slice::<i8>().unwrap(), [-96; 8]);
        }
        let profile = executor.profile();
        assert!(profile.counters(Device::Vta(0)).instructions > 0);
        assert!(profile.segments[0].copied.bytes > 0);
        assert_eq!(profile.segments[1].samples, 3);
    }
}

#[test]
fn a_device_that_hangs_or_breaks_gives_an_error_that_names_the_segment() {
    for (hangs, words) in [(true, "not done within"), (false, "the cable is out")] {
        let (g, config) = (graph(), HwConfig::preset("vta").unwrap());
        let backend = vta(Broken { inner: NullBus::new(&config), hangs }, &config);
        let plan = partition(&g, Device::Vta(0), |node| backend.supports(&g, node));
        let mut executor = Executor::new(&g, &plan, &mut [Box::new(CpuBackend), Box::new(backend)]).unwrap();
        let error = executor.run(&[sample(0)]).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Fault);
        let text = error.to_string();
        assert!(text.starts_with("segment 0 (VTA: 1 dense): ") && text.contains(words), "{text}");
    }
}

#[test]
fn a_plan_for_a_device_without_a_backend_is_refused() {
    let g = graph();
    let config = HwConfig::preset("vta").unwrap();
    let plan = partition(&g, Device::Vta(0), |node| tandem_jit::supports(&g, node, &config));
    let refused = Executor::new(&g, &plan, &mut [Box::new(CpuBackend) as Box<dyn Backend>]);
    let error = refused.err().unwrap();
    assert_eq!(error.class(), ErrorClass::Unavailable);
    assert!(error.to_string().contains("no backend for the VTA"), "{error}");
}

#[test]
fn samples_of_the_wrong_number_or_shape_are_refused_before_anything_runs() {
    let g = graph();
    let plan = on_cpu(&g, "the test says so");
    let mut executor = Executor::new(&g, &plan, &mut [Box::new(CpuBackend) as Box<dyn Backend>]).unwrap();
    for (wrong, words) in [
        (vec![], "0 tensors"),
        (vec![Tensor::zeros(DType::I8, [1, 15])], "i8[1,15]"),
        (vec![Tensor::zeros(DType::U8, [1, 16])], "u8[1,16]"),
    ] {
        let error = executor.run(&[sample(0), wrong]).unwrap_err();
        assert!(
            matches!(&error, RuntimeError::Invalid(text) if text.contains("sample 1") && text.contains(words)),
            "{error}"
        );
    }
    assert_eq!(executor.profile().samples(), 0);
}
