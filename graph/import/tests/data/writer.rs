//! Writes small TFLite files, well formed or wrong on purpose.

use flatbuffers::{FlatBufferBuilder, WIPOffset};

type Fbb<'a> = FlatBufferBuilder<'a>;
type Table = WIPOffset<flatbuffers::TableFinishedWIPOffset>;

/// A field of an options table.
#[derive(Clone)]
pub enum Field {
    I8(i8),
    I32(i32),
    Ints(Vec<i32>),
}

/// Scales, zero points and quantised axis.
pub type Quant = (Vec<f32>, Vec<i64>, i32);

#[derive(Clone, Default)]
pub struct TensorSpec {
    pub name: String,
    pub shape: Vec<i32>,
    pub signature: Vec<i32>,
    pub ty: i8,
    pub data: Option<Vec<u8>>,
    pub quant: Option<Quant>,
    pub variable: bool,
    /// Position and length of data that lies behind the flatbuffer.
    pub outside: Option<(u64, u64)>,
}

#[derive(Clone)]
pub struct OpSpec {
    /// The one-byte code and the wide code.
    pub code: (i8, i32),
    pub custom: Option<String>,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
    pub options: Vec<(u16, Field)>,
}

#[derive(Clone, Default)]
pub struct ModelSpec {
    pub tensors: Vec<TensorSpec>,
    pub ops: Vec<OpSpec>,
    pub inputs: Vec<i32>,
    pub outputs: Vec<i32>,
}

pub const F32: i8 = 0;
pub const I32: i8 = 2;
pub const I8: i8 = 9;

impl ModelSpec {
    pub fn tensor(&mut self, name: &str, ty: i8, shape: &[i32]) -> i32 {
        self.tensors.push(TensorSpec { name: name.into(), shape: shape.to_vec(), ty, ..TensorSpec::default() });
        self.tensors.len() as i32 - 1
    }

    pub fn quantized(&mut self, name: &str, shape: &[i32], quant: Quant) -> i32 {
        let t = self.tensor(name, I8, shape);
        self.at(t).quant = Some(quant);
        t
    }

    pub fn ints(&mut self, name: &str, values: &[i32]) -> i32 {
        let t = self.tensor(name, I32, &[values.len() as i32]);
        self.at(t).data = Some(values.iter().flat_map(|v| v.to_le_bytes()).collect());
        t
    }

    pub fn floats(&mut self, name: &str, shape: &[i32], values: &[f32]) -> i32 {
        let t = self.tensor(name, F32, shape);
        self.at(t).data = Some(values.iter().flat_map(|v| v.to_le_bytes()).collect());
        t
    }

    pub fn at(&mut self, t: i32) -> &mut TensorSpec {
        &mut self.tensors[t as usize]
    }

    pub fn op(&mut self, code: i32, inputs: &[i32], outputs: &[i32], options: &[(u16, Field)]) {
        self.ops.push(OpSpec {
            code: (code.min(127) as i8, code),
            custom: None,
            inputs: inputs.to_vec(),
            outputs: outputs.to_vec(),
            options: options.to_vec(),
        });
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut b = Fbb::new();
        let mut codes = Vec::new();
        let mut operators = Vec::new();
        for (i, op) in self.ops.iter().enumerate() {
            let custom = op.custom.as_ref().map(|name| b.create_string(name));
            codes.push(table(&mut b, |b| {
                b.push_slot(slot(0), op.code.0, 0);
                if let Some(custom) = custom {
                    b.push_slot_always(slot(1), custom);
                }
                b.push_slot(slot(3), op.code.1, 0);
            }));
            let lists: Vec<_> = op
                .options
                .iter()
                .map(|(_, f)| if let Field::Ints(v) = f { Some(b.create_vector(v)) } else { None })
                .collect();
            let options = table(&mut b, |b| {
                for ((id, field), list) in op.options.iter().zip(lists) {
                    match field {
                        Field::I8(x) => b.push_slot_always(slot(*id), *x),
                        Field::I32(x) => b.push_slot_always(slot(*id), *x),
                        Field::Ints(_) => b.push_slot_always(slot(*id), list.expect("made above")),
                    }
                }
            });
            let (inputs, outputs) = (b.create_vector(&op.inputs), b.create_vector(&op.outputs));
            operators.push(table(&mut b, |b| {
                b.push_slot(slot(0), i as u32, 0);
                b.push_slot_always(slot(1), inputs);
                b.push_slot_always(slot(2), outputs);
                b.push_slot(slot(3), 1u8, 0);
                b.push_slot_always(slot(4), options);
            }));
        }
        let mut buffers = vec![table(&mut b, |_| {})];
        let mut tensors = Vec::new();
        for t in &self.tensors {
            let mut buffer = 0u32;
            if t.data.is_some() || t.outside.is_some() {
                let data = t.data.as_ref().map(|d| b.create_vector(d));
                buffer = buffers.len() as u32;
                buffers.push(table(&mut b, |b| {
                    if let Some(data) = data {
                        b.push_slot_always(slot(0), data);
                    }
                    if let Some((offset, size)) = t.outside {
                        b.push_slot_always(slot(1), offset);
                        b.push_slot_always(slot(2), size);
                    }
                }));
            }
            let quant = t.quant.as_ref().map(|(scale, zero, axis)| {
                let (scale, zero) = (b.create_vector(scale), b.create_vector(zero));
                table(&mut b, |b| {
                    b.push_slot_always(slot(2), scale);
                    b.push_slot_always(slot(3), zero);
                    b.push_slot(slot(6), *axis, 0);
                })
            });
            let (shape, name) = (b.create_vector(&t.shape), b.create_string(&t.name));
            let signature = b.create_vector(&t.signature);
            tensors.push(table(&mut b, |b| {
                b.push_slot_always(slot(0), shape);
                b.push_slot(slot(1), t.ty, 0);
                b.push_slot(slot(2), buffer, 0);
                b.push_slot_always(slot(3), name);
                if let Some(quant) = quant {
                    b.push_slot_always(slot(4), quant);
                }
                b.push_slot(slot(5), t.variable, false);
                b.push_slot_always(slot(7), signature);
            }));
        }
        let (tensors, operators) = (b.create_vector(&tensors), b.create_vector(&operators));
        let (inputs, outputs) = (b.create_vector(&self.inputs), b.create_vector(&self.outputs));
        let subgraph = table(&mut b, |b| {
            b.push_slot_always(slot(0), tensors);
            b.push_slot_always(slot(1), inputs);
            b.push_slot_always(slot(2), outputs);
            b.push_slot_always(slot(3), operators);
        });
        let (codes, buffers) = (b.create_vector(&codes), b.create_vector(&buffers));
        let subgraphs = b.create_vector(&[subgraph]);
        let model = table(&mut b, |b| {
            b.push_slot(slot(0), 3u32, 0);
            b.push_slot_always(slot(1), codes);
            b.push_slot_always(slot(2), subgraphs);
            b.push_slot_always(slot(4), buffers);
        });
        b.finish(model, Some("TFL3"));
        b.finished_data().to_vec()
    }
}

fn slot(id: u16) -> u16 {
    4 + 2 * id
}

fn table(b: &mut Fbb<'_>, fill: impl FnOnce(&mut Fbb<'_>)) -> Table {
    let start = b.start_table();
    fill(b);
    b.end_table(start)
}
