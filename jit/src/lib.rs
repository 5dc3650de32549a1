//! Graph segment to isa::Program: tiling, layout, tokens, micro-ops and the memory plan.
