//! The machine: three in-order queues, tokens between them, and one instruction at a time in an order that a seed chooses.

use tandem_isa::timing::{Setup, predict_stream};
use tandem_isa::{Compat, Event, HwConfig, Insn, MemoryType, Reg, Requant, Trace, Upstream, encode_all};

use crate::check::{Checker, Checks, Here};
use crate::dram::Dram;
use crate::fused::Fused;
use crate::gemm::{GemmCall, Kernel};
use crate::lanes::{self, Part};
use crate::loops::{Axis, Bounds, Indices, Loops, UopLayout};
use crate::queue::{FIFOS, Progress, Stream, pops, pushes};
use crate::random::Random;
use crate::scratch::Scratchpads;
use crate::sums::Sums;
use crate::timing::Held;
use crate::transfer::{self, OutOrder, Rows};
use crate::{Fault, SimCounters, SimError};

/// Micro-op executions after which a long instruction pauses between two turns of its outer loop.
const SLICE: u64 = 1 << 22;

/// How a machine runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Options {
    /// Which of the queues that can go on does: 0 takes the instruction that comes first in the stream, any other seed draws.
    pub seed: u64,
    /// Which of upstream's implementations to follow where they disagree.
    pub compat: Compat,
    /// What to look for besides the errors that always stop a program.
    pub checks: Checks,
    /// Whether to record events.
    pub trace: bool,
    /// The hardware and the memory whose cycles are predicted.
    pub setup: Setup,
    /// How GEMM is computed.
    pub kernel: Kernel,
}

/// Byte addresses that the DRAM accesses of each memory type count from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bases {
    /// UOP loads.
    pub uop: u32,
    /// INP loads.
    pub inp: u32,
    /// WGT loads.
    pub wgt: u32,
    /// ACC and ACC8 loads.
    pub acc: u32,
    /// Stores.
    pub out: u32,
}

/// What a launch names: where the instructions are, and the base addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Launch {
    /// Byte address of the first instruction.
    pub insn_addr: u32,
    /// Number of instructions.
    pub insn_count: u32,
    /// Base addresses.
    pub bases: Bases,
}

/// What [`Machine::step`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// An instruction, or the last slice of a long one.
    Ran,
    /// A slice of a long instruction, which goes on with the next step: a good moment to look at the clock.
    Paused,
    /// Nothing: the program has finished.
    Finished,
}

/// A machine of one configuration.
///
/// Scratchpads keep their content from launch to launch, as hardware does.
pub struct Machine {
    config: HwConfig,
    options: Options,
    layout: UopLayout,
    order: OutOrder,
    pads: Scratchpads,
    fetched: Fetched,
    progress: Progress,
    bases: Bases,
    random: Random,
    /// The queue whose instruction is in progress and the next turn of its outer loop.
    paused: Option<(usize, u32)>,
    running: bool,
    checker: Option<Checker>,
    counters: SimCounters,
    trace: Trace,
    /// REQUANT that the next GEMM or LANE is fused with.
    fuse: Option<Requant>,
    /// The micro-ops of the instruction at hand.
    uops: Vec<Indices>,
    /// The lists of the GEMM at hand.
    sums: Sums,
}

/// The stream of the last launch, kept because programs are launched many times.
#[derive(Default)]
struct Fetched {
    addr: u32,
    bytes: Vec<u8>,
    stream: Stream,
    /// What it is predicted to take, once it has run: until then nobody knows whether it is legal.
    cycles: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            seed: 0,
            compat: Compat::default(),
            checks: Checks::default(),
            trace: false,
            setup: Setup::default(),
            kernel: Kernel::best(),
        }
    }
}

impl Launch {
    /// Keeps what is written to a register that a launch reads; other registers are not its own.
    pub(crate) fn write(&mut self, config: &HwConfig, reg: Reg, value: u32) {
        let value = value & config.written_bits(reg);
        match reg {
            Reg::InsnCount => self.insn_count = value,
            Reg::InsnAddr => self.insn_addr = value,
            Reg::UopBase => self.bases.uop = value,
            Reg::InpBase => self.bases.inp = value,
            Reg::WgtBase => self.bases.wgt = value,
            Reg::AccBase => self.bases.acc = value,
            Reg::OutBase => self.bases.out = value,
            _ => {}
        }
    }
}

impl Bases {
    pub(crate) fn of(&self, memory_type: MemoryType) -> u32 {
        match memory_type {
            MemoryType::Uop => self.uop,
            MemoryType::Wgt | MemoryType::Wgt4 => self.wgt,
            MemoryType::Inp => self.inp,
            MemoryType::Acc | MemoryType::Acc8 => self.acc,
            MemoryType::Out | MemoryType::OutInp => self.out,
        }
    }
}

impl Machine {
    /// A machine with scratchpads full of zeros.
    ///
    /// A kernel that the host cannot run is replaced by the best that it can.
    pub fn new(config: &HwConfig, options: Options) -> Machine {
        let kernel = if Kernel::available().contains(&options.kernel) { options.kernel } else { Kernel::best() };
        let options = Options { kernel, ..options };
        Machine {
            config: config.clone(),
            options,
            layout: UopLayout::new(config),
            order: OutOrder::new(config),
            pads: Scratchpads::new(config, kernel, options.compat.store_source != Upstream::Fsim),
            fetched: Fetched::default(),
            progress: Progress::default(),
            bases: Bases::default(),
            random: Random(0),
            paused: None,
            running: false,
            checker: None,
            counters: SimCounters::default(),
            trace: Trace::default(),
            fuse: None,
            uops: Vec::new(),
            sums: Sums::default(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &HwConfig {
        &self.config
    }

    /// How it runs.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Changes the seed, from the next launch on.
    pub fn set_seed(&mut self, seed: u64) {
        self.options.seed = seed;
    }

    /// Switches the search for races on or off, from the next launch on.
    pub fn check_races(&mut self, on: bool) {
        self.options.checks.races = on;
    }

    /// Chooses what to look for, from the next launch on.
    pub fn set_checks(&mut self, checks: Checks) {
        self.options.checks = checks;
    }

    /// Switches the recording of events on or off, from the next launch on.
    pub fn set_trace(&mut self, on: bool) {
        self.options.trace = on;
    }

    /// The scratchpads.
    pub fn scratchpads(&self) -> &Scratchpads {
        &self.pads
    }

    /// Replaces the scratchpads: those of this machine at an earlier time.
    pub(crate) fn set_scratchpads(&mut self, pads: &Scratchpads) {
        self.pads.clone_from(pads);
    }

    /// What the last launch cost so far.
    pub fn counters(&self) -> &SimCounters {
        &self.counters
    }

    /// The events of the last launch so far; empty where they are not recorded.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Fetches and decodes a program, and gets ready to run it.
    ///
    /// # Errors
    /// [`SimError::Fetch`], [`SimError::Decode`], [`SimError::NoFinish`].
    pub fn launch(&mut self, dram: &Dram, launch: &Launch) -> Result<(), SimError> {
        self.abandon();
        let Launch { insn_addr: addr, insn_count: count, bases } = *launch;
        let len = usize::try_from(u64::from(count) * 16).map_err(|_| SimError::Fetch { addr, count })?;
        let bytes = dram.slice(u64::from(addr), len).ok_or(SimError::Fetch { addr, count })?;
        if self.fetched.bytes != bytes || self.fetched.stream.insns.is_empty() {
            // A stream that does not decode must not be taken for the one fetched before.
            self.fetched = Fetched::default();
            let stream = Stream::new(decode(bytes, &self.config)?, &self.config)?;
            self.fetched = Fetched { addr, bytes: bytes.to_vec(), stream, cycles: None };
        }
        self.counters = SimCounters::default();
        self.trace.events.clear();
        self.fetched.stream.fetch(&mut self.progress);
        self.bases = bases;
        self.random = Random(self.options.seed);
        let checks = self.options.checks;
        self.checker = (checks != Checks::default()).then(|| Checker::new(&self.config, checks));
        self.running = true;
        Ok(())
    }

    /// Runs one instruction, or a slice of a long one.
    ///
    /// # Errors
    /// Whatever stops the program. The machine must be launched again after that.
    pub fn step(&mut self, dram: &mut Dram) -> Result<Step, SimError> {
        if !self.running {
            return Ok(Step::Finished);
        }
        let stepped = self.step_running(dram);
        if !matches!(stepped, Ok(Step::Ran | Step::Paused)) {
            self.abandon();
        }
        stepped
    }

    /// Forgets the program at hand; scratchpads keep their content.
    pub fn abandon(&mut self) {
        self.running = false;
        self.paused = None;
        self.fuse = None;
        self.progress = Progress::default();
        self.checker = None;
    }

    /// Launches a program and runs it to its end.
    ///
    /// # Errors
    /// As [`Machine::launch`] and [`Machine::step`].
    pub fn run(&mut self, dram: &mut Dram, launch: &Launch) -> Result<SimCounters, SimError> {
        self.launch(dram, launch)?;
        while self.step(dram)? != Step::Finished {}
        Ok(self.counters)
    }

    /// Runs instructions that do not stand in DRAM, with all base addresses 0.
    ///
    /// # Errors
    /// As [`Machine::run`]; [`SimError::Decode`] where an instruction does not encode.
    pub fn run_insns(&mut self, dram: &mut Dram, insns: &[Insn]) -> Result<SimCounters, SimError> {
        for (insn, at) in insns.iter().zip(0..) {
            insn.encode(&self.config).map_err(|source| SimError::Decode { insn: at, word: 0, source })?;
        }
        let bytes = encode_all(insns, &self.config).map_err(|source| SimError::Decode { insn: 0, word: 0, source })?;
        let mut code = Dram::new(1 << 32);
        // The code lies in a memory of its own, so that it takes no address from the program.
        let insn_addr = code.alloc(bytes.len() as u64).unwrap_or(0);
        if let Some(slice) = code.slice_mut(u64::from(insn_addr), bytes.len()) {
            slice.copy_from_slice(&bytes);
        }
        self.launch(&code, &Launch { insn_addr, insn_count: insns.len() as u32, bases: Bases::default() })?;
        while self.step(dram)? != Step::Finished {}
        Ok(self.counters)
    }

    fn step_running(&mut self, dram: &mut Dram) -> Result<Step, SimError> {
        let (queue, first) = match self.paused.take() {
            Some(paused) => paused,
            None => match self.choose() {
                Some(queue) => (queue, 0),
                None => {
                    self.fetched.stream.end(&self.progress)?;
                    let fetched = &mut self.fetched;
                    let predict = || {
                        let held = Held { dram, bases: self.bases };
                        predict_stream(
                            &self.config,
                            &fetched.stream.insns,
                            fetched.addr.into(),
                            &held,
                            &self.options.setup,
                        )
                    };
                    self.counters.cycles_estimate = *fetched.cycles.get_or_insert_with(|| predict().cycles);
                    return Ok(Step::Finished);
                }
            },
        };
        let Some((at, insn)) = self.fetched.stream.head(&self.progress, queue).map(|(at, insn)| (at, *insn)) else {
            return Ok(Step::Finished);
        };
        if first == 0 {
            self.begin(queue, at, &insn)?;
        }
        if let Some(next) = self.execute(queue, at, &insn, first, dram)? {
            self.paused = Some((queue, next));
            return Ok(Step::Paused);
        }
        self.finish(queue, at, &insn);
        Ok(Step::Ran)
    }

    /// The queue that goes on; none where all are done or wait.
    fn choose(&mut self) -> Option<usize> {
        let stream = &self.fetched.stream;
        let mut ready = [0; 3];
        let mut count = 0;
        for queue in 0..3 {
            if stream.ready(&self.progress, queue) {
                ready[count] = queue;
                count += 1;
            }
        }
        if count == 0 {
            return None;
        }
        let ready = &ready[..count];
        if self.options.seed == 0 {
            return ready.iter().copied().min_by_key(|&queue| stream.head(&self.progress, queue).map(|(at, _)| at));
        }
        let draw = (self.random.next() >> 33) as usize % count;
        ready.get(draw).copied()
    }

    fn begin(&mut self, queue: usize, at: usize, insn: &Insn) -> Result<(), SimError> {
        for fifo in pops(queue, insn.dep()) {
            self.progress.tokens[fifo] = self.progress.tokens[fifo].saturating_sub(1);
            if self.options.trace {
                let (from, unit) = FIFOS[fifo];
                self.trace.events.push(Event::Pop { unit, insn: at as u32, from });
            }
        }
        if self.options.trace {
            self.trace.events.push(Event::Begin { unit: insn.queue(), insn: at as u32 });
        }
        let here = Here { stream: &self.fetched.stream, queue, insn: at };
        match &mut self.checker {
            Some(checker) => checker.begin(here, insn, &self.progress),
            None => Ok(()),
        }
    }

    fn finish(&mut self, queue: usize, at: usize, insn: &Insn) {
        if self.options.trace {
            self.trace.events.push(Event::Finish { unit: insn.queue(), insn: at as u32 });
        }
        for fifo in pushes(queue, insn.dep()) {
            self.progress.tokens[fifo] += 1;
            if self.options.trace {
                let (unit, to) = FIFOS[fifo];
                self.trace.events.push(Event::Push { unit, insn: at as u32, to });
            }
        }
        if let Some(checker) = &mut self.checker {
            checker.end(Here { stream: &self.fetched.stream, queue, insn: at }, insn);
        }
        match insn {
            Insn::Requant(i) if i.fuse => self.fuse = Some(*i),
            Insn::Gemm(_) | Insn::Lane(_) | Insn::Finish(_) => self.fuse = None,
            _ => {}
        }
        self.progress.next[queue] += 1;
        self.fetched.stream.fetch(&mut self.progress);
        self.counters.count(insn, &self.config);
    }

    /// Runs an instruction from a turn of its outer loop; gives the next turn where it pauses.
    fn execute(
        &mut self,
        queue: usize,
        at: usize,
        insn: &Insn,
        first: u32,
        dram: &mut Dram,
    ) -> Result<Option<u32>, SimError> {
        let here = Here { stream: &self.fetched.stream, queue, insn: at };
        let fault = |fault: Fault| SimError::Fault { at: here.stream.place(at), fault };
        let rows = match insn {
            Insn::Load(i) => Rows::from(i),
            Insn::LoadPad(i) => Rows::from(i),
            Insn::Store(i) => {
                let rows = Rows::from(i);
                let mut ranges = Vec::new();
                let written = |addr: u64, bytes: &[u8]| ranges.push((addr, bytes.len()));
                transfer::store(&rows, &self.config, &self.bases, &self.order, dram, &self.pads, written)
                    .map_err(fault)?;
                if self.options.trace {
                    let row_bytes = (rows.x_size as usize * self.config.out_elem_bytes()).max(1);
                    let starts =
                        ranges.into_iter().flat_map(|(addr, len)| (addr..addr + len as u64).step_by(row_bytes));
                    for addr in starts {
                        // What the finished store leaves: rows may overlap.
                        let bytes = dram.slice(addr, row_bytes).unwrap_or_default();
                        let (addr, bytes, digest) = (addr as u32, row_bytes as u32, Event::digest(bytes));
                        self.trace.events.push(Event::Write { insn: at as u32, addr, bytes, digest });
                    }
                }
                if let Some(checker) = &mut self.checker {
                    checker.store(here, &rows, &self.config, &self.bases)?;
                }
                return Ok(None);
            }
            Insn::Finish(_) => return Ok(None),
            Insn::Gemm(_) | Insn::Alu(_) | Insn::Requant(_) | Insn::Lane(_) => {
                return self.arithmetic(queue, at, insn, first);
            }
        };
        transfer::load(&rows, &self.config, &self.bases, dram, &mut self.pads).map_err(fault)?;
        if matches!(rows.memory_type, MemoryType::Acc | MemoryType::Acc8) && !rows.is_nop() {
            self.pads.cleared.release(rows.sram(&self.config).map_err(fault)?);
        }
        if let Some(checker) = &mut self.checker {
            checker.load(here, &rows, &self.config, &self.bases)?;
        }
        Ok(None)
    }

    fn arithmetic(&mut self, queue: usize, at: usize, insn: &Insn, first: u32) -> Result<Option<u32>, SimError> {
        let Some(loops) = Loops::of(insn) else { return Ok(None) };
        let here = Here { stream: &self.fetched.stream, queue, insn: at };
        if first == 0 {
            loops
                .resolve(
                    &self.pads.uop,
                    self.layout,
                    &self.config,
                    &bounds(insn, &self.config, &self.options.compat),
                    &mut self.uops,
                )
                .map_err(|fault| SimError::Fault { at: here.stream.place(at), fault })?;
        }
        if loops.executions() == 0 {
            return Ok(None);
        }
        let fuse = self.fuse.filter(|_| matches!(insn, Insn::Gemm(_) | Insn::Lane(_)));
        if first == 0 {
            let parameters = fuse.map_or(*insn, Insn::Requant);
            let checked = params_in_acc(&parameters, &self.config);
            checked.map_err(|fault| SimError::Fault { at: here.stream.place(at), fault })?;
            if fuse.is_none() {
                self.pads.cleared.release_targets(&loops, &self.uops);
            }
        }
        let turns = u32::try_from(SLICE / loops.per_outer()).unwrap_or(u32::MAX).max(1);
        let end = first.saturating_add(turns).min(loops.outer.count);
        if let Some(checker) = &mut self.checker {
            checker.arithmetic(here, insn, fuse.as_ref(), &loops, first..end, &self.uops, &self.config)?;
        }
        let part = Part { loops: &loops, outer: first..end, uops: &self.uops };
        let (lanes, kernel) = (self.config.out_elem_bytes(), self.options.kernel);
        let Scratchpads { inp, wgt, acc, packed, out, cleared, .. } = &mut self.pads;
        let sums = &mut self.sums;
        let writes_out = match insn {
            _ if let Some(requant) = &fuse => {
                let config = &self.config;
                Fused { insn, requant, config, kernel, inp, wgt, packed, acc, cleared, sums }.run(&part);
                // The last micro-op of each turn.
                let last = &self.uops[self.uops.len() - 1..];
                if let Some(out) = out {
                    lanes::copy_out(&Part { uops: last, ..part.clone() }, acc, cleared, out, lanes);
                }
                false
            }
            Insn::Gemm(i) => {
                if i.reset {
                    lanes::clear(kernel, &part, acc, lanes);
                } else {
                    let outer = Axis { count: end - first, ..loops.outer };
                    let (uops, batch, inner) = (&self.uops[..], self.config.batch(), loops.inner);
                    GemmCall { uops, first, outer, inner, batch, packed, acc, sums }.run(kernel);
                }
                self.options.compat.gemm_writes_out(i.reset).unwrap_or(false)
            }
            Insn::Alu(i) => {
                lanes::alu(kernel, i, &self.options.compat, &part, acc, lanes);
                true
            }
            Insn::Requant(i) => {
                lanes::requant(kernel, i, &self.config, &part, inp, acc, cleared);
                true
            }
            Insn::Lane(i) => {
                lanes::lane(i, &self.config, &part, inp, wgt, acc);
                true
            }
            _ => false,
        };
        if writes_out && let Some(out) = out {
            lanes::copy_out(&part, acc, cleared, out, lanes);
        }
        Ok((end < loops.outer.count).then_some(end))
    }
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine")
            .field("config", &self.config)
            .field("options", &self.options)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

fn decode(bytes: &[u8], config: &HwConfig) -> Result<Vec<Insn>, SimError> {
    let words = bytes.as_chunks::<16>().0.iter().map(|bytes| u128::from_le_bytes(*bytes));
    words
        .enumerate()
        .map(|(insn, word)| Insn::decode(word, config).map_err(|source| SimError::Decode { insn, word, source }))
        .collect()
}

/// Whether the parameters of REQUANT `from_inp` and `fuse` lie in ACC.
fn params_in_acc(insn: &Insn, config: &HwConfig) -> Result<(), Fault> {
    let depth = config.acc_depth() as u64;
    match insn {
        Insn::Requant(i) if (i.from_inp || i.fuse) && u64::from(i.param) + 3 >= depth => {
            Err(Fault::Sram { memory: "ACC", unit: "element", index: u64::from(i.param) + 3, depth })
        }
        _ => Ok(()),
    }
}

/// How far the indices of an instruction may reach.
fn bounds(insn: &Insn, config: &HwConfig, compat: &Compat) -> Bounds {
    let dst = config.acc_depth();
    match insn {
        Insn::Gemm(i) if i.reset => {
            // Nothing is read, so only the destination matters.
            Bounds { dst, src: ("INP", "element", usize::MAX), wgt: None, tail: 0 }
        }
        Insn::Gemm(_) => {
            let (src, wgt) = (("INP", "element", config.inp_depth()), Some(("element", config.wgt_depth())));
            Bounds { dst, src, wgt, tail: 0 }
        }
        Insn::Lane(i) => {
            let (src, wgt) = (("INP", "vector", config.inp_vectors()), Some(("vector", config.wgt_vectors())));
            Bounds { dst, src, wgt: wgt.filter(|_| !i.max), tail: u64::from(i.more_taps) }
        }
        // An immediate takes the place of the source, except where the left operand is read from there.
        Insn::Alu(i) if i.use_imm && !compat.imm_reads_src() => {
            Bounds { dst, src: ("ACC", "element", usize::MAX), wgt: None, tail: 0 }
        }
        Insn::Requant(i) if i.from_inp => {
            Bounds { dst, src: ("INP", "vector", config.inp_vectors()), wgt: None, tail: 0 }
        }
        Insn::Requant(_) => Bounds { dst, src: ("ACC", "element", config.acc_depth()), wgt: None, tail: 3 },
        _ => Bounds { dst, src: ("ACC", "element", config.acc_depth()), wgt: None, tail: 0 },
    }
}
