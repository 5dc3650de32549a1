//! Who chooses the schedules of the accelerator's layers.

use clap::ValueEnum;
use tandem_graph::Graph;
use tandem_isa::HwConfig;
use tandem_jit::{Effort, JitError, Options, search};
use tandem_sim::tsim::DramModel;

/// How layers that no log knows are scheduled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ScheduleKind {
    /// Each layer by a formula.
    #[default]
    Quick,
    /// What is predicted to make the whole program fastest, of many that are tried.
    Search,
}

impl ScheduleKind {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ScheduleKind::Quick => "quick",
            ScheduleKind::Search => "search",
        }
    }

    /// The memory that schedules are searched for; `None` where there is no search.
    pub fn memory(self, memory: DramModel) -> Option<DramModel> {
        match self {
            ScheduleKind::Quick => None,
            ScheduleKind::Search => Some(memory),
        }
    }

    /// The schedule of a segment, of which the tiles of some layers are known.
    ///
    /// # Errors
    /// What the compiler refuses.
    pub fn options(
        self,
        graph: &Graph,
        config: &HwConfig,
        known: Options,
        memory: DramModel,
    ) -> Result<Options, JitError> {
        match self {
            ScheduleKind::Quick => Ok(known),
            ScheduleKind::Search => search(graph, config, memory, &known, &Effort::default()),
        }
    }
}
