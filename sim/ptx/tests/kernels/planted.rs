//! Bugs planted in right kernels: each must be found with each of ten seeds.

use tandem_ptx::FaultKind::{self, Barrier, Deadlock, InFlight, Limit, Proxy, Race, Uninitialised, Wgmma};
use tandem_ptx::{Fault, Options};

use crate::device::late;
use crate::results::{CLUSTER, MMA, REDUCE, WGMMA, mma_gemm, row_sums, sum_of_squares, wgmma_gemm};

const WAIT_FULL: &str = "mbarrier.try_wait.parity.shared::cta.b64 done, [%r31], %r32;";
const WAIT_EMPTY: &str = "mbarrier.try_wait.parity.shared::cta.b64 done, [%r164], %r165;";
const NO_WAIT: &str = "setp.eq.u32 done, 0, 0;";
const WAIT_PRODUCTS: &str = "wgmma.wait_group.sync.aligned 0;";
const BARRIER: &str = "bar.sync \t0;";
const CLUSTER_BARRIER: &str = "barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;";

/// Replaces text that must be there.
fn edit(ptx: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(ptx.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the kernel holds no `{from}`");
        text.replace(from, to)
    })
}

/// Runs a kernel with ten seeds; each must end with a fault of one of `kinds`.
fn found(run: impl Fn(&Options) -> Result<bool, Fault>, kinds: &[FaultKind]) {
    for options in late(10) {
        match run(&options) {
            Ok(right) => {
                panic!("seed {}: no fault, the result is {}", options.seed, if right { "right" } else { "wrong" })
            }
            Err(fault) => assert!(kinds.contains(&fault.kind), "seed {}: {:?}: {fault}", options.seed, fault.kind),
        }
    }
}

fn in_wgmma(edits: &[(&str, &str)], kinds: &[FaultKind]) {
    let ptx = edit(WGMMA, edits);
    found(|options| wgmma_gemm(&ptx, [128, 64, 320], options), kinds);
}

fn in_mma(edits: &[(&str, &str)], kinds: &[FaultKind]) {
    let ptx = edit(MMA, edits);
    found(|options| mma_gemm(&ptx, [64, 64, 192], options), kinds);
}

#[test]
fn wgmma_without_a_wait_is_found() {
    in_wgmma(&[(WAIT_PRODUCTS, "")], &[Wgmma]);
}

#[test]
fn wgmma_with_a_wait_that_is_one_group_too_lax_is_found() {
    in_wgmma(&[(WAIT_PRODUCTS, "wgmma.wait_group.sync.aligned 1;")], &[Wgmma, Race, InFlight]);
}

#[test]
fn a_stage_released_before_the_products_are_waited_for_is_found() {
    // The wait moves to behind the arrival, where all lanes meet again.
    in_wgmma(
        &[(WAIT_PRODUCTS, ""), ("$L__BB0_7:", "$L__BB0_7:\n\twgmma.wait_group.sync.aligned 0;")],
        &[Race, InFlight],
    );
}

#[test]
fn one_arrival_for_a_warpgroup_instead_of_one_for_each_warp_is_found() {
    let elected = "mov.u32 %r29, %tid.x;\n\tand.b32 %r29, %r29, 127;";
    in_wgmma(&[("], 8;", "], 2;"), ("mov.u32 %r29, %laneid;", elected)], &[Race, InFlight]);
}

#[test]
fn bytes_expected_of_one_operand_only_are_found() {
    in_wgmma(&[("mov.u32 \t%r167, 24576;", "mov.u32 \t%r167, 16384;")], &[Race, InFlight, Deadlock]);
}

#[test]
fn more_bytes_expected_than_copied_are_a_deadlock() {
    in_wgmma(&[("mov.u32 \t%r167, 24576;", "mov.u32 \t%r167, 24592;")], &[Deadlock]);
}

#[test]
fn a_consumer_that_does_not_wait_for_its_stage_is_found() {
    in_wgmma(&[(WAIT_FULL, NO_WAIT)], &[Race, InFlight]);
}

#[test]
fn a_producer_that_does_not_wait_for_a_free_stage_is_found() {
    in_wgmma(&[(WAIT_EMPTY, NO_WAIT)], &[Race, InFlight, Barrier]);
}

#[test]
fn a_producer_that_starts_in_the_wrong_phase_is_a_deadlock() {
    in_wgmma(&[("not.b32 \t%r177, %r176;", "mov.u32 \t%r177, %r176;")], &[Deadlock]);
}

#[test]
fn wgmma_without_its_fence_is_found() {
    in_wgmma(&[("wgmma.fence.sync.aligned;", "")], &[Wgmma]);
}

#[test]
fn results_staged_without_a_proxy_fence_are_found() {
    in_wgmma(&[("fence.proxy.async.shared::cta;", "")], &[Proxy]);
}

#[test]
fn a_proxy_fence_after_the_barrier_by_a_thread_that_does_not_store_is_enough() {
    // The fence stands between the stores and the copy on the path that orders them, which is all that the ISA asks for.
    let store = "cp.async.bulk.tensor.2d.global";
    let moved = "fence.proxy.async.shared::cta;\n\tcp.async.bulk.tensor.2d.global";
    let ptx = edit(WGMMA, &[("fence.proxy.async.shared::cta;", ""), (store, moved)]);
    for options in late(3) {
        assert!(wgmma_gemm(&ptx, [128, 64, 128], &options).unwrap());
    }
}

#[test]
fn results_stored_before_all_warps_have_staged_them_are_found() {
    in_wgmma(&[("bar.sync %r183, 128;", "")], &[Race, Uninitialised]);
}

#[test]
fn a_block_that_exits_before_its_store_has_read_is_found() {
    in_wgmma(&[("cp.async.bulk.wait_group.read 0;", "")], &[InFlight]);
}

#[test]
fn barriers_used_before_their_initialisation_is_ordered_are_found() {
    in_wgmma(&[(BARRIER, "")], &[Race, Barrier]);
}

#[test]
fn barriers_that_no_fence_makes_visible_to_copies_are_found() {
    in_wgmma(&[("fence.mbarrier_init.release.cluster;", "")], &[Proxy]);
}

#[test]
fn a_block_that_exits_without_waiting_for_its_last_copy_is_found() {
    // The producer loads one stage more than the consumers take.
    in_wgmma(&[("setp.lt.s32 \t%p10, %r192, %r1;", "setp.le.s32 \t%p10, %r192, %r1;")], &[InFlight]);
}

#[test]
fn a_wait_for_copies_that_is_one_group_too_lax_is_found() {
    in_mma(&[("cp.async.wait_group 1;", "cp.async.wait_group 2;")], &[InFlight]);
}

#[test]
fn copies_that_nobody_waits_for_are_found() {
    in_mma(&[("cp.async.wait_group 1;", "")], &[InFlight]);
}

#[test]
fn copies_without_a_barrier_before_their_use_are_found() {
    in_mma(&[(BARRIER, "")], &[Race, InFlight]);
}

#[test]
fn a_stage_fetched_into_while_it_is_in_use_is_found() {
    // The barrier moves behind the copies that it held back until all warps were done with their stage.
    let ptx = edit(MMA, &[(BARRIER, "")]);
    let commit = "cp.async.commit_group;";
    let at = ptx.rfind(commit).unwrap() + commit.len();
    let ptx = [&ptx[..at], "\n\tbar.sync 0;", &ptx[at..]].concat();
    found(|options| mma_gemm(&ptx, [64, 64, 192], options), &[Race, InFlight]);
}

#[test]
fn copies_waited_for_behind_the_barrier_are_found() {
    // Each thread waits for its own copies alone: those of other warps must be waited for before the barrier.
    let (wait, both) = ("cp.async.wait_group 1;", "bar.sync 0;\n\tcp.async.wait_group 1;");
    in_mma(&[(BARRIER, ""), (wait, both)], &[Race, InFlight]);
}

#[test]
fn a_reduction_without_its_barrier_is_found() {
    let ptx = edit(REDUCE, &[(BARRIER, "")]);
    found(|options| sum_of_squares(&ptx, options).map(|_| true), &[Race, Uninitialised]);
}

#[test]
fn remote_shared_memory_used_without_a_cluster_barrier_is_found() {
    let first = CLUSTER.find(CLUSTER_BARRIER).unwrap();
    let last = CLUSTER.rfind(CLUSTER_BARRIER).unwrap();
    for (at, kinds) in [(first, &[Race, Barrier][..]), (last, &[Race, Uninitialised][..])] {
        let ptx = [&CLUSTER[..at], &CLUSTER[at + CLUSTER_BARRIER.len()..]].concat();
        found(|options| row_sums(&ptx, options), kinds);
    }
}

#[test]
fn a_multicast_copy_that_is_not_waited_for_is_found() {
    let ptx = edit(CLUSTER, &[("mbarrier.try_wait.parity.shared::cta.b64 p, [%r15], 0;", "setp.eq.u32 p, 0, 0;")]);
    found(|options| row_sums(&ptx, options), &[Race, InFlight, Uninitialised]);
}

#[test]
fn a_try_that_is_not_tried_again_is_found() {
    // The loop around the wait goes: a try may give up before its phase has passed.
    let again = "bra AGAIN;\nREADY:";
    in_wgmma(&[(again, "READY:")], &[Race, InFlight, Limit]);
}
