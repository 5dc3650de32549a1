//! Scratch: CPU time per layer.
use std::time::Duration;
use tandem_driver::Device;
use tandem_graph::workload::RESNET18;
use tandem_isa::HwConfig;
use tandem_sim::{Dram, FsimBus, Kernel, Options};
use tandem_tests::layer::codes;
use tandem_tests::random::Random;
unsafe extern "C" {
    fn clock_gettime(id: i32, t: *mut [i64; 2]) -> i32;
}
fn cpu() -> f64 {
    let mut t = [0i64; 2];
    unsafe { clock_gettime(3, &mut t) };
    t[0] as f64 * 1e3 + t[1] as f64 * 1e-6
}
fn main() {
    let preset = std::env::var("PRESET").unwrap_or("vta".into());
    let only = std::env::var("KERNEL").ok();
    let secs: f64 = std::env::var("MS").ok().and_then(|s| s.parse().ok()).unwrap_or(150.0);
    let config = HwConfig::preset(&preset).unwrap();
    for kernel in Kernel::available() {
        if only.as_ref().is_some_and(|o| *o != format!("{kernel:?}")) {
            continue;
        }
        let mut total = 0.0;
        let mut first = 0.0;
        print!("{kernel:9?}");
        for layer in RESNET18 {
            let graph = layer.graph(1);
            let c = tandem_jit::compile(&graph, &config).unwrap();
            let bus = FsimBus::with_options(&config, Options { kernel, ..Options::default() }, Dram::DEFAULT_LIMIT);
            let mut device = Device::open(Box::new(bus), &config).unwrap();
            let loaded = device.load(&c.program).unwrap();
            let image = codes(&mut Random::new(1), graph.ty(graph.inputs[0]));
            let image = vec![&image; c.samples];
            let packed = c.inputs[0].pack(&image).unwrap();
            let mut out = vec![0; c.outputs[0].bytes()];
            let mut best = f64::MAX;
            let mut spent = 0.0;
            let mut n = 0;
            while spent < secs || n < 3 {
                let t = cpu();
                device.write(&loaded, c.inputs[0].section, 0, &packed).unwrap();
                device.run(&loaded, Duration::from_secs(60)).unwrap();
                device.read_into(&loaded, c.outputs[0].section, 0, &mut out).unwrap();
                let t = cpu() - t;
                spent += t;
                if n == 0 {
                    first += t * layer.count as f64
                }
                n += 1;
                best = best.min(t);
            }
            let digest = out.iter().fold(0u32, |d, &b| d.wrapping_mul(31).wrapping_add(b as u32));
            if std::env::var("DIGEST").is_ok() {
                print!(" {digest:08x}");
            }
            print!(" {}:{best:.2}", layer.name);
            total += best * layer.count as f64 / c.samples as f64;
        }
        println!("  total {total:.1} ms (first runs {first:.1})");
    }
}
