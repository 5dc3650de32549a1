//! Modules and kernels.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::decode;
use crate::error::ParseError;
use crate::op::{Const, Inst};
use crate::parse;
use crate::syntax::Variable;

/// A parsed PTX text.
#[derive(Clone, Debug)]
pub struct Module {
    kernels: BTreeMap<String, Kernel>,
    /// Variables in global and constant memory.
    pub(crate) variables: Vec<Variable>,
    /// Source files by their number in `.loc`.
    pub(crate) files: Vec<(u32, String)>,
    /// Tells modules apart in [`Memory`](crate::Memory), where their variables live.
    pub(crate) identity: u64,
}

/// One parameter of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Param {
    /// Byte at which it starts in the parameters of a launch.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Bytes of which its offset is a multiple.
    pub align: u32,
}

/// A kernel, decoded.
#[derive(Clone, Debug)]
pub struct Kernel {
    pub(crate) name: String,
    pub(crate) params: Vec<Param>,
    pub(crate) param_bytes: u32,
    /// End of static shared memory, from the base of shared memory.
    pub(crate) static_end: u32,
    pub(crate) dynamic_align: u32,
    pub(crate) local_bytes: u32,
    pub(crate) max_threads: Option<[u32; 3]>,
    pub(crate) required_threads: Option<[u32; 3]>,
    pub(crate) required_cluster: Option<[u32; 3]>,
    pub(crate) code: Vec<Inst>,
    /// Opcodes as written, by [`Inst::name`].
    pub(crate) names: Vec<String>,
    pub(crate) registers: u32,
    pub(crate) predicates: u32,
    /// Registers that hold constants, and their values.
    pub(crate) constants: Vec<(u32, Const)>,
    /// Whether the kernel holds `wgmma`, so that registers are followed.
    pub(crate) wgmma: bool,
    /// The registers of each instruction and whether it writes them, where they are followed.
    pub(crate) mentions: Vec<Box<[(u32, bool)]>>,
    /// Names of registers, for faults.
    pub(crate) register_names: Vec<String>,
}

impl Module {
    /// Parses and decodes PTX text.
    ///
    /// # Errors
    ///
    /// The text is no PTX, or holds an opcode or modifier that the simulator does not know; the error names the line.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let unit = parse::unit(text)?;
        let mut kernels = BTreeMap::new();
        for function in unit.functions.iter().filter(|f| f.entry) {
            let kernel = decode::kernel(&unit, function)?;
            kernels.insert(kernel.name.clone(), kernel);
        }
        Ok(Self {
            kernels,
            variables: decode::module_variables(&unit),
            files: unit.files,
            identity: NEXT.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// The kernel called `name`.
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.get(name)
    }

    /// The names of all kernels, sorted.
    pub fn kernels(&self) -> impl Iterator<Item = &str> {
        self.kernels.keys().map(String::as_str)
    }
}

impl Kernel {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The parameters in order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// Bytes of all parameters, gaps included.
    pub fn param_bytes(&self) -> u32 {
        self.param_bytes
    }

    /// Most threads of a block, from `.maxntid` or `.reqntid`.
    pub fn max_threads(&self) -> Option<u32> {
        self.required_threads.or(self.max_threads).map(|t| t.iter().fold(1u32, |n, t| n.saturating_mul(*t)))
    }

    /// The cluster that `.reqnctapercluster` asks for.
    pub fn required_cluster(&self) -> Option<[u32; 3]> {
        self.required_cluster
    }
}
