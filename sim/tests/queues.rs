//! The sizes of the queues, and the registers that keep only some of their bits.

use std::time::Duration;

use tandem_driver::{Bus, Bytes, NullBus, Waited};
use tandem_isa::{
    Dep, ErrorCode, Finish, HwConfig, HwFacts, INSN_QUEUE_DEPTH, Insn, Queue, Reg, TOKEN_QUEUE_DEPTH, control,
};
use tandem_sim::{Dram, FsimBus, Machine, Options, SimCounters, SimError};

fn config() -> HwConfig {
    HwConfig::preset("tiny").unwrap()
}

fn run(insns: &[Insn]) -> Result<SimCounters, SimError> {
    run_on(&config(), insns)
}

fn run_on(config: &HwConfig, insns: &[Insn]) -> Result<SimCounters, SimError> {
    let results: Vec<_> = (0..4)
        .map(|seed| {
            let mut machine = Machine::new(config, Options { seed, ..Options::default() });
            machine.run_insns(&mut Dram::default(), insns)
        })
        .collect();
    assert!(results.iter().all(|result| *result == results[0]), "every interleaving ends alike");
    results.into_iter().next().unwrap()
}

fn nops(queue: Queue, dep: Dep, count: usize) -> Vec<Insn> {
    vec![Insn::nop(queue, dep); count]
}

/// A unit whose first instruction waits for compute, so many instructions of that unit altogether, and then the token.
fn behind(queue: Queue, count: usize) -> Vec<Insn> {
    let (pop, push) = match queue {
        Queue::Load => (Dep { pop_next: true, ..Dep::default() }, Dep { push_prev: true, ..Dep::default() }),
        _ => (Dep { pop_prev: true, ..Dep::default() }, Dep { push_next: true, ..Dep::default() }),
    };
    let mut insns = vec![Insn::nop(queue, pop)];
    insns.extend(nops(queue, Dep::default(), count - 1));
    insns.push(Insn::nop(Queue::Compute, push));
    insns.push(Finish::default().into());
    insns
}

#[test]
fn a_token_behind_a_full_queue_is_out_of_sight() {
    for queue in [Queue::Load, Queue::Store] {
        run(&behind(queue, INSN_QUEUE_DEPTH)).unwrap();
        let error = run(&behind(queue, INSN_QUEUE_DEPTH + 1)).unwrap_err();
        let pop = if queue == Queue::Load { "pop_next" } else { "pop_prev" };
        let push = if queue == Queue::Load { "push_prev" } else { "push_next" };
        assert_eq!(
            error.to_string(),
            format!(
                "deadlock: {queue} waits at instruction 0 (`nop.{queue} {pop}`) for a token from compute, but the \
                 instruction it needs, 513 (`nop.compute {push}`), is not fetched: the {queue} queue is full (512)"
            )
        );
        assert_eq!((error.code(), error.insn()), (ErrorCode::Deadlock, Some(0)));
    }
}

#[test]
fn a_machine_has_the_queues_of_its_configuration() {
    let with = |insn_queue_depth| {
        let facts = HwFacts { insn_queue_depth, alu_lanes: Some(1), float_requant: false, ..config().facts().clone() };
        HwConfig::new(facts).unwrap()
    };
    run_on(&with(16), &behind(Queue::Load, 16)).unwrap();
    let error = run_on(&with(16), &behind(Queue::Load, 17)).unwrap_err();
    assert!(error.to_string().ends_with("is not fetched: the load queue is full (16)"), "{error}");

    let forward = [
        Insn::nop(Queue::Compute, Dep { push_prev: true, ..Dep::default() }),
        Insn::nop(Queue::Load, Dep { pop_next: true, ..Dep::default() }),
        Finish::default().into(),
    ];
    run_on(&with(0), &forward).unwrap();
    let error = run_on(&with(0), &behind(Queue::Load, 1)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "deadlock: load waits at instruction 0 (`nop.load pop_next`) for a token from compute, but the instruction it needs, 1 \
         (`nop.compute push_prev`), is not fetched: this machine runs instructions in the order of the stream"
    );
    let pushes = nops(Queue::Compute, Dep { push_prev: true, ..Dep::default() }, 256);
    let error =
        run_on(&with(0), &pushes.into_iter().chain([Finish::default().into()]).collect::<Vec<_>>()).unwrap_err();
    assert!(error.to_string().contains("the token queue is full (255)"), "{error}");
}

#[test]
fn instructions_that_begin_make_room_for_any_number() {
    // The queues drain while the stream is fetched, in whatever order they take turns.
    let mut insns = Vec::new();
    for _ in 0..2000 {
        insns.push(Insn::nop(Queue::Load, Dep { push_next: true, ..Dep::default() }));
        insns.push(Insn::nop(Queue::Compute, Dep { pop_prev: true, push_next: true, ..Dep::default() }));
        insns.push(Insn::nop(Queue::Store, Dep { pop_prev: true, ..Dep::default() }));
    }
    insns.push(Finish::default().into());
    assert_eq!(run(&insns).unwrap().instructions, [2000, 2001, 2000]);
}

#[test]
fn a_push_into_a_full_token_queue_waits_for_room() {
    let (push, pop) = (Dep { push_next: true, ..Dep::default() }, Dep { pop_prev: true, ..Dep::default() });
    let more = TOKEN_QUEUE_DEPTH as usize + 1;
    let mut insns = nops(Queue::Load, push, more);
    insns.extend(nops(Queue::Compute, pop, more));
    insns.push(Finish::default().into());
    run(&insns).unwrap();

    let mut surplus = nops(Queue::Load, push, more);
    surplus.push(Finish::default().into());
    let error = run(&surplus).unwrap_err();
    assert_eq!(
        error.to_string(),
        "deadlock: load waits at instruction 65535 (`nop.load push_next`) for room among the tokens to compute: the \
         token queue is full (65535)"
    );
    surplus.remove(0);
    let error = run(&surplus).unwrap_err();
    assert!(matches!(error, SimError::Surplus { count: TOKEN_QUEUE_DEPTH, .. }), "{error}");
}

#[test]
fn addresses_in_registers_are_aligned() {
    let buses: [Box<dyn Bus>; 2] = [Box::new(FsimBus::new(&config())), Box::new(NullBus::new(&config()))];
    for mut bus in buses {
        for reg in [Reg::UopBase, Reg::InpBase, Reg::WgtBase, Reg::AccBase, Reg::OutBase] {
            bus.write32(reg, 0x1234_5678).unwrap();
            assert_eq!(bus.read32(reg).unwrap(), 0x1234_5000, "{reg}");
        }
        bus.write32(Reg::InsnAddr, 0xffff_ffff).unwrap();
        assert_eq!(bus.read32(Reg::InsnAddr).unwrap(), 0xffff_ffc0);
        bus.write32(Reg::InsnCount, 0xffff_ffff).unwrap();
        assert_eq!(bus.read32(Reg::InsnCount).unwrap(), 0xffff_ffff);
    }
}

#[test]
fn a_running_program_is_not_disturbed_by_writes_and_a_reset_abandons_it() {
    let mut bus = FsimBus::new(&config());
    let code = bus.alloc(Bytes(4096)).unwrap();
    let finish = Insn::from(Finish::default()).to_bytes(&config()).unwrap();
    bus.copy_in(code.addr, &finish).unwrap();
    bus.write32(Reg::InsnAddr, code.addr.0 + 63).unwrap();
    bus.write32(Reg::InsnCount, 1).unwrap();
    bus.write32(Reg::Control, control::LAUNCH).unwrap();
    bus.write32(Reg::InsnCount, 7).unwrap();
    bus.write32(Reg::OutBase, 4096).unwrap();
    assert_eq!((bus.read32(Reg::InsnCount).unwrap(), bus.read32(Reg::OutBase).unwrap()), (1, 0));
    assert_eq!(bus.wait(Duration::MAX).unwrap(), Waited::Signalled);
    assert_eq!(bus.read32(Reg::Control).unwrap(), control::DONE);
    bus.write32(Reg::OutBase, 4096).unwrap();
    assert_eq!(bus.read32(Reg::OutBase).unwrap(), 4096);
    bus.write32(Reg::Control, control::LAUNCH).unwrap();
    bus.write32(Reg::Control, control::RESET | control::LAUNCH).unwrap();
    assert_eq!(bus.read32(Reg::Control).unwrap(), 0);
}
