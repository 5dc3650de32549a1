//! The kernels of the definitions.

use super::{Attention, Form, Operands, Plan, Problem, STATES, Task, VariantOperands, Workspace, tensor, warps};
use crate::device::{Args, Buffer, Device, Launch};
use crate::error::Result;
use crate::nvrtc::{Arch, Instance};
use half::bf16;
use tandem_ops::OpError;
use tandem_ops::attention::{
    Alibi, Batch, Masked, Plain, Sigmoid, Snippet, SoftCap, Variant, WithVariant, levels, with_variant,
};
use tandem_ops::def::{Dims, Grade, Kernel, Operation, Tensors};
use tandem_tensor::{DType, Data, Tensor};

const FORMS: [&str; 7] = [
    "attention.decode.bf16",
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
    if let Some(operation) = of("attention.append.bf16") {
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
    let attention = kernels.flat_map(|plain| logits.clone().map(|text| plain.clone().with_variant(text)));
    let states = ["attention_merge", "merge_states", "append"];
    attention.chain(states.map(|kernel| Instance::new(&STATES, kernel, Arch::Sm80))).collect()
}

/// How far the kernels go for heads of so many elements.
pub fn grade(device: &Device, d: usize) -> Grade {
    match (device.facts().grade(Arch::Sm90a), Form::new(d)) {
        (Grade::Native, Err(_)) => Grade::ReferenceOnly("heads are multiples of 16 elements, 256 at most"),
        (grade, _) => grade,
    }
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
        grade(&self.device, dims["d"])
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
    let form = Form::new(d)?;
    let plan = Plan::new(&problem, form.resources(device.facts()))?;
    // Without a head, the plan's rows have nothing in them.
    if plan.items.is_empty() || q_heads == 0 {
        return Ok((Tensor::zeros(DType::BF16, [rows, q_heads, d]), Tensor::zeros(DType::F32, [rows, q_heads])));
    }
    let least = plan.least(&problem);
    let attention = Attention::new(device, d, variant, &least)?;
    let workspace = Workspace::new(device, least, d)?;
    workspace.set(&problem, &plan)?;
    let (q, store) = (upload(device, first.q)?, &first.store);
    let k = upload(device, store.k)?;
    // Values of pages lie among the keys.
    let within = store.v.len() <= store.k.len() && store.k.as_ptr_range().end == store.v.as_ptr_range().end;
    let values = (!within).then(|| upload(device, store.v)).transpose()?;
    let v = values.as_ref().map_or(k.at(store.k.len().saturating_sub(store.v.len())), Buffer::address);
    let table = store.table.is_some().then(|| device.upload(&tensor(Data::I32(table))?)).transpose()?;
    let (o, lse) = (device.alloc(DType::BF16, rows * q_heads * d)?, device.alloc(DType::F32, rows * q_heads)?);
    let variant = VariantOperands::upload(device, variant)?;
    let operands = Operands {
        q: &q,
        k: k.address(),
        v,
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

fn upload(device: &Device, all: &[bf16]) -> Result<Buffer> {
    device.upload(&tensor(Data::BF16(all.to_vec()))?)
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
        let kv = inputs.get("kv")?;
        let pages = self.device.upload(kv)?;
        let new = dims["n"];
        if new > 0 && dims["hkv"] * dims["d"] > 0 {
            let upload =
                |name: &str| -> std::result::Result<Buffer, OpError> { Ok(self.device.upload(inputs.get(name)?)?) };
            let (k, v) = (upload("k")?, upload("v")?);
            let (begins, indptr) = (upload("append_indptr")?, upload("indptr")?);
            let (indices, last) = (upload("indices")?, upload("last_page_len")?);
            let elements = dims["hkv"] * dims["d"];
            let whole = elements.is_multiple_of(8);
            let args = Args::new().buffer(&k).buffer(&v).buffer(&begins).buffer(&pages);
            let args = args.buffer(&indptr).buffer(&indices).buffer(&last);
            let line = if whole { elements / 8 } else { elements };
            let args = args.i32(dims["b"] as i32).i32(line as i32).i32(dims["page"] as i32).i32(whole.into());
            let most = 16 * self.device.facts().shares();
            let launch = Launch::new([new.min(most) as u32, 1, 1], [128, 1, 1], args);
            let function = self.device.function(&Instance::new(&STATES, "append", Arch::Sm80))?;
            self.device.launch(&function, &launch)?;
        }
        Ok(Tensors::new().with("appended", pages.download(kv.shape().clone())?))
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
