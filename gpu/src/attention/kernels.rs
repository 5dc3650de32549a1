//! The kernels of the definitions.

use super::{Attention, Form, Operands, Plan, Problem, STATES, Task, VariantOperands, Workspace, tensor, warps};
use crate::device::{Args, Buffer, Device, Launch};
use crate::error::{GpuError, Result};
use crate::nvrtc::{Arch, Instance};
use tandem_ops::OpError;
use tandem_ops::attention::{
    Alibi, Batch, Masked, Plain, Rows, Sigmoid, Snippet, SoftCap, Store, Variant, WithVariant, levels, with_variant,
};
use tandem_ops::def::{Dims, Grade, Kernel, Operation, Tensors};
use tandem_tensor::{DType, Data, Element, Tensor};

const FORMS: [&str; 8] = [
    "attention.decode.bf16",
    "attention.decode_kv4.bf16",
    "attention.prefill.bf16",
    "attention.ragged.bf16",
    "attention.cascade.bf16",
    "attention.block_sparse.bf16",
    "attention.variable_block_sparse.bf16",
    "attention.sparse_decode.bf16",
];

/// A kernel of each definition.
pub(crate) fn kernels(device: &Device) -> impl Iterator<Item = Box<dyn Kernel>> {
    let of = |name: &str| tandem_ops::operation(name);
    let forms = FORMS.into_iter().filter_map(of);
    let mut all: Vec<Box<dyn Kernel>> = Vec::new();
    for operation in forms {
        all.push(Box::new(Forms { device: device.clone(), operation }));
    }
    for operation in ["attention.append.bf16", "attention.append_kv4.bf16"].into_iter().filter_map(of) {
        all.push(Box::new(Append { device: device.clone(), operation }));
    }
    if let Some(operation) = of("attention.merge") {
        all.push(Box::new(Merge { device: device.clone(), operation }));
    }
    all.into_iter()
}

/// Every kernel of the definitions' variants for the usual heads.
pub(crate) fn instances() -> Vec<Instance> {
    let slopes = [1.0];
    let logits = [
        Plain.snippet(),
        SoftCap { cap: 1.0 }.snippet(),
        Alibi { slopes: &slopes }.snippet(),
        Sigmoid { bias: 0.0 }.snippet(),
        Masked { inner: Plain, mask: &[] }.snippet(),
        Masked { inner: SoftCap { cap: 1.0 }, mask: &[] }.snippet(),
        Masked { inner: Alibi { slopes: &slopes }, mask: &[] }.snippet(),
        Masked { inner: Sigmoid { bias: 0.0 }, mask: &[] }.snippet(),
    ]
    .map(|snippet| snippet.text());
    let forms = [64, 128, 256].into_iter().filter_map(|d| Form::new(d).ok());
    let kernels = forms.flat_map(|form| Task::ALL.map(|task| form.instance(task, &Snippet::plain())));
    let of_codes = [64, 128, 256].into_iter().filter_map(|d| Form::of_codes(d).ok());
    let of_codes = of_codes.map(|form| form.instance(Task::Small, &Snippet::plain()));
    let attention =
        kernels.chain(of_codes).flat_map(|plain| logits.clone().map(|text| plain.clone().with_variant(text)));
    let states = ["attention_merge", "merge_states", "append", "append_kv4"];
    attention.chain(states.map(|kernel| Instance::new(&STATES, kernel, Arch::Sm80))).collect()
}

/// How far the kernels go for heads of so many elements.
pub fn grade(device: &Device, d: usize) -> Grade {
    match (device.facts().grade(Arch::Sm90a), Form::new(d)) {
        (Grade::Native, Err(_)) => Grade::ReferenceOnly("heads are multiples of 16 elements, 256 at most"),
        (grade, _) => grade,
    }
}

/// The same over codes of four bits.
fn grade_of_codes(device: &Device, d: usize) -> Grade {
    match (device.facts().grade(Arch::Sm90a), Form::of_codes(d)) {
        (Grade::Native, Err(_)) => Grade::ReferenceOnly("heads over codes are multiples of 64 elements, 256 at most"),
        (grade, _) => grade,
    }
}

/// Whether keys and values of a definition are codes.
fn coded(operation: &dyn Operation) -> bool {
    operation.def().input("kv_scale").is_some()
}

struct Forms {
    device: Device,
    operation: &'static dyn Operation,
}

impl Kernel for Forms {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn grade(&self, dims: &Dims) -> Grade {
        let of = if coded(self.operation) { grade_of_codes } else { grade };
        of(&self.device, dims["d"])
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> std::result::Result<Tensors, OpError> {
        let def = self.operation.def();
        let levels = levels(def.name, dims, inputs)?;
        let (o, lse) = with_variant(def, dims, inputs, Levels { device: &self.device, levels: &levels })??;
        Ok(Tensors::new().with("o", o).with("lse", lse))
    }
}

/// Attention over levels whose states merge, with whatever variant.
struct Levels<'a> {
    device: &'a Device,
    levels: &'a [Batch<'a>],
}

impl WithVariant for Levels<'_> {
    type Out = Result<(Tensor, Tensor)>;

    fn with<V: Variant>(self, variant: &V) -> Self::Out {
        attend(self.device, self.levels, &variant.snippet())
    }
}

/// Results and logarithms of sums for all rows and heads, of a variant that need not be one that comes with the definitions.
///
/// # Errors
/// Unsupported for heads that the kernel is not for; those of the variant's text, of the plan, and of the device.
pub fn attend(device: &Device, levels: &[Batch<'_>], variant: &Snippet<'_>) -> Result<(Tensor, Tensor)> {
    let Some(first) = levels.first() else {
        return Ok((Tensor::zeros(DType::BF16, [0, 0, 0]), Tensor::zeros(DType::F32, [0, 0])));
    };
    let (rows, q_heads, d) = (first.rows, first.q_heads, first.d);
    let (problem, table) = Problem::of(levels);
    let form = if matches!(first.store.k, Rows::Codes { .. }) { Form::of_codes(d)? } else { Form::new(d)? };
    let plan = Plan::new(&problem, form.resources(device.facts()))?;
    // Without a head, the plan's rows have nothing in them.
    if plan.items.is_empty() || q_heads == 0 {
        return Ok((Tensor::zeros(DType::BF16, [rows, q_heads, d]), Tensor::zeros(DType::F32, [rows, q_heads])));
    }
    let least = plan.least(&problem);
    let attention = Attention::of(device, form, variant, &least)?;
    let workspace = Workspace::new(device, least, d)?;
    workspace.set(&problem, &plan)?;
    let (q, store) = (upload(device, first.q)?, &first.store);
    let stored = Stored::upload(device, store)?;
    let table = store.table.is_some().then(|| device.upload(&tensor(Data::I32(table))?)).transpose()?;
    let (o, lse) = (device.alloc(DType::BF16, rows * q_heads * d)?, device.alloc(DType::F32, rows * q_heads)?);
    let variant = VariantOperands::upload(device, variant)?;
    let operands = Operands {
        q: &q,
        k: stored.rows[0],
        v: stored.rows[1],
        scales: stored.scales,
        table: table.as_ref(),
        line: store.line,
        lines: store.pages,
        page: store.page,
        page_lines: store.page_lines,
        scale: first.scale,
        q_heads,
        group: first.group(),
        variant: &variant,
        o: &o,
        lse: &lse,
    };
    attention.launch(device, &workspace, &operands)?;
    Ok((o.download([rows, q_heads, d])?, lse.download([rows, q_heads])?))
}

fn upload<T: Element>(device: &Device, all: &[T]) -> Result<Buffer> {
    let tensor = Tensor::from_vec([all.len()], all.to_vec());
    device.upload(&tensor.map_err(|error| GpuError::Invalid(error.to_string()))?)
}

/// Keys and values in device memory, and where the first of each are.
struct Stored {
    rows: [u64; 2],
    scales: Option<[u64; 2]>,
    _buffers: Vec<Buffer>,
}

impl Stored {
    fn upload(device: &Device, store: &Store<'_>) -> Result<Stored> {
        match (store.k, store.v) {
            (Rows::Numbers(k), Rows::Numbers(v)) => {
                let (rows, buffers) = sides(device, k, v)?;
                Ok(Stored { rows, scales: None, _buffers: buffers })
            }
            (Rows::Codes { codes: k, scales: k_scales }, Rows::Codes { codes: v, scales: v_scales }) => {
                let (rows, buffers) = sides(device, k, v)?;
                let (scales, more) = sides(device, k_scales, v_scales)?;
                Ok(Stored { rows, scales: Some(scales), _buffers: buffers.into_iter().chain(more).collect() })
            }
            _ => Err(GpuError::Unsupported("keys that are numbers with values that are codes, or the reverse".into())),
        }
    }
}

/// What belongs to keys and to values, and where the first of each is.
fn sides<T: Element>(device: &Device, k: &[T], v: &[T]) -> Result<([u64; 2], Vec<Buffer>)> {
    let keys = upload(device, k)?;
    // Values of pages lie among the keys.
    if v.len() <= k.len() && k.as_ptr_range().end == v.as_ptr_range().end {
        return Ok(([keys.address(), keys.at(k.len() - v.len())], vec![keys]));
    }
    let values = upload(device, v)?;
    Ok(([keys.address(), values.address()], vec![keys, values]))
}

struct Append {
    device: Device,
    operation: &'static dyn Operation,
}

impl Kernel for Append {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn grade(&self, _: &Dims) -> Grade {
        self.device.facts().grade(Arch::Sm80)
    }

    /// In a copy of the pages, since operands stay as they are; on a device the pages themselves would be written.
    fn run(&self, dims: &Dims, inputs: &Tensors) -> std::result::Result<Tensors, OpError> {
        let upload =
            |name: &str| -> std::result::Result<Buffer, OpError> { Ok(self.device.upload(inputs.get(name)?)?) };
        let pages = upload("kv")?;
        let scales = if coded(self.operation) { Some(upload("kv_scale")?) } else { None };
        let new = dims["n"];
        if new > 0 && dims["hkv"] * dims["d"] > 0 {
            let (k, v) = (upload("k")?, upload("v")?);
            let (begins, indptr) = (upload("append_indptr")?, upload("indptr")?);
            let (indices, last) = (upload("indices")?, upload("last_page_len")?);
            let args = Args::new().buffer(&k).buffer(&v).buffer(&begins).buffer(&pages);
            let args = if let Some(scales) = &scales { args.buffer(scales) } else { args };
            let args = args.buffer(&indptr).buffer(&indices).buffer(&last).i32(dims["b"] as i32);
            let (kernel, args) = if scales.is_some() {
                // Each lane of a row has eight elements, as often as that takes.
                let lanes = dims["d"].div_ceil(8).next_power_of_two().min(32);
                let args = args.i32(dims["hkv"] as i32).i32(dims["d"] as i32).i32(dims["page"] as i32);
                ("append_kv4", args.i32(lanes as i32))
            } else {
                let elements = dims["hkv"] * dims["d"];
                let whole = elements.is_multiple_of(8);
                let line = if whole { elements / 8 } else { elements };
                ("append", args.i32(line as i32).i32(dims["page"] as i32).i32(whole.into()))
            };
            let most = 16 * self.device.facts().shares();
            let launch = Launch::new([new.min(most) as u32, 1, 1], [128, 1, 1], args);
            let function = self.device.function(&Instance::new(&STATES, kernel, Arch::Sm80))?;
            self.device.launch(&function, &launch)?;
        }
        let download = |port: &str, buffer: &Buffer| -> std::result::Result<Tensor, OpError> {
            Ok(buffer.download(inputs.get(port)?.shape().clone())?)
        };
        let results = Tensors::new().with("appended", download("kv", &pages)?);
        match scales {
            Some(scales) => Ok(results.with("appended_scale", download("kv_scale", &scales)?)),
            None => Ok(results),
        }
    }
}

struct Merge {
    device: Device,
    operation: &'static dyn Operation,
}

impl Kernel for Merge {
    fn operation(&self) -> &'static dyn Operation {
        self.operation
    }

    fn grade(&self, _: &Dims) -> Grade {
        self.device.facts().grade(Arch::Sm80)
    }

    fn run(&self, dims: &Dims, inputs: &Tensors) -> std::result::Result<Tensors, OpError> {
        let (states, rows, d) = (dims["states"], dims["n"] * dims["heads"], dims["d"]);
        if [states, rows, d].iter().any(|&extent| extent > i32::MAX as usize) {
            return Err(OpError::unsupported(format!("{states} states of {rows} rows are beyond 31 bits")));
        }
        let (merged, lse) = (self.device.alloc(DType::F32, rows * d)?, self.device.alloc(DType::F32, rows)?);
        if rows > 0 {
            let (o, sums) = (self.device.upload(inputs.get("o")?)?, self.device.upload(inputs.get("lse")?)?);
            let args = Args::new().buffer(&o).buffer(&sums).buffer(&merged).buffer(&lse);
            let args = args.i32(states as i32).i32(rows as i32).i32(d as i32);
            let function = self.device.function(&Instance::new(&STATES, "merge_states", Arch::Sm80))?;
            self.device.launch(&function, &warps(&self.device, rows, args))?;
        }
        let (n, heads) = (dims["n"], dims["heads"]);
        Ok(Tensors::new().with("merged", merged.download([n, heads, d])?).with("merged_lse", lse.download([n, heads])?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tandem_ops::lowbit::Asymmetric;

    #[test]
    fn the_most_that_a_code_is_is_that_of_the_definition() {
        assert!(STATES.text.contains(&format!("#define STEPS {:.1}f\n", Asymmetric::STEPS)));
    }
}
