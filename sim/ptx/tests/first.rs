//! A small kernel, from text to result.

use tandem_ptx::{Asynchrony, FaultKind, Launch, Memory, Module, Options, run};

const ADD: &str = "
.version 9.0
.target sm_90a
.address_size 64
.visible .entry add(.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n)
{
	.reg .pred %p<2>;
	.reg .f32 %f<4>;
	.reg .b32 %r<6>;
	.reg .b64 %rd<11>;
	ld.param.u64 %rd1, [a];
	ld.param.u64 %rd2, [b];
	ld.param.u64 %rd3, [c];
	ld.param.u32 %r2, [n];
	mov.u32 %r3, %ctaid.x;
	mov.u32 %r4, %ntid.x;
	mov.u32 %r5, %tid.x;
	mad.lo.s32 %r1, %r3, %r4, %r5;
	setp.ge.s32 %p1, %r1, %r2;
	@%p1 bra $L__END;
	cvta.to.global.u64 %rd4, %rd1;
	mul.wide.s32 %rd5, %r1, 4;
	add.s64 %rd6, %rd4, %rd5;
	cvta.to.global.u64 %rd7, %rd2;
	add.s64 %rd8, %rd7, %rd5;
	ld.global.f32 %f1, [%rd8];
	ld.global.f32 %f2, [%rd6];
	add.f32 %f3, %f2, %f1;
	cvta.to.global.u64 %rd9, %rd3;
	add.s64 %rd10, %rd9, %rd5;
	st.global.f32 [%rd10], %f3;
$L__END:
	ret;
}
";

fn floats(memory: &mut Memory, values: &[f32]) -> u64 {
    let address = memory.alloc(4 * values.len() as u64);
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    memory.write(address, &bytes).unwrap();
    address
}

fn add(n: u32, room: usize, options: &Options) -> Result<Vec<f32>, tandem_ptx::Fault> {
    let module = Module::parse(ADD).unwrap();
    let mut memory = Memory::new();
    let a = floats(&mut memory, &vec![1.5; room]);
    let b = floats(&mut memory, &(0..room).map(|i| i as f32).collect::<Vec<_>>());
    let c = memory.alloc(4 * room as u64);
    let mut params = Vec::new();
    for p in [a, b, c] {
        params.extend(p.to_le_bytes());
    }
    params.extend(n.to_le_bytes());
    let launch = Launch {
        module: &module,
        kernel: "add",
        grid: [n.div_ceil(96), 1, 1],
        block: [96, 1, 1],
        cluster: [1; 3],
        dynamic_shared: 0,
        cooperative: false,
        params: &params,
    };
    let stats = run(&mut memory, &launch, options)?;
    assert!(stats.opcodes["add.f32"] > 0 && stats.global_requests > 0);
    let mut out = vec![0; 4 * room];
    memory.read(c, &mut out).unwrap();
    Ok(out.chunks(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

#[test]
fn two_vectors_are_added_in_either_mode() {
    for asynchrony in [Asynchrony::Late, Asynchrony::Eager] {
        let out = add(1000, 1000, &Options { asynchrony, ..Options::default() }).unwrap();
        assert!(out.iter().enumerate().all(|(i, x)| *x == i as f32 + 1.5));
    }
}

#[test]
fn a_step_past_the_end_names_block_warp_lane_and_line() {
    let fault = add(1000, 999, &Options::default()).unwrap_err();
    assert_eq!(fault.kind, FaultKind::OutOfBounds);
    assert_eq!((fault.block, fault.warp, fault.lane), (Some([10, 0, 0]), Some(1), Some(7)));
    assert_eq!((fault.line, &*fault.instruction), (26, "ld.global.f32"));
}
