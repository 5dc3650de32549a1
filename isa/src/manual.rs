//! The ISA manual of one configuration, in Markdown, written from the table that the encoder walks.

use std::fmt::Write;

use crate::encode::{Field, Form};
use crate::register::{Access, control};
use crate::{AluOpcode, ErrorCode, HwConfig, ISA_VERSION, MemoryType, Queue, Reg, RequantMode, forms, uop};

/// The manual for a configuration.
pub fn manual(config: &HwConfig) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write_manual(&mut text, config);
    text
}

fn write_manual(out: &mut String, config: &HwConfig) -> std::fmt::Result {
    let title = config.name().unwrap_or("unnamed");
    writeln!(out, "# The instruction set, configuration `{title}`\n")?;
    writeln!(out, "Generated from the instruction table; do not edit. Field positions move with the configuration.\n")?;
    machine(out, config)?;
    container(out)?;
    queues(out, config)?;
    writeln!(out, "## Instructions\n")?;
    for form in forms(config).iter().filter(|form| !form.extension || config.profile().has_extension()) {
        instruction(out, form, config)?;
    }
    codes(out, config)?;
    micro_ops(out, config)?;
    out.push_str(EXECUTION);
    if config.profile().has_extension() {
        out.push_str(EXTENSION);
    }
    out.push_str(UPSTREAM);
    registers(out)
}

fn machine(out: &mut String, config: &HwConfig) -> std::fmt::Result {
    writeln!(out, "## The machine\n")?;
    writeln!(
        out,
        "Profile `{}`, digest `{:#010x}`, instruction set version {}.{}.\n",
        config.profile(),
        config.digest(),
        ISA_VERSION >> 16,
        ISA_VERSION & 0xffff
    )?;
    writeln!(out, "```toml\n{}```\n", config.to_toml())?;
    writeln!(out, "| scratchpad | element | bytes | elements | index bits |\n|---|---|---:|---:|---:|")?;
    let (batch, block_in, block_out) = (config.batch(), config.block_in(), config.block_out());
    let rows = [
        ("UOP", "one micro-op".to_owned(), MemoryType::Uop),
        ("INP", format!("`[{batch}][{block_in}]` int8"), MemoryType::Inp),
        ("WGT", format!("`[{block_out}][{block_in}]` int8"), MemoryType::Wgt),
        ("ACC", format!("`[{batch}][{block_out}]` int32"), MemoryType::Acc),
    ];
    for (name, shape, memory_type) in rows {
        let depth = config.depth(memory_type);
        writeln!(out, "| {name} | {shape} | {} | {depth} | {} |", config.elem_bytes(memory_type), depth.ilog2())?;
    }
    writeln!(
        out,
        "\nOUT is ACC seen through its low 8 bits: elements `[{batch}][{block_out}]` of {} bytes.\n",
        config.out_elem_bytes()
    )
}

fn container(out: &mut String) -> std::fmt::Result {
    writeln!(out, "## Encoding\n")?;
    writeln!(
        out,
        "An instruction is 128 bits, little-endian. Bit 0 is the lowest bit of the first byte. No field crosses bit 64. \
         Bits that no field covers are zero, and an instruction with one of them set is illegal. All instructions share the head:\n"
    )?;
    writeln!(out, "| bits | field | meaning |\n|---|---|---|")?;
    writeln!(out, "| 2:0 | opcode | which instruction |")?;
    let meanings = [
        "wait for a token from the previous queue",
        "wait for a token from the next queue",
        "give a token to the previous queue",
        "give a token to the next queue",
    ];
    for (position, ((flag, _), meaning)) in crate::Dep::default().flags().into_iter().zip(meanings).enumerate() {
        writeln!(out, "| {} | {flag} | {meaning} |", position + 3)?;
    }
    writeln!(out)
}

fn queues(out: &mut String, config: &HwConfig) -> std::fmt::Result {
    writeln!(out, "## Queues and tokens\n")?;
    writeln!(
        out,
        "Instructions are fetched in order and sent to three queues, which run concurrently and each in order. Only tokens order \
         one queue against another: an instruction pops its tokens before it executes and pushes them after it has completed. \
         A flag towards a neighbour that a queue does not have is illegal.\n"
    )?;
    writeln!(out, "| queue | instructions | previous | next |\n|---|---|---|---|")?;
    let neighbour = |queue: Option<Queue>| queue.map_or("none", Queue::name);
    for queue in Queue::ALL {
        let instructions = match (queue, config.profile().has_extension()) {
            (Queue::Load, true) => "LOAD and LOADPAD of INP and WGT",
            (Queue::Load, false) => "LOAD of INP and WGT",
            (Queue::Compute, true) => "LOAD of UOP, ACC and ACC8, LOADPAD of ACC8, GEMM, ALU, REQUANT, LANE, FINISH",
            (Queue::Compute, false) => "LOAD of UOP, ACC and ACC8, GEMM, ALU, FINISH",
            (Queue::Store, _) => "STORE",
        };
        writeln!(out, "| {queue} | {instructions} | {} | {} |", neighbour(queue.prev()), neighbour(queue.next()))?;
    }
    writeln!(
        out,
        "\nA LOAD or a STORE with `x_size` 0 is a NOP that only carries flags: LOAD of INP in the load queue, LOAD of UOP in the \
         compute queue, STORE of type 0 in the store queue.\n"
    )?;
    let tokens = config.token_queue_depth();
    let Some(depth) = config.insn_queue_depth() else {
        return writeln!(
            out,
            "There are no instruction queues: an instruction is fetched when every earlier one has finished, so a program in which \
             one waits for the token of a later one locks up. Each of the four token queues holds {tokens} tokens.\n"
        );
    };
    writeln!(
        out,
        "Each queue holds {depth} instructions, and an instruction leaves its queue when it begins. Fetch is in \
         order, so a unit sees an instruction only once every earlier one has entered its own queue: a program in which a unit \
         waits for the token of an instruction behind a full queue locks up. Each of the four token queues holds \
         {tokens} tokens; an instruction that pushes into a full one waits for room.\n"
    )
}

fn instruction(out: &mut String, form: &Form, config: &HwConfig) -> std::fmt::Result {
    let extension = if form.extension { " (Tandem extension)" } else { "" };
    writeln!(out, "### {}: opcode {}{extension}\n", form.name.to_uppercase(), form.opcode)?;
    writeln!(out, "{}\n", paragraphs(form.doc))?;
    if form.fields.is_empty() {
        return writeln!(out, "Bits 127:7 are zero.\n");
    }
    writeln!(out, "| bits | width | field | meaning |\n|---|---:|---|---|")?;
    let mut next = 7;
    let mut fields: Vec<&Field> = form.fields.iter().collect();
    fields.sort_by_key(|field| field.lo);
    for field in fields {
        gap(out, next, field.lo)?;
        let sign = if field.signed { ", signed" } else { "" };
        writeln!(out, "| {} | {}{sign} | {} | {} |", bits(field.hi(), field.lo), field.width, field.name, field.doc)?;
        next = field.hi() + 1;
    }
    gap(out, next, 128)?;
    let memory_types: Vec<String> = form
        .memory_types()
        .iter()
        .filter(|memory_type| config.profile().has_extension() || !memory_type.is_extension())
        .map(|memory_type| format!("`{memory_type}`"))
        .collect();
    if !memory_types.is_empty() {
        writeln!(out, "\nMemory types: {}.", memory_types.join(", "))?;
    }
    writeln!(out)
}

fn gap(out: &mut String, from: u32, to: u32) -> std::fmt::Result {
    // A reserved range is shown word by word.
    for (word_lo, word_hi) in [(0, 64), (64, 128)] {
        let (lo, hi) = (from.max(word_lo), to.min(word_hi));
        if lo < hi {
            writeln!(out, "| {} | {} | | zero |", bits(hi - 1, lo), hi - lo)?;
        }
    }
    Ok(())
}

fn bits(hi: u32, lo: u32) -> String {
    if hi == lo { lo.to_string() } else { format!("{hi}:{lo}") }
}

/// Lines of a doc comment as Markdown paragraphs of one line each.
fn paragraphs(doc: &str) -> String {
    let paragraphs: Vec<String> =
        doc.split("\n\n").map(|p| p.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()).collect();
    paragraphs.join("\n\n").trim().replace("\n\n\n", "\n\n")
}

fn codes(out: &mut String, config: &HwConfig) -> std::fmt::Result {
    let extension = config.profile().has_extension();
    let mark = |extension: bool| if extension { " (Tandem extension)" } else { "" };
    writeln!(out, "## Memory types\n")?;
    writeln!(out, "| code | name | DRAM unit, bytes | meaning |\n|---:|---|---:|---|")?;
    for &memory_type in MemoryType::ALL.iter().filter(|m| extension || !m.is_extension()) {
        let (code, unit, doc) = (memory_type.code(), config.elem_bytes(memory_type), memory_type.doc());
        writeln!(out, "| {code} | {memory_type} | {unit} | {doc}{} |", mark(memory_type.is_extension()))?;
    }
    writeln!(out, "\n## ALU opcodes\n\n| code | name | meaning |\n|---:|---|---|")?;
    for &opcode in AluOpcode::ALL.iter().filter(|o| extension || !o.is_extension()) {
        writeln!(out, "| {} | {opcode} | {}{} |", opcode.code(), opcode.doc(), mark(opcode.is_extension()))?;
    }
    if extension {
        writeln!(out, "\n## REQUANT modes\n\n| code | name | meaning |\n|---:|---|---|")?;
        for &mode in RequantMode::ALL {
            writeln!(out, "| {} | {mode} | {} |", mode.code(), mode.doc())?;
        }
    }
    writeln!(out)
}

fn micro_ops(out: &mut String, config: &HwConfig) -> std::fmt::Result {
    writeln!(out, "## Micro-ops\n\nA micro-op is 32 bits.\n\n| bits | width | field | meaning |\n|---|---:|---|---|")?;
    let meanings = if config.profile().has_extension() {
        [
            "ACC index",
            "INP index (GEMM), input vector (LANE) or ACC index (ALU, REQUANT)",
            "WGT index (GEMM) or weight vector (LANE)",
        ]
    } else {
        ["ACC index", "INP index (GEMM) or ACC index (ALU)", "WGT index (GEMM)"]
    };
    let mut next = 0;
    for ((name, lo, width), meaning) in uop::fields(config).into_iter().zip(meanings) {
        writeln!(out, "| {} | {width} | {name} | {meaning} |", bits(lo + width - 1, lo))?;
        next = lo + width;
    }
    if next < 32 {
        writeln!(out, "| {} | {} | | zero |", bits(31, next), 32 - next)?;
    }
    writeln!(out)
}

fn registers(out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "## Registers\n\nAll registers are 32 bits wide.\n\n| offset | name | access | meaning |\n|---|---|---|---|"
    )?;
    for &reg in Reg::ALL {
        let access = match reg.access() {
            Access::ReadOnly => "read",
            Access::ReadWrite => "read, write",
        };
        writeln!(out, "| {:#04x} | {reg} | {access} | {} |", reg.offset(), reg.doc())?;
    }
    writeln!(
        out,
        "\nWhile a program runs, every write but a reset is ignored. Counters stay at their maximum where they overflow.\n\n\
         CONTROL: launch {:#x}, done {:#x}, error {:#x}, reset {:#x}. A reset abandons the program once the transfers under way \
         are done, empties all queues and clears done and error; scratchpads keep their content.\n",
        control::LAUNCH,
        control::DONE,
        control::ERROR,
        control::RESET
    )?;
    writeln!(out, "| ERROR_CODE | meaning |\n|---:|---|")?;
    for error in ErrorCode::ALL {
        writeln!(out, "| {} | {} |", error.code(), error.doc())?;
    }
    Ok(())
}

const EXECUTION: &str = "\
## Execution

Arithmetic instructions run their micro-ops in two nested loops:

```text
for y in 0..iter_out  for x in 0..iter_in  for u in uop_begin..uop_end:
    d = uop[u].dst + y * dst_factor_out + x * dst_factor_in
    s = uop[u].src + y * src_factor_out + x * src_factor_in
    w = uop[u].wgt + y * wgt_factor_out + x * wgt_factor_in
```

Micro-ops take effect one after the other, in this order. An index beyond the depth of its scratchpad stops the program.
Arithmetic is 32-bit two's complement and wraps.

DRAM addresses are in elements of the memory type: byte address = base register + `dram_base` * element bytes, and the rows of
a transfer start `x_stride` elements apart. The scratchpad side of a transfer is always contiguous.

SHR uses the whole operand: to the right beyond 31 leaves the sign, to the left beyond 31 leaves zero.

";

const EXTENSION: &str = "\
## The Tandem extension

### ALU RSHR, CLAMP and MOV

RSHR by more than 31 acts as 31; a negative operand shifts left as in SHR. CLAMP is `min(max(acc[d], lo), hi)`, so that bounds
in the wrong order give the upper one.

### REQUANT

Four consecutive accumulators from `s` hold the parameters of each lane of each batch row:

| accumulator | content |
|---|---|
| `acc[s]` | bias |
| `acc[s + 1]` | multiplier; in mode `float` the bits of a binary32 number |
| `acc[s + 2]` | shift |
| `acc[s + 3]` | post: byte 0 zero point (signed), byte 1 lo (signed), byte 2 hi (signed), byte 3 pre_shift |

`v = (acc[d] << pre_shift) + bias`, wrapping; a pre_shift of 32 or more leaves the bias. Then, by mode:

- `double`: `r = rdbpot(srdhm(v << max(shift, 0), multiplier), max(-shift, 0))`. The left shift wraps. `srdhm(a, b)` is
  `(a * b + nudge) / 2^31` in 64 bits, truncating, with nudge `2^30` for a product that is not negative and `1 - 2^30` for a
  negative one; for `a = b = -2^31` it is `2^31 - 1`. `rdbpot(x, n)` is `x / 2^n` to nearest, half away from zero. The shift
  is clamped to -31 to 31.
- `single`: `r = (v * multiplier + 2^(shift - 1)) >> shift` in 64 bits. With shift 0, `r = v * multiplier`. The shift is
  clamped to 0 to 62.
- `half_away`: `|r| = (|v * multiplier| + 2^(shift - 1)) >> shift` with the sign of the product; shifts as in `single`.
- `float`: `v` to binary32 (nearest, half to even), times the multiplier (rounded once), to an integer half to even; NaN gives
  0, and the result saturates to 32 bits. The shift is ignored.

With `saturate`, `acc[d] = min(max(r + zero_point, lo), hi)` in 64 bits; without, `acc[d]` is the low 32 bits of r.

### LANE

INP is seen as vectors of `block_out` lanes for each batch row. With `block_out = r * block_in`, vector v is the INP elements
`v * r .. v * r + r`: lane l is lane `l % block_in` of element `v * r + l / block_in`. With `block_in = r * block_out`, vector v
is lanes `(v % r) * block_out ..` of element `v / r`. WGT is seen as flat bytes: vector w is bytes
`w * block_out .. (w + 1) * block_out`, and a WGT element holds `block_in` of them.

| max | overwrite | effect |
|---|---|---|
| 0 | 0 | `acc[d][b][l] += inp[s][b][l] * wgt[w][l]` |
| 0 | 1 | `acc[d][b][l] = inp[s][b][l] * wgt[w][l]` |
| 1 | 0 | `acc[d][b][l] = max(acc[d][b][l], inp[s][b][l])` |
| 1 | 1 | `acc[d][b][l] = inp[s][b][l]` |

With `max` no weight is read.

### LOADPAD

As LOAD; every lane of every padding element is `pad_value`, sign-extended in ACC8.

### STORE of OUTINP

As STORE of OUT, with the bytes permuted so that DRAM holds INP elements. Let `r = max(block_in, block_out) / min(block_in,
block_out)`. With `block_out >= block_in` each OUT element `[batch][r][block_in]` is written as `[r][batch][block_in]`. With
`block_out < block_in` each group of r consecutive OUT elements `[r][batch][block_out]` of a row is written as
`[batch][r][block_out]`, and `x_size` must be a multiple of r. The unit of `dram_base` and `x_stride` stays the OUT element.

";

const UPSTREAM: &str = "\
## Upstream's implementations

Profile `vta-0.0.2` is bit-compatible with VTA HW_VER 0.0.2, and both profiles follow its functional simulator (fsim). Where
upstream's three implementations disagree:

| | behaviour | here | Chisel | HLS |
|---|---|---|---|---|
| a | STORE reads | ACC, truncated; switch `store_source` | an OUT buffer written by GEMM without reset and by ALU | an OUT buffer, also written by reset |
| b | left operand of an ALU immediate | `acc[d]`; switch `alu_imm_operand` | `acc[s]` | `acc[d]` |
| c | amount of SHR | the whole operand; switch `shift_amount` | low 5 bits, left only for a negative immediate | low 5 bits, signed |
| d | padding | all memory types | all but UOP | not WGT; UOP ignores rows and stride |
| e | depth of UOP | from the configuration | 2048 | from the configuration |
| f | MUL | yes | not decoded | leaves the destination |
| g | ACC8 | yes | not decoded | ignored |
| h | configurations other than the default | all field widths follow | field widths fixed | follow |
| i | the same accumulator in successive micro-ops | sequential | asserts in ALU | undefined |
| j | a missing token, FINISH not last | an error that names the instruction | hangs | hangs |

A program that stays clear of all of them runs alike everywhere; the lint lists departures by these letters.

";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HwFacts;

    #[test]
    fn the_manual_of_the_default_configuration_has_upstreams_bit_positions() {
        let text = manual(&HwConfig::preset("vta").unwrap());
        for row in [
            "| 9:7 | 3 | memory_type |",
            "| 57:26 | 32 | dram_base |",
            "| 34:21 | 14 | uop_end |",
            "| 62:49 | 14 | iter_in |",
            "| 63 | 1 | | zero |",
            "| 127:118 | 10 | wgt_factor_in |",
            "| 110:108 | 3 | alu_opcode |",
            "| 127:112 | 16, signed | imm |",
            "| 63:58 | 6 | | zero |",
            "| 31:22 | 10 | wgt |",
            "| 0x24 | ACC_WRITES | read |",
        ] {
            assert!(text.contains(row), "{row}\n{text}");
        }
    }

    #[test]
    fn the_upstream_profile_has_no_word_of_the_extension() {
        let facts = HwFacts { profile: crate::Profile::Vta002, ..HwConfig::preset("vta").unwrap().facts().clone() };
        let text = manual(&HwConfig::new(facts).unwrap());
        for word in [
            "LOADPAD: opcode",
            "REQUANT: opcode",
            "LANE: opcode",
            "rshr",
            "RSHR",
            "outinp",
            "LOADPAD",
            "(LANE)",
            "REQUANT)",
            "Tandem extension",
        ] {
            assert!(!text.contains(word), "{word}");
        }
    }

    #[test]
    fn every_bit_of_every_instruction_is_listed_once() {
        let config = HwConfig::preset("wide").unwrap();
        for form in forms(&config) {
            let mut text = String::new();
            instruction(&mut text, &form, &config).unwrap();
            if form.fields.is_empty() {
                continue;
            }
            let mut seen = 0u128;
            for row in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| bits")) {
                let range = row.trim_start_matches("| ").split(' ').next().unwrap();
                let (hi, lo) = range.split_once(':').unwrap_or((range, range));
                for bit in lo.parse::<u32>().unwrap()..=hi.parse().unwrap() {
                    assert_eq!(seen >> bit & 1, 0, "{} bit {bit}", form.name);
                    seen |= 1 << bit;
                }
            }
            assert_eq!(seen, !0x7f, "{}", form.name);
        }
    }
}
