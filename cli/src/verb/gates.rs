//! `tandem gates`
use crate::hardware;
use crate::{Outcome, stdout, tools, verilated};
use anyhow::{Result, anyhow};
use clap::Args;
use std::time::Duration;
use tandem_sim::Kernel;
use tandem_sim::cosim::{Checker, Generator, Party};
use tandem_sim::netlist::{CHIP, Family, Netlist, Wheels, chip_shim, chip_verilog, route_ecp5, routed_verilog, round_trip_ecp5, synthesise};
use tandem_sim::tsim::{TsimBus, TsimOptions, Variant};

/// Options
#[derive(Args)]
pub struct Options {
    /// The family.
    #[arg(long)]
    family: Family,
    /// hw
    #[arg(long)]
    hw: String,
    /// level
    #[arg(long, default_value = "synth")]
    level: String,
    /// programs
    #[arg(long, default_value_t = 20)]
    programs: u64,
    /// seed
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// run
pub fn run(options: &Options) -> Result<Outcome> {
    let config = hardware::resolve(&options.hw)?;
    let cache = tools::model_cache();
    let wheels = Wheels::in_folder(&tools::folder().ok_or_else(|| anyhow!("no tools"))?, &cache.join("yowasp"))?;
    let t = std::time::Instant::now();
    let text = if options.level == "route" {
        let verilog = tandem_hw::verilog(&config) + &chip_verilog(&config);
        let json = synthesise(&wheels, options.family, &verilog, CHIP, &cache)?;
        stdout::complain(&format!("synth {:?}", t.elapsed()));
        let routed = route_ecp5(&wheels, &json, options.seed, &cache)?;
        stdout::complain(&format!("route {:?}", t.elapsed()));
        let bits = round_trip_ecp5(&wheels, &routed.config, &cache)?;
        stdout::complain(&format!("bits {} {:?}", bits.len(), t.elapsed()));
        format!("{}\n{}\n{}", options.family.cells(), routed_verilog(&routed.json, CHIP)?, chip_shim(&config))
    } else {
    let json = synthesise(&wheels, options.family, &tandem_hw::verilog(&config), tandem_hw::TOP, &cache)?;
    let netlist = Netlist::parse(&json, tandem_hw::TOP)?;
    stdout::complain(&format!("synth {:?}, {} cells", t.elapsed(), netlist.cells.len()));
    format!("{}\n{}", options.family.cells(), netlist.verilog()) };
    let t = std::time::Instant::now();
    let model = verilated::model(&config, Some(&text), Variant { netlist: true, ..Variant::default() })?;
    stdout::complain(&format!("model {:?}", t.elapsed()));
    let t = std::time::Instant::now();
    let bus = TsimBus::new(model, TsimOptions { trace: true, scramble: true, watchdog_cycles: 20_000_000, ..TsimOptions::default() })?;
    let monitor = bus.monitor();
    let device = Party::new("gates", bus, move || monitor.trace());
    let mut checker = Checker::new(&config, Party::fsim(&config, 0, Kernel::best()), device)?
        .limit(Duration::from_secs(600))
        .stop_after(3);
    let report = checker.run(&Generator::new(&config, options.seed), 0..options.programs, |_| true)?;
    stdout::complain(&format!("{:?} {} cycles {:?}", report.mismatches, report.cycles, t.elapsed()));
    Ok(Outcome::Good)
}
