//! The memory plan: inputs and outputs in sections of their own, everything between in one scratch section that activations
//! share over time.

use crate::JitError;
use crate::emit::next_offset;
use crate::fold::Fold;
use crate::layout::{Geometry, dims};
use crate::lower::is_alias;
use std::collections::BTreeMap;
use tandem_graph::{Graph, ValueId};
use tandem_isa::{Role, Section};

/// Where every activation lies.
pub(crate) struct Places {
    pub sections: Vec<Section>,
    /// Section and byte offset in the program of each value that is an activation.
    places: Vec<Option<(usize, u32)>>,
}

impl Places {
    /// Byte offset of an activation in the program's DRAM image.
    pub fn of(&self, id: ValueId) -> u32 {
        self.places[id.0].map_or(0, |p| p.1)
    }

    pub fn section_of(&self, id: ValueId) -> usize {
        self.places[id.0].map_or(0, |p| p.0)
    }
}

/// Places the activations of a segment at multiples of `align` bytes; `folds` tells which inputs are packed in blocks, and
/// `element_bytes` how many bytes elements have of what nodes make. A value that an alias node makes lies where its operand lies.
pub(crate) fn plan(
    graph: &Graph,
    geometry: &Geometry,
    folds: &BTreeMap<ValueId, Fold>,
    element_bytes: &BTreeMap<ValueId, usize>,
    align: u64,
) -> Result<Places, JitError> {
    let mut root: Vec<usize> = (0..graph.values.len()).collect();
    for node in graph.nodes.iter().filter(|n| is_alias(&n.op)) {
        root[node.outputs[0].0] = root[node.inputs[0].0];
    }
    let mut last_use = vec![0usize; graph.values.len()];
    for (i, node) in graph.nodes.iter().enumerate() {
        for id in &node.inputs {
            last_use[root[id.0]] = i;
        }
    }
    let bytes = |value: usize| {
        let packed = folds.get(&ValueId(value)).map(|fold| fold.dims);
        let ty = &graph.values[value].ty;
        let image = packed.or(dims(&ty.shape)).map_or(0, |d| geometry.bytes(d));
        let size = image.saturating_mul(element_bytes.get(&ValueId(value)).map_or(1, |&bytes| bytes as u64));
        size.next_multiple_of(align)
    };
    let mut sections: Vec<Section> = Vec::new();
    let mut places: Vec<Option<(usize, u32)>> = vec![None; graph.values.len()];
    let own = [(&graph.inputs, Role::Input, "in"), (&graph.outputs, Role::Output, "out")];
    for (ids, role, name) in own {
        for (k, id) in ids.iter().enumerate() {
            let r = root[id.0];
            if places[r].is_none() {
                places[r] = Some((sections.len(), 0));
                add(&mut sections, align, format!("{name}{k}"), role, bytes(r))?;
                places[r] = Some((sections.len() - 1, sections[sections.len() - 1].offset));
            }
        }
    }
    let base = next_offset(&sections, align);
    let scratch = sections.len();
    // (offset, end, last node that reads it) of what is alive.
    let mut live: Vec<(u64, u64, usize)> = Vec::new();
    let mut high = 0u64;
    for (i, node) in graph.nodes.iter().enumerate() {
        live.retain(|&(.., until)| until >= i);
        for id in node.outputs.iter().filter(|id| root[id.0] == id.0) {
            if places[id.0].is_some() {
                continue;
            }
            let size = bytes(id.0);
            live.sort_unstable();
            let mut at = 0u64;
            for &(begin, end, _) in &live {
                if at + size <= begin {
                    break;
                }
                at = at.max(end);
            }
            live.push((at, at + size, last_use[id.0].max(i)));
            high = high.max(at + size);
            let offset = u32::try_from(base + at).map_err(|_| exhausted(base + at))?;
            places[id.0] = Some((scratch, offset));
        }
    }
    if high > 0 {
        add(&mut sections, align, "scratch".into(), Role::Scratch, high)?;
    }
    for value in 0..root.len() {
        places[value] = places[root[value]];
    }
    Ok(Places { sections, places })
}

fn exhausted(bytes: u64) -> JitError {
    JitError::Exhausted { bytes, limit: u64::from(u32::MAX) }
}

fn add(sections: &mut Vec<Section>, align: u64, name: String, role: Role, size: u64) -> Result<(), JitError> {
    let offset = next_offset(sections, align);
    let end = offset.saturating_add(size);
    if end > u64::from(u32::MAX) {
        return Err(exhausted(end));
    }
    sections.push(Section { name, role, offset: offset as u32, size: size as u32, data: Vec::new() });
    Ok(())
}
