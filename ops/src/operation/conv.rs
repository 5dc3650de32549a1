//! Convolutions of 8-bit codes: over all channels, and over each channel by itself.
//!
//! Padding stands for the real 0, whose code is the input's zero point, so that taps outside the input contribute nothing. The
//! arithmetic is that of the graph's operator: the rounding is `float` in the family [`Arith::Xnnpack`](crate::Arith::Xnnpack) and
//! `double` in [`Arith::TfliteRef`](crate::Arith::TfliteRef).

use super::rounding::{self, ROUNDING, multipliers, scales};
use super::window::{
    C, CHANNELS, FITS, H, HEIGHT, HI, IMAGES, INPUT_ZERO_POINT, KH, KW, LO, N, NUMBERS, OUT_H, OUT_W, W, WIDTH,
    ZERO_POINT, check_codes, countable, few, fitting, kernel, square,
};
use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Constraint, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use tandem_tensor::{DType, Tensor};

pub(super) const ALL: &[&dyn Operation] = &[&Convolution(&CONV2D), &Convolution(&DEPTHWISE)];

const O: Dim = Dim::Axis("o");
/// Channels of the result of a depthwise convolution.
const CM: Dim = Dim::Of("c multiplier", |dims| dims["c"].saturating_mul(dims["multiplier"]));

const KERNEL: [Axis; 2] = kernel(AxisKind::Extent, 3);

const X: Port = Port { name: "x", dtype: DType::I8, dims: &[N, H, W, C], doc: "codes of the images, channels last" };

const fn bias(dims: &'static [Dim]) -> Port {
    Port { name: "bias", dtype: DType::I32, dims, doc: "added to the sum, which wraps" }
}

const FACTORS: [Port; 3] = rounding::ports(
    &[Dim::Of("o where rounding is float", |dims| scales(dims, dims["o"]))],
    &[Dim::Of("o where rounding is not float", |dims| multipliers(dims, dims["o"]))],
);
const DEPTHWISE_FACTORS: [Port; 3] = rounding::ports(
    &[Dim::Of("c multiplier where rounding is float", |dims| scales(dims, CM.extent(dims)))],
    &[Dim::Of("c multiplier where rounding is not float", |dims| multipliers(dims, CM.extent(dims)))],
);
const WEIGHT_ZERO_POINT: Port =
    Port { name: "weight_zero_point", dtype: DType::I32, dims: &[], doc: "the code of zero in the weights" };

static CONV2D: OpDef = OpDef {
    name: "conv2d.i8",
    summary: "codes of a convolution: sum = bias + sum (x - input_zero_point) (weight - weight_zero_point), rounded to codes, + zero_point, clamped",
    axes: &Axis::joined::<16>(&[
        &[
            IMAGES,
            HEIGHT,
            WIDTH,
            CHANNELS,
            Axis { name: "o", kind: AxisKind::Extent, default: 32, doc: "channels of the result" },
        ],
        &KERNEL,
        &NUMBERS,
        &[ROUNDING],
    ]),
    inputs: &[
        X,
        Port { name: "weight", dtype: DType::I8, dims: &[O, KH, KW, C], doc: "codes, a window an output channel" },
        bias(&[O]),
        FACTORS[0],
        FACTORS[1],
        FACTORS[2],
        INPUT_ZERO_POINT,
        WEIGHT_ZERO_POINT,
        ZERO_POINT,
        LO,
        HI,
    ],
    outputs: &[Port { name: "out", dtype: DType::I8, dims: &[N, OUT_H, OUT_W, O], doc: "codes" }],
    holds: &[
        FITS,
        Constraint {
            text: "input, weights and result have at most 2^30 elements each",
            holds: |dims| countable(dims, Some(dims["o"])) && few([dims["o"], dims["kh"], dims["kw"], dims["c"]]),
        },
    ],
    agree: Agree::Exact,
    fpga: Grade::Native,
};

static DEPTHWISE: OpDef = OpDef {
    name: "depthwise.i8",
    summary: "codes of a convolution of each channel by itself, with the arithmetic of conv2d.i8",
    axes: &Axis::joined::<16>(&[
        &[
            IMAGES,
            HEIGHT,
            WIDTH,
            CHANNELS,
            Axis { name: "multiplier", kind: AxisKind::Number, default: 1, doc: "outputs of each channel" },
        ],
        &KERNEL,
        &NUMBERS,
        &[ROUNDING],
    ]),
    inputs: &[
        X,
        Port {
            name: "weight",
            dtype: DType::I8,
            dims: &[CM, KH, KW],
            doc: "codes, a window an output channel; those of one input channel follow each other",
        },
        bias(&[CM]),
        DEPTHWISE_FACTORS[0],
        DEPTHWISE_FACTORS[1],
        DEPTHWISE_FACTORS[2],
        INPUT_ZERO_POINT,
        WEIGHT_ZERO_POINT,
        ZERO_POINT,
        LO,
        HI,
    ],
    outputs: &[Port { name: "out", dtype: DType::I8, dims: &[N, OUT_H, OUT_W, CM], doc: "codes" }],
    holds: &[
        FITS,
        Constraint { text: "multiplier is 1 at least", holds: |dims| dims["multiplier"] > 0 },
        Constraint {
            text: "input, weights and result have at most 2^30 elements each",
            holds: |dims| {
                countable(dims, dims["c"].checked_mul(dims["multiplier"]))
                    && few([dims["c"], dims["multiplier"], dims["kh"], dims["kw"]])
            },
        },
    ],
    agree: Agree::Exact,
    fpga: Grade::Native,
};

struct Convolution(&'static OpDef);

impl Convolution {
    fn depthwise(&self) -> bool {
        std::ptr::eq(self.0, &DEPTHWISE)
    }

    /// Channels of the result, and channels under a window.
    fn channels(&self, dims: &Dims) -> (usize, usize) {
        if self.depthwise() { (CM.extent(dims), 1) } else { (dims["o"], dims["c"]) }
    }
}

impl Operation for Convolution {
    fn def(&self) -> &'static OpDef {
        self.0
    }

    fn samples(&self) -> Vec<Sample> {
        let image = |n, h, w, c| [("n", n), ("h", h), ("w", w), ("c", c)];
        let sample = |name, image: [(&'static str, usize); 4], more: &[(&'static str, usize)]| {
            Sample::new(self.0, name, &[&image, more].concat())
        };
        let same = [("pad_top", 1), ("pad_bottom", 1), ("pad_left", 1), ("pad_right", 1)];
        let with = |more: &[(&'static str, usize)]| [&same, more].concat();
        let mut all = vec![
            sample("no_images", image(0, 6, 6, 16), &same),
            sample("no_channels", image(1, 3, 4, 0), &same),
            sample("one_pixel", image(1, 1, 1, 16), &[("kh", 1), ("kw", 1)]),
            sample("only_padding", image(1, 0, 2, 8), &with(&[("kh", 2), ("kw", 3)])),
            sample("same", image(1, 9, 11, 32), &same),
            sample("ragged_channels", image(2, 7, 5, 19), &same),
            sample("strided", image(1, 13, 12, 16), &with(&[("stride_h", 2), ("stride_w", 2)])),
            sample("stride_and_pad_of_one_axis", image(1, 8, 9, 16), &[("stride_w", 2), ("pad_bottom", 2)]),
            sample("dilated", image(1, 12, 11, 16), &with(&[("dilation_h", 2), ("dilation_w", 3)])),
            sample("wide_window", image(1, 10, 14, 4), &with(&[("kh", 5), ("kw", 7), ("pad_left", 4)])),
            sample(
                "stride_beyond_window",
                image(1, 9, 9, 16),
                &[("kh", 1), ("kw", 2), ("stride_h", 3), ("stride_w", 3)],
            ),
            sample("pixels_apart", image(2, 7, 8, 21), &[("kh", 1), ("kw", 1), ("stride_h", 2), ("stride_w", 3)]),
            sample("relu", image(1, 6, 7, 32), &same),
            sample("extreme_codes", image(1, 5, 6, 48), &same),
            sample("zeroed_weights", image(2, 7, 6, 32), &with(&[("stride_h", 2)])),
            sample("zeroed_weights_ragged", image(1, 6, 5, 19), &with(&[("pad_left", 3), ("rounding", 1)])),
            sample("two_roundings", image(1, 9, 8, 32), &with(&[("rounding", 1)])),
            sample("two_roundings_ragged", image(2, 5, 6, 19), &with(&[("rounding", 1), ("dilation_w", 2)])),
            sample("half_away", image(1, 6, 7, 48), &with(&[("rounding", 2)])),
            sample("shifts", image(1, 6, 7, 64), &with(&[("rounding", 1)])),
            sample("shifts_half_away", image(1, 6, 7, 64), &with(&[("rounding", 2)])),
        ];
        if self.depthwise() {
            all.push(sample("two_outputs_a_channel", image(1, 7, 6, 24), &with(&[("multiplier", 2)])));
            all.push(sample("three_outputs_an_odd_channel", image(1, 5, 6, 7), &with(&[("multiplier", 3)])));
            all.push(sample("many_channels", image(1, 5, 5, 144), &same));
        } else {
            all.push(sample("three_channels", image(1, 12, 13, 3), &with(&[("stride_h", 2), ("stride_w", 2)])));
            all.push(sample("pointwise", image(2, 6, 5, 64), &[("kh", 1), ("kw", 1), ("o", 96)]));
            all.push(sample("odd_outputs", image(1, 8, 7, 16), &with(&[("o", 21)])));
            all.push(sample("one_output", image(1, 4, 5, 20), &with(&[("o", 1)])));
            all.push(sample("deep", image(1, 7, 7, 128), &with(&[("o", 40)])));
            all.push(sample("whole_tiles", image(1, 16, 16, 64), &with(&[("o", 128)])));
            let point = |more: &[(&'static str, usize)]| [&[("kh", 1), ("kw", 1)], more].concat();
            all.push(sample("pointwise_two_roundings", image(2, 6, 5, 64), &point(&[("o", 96), ("rounding", 1)])));
            all.push(sample("pointwise_half_away", image(3, 1, 1, 100), &point(&[("o", 10), ("rounding", 2)])));
            all.push(sample("zeroed_weights_pointwise", image(1, 4, 5, 24), &point(&[("rounding", 1)])));
            all.push(sample("zeroed_weights_deep", image(1, 7, 7, 128), &with(&[("o", 40), ("rounding", 1)])));
            all.push(sample("deep_two_roundings", image(1, 7, 7, 128), &with(&[("o", 40), ("rounding", 1)])));
            all.push(sample("whole_tiles_two_roundings", image(1, 16, 16, 64), &with(&[("o", 128), ("rounding", 1)])));
        }
        all
    }

    /// Layers of ResNet-18, and of MobileNet where channels are by themselves.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        // Images, side and channels; kernel and stride; outputs.
        type Layer = (&'static str, [usize; 3], [usize; 2], usize);
        let images = if size == Size::Gpu { 128 } else { 1 };
        let layers: &[Layer] = match (self.depthwise(), size) {
            (false, Size::Simulator) => {
                &[("stem", [1, 16, 3], [7, 2], 16), ("same", [1, 8, 16], [3, 1], 16), ("down", [1, 8, 32], [1, 2], 64)]
            }
            (false, _) => &[
                ("stem_224x224", [images, 224, 3], [7, 2], 64),
                ("same_56x56", [images, 56, 64], [3, 1], 64),
                ("down_28x28", [images, 28, 128], [1, 2], 256),
                ("same_14x14", [images, 14, 256], [3, 1], 256),
            ],
            (true, Size::Simulator) => &[("same", [1, 8, 32], [3, 1], 32), ("down", [1, 8, 32], [3, 2], 32)],
            (true, _) => &[
                ("same_112x112", [images, 112, 32], [3, 1], 32),
                ("down_112x112", [images, 112, 64], [3, 2], 64),
                ("same_14x14", [images, 14, 512], [3, 1], 512),
                ("same_7x7", [images, 7, 1024], [3, 1], 1024),
            ],
        };
        let sample = |&(name, image, [kernel, stride], outputs): &Layer| {
            let outputs = if self.depthwise() { ("multiplier", 1) } else { ("o", outputs) };
            Sample::new(self.0, name, &[square(image, kernel, stride), vec![outputs]].concat())
        };
        layers.iter().map(sample).collect()
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        self.0.constrain(dims)?;
        let (outputs, channels) = self.channels(dims);
        let (kh, kw) = (dims["kh"], dims["kw"]);
        let x_shape = [dims["n"], dims["h"], dims["w"], dims["c"]];
        let w_shape: Vec<usize> =
            if self.depthwise() { vec![outputs, kh, kw] } else { vec![outputs, kh, kw, channels] };
        let mut random = Random::new(seed);
        let (mut x, mut weight) = (random.codes(x_shape), random.codes(w_shape));
        let (mut input_zero_point, mut zero_point) =
            (random.within(0, 61) as i32 - 30, random.within(0, 41) as i32 - 20);
        if name == "extreme_codes" {
            x = Tensor::from_vec(x.shape().clone(), vec![-128i8; x.len()])?;
            weight = Tensor::from_vec(weight.shape().clone(), vec![-128i8; weight.len()])?;
            (input_zero_point, zero_point) = (127, -128);
        }
        let bias: Vec<i32> = (0..outputs).map(|_| random.within(0, 20_001) as i32 - 10_000).collect();
        // A deviation of about 40 codes.
        let unit = 40.0 / (75.0 * 73.0 * ((kh * kw * channels).max(1) as f64).sqrt());
        let factors = rounding::sample(name, dims, outputs, unit, &mut random);
        let weight_zero_point = if name.starts_with("zeroed") { random.within(0, 256) as i32 - 128 } else { 0 };
        let lo = if name == "relu" { zero_point } else { -128 };
        let hi = if name == "relu" { (zero_point + 90).min(127) } else { 127 };
        let all = Tensors::new().with("x", x).with("weight", weight).with("bias", Tensor::from_vec([outputs], bias)?);
        Ok(factors
            .iter()
            .fold(all, |all, (name, list)| all.with(name, list.clone()))
            .with("input_zero_point", Tensor::scalar(input_zero_point))
            .with("weight_zero_point", Tensor::scalar(weight_zero_point))
            .with("zero_point", Tensor::scalar(zero_point))
            .with("lo", Tensor::scalar(lo))
            .with("hi", Tensor::scalar(hi)))
    }

    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        rounding::check(dims, inputs)?;
        check_codes(inputs, &["input_zero_point", "weight_zero_point", "zero_point", "lo", "hi"])
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let [high, wide] = fitting(dims)?;
        let (outputs, channels) = self.channels(dims);
        let all = dims["c"];
        let (x, weight) = (inputs.slice::<i8>("x")?, inputs.slice::<i8>("weight")?);
        let (bias, requants) = (inputs.slice::<i32>("bias")?, rounding::requants(dims, inputs)?);
        let weight_zero_point: i32 = inputs.scalar("weight_zero_point")?;
        let [input_zero_point, zero_point, lo, hi] =
            ["input_zero_point", "zero_point", "lo", "hi"].map(|name| inputs.scalar::<i32>(name));
        let (input_zero_point, zero_point, lo, hi) = (input_zero_point?, zero_point?, lo?, hi?);
        let mut out = Vec::with_capacity(dims["n"] * high.output * wide.output * outputs);
        for image in 0..dims["n"] {
            for (row, column) in (0..high.output).flat_map(|row| (0..wide.output).map(move |column| (row, column))) {
                for output in 0..outputs {
                    // The input channels of a depthwise output are one; of any other all.
                    let first = if self.depthwise() { output / dims["multiplier"] } else { 0 };
                    let mut acc = bias[output];
                    for th in high.taps(row) {
                        for tw in wide.taps(column) {
                            let pixel =
                                (image * high.input + high.input_at(row, th)) * wide.input + wide.input_at(column, tw);
                            let tap = (output * high.kernel + th) * wide.kernel + tw;
                            let codes = &x[pixel * all + first..][..channels];
                            for (&code, &w) in codes.iter().zip(&weight[tap * channels..]) {
                                let w = i32::from(w) - weight_zero_point;
                                acc = acc.wrapping_add((i32::from(code) - input_zero_point) * w);
                            }
                        }
                    }
                    out.push(requants[output].code(acc, zero_point, lo, hi) as i8);
                }
            }
        }
        let shape = [dims["n"], high.output, wide.output, outputs];
        Ok(Tensors::new().with("out", Tensor::from_vec(shape, out)?))
    }

    fn work(&self, dims: &Dims, _: &Tensors) -> Work {
        let (outputs, channels) = self.channels(dims);
        let [oh, ow] = [OUT_H, OUT_W].map(|dim| dim.extent(dims) as u64);
        let images = dims["n"] as u64;
        let weights = (outputs * dims["kh"] * dims["kw"] * channels) as u64;
        let read = images * (dims["h"] * dims["w"] * dims["c"]) as u64;
        Work {
            int_ops: 2 * images * oh * ow * weights,
            dram_bytes: read + weights + 8 * outputs as u64 + images * oh * ow * outputs as u64,
            ..Work::default()
        }
    }
}
