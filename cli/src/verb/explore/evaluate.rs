//! What a design takes for the models, foretold or measured, and whether it computes the right thing.

use super::log::{Log, Stage};
use super::subject::{Piece, Subject};
use crate::machine::DRAM_LIMIT;
use crate::tools;
use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tandem_boards::{Board, core, sha256, shell, target};
use tandem_driver::{Bus, Device};
use tandem_hw::shell::board_cells;
use tandem_isa::HwConfig;
use tandem_jit::Compiled;
use tandem_sim::tsim::{BuildStep, DramModel, Model, TsimBus, TsimOptions, Variant};
use tandem_sim::{FsimBus, Options};
use tandem_tensor::Tensor;

/// Wall-clock time for one run of simulated hardware, whose own watchdog finds out when it hangs.
const PATIENCE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What came of running the models on a design.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It computes what the reference computes, in so many cycles of one inference of each model.
    Exact(Vec<u64>),
    /// It computes something else: the first difference.
    Differs(String),
    /// It cannot be: the reason.
    Impossible(String),
}

/// The models on a board, to be run by designs.
pub struct Trials<'a> {
    /// The board.
    pub board: &'a Board,
    /// The models.
    pub subjects: &'a [Subject],
    /// The memory of the simulated hardware.
    pub dram: DramModel,
}

impl Trials<'_> {
    /// What the functional simulator makes of a design, with its estimate of cycles.
    ///
    /// # Errors
    /// A device that fails.
    pub fn screen(&self, config: &HwConfig) -> Result<Found> {
        let programs = match self.compile(config) {
            Ok(programs) => programs,
            Err(reason) => return Ok(Found::Impossible(reason)),
        };
        let bus = FsimBus::with_options(config, Options::default(), DRAM_LIMIT);
        self.run(config, &programs, Box::new(bus))
    }

    /// What the hardware of a design, as it is built for the board, makes of the models, cycle by cycle. It is simulated unless the
    /// log has the result; `progress` hears of the build. Also tells whether the log had it.
    ///
    /// # Errors
    /// A tool that is missing or fails, a device that hangs, a log that cannot be written.
    pub fn measure(
        &self,
        config: &HwConfig,
        log: &mut Log,
        progress: &mut dyn FnMut(BuildStep),
    ) -> Result<(Found, bool)> {
        let programs = match self.compile(config) {
            Ok(programs) => programs,
            Err(reason) => return Ok((Found::Impossible(reason), false)),
        };
        let cells = board_cells(&target(self.board, config), &shell(self.board)?);
        let verilog = format!("{}\n{cells}", core(self.board, config)?);
        let key = self.key(config, &verilog, &programs);
        if let Some(found) = log.get(Stage::Measured, &key) {
            return Ok((found, true));
        }
        let (tools, cache) = (tools::find()?, tools::model_cache());
        let model = Model::build_from(&verilog, config, &tools, &cache, Variant::default(), progress)?;
        let options = TsimOptions { dram: self.dram, check: true, dram_limit: DRAM_LIMIT, ..TsimOptions::default() };
        let found = self.run(config, &programs, Box::new(TsimBus::new(model, options)?))?;
        log.put(Stage::Measured, &key, &found)?;
        Ok((found, false))
    }

    /// The programs of all pieces of all models, or why there are none.
    fn compile(&self, config: &HwConfig) -> Result<Vec<Vec<Compiled>>, String> {
        let shell = shell(self.board).map_err(|e| e.to_string())?;
        shell.check(config).map_err(|e| e.to_string())?;
        let piece = |piece: &Piece| tandem_jit::compile(&piece.graph, config).map_err(|e| e.to_string());
        let programs: Vec<Vec<Compiled>> = self
            .subjects
            .iter()
            .map(|subject| subject.pieces.iter().map(piece).collect::<Result<_, _>>())
            .collect::<Result<_, String>>()?;
        let most = self.board.memory.bytes();
        for (subject, programs) in self.subjects.iter().zip(&programs) {
            let needed: u64 = programs.iter().map(|compiled| compiled.program.dram_bytes()).sum();
            if needed > most {
                return Err(format!("{} needs {needed} bytes of memory, and the board has {most}", subject.name));
            }
        }
        Ok(programs)
    }

    /// The digest of everything that a measurement depends on.
    fn key(&self, config: &HwConfig, verilog: &str, programs: &[Vec<Compiled>]) -> String {
        let mut text = format!("{}\n{verilog}\n{:?}\n", config.to_toml(), self.dram);
        let tensors = |text: &mut String, all: &[Vec<Tensor>]| {
            let bytes: Vec<u8> = all.iter().flatten().flat_map(Tensor::to_le_bytes).collect();
            text.push_str(&sha256(&bytes));
        };
        for (subject, programs) in self.subjects.iter().zip(programs) {
            for (piece, compiled) in subject.pieces.iter().zip(programs) {
                text.push_str(&sha256(format!("{:?}", compiled.program).as_bytes()));
                tensors(&mut text, &piece.inputs);
                tensors(&mut text, &piece.expected);
            }
        }
        sha256(text.as_bytes())
    }

    /// Runs all models on a device and compares every tensor that it hands back.
    fn run(&self, config: &HwConfig, programs: &[Vec<Compiled>], bus: Box<dyn Bus + Send>) -> Result<Found> {
        let mut device = Device::open(bus, config)?;
        let mut cycles = Vec::with_capacity(self.subjects.len());
        for (subject, programs) in self.subjects.iter().zip(programs) {
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

    fn digits() -> Vec<Subject> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/digits/digits_int8.tflite").to_owned();
        let machine = HwConfig::preset("tiny").unwrap();
        subject::load(&[path], &machine, 1, 3).unwrap()
    }

    #[test]
    fn a_design_that_computes_the_right_thing_tells_its_cycles() {
        let (board, subjects) = (tandem_boards::find("ulx3s-85f").unwrap(), digits());
        let trials = Trials { board: &board, subjects: &subjects, dram: DramModel::ideal() };
        let of = |preset: &str| match trials.screen(&HwConfig::preset(preset).unwrap()).unwrap() {
            Found::Exact(cycles) => cycles[0],
            other => panic!("{other:?}"),
        };
        assert!(of("tiny") > of("wide"), "sixteen MACs are slower than a thousand");
    }

    #[test]
    fn a_design_that_computes_something_else_is_told_by_its_first_difference() {
        let (board, mut subjects) = (tandem_boards::find("ulx3s-85f").unwrap(), digits());
        let expected = &mut subjects[0].pieces[0].expected[0][0];
        let mut codes = expected.as_slice::<i8>().unwrap().to_vec();
        codes[1] ^= 1;
        *expected = Tensor::from_vec(expected.shape().clone(), codes).unwrap();
        let trials = Trials { board: &board, subjects: &subjects, dram: DramModel::ideal() };
        let found = trials.screen(&HwConfig::preset("tiny").unwrap()).unwrap();
        assert!(matches!(&found, Found::Differs(what) if what.contains("element 1")), "{found:?}");
    }

    #[test]
    fn a_board_without_room_for_the_model_is_a_reason_and_no_failure() {
        let (mut board, subjects) = (tandem_boards::find("ulx3s-85f").unwrap(), digits());
        board.memory = tandem_boards::Memory::BlockRam { bytes: 4096 };
        let trials = Trials { board: &board, subjects: &subjects, dram: DramModel::ideal() };
        let found = trials.screen(&HwConfig::preset("tiny").unwrap()).unwrap();
        assert!(matches!(&found, Found::Impossible(why) if why.contains("the board has 4096")), "{found:?}");
    }

    #[test]
    fn a_digest_depends_on_hardware_memory_and_inputs() {
        let (board, subjects, other) = (tandem_boards::find("ulx3s-85f").unwrap(), digits(), digits());
        let config = HwConfig::preset("tiny").unwrap();
        let trials = Trials { board: &board, subjects: &subjects, dram: DramModel::ideal() };
        let programs = trials.compile(&config).unwrap();
        let key = trials.key(&config, "module a", &programs);
        let same = Trials { board: &board, subjects: &other, dram: DramModel::ideal() };
        assert_eq!(same.key(&config, "module a", &same.compile(&config).unwrap()), key);
        assert_ne!(trials.key(&config, "module b", &programs), key);
        let slow = Trials { board: &board, subjects: &subjects, dram: DramModel::zynq() };
        assert_ne!(slow.key(&config, "module a", &programs), key);
    }
}
