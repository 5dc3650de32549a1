//! Pools of 8-bit codes: the largest or the mean code under a window. Input and result have one quantisation.

use super::window::{
    C, CHANNELS, FITS, H, HEIGHT, HI, IMAGES, LO, N, NUMBERS, OUT_H, OUT_W, W, WIDTH, check_codes, countable, fitting,
    kernel, square,
};
use crate::OpError;
use crate::arith::average_requant;
use crate::def::{
    Agree, Axis, AxisKind, Constraint, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use tandem_tensor::{DType, Tensor};

pub(super) const ALL: &[&dyn Operation] = &[&Pool(&MAX), &Pool(&AVERAGE)];

const KERNEL: [Axis; 2] = kernel(AxisKind::Number, 2);
const EXTENT: Axis = Axis {
    name: "extent",
    kind: AxisKind::Choice(&["down", "up"]),
    default: 0,
    doc: "rounding of the extents of the result; a window that begins behind the input does not count",
};

const X: Port = Port { name: "x", dtype: DType::I8, dims: &[N, H, W, C], doc: "codes of the images, channels last" };
const OUT: Port = Port { name: "out", dtype: DType::I8, dims: &[N, OUT_H, OUT_W, C], doc: "codes" };
const COUNTABLE: Constraint = Constraint {
    text: "input and result have at most 2^30 elements each",
    holds: |dims| countable(dims, Some(dims["c"])),
};

static MAX: OpDef = OpDef {
    name: "max_pool.i8",
    summary: "the largest code under a window, lo where all of it is padding; then a clamp",
    axes: &Axis::joined::<15>(&[&[IMAGES, HEIGHT, WIDTH, CHANNELS], &KERNEL, &NUMBERS, &[EXTENT]]),
    inputs: &[X, LO, HI],
    outputs: &[OUT],
    holds: &[FITS, COUNTABLE],
    agree: Agree::Exact,
    fpga: Grade::Native,
};

static AVERAGE: OpDef = OpDef {
    name: "average_pool.i8",
    summary: "the mean of the codes under a window, half away from zero, the code 0 where none counts; then a clamp",
    axes: &Axis::joined::<17>(&[
        &[IMAGES, HEIGHT, WIDTH, CHANNELS],
        &KERNEL,
        &NUMBERS,
        &[
            EXTENT,
            Axis {
                name: "padding",
                kind: AxisKind::Choice(&["left_out", "counted"]),
                default: 0,
                doc: "whether padding counts as elements, with the code zero_point",
            },
            Axis {
                name: "codes",
                kind: AxisKind::Choice(&["signed", "unsigned"]),
                default: 0,
                doc: "unsigned: they are those of 0..=255 less 128, whose halves are rounded up",
            },
        ],
    ]),
    inputs: &[
        X,
        Port { name: "zero_point", dtype: DType::I32, dims: &[], doc: "the code of zero: that of counted padding" },
        LO,
        HI,
    ],
    outputs: &[OUT],
    holds: &[
        FITS,
        COUNTABLE,
        Constraint {
            text: "kh kw <= 2^20",
            holds: |dims| dims["kh"].checked_mul(dims["kw"]).is_some_and(|taps| taps <= 1 << 20),
        },
    ],
    agree: Agree::Exact,
    fpga: Grade::Native,
};

struct Pool(&'static OpDef);

impl Operation for Pool {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn samples(&self) -> Vec<Sample> {
        let image = |n, h, w, c| [("n", n), ("h", h), ("w", w), ("c", c)];
        let sample = |name, image: [(&'static str, usize); 4], more: &[(&'static str, usize)]| {
            Sample::new(self.0, name, &[&image, more].concat())
        };
        let halves = [("stride_h", 2), ("stride_w", 2)];
        let three = [("kh", 3), ("kw", 3), ("pad_top", 1), ("pad_bottom", 1), ("pad_left", 1), ("pad_right", 1)];
        let with = |more: &[(&'static str, usize)]| [&three, more].concat();
        let mut all = vec![
            sample("no_images", image(0, 6, 6, 16), &halves),
            sample("no_channels", image(1, 4, 4, 0), &halves),
            sample("one_element", image(1, 1, 1, 1), &[("kh", 1), ("kw", 1)]),
            sample("only_padding", image(1, 0, 3, 5), &with(&[("kh", 2)])),
            sample("halves", image(1, 8, 10, 32), &halves),
            sample("ragged_channels", image(2, 7, 9, 19), &halves),
            sample("overlapping", image(1, 9, 8, 16), &with(&halves)),
            sample("rounded_up", image(1, 7, 6, 16), &with(&[("stride_h", 2), ("stride_w", 3), ("extent", 1)])),
            sample("dilated", image(1, 9, 10, 8), &with(&[("dilation_h", 2), ("dilation_w", 3)])),
            sample("global", image(1, 7, 7, 40), &[("kh", 7), ("kw", 7)]),
            sample("relu", image(1, 6, 6, 16), &halves),
            sample("extreme_codes", image(1, 16, 16, 16), &[("kh", 16), ("kw", 16)]),
        ];
        if std::ptr::eq(self.0, &AVERAGE) {
            all.push(sample("padding_counts", image(1, 6, 5, 20), &with(&[("padding", 1)])));
            all.push(sample(
                "padding_counts_rounded_up",
                image(1, 7, 8, 16),
                &with(&[("padding", 1), ("stride_h", 2), ("stride_w", 2), ("extent", 1)]),
            ));
            all.push(sample("unsigned", image(2, 7, 9, 19), &[("codes", 1), ("stride_h", 2)]));
            all.push(sample("unsigned_padding", image(1, 0, 3, 5), &with(&[("kh", 2), ("codes", 1)])));
            all.push(sample("unsigned_padding_counts", image(1, 6, 5, 20), &with(&[("padding", 1), ("codes", 1)])));
        }
        all
    }

    /// The pools of ResNet behind its stem and before its last layer.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (stem, last) = match size {
            Size::Simulator => ([1, 16, 16], [1, 7, 64]),
            Size::Processor => ([64, 112, 64], [2560, 7, 512]),
            Size::Gpu => ([256, 112, 64], [10_240, 7, 512]),
        };
        let global = [("pad_top", 0), ("pad_bottom", 0), ("pad_left", 0), ("pad_right", 0)];
        vec![
            Sample::new(self.0, "stem", &square(stem, 3, 2)),
            Sample::new(self.0, "global", &[square(last, 7, 1), global.to_vec()].concat()),
        ]
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        self.0.constrain(dims)?;
        let mut random = Random::new(seed);
        let mut x = random.codes([dims["n"], dims["h"], dims["w"], dims["c"]]);
        if name == "extreme_codes" {
            x = Tensor::from_vec(x.shape().clone(), vec![-128i8; x.len()])?;
        }
        let zero_point = random.within(0, 61) as i32 - 30;
        let (lo, hi) = if name == "relu" { (zero_point, zero_point + 50) } else { (-128, 127) };
        let mut all = Tensors::new().with("x", x);
        if std::ptr::eq(self.0, &AVERAGE) {
            all = all.with("zero_point", Tensor::scalar(zero_point));
        }
        Ok(all.with("lo", Tensor::scalar(lo)).with("hi", Tensor::scalar(hi)))
    }

    fn check(&self, _: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let average = std::ptr::eq(self.0, &AVERAGE);
        check_codes(inputs, if average { &["zero_point", "lo", "hi"] } else { &["lo", "hi"] })
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let [high, wide] = fitting(dims)?;
        let channels = dims["c"];
        let x = inputs.slice::<i8>("x")?;
        let (lo, hi): (i32, i32) = (inputs.scalar("lo")?, inputs.scalar("hi")?);
        let average = std::ptr::eq(self.0, &AVERAGE);
        let counted = average && dims["padding"] == 1;
        let padding = if counted { inputs.scalar("zero_point")? } else { 0 };
        let least = if average && dims["codes"] == 1 { -128 } else { 0 };
        let mut out = Vec::with_capacity(dims["n"] * high.output * wide.output * channels);
        for image in 0..dims["n"] {
            for (row, column) in (0..high.output).flat_map(|row| (0..wide.output).map(move |column| (row, column))) {
                let pixels: Vec<usize> = high
                    .taps(row)
                    .flat_map(|th| wide.taps(column).map(move |tw| (th, tw)))
                    .map(|(th, tw)| {
                        (image * high.input + high.input_at(row, th)) * wide.input + wide.input_at(column, tw)
                    })
                    .collect();
                for channel in 0..channels {
                    let codes = pixels.iter().map(|pixel| i32::from(x[pixel * channels + channel]));
                    let code = if average {
                        let count =
                            if counted { high.padded_taps(row) * wide.padded_taps(column) } else { pixels.len() };
                        let sum = codes.sum::<i32>() + (count - pixels.len()) as i32 * padding;
                        average_requant(count as u32).apply(sum - count as i32 * least) + least
                    } else {
                        codes.max().unwrap_or(lo)
                    };
                    out.push(code.max(lo).min(hi) as i8);
                }
            }
        }
        let shape = [dims["n"], high.output, wide.output, channels];
        Ok(Tensors::new().with("out", Tensor::from_vec(shape, out)?))
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let [oh, ow] = [OUT_H, OUT_W].map(|dim| dim.extent(dims) as u64);
        let channels = (dims["n"] * dims["c"]) as u64;
        let results = channels * oh * ow;
        Work {
            int_ops: results * (dims["kh"] * dims["kw"]) as u64,
            dram_bytes: channels * (dims["h"] * dims["w"]) as u64 + results,
            ..Work::default()
        }
    }
}
