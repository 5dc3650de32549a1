//! Opcode vectors: what single instructions make of given bits, recorded on one device and compared with another.
//!
//! The simulator runs kernels by what the PTX ISA says. Where the ISA leaves something open, in approximations and in the sums
//! of tensor instructions, or where the simulator is wrong, only hardware can tell. [`record`] runs a set of opcodes on any
//! [`Device`]; the [`Vectors`] that it returns are kept as JSON and held against those of another with [`compare`].

mod inputs;
mod opcodes;

use self::inputs::Words;
use self::opcodes::Opcode;
use crate::cache::Hash;
use crate::device::{Args, Buffer, Device, Function, Launch};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance, Source};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use tandem_tensor::DType;

static VECTORS: Source = Source { name: "vectors.cu", text: include_str!("../../kernels/vectors.cu") };

/// What opcodes made of their inputs on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vectors {
    /// Name of the device.
    pub device: String,
    /// `cuda` or `cuda-sim`.
    pub backend: String,
    /// The inputs by name, each for several opcodes.
    pub inputs: BTreeMap<String, Inputs>,
    /// The results.
    pub opcodes: Vec<Vector>,
}

/// What threads are given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// Hash of all words.
    pub hash: String,
    /// Words of one thread.
    pub words: usize,
    /// The words of all threads, thread after thread; those of tensor instructions, which tell a reader nothing, are left out.
    #[serde(with = "hex", default, skip_serializing_if = "Vec::is_empty")]
    pub threads: Vec<u32>,
}

/// The results of one opcode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// The opcode with its modifiers, and what else tells it from others.
    pub opcode: String,
    /// Name of its inputs.
    pub inputs: String,
    /// How results are compared.
    pub comparison: Comparison,
    /// Words of one thread.
    pub words: usize,
    /// The words of all threads, thread after thread.
    #[serde(with = "hex")]
    pub results: Vec<u32>,
}

/// How the results of two devices are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// The ISA leaves nothing open: bit by bit.
    Exact,
    /// Single precision, by units of the last place.
    F32,
    /// Two of binary16 in a word, by units of the last place.
    F16x2,
    /// Two of bfloat16 in a word, by units of the last place.
    Bf16x2,
}

/// Where two devices do not agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Difference {
    /// An opcode was recorded on one of the two alone, or with other inputs: what is compared is not the same.
    Incomparable {
        /// The opcode.
        opcode: String,
        /// Why.
        why: String,
    },
    /// An opcode that leaves nothing open has other bits; this is the first place.
    Bits {
        /// The opcode.
        opcode: String,
        /// Where.
        place: Place,
        /// How many words of how many differ.
        count: (usize, usize),
    },
    /// An approximation has other bits; this is the place of the largest distance.
    Ulps {
        /// The opcode.
        opcode: String,
        /// Where.
        place: Place,
        /// Units of the last place between the two; none where one alone is a NaN.
        ulps: Option<u64>,
        /// How many words of how many differ.
        count: (usize, usize),
    },
}

/// One word of results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The thread.
    pub thread: usize,
    /// Its word.
    pub word: usize,
    /// What the thread was given, where that was recorded.
    pub input: Vec<u32>,
    /// The word of the first device.
    pub a: u32,
    /// The word of the second.
    pub b: u32,
}

impl Difference {
    /// Whether one of the two must be wrong: all but approximations that are numbers on both.
    pub fn is_mistake(&self) -> bool {
        !matches!(self, Difference::Ulps { ulps: Some(_), .. })
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Incomparable { opcode, why } => write!(f, "{opcode}: {why}"),
            Difference::Bits { opcode, place, count: (count, of) } => {
                write!(f, "{opcode}: {count} of {of} words differ, first {place}")
            }
            Difference::Ulps { opcode, place, ulps: Some(ulps), count: (count, of) } => {
                write!(f, "{opcode}: {count} of {of} words differ by up to {ulps} ulp, {place}")
            }
            Difference::Ulps { opcode, place, ulps: None, count: (count, of) } => {
                write!(f, "{opcode}: {count} of {of} words differ, and one alone is a NaN {place}")
            }
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in word {} of thread {}: {:#010x} and {:#010x}", self.word, self.thread, self.a, self.b)?;
        if !self.input.is_empty() {
            let words: Vec<String> = self.input.iter().map(|word| format!("{word:#010x}")).collect();
            write!(f, " of {}", words.join(", "))?;
        }
        Ok(())
    }
}

/// Runs all opcodes on a device.
///
/// # Errors
/// Unsupported for a device that is no Hopper; those of compiling and running.
pub fn record(device: &Device) -> Result<Vectors> {
    let opcodes = opcodes::all();
    let header = opcodes::header(&opcodes);
    let mut functions: BTreeMap<&str, Function> = BTreeMap::new();
    let mut given: BTreeMap<String, Words> = BTreeMap::new();
    let mut vectors = Vec::new();
    for opcode in &opcodes {
        let group = opcode.group.shape();
        if !functions.contains_key(group.kernel) {
            let instance = Instance::new(&VECTORS, group.kernel, Arch::Sm90a).with_variant(header.as_str());
            functions.insert(group.kernel, device.function(&instance)?);
        }
        let given = given.entry(opcode.inputs.name()).or_insert_with(|| opcode.inputs.make());
        let results = run(device, &functions[group.kernel], opcode, given)?;
        vectors.push(Vector {
            opcode: opcode.name.clone(),
            inputs: opcode.inputs.name(),
            comparison: opcode.comparison,
            words: opcode.words,
            results,
        });
    }
    let inputs = given.into_iter().map(|(name, words)| (name, Inputs::of(words))).collect();
    let facts = device.facts();
    Ok(Vectors { device: facts.name.clone(), backend: device.backend_name().into(), inputs, opcodes: vectors })
}

impl Inputs {
    fn of(given: Words) -> Inputs {
        let bytes = [&given.shared, &given.threads].map(|words| bytes(words));
        let hash = Hash::of(bytes.iter().map(Vec::as_slice)).to_string();
        let threads = if given.words <= 3 { given.threads } else { Vec::new() };
        Inputs { hash, words: given.words, threads }
    }
}

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn run(device: &Device, function: &Function, opcode: &Opcode, given: &Words) -> Result<Vec<u32>> {
    let shape = opcode.group.shape();
    let threads = given.threads.len() / given.words;
    let upload = |words: &[u32]| -> Result<Buffer> {
        let buffer = device.alloc(DType::U32, words.len())?;
        buffer.write(&bytes(words)).map(|()| buffer)
    };
    let (shared, items) = (upload(&given.shared)?, upload(&given.threads)?);
    let out = device.zeros(DType::U32, threads * shape.results)?;
    let args = Args::new().buffer(&shared).buffer(&items).buffer(&out).i32(opcode.number as i32);
    let launch = Launch::new([(threads / shape.block) as u32, 1, 1], [shape.block as u32, 1, 1], args);
    device.launch(function, &launch.shared(shape.shared))?;
    let tensor = out.download([out.len()])?;
    let words = tensor.as_slice::<u32>().map_err(|error| GpuError::Invalid(error.to_string()))?;
    // What the opcode does not write is left out.
    Ok(words.chunks(shape.results).flat_map(|thread| &thread[..opcode.words]).copied().collect())
}

/// Where the results of two devices differ, in the order of the first one's opcodes.
pub fn compare(a: &Vectors, b: &Vectors) -> Vec<Difference> {
    let mut differences = Vec::new();
    let find = |all: &Vectors, opcode: &str| all.opcodes.iter().position(|vector| vector.opcode == opcode);
    for vector in &a.opcodes {
        let Some(other) = find(b, &vector.opcode).map(|at| &b.opcodes[at]) else {
            differences.push(only(vector, a));
            continue;
        };
        let (given, others) = (a.inputs.get(&vector.inputs), b.inputs.get(&other.inputs));
        let shape = |vector: &Vector| (vector.comparison, vector.words, vector.results.len());
        match given.filter(|_| given == others && shape(vector) == shape(other)) {
            Some(given) => differences.extend(difference(vector, other, given)),
            None => differences.push(Difference::Incomparable {
                opcode: vector.opcode.clone(),
                why: "the two were recorded with other inputs; record both with one version".into(),
            }),
        }
    }
    differences
        .extend(b.opcodes.iter().filter(|vector| find(a, &vector.opcode).is_none()).map(|vector| only(vector, b)));
    differences
}

fn only(vector: &Vector, of: &Vectors) -> Difference {
    let why = format!("recorded on {} ({}) alone; record both with one version", of.device, of.backend);
    Difference::Incomparable { opcode: vector.opcode.clone(), why }
}

fn difference(a: &Vector, b: &Vector, given: &Inputs) -> Option<Difference> {
    let place = |at: usize| {
        let (thread, word) = (at / a.words.max(1), at % a.words.max(1));
        let input = given.threads.chunks(given.words.max(1)).nth(thread).unwrap_or_default().to_vec();
        Place { thread, word, input, a: a.results[at], b: b.results[at] }
    };
    let pairs = a.results.iter().zip(&b.results).enumerate();
    let differing: Vec<(usize, Option<u64>)> = match a.comparison {
        Comparison::Exact => pairs.filter(|(_, (a, b))| a != b).map(|(at, _)| (at, None)).collect(),
        comparison => {
            pairs.map(|(at, (&a, &b))| (at, distance(comparison, a, b))).filter(|(_, ulps)| *ulps != Some(0)).collect()
        }
    };
    let count = (differing.len(), a.results.len());
    let opcode = a.opcode.clone();
    if a.comparison == Comparison::Exact {
        return differing.first().map(|&(at, _)| Difference::Bits { opcode, place: place(at), count });
    }
    // A NaN that one alone has is farther than any number.
    let farthest = differing.into_iter().rev().max_by_key(|&(_, ulps)| ulps.map_or((1, 0), |ulps| (0, ulps)));
    farthest.map(|(at, ulps)| Difference::Ulps { opcode, place: place(at), ulps, count })
}

/// Units of the last place between two words, the larger of both halves; none where one alone is a NaN.
fn distance(comparison: Comparison, a: u32, b: u32) -> Option<u64> {
    let (bits, infinity) = match comparison {
        Comparison::Exact => return (a == b).then_some(0),
        Comparison::F32 => (32, 0x7f80_0000),
        Comparison::F16x2 => (16, 0x7c00),
        Comparison::Bf16x2 => (16, 0x7f80),
    };
    let one = |shift: u32| {
        let mask = (1u64 << (bits - 1)) - 1;
        let (x, y) = (u64::from(a) >> shift, u64::from(b) >> shift);
        let nan = |bits: u64| bits & mask > infinity;
        // Numbers in their order, both zeros the same.
        let order = |word: u64| {
            let magnitude = (word & mask) as i64;
            if word >> (bits - 1) & 1 == 1 { -magnitude } else { magnitude }
        };
        match (nan(x), nan(y)) {
            (true, true) => Some(0),
            (false, false) => Some(order(x).abs_diff(order(y))),
            _ => None,
        }
    };
    if bits == 32 { one(0) } else { Some(one(0)?.max(one(16)?)) }
}

/// Words as one string of eight hexadecimal digits each.
mod hex {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::fmt::Write;

    pub fn serialize<S: Serializer>(words: &[u32], to: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(8 * words.len());
        for word in words {
            let _ = write!(text, "{word:08x}");
        }
        to.serialize_str(&text)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u32>, D::Error> {
        let text = String::deserialize(from)?;
        let words = text.as_bytes().chunks(8).map(|digits| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 8)?;
            u32::from_str_radix(digits, 16).ok()
        });
        words.collect::<Option<_>>().ok_or_else(|| D::Error::custom("words are eight hexadecimal digits each"))
    }
}

#[cfg(test)]
mod tests;
