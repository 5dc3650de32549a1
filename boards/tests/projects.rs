//! Projects for Vivado: what is written, and that the script is one that Tcl can run.

mod golden;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tandem_boards::vivado::{ADDRESSES, Project, SCRIPT};
use tandem_boards::{Board, find, names};

/// Commands of Vivado that a script may use. Everything else must be Tcl's own.
const STUBS: &str = r#"
set said {}
proc note {name words} { lappend ::said [concat $name $words]; return $name }
foreach name {
    set_part current_project read_verilog read_xdc create_bd_design create_bd_cell create_bd_intf_port create_bd_port
    get_bd_cells get_bd_pins get_bd_ports get_bd_intf_pins get_bd_intf_ports get_bd_addr_spaces get_bd_addr_segs
    connect_bd_net connect_bd_intf_net assign_bd_address validate_bd_design save_bd_design get_files generate_target
    set_property synth_design opt_design place_design phys_opt_design route_design report_utilization
    report_timing_summary get_timing_paths write_bitstream
} { proc $name args "return \[note $name \$args\]" }
proc get_property args { return $::slack }
proc version args { return $::release }
proc unknown args { error "unknown command: $args" }
set release [lindex $argv 1]
set slack [lindex $argv 2]
if {[catch {source [lindex $argv 0]} problem]} { puts "error: $problem"; exit 1 }
foreach line $said { puts $line }
"#;

fn projects() -> Vec<(Board, Project)> {
    let boards = names().into_iter().map(|name| find(name).unwrap()).filter(|board| !board.flow.is_open());
    boards.map(|board| (board.clone(), Project::new(&board, &board.config).unwrap())).collect()
}

fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    path
}

/// What the script says when it runs, or why it stops. `None` without `tclsh`; then the test says so and is done.
fn run(folder: &Path, release: &str, slack: &str) -> Option<Result<String, String>> {
    let stubs = folder.join("stubs.tcl");
    fs::write(&stubs, STUBS).unwrap();
    let script = folder.join(SCRIPT);
    let Ok(output) = Command::new("tclsh").args([&stubs, &script]).args([release, slack]).output() else {
        eprintln!("skipped: tclsh is not on the path");
        return None;
    };
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    Some(if output.status.success() { Ok(text) } else { Err(text + &errors) })
}

#[test]
fn the_script_and_the_top_of_every_board_are_the_golden_ones() {
    let projects = projects();
    assert_eq!(projects.len(), 5);
    for (board, project) in projects {
        golden::check(&format!("{}.tcl", board.name), project.file(SCRIPT).unwrap());
        if let Some(map) = project.file(ADDRESSES) {
            let digest = format!("{:#010x}", board.config.digest());
            golden::check(&format!("{}.json", board.name), &map.replace(&digest, "DIGEST"));
            golden::check(&format!("{}.v", board.name), project.file("top.v").unwrap());
        }
        assert_eq!(project.file(&board.constraints.0), Some(board.constraints.1.as_str()));
    }
}

#[test]
fn every_script_runs_with_commands_that_vivado_has() {
    for (board, project) in projects() {
        let folder = folder(&format!("project-{}", board.name));
        project.write(&folder).unwrap();
        let Some(result) = run(&folder, "2023.2", "0.5") else { return };
        let said = result.unwrap_or_else(|error| panic!("{}: {error}", board.name));
        assert!(said.contains("synth_design -top top -part") && said.contains("write_bitstream -force"), "{said}");
        let order = ["read_verilog", "read_xdc", "synth_design", "place_design", "route_design", "write_bitstream"];
        let places: Vec<usize> = order.iter().map(|name| said.find(name).unwrap()).collect();
        assert!(places.is_sorted(), "{}: {said}", board.name);
        // Everything that is connected was made.
        for line in said.lines().filter(|line| line.starts_with("get_bd_pins") || line.starts_with("get_bd_intf_pins"))
        {
            let cell = line.split(['/', ' ']).nth(1).unwrap();
            assert!(said.contains(&format!(" {cell}\n")), "{}: there is no cell {cell}", board.name);
        }
    }
}

#[test]
fn a_vivado_that_the_project_was_not_written_for_and_a_clock_that_is_not_met_stop_the_script() {
    let (board, project) = projects().into_iter().find(|(board, _)| board.name == "ultra96-v2").unwrap();
    let folder = folder("project-versions");
    project.write(&folder).unwrap();
    for (release, block) in
        [("2020.2", "3.3"), ("2022.2", "3.4"), ("2023.1", "3.5"), ("2024.2", "3.5"), ("2022.1_AR1", "3.4")]
    {
        let Some(result) = run(&folder, release, "0.0") else { return };
        let said = result.unwrap();
        assert!(said.contains(&format!("zynq_ultra_ps_e:{block} ")), "{release}: {said}");
    }
    for release in ["2019.1", "2026.1"] {
        let Some(Err(error)) = run(&folder, release, "0.0") else { panic!("{}: {release} was taken", board.name) };
        assert!(error.contains(&format!("Vivado {release} is not between 2020.2 and 2024.2")), "{error}");
    }
    let Some(Err(error)) = run(&folder, "2023.2", "-0.25") else { panic!("a clock that is not met was taken") };
    assert!(error.contains("the clock is too fast by -0.25 ns"), "{error}");
}

#[test]
fn a_board_whose_bitstream_is_made_here_has_no_project() {
    let board = find("icebreaker").unwrap();
    assert!(Project::new(&board, &board.config).unwrap_err().to_string().contains("no project"));
}
