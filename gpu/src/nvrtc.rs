//! Compiles kernels at run time: source text and a plan's defines in, PTX and cubin out, with what each kernel uses.

use crate::cache::{Cache, Hash};
use crate::error::{GpuError, Result};
use crate::sys;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// The header that every kernel includes as `prelude.cuh`.
pub const PRELUDE: &str = include_str!("../kernels/prelude.cuh");

/// The headers by name.
pub(crate) const HEADERS: [(&str, &str); 10] = [
    ("prelude.cuh", PRELUDE),
    ("wgmma.cuh", include_str!("../kernels/wgmma.cuh")),
    ("mma_tile.cuh", include_str!("../kernels/mma_tile.cuh")),
    ("epilogue.cuh", include_str!("../kernels/epilogue.cuh")),
    ("rows.cuh", include_str!("../kernels/rows.cuh")),
    ("topk.cuh", include_str!("../kernels/topk.cuh")),
    ("window.cuh", include_str!("../kernels/window.cuh")),
    ("attention.cuh", include_str!("../kernels/attention.cuh")),
    ("sampling.cuh", include_str!("../kernels/sampling.cuh")),
    ("heads.cuh", include_str!("../kernels/heads.cuh")),
];

/// A generation of devices: the least that a kernel needs, and what its machine code is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum Arch {
    /// Compute capability 8: mma.sync, ldmatrix, cp.async.
    #[serde(rename = "sm_80")]
    Sm80,
    /// Compute capability 9.0 alone, with wgmma, TMA and clusters.
    #[serde(rename = "sm_90a")]
    Sm90a,
}

impl Arch {
    /// As the compiler writes it.
    pub fn name(self) -> &'static str {
        match self {
            Arch::Sm80 => "sm_80",
            Arch::Sm90a => "sm_90a",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A file of kernels.
#[derive(Debug)]
pub struct Source {
    /// File name, which messages of the compiler show.
    pub name: &'static str,
    /// CUDA C++.
    pub text: &'static str,
}

/// One kernel as it is compiled: a file, what its parameters are, an architecture.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The file.
    pub source: &'static Source,
    /// Name of the `extern "C"` function.
    pub kernel: &'static str,
    /// Macros by name, in the order of the plan.
    pub defines: Vec<(&'static str, String)>,
    /// What [`Compiler::compile`] compiles it for. A device takes it as the least that the kernel needs and compiles for its own
    /// generation, see [`crate::Facts::arch`].
    pub arch: Arch,
    /// The text of the header `variant.cuh`, for kernels that are made for functions of the caller's.
    pub variant: Option<Arc<str>>,
}

impl Instance {
    /// A kernel of a file without defines.
    pub fn new(source: &'static Source, kernel: &'static str, arch: Arch) -> Instance {
        Instance { source, kernel, defines: Vec::new(), arch, variant: None }
    }

    /// The same with a macro more.
    pub fn define(mut self, name: &'static str, value: impl fmt::Display) -> Instance {
        self.defines.push((name, value.to_string()));
        self
    }

    /// The same with a header `variant.cuh`.
    pub fn with_variant(self, text: impl Into<Arc<str>>) -> Instance {
        Instance { variant: Some(text.into()), ..self }
    }

    /// The name under which budgets list it: `gemm.cu:gemm_tma[TN=128,STAGES=4]@sm_90a`.
    pub fn id(&self) -> String {
        let mut defines: Vec<String> = self.defines.iter().map(|(name, value)| format!("{name}={value}")).collect();
        // Two variants are one kernel exactly if their texts are the same.
        defines.extend(self.variant.iter().map(|text| format!("variant={}", Hash::of([text.as_bytes()]))));
        format!("{}:{}[{}]@{}", self.source.name, self.kernel, defines.join(","), self.arch)
    }
}

/// What the assembler reports of a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// The kernel.
    pub kernel: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of local memory of a thread.
    pub stack: u32,
    /// Bytes that a thread spills to local memory.
    pub spill_stores: u32,
    /// Bytes that a thread reads back.
    pub spill_loads: u32,
    /// Bytes of static shared memory of a block.
    pub shared: u32,
    /// Bytes of constant memory, parameters included.
    pub constant: u32,
    /// Barriers of a block.
    pub barriers: u32,
}

/// A compiled file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiled {
    /// Text for the simulator.
    pub ptx: String,
    /// Machine code for a device of the architecture.
    pub cubin: Vec<u8>,
    /// All that the compiler said.
    pub log: String,
    /// One entry a kernel.
    pub usage: Vec<Usage>,
}

impl Compiled {
    /// What the kernel of that name uses.
    pub fn usage(&self, kernel: &str) -> Option<&Usage> {
        self.usage.iter().find(|usage| usage.kernel == kernel)
    }
}

/// NVRTC with a memory of what it has compiled, and a cache on disk where a folder is given.
pub struct Compiler {
    /// Why there is none, where there is none.
    nvrtc: Result<sys::nvrtc::Nvrtc>,
    cache: Option<Cache>,
    known: Mutex<HashMap<Hash, Arc<Compiled>>>,
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiler").field("version", &self.version()).field("cache", &self.cache).finish()
    }
}

impl Compiler {
    /// The compiler of a folder of libraries: that of the wheel's `nvidia/cu13/lib`.
    ///
    /// # Errors
    /// Unavailable, where the folder has no NVRTC that can be used.
    pub fn open(libraries: &Path, cache: Option<Cache>) -> Result<Compiler> {
        Ok(Compiler { nvrtc: Ok(sys::nvrtc::Nvrtc::open(libraries)?), cache, known: Mutex::default() })
    }

    /// No compiler: whatever is to be compiled fails for this reason. Kernels on a device with it tell their grades all the same.
    pub fn absent(why: GpuError) -> Compiler {
        Compiler { nvrtc: Err(why), cache: None, known: Mutex::default() }
    }

    /// Major and minor version.
    ///
    /// # Errors
    /// The reason why there is no compiler.
    pub fn version(&self) -> Result<(i32, i32)> {
        Ok(self.nvrtc()?.version())
    }

    fn nvrtc(&self) -> Result<&sys::nvrtc::Nvrtc> {
        self.nvrtc.as_ref().map_err(Clone::clone)
    }

    /// The options for an instance.
    pub fn options(instance: &Instance) -> Vec<String> {
        let mut options = vec![
            format!("--gpu-architecture={}", instance.arch),
            "--std=c++17".into(),
            "-default-device".into(),
            "--ptxas-options=-v".into(),
            "-lineinfo".into(),
        ];
        options.extend(instance.defines.iter().map(|(name, value)| format!("-D{name}={value}")));
        options
    }

    /// The key of an instance whose source has this text.
    ///
    /// # Errors
    /// As [`Compiler::version`].
    pub fn key(&self, instance: &Instance, text: &str) -> Result<Hash> {
        let (major, minor) = self.version()?;
        let version = format!("NVRTC {major}.{minor}");
        let options = Compiler::options(instance);
        let parts = [version.as_str(), instance.source.name, text];
        let headers = headers(instance);
        let headers = headers.iter().flat_map(|&(name, text)| [name, text]);
        let parts = parts.into_iter().chain(headers).chain(options.iter().map(String::as_str));
        Ok(Hash::of(parts.map(str::as_bytes)))
    }

    /// Compiles an instance, or finds it in memory or on disk.
    ///
    /// # Errors
    /// Invalid, with the compiler's log, which names file and line.
    pub fn compile(&self, instance: &Instance) -> Result<Arc<Compiled>> {
        self.compile_text(instance, instance.source.text)
    }

    /// Compiles an instance with another text in the place of its source's.
    ///
    /// # Errors
    /// As [`Compiler::compile`].
    pub fn compile_text(&self, instance: &Instance, text: &str) -> Result<Arc<Compiled>> {
        let key = self.key(instance, text)?;
        if let Some(compiled) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(Arc::clone(compiled));
        }
        let stored = self.cache.as_ref().and_then(|cache| cache.load(key));
        let compiled = match stored {
            Some(compiled) => compiled,
            None => {
                let compiled = self.build(instance, text)?;
                if let Some(cache) = &self.cache {
                    // A cache that cannot be written costs time, not correctness.
                    let _ = cache.store(key, &compiled);
                }
                compiled
            }
        };
        let compiled = Arc::new(compiled);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(known.entry(key).or_insert(compiled)))
    }

    fn build(&self, instance: &Instance, text: &str) -> Result<Compiled> {
        let output =
            self.nvrtc()?.compile(instance.source.name, text, &headers(instance), &Compiler::options(instance))?;
        let usage = usage(&output.log);
        if !usage.iter().any(|usage| usage.kernel == instance.kernel) {
            let text = format!("{} compiles but has no kernel {}", instance.id(), instance.kernel);
            return Err(GpuError::Invalid(text));
        }
        Ok(Compiled { ptx: without_folders(&output.ptx), cubin: output.cubin, log: output.log, usage })
    }
}

/// The headers that an instance may include.
fn headers(instance: &Instance) -> Vec<(&'static str, &str)> {
    let variant = instance.variant.iter().map(|text| ("variant.cuh", &**text));
    HEADERS.iter().map(|&(name, text)| (name, text)).chain(variant).collect()
}

/// NVRTC puts the working folder before the names of files; the text is the same everywhere without it.
fn without_folders(ptx: &str) -> String {
    let mut text = String::with_capacity(ptx.len());
    for line in ptx.split_inclusive('\n') {
        match line.rsplit_once('/') {
            Some((head, name)) if head.trim_start().starts_with(".file") => {
                let (head, _) = head.split_once('"').unwrap_or((head, ""));
                text.extend([head, "\"", name]);
            }
            _ => text.push_str(line),
        }
    }
    text
}

/// What the assembler's log says of each kernel.
fn usage(log: &str) -> Vec<Usage> {
    let mut all: Vec<Usage> = Vec::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '")
            && let Some((kernel, _)) = rest.split_once('\'')
        {
            all.push(Usage { kernel: kernel.to_owned(), ..Usage::default() });
            continue;
        }
        let Some(last) = all.last_mut() else { continue };
        if line.contains("bytes stack frame") {
            last.stack = before(line, " bytes stack frame");
            last.spill_stores = before(line, " bytes spill stores");
            last.spill_loads = before(line, " bytes spill loads");
        } else if let Some((_, counts)) = line.split_once(": Used ") {
            last.registers = before(counts, " registers");
            last.barriers = before(counts, " barriers");
            last.shared = before(counts, " bytes smem");
            let constants = counts.split(", ").filter(|part| part.contains(" bytes cmem["));
            last.constant = constants.map(|part| before(part, " bytes cmem[")).sum();
        }
    }
    all
}

/// The number that stands before these words; 0 where they do not occur.
fn before(text: &str, words: &str) -> u32 {
    let Some((head, _)) = text.split_once(words) else { return 0 };
    let begin = head.rfind(|c: char| !c.is_ascii_digit()).map_or(0, |at| at + 1);
    head[begin..].parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_of_the_assembler_is_read() {
        let log = "ptxas info    : 0 bytes gmem\n\
                   ptxas info    : Compiling entry function 'first' for 'sm_90a'\n\
                   ptxas info    : Function properties for first\n    \
                   16 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads\n\
                   ptxas info    : Used 168 registers, used 2 barriers, 1024 bytes smem, 400 bytes cmem[0], 8 bytes cmem[2]\n\
                   ptxas info    : Compiling entry function 'second' for 'sm_90a'\n\
                   ptxas info    : Used 12 registers, used 0 barriers\n";
        let expected = Usage {
            kernel: "first".into(),
            registers: 168,
            stack: 16,
            spill_stores: 4,
            spill_loads: 8,
            shared: 1024,
            constant: 408,
            barriers: 2,
        };
        let all = usage(log);
        assert_eq!(all[0], expected);
        assert_eq!((all[1].kernel.as_str(), all[1].registers, all[1].shared), ("second", 12, 0));
    }
}
