//! What a design takes for the models, foretold or measured, and whether it computes the right thing.

use super::log::{Log, Stage};
use super::schedule::{cycles, records, schedules};
use super::subject::{Piece, Subject};
use crate::simulation::DRAM_LIMIT;
use crate::tools;
use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tandem_boards::{Board, core, sha256, shell, target};
use tandem_driver::{Bus, Device};
use tandem_hw::shell::board_cells;
use tandem_isa::HwConfig;
use tandem_jit::tune::Record;
use tandem_jit::{Compiled, Options};
use tandem_sim::tsim::{BuildStep, DramModel, Model, TsimBus, TsimOptions, Variant};
use tandem_tensor::Tensor;

/// Wall-clock time for one run of simulated hardware, whose own watchdog finds out when it hangs.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What came of running the models on the hardware of a design.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It computes what the reference computes, in so many cycles of one inference of each model.
    Exact(Vec<u64>),
    /// It computes something else: the first difference.
    Differs(String),
}

/// The models on a board, to be run by designs.
pub struct Trials<'a> {
    /// The board.
    pub board: &'a Board,
    /// The models.
    pub subjects: &'a [Subject],
    /// The memory of the simulated hardware.
    pub dram: DramModel,
    /// Tiles of each layer that are looked at; with one the compiler chooses alone.
    pub schedules: usize,
}

/// The models as programs of a design.
pub struct Programs {
    /// A list for each model, with a program for each piece.
    compiled: Vec<Vec<Compiled>>,
    /// Predicted cycles of an inference of each model.
    pub predicted: Vec<u64>,
    /// The schedules that are not the compiler's own choice.
    pub schedules: Vec<Record>,
}

impl Trials<'_> {
    /// The models as the compiler schedules them for a design, or why it cannot have them.
    ///
    /// # Errors
    /// The reason.
    pub fn compile(&self, config: &HwConfig) -> Result<Programs, String> {
        self.compile_with(config, &[], Vec::new())
    }

    /// The same with the best schedules that are found by prediction.
    ///
    /// # Errors
    /// The reason.
    pub fn tune(&self, config: &HwConfig) -> Result<Programs, String> {
        let found = schedules(self.subjects, config, &self.dram, self.schedules).map_err(|e| e.to_string())?;
        let records = records(self.subjects, &found, config, &self.dram);
        self.compile_with(config, &found, records)
    }

    /// What the hardware of a design, as it is built for the board, makes of the models, cycle by cycle. It is simulated unless the
    /// log has the result; `progress` hears of the build. Also tells whether the log had it.
    ///
    /// # Errors
    /// A tool that is missing or fails, a device that hangs, a log that cannot be written.
    pub fn measure(
        &self,
        config: &HwConfig,
        programs: &Programs,
        log: &Log,
        progress: &mut dyn FnMut(BuildStep),
    ) -> Result<(Found, bool)> {
        let cells = board_cells(&target(self.board, config), &shell(self.board)?);
        let verilog = format!("{}\n{cells}", core(self.board, config)?);
        let key = self.key(config, &verilog, programs);
        if let Some(found) = log.get(Stage::Measured, &key) {
            return Ok((found, true));
        }
        let (tools, cache) = (tools::find()?, tools::model_cache());
        let model = Model::build_from(&verilog, config, &tools, &cache, Variant::default(), progress)?;
        let options = TsimOptions { dram: self.dram, check: true, dram_limit: DRAM_LIMIT, ..TsimOptions::default() };
        let found = self.run(config, programs, Box::new(TsimBus::new(model, options)?))?;
        log.put(Stage::Measured, &key, &found)?;
        Ok((found, false))
    }

    /// The programs of all pieces of all models by these schedules, or the compiler's own, or why there are none.
    fn compile_with(
        &self,
        config: &HwConfig,
        options: &[Vec<Options>],
        schedules: Vec<Record>,
    ) -> Result<Programs, String> {
        let shell = shell(self.board).map_err(|e| e.to_string())?;
        shell.check(config).map_err(|e| e.to_string())?;
        let most = self.board.memory.bytes();
        let (mut compiled, mut predicted) = (Vec::new(), Vec::new());
        for (at, subject) in self.subjects.iter().enumerate() {
            let piece = |(number, piece): (usize, &Piece)| {
                let options = options.get(at).and_then(|pieces| pieces.get(number)).cloned().unwrap_or_default();
                tandem_jit::compile_with(&piece.graph, config, &options).map_err(|e| e.to_string())
            };
            let programs = subject.pieces.iter().enumerate().map(piece).collect::<Result<Vec<Compiled>, String>>()?;
            let needed: u64 = programs.iter().map(|compiled| compiled.program.dram_bytes()).sum();
            if needed > most {
                return Err(format!("{} needs {needed} bytes of memory, and the board has {most}", subject.name));
            }
            let launches = |compiled: &Compiled| subject.samples.div_ceil(compiled.samples.max(1)) as u64;
            let all = programs.iter().map(|compiled| launches(compiled) * cycles(&compiled.program, &self.dram));
            predicted.push(all.sum::<u64>() / subject.samples.max(1) as u64);
            compiled.push(programs);
        }
        Ok(Programs { compiled, predicted, schedules })
    }

    /// The digest of everything that a measurement depends on.
    fn key(&self, config: &HwConfig, verilog: &str, programs: &Programs) -> String {
        let mut text = format!("{}\n{verilog}\n{:?}\n", config.to_toml(), self.dram);
        let tensors = |text: &mut String, all: &[Vec<Tensor>]| {
            let bytes: Vec<u8> = all.iter().flatten().flat_map(Tensor::to_le_bytes).collect();
            text.push_str(&sha256(&bytes));
        };
        for (subject, programs) in self.subjects.iter().zip(&programs.compiled) {
            for (piece, compiled) in subject.pieces.iter().zip(programs) {
                text.push_str(&sha256(format!("{:?}", compiled.program).as_bytes()));
                tensors(&mut text, &piece.inputs);
                tensors(&mut text, &piece.expected);
            }
        }
        sha256(text.as_bytes())
    }

    /// Runs all models on a device and compares every tensor that it hands back.
    fn run(&self, config: &HwConfig, programs: &Programs, bus: Box<dyn Bus + Send>) -> Result<Found> {
        let mut device = Device::open(bus, config)?;
        let mut cycles = Vec::with_capacity(self.subjects.len());
        for (subject, programs) in self.subjects.iter().zip(&programs.compiled) {
            let mut sum = 0;
            for (piece, compiled) in subject.pieces.iter().zip(programs) {
                match run_piece(&mut device, piece, compiled) {
                    Ok(Ok(taken)) => sum += taken,
                    Ok(Err(difference)) => return Ok(Found::Differs(format!("{}: {difference}", subject.name))),
                    Err(error) => return Err(anyhow!("{}: {error:#}", subject.name)),
                }
            }
            cycles.push(sum / subject.samples.max(1) as u64);
        }
        Ok(Found::Exact(cycles))
    }
}

/// Runs a piece on all inferences: the cycles, or the first difference.
fn run_piece(device: &mut Device, piece: &Piece, compiled: &Compiled) -> Result<Result<u64, String>> {
    let loaded = device.load(&compiled.program)?;
    let mut run = || -> Result<Result<u64, String>> {
        let (rows, mut cycles) = (compiled.samples.max(1), 0);
        for (inputs, expected) in piece.inputs.chunks(rows).zip(piece.expected.chunks(rows)) {
            for (at, binding) in compiled.inputs.iter().enumerate() {
                let column: Vec<&Tensor> = inputs.iter().filter_map(|sample| sample.get(at)).collect();
                device.write(&loaded, binding.section, 0, &binding.pack(&column)?)?;
            }
            cycles += device.run(&loaded, PATIENCE)?.cycles;
            for (at, binding) in compiled.outputs.iter().enumerate() {
                let bytes = device.read(&loaded, binding.section, 0, binding.bytes())?;
                for (found, sample) in binding.unpack(&bytes, inputs.len())?.iter().zip(expected) {
                    if let Some(difference) = sample.get(at).and_then(|expected| difference(expected, found)) {
                        return Ok(Err(format!("'{}', {difference}", binding.name)));
                    }
                }
            }
        }
        Ok(Ok(cycles))
    };
    let result = run();
    device.unload(loaded)?;
    result
}

/// The first element in which a tensor is not what it should be, in words.
fn difference(expected: &Tensor, found: &Tensor) -> Option<String> {
    let (want, have) = (expected.to_le_bytes(), found.to_le_bytes());
    if want == have {
        return None;
    }
    let size = expected.dtype().bytes().max(1);
    let at =
        want.iter().zip(&have).position(|(want, have)| want != have).map_or(want.len().min(have.len()), |byte| byte);
    let element = at / size;
    let number = |tensor: &Tensor| tensor.to_f64().get(element).map_or_else(|| "nothing".to_owned(), f64::to_string);
    Some(format!("element {element}: the reference has {}, the accelerator {}", number(expected), number(found)))
}

#[cfg(test)]
mod tests {
    use super::super::subject;
    use super::*;
    use tandem_sim::{FsimBus, Options};

    fn digits() -> Vec<Subject> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/digits/digits_int8.tflite").to_owned();
        let machine = HwConfig::preset("tiny").unwrap();
        subject::load(&[path], &machine, 1, 3).unwrap()
    }

    fn trials<'a>(board: &'a Board, subjects: &'a [Subject], dram: DramModel) -> Trials<'a> {
        Trials { board, subjects, dram, schedules: 4 }
    }

    /// What the functional simulator makes of the models on a machine.
    fn simulated(trials: &Trials<'_>, config: &HwConfig) -> Found {
        let bus = FsimBus::with_options(config, Options::default(), DRAM_LIMIT);
        trials.run(config, &trials.tune(config).unwrap(), Box::new(bus)).unwrap()
    }

    #[test]
    fn a_design_that_computes_the_right_thing_tells_its_cycles() {
        let (board, subjects) = (tandem_boards::find("ulx3s-85f").unwrap(), digits());
        let trials = trials(&board, &subjects, DramModel::ideal());
        let of = |preset: &str| {
            let config = HwConfig::preset(preset).unwrap();
            let Found::Exact(cycles) = simulated(&trials, &config) else { panic!("{preset} differs") };
            (cycles[0], trials.compile(&config).unwrap().predicted[0])
        };
        let (small, large) = (of("tiny"), of("wide"));
        assert!(small.0 > large.0 && small.1 > large.1, "sixteen MACs are slower than a thousand: {small:?} {large:?}");
    }

    #[test]
    fn a_design_that_computes_something_else_is_told_by_its_first_difference() {
        let (board, mut subjects) = (tandem_boards::find("ulx3s-85f").unwrap(), digits());
        let expected = &mut subjects[0].pieces[0].expected[0][0];
        let mut codes = expected.as_slice::<i8>().unwrap().to_vec();
        codes[1] ^= 1;
        *expected = Tensor::from_vec(expected.shape().clone(), codes).unwrap();
        let found = simulated(&trials(&board, &subjects, DramModel::ideal()), &HwConfig::preset("tiny").unwrap());
        assert!(matches!(&found, Found::Differs(what) if what.contains("element 1")), "{found:?}");
    }

    #[test]
    fn a_board_without_room_for_the_model_is_a_reason_and_no_failure() {
        let (mut board, subjects) = (tandem_boards::find("ulx3s-85f").unwrap(), digits());
        board.memory = tandem_boards::Memory::BlockRam { bytes: 4096 };
        let reason = trials(&board, &subjects, DramModel::ideal()).compile(&HwConfig::preset("tiny").unwrap()).err();
        assert!(reason.as_ref().is_some_and(|why| why.contains("the board has 4096")), "{reason:?}");
    }

    #[test]
    fn a_digest_depends_on_hardware_memory_and_inputs() {
        let (board, subjects, other) = (tandem_boards::find("ulx3s-85f").unwrap(), digits(), digits());
        let config = HwConfig::preset("tiny").unwrap();
        let ideal = trials(&board, &subjects, DramModel::ideal());
        let programs = ideal.compile(&config).unwrap();
        let key = ideal.key(&config, "module a", &programs);
        let same = trials(&board, &other, DramModel::ideal());
        assert_eq!(same.key(&config, "module a", &same.compile(&config).unwrap()), key);
        assert_ne!(ideal.key(&config, "module b", &programs), key);
        assert_ne!(trials(&board, &subjects, DramModel::zynq()).key(&config, "module a", &programs), key);
    }
}
