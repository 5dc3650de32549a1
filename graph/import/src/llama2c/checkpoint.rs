//! The file: a header of seven numbers, then every weight in binary32.

use crate::ImportError;
use tandem_tensor::{DType, Data, Tensor};

const HEADER_BYTES: usize = 28;
/// The first four bytes of later versions of the format, "ak42".
const LATER: i32 = 0x616b_3432;
/// Attention heads with keys and values of their own, over all layers: they decide how many nodes a step has.
const MAX_HEADS: usize = 1 << 14;

/// The header of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Elements of an activation.
    pub dim: usize,
    /// Elements between the two products of the feed-forward part.
    pub hidden: usize,
    /// Transformer layers.
    pub layers: usize,
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values, each for `heads / kv_heads` heads of queries.
    pub kv_heads: usize,
    /// Tokens.
    pub vocabulary: usize,
    /// Positions that the model was made for.
    pub context: usize,
    /// The classifier has the weights of the token embedding.
    pub shared_classifier: bool,
}

impl Config {
    /// Elements of a head.
    pub fn head(&self) -> usize {
        self.dim / self.heads
    }

    /// Elements of the keys of one position, and of its values.
    pub fn kv_dim(&self) -> usize {
        self.head() * self.kv_heads
    }
}

/// A kind of weights; those of all layers lie one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Embedding,
    AttentionNorm,
    Query,
    Key,
    Value,
    Output,
    FeedForwardNorm,
    Gate,
    Down,
    Up,
    FinalNorm,
    /// Cosines and sines, which are computed here instead.
    Rotation,
    Classifier,
}

/// In the order of the file.
const PARTS: [Part; 13] = [
    Part::Embedding,
    Part::AttentionNorm,
    Part::Query,
    Part::Key,
    Part::Value,
    Part::Output,
    Part::FeedForwardNorm,
    Part::Gate,
    Part::Down,
    Part::Up,
    Part::FinalNorm,
    Part::Rotation,
    Part::Classifier,
];

impl Part {
    fn name(self) -> &'static str {
        match self {
            Part::Embedding => "the token embedding",
            Part::AttentionNorm => "the norm before attention",
            Part::Query => "the query weights",
            Part::Key => "the key weights",
            Part::Value => "the value weights",
            Part::Output => "the output weights of attention",
            Part::FeedForwardNorm => "the norm before the feed-forward part",
            Part::Gate => "the gate weights",
            Part::Down => "the down weights",
            Part::Up => "the up weights",
            Part::FinalNorm => "the last norm",
            Part::Rotation => "the tables of rotations",
            Part::Classifier => "the classifier",
        }
    }

    /// How many there are, and the shape of one.
    fn extent(self, c: &Config) -> (usize, Vec<usize>) {
        match self {
            Part::Embedding => (1, vec![c.vocabulary, c.dim]),
            Part::AttentionNorm | Part::FeedForwardNorm => (c.layers, vec![c.dim]),
            Part::Query | Part::Output => (c.layers, vec![c.dim, c.dim]),
            Part::Key | Part::Value => (c.layers, vec![c.kv_dim(), c.dim]),
            Part::Gate | Part::Up => (c.layers, vec![c.hidden, c.dim]),
            Part::Down => (c.layers, vec![c.dim, c.hidden]),
            Part::FinalNorm => (1, vec![c.dim]),
            Part::Rotation => (1, vec![c.context, c.head()]),
            Part::Classifier => (usize::from(!c.shared_classifier), vec![c.vocabulary, c.dim]),
        }
    }

    /// Bytes of one, of which a header can ask for more than any file has.
    fn bytes(self, c: &Config) -> u128 {
        self.extent(c).1.iter().fold(4, |product, &n| product * n as u128)
    }

    /// Bytes of all.
    fn all_bytes(self, c: &Config) -> u128 {
        self.bytes(c) * self.extent(c).0 as u128
    }
}

/// A checkpoint whose file is as long as its header says.
#[derive(Clone, Debug)]
pub struct Checkpoint<'a> {
    config: Config,
    bytes: &'a [u8],
}

impl<'a> Checkpoint<'a> {
    /// Reads the header and compares what it asks for with the length of the file.
    ///
    /// # Errors
    /// [`ImportError`] for a header that no model has, and for a file that is shorter or longer.
    pub fn read(bytes: &'a [u8]) -> Result<Checkpoint<'a>, ImportError> {
        let (config, length) = Checkpoint::measure(bytes)?;
        let mut begin = HEADER_BYTES as u128;
        for part in PARTS {
            let end = begin + part.all_bytes(&config);
            if end > bytes.len() as u128 {
                let offset = usize::try_from(begin).unwrap_or(bytes.len());
                return Err(ImportError::Truncated { offset, len: bytes.len(), what: part.name().to_owned() });
            }
            begin = end;
        }
        if length != bytes.len() as u128 {
            let problem = format!(
                "the file has {} bytes where its header asks for {length}; it is no llama2.c checkpoint of version 0, \
                 export one with `export.py --version 0`",
                bytes.len()
            );
            return Err(ImportError::malformed(format!("byte {length}"), problem));
        }
        Ok(Checkpoint { config, bytes })
    }

    /// The header.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The header, and the length of the file that it asks for.
    pub(super) fn measure(bytes: &[u8]) -> Result<(Config, u128), ImportError> {
        let config = header(bytes)?;
        let length = PARTS.iter().fold(HEADER_BYTES as u128, |sum, part| sum + part.all_bytes(&config));
        Ok((config, length))
    }

    /// The weights of a kind, of this layer where every layer has its own.
    pub(super) fn tensor(&self, part: Part, layer: usize) -> Result<Tensor, ImportError> {
        let before = PARTS.iter().take_while(|&&p| p != part).map(|p| p.all_bytes(&self.config)).sum::<u128>();
        let begin = HEADER_BYTES as u128 + before + part.bytes(&self.config) * layer as u128;
        let end = begin + part.bytes(&self.config);
        let range = usize::try_from(begin).ok().zip(usize::try_from(end).ok());
        let bytes = range.and_then(|(begin, end)| self.bytes.get(begin..end)).unwrap_or_default();
        let data = Data::from_le_bytes(DType::F32, bytes);
        if let Data::F32(weights) = &data
            && let Some(at) = weights.iter().position(|w| !w.is_finite())
        {
            let place = format!("byte {}", begin + 4 * at as u128);
            let problem =
                format!("a weight of {} is {}; the file is damaged, get a whole copy", part.name(), weights[at]);
            return Err(ImportError::malformed(place, problem));
        }
        let shape = part.extent(&self.config).1;
        Tensor::new(shape, data).map_err(|e| ImportError::malformed(part.name(), e.to_string()))
    }
}

/// The header, whose numbers fit together.
fn header(bytes: &[u8]) -> Result<Config, ImportError> {
    let Some(header) = bytes.get(..HEADER_BYTES) else {
        let what = "the header of a llama2.c checkpoint".to_owned();
        return Err(ImportError::Truncated { offset: 0, len: bytes.len(), what });
    };
    let mut numbers = [0; 7];
    for (number, bytes) in numbers.iter_mut().zip(header.chunks_exact(4)) {
        *number = bytes.try_into().map_or(0, i32::from_le_bytes);
    }
    let place = "the header of the llama2.c checkpoint";
    let refuse = |problem: String| Err(ImportError::malformed(place, problem));
    if numbers[0] == LATER {
        return refuse("it is of a later version; export the model with `export.py --version 0`".into());
    }
    const NAMES: [&str; 7] = ["dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"];
    // The sign of the vocabulary says whether the classifier is the embedding.
    let shared_classifier = numbers[5] > 0;
    numbers[5] = numbers[5].saturating_abs();
    let mut extents = [0; 7];
    for ((extent, &number), name) in extents.iter_mut().zip(&numbers).zip(NAMES) {
        match usize::try_from(number) {
            Ok(number) if number > 0 => *extent = number,
            _ => {
                return refuse(format!(
                    "{name} is {number} and must be at least 1; it is no such file, or a damaged one"
                ));
            }
        }
    }
    let [dim, hidden, layers, heads, kv_heads, vocabulary, context] = extents;
    if dim % heads != 0 || (dim / heads) % 2 != 0 {
        return refuse(format!("dim {dim} over {heads} heads gives no even number of elements a head"));
    }
    if heads % kv_heads != 0 {
        return refuse(format!("{heads} heads of queries do not share {kv_heads} heads of keys evenly"));
    }
    if layers.saturating_mul(kv_heads) > MAX_HEADS {
        return refuse(format!(
            "{layers} layers of {kv_heads} heads of keys are more than the {MAX_HEADS} that Tandem takes"
        ));
    }
    Ok(Config { dim, hidden, layers, heads, kv_heads, vocabulary, context, shared_classifier })
}
