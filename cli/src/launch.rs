//! One program at fixed addresses of a device's memory: what `tandem exec` runs.

use crate::cycles::Cycles;
use crate::link::Link;
use crate::remote::Remote;
use crate::simulation::{Simulation, SimulationOptions};
use crate::table::{grouped, table};
use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tandem_driver::{Bus, Bytes, Counters, DmaAddr, DriverError, identify, run_at};
use tandem_isa::{HwConfig, Reg, Trace, control};
use tandem_sim::tsim::TsimBus;
use tandem_sim::{Bases, Dram, Launch, Machine, Options as SimOptions, SimCounters};

/// Zeros that are copied at a time.
const ZEROS: usize = 1 << 20;
/// Time for one run of a board.
const PATIENCE: Duration = Duration::from_secs(600);

/// A device with memory from address 0.
pub enum Host {
    /// The functional simulator.
    Functional(Box<Machine>, Dram),
    /// The simulated hardware.
    Hardware(Box<TsimBus>, Box<Simulation>),
    /// A board, or a device of another machine, whose link is looked at.
    Board(Link, Option<Remote>),
}

/// What a run cost.
pub enum Cost {
    /// As the functional simulator counts.
    Functional(SimCounters),
    /// As the hardware's registers count.
    Hardware(Counters),
}

impl Host {
    /// The functional simulator with this much memory, all zero.
    ///
    /// # Errors
    /// Memory that it does not have.
    pub fn functional(config: &HwConfig, options: SimOptions, bytes: u64, limit: u64) -> Result<Host> {
        let mut dram = Dram::new(limit);
        if !dram.map(0, bytes) {
            bail!("{bytes} bytes of memory are more than the simulator has");
        }
        // Memory that nobody writes reads as zero, so that programs of other tools find what they expect.
        if let Some(memory) = dram.slice_mut(0, usize::try_from(bytes)?) {
            memory.fill(0);
        }
        Ok(Host::Functional(Box::new(Machine::new(config, options)), dram))
    }

    /// The hardware with this much memory, all zero.
    ///
    /// # Errors
    /// A tool that is missing, a build that fails, memory that it does not have.
    pub fn hardware(
        config: &HwConfig,
        options: &SimulationOptions,
        trace: bool,
        bytes: u64,
        limit: u64,
    ) -> Result<Host> {
        let (mut bus, simulation) = options.open(options.model(config)?, trace, limit)?;
        bus.map(DmaAddr(0), Bytes(bytes))?;
        let zeros = vec![0; ZEROS];
        for begin in (0..bytes).step_by(ZEROS) {
            let len = usize::try_from((bytes - begin).min(ZEROS as u64))?;
            bus.copy_in(DmaAddr(u32::try_from(begin)?), zeros.get(..len).unwrap_or_default())?;
        }
        Ok(Host::Hardware(Box::new(bus), Box::new(simulation)))
    }

    /// A board, with this much of its memory zero.
    ///
    /// # Errors
    /// Another configuration, memory that it does not have, a link that fails.
    pub fn board(mut link: Link, config: &HwConfig, bytes: u64) -> Result<Host> {
        let remote = if let Link::Remote(bus) = &link { Some(Remote::new(bus.link(), bus.monitor())) } else { None };
        identify(link.bus(), config)?;
        link.bus().write32(Reg::Control, control::RESET)?;
        link.map(DmaAddr(0), Bytes(bytes))?;
        // Memory that nobody writes reads as zero, as on a simulator.
        link.bus().copy_in(DmaAddr(0), &vec![0; usize::try_from(bytes)?])?;
        Ok(Host::Board(link, remote))
    }

    /// Writes memory.
    ///
    /// # Errors
    /// Bytes outside memory.
    pub fn put(&mut self, addr: u64, bytes: &[u8]) -> Result<()> {
        let outside = || anyhow!("{} bytes at address {addr:#x} are not in memory", bytes.len());
        match self {
            Host::Functional(_, dram) => {
                dram.slice_mut(addr, bytes.len()).ok_or_else(outside)?.copy_from_slice(bytes);
                Ok(())
            }
            Host::Hardware(bus, _) => Ok(bus.copy_in(DmaAddr(u32::try_from(addr)?), bytes)?),
            Host::Board(link, _) => Ok(link.bus().copy_in(DmaAddr(u32::try_from(addr)?), bytes)?),
        }
    }

    /// Reads memory.
    ///
    /// # Errors
    /// Bytes outside memory.
    pub fn get(&mut self, addr: u64, len: u64) -> Result<Vec<u8>> {
        let len = usize::try_from(len)?;
        match self {
            Host::Functional(_, dram) => {
                let bytes = dram.slice(addr, len);
                Ok(bytes.ok_or_else(|| anyhow!("{len} bytes at address {addr:#x} are not in memory"))?.to_vec())
            }
            Host::Hardware(bus, _) => read(&mut **bus, addr, len),
            Host::Board(link, _) => read(link.bus(), addr, len),
        }
    }

    /// Runs the program whose instructions lie at an address.
    ///
    /// # Errors
    /// One sentence: the instruction and the rule that it breaks, or what the hardware waits for.
    pub fn run(&mut self, insn_addr: u32, insn_count: u32) -> Result<Cost> {
        match self {
            Host::Functional(machine, dram) => {
                let launch = Launch { insn_addr, insn_count, bases: Bases::default() };
                Ok(Cost::Functional(machine.run(dram, &launch)?))
            }
            Host::Hardware(bus, simulation) => {
                let ran = run_hardware(bus, insn_addr, insn_count);
                // What was recorded up to a failure shows how it came about.
                let finished = simulation.finish();
                let counters = ran?;
                finished?;
                Ok(Cost::Hardware(counters))
            }
            Host::Board(link, remote) => {
                link.bus().flush()?;
                remote.iter_mut().for_each(Remote::begin);
                let ran = run_at(link.bus(), DmaAddr(insn_addr), insn_count, PATIENCE);
                Ok(Cost::Hardware(ran?))
            }
        }
    }

    /// The events of the run.
    pub fn trace(&self) -> Trace {
        match self {
            Host::Functional(machine, _) => machine.trace().clone(),
            Host::Hardware(_, simulation) => simulation.trace(),
            Host::Board(..) => Trace::default(),
        }
    }

    /// What a run cost, for programs.
    pub fn json(&self, cost: &Cost, config: &HwConfig) -> Map<String, Value> {
        let mut map: Map<String, Value> = rows(cost, config, self.is_measured())
            .into_iter()
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
        if let Some(cycles) = self.cycles(cost, config) {
            map.extend(cycles.json());
        }
        map.extend(self.remote().map(|remote| ("link".to_owned(), remote.json())));
        map
    }

    /// What a run cost, for people.
    pub fn text(&self, cost: &Cost, config: &HwConfig) -> String {
        let rows = rows(cost, config, self.is_measured())
            .into_iter()
            .map(|(name, value)| vec![name.replace('_', " "), grouped(value)]);
        let mut text = table(&["counter", "value"], &[1], rows);
        match self.cycles(cost, config) {
            Some(cycles) => text.push_str(&cycles.text()),
            None if self.is_measured() => {}
            None => text.push_str("Cycles are an estimate of the functional simulator, not a measurement.\n"),
        }
        text.extend(self.remote().map(|remote| remote.text(1)));
        text
    }

    fn remote(&self) -> Option<&Remote> {
        if let Host::Board(_, remote) = self { remote.as_ref() } else { None }
    }

    fn is_measured(&self) -> bool {
        match self {
            Host::Functional(..) => false,
            Host::Hardware(..) => true,
            Host::Board(link, _) => link.is_clocked(),
        }
    }

    fn cycles<'a>(&'a self, cost: &Cost, config: &'a HwConfig) -> Option<Cycles<'a>> {
        match (self, cost) {
            (Host::Hardware(_, simulation), Cost::Hardware(counters)) => {
                Some(Cycles { simulation, config, counters: *counters, samples: None, useful_macs: None })
            }
            _ => None,
        }
    }
}

fn read(bus: &mut dyn Bus, addr: u64, len: usize) -> Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    bus.copy_out(DmaAddr(u32::try_from(addr)?), &mut bytes)?;
    Ok(bytes)
}

/// The hardware's own watchdog finds out when it hangs, so there is no limit.
fn run_hardware(bus: &mut TsimBus, insn_addr: u32, insn_count: u32) -> Result<Counters> {
    run_at(bus, DmaAddr(insn_addr), insn_count, Duration::MAX).map_err(|error| match error {
        // It names the instruction and the cause already.
        DriverError::Stopped { diagnosis: Some(diagnosis), .. } => anyhow!(diagnosis),
        DriverError::Bus { source, .. } => anyhow!(source),
        other => anyhow!(other),
    })
}

fn rows(cost: &Cost, config: &HwConfig, measured: bool) -> Vec<(&'static str, u64)> {
    let (head, bytes, cycles) = match cost {
        Cost::Functional(c) => (
            vec![
                ("instructions", c.instructions.iter().sum()),
                ("uops", c.uops()),
                ("macs", c.macs + c.lane_macs),
                ("alu_ops", c.alu_ops),
                ("requant_ops", c.requant_ops),
            ],
            [c.inp_bytes, c.wgt_bytes, c.acc_bytes, c.uop_bytes, c.out_bytes],
            ("cycles_estimate", c.cycles_estimate),
        ),
        Cost::Hardware(c) => (
            vec![("instructions", c.instructions), ("uops", c.uops()), ("macs", c.macs(config))],
            [c.inp_bytes, c.wgt_bytes, c.acc_bytes, c.uop_bytes, c.out_bytes],
            (if measured { "cycles" } else { "cycles_estimate" }, c.cycles),
        ),
    };
    let [inp, wgt, acc, uop, out] = bytes;
    let bytes = [
        ("bytes_loaded", inp + wgt + acc + uop),
        ("bytes_stored", out),
        ("inp_bytes", inp),
        ("wgt_bytes", wgt),
        ("acc_bytes", acc),
        ("uop_bytes", uop),
        cycles,
    ];
    head.into_iter().chain(bytes).collect()
}
