//! The list of opcodes and the tests are about the same opcodes.

use std::collections::BTreeSet;

use tandem_ptx::{Module, family, opcodes};

use crate::{conversion, copies, faults, float, half, integer, matrix, memory, sync, warpgroup};

#[test]
fn every_accepted_opcode_is_run_by_a_test() {
    let run: [fn() -> BTreeSet<String>; 10] = [
        integer::all,
        float::all,
        half::all,
        conversion::all,
        memory::all,
        sync::all,
        copies::all,
        matrix::all,
        warpgroup::all,
        faults::all,
    ];
    let names: BTreeSet<String> = run.iter().flat_map(|all| all()).collect();
    let seen: BTreeSet<&str> = names.iter().filter_map(|opcode| family(opcode)).collect();
    let missing: Vec<_> = opcodes().iter().filter(|o| !seen.contains(*o)).collect();
    assert!(missing.is_empty(), "no test runs {missing:?}");
}

fn error(body: &str) -> tandem_ptx::ParseError {
    let text = format!(
        ".version 9.0\n.target sm_90a\n.visible .entry k()\n{{\n.reg .b32 %r<4>;\n.reg .b64 %rd<4>;\n{body}\nret;\n}}"
    );
    Module::parse(&text).expect_err(body)
}

#[test]
fn an_unknown_opcode_is_an_error_that_names_it_and_its_line() {
    let e = error("tex.2d.v4.f32.f32 %r1, %r2;");
    assert_eq!((e.line, &*e.text), (7, "tex.2d.v4.f32.f32"));
    assert!(e.to_string().contains("tex.2d"));
}

#[test]
fn an_unknown_modifier_is_an_error_that_names_it() {
    for (body, word) in [
        ("add.shiny.s32 %r1, %r2, %r3;", "shiny"),
        ("ld.global.sparkling.u32 %r1, [%rd1];", "sparkling"),
        ("bar.sync.loudly 0;", "loudly"),
        ("wgmma.fence.sync.aligned.twice;", "twice"),
    ] {
        assert!(error(body).message.contains(word), "{body}");
    }
}

#[test]
fn malformed_instructions_are_errors_and_not_panics() {
    for body in [
        "add.s32 %r1, %r2;",
        "add.s32 %r1, %r2, %nowhere;",
        "add.f17 %r1, %r2, %r3;",
        "bra NOWHERE;",
        "ld.global.v4.u32 {%r1, %r2}, [%rd1];",
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%r1}, {%r1}, {%r1}, {%r1};",
        "wgmma.mma_async.sync.aligned.m64n12k16.f32.bf16.bf16 {%r1}, %rd1, %rd2, 1, 1, 1, 0, 0;",
        "call.uni (r), elsewhere, (p);",
        "setmaxnreg.inc.sync.aligned.u32 7;",
        "cp.async.ca.shared.global [%r1], [%rd1], 5;",
        "shfl.sync.bfly.b32 %r1;",
    ] {
        error(body);
    }
}
