//! Every accepted opcode, in small kernels whose results are computed independently here.

mod conversion;
mod copies;
mod coverage;
mod faults;
mod float;
mod half;
mod integer;
mod lanes;
mod matrix;
mod memory;
mod sync;
mod tiles;
mod warpgroup;
