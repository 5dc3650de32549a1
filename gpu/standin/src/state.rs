//! The device behind the functions: one of them, for the whole process.

use crate::status;
use std::collections::BTreeMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use tandem_ptx::{FaultKind, Launch, Memory, Module, Options, run};

/// One recorded launch.
#[derive(Clone)]
pub struct Recorded {
    pub function: usize,
    pub grid: [u32; 3],
    pub block: [u32; 3],
    pub cluster: [u32; 3],
    pub shared: u32,
    pub params: Vec<u8>,
}

/// A kernel of a loaded module.
pub struct Function {
    pub module: usize,
    pub name: String,
    pub params: Vec<(usize, usize)>,
    pub shared: u32,
}

#[derive(Default)]
pub struct State {
    pub memory: Memory,
    pub modules: BTreeMap<usize, Module>,
    /// Memory of the host by its address.
    pub pinned: BTreeMap<usize, Box<[u64]>>,
    pub functions: BTreeMap<usize, Function>,
    pub graphs: BTreeMap<usize, Vec<Recorded>>,
    pub captured: Option<Vec<Recorded>>,
    pub events: BTreeMap<usize, u64>,
    pub contexts: usize,
    pub allocations: usize,
    /// The status that everything has once a kernel has failed.
    pub sticky: i32,
    /// Launches so far: the clock of events, and a part of every seed.
    pub launches: u64,
    /// What the next call of the function of this name returns.
    pub refused: Option<(String, i32)>,
    handles: usize,
}

impl State {
    /// A handle that none has had.
    pub fn handle(&mut self) -> usize {
        self.handles += 16;
        0x1000 + self.handles
    }

    /// Runs a launch, or records it while a graph is captured.
    pub fn launch(&mut self, recorded: Recorded) -> i32 {
        if let Some(captured) = &mut self.captured {
            captured.push(recorded);
            return status::SUCCESS;
        }
        let Some(function) = self.functions.get(&recorded.function) else { return status::INVALID_HANDLE };
        let Some(module) = self.modules.get(&function.module) else { return status::INVALID_HANDLE };
        if recorded.shared > function.shared {
            return status::INVALID_VALUE;
        }
        let launch = Launch {
            module,
            kernel: &function.name,
            grid: recorded.grid,
            block: recorded.block,
            cluster: recorded.cluster,
            dynamic_shared: recorded.shared,
            cooperative: false,
            params: &recorded.params,
        };
        self.launches += 1;
        let options = Options { seed: self.launches, ..Options::default() };
        if let Err(fault) = run(&mut self.memory, &launch, &options) {
            self.sticky = match fault.kind {
                FaultKind::Launch => return status::INVALID_VALUE,
                FaultKind::OutOfBounds | FaultKind::UseAfterFree => status::ILLEGAL_ADDRESS,
                _ => status::LAUNCH_FAILED,
            };
        }
        status::SUCCESS
    }
}

/// The state, whatever has happened.
pub fn state() -> MutexGuard<'static, State> {
    static STATE: LazyLock<Mutex<State>> = LazyLock::new(Mutex::default);
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state for a function of this name, or the status that it has to return at once.
pub fn enter(name: &str) -> Result<MutexGuard<'static, State>, i32> {
    let mut state = state();
    match state.refused.take() {
        Some((refused, code)) if refused == name => return Err(code),
        other => state.refused = other,
    }
    if state.sticky != 0 { Err(state.sticky) } else { Ok(state) }
}
