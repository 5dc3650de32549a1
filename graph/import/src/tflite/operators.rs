//! The operators of TFLite: number, name and lowering.

use super::lower::Ctx;
use super::schema::Code;
use super::{arithmetic as a, layout as l, recurrent as r, window as w};
use crate::ImportError;

/// Turns one operator of the file into nodes.
pub(crate) type Lower = for<'l, 'a> fn(&mut Ctx<'l, 'a>) -> Result<(), ImportError>;

/// One operator; without a lowering it is only known by name.
struct Known(i32, &'static str, Option<Lower>);

/// # Source
/// `BuiltinOperator` in `tensorflow/lite/schema/schema.fbs`.
static OPERATORS: &[Known] = &[
    Known(0, "ADD", Some(a::add)),
    Known(1, "AVERAGE_POOL_2D", Some(w::average_pool)),
    Known(2, "CONCATENATION", Some(l::concatenation)),
    Known(3, "CONV_2D", Some(w::conv)),
    Known(4, "DEPTHWISE_CONV_2D", Some(w::depthwise_conv)),
    Known(5, "DEPTH_TO_SPACE", Some(l::depth_to_space)),
    Known(6, "DEQUANTIZE", Some(a::dequantize)),
    Known(7, "EMBEDDING_LOOKUP", Some(l::embedding_lookup)),
    Known(8, "FLOOR", Some(a::floor)),
    Known(9, "FULLY_CONNECTED", Some(w::fully_connected)),
    Known(10, "HASHTABLE_LOOKUP", None),
    Known(11, "L2_NORMALIZATION", Some(a::l2_normalization)),
    Known(12, "L2_POOL_2D", None),
    Known(13, "LOCAL_RESPONSE_NORMALIZATION", None),
    Known(14, "LOGISTIC", Some(a::logistic)),
    Known(15, "LSH_PROJECTION", None),
    Known(16, "LSTM", None),
    Known(17, "MAX_POOL_2D", Some(w::max_pool)),
    Known(18, "MUL", Some(a::mul)),
    Known(19, "RELU", Some(a::relu)),
    Known(20, "RELU_N1_TO_1", Some(a::relu_n1_to_1)),
    Known(21, "RELU6", Some(a::relu6)),
    Known(22, "RESHAPE", Some(l::reshape)),
    Known(23, "RESIZE_BILINEAR", Some(l::resize_bilinear)),
    Known(24, "RNN", None),
    Known(25, "SOFTMAX", Some(a::softmax)),
    Known(26, "SPACE_TO_DEPTH", Some(l::space_to_depth)),
    Known(27, "SVDF", None),
    Known(28, "TANH", Some(a::tanh)),
    Known(29, "CONCAT_EMBEDDINGS", None),
    Known(30, "SKIP_GRAM", None),
    Known(31, "CALL", None),
    Known(32, "CUSTOM", None),
    Known(33, "EMBEDDING_LOOKUP_SPARSE", None),
    Known(34, "PAD", Some(l::pad)),
    Known(35, "UNIDIRECTIONAL_SEQUENCE_RNN", None),
    Known(36, "GATHER", Some(l::gather)),
    Known(37, "BATCH_TO_SPACE_ND", Some(l::batch_to_space)),
    Known(38, "SPACE_TO_BATCH_ND", Some(l::space_to_batch)),
    Known(39, "TRANSPOSE", Some(l::transpose)),
    Known(40, "MEAN", Some(a::mean)),
    Known(41, "SUB", Some(a::sub)),
    Known(42, "DIV", Some(a::div)),
    Known(43, "SQUEEZE", Some(l::squeeze)),
    Known(44, "UNIDIRECTIONAL_SEQUENCE_LSTM", Some(r::unidirectional_sequence_lstm)),
    Known(45, "STRIDED_SLICE", Some(l::strided_slice)),
    Known(46, "BIDIRECTIONAL_SEQUENCE_RNN", None),
    Known(47, "EXP", Some(a::exp)),
    Known(48, "TOPK_V2", None),
    Known(49, "SPLIT", Some(l::split)),
    Known(50, "LOG_SOFTMAX", Some(a::log_softmax)),
    Known(51, "DELEGATE", None),
    Known(52, "BIDIRECTIONAL_SEQUENCE_LSTM", None),
    Known(53, "CAST", Some(a::cast)),
    Known(54, "PRELU", Some(a::prelu)),
    Known(55, "MAXIMUM", Some(a::maximum)),
    Known(56, "ARG_MAX", Some(a::arg_max)),
    Known(57, "MINIMUM", Some(a::minimum)),
    Known(58, "LESS", Some(a::less)),
    Known(59, "NEG", Some(a::neg)),
    Known(60, "PADV2", Some(l::pad)),
    Known(61, "GREATER", Some(a::greater)),
    Known(62, "GREATER_EQUAL", Some(a::greater_equal)),
    Known(63, "LESS_EQUAL", Some(a::less_equal)),
    Known(64, "SELECT", Some(a::select)),
    Known(65, "SLICE", Some(l::slice)),
    Known(66, "SIN", Some(a::sin)),
    Known(67, "TRANSPOSE_CONV", Some(w::transpose_conv)),
    Known(68, "SPARSE_TO_DENSE", None),
    Known(69, "TILE", Some(l::tile)),
    Known(70, "EXPAND_DIMS", Some(l::expand_dims)),
    Known(71, "EQUAL", Some(a::equal)),
    Known(72, "NOT_EQUAL", Some(a::not_equal)),
    Known(73, "LOG", Some(a::log)),
    Known(74, "SUM", Some(a::sum)),
    Known(75, "SQRT", Some(a::sqrt)),
    Known(76, "RSQRT", Some(a::rsqrt)),
    Known(77, "SHAPE", Some(l::shape)),
    Known(78, "POW", Some(a::pow)),
    Known(79, "ARG_MIN", Some(a::arg_min)),
    Known(80, "FAKE_QUANT", None),
    Known(81, "REDUCE_PROD", Some(a::reduce_prod)),
    Known(82, "REDUCE_MAX", Some(a::reduce_max)),
    Known(83, "PACK", Some(l::pack)),
    Known(84, "LOGICAL_OR", Some(a::logical_or)),
    Known(85, "ONE_HOT", None),
    Known(86, "LOGICAL_AND", Some(a::logical_and)),
    Known(87, "LOGICAL_NOT", Some(a::logical_not)),
    Known(88, "UNPACK", Some(l::unpack)),
    Known(89, "REDUCE_MIN", Some(a::reduce_min)),
    Known(90, "FLOOR_DIV", Some(a::floor_div)),
    Known(91, "REDUCE_ANY", None),
    Known(92, "SQUARE", Some(a::square)),
    Known(93, "ZEROS_LIKE", Some(l::zeros_like)),
    Known(94, "FILL", Some(l::fill)),
    Known(95, "FLOOR_MOD", Some(a::floor_mod)),
    Known(96, "RANGE", None),
    Known(97, "RESIZE_NEAREST_NEIGHBOR", Some(l::resize_nearest)),
    Known(98, "LEAKY_RELU", Some(a::leaky_relu)),
    Known(99, "SQUARED_DIFFERENCE", Some(a::squared_difference)),
    Known(100, "MIRROR_PAD", Some(l::mirror_pad)),
    Known(101, "ABS", Some(a::abs)),
    Known(102, "SPLIT_V", Some(l::split_v)),
    Known(103, "UNIQUE", None),
    Known(104, "CEIL", Some(a::ceil)),
    Known(105, "REVERSE_V2", Some(l::reverse)),
    Known(106, "ADD_N", Some(a::add_n)),
    Known(107, "GATHER_ND", None),
    Known(108, "COS", Some(a::cos)),
    Known(109, "WHERE", None),
    Known(110, "RANK", Some(l::rank)),
    Known(111, "ELU", Some(a::elu)),
    Known(112, "REVERSE_SEQUENCE", None),
    Known(113, "MATRIX_DIAG", None),
    Known(114, "QUANTIZE", Some(a::quantize)),
    Known(115, "MATRIX_SET_DIAG", None),
    Known(116, "ROUND", Some(a::round)),
    Known(117, "HARD_SWISH", Some(a::hard_swish)),
    Known(118, "IF", None),
    Known(119, "WHILE", None),
    Known(120, "NON_MAX_SUPPRESSION_V4", None),
    Known(121, "NON_MAX_SUPPRESSION_V5", None),
    Known(122, "SCATTER_ND", None),
    Known(123, "SELECT_V2", Some(a::select)),
    Known(124, "DENSIFY", None),
    Known(125, "SEGMENT_SUM", None),
    Known(126, "BATCH_MATMUL", Some(w::batch_matmul)),
    Known(128, "CUMSUM", Some(a::cumsum)),
    Known(129, "CALL_ONCE", None),
    Known(130, "BROADCAST_TO", Some(l::broadcast_to)),
    Known(131, "RFFT2D", None),
    Known(132, "CONV_3D", Some(w::conv_3d)),
    Known(133, "IMAG", None),
    Known(134, "REAL", None),
    Known(135, "COMPLEX_ABS", None),
    Known(136, "HASHTABLE", None),
    Known(137, "HASHTABLE_FIND", None),
    Known(138, "HASHTABLE_IMPORT", None),
    Known(139, "HASHTABLE_SIZE", None),
    Known(140, "REDUCE_ALL", None),
    Known(141, "CONV_3D_TRANSPOSE", None),
    Known(142, "VAR_HANDLE", None),
    Known(143, "READ_VARIABLE", None),
    Known(144, "ASSIGN_VARIABLE", None),
    Known(145, "BROADCAST_ARGS", None),
    Known(146, "RANDOM_STANDARD_NORMAL", None),
    Known(147, "BUCKETIZE", None),
    Known(148, "RANDOM_UNIFORM", None),
    Known(149, "MULTINOMIAL", None),
    Known(150, "GELU", Some(a::gelu)),
    Known(151, "DYNAMIC_UPDATE_SLICE", None),
    Known(152, "RELU_0_TO_1", Some(a::relu_0_to_1)),
    Known(153, "UNSORTED_SEGMENT_PROD", None),
    Known(154, "UNSORTED_SEGMENT_MAX", None),
    Known(155, "UNSORTED_SEGMENT_SUM", None),
    Known(156, "ATAN2", None),
    Known(157, "UNSORTED_SEGMENT_MIN", None),
    Known(158, "SIGN", Some(a::sign)),
    Known(159, "BITCAST", None),
    Known(160, "BITWISE_XOR", None),
    Known(161, "RIGHT_SHIFT", None),
];

/// Name and lowering of an operator.
pub(crate) fn find(code: &Code) -> (String, Option<Lower>) {
    match (OPERATORS.iter().find(|k| k.0 == code.builtin), &code.custom) {
        (Some(Known(_, "CUSTOM", _)), Some(name)) => (format!("CUSTOM {name}"), None),
        (Some(Known(_, name, lower)), _) => ((*name).to_owned(), *lower),
        (None, _) => (format!("number {}", code.builtin), None),
    }
}

/// The sentence that says what the importer knows.
pub(crate) fn supported() -> String {
    let mut text = String::from("the TFLite importer knows");
    for Known(_, name, lower) in OPERATORS {
        if lower.is_some() {
            text.push(' ');
            text.push_str(name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique_and_ascending() {
        assert!(OPERATORS.windows(2).all(|w| w[0].0 < w[1].0));
        let mut names: Vec<_> = OPERATORS.iter().map(|k| k.1).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPERATORS.len());
    }

    #[test]
    fn a_custom_operator_keeps_its_own_name() {
        let code = Code { builtin: 32, custom: Some("Mystery".into()) };
        assert_eq!(find(&code).0, "CUSTOM Mystery");
        assert_eq!(find(&Code { builtin: 9999, custom: None }).0, "number 9999");
    }
}
