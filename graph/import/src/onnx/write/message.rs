//! Messages of a file from plain values.

use crate::onnx::proto::{
    AttributeProto, DimensionProto, EntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};
use crate::onnx::tensor::Elem;
use tandem_ops::Op;
use tandem_tensor::{QuantParams, Tensor, TensorType};

/// Scales that a text lists; those of many channels are in the initialisers alone.
const LISTED: usize = 8;

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), f: Some(value), r#type: 1, ..AttributeProto::default() }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i: Some(value), r#type: 2, ..AttributeProto::default() }
}

pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { name: name.to_owned(), s: Some(value.as_bytes().to_vec()), r#type: 3, ..AttributeProto::default() }
}

pub(super) fn ints(name: &str, values: &[usize]) -> AttributeProto {
    signed(name, values.iter().map(|&v| v as i64).collect())
}

fn signed(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { name: name.to_owned(), ints, r#type: 7, ..AttributeProto::default() }
}

fn floats(name: &str, floats: Vec<f32>) -> AttributeProto {
    AttributeProto { name: name.to_owned(), floats, r#type: 6, ..AttributeProto::default() }
}

pub(super) fn entry(key: &str, value: &str) -> EntryProto {
    EntryProto { key: key.into(), value: value.into() }
}

/// A constant under this name.
pub(super) fn tensor(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|&d| d as i64).collect(),
        data_type: Elem::code(tensor.dtype()),
        name: name.to_owned(),
        raw_data: Some(tensor.to_le_bytes()),
        ..TensorProto::default()
    }
}

/// A value of this type under this name, with its quantisation in words.
pub(super) fn value(name: &str, ty: &TensorType) -> ValueInfoProto {
    let dim = ty.shape.iter().map(|&d| DimensionProto { dim_value: Some(d as i64), dim_param: None }).collect();
    let tensor_type = TensorTypeProto { elem_type: Elem::code(ty.dtype), shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto { tensor_type: Some(tensor_type) }),
        metadata_props: ty.quant.as_ref().map(quantisation).unwrap_or_default(),
    }
}

fn quantisation(quant: &QuantParams) -> Vec<EntryProto> {
    fn listed<T: ToString>(items: &[T]) -> String {
        let shown: Vec<String> = items.iter().take(LISTED).map(T::to_string).collect();
        let rest = items.len().saturating_sub(LISTED);
        if rest > 0 { format!("{} and {rest} more", shown.join(", ")) } else { shown.join(", ") }
    }
    let mut entries = vec![entry("scale", &listed(&quant.scale)), entry("zero_point", &listed(&quant.zero_point))];
    entries.extend(quant.axis.map(|axis| entry("axis", &axis.to_string())));
    entries
}

/// The type of a node in the domain of Tandem's operators.
pub(super) fn custom_type(op: &Op) -> String {
    let words = op.name().split('_');
    words
        .flat_map(|word| word.chars().enumerate().map(|(i, c)| if i == 0 { c.to_ascii_uppercase() } else { c }))
        .collect()
}

/// What an operator says of itself, as attributes: its fields under their names, pairs one after another.
pub(super) fn custom_attributes(op: &Op) -> Vec<AttributeProto> {
    let mut attributes = Vec::new();
    // The outermost name is the operator's own, which is the type of the node.
    if let Ok(serde_json::Value::Object(named)) = serde_json::to_value(op) {
        for (name, value) in &named {
            match value {
                serde_json::Value::Object(fields) => {
                    fields.iter().for_each(|(name, v)| attribute(name, v, &mut attributes))
                }
                other => attribute(name, other, &mut attributes),
            }
        }
    }
    attributes
}

fn attribute(name: &str, value: &serde_json::Value, attributes: &mut Vec<AttributeProto>) {
    use serde_json::Value;
    attributes.push(match value {
        Value::Null => return,
        Value::Bool(b) => int(name, i64::from(*b)),
        Value::Number(n) => match n.as_i64() {
            Some(i) => int(name, i),
            None => float(name, n.as_f64().unwrap_or(f64::NAN) as f32),
        },
        Value::String(s) => text(name, s),
        Value::Array(_) => {
            let mut numbers = Vec::new();
            flatten(value, &mut numbers);
            match numbers.iter().map(|n| n.as_i64()).collect::<Option<Vec<i64>>>() {
                Some(ints) => signed(name, ints),
                None => floats(name, numbers.iter().map(|n| n.as_f64().unwrap_or(f64::NAN) as f32).collect()),
            }
        }
        Value::Object(_) => text(name, &value.to_string()),
    });
}

fn flatten<'v>(value: &'v serde_json::Value, numbers: &mut Vec<&'v serde_json::Value>) {
    match value {
        serde_json::Value::Array(items) => items.iter().for_each(|item| flatten(item, numbers)),
        number => numbers.push(number),
    }
}
