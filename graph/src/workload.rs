//! Layers of the literature as graphs of one int8 convolution, with weights from a seed: what measurements of accelerators
//! are quoted on when no model file is at hand.

use crate::Graph;
use tandem_ops::def::Random;
use tandem_ops::{Act, Arith, Conv, Op};
use tandem_tensor::{DType, Data, QuantParams, Tensor, TensorType};

/// A convolution, and how often its network has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// Name in the literature.
    pub name: &'static str,
    /// Times the network has it.
    pub count: u64,
    /// Rows and columns of the image.
    pub extent: usize,
    /// Input channels.
    pub inputs: usize,
    /// Output channels.
    pub outputs: usize,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Stride along both axes.
    pub stride: usize,
}

const fn layer(
    name: &'static str,
    count: u64,
    [extent, inputs, outputs]: [usize; 3],
    [kernel, stride]: [usize; 2],
) -> Layer {
    Layer { name, count, extent, inputs, outputs, kernel, stride }
}

/// The convolutions of ResNet-18 for images of 224 by 224, without the first one.
///
/// # Source
/// `C2` to `C11` of VTA's convolution benchmark, with padding that keeps the extent where the stride is 1.
pub const RESNET18: [Layer; 10] = [
    layer("C2", 4, [56, 64, 64], [3, 1]),
    layer("C3", 1, [56, 64, 128], [3, 2]),
    layer("C4", 1, [56, 64, 128], [1, 2]),
    layer("C5", 3, [28, 128, 128], [3, 1]),
    layer("C6", 1, [28, 128, 256], [3, 2]),
    layer("C7", 1, [28, 128, 256], [1, 2]),
    layer("C8", 3, [14, 256, 256], [3, 1]),
    layer("C9", 1, [14, 256, 512], [3, 2]),
    layer("C10", 1, [14, 256, 512], [1, 2]),
    layer("C11", 3, [7, 512, 512], [3, 1]),
];

/// Small convolutions with thousands of schedules each, all of which can be measured: what searches are compared on.
pub const SMALL: [Layer; 4] = [
    layer("S1", 1, [14, 32, 64], [3, 1]),
    layer("S2", 1, [28, 32, 64], [3, 2]),
    layer("S3", 1, [7, 64, 64], [3, 1]),
    layer("S4", 1, [24, 24, 48], [5, 2]),
];

impl Layer {
    /// Rows and columns of the result.
    pub fn result(&self) -> usize {
        (self.extent + 2 * (self.kernel / 2) - self.kernel) / self.stride + 1
    }

    /// Multiply-accumulates of one run.
    pub fn macs(&self) -> u64 {
        let [result, inputs, outputs, kernel] =
            [self.result(), self.inputs, self.outputs, self.kernel].map(|n| n as u64);
        result * result * outputs * inputs * kernel * kernel
    }

    /// The layer as a graph: int8 with a scale for every output channel, a bias, and ReLU.
    pub fn graph(&self, seed: u64) -> Graph {
        let mut random = Random::new(seed);
        let mut graph = Graph::new(self.name, Arith::TfliteRef);
        let image = |extent, channels, scale, zero| {
            TensorType::new(DType::I8, [1, extent, extent, channels]).with_quant(QuantParams::per_tensor(scale, zero))
        };
        let x = graph.add_value("x", image(self.extent, self.inputs, 0.05, -7));
        let taps = self.kernel * self.kernel * self.inputs;
        // Sums of so many products of codes spread over the codes of the result.
        let scale = |random: &mut Random| (0.5 + random.unit() as f32) / (64.0 * (taps as f32).sqrt());
        let scales: Vec<f32> = (0..self.outputs).map(|_| scale(&mut random)).collect();
        let zeros = vec![0; self.outputs];
        let ty = TensorType::new(DType::I8, [self.outputs, self.kernel, self.kernel, self.inputs])
            .with_quant(QuantParams { scale: scales, zero_point: zeros, axis: Some(0) });
        // -128 is no code of int8 weights.
        let codes = (0..ty.elements()).map(|_| (random.within(0, 255) as i32 - 127) as i8).collect();
        let tensor = Tensor::new(ty.shape.clone(), Data::I8(codes)).expect("as many codes as the shape asks for");
        let weights = graph.add_constant("weights", ty, tensor);
        let ty = TensorType::new(DType::I32, [self.outputs]);
        let codes = (0..self.outputs).map(|_| random.within(0, 4001) as i32 - 2000).collect();
        let tensor = Tensor::new(ty.shape.clone(), Data::I32(codes)).expect("as many as there are outputs");
        let bias = graph.add_constant("bias", ty, tensor);
        let y = graph.add_value("y", image(self.result(), self.outputs, 0.1, -128));
        let pad = vec![(self.kernel / 2, self.kernel / 2); 2];
        let (stride, dilation) = (vec![self.stride; 2], vec![1, 1]);
        let conv = Conv { stride, dilation, pad, groups: 1, act: Act::Relu };
        graph.add_node(self.name, Op::Conv(conv), [x, weights, bias], [y]);
        (graph.inputs, graph.outputs) = (vec![x], vec![y]);
        graph
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layers_of_resnet_18_have_the_products_of_the_network() {
        let weighted: u64 = RESNET18.iter().map(|layer| layer.count * layer.macs()).sum();
        assert_eq!(weighted, 1_695_547_392);
    }

    #[test]
    fn every_layer_is_a_graph_that_the_verifier_takes_and_a_seed_repeats() {
        for layer in RESNET18.into_iter().chain(SMALL) {
            let graph = layer.graph(1);
            graph.verify().unwrap_or_else(|error| panic!("{}: {error}", layer.name));
        }
        assert_eq!(RESNET18[2].graph(3), RESNET18[2].graph(3));
        assert_ne!(RESNET18[2].graph(3), RESNET18[2].graph(4));
    }
}
