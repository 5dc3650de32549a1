//! Versions of Vivado, and of the processors' blocks that each has: the one place where they stand.

use super::tcl::{Command, Word, command, text};

/// First version of Vivado with a version of the block of the Zynq UltraScale+; later lines win.
const ULTRASCALE: [(&str, &str); 3] = [("2020.2", "3.3"), ("2022.1", "3.4"), ("2023.1", "3.5")];
/// The last version that the projects were written for.
const LAST: &str = "2024.2";
/// The block of the Zynq-7000, the same in all of them.
pub const ZYNQ_7000: &str = "xilinx.com:ip:processing_system7:5.5";
/// The interconnect, the same in all of them.
pub const INTERCONNECT: &str = "xilinx.com:ip:smartconnect:1.0";
/// The reset generator, the same in all of them.
pub const RESET: &str = "xilinx.com:ip:proc_sys_reset:5.0";
/// The block of the Zynq UltraScale+, without its version.
pub const ULTRASCALE_BLOCK: &str = "xilinx.com:ip:zynq_ultra_ps_e:";

/// Commands that refuse a Vivado that the project was not written for, and set `processor` to the version of the block of the
/// Zynq UltraScale+.
pub fn check() -> Vec<Command> {
    let complaint = Word::Joined(vec![
        text("Vivado "),
        Word::Variable("vivado"),
        text(format!(" is not between {} and {LAST}, for which this project was written", ULTRASCALE[0].0)),
    ]);
    let outside =
        format!("[package vcompare $vivado {}] < 0 || [package vcompare $vivado {LAST}] > 0", ULTRASCALE[0].0);
    let mut commands = vec![
        // `version -short` may end in letters, such as those of an update.
        command("regexp").words(&["^[0-9]+[.][0-9]+"]).call(command("version").words(&["-short"])).words(&["vivado"]),
        command("if").word(Word::Expression(outside)).word(Word::Body(vec![command("error").word(complaint)])),
    ];
    for (vivado, block) in ULTRASCALE {
        let from = Word::Expression(format!("[package vcompare $vivado {vivado}] >= 0"));
        let set = command("set").words(&["processor", block]);
        commands.push(command("if").word(from).word(Word::Body(vec![set])));
    }
    commands[0] = commands[0].clone().comment("The versions of Vivado that have the blocks of this project.");
    commands
}
