//! x
use tandem_hw::*;
fn main() {
    for (n, m) in [
        ("burst_8_6", burst::proof(8, 6)),
        ("burst_29_24", burst::proof(29, 24)),
        ("burst_28_36", burst::proof(28, 36)),
        ("read_1", read_engine::proof(1)),
        ("read_3", read_engine::proof(3)),
        ("write_1", write_engine::proof(1)),
        ("write_3", write_engine::proof(3)),
        ("issue_2", issue::proof(2)),
        ("issue_16", issue::proof(16)),
        ("control", control::proof(&tandem_isa::HwConfig::default())),
    ] {
        let d = format!("/tmp/proofwork/{n}");
        std::fs::create_dir_all(&d).unwrap();
        std::fs::write(format!("{d}/proof.v"), m.verilog()).unwrap();
        for mode in ["prove", "bmc"] {
            std::fs::write(format!("{d}/{mode}.sby"),format!("[options]\nmode {mode}\ndepth 12\n[engines]\nsmtbmc z3\n[script]\nread_verilog -formal proof.v\nprep -top {}\n[files]\nproof.v\n",m.name())).unwrap();
        }
    }
}
