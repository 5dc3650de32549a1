//! A simulated device: the hardware, its memory, and what its registers do not tell.

use std::sync::Arc;

use tandem_driver::BusError;
use tandem_isa::{ErrorCode, Reg, Trace, control};

use super::bus::TsimOptions;
use super::collect::{Fetched, collect};
use super::diagnose;
use super::error::{Hung, Waits};
use super::sys::{RawOptions, Sim, WaveSink, stop};
use super::timeline::Recorder;
use super::waves::Waves;
use super::{Activity, Model, Timeline, TsimError};
use crate::error::Place;
use crate::machine::Step;
use crate::{Dram, Launch, Machine, Options, Scratchpads, SimError};

/// Cycles that a register access may take; stress withholds every channel for a while.
const ACCESS_CYCLES: u64 = 20_000;
/// Cycles that hardware may take to finish its transactions after a reset was asked for.
const DRAIN_CYCLES: u64 = 200_000;

/// The device behind a bus and its monitors.
pub(super) struct Tsim {
    sim: Sim,
    model: Arc<Model>,
    pub dram: Dram,
    options: TsimOptions,
    state: State,
    launch: Launch,
    fetched: Fetched,
    trace: Trace,
    recorder: Recorder,
    /// Of all launches but the last.
    activity: Activity,
    error: Option<TsimError>,
    check: Option<Check>,
    waves: Option<Arc<Waves>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Never launched, or reset.
    Idle,
    /// The functional simulator runs the program first.
    Checking,
    /// The hardware runs it.
    Running,
    /// The hardware has raised its interrupt; what for is not read yet.
    Ended,
    /// The hardware is done, or has stopped the program.
    Settled,
    /// The functional simulator has refused the program, so the hardware never saw it.
    Refused,
    /// The hardware misbehaved; nothing but a reset helps.
    Broken,
}

/// The functional simulator beside the hardware. Its scratchpads follow those of the hardware from launch to launch.
struct Check {
    machine: Machine,
    dram: Dram,
    before: Scratchpads,
}

impl Tsim {
    pub fn new(model: Arc<Model>, options: TsimOptions) -> Result<Tsim, TsimError> {
        if options.waves.is_some() && !model.variant().waves {
            return Err(TsimError::NoWaves);
        }
        let waves = options.waves.as_deref().map(Waves::create).transpose()?.map(Arc::new);
        let sink = waves.clone().map(|waves| -> Box<WaveSink> { Box::new(move |text| waves.feed(text)) });
        let timing = options.dram.clamped();
        let raw = RawOptions {
            stress_seed: options.stress.unwrap_or(0),
            watchdog_cycles: options.watchdog_cycles,
            latency: timing.latency,
            bits_per_cycle: timing.bits_per_cycle,
            outstanding_reads: timing.outstanding_reads,
            outstanding_writes: timing.outstanding_writes,
            mutant: options.mutant,
            stress: options.stress.is_some().into(),
            trace: options.trace.into(),
            timeline: options.timeline.into(),
            scramble: options.scramble.into(),
        };
        let config = model.config();
        let check = options.check.then(|| {
            let machine = Machine::new(config, Options::default());
            let before = machine.scratchpads().clone();
            Check { machine, dram: Dram::new(options.dram_limit), before }
        });
        Ok(Tsim {
            sim: Sim::new(Arc::clone(&model), &raw, sink),
            dram: Dram::new(options.dram_limit),
            model,
            options,
            state: State::Idle,
            launch: Launch::default(),
            fetched: Fetched::default(),
            trace: Trace::default(),
            recorder: Recorder::default(),
            activity: Activity::default(),
            error: None,
            check,
            waves,
        })
    }

    pub fn state(&self) -> State {
        self.state
    }

    pub fn error(&self) -> Option<&TsimError> {
        self.error.as_ref()
    }

    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Of the last launch.
    pub fn activity(&self) -> Activity {
        Activity::of(self.sim.view())
    }

    /// Of all launches.
    pub fn total_activity(&self) -> Activity {
        self.activity + self.activity()
    }

    pub fn timeline(&self) -> Timeline {
        self.recorder.timeline(self.total_activity())
    }

    pub fn set_trace(&mut self, on: bool) {
        self.options.trace = on;
        self.sim.collect(on, self.options.timeline);
    }

    /// Completes the file of waveforms; later cycles are not recorded.
    pub fn finish_waves(&mut self) -> Result<(), TsimError> {
        self.sim.flush();
        self.waves.as_ref().map_or(Ok(()), |waves| waves.finish())
    }

    /// Lets whatever runs go on for a while: cycles of the hardware, or steps of the functional simulator.
    ///
    /// # Errors
    /// The hardware misbehaves.
    pub fn advance(&mut self, cycles: u64) -> Result<(), TsimError> {
        match self.state {
            State::Checking => {
                self.check_on();
                Ok(())
            }
            State::Running => self.simulate(cycles).map(drop),
            State::Ended => self.settle(),
            State::Idle | State::Settled | State::Refused | State::Broken => Ok(()),
        }
    }

    pub fn read(&mut self, reg: Reg) -> Result<u32, BusError> {
        let made_up = match (self.state, reg) {
            (State::Checking, Reg::Control) => Some(control::LAUNCH),
            (State::Refused, Reg::Control) => Some(control::ERROR),
            (State::Refused, Reg::ErrorCode) => self.refusal().map(|error| error.code().code()),
            (State::Refused, Reg::ErrorInsn) => self.refusal().map(|error| error.insn().unwrap_or(0) as u32),
            _ => None,
        };
        match made_up {
            Some(value) => Ok(value),
            None => self.access(false, reg, 0).map_err(|error| fault("reading a register", &error)),
        }
    }

    pub fn write(&mut self, reg: Reg, value: u32) -> Result<(), BusError> {
        let done = match (reg, self.state) {
            (Reg::Control, _) if value & control::RESET != 0 => self.reset(),
            (_, State::Checking) => Ok(()),
            (Reg::Control, State::Running) => self.access(true, reg, value).map(drop),
            (Reg::Control, _) if value & control::LAUNCH != 0 => self.launch(),
            _ => {
                if self.state != State::Running {
                    // What the hardware keeps of it.
                    self.launch.write(self.model.config(), reg, value);
                }
                self.access(true, reg, value).map(drop)
            }
        };
        done.map_err(|error| fault("writing a register", &error))
    }

    fn reset(&mut self) -> Result<(), TsimError> {
        match self.state {
            State::Broken => self.sim.reset(),
            State::Refused => {}
            State::Checking => {
                if let Some(check) = &mut self.check {
                    check.undo();
                }
            }
            State::Idle | State::Running | State::Ended | State::Settled => {
                let now = self.sim.view().now;
                self.state = State::Idle;
                self.access(true, Reg::Control, control::RESET)?;
                while self.sim.view().running != 0 {
                    if self.sim.view().now - now > DRAIN_CYCLES {
                        self.sim.reset();
                        break;
                    }
                    self.simulate(64)?;
                }
                self.recorder.close(self.sim.view().now, &self.fetched, self.model.config());
            }
        }
        self.state = State::Idle;
        Ok(())
    }

    fn launch(&mut self) -> Result<(), TsimError> {
        self.error = None;
        let Some(check) = &mut self.check else { return self.start() };
        match check.begin(&self.dram, &self.launch) {
            Ok(()) => self.state = State::Checking,
            Err(error) => self.refuse(error),
        }
        Ok(())
    }

    /// A slice of the functional run.
    fn check_on(&mut self) {
        let Some(check) = &mut self.check else { return };
        match check.slice() {
            Ok(false) => {}
            Ok(true) => {
                if let Err(error) = self.start() {
                    self.error.get_or_insert(error);
                }
            }
            Err(error) => {
                check.undo();
                self.refuse(error);
            }
        }
    }

    fn refuse(&mut self, error: SimError) {
        self.state = State::Refused;
        self.error = Some(TsimError::Refused(error));
    }

    fn refusal(&self) -> Option<&SimError> {
        match &self.error {
            Some(TsimError::Refused(error)) => Some(error),
            _ => None,
        }
    }

    /// Launches the hardware.
    fn start(&mut self) -> Result<(), TsimError> {
        self.fetched = Fetched::new(&self.dram, &self.launch);
        self.trace.events.clear();
        self.activity += self.activity();
        self.sim.clear();
        self.state = State::Running;
        self.access(true, Reg::Control, control::LAUNCH).map(drop)
    }

    /// A register access of the hardware.
    fn access(&mut self, write: bool, reg: Reg, value: u32) -> Result<u32, TsimError> {
        if self.state == State::Broken
            && let Some(error) = &self.error
        {
            return Err(error.clone());
        }
        let begun = self.sim.view().now;
        self.sim.access(write, reg.offset(), value);
        while self.simulate(256)? & stop::ACCESS == 0 {
            if self.sim.view().now - begun > ACCESS_CYCLES {
                return Err(self.breaks(TsimError::Access { what: "does not answer", reg: reg.name() }));
            }
        }
        let view = self.sim.view();
        if view.access_resp != 0 {
            return Err(TsimError::Access { what: "refuses", reg: reg.name() });
        }
        Ok(view.access_value)
    }

    /// Runs the hardware and deals with what stops it early.
    fn simulate(&mut self, cycles: u64) -> Result<u32, TsimError> {
        let stopped = self.sim.run(&mut self.dram, cycles);
        let config = self.model.config();
        for event in self.sim.events() {
            if self.options.trace {
                collect(event, &self.fetched, config, &self.dram, &mut self.trace);
            }
            if self.options.timeline {
                self.recorder.record(event, &self.fetched, config);
            }
        }
        if stopped & stop::VIOLATION != 0 {
            let sentence = self.sim.view().violation();
            return Err(self.breaks(TsimError::Violation(sentence)));
        }
        if stopped & stop::WATCHDOG != 0 {
            let view = self.sim.view();
            if !diagnose::is_computing(view, &self.fetched, config) {
                let (cycles, waits) = (view.now - view.progress_at, self.waits());
                return Err(self.breaks(TsimError::Hung(Hung { cycles, waits })));
            }
            self.sim.touch();
        }
        if self.state == State::Running && self.sim.view().signalled != 0 {
            self.state = State::Ended;
        }
        Ok(stopped)
    }

    /// Reads what the interrupt was for.
    fn settle(&mut self) -> Result<(), TsimError> {
        let waits = self.waits();
        self.state = State::Settled;
        if self.access(false, Reg::Control, 0)? & control::ERROR != 0 {
            let code = self.access(false, Reg::ErrorCode, 0)?;
            let insn = self.access(false, Reg::ErrorInsn, 0)?;
            let code = ErrorCode::from_code(code).unwrap_or(ErrorCode::None);
            let at: Place = self.fetched.place(insn, self.model.config());
            self.error = Some(TsimError::Stopped { code, at, waits });
        }
        // The last cycle of the program is recorded with the one after it.
        for _ in 0..8 {
            if self.sim.view().running == 0 {
                break;
            }
            self.simulate(1)?;
        }
        Ok(())
    }

    fn waits(&self) -> Vec<Waits> {
        diagnose::waits(self.sim.view(), &self.fetched, self.model.config())
    }

    fn breaks(&mut self, error: TsimError) -> TsimError {
        self.recorder.close(self.sim.view().now, &self.fetched, self.model.config());
        self.state = State::Broken;
        self.error = Some(error.clone());
        error
    }
}

impl Check {
    fn begin(&mut self, dram: &Dram, launch: &Launch) -> Result<(), SimError> {
        self.dram.copy_from(dram);
        self.before.clone_from(self.machine.scratchpads());
        self.machine.launch(&self.dram, launch)
    }

    /// Runs some instructions; true when the program is through.
    fn slice(&mut self) -> Result<bool, SimError> {
        for _ in 0..64 {
            match self.machine.step(&mut self.dram)? {
                Step::Ran => {}
                Step::Paused => break,
                Step::Finished => return Ok(true),
            }
        }
        Ok(false)
    }

    /// The hardware will not run this program, so its scratchpads stay as they are.
    fn undo(&mut self) {
        self.machine.abandon();
        self.machine.set_scratchpads(&self.before);
    }
}

/// An error of the hardware or of the harness as the driver sees it.
pub(super) fn fault(action: &str, error: &TsimError) -> BusError {
    BusError::Transfer { action: format!("{action} of the simulated hardware"), detail: error.to_string() }
}

impl std::fmt::Debug for Tsim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tsim").field("model", &self.model.folder()).field("state", &self.state).finish_non_exhaustive()
    }
}
