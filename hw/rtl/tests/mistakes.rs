//! A mistake in a description panics where it is made, with the module's name and what is wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tandem_rtl::{MemoryStyle, Module, balanced};

/// Runs a description that must panic, and compares the message.
#[track_caller]
fn refuses(message: &str, describe: impl FnOnce(&Module)) {
    let m = Module::new("m");
    let panic = catch_unwind(AssertUnwindSafe(|| describe(&m))).expect_err(message);
    let said = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|said| (*said).to_owned()))
        .unwrap_or_default();
    assert!(said.contains(message), "`{said}` instead of `{message}`");
}

#[test]
fn operands_of_different_widths_are_refused() {
    refuses("m: Add of 8 and 9 bits", |m| _ = m.input("a", 8) + m.input("b", 9));
    refuses("m: Sub of 1 and 2 bits", |m| _ = m.input("a", 1) - m.input("b", 2));
    refuses("m: And of 8 and 1 bits", |m| _ = m.input("a", 8) & m.input("b", 1));
    refuses("m: Or of 8 and 1 bits", |m| _ = m.input("a", 8) | m.input("b", 1));
    refuses("m: Xor of 8 and 1 bits", |m| _ = m.input("a", 8) ^ m.input("b", 1));
    refuses("m: Eq of 3 and 4 bits", |m| _ = m.input("a", 3).eq(m.input("b", 4)));
    refuses("m: Ne of 3 and 4 bits", |m| _ = m.input("a", 3).ne(m.input("b", 4)));
    refuses("m: Lt of 3 and 4 bits", |m| _ = m.input("a", 3).lt(m.input("b", 4)));
    refuses("m: Le of 3 and 4 bits", |m| _ = m.input("a", 3).le(m.input("b", 4)));
    refuses("m: LtSigned of 3 and 4 bits", |m| _ = m.input("a", 3).lt_signed(m.input("b", 4)));
    refuses("m: LeSigned of 3 and 4 bits", |m| _ = m.input("a", 3).le_signed(m.input("b", 4)));
    refuses("m: a choice by 2 bits", |m| _ = m.input("c", 2).mux(m.input("a", 3), m.input("b", 3)));
    refuses("between 3 and 4 bits", |m| _ = m.input("c", 1).mux(m.input("a", 3), m.input("b", 4)));
    refuses("m: a condition of 2 bits", |m| m.when(m.input("c", 2), || {}));
    refuses("m: property p of 2 bits", |m| m.assert_always("p", m.input("c", 2)));
    refuses("m: 3 bits assigned to r of 4", |m| m.reg("r", 4, 0).set(m.input("a", 3)));
    refuses("nothing to combine", |_| _ = balanced(&[], |a, b| a + b));
}

#[test]
fn numbers_and_parts_that_do_not_fit_are_refused() {
    refuses("m: 16 does not fit in 4 bits", |m| _ = m.lit(16, 4));
    refuses("m: 2 does not fit in 1 bits", |m| _ = m.input("a", 1).is(2));
    refuses("m: 16 does not fit in 4 bits", |m| _ = m.reg("r", 4, 16));
    refuses("m: a value without bits", |m| _ = m.input("a", 0));
    refuses("m: bits 5..9 of 8 bits", |m| _ = m.input("a", 8).bits(5, 4));
    refuses("m: bits 8..9 of 8 bits", |m| _ = m.input("a", 8).bit(8));
    refuses("m: bits 3..3 of 8 bits", |m| _ = m.input("a", 8).bits(3, 0));
    refuses("m: 3 lanes of 8 bits", |m| _ = m.input("a", 8).lanes(3));
    refuses("m: 8 bits extended to 7", |m| _ = m.input("a", 8).sext(7));
    refuses("m: 8 bits extended to 7", |m| _ = m.input("a", 8).zext(7));
    refuses("m: lanes of 3 bits in 12 bits", |m| _ = m.input("a", 12).pick(m.input("i", 2), 3));
    refuses("m: lanes of 4 bits in 12 bits", |m| _ = m.input("a", 12).pick(m.input("i", 2), 4));
    refuses("m: nothing to concatenate", |m| _ = m.cat(&[]));
    refuses("m: nothing to choose from", |m| _ = m.choose(m.input("i", 2), &[]));
}

#[test]
fn names_are_plain_new_and_no_keywords() {
    refuses("m: `a` is declared twice", |m| _ = (m.input("a", 1), m.reg("a", 1, 0)));
    refuses("m: `a` is declared twice", |m| _ = (m.input("a", 1), m.memory("a", 3, 1, MemoryStyle::Block)));
    refuses("m: `a` is declared twice", |m| m.assert_always("a", m.input("a", 1)));
    refuses("m: `sum` is declared twice", |m| _ = (!m.input("sum", 3)).named("sum"));
    for name in ["wire", "logic", "always_ff", "endmodule", "output", "table", "xor", "until_with"] {
        refuses(&format!("m: `{name}` is no name in Verilog"), |m| _ = m.input(name, 1));
    }
    for name in ["", "1a", "a b", "a-b", "_a", "ä"] {
        refuses(&format!("m: `{name}` is no name in Verilog"), |m| _ = m.input(name, 1));
    }
    for name in ["clock", "reset"] {
        refuses(&format!("m: every module has `{name}` already"), |m| _ = m.input(name, 1));
    }
    refuses("m: names like `n12` are kept", |m| _ = m.input("n12", 1));
    refuses("m: output a has the name of what drives it", |m| m.output("a", m.input("a", 1)));
    refuses("`module` is no name in Verilog", |_| _ = Module::new("module"));
}

#[test]
fn only_registers_and_variables_of_the_module_are_assigned() {
    refuses("m: a is neither register nor variable", |m| m.input("a", 1).set(m.lit(0, 1)));
    refuses("is neither register nor variable", |m| (!m.input("a", 1)).set(m.lit(0, 1)));
}

#[test]
fn values_of_another_module_are_refused() {
    let other = Module::new("other");
    let foreign = other.input("x", 1);
    refuses("m: a value of module other", |m| _ = m.input("a", 1) & foreign);
    refuses("m: a value of module other", |m| m.output("a", foreign));
    refuses("m: a value of module other", |m| m.when(foreign, || {}));
    refuses("m: a value of module other", |m| m.reg("r", 1, 0).set(foreign));
    refuses("m: a value of module other", |m| _ = m.cat(&[m.input("a", 1), foreign]));
}

#[test]
fn instances_have_every_input_once_and_nothing_else() {
    let child = Module::new("child");
    child.output("y", !child.input("x", 4));
    refuses("m: input x of c is open", |m| _ = m.instance("c", &child, &[]));
    refuses("m: child has no input z", |m| _ = m.instance("c", &child, &[("x", m.lit(0, 4)), ("z", m.lit(0, 1))]));
    refuses("m: input x of c is connected twice", |m| {
        m.instance("c", &child, &[("x", m.lit(0, 4)), ("x", m.lit(1, 4))]);
    });
    refuses("m: 3 bits on input x of c, which has 4", |m| _ = m.instance("c", &child, &[("x", m.lit(0, 3))]));
    refuses("c has no output z", |m| _ = m.instance("c", &child, &[("x", m.lit(0, 4))]).get("z"));
    refuses("m: `c` is declared twice", |m| _ = m.instance("c", &child, &[("x", m.input("c", 4))]));
    let namesake = Module::new("child");
    namesake.output("y", namesake.input("x", 4));
    refuses("two different modules are called child", |m| {
        m.instance("c", &child, &[("x", m.lit(0, 4))]);
        m.instance("d", &namesake, &[("x", m.lit(0, 4))]);
    });
}

#[test]
fn memories_have_one_write_port_of_equal_lanes() {
    let memory = |m: &Module, enable: u32, address: u32, data: u32| {
        let memory = m.memory("words", 3, 8, MemoryStyle::Block);
        memory.write(m.lit(0, enable), m.lit(0, address), m.lit(0, data));
    };
    refuses("m: an address of 4 bits, expected 3", |m| memory(m, 1, 4, 8));
    refuses("m: 7 bits in 1 lanes written to words of 8 bits", |m| memory(m, 1, 3, 7));
    refuses("m: 8 bits in 3 lanes written to words of 8 bits", |m| memory(m, 3, 3, 8));
    refuses("nothing writes memory words", |m| {
        let words = m.memory("words", 3, 8, MemoryStyle::Block);
        m.output("word", words.read_now("now", m.input("address", 3)));
        m.verilog();
    });
    refuses("memory words has a write port already", |m| {
        let words = m.memory("words", 3, 8, MemoryStyle::Block);
        (0..2).for_each(|_| words.write(m.lit(0, 1), m.lit(0, 3), m.lit(0, 8)));
    });
    refuses("m: an enable of 2 bits", |m| {
        _ = m.memory("words", 3, 8, MemoryStyle::Block).read("word", m.lit(0, 2), m.lit(0, 3));
    });
}

#[test]
fn state_machines_know_their_states() {
    refuses("m: there is no state `b`", |m| _ = m.fsm("state", &["a"]).at("b"));
    refuses("m: there is no state `b`", |m| m.fsm("state", &["a", "c"]).go("b"));
}

#[test]
fn what_nothing_needs_is_not_printed() {
    let m = Module::new("m");
    let a = m.input("a", 8);
    let _ = (a + a).named("unneeded");
    m.output("b", a.inc());
    assert!(!m.verilog().contains("unneeded"), "{}", m.verilog());
}
