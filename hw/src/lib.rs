//! The accelerator as hardware: Verilog as a function of [`HwConfig`].

use tandem_isa::HwConfig;

pub mod alu;
pub mod queue;
pub mod token;

/// The name of the top module.
pub const TOP: &str = "tandem";

/// The whole design as one Verilog text; its top module is [`TOP`].
pub fn verilog(config: &HwConfig) -> String {
    let _ = config;
    String::new()
}
