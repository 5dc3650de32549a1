//! Packed rows of random shapes on the simulator, by every kernel.

mod place;

use std::sync::Arc;
use tandem_gpu::{Device, Simulation, kernels};
use tandem_ops::def::{Random, Sample, conform};

#[test]
fn packed_rows_of_random_shapes_are_unpacked_to_the_last_bit() {
    let Some(compiler) = place::compiler() else { return };
    let mut random = Random::new(11);
    for round in 0..16u64 {
        let device = Device::sim(Arc::clone(&compiler), Simulation::seeded(200 + round));
        let name = ["ibp_unpack.u32", "ibp_unpack.u64"][round as usize % 2];
        let all = kernels(&device);
        let kernel = all.iter().find(|kernel| kernel.operation().def().name == name).unwrap();
        let columns = [40, 400, 3000][random.within(0, 3)];
        let extents = [
            ("rows", random.within(1, 40)),
            ("columns", random.within(1, columns)),
            ("clusters", random.within(1, 4)),
            ("fetch", random.within(1, 60)),
        ];
        let data = ["gaussian", "sparse", "clusters", "packed_and_not", "columns_that_change"][random.within(0, 5)];
        let sample = Sample::new(kernel.operation().def(), data, &extents);
        let context = format!("{name} {data} {}, round {round}", sample.dims);
        let verdict = conform(&**kernel, &sample, round).unwrap_or_else(|error| panic!("{context}: {error}"));
        assert!(verdict.agrees, "{context}: {:?}", verdict.results);
    }
}
