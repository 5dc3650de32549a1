//! Single operators on codes against the results of the engine that defines the families; `engine/make.py` made the cases.

use serde::Deserialize;
use std::collections::BTreeMap;
use tandem_ops::{Arith, Op, Operand, reference};
use tandem_tensor::{DType, QuantParams, Shape, Tensor, TensorType};

#[derive(Deserialize)]
struct Case {
    name: String,
    op: Op,
    operands: Vec<Value>,
    result: Value,
    /// Bytes of the result of each family.
    codes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Value {
    dtype: DType,
    shape: Shape,
    quant: Option<QuantParams>,
    hex: Option<String>,
}

impl Value {
    fn ty(&self) -> TensorType {
        TensorType { dtype: self.dtype, shape: self.shape.clone(), quant: self.quant.clone() }
    }
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn every_kernel_equals_the_engine_in_both_families() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("engine/cases.json")).unwrap();
    assert!(cases.len() > 200);
    let mut wrong = Vec::new();
    for (index, case) in cases.iter().enumerate() {
        let types: Vec<TensorType> = case.operands.iter().map(Value::ty).collect();
        let tensors: Vec<Tensor> = case
            .operands
            .iter()
            .map(|v| Tensor::from_le_bytes(v.dtype, v.shape.clone(), &bytes(v.hex.as_ref().unwrap())).unwrap())
            .collect();
        let operands: Vec<Operand<'_>> =
            tensors.iter().zip(&types).map(|(tensor, ty)| Operand { tensor, ty }).collect();
        let result = case.result.ty();
        assert!(!case.codes.is_empty());
        for (family, expected) in &case.codes {
            let found = reference(&case.op, Arith::parse(family).unwrap(), &operands, &[&result])
                .unwrap_or_else(|e| panic!("case {index}, {} {family}: {e}", case.name));
            let (found, expected) = (found[0].to_le_bytes(), bytes(expected));
            let count = found.iter().zip(&expected).filter(|(a, b)| a != b).count();
            if count > 0 || found.len() != expected.len() {
                wrong.push(format!("case {index}, {} {family}: {count} of {} bytes differ", case.name, expected.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
