//! Private information retrieval by a linear scan: every bucket of a database that a request names, summed by exclusive or.
//!
//! A client splits "the bucket i" into requests for servers that do not collude: bits at random for all servers but the last, and
//! for that one their exclusive or with the unit vector of i. The exclusive or of the answers is the bucket, while each server
//! alone sees bits at random. What a server computes must tell nothing either, so that no implementation branches on a bit of a
//! request, nor forms an address from one.
//!
//! # Source
//! Cheng et al., "Talek: Private Group Messaging with Hidden Access Patterns", ACSAC 2020.

use crate::OpError;
use crate::def::{
    Agree, Axis, AxisKind, Constraint, Dim, Dims, Grade, OpDef, Operation, Port, Random, Sample, Size, Tensors, Work,
};
use tandem_tensor::{DType, Tensor};

pub(super) const ALL: &[&dyn Operation] = &[&Scan];

const BUCKETS: Dim = Dim::Axis("buckets");
const WORDS: Dim = Dim::Axis("words");
const QUERIES: Dim = Dim::Axis("queries");
/// Words of a request: 64 bits each.
const REQUEST: Dim = Dim::Of("ceil(buckets / 64)", |dims| dims["buckets"].div_ceil(64));

static SCAN: OpDef = OpDef {
    name: "pir_scan.u64",
    summary: "the exclusive or of the buckets whose bit is set in a request; time and addresses do not depend on the bits",
    axes: &[
        Axis { name: "buckets", kind: AxisKind::Extent, default: 1024, doc: "records of the database" },
        Axis { name: "words", kind: AxisKind::Extent, default: 128, doc: "64-bit words of a bucket" },
        Axis {
            name: "queries",
            kind: AxisKind::Extent,
            default: 8,
            doc: "requests that share a pass over the database",
        },
    ],
    inputs: &[
        Port { name: "db", dtype: DType::U64, dims: &[BUCKETS, WORDS], doc: "the database, a bucket a row" },
        Port {
            name: "requests",
            dtype: DType::U64,
            dims: &[QUERIES, REQUEST],
            doc: "bit b % 64 of word b / 64 asks for bucket b; bits from `buckets` on are 0",
        },
    ],
    outputs: &[Port { name: "out", dtype: DType::U64, dims: &[QUERIES, WORDS], doc: "the answer to each request" }],
    holds: &[
        Constraint { text: "buckets <= 2^30", holds: |dims| dims["buckets"] <= 1 << 30 },
        Constraint { text: "words <= 2^24", holds: |dims| dims["words"] <= 1 << 24 },
        Constraint { text: "queries <= 2^16", holds: |dims| dims["queries"] <= 1 << 16 },
    ],
    agree: Agree::Exact,
    fpga: Grade::Split(
        "the block pir_xor sums a word a cycle; the host brings the bits of a bucket together, a beat each",
    ),
};

struct Scan;

/// All bits where the bit is set, else none.
fn mask(request: &[u64], bucket: usize) -> u64 {
    (request[bucket / 64] >> (bucket % 64) & 1).wrapping_neg()
}

impl Operation for Scan {
    fn def(&self) -> &'static OpDef {
        &SCAN
    }

    fn samples(&self) -> Vec<Sample> {
        let all = [
            ("no_queries", 0, 70, 4),
            ("no_buckets", 3, 0, 4),
            ("no_words", 3, 70, 0),
            ("one_bit", 1, 1, 1),
            ("nothing_asked", 4, 100, 6),
            ("everything_asked", 4, 100, 6),
            ("unit_vectors", 9, 77, 5),
            ("two_servers", 6, 130, 3),
            ("one_past_a_word", 2, 65, 2),
            ("one_query", 1, 300, 16),
            ("ragged", 5, 131, 7),
            ("whole_words", 8, 256, 16),
            ("wide", 3, 40, 131),
            ("widest_plain_batch", 14, 200, 10),
            ("least_matrix_batch", 15, 257, 9),
            ("matrix_batch", 33, 600, 8),
            ("large_batch", 70, 300, 18),
        ];
        let sample = |(name, queries, buckets, words)| {
            Sample::new(&SCAN, name, &[("queries", queries), ("buckets", buckets), ("words", words)])
        };
        all.map(sample).into()
    }

    /// One request, a batch that memory still limits without tensor instructions, and a large one; buckets are messages of 1 KiB.
    fn workloads(&self, size: Size) -> Vec<Sample> {
        let (buckets, words) = match size {
            Size::Simulator => (1024, 16),
            Size::Processor => (1 << 17, 128),
            Size::Gpu => (1 << 20, 128),
        };
        [("one", 1), ("few", 8), ("batch", 64)]
            .map(|(name, queries)| {
                Sample::new(&SCAN, name, &[("queries", queries), ("buckets", buckets), ("words", words)])
            })
            .into()
    }

    fn sample(&self, name: &str, dims: &Dims, seed: u64) -> Result<Tensors, OpError> {
        SCAN.constrain(dims)?;
        let [buckets, words, queries] = ["buckets", "words", "queries"].map(|axis| dims[axis]);
        let length = REQUEST.extent(dims);
        let mut random = Random::new(seed);
        let db: Vec<u64> = (0..buckets * words).map(|_| random.bits()).collect();
        // The bits of the last word that are buckets.
        let last = u64::MAX >> ((64 - buckets % 64) % 64);
        let mut requests: Vec<u64> = Vec::with_capacity(queries * length);
        for query in 0..queries {
            let begin = requests.len();
            requests.extend((0..length).map(|_| match name {
                "nothing_asked" | "unit_vectors" => 0,
                "everything_asked" => u64::MAX,
                _ => random.bits(),
            }));
            let bucket = random.within(0, buckets);
            match name {
                "two_servers" if query % 2 == 1 => requests.copy_within(begin - length..begin, begin),
                _ => {}
            }
            if length > 0 && (name == "unit_vectors" || name == "two_servers" && query % 2 == 1) {
                requests[begin + bucket / 64] ^= 1 << (bucket % 64);
            }
            requests[begin..].last_mut().into_iter().for_each(|word| *word &= last);
        }
        let db = Tensor::from_vec([buckets, words], db)?;
        Ok(Tensors::new().with("db", db).with("requests", Tensor::from_vec([queries, length], requests)?))
    }

    /// Bits that stand for no bucket are 0: one of them is the mark of a request for another database.
    fn check(&self, dims: &Dims, inputs: &Tensors) -> Result<(), OpError> {
        let (buckets, length) = (dims["buckets"], REQUEST.extent(dims));
        let requests = inputs.slice::<u64>("requests")?;
        if buckets.is_multiple_of(64) {
            return Ok(());
        }
        // Only the bits beyond the buckets are looked at.
        let stray = |request: &[u64]| request[length - 1] >> (buckets % 64) != 0;
        match requests.chunks_exact(length).position(stray) {
            Some(query) => Err(OpError::Invalid(format!(
                "{}: operand requests has bits beyond the {buckets} buckets in request {query}",
                SCAN.name
            ))),
            None => Ok(()),
        }
    }

    fn reference(&self, dims: &Dims, inputs: &Tensors) -> Result<Tensors, OpError> {
        let [words, queries] = ["words", "queries"].map(|axis| dims[axis]);
        let length = REQUEST.extent(dims);
        let (db, requests) = (inputs.slice::<u64>("db")?, inputs.slice::<u64>("requests")?);
        let mut out = vec![0u64; queries * words];
        for (query, out) in out.chunks_exact_mut(words.max(1)).enumerate() {
            let request = &requests[query * length..][..length];
            for (bucket, db) in db.chunks_exact(words.max(1)).enumerate() {
                let mask = mask(request, bucket);
                out.iter_mut().zip(db).for_each(|(out, word)| *out ^= word & mask);
            }
        }
        Ok(Tensors::new().with("out", Tensor::from_vec([queries, words], out)?))
    }

    /// An "and" and an exclusive or for every word of the database and every request; the database is read once.
    fn work(&self, dims: &Dims, inputs: &Tensors) -> Work {
        let [buckets, words, queries] = ["buckets", "words", "queries"].map(|axis| dims[axis] as u64);
        let operands: usize = inputs.iter().map(|(_, tensor)| tensor.len()).sum();
        Work {
            int_ops: 2 * buckets * words * queries,
            dram_bytes: 8 * (operands as u64 + queries * words),
            ..Work::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::def::accept;

    fn answers(name: &str, dims: &Dims, seed: u64) -> (Tensors, Tensors) {
        let inputs = Scan.sample(name, dims, seed).unwrap();
        let dims = accept(&Scan, dims, &inputs).unwrap();
        let outputs = Scan.reference(&dims, &inputs).unwrap();
        (inputs, outputs)
    }

    fn dims(queries: usize, buckets: usize, words: usize) -> Dims {
        Dims::default().with("queries", queries).with("buckets", buckets).with("words", words)
    }

    #[test]
    fn a_unit_vector_fetches_its_bucket_and_so_do_the_answers_of_two_servers() {
        let mut random = Random::new(1);
        for seed in 0..20 {
            let (buckets, words) = (random.within(1, 200), random.within(1, 9));
            let (inputs, outputs) = answers("unit_vectors", &dims(8, buckets, words), seed);
            let (db, requests) = (inputs.slice::<u64>("db").unwrap(), inputs.slice::<u64>("requests").unwrap());
            let place = |request: &[u64]| {
                let set: Vec<usize> = (0..buckets).filter(|b| request[b / 64] >> (b % 64) & 1 == 1).collect();
                assert_eq!(set.len(), 1);
                set[0]
            };
            let length = buckets.div_ceil(64);
            for (request, answer) in
                requests.chunks(length).zip(outputs.slice::<u64>("out").unwrap().chunks_exact(words))
            {
                assert_eq!(answer, &db[place(request) * words..][..words]);
            }
            let (inputs, outputs) = answers("two_servers", &dims(8, buckets, words), seed);
            let (db, requests) = (inputs.slice::<u64>("db").unwrap(), inputs.slice::<u64>("requests").unwrap());
            let xor = |rows: &[u64], width: usize| -> Vec<u64> {
                rows[..width].iter().zip(&rows[width..]).map(|(a, b)| a ^ b).collect()
            };
            let both = requests.chunks(2 * length).zip(outputs.slice::<u64>("out").unwrap().chunks(2 * words));
            for (requests, answers) in both {
                assert_eq!(xor(answers, words), &db[place(&xor(requests, length)) * words..][..words]);
            }
        }
    }

    #[test]
    fn a_bit_beyond_the_buckets_is_refused_by_the_number_of_its_request() {
        let dims = dims(3, 70, 2);
        let inputs = Scan.sample("usual", &dims, 1).unwrap();
        for bit in [6, 63] {
            let mut requests = inputs.slice::<u64>("requests").unwrap().to_vec();
            requests[5] |= 1 << bit;
            let bad = inputs.clone().with("requests", Tensor::from_vec([3, 2], requests).unwrap());
            let error = accept(&Scan, &dims, &bad).unwrap_err().to_string();
            assert!(error.contains("beyond the 70 buckets in request 2"), "{error}");
        }
        // Another number of words than the buckets ask for is a wrong shape.
        let short = inputs.with("requests", Tensor::from_vec([3, 1], vec![0u64; 3]).unwrap());
        assert!(accept(&Scan, &dims, &short).unwrap_err().to_string().contains("ceil(buckets / 64)"));
    }

    #[test]
    fn extents_that_no_machine_holds_are_refused() {
        for (axis, extent) in [("buckets", usize::MAX), ("words", 1 << 40), ("queries", 1 << 50)] {
            assert!(Scan.sample("usual", &dims(1, 1, 1).with(axis, extent), 1).is_err(), "{axis}");
        }
    }
}
