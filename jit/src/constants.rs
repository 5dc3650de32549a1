//! Weights and parameters of a window layer as they lie in DRAM.

use crate::JitError;
use crate::emit::Emitter;
use crate::layout::Geometry;
use crate::lower::{Post, Window, WindowKind};
use crate::tile::{self, Demand, Params};
use tandem_isa::Role;
use tandem_isa::semantics::pack_weights;

/// The constants of a layer in DRAM: byte offsets of the sections, and which weight elements hold only zeros.
pub(crate) struct Constants {
    pub weights: u32,
    pub params: u32,
    pub zero: Vec<bool>,
}

/// Elements that so many weight vectors of a lane-wise cell occupy.
pub(crate) fn lane_elements(vectors: usize, g: &Geometry) -> usize {
    vectors.div_ceil(tile::taps_per_element(g))
}

/// Weights of a byte each as such of four bits.
fn packed(weights: &[u8]) -> Vec<u8> {
    weights.as_chunks::<2>().0.iter().map(|pair| pack_weights(pair.map(|weight| weight as i8))).collect()
}

/// Adds the constants of a layer to a program.
pub(crate) fn constants(
    e: &mut Emitter<'_>,
    index: usize,
    layer: &Window,
    g: &Geometry,
    demand: &Demand,
) -> Result<Constants, JitError> {
    let [kh, kw] = layer.slide.kernel;
    let taps = kh * kw;
    let (in_cells, out_cells) = (g.blocks(layer.input.c), g.blocks(layer.output.c));
    let mut zero = Vec::new();
    let bytes = match &layer.kind {
        WindowKind::Gemm { weights } => {
            let elem = g.block_out * g.block_in;
            let (channels, outputs) = (layer.input.c, layer.output.c);
            let mut bytes = Vec::with_capacity(out_cells * g.out_per_cell * in_cells * weights.len() * taps * elem);
            for vector in 0..out_cells * g.out_per_cell {
                for cell in 0..in_cells {
                    for pass in weights {
                        for k in 0..g.inp_per_cell {
                            let first = cell * g.cell + k * g.block_in;
                            for tap in 0..taps {
                                let begin = bytes.len();
                                bytes.resize(begin + elem, 0u8);
                                for lane in 0..g.block_out {
                                    let o = vector * g.block_out + lane;
                                    if o >= outputs || first >= channels {
                                        break;
                                    }
                                    let count = g.block_in.min(channels - first);
                                    let from = (o * taps + tap) * channels + first;
                                    let to = begin + lane * g.block_in;
                                    for (byte, w) in bytes[to..to + count].iter_mut().zip(&pass[from..from + count]) {
                                        *byte = *w as u8;
                                    }
                                }
                                zero.push(bytes[begin..].iter().all(|&b| b == 0));
                            }
                        }
                    }
                }
            }
            bytes
        }
        WindowKind::Lane { weights } if demand.uniform => {
            vec![weights[0][0] as u8; g.block_in * g.block_out]
        }
        WindowKind::Lane { weights } => {
            let pitch = tile::lane_row(g, demand).pitch;
            let per_cell = lane_elements(kh * pitch, g) * g.block_in * g.block_out;
            let mut bytes = vec![0u8; out_cells * per_cell];
            for channel in 0..layer.output.c {
                let (cell, within) = (channel / g.cell, channel % g.cell);
                for tap in 0..taps {
                    for (pass, weights_of_pass) in weights.iter().enumerate() {
                        let slot = tap / kw * pitch + tap % kw * weights.len() + pass;
                        bytes[cell * per_cell + slot * g.cell + within] = weights_of_pass[channel * taps + tap] as u8;
                    }
                }
            }
            bytes
        }
        WindowKind::Max => Vec::new(),
    };
    let bytes = if demand.packed { packed(&bytes) } else { bytes };
    let weights = if bytes.is_empty() { 0 } else { e.constants(format!("wgt{index}"), Role::Wgt, bytes)? };
    let params = match &layer.post {
        Post::Requant { params, .. } => {
            let mut words = Vec::with_capacity(out_cells * g.cell * 4 * g.batch * 4);
            let shared = params.first().filter(|_| demand.params == Params::Shared).copied();
            for vector in 0..if shared.is_some() { 1 } else { out_cells * g.out_per_cell } {
                let own = |lane: usize| params.get(vector * g.block_out + lane).copied().unwrap_or_default();
                let lanes: Vec<[i32; 4]> =
                    (0..g.block_out).map(|lane| shared.unwrap_or_else(|| own(lane)).to_words()).collect();
                for word in 0..4 {
                    for _ in 0..g.batch {
                        lanes.iter().for_each(|w| words.extend_from_slice(&w[word].to_le_bytes()));
                    }
                }
            }
            e.constants(format!("acc{index}"), Role::Acc, words)?
        }
        Post::Clamp(_) | Post::Sums { .. } => 0,
    };
    Ok(Constants { weights, params, zero })
}
