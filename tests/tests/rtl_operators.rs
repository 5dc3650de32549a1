//! Every operator of the hardware builder means, through the Verilog it prints, what integer arithmetic says.

use std::collections::BTreeSet;

use num_bigint::{BigInt, BigUint};
use tandem_rtl::{Module, Net};
use tandem_tests::block::{Block, Verilator};
use tandem_tests::expression::{Binary, Dag, Op, number, wrap};
use tandem_tests::random::Random;

fn set(block: &mut Block, port: &str, value: &BigUint) {
    let mut words = value.to_u32_digits();
    words.resize(block.width(port).div_ceil(32) as usize, 0);
    block.set_words(port, &words);
}

fn get(block: &Block, port: &str) -> BigUint {
    BigUint::new(block.get_words(port))
}

fn build(verilator: &Verilator, module: &Module) -> Block {
    // Expressions at random compare with the least and the greatest number too.
    let options = ["-Wno-UNSIGNED", "-Wno-CMPCONST"];
    assert_eq!(verilator.lint(module.name(), &module.verilog(), &options).unwrap(), "");
    Block::build(verilator, module).unwrap()
}

/// Which operators a set of expressions has, by name.
fn kinds(dag: &Dag) -> BTreeSet<String> {
    let kind = |op: &Op| match op {
        Op::Unary(op, _) => format!("{op:?}"),
        Op::Binary(op, ..) => format!("{op:?}"),
        op => format!("{op:?}").split('(').next().unwrap_or_default().to_owned(),
    };
    dag.nodes.iter().map(|(op, _)| kind(op)).collect()
}

#[test]
fn expressions_have_the_values_of_integer_arithmetic() {
    let Some(verilator) = Verilator::find() else { return };
    let mut seen = BTreeSet::new();
    for seed in 0..6 {
        let (mut random, mut dag) = (Random::new(seed), Dag::default());
        let mut widths: Vec<u32> = (0..16).map(|_| random.within(1, 131) as u32).collect();
        widths.extend([1, 1, 8, 31, 32, 33, 63, 64, 65, 128]);
        widths.iter().for_each(|width| _ = dag.leaf(*width));
        dag.grow(&mut random, 500);
        seen.extend(kinds(&dag));

        let m = Module::new(format!("expressions_{seed}"));
        let leaves: Vec<Net<'_>> = widths.iter().enumerate().map(|(at, w)| m.input(format!("in_{at}"), *w)).collect();
        let mut nets = Vec::new();
        dag.build(&m, &mut nets, &leaves);
        // An output of every value would leave none to be printed within another.
        let shown: Vec<usize> = (leaves.len()..nets.len()).filter(|_| random.once_in(3)).collect();
        shown.iter().for_each(|at| m.output(format!("out_{at}"), nets[*at]));

        let mut block = build(&verilator, &m);
        for _ in 0..300 {
            let values: Vec<BigUint> = widths.iter().map(|width| number(&mut random, *width)).collect();
            values.iter().enumerate().for_each(|(at, value)| set(&mut block, &format!("in_{at}"), value));
            block.eval();
            let mut expected = Vec::new();
            dag.eval(&mut expected, &values);
            for at in &shown {
                assert_eq!(get(&block, &format!("out_{at}")), expected[*at], "seed {seed}, {at}: {:?}", dag.nodes[*at]);
            }
        }
    }
    assert_eq!(seen.len(), 9 + 15 + 17, "operators without a test: only {seen:?}");
}

#[test]
fn shifts_take_amounts_of_every_width() {
    let Some(verilator) = Verilator::find() else { return };
    let (values, amounts) = ([1, 2, 31, 32, 33, 64, 65, 130], [1, 2, 5, 6, 7, 31, 32, 33, 64, 65, 130]);
    let (mut dag, m) = (Dag::default(), Module::new("shifts"));
    let widths: Vec<u32> = values.into_iter().chain(amounts).collect();
    widths.iter().for_each(|width| _ = dag.leaf(*width));
    let leaves: Vec<Net<'_>> = widths.iter().enumerate().map(|(at, w)| m.input(format!("in_{at}"), *w)).collect();
    for (value, width) in values.iter().enumerate() {
        for amount in 0..amounts.len() {
            let shifts = [Binary::Shl, Binary::Shr, Binary::ShrSigned];
            dag.nodes.extend(shifts.map(|shift| (Op::Binary(shift, value, values.len() + amount), *width)));
        }
    }
    let mut nets = Vec::new();
    dag.build(&m, &mut nets, &leaves);
    (leaves.len()..nets.len()).for_each(|at| m.output(format!("out_{at}"), nets[at]));
    let mut block = build(&verilator, &m);
    let mut random = Random::new(77);
    for _ in 0..500 {
        // Half of the amounts are about as large as the values are wide.
        let edge = |random: &mut Random, at: usize, width: u32| match at >= values.len() && random.once_in(2) {
            true => wrap(BigInt::from(random.within(0, 140)), width),
            false => number(random, width),
        };
        let given: Vec<BigUint> = widths.iter().enumerate().map(|(at, width)| edge(&mut random, at, *width)).collect();
        given.iter().enumerate().for_each(|(at, value)| set(&mut block, &format!("in_{at}"), value));
        block.eval();
        let mut expected = Vec::new();
        dag.eval(&mut expected, &given);
        for (at, expected) in expected.iter().enumerate().skip(leaves.len()) {
            assert_eq!(get(&block, &format!("out_{at}")), *expected, "{:?} of {given:x?}", dag.nodes[at]);
        }
    }
}

/// Statements at random: what they assign, under which conditions.
enum Statement {
    Set(usize, usize),
    When(usize, Vec<Statement>),
    WhenElse(usize, Vec<Statement>, Vec<Statement>),
}

/// Statements that assign `targets` (number and width) values of the expressions.
fn statements(random: &mut Random, dag: &mut Dag, targets: &[(usize, u32)], depth: usize) -> Vec<Statement> {
    let one = |random: &mut Random, dag: &mut Dag| {
        if depth == 0 || random.once_in(2) {
            let (target, width) = random.of(targets);
            return Statement::Set(target, dag.some(random, width));
        }
        let condition = dag.some(random, 1);
        let yes = statements(random, dag, targets, depth - 1);
        if random.once_in(2) {
            return Statement::When(condition, yes);
        }
        Statement::WhenElse(condition, yes, statements(random, dag, targets, depth - 1))
    };
    (0..random.within(1, 5)).map(|_| one(random, dag)).collect()
}

fn describe<'m>(m: &'m Module, block: &[Statement], targets: &[Net<'m>], nets: &[Net<'m>]) {
    for statement in block {
        match statement {
            Statement::Set(target, value) => targets[*target].set(nets[*value]),
            Statement::When(condition, yes) => m.when(nets[*condition], || describe(m, yes, targets, nets)),
            Statement::WhenElse(condition, yes, no) => {
                m.when_else(nets[*condition], || describe(m, yes, targets, nets), || describe(m, no, targets, nets));
            }
        }
    }
}

fn run(block: &[Statement], targets: &mut [BigUint], values: &[BigUint]) {
    for statement in block {
        match statement {
            Statement::Set(target, value) => targets[*target] = values[*value].clone(),
            Statement::When(condition, yes) if values[*condition].bit(0) => run(yes, targets, values),
            Statement::When(..) => {}
            Statement::WhenElse(condition, yes, no) => {
                run(if values[*condition].bit(0) { yes } else { no }, targets, values);
            }
        }
    }
}

#[test]
fn registers_and_variables_take_what_the_last_condition_that_holds_assigns() {
    let Some(verilator) = Verilator::find() else { return };
    for seed in 100..104 {
        let (mut random, mut dag) = (Random::new(seed), Dag::default());
        let width = |random: &mut Random| random.within(1, 70) as u32;
        let inputs: Vec<u32> = (0..6).map(|_| width(&mut random)).collect();
        // A register has a value after reset, or is one of a data path.
        let registers: Vec<(u32, Option<u128>)> = (0..8)
            .map(|at| {
                let width = width(&mut random);
                (width, (at % 2 == 0).then(|| u128::from(random.bits()) & ((1 << width) - 1)))
            })
            .collect();

        inputs.iter().chain(registers.iter().map(|(width, _)| width)).for_each(|width| _ = dag.leaf(*width));
        dag.grow(&mut random, 40);
        let variables: Vec<(usize, u32)> = (0..4).map(|at| (at, width(&mut random))).collect();
        let defaults: Vec<usize> = variables.iter().map(|(_, width)| dag.some(&mut random, *width)).collect();
        let assignments = statements(&mut random, &mut dag, &variables, 3);
        let before = dag.clone();
        variables.iter().for_each(|(_, width)| _ = dag.leaf(*width));
        dag.grow(&mut random, 40);
        let targets: Vec<(usize, u32)> = registers.iter().enumerate().map(|(at, (width, _))| (at, *width)).collect();
        let updates = statements(&mut random, &mut dag, &targets, 4);
        let preset: Vec<BigUint> = registers.iter().map(|(width, _)| number(&mut random, (*width).min(30))).collect();

        let m = Module::new(format!("statements_{seed}"));
        let preset_now = m.input("preset", 1);
        let mut leaves: Vec<Net<'_>> =
            inputs.iter().enumerate().map(|(at, w)| m.input(format!("in_{at}"), *w)).collect();
        let stored: Vec<Net<'_>> = registers
            .iter()
            .enumerate()
            .map(|(at, (width, init))| match init {
                Some(init) => m.reg(format!("reg_{at}"), *width, *init),
                None => m.data_reg(format!("reg_{at}"), *width),
            })
            .collect();
        leaves.extend(&stored);
        let mut nets = Vec::new();
        before.build(&m, &mut nets, &leaves);
        let chosen: Vec<Net<'_>> =
            defaults.iter().enumerate().map(|(at, default)| m.var(format!("var_{at}"), nets[*default])).collect();
        describe(&m, &assignments, &chosen, &nets);
        dag.build(&m, &mut nets, &chosen);
        describe(&m, &updates, &stored, &nets);
        m.when(preset_now, || {
            for (register, value) in stored.iter().zip(&preset) {
                register.set_to(value.try_into().expect("a preset of 30 bits"));
            }
        });
        let delayed = m.delay("delayed", stored[0]);
        stored.iter().enumerate().for_each(|(at, net)| m.output(format!("stored_{at}"), *net));
        chosen.iter().enumerate().for_each(|(at, net)| m.output(format!("chosen_{at}"), *net));
        m.output("delayed_out", delayed);

        let mut block = build(&verilator, &m);
        block.set("preset", 1);
        block.clock();
        block.set("preset", 0);
        let mut state = preset.clone();
        for cycle in 0..500 {
            let values: Vec<BigUint> = inputs.iter().map(|width| number(&mut random, *width)).collect();
            values.iter().enumerate().for_each(|(at, value)| set(&mut block, &format!("in_{at}"), value));
            let reset = random.once_in(20);
            block.set("reset", reset.into());
            block.eval();
            let mut known = Vec::new();
            before.eval(&mut known, &[values.clone(), state.clone()].concat());
            let mut variables: Vec<BigUint> = defaults.iter().map(|default| known[*default].clone()).collect();
            run(&assignments, &mut variables, &known);
            dag.eval(&mut known, &variables);
            for (at, value) in variables.iter().enumerate() {
                assert_eq!(get(&block, &format!("chosen_{at}")), *value, "seed {seed}, cycle {cycle}, variable {at}");
            }
            let before_clock = state[0].clone();
            run(&updates, &mut state, &known);
            if reset {
                for (value, (_, init)) in state.iter_mut().zip(&registers) {
                    *value = init.map_or(value.clone(), BigUint::from);
                }
            }
            block.clock();
            for (at, value) in state.iter().enumerate() {
                assert_eq!(get(&block, &format!("stored_{at}")), *value, "seed {seed}, cycle {cycle}, register {at}");
            }
            let late = if reset { BigUint::ZERO } else { before_clock };
            assert_eq!(get(&block, "delayed_out"), late, "seed {seed}, cycle {cycle}");
        }
    }
}
