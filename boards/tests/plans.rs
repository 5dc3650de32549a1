//! What would be run for each board, as text.

mod golden;

use tandem_boards::{Board, Flow, Plan, find, names};

fn open_boards() -> Vec<Board> {
    names().into_iter().map(|name| find(name).unwrap()).filter(|board| board.flow.is_open()).collect()
}

#[test]
fn the_plan_of_every_board_is_the_golden_one() {
    let boards = open_boards();
    assert_eq!(
        boards.iter().map(|board| board.name.as_str()).collect::<Vec<_>>(),
        ["colorlight-i5", "icebreaker", "orangecrab-85f", "tang-nano-20k", "ulx3s-85f"]
    );
    for board in boards {
        let plan = Plan::new(&board, &board.config, &[1]).unwrap();
        // The configuration may be tuned without a change of what is run.
        let text = plan.to_text().replace(&plan.config_digest, "DIGEST");
        golden::check(&format!("{}.plan", board.name), &text);
    }
}

#[test]
fn every_seed_is_a_trial_of_its_own_on_one_netlist() {
    let board = find("ulx3s-85f").unwrap();
    let plan = Plan::new(&board, &board.config, &[3, 5]).unwrap();
    assert_eq!(plan.steps().count(), 5);
    let seeds: Vec<&str> = plan.trials.iter().map(|trial| trial.route.arguments.last().unwrap().as_str()).collect();
    assert_eq!(seeds, ["3", "5"]);
    assert_ne!(plan.trials[0].route.log, plan.trials[1].route.log);
    assert!(plan.to_text().contains("of these 2 seeds only the fastest is packed"));
    assert!(Plan::new(&board, &board.config, &[]).is_err());
}

#[test]
fn what_a_step_reads_was_written_before() {
    for board in open_boards() {
        let plan = Plan::new(&board, &board.config, &[1]).unwrap();
        let mut there = vec!["top.v".to_owned(), board.constraints.0.clone()];
        for step in plan.steps() {
            for input in &step.inputs {
                assert!(there.contains(input), "{}: {} reads {input}", board.name, step.name);
                let named = step.arguments.iter().any(|argument| argument.contains(input.as_str()));
                assert!(named, "{}: {} does not name {input}", board.name, step.name);
            }
            there.extend(step.outputs.iter().cloned());
        }
        assert!(there.contains(&plan.bitstream));
    }
}

#[test]
fn multipliers_of_an_ice40_are_never_inferred() {
    let mut board = find("icebreaker").unwrap();
    assert_eq!(board.flow, Flow::Ice40);
    let plan = Plan::new(&board, &board.config, &[1]).unwrap();
    assert!(!plan.to_text().contains("-dsp"));
    board.options.synthesis = vec!["-dsp".to_owned()];
    let error = Plan::new(&board, &board.config, &[1]).unwrap_err().to_string();
    assert!(error.contains("-dsp makes wrong netlists"), "{error}");
}

#[test]
fn a_board_for_vivado_has_no_plan() {
    let board = find("kv260").unwrap();
    assert!(Plan::new(&board, &board.config, &[1]).unwrap_err().to_string().contains("Vivado"));
}
